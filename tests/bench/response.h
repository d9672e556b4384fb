/* An HTTP/1.1 response, read piece by piece: as much of it as a load generator needs. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define RESPONSE_HEAD_MAX 8192
#define RESPONSE_LINE_MAX 32

enum response_state {
    RESPONSE_HEAD,
    RESPONSE_BODY,        /* content-length, or until the connection ends */
    RESPONSE_CHUNK_SIZE,
    RESPONSE_CHUNK,
    RESPONSE_CHUNK_END,
    RESPONSE_TRAILER,
    RESPONSE_DONE,
    RESPONSE_BAD,
};

struct response {
    enum response_state state;
    int status;
    bool closes;          /* the server said Connection: close */
    bool until_end;       /* no length: the body ends with the connection */
    long left;            /* bytes left of the body or of the chunk */
    size_t head_len, line_len;
    char head[RESPONSE_HEAD_MAX + 1];
    char line[RESPONSE_LINE_MAX + 1];
};

typedef void body_sink(void *context, const char *bytes, size_t count);

void response_start(struct response *r);

/* Takes bytes until the response is done or bad, and returns how many it took. */
size_t response_feed(struct response *r, const char *bytes, size_t count, body_sink *sink,
                     void *context);

/* Whether the response is whole although the connection ended just now. */
bool response_ended(const struct response *r);
