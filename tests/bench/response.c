#define _GNU_SOURCE
#include "response.h"

#include <stdlib.h>
#include <string.h>

#define STATUS_AT 9 /* after "HTTP/1.1 " */

void response_start(struct response *r)
{
    r->state = RESPONSE_HEAD;
    r->status = 0;
    r->closes = r->until_end = false;
    r->left = 0;
    r->head_len = r->line_len = 0;
}

static void read_head(struct response *r)
{
    r->status = r->head_len > STATUS_AT ? atoi(r->head + STATUS_AT) : 0;
    r->closes = strcasestr(r->head, "\r\nconnection: close") != NULL;
    const char *length = strcasestr(r->head, "\r\ncontent-length:");
    if (strcasestr(r->head, "\r\ntransfer-encoding: chunked")) {
        r->state = RESPONSE_CHUNK_SIZE;
    } else if (length) {
        r->left = atol(length + strlen("\r\ncontent-length:"));
        r->state = r->left > 0 ? RESPONSE_BODY : RESPONSE_DONE;
    } else {
        r->until_end = true;
        r->state = RESPONSE_BODY;
    }
}

/* Takes bytes up to the empty line; what follows it is left to the caller. */
static size_t feed_head(struct response *r, const char *bytes, size_t count)
{
    size_t before = r->head_len, room = RESPONSE_HEAD_MAX - before;
    size_t taken = count < room ? count : room;
    memcpy(r->head + before, bytes, taken);
    r->head_len += taken;
    r->head[r->head_len] = 0;
    char *end = strstr(r->head, "\r\n\r\n");
    if (!end) {
        if (r->head_len == RESPONSE_HEAD_MAX)
            r->state = RESPONSE_BAD;
        return taken;
    }
    r->head_len = (size_t)(end + 4 - r->head);
    end[2] = 0;
    read_head(r);
    return r->head_len - before;
}

static size_t feed_data(struct response *r, const char *bytes, size_t count, body_sink *sink,
                        void *context)
{
    size_t taken = r->until_end || count < (size_t)r->left ? count : (size_t)r->left;
    sink(context, bytes, taken);
    if (r->until_end)
        return taken;
    r->left -= (long)taken;
    if (r->left == 0)
        r->state = r->state == RESPONSE_CHUNK ? RESPONSE_CHUNK_END : RESPONSE_DONE;
    return taken;
}

static void end_size_line(struct response *r)
{
    char *end;
    r->line[r->line_len] = 0;
    r->left = strtol(r->line, &end, 16);
    if (end == r->line || r->left < 0)
        r->state = RESPONSE_BAD;
    else
        r->state = r->left ? RESPONSE_CHUNK : RESPONSE_TRAILER;
}

/* Takes one byte of the framing between chunks. */
static void feed_framing(struct response *r, char byte)
{
    if (byte == '\r')
        return;
    if (byte != '\n') {
        if (r->state == RESPONSE_CHUNK_END || r->line_len == RESPONSE_LINE_MAX)
            r->state = RESPONSE_BAD;
        else
            r->line[r->line_len++] = byte;
        return;
    }
    if (r->state == RESPONSE_CHUNK_SIZE)
        end_size_line(r);
    else if (r->state == RESPONSE_CHUNK_END)
        r->state = RESPONSE_CHUNK_SIZE;
    else if (r->line_len == 0)
        r->state = RESPONSE_DONE;
    r->line_len = 0;
}

size_t response_feed(struct response *r, const char *bytes, size_t count, body_sink *sink,
                     void *context)
{
    size_t used = 0;
    while (used < count && r->state != RESPONSE_DONE && r->state != RESPONSE_BAD) {
        if (r->state == RESPONSE_HEAD)
            used += feed_head(r, bytes + used, count - used);
        else if (r->state == RESPONSE_BODY || r->state == RESPONSE_CHUNK)
            used += feed_data(r, bytes + used, count - used, sink, context);
        else
            feed_framing(r, bytes[used++]);
    }
    return used;
}

bool response_ended(const struct response *r)
{
    return r->state == RESPONSE_BODY && r->until_end;
}
