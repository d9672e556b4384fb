#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

#define FIRST_ROOM 65536

void samples_add(struct samples *s, uint64_t ns)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : FIRST_ROOM;
        s->us = realloc(s->us, s->room * sizeof *s->us);
        if (!s->us) {
            perror("samples");
            exit(1);
        }
    }
    uint64_t us = ns / NS_PER_US;
    s->us[s->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void samples_clear(struct samples *s)
{
    s->count = 0;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void samples_sort(struct samples *s)
{
    if (s->count)
        qsort(s->us, s->count, sizeof *s->us, ascending);
}

double samples_ms(const struct samples *s, double q)
{
    return s->count ? s->us[(size_t)(q * (double)(s->count - 1))] / 1000.0 : -1;
}
