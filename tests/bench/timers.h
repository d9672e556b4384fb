/* Points in time at which a connection has something to do, earliest first. */
#pragma once
#include <stdint.h>

struct timer {
    uint64_t due; /* monotonic clock, ns */
    int fd;
    uint32_t generation; /* of the connection, because descriptors are used again */
};

void timers_add(struct timer t);

/* The earliest, or NULL; it stays. */
const struct timer *timers_first(void);

/* Takes the earliest; there must be one. */
struct timer timers_take(void);
