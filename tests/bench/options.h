/* What the load generator is asked to do: its command line. */
#pragma once
#include <stdbool.h>

#include "process.h"

#define CONNECTIONS_MAX 16384

struct options {
    bool sse;             /* streams are read event by event */
    bool per_query;       /* streams: the unit is a whole stream, not an event */
    int port;             /* on 127.0.0.1 */
    int connections;      /* each has one query at a time */
    double seconds;       /* length of the window that is measured */
    double warm_up;       /* seconds between the last start and the window */
    double ramp;          /* seconds over which the connections start */
    const char *path;
    const char *body;     /* file; without one, GET */
    struct processes watched;
};

/* Exits with the usage when the command line makes no sense. */
struct options options_parse(int argc, char **argv);

/* Makes the bytes of the request, and says how many there are. */
char *options_request(const struct options *o, int *length);
