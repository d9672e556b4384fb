/* What other processes cost: their CPU clocks and their memory. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#define PROCESSES_MAX 64

struct processes {
    pid_t pid[PROCESSES_MAX];
    int count;
};

/* Reads "12,345"; what does not fit is left out. */
void processes_parse(struct processes *p, char *list);

/* User and system time of all of them, in nanoseconds; one that has ended counts 0. */
uint64_t processes_cpu_ns(const struct processes *p);

/* Sum of VmRSS in KiB; pages that are shared count once for each process. */
long processes_rss_kib(const struct processes *p);
