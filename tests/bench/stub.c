/* Stub upstream: llama-server's chat API as cheaply as it can be had. One thread, one epoll.
 *
 *   stub [--close] PORT...
 *
 * A POST to a completions path with "stream":true gets max_tokens content events that carry their
 * time of sending, else a fixed answer. GET /ctl?interval=US paces the streams that start after it
 * (0: as fast as they are taken) and tells what is open. --close ends the connection after each
 * stream, as the real server does although it announces keep-alive. bench.py runs it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "channel.h"
#include "clock.h"
#include "replies.h"
#include "request.h"
#include "timers.h"

#define DESCRIPTORS_MAX 32768
#define REQUEST_MAX (1 << 16)
#define BACKLOG 4096
#define BATCH 512
#define DEFAULT_TOKENS 100

enum stage { IDLE, CONTENT, FINISH, USAGE, DONE };

struct listener {
    unsigned streams; /* open ones, for /metrics */
};

struct connection {
    struct channel channel;
    struct listener *listener;
    bool listens;
    bool last;        /* closed when the answer is out */
    bool wants_usage;
    uint32_t generation;
    enum stage stage; /* of the stream; what is sent next */
    uint64_t tokens, left, interval_ns;
};

static struct connection *by_fd[DESCRIPTORS_MAX];
static int epoll;
static bool closes_streams;
static uint64_t interval_ns, queries, events_sent;

static void end_stream(struct connection *c)
{
    if (c->stage != IDLE)
        c->listener->streams--;
    c->stage = IDLE;
}

static void drop(struct connection *c)
{
    end_stream(c);
    by_fd[c->channel.fd] = NULL;
    channel_close(&c->channel);
    free(c);
}

/* Sends one event of the stream. False: the client has gone. */
static bool step(struct connection *c)
{
    char bytes[REPLY_MAX];
    size_t count = 0;
    switch (c->stage) {
    case CONTENT:
        count = reply_content(bytes, now_ns());
        events_sent++;
        c->stage = --c->left ? CONTENT : FINISH;
        break;
    case FINISH:
        count = reply_finish(bytes, c->tokens, c->wants_usage);
        c->stage = c->wants_usage ? USAGE : DONE;
        break;
    case USAGE:
        count = reply_usage(bytes, c->tokens);
        c->stage = DONE;
        break;
    default:
        count = reply_done(bytes);
        end_stream(c);
        c->last |= closes_streams;
    }
    return channel_say(&c->channel, bytes, count);
}

/* Whether nothing is left to be sent to a connection that is to be closed. */
static bool is_over(const struct connection *c)
{
    return c->last && c->stage == IDLE && !channel_waits(&c->channel);
}

/* Sends what is due: a paced stream one content event, and its end at once; any other all that
 * is taken. False: the client has gone, or is to go. */
static bool advance(struct connection *c)
{
    bool may_send_content = true;
    while (c->stage != IDLE && !channel_waits(&c->channel)) {
        if (c->stage == CONTENT && !may_send_content)
            return true;
        may_send_content = c->interval_ns == 0;
        if (!step(c))
            return false;
    }
    return !is_over(c);
}

static void wake_later(const struct connection *c, uint64_t due)
{
    timers_add((struct timer){.due = due, .fd = c->channel.fd, .generation = c->generation});
}

static bool start_stream(struct connection *c, const char *body)
{
    char bytes[2 * REPLY_MAX];
    size_t count = reply_stream_head(bytes);
    count += reply_role(bytes + count);
    uint64_t tokens = number_after(body, "\"max_completion_tokens\":", DEFAULT_TOKENS);
    c->tokens = c->left = number_after(body, "\"max_tokens\":", tokens);
    c->wants_usage = true_after(body, "\"include_usage\":");
    c->interval_ns = interval_ns;
    c->stage = CONTENT;
    c->listener->streams++;
    if (!channel_say(&c->channel, bytes, count))
        return false;
    if (!c->interval_ns)
        return advance(c);
    wake_later(c, now_ns() + c->interval_ns);
    return true;
}

static size_t control(char *to, const char *path)
{
    const char *interval = strstr(path, "interval=");
    if (interval)
        interval_ns = strtoull(interval + strlen("interval="), NULL, 10) * NS_PER_US;
    unsigned streams = 0, open = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        open += by_fd[fd] && !by_fd[fd]->listens;
        streams += by_fd[fd] && by_fd[fd]->stage != IDLE;
    }
    char body[256];
    snprintf(body, sizeof body,
             "{\"queries\":%llu,\"events\":%llu,\"streams\":%u,\"connections\":%u}",
             (unsigned long long)queries, (unsigned long long)events_sent, streams, open);
    return reply_page(to, 200, "application/json", body);
}

/* Answers one request. False: the client has gone, or is to go. */
static bool answer(struct connection *c, const char *head, const char *body)
{
    char method[8] = "", path[256] = "", bytes[REPLY_MAX];
    sscanf(head, "%7s %255s", method, path);
    size_t count = 0;
    if (strcmp(method, "POST") == 0 &&
        (strcmp(path, "/v1/chat/completions") == 0 || strcmp(path, "/v1/completions") == 0)) {
        queries++;
        if (true_after(body, "\"stream\":"))
            return start_stream(c, body);
        count = reply_completion(bytes);
    } else if (strncmp(path, "/ctl", strlen("/ctl")) == 0) {
        count = control(bytes, path);
    } else {
        count = reply_probe(bytes, path, c->listener->streams);
    }
    return channel_say(&c->channel, bytes, count) && !is_over(c);
}

/* Answers what has arrived, in order; a stream holds back the requests behind it.
 * False: the client has gone, or is to go. */
static bool serve(struct connection *c)
{
    while (c->stage == IDLE && c->channel.in_len > 0) {
        size_t head = 0, whole = request_length(c->channel.in, &head, &c->last);
        if (whole == 0 || whole > c->channel.in_len)
            return c->channel.in_len < REQUEST_MAX && whole < REQUEST_MAX;
        char *in = c->channel.in, after = in[whole];
        in[whole] = 0;
        bool stays = answer(c, in, in + head);
        in[whole] = after;
        channel_take(&c->channel, whole);
        if (!stays)
            return false;
    }
    return true;
}

static struct connection *keep(int fd, struct listener *listener)
{
    static uint32_t generation;
    struct connection *c = grown(NULL, sizeof *c);
    *c = (struct connection){.listener = listener, .generation = ++generation};
    channel_open(&c->channel, epoll, fd);
    by_fd[fd] = c;
    return c;
}

static void take_clients(const struct connection *listening)
{
    int fd, on = 1;
    while ((fd = accept4(listening->channel.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= DESCRIPTORS_MAX) {
            fputs("stub: too many connections\n", stderr);
            exit(1);
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        keep(fd, listening->listener);
    }
}

static void listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, BACKLOG)) {
        perror("stub: listen");
        exit(1);
    }
    struct listener *listener = grown(NULL, sizeof *listener);
    *listener = (struct listener){0};
    keep(fd, listener)->listens = true;
}

/* A paced stream that was held back goes on by its timer, any other at once. */
static bool flushed(struct connection *c)
{
    if (!channel_flush(&c->channel))
        return false;
    if (c->stage != IDLE && c->interval_ns > 0)
        return true;
    return advance(c) && serve(c);
}

static void woken(const struct epoll_event *event)
{
    struct connection *c = by_fd[event->data.fd];
    if (!c)
        return;
    if (c->listens) {
        take_clients(c);
        return;
    }
    bool stays = true;
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        stays = channel_hear(&c->channel) && serve(c);
    if (stays && (event->events & EPOLLOUT))
        stays = flushed(c);
    if (!stays)
        drop(c);
}

static void run_due_timers(void)
{
    uint64_t now = now_ns();
    while (timers_first() && timers_first()->due <= now) {
        struct timer t = timers_take();
        struct connection *c = by_fd[t.fd];
        if (!c || c->generation != t.generation || c->stage == IDLE)
            continue;
        if (!advance(c))
            drop(c);
        else if (c->stage != IDLE)
            wake_later(c, t.due + c->interval_ns);
        else if (!serve(c))
            drop(c);
    }
}

/* The time until the first timer, or NULL to wait for ever. */
static struct timespec *until_timer(struct timespec *wait)
{
    const struct timer *first = timers_first();
    if (!first)
        return NULL;
    uint64_t now = now_ns(), ns = first->due > now ? first->due - now : 0;
    wait->tv_sec = (time_t)(ns / NS_PER_SECOND);
    wait->tv_nsec = (long)(ns % NS_PER_SECOND);
    return wait;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--close") == 0)
            closes_streams = true;
        else
            listen_on(atoi(argv[i]));
    }
    static struct epoll_event ready[BATCH];
    for (struct timespec wait;;) {
        int count = epoll_pwait2(epoll, ready, BATCH, until_timer(&wait), NULL);
        if (count < 0 && errno != EINTR) {
            perror("stub: epoll");
            return 1;
        }
        for (int i = 0; i < count; i++)
            woken(&ready[i]);
        run_due_timers();
    }
}
