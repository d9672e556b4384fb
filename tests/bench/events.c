#define _GNU_SOURCE
#include "events.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define STAMP "\"T"
#define STAMP_DIGITS 19

void events_start(struct events *e)
{
    e->len = 0;
}

static bool starts(const char *line, size_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && memcmp(line, with, n) == 0;
}

/* The time in a content event, or 0. */
static uint64_t stamp(const char *line, size_t len)
{
    const char *end = line + len, *at = line;
    while ((at = memmem(at, (size_t)(end - at), STAMP, strlen(STAMP)))) {
        at += strlen(STAMP);
        if (end - at <= STAMP_DIGITS)
            return 0;
        if (isdigit((unsigned char)*at))
            return strtoull(at, NULL, 10); /* the byte after the digits ends it */
    }
    return 0;
}

static void tell(const char *line, size_t len, event_sink *sink, void *context)
{
    if (!starts(line, len, "data: "))
        return;
    if (starts(line, len, "data: [DONE]")) {
        sink(context, EVENT_DONE, 0);
    } else if (starts(line, len, "data: {\"error\"")) {
        sink(context, EVENT_ERROR, 0);
    } else {
        uint64_t sent = stamp(line, len);
        if (sent)
            sink(context, EVENT_CONTENT, sent);
    }
}

static void keep(struct events *e, const char *bytes, size_t count)
{
    size_t room = EVENTS_LINE_MAX - e->len;
    size_t taken = count < room ? count : room;
    memcpy(e->line + e->len, bytes, taken);
    e->len += taken;
}

void events_feed(struct events *e, const char *bytes, size_t count, event_sink *sink,
                 void *context)
{
    const char *end = bytes + count, *newline;
    while ((newline = memchr(bytes, '\n', (size_t)(end - bytes)))) {
        if (e->len == 0) { /* the usual case: the whole line is here */
            tell(bytes, (size_t)(newline - bytes), sink, context);
        } else {
            keep(e, bytes, (size_t)(newline - bytes));
            tell(e->line, e->len, sink, context);
            e->len = 0;
        }
        bytes = newline + 1;
    }
    keep(e, bytes, (size_t)(end - bytes));
}
