#include "timers.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_ROOM 1024

static struct timer *heap; /* binary, smallest on top */
static size_t count, room;

void timers_add(struct timer t)
{
    if (count == room) {
        room = room ? room * 2 : FIRST_ROOM;
        heap = realloc(heap, room * sizeof *heap);
        if (!heap) {
            perror("timers");
            exit(1);
        }
    }
    size_t i = count++;
    for (; i > 0 && heap[(i - 1) / 2].due > t.due; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = t;
}

const struct timer *timers_first(void)
{
    return count ? heap : NULL;
}

struct timer timers_take(void)
{
    struct timer first = heap[0], last = heap[--count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && heap[child + 1].due < heap[child].due)
            child++;
        if (heap[child].due >= last.due)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return first;
}
