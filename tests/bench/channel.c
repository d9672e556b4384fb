#include "channel.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FIRST_ROOM 4096

void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory) {
        perror("memory");
        exit(1);
    }
    return memory;
}

static void watch(const struct channel *c, int operation, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.fd = c->fd};
    epoll_ctl(c->epoll, operation, c->fd, &event);
}

void channel_open(struct channel *c, int epoll, int fd)
{
    *c = (struct channel){.epoll = epoll, .fd = fd};
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

void channel_close(struct channel *c)
{
    close(c->fd);
    free(c->in);
    free(c->out);
}

bool channel_waits(const struct channel *c)
{
    return c->out_len > c->out_at;
}

bool channel_say(struct channel *c, const char *bytes, size_t count)
{
    size_t taken = 0;
    if (!channel_waits(c)) {
        ssize_t wrote = write(c->fd, bytes, count);
        if (wrote < 0 && errno != EAGAIN)
            return false;
        taken = wrote < 0 ? 0 : (size_t)wrote;
        if (taken == count)
            return true;
        c->out_len = c->out_at = 0;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    c->out = grown(c->out, c->out_len + count - taken);
    memcpy(c->out + c->out_len, bytes + taken, count - taken);
    c->out_len += count - taken;
    return true;
}

bool channel_flush(struct channel *c)
{
    while (channel_waits(c)) {
        ssize_t wrote = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
        if (wrote < 0)
            return errno == EAGAIN;
        c->out_at += (size_t)wrote;
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

bool channel_hear(struct channel *c)
{
    if (c->in_len == c->in_room) {
        c->in_room = c->in_room ? 2 * c->in_room : FIRST_ROOM;
        c->in = grown(c->in, c->in_room + 1);
    }
    ssize_t got = read(c->fd, c->in + c->in_len, c->in_room - c->in_len);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    c->in_len += (size_t)got;
    c->in[c->in_len] = 0;
    return true;
}

void channel_take(struct channel *c, size_t count)
{
    c->in_len -= count;
    memmove(c->in, c->in + count, c->in_len + 1);
}
