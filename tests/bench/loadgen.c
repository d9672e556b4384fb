/* Load generator: one thread, one epoll, a closed loop on every connection.
 *
 * A window begins when all connections have started and warmed up. At its begin and end the CPU
 * clocks of the watched processes are read; answers and events inside it are counted and timed.
 * bench.py runs it; the command line is in options.c. Streams that are open at the end are left,
 * as by clients that go away.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "events.h"
#include "options.h"
#include "response.h"
#include "samples.h"

#define ERRORS_MAX 2000 /* more is no benchmark */
#define ERRORS_SHOWN 3
#define BATCH 512
#define TICK_MS 1

struct connection {
    int fd;
    bool asking;              /* a query is out and its answer is not whole */
    uint64_t asked_at;
    uint64_t content_events;  /* of this answer */
    bool done_seen;
    struct response response;
    struct events events;
};

struct window {
    bool open;
    uint64_t began, ended, cpu, own_cpu;
};

static struct options options;
static struct connection *connections;
static char *request;
static int request_length, epoll, started;
static struct window window;
static struct samples latency, first_event;
static uint64_t answers, window_answers, window_events, errors, read_at;
static uint64_t fewest_events = UINT64_MAX, most_events;

static void failed(const struct connection *c, const char *why)
{
    if (errors < ERRORS_SHOWN)
        fprintf(stderr, "loadgen: %s: status %d: %.400s\n", why, c->response.status,
                c->response.head_len ? c->response.head : "");
    if (++errors > ERRORS_MAX) {
        fprintf(stderr, "loadgen: more than %d errors, given up\n", ERRORS_MAX);
        exit(1);
    }
}

static void connect_it(struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)) {
        perror("loadgen: connect");
        exit(1);
    }
    c->asking = false;
    struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &watch);
}

static void reconnect(struct connection *c)
{
    close(c->fd);
    connect_it(c);
}

static void ask(struct connection *c)
{
    response_start(&c->response);
    events_start(&c->events);
    c->content_events = 0;
    c->done_seen = false;
    c->asking = true;
    c->asked_at = now_ns();
    if (write(c->fd, request, (size_t)request_length) != request_length)
        failed(c, "the request was not taken whole");
}

static void hear_event(void *context, enum event_kind kind, uint64_t sent_ns)
{
    struct connection *c = context;
    if (kind == EVENT_DONE)
        c->done_seen = true;
    if (kind == EVENT_ERROR)
        failed(c, "an error event");
    if (kind != EVENT_CONTENT)
        return;
    if (c->content_events++ == 0 && (window.open || !options.per_query))
        samples_add(&first_event, read_at - c->asked_at);
    if (!window.open)
        return;
    window_events++;
    if (!options.per_query)
        samples_add(&latency, read_at > sent_ns ? read_at - sent_ns : 0);
}

static void hear_body(void *context, const char *bytes, size_t count)
{
    struct connection *c = context;
    if (options.sse && c->response.status == 200)
        events_feed(&c->events, bytes, count, hear_event, c);
}

static void count_answer(struct connection *c)
{
    if (c->response.status != 200)
        failed(c, "not 200");
    else if (options.sse && !c->done_seen)
        failed(c, "a stream without [DONE]");
    answers++;
    if (options.sse) {
        fewest_events = c->content_events < fewest_events ? c->content_events : fewest_events;
        most_events = c->content_events > most_events ? c->content_events : most_events;
    }
    if (window.open && (!options.sse || options.per_query)) {
        window_answers++;
        samples_add(&latency, read_at - c->asked_at);
    }
}

static void finish(struct connection *c, bool closed)
{
    count_answer(c);
    if (closed || c->response.closes)
        reconnect(c);
    else
        ask(c);
}

/* An idle connection may end, but not before it was one. */
static void hear_end(struct connection *c, bool broken)
{
    if (c->asking && response_ended(&c->response)) {
        finish(c, true);
        return;
    }
    if (c->asking || broken)
        failed(c, "no connection, or it ended inside an answer");
    reconnect(c);
}

static void readable(struct connection *c)
{
    static char buffer[1 << 18];
    ssize_t got = read(c->fd, buffer, sizeof buffer);
    read_at = now_ns();
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        hear_end(c, got < 0);
        return;
    }
    if (!c->asking)
        return;
    response_feed(&c->response, buffer, (size_t)got, hear_body, c);
    if (c->response.state == RESPONSE_DONE) {
        finish(c, false);
    } else if (c->response.state == RESPONSE_BAD) {
        failed(c, "not an HTTP response");
        reconnect(c);
    }
}

static void woken(const struct epoll_event *event)
{
    struct connection *c = event->data.ptr;
    if (event->events & EPOLLOUT) { /* connected */
        struct epoll_event watch = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &watch);
        if (!(event->events & (EPOLLERR | EPOLLHUP)))
            ask(c);
    }
    if (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        readable(c);
}

static void open_window(uint64_t now)
{
    window.open = true;
    window.began = now;
    window.cpu = processes_cpu_ns(&options.watched);
    window.own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void close_window(uint64_t now)
{
    window.ended = now;
    window.cpu = processes_cpu_ns(&options.watched) - window.cpu;
    window.own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - window.own_cpu;
}

static void start_due(uint64_t since_start)
{
    double done = options.ramp > 0 ? (double)since_start / (options.ramp * NS_PER_SECOND) : 1;
    while (started < options.connections && (double)started <= done * options.connections)
        connect_it(&connections[started++]);
}

static void run(void)
{
    uint64_t start = now_ns();
    uint64_t begin = start + (uint64_t)((options.ramp + options.warm_up) * NS_PER_SECOND);
    uint64_t length = (uint64_t)(options.seconds * NS_PER_SECOND);
    static struct epoll_event ready[BATCH];
    for (;;) {
        uint64_t now = now_ns();
        start_due(now - start);
        if (!window.open && started == options.connections && now >= begin)
            open_window(now);
        if (window.open && now >= window.began + length) {
            close_window(now);
            return;
        }
        int count = epoll_wait(epoll, ready, BATCH, TICK_MS);
        for (int i = 0; i < count; i++)
            woken(&ready[i]);
    }
}

static void report(long rss_before)
{
    double seconds = (double)(window.ended - window.began) / NS_PER_SECOND;
    uint64_t units = options.sse && !options.per_query ? window_events : window_answers;
    double per_unit = units ? 1.0 / ((double)units * NS_PER_US) : 0;
    int live = 0;
    for (int i = 0; i < options.connections; i++)
        live += connections[i].asking && connections[i].response.state != RESPONSE_HEAD;
    samples_sort(&latency);
    samples_sort(&first_event);
    printf("{\"seconds\":%.3f,\"units\":%llu,\"answers\":%llu,\"events\":%llu,"
           "\"fewest_events\":%lld,\"most_events\":%llu,\"errors\":%llu,\"live\":%d,",
           seconds, (unsigned long long)units, (unsigned long long)answers,
           (unsigned long long)window_events,
           fewest_events == UINT64_MAX ? -1 : (long long)fewest_events,
           (unsigned long long)most_events, (unsigned long long)errors, live);
    printf("\"per_second\":%.1f,\"cpu_us\":%.2f,\"cpu_share\":%.3f,\"own_cpu_us\":%.2f,",
           (double)units / seconds, (double)window.cpu * per_unit,
           (double)window.cpu / (seconds * NS_PER_SECOND), (double)window.own_cpu * per_unit);
    printf("\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"first_p50_ms\":%.3f,\"first_p99_ms\":%.3f,",
           samples_ms(&latency, .5), samples_ms(&latency, .99), samples_ms(&first_event, .5),
           samples_ms(&first_event, .99));
    printf("\"rss_before_kib\":%ld,\"rss_kib\":%ld}\n", rss_before,
           processes_rss_kib(&options.watched));
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    options = options_parse(argc, argv);
    request = options_request(&options, &request_length);
    connections = calloc((size_t)options.connections, sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || epoll < 0) {
        perror("loadgen");
        return 1;
    }
    long rss_before = processes_rss_kib(&options.watched);
    run();
    report(rss_before);
    return 0;
}
