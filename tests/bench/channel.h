/* Bytes in and out of one non-blocking socket that an epoll watches. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct channel {
    int epoll, fd;
    char *in, *out; /* in: ends with a 0; out: what the kernel has not taken yet */
    size_t in_len, in_room, out_len, out_at;
};

/* realloc that ends the program when there is no memory. */
void *grown(void *memory, size_t size);

/* Starts to watch fd for reading; events carry the descriptor. */
void channel_open(struct channel *c, int epoll, int fd);
void channel_close(struct channel *c);

/* Writes, and keeps what the kernel does not take. False: the other side has gone. */
bool channel_say(struct channel *c, const char *bytes, size_t count);

/* Whether something is kept. */
bool channel_waits(const struct channel *c);

/* Writes what is kept. False: the other side has gone. */
bool channel_flush(struct channel *c);

/* Appends to `in` what has arrived. False: the other side has gone. */
bool channel_hear(struct channel *c);

/* Takes bytes off the front of `in`. */
void channel_take(struct channel *c, size_t count);
