/* Server-sent events of a chat stream, read piece by piece.
 *
 * A content event of the stub says when it was sent: its content is "T", 19 digits of the
 * monotonic clock in nanoseconds, and a space. A proxy may write the JSON anew but keeps that.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENTS_LINE_MAX 1024 /* more of a line is not looked at */

enum event_kind { EVENT_CONTENT, EVENT_DONE, EVENT_ERROR };

struct events {
    size_t len;
    char line[EVENTS_LINE_MAX];
};

/* sent_ns is 0 unless the kind is EVENT_CONTENT. Other events are not told. */
typedef void event_sink(void *context, enum event_kind kind, uint64_t sent_ns);

void events_start(struct events *e);
void events_feed(struct events *e, const char *bytes, size_t count, event_sink *sink,
                 void *context);
