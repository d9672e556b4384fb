/* Durations that are kept whole, so that percentiles are exact. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct samples {
    uint32_t *us; /* microseconds */
    size_t count, room;
};

void samples_add(struct samples *s, uint64_t ns);
void samples_clear(struct samples *s);
void samples_sort(struct samples *s);

/* The q-quantile in milliseconds, of sorted samples; -1 if there are none. */
double samples_ms(const struct samples *s, double q);
