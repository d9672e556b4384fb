#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

void processes_parse(struct processes *p, char *list)
{
    for (char *one = strtok(list, ","); one && p->count < PROCESSES_MAX; one = strtok(NULL, ","))
        p->pid[p->count++] = atoi(one);
}

uint64_t processes_cpu_ns(const struct processes *p)
{
    uint64_t sum = 0;
    for (int i = 0; i < p->count; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(p->pid[i], &clock) == 0)
            sum += clock_ns(clock);
    }
    return sum;
}

static long rss_kib(pid_t pid)
{
    char text[64];
    snprintf(text, sizeof text, "/proc/%d/status", (int)pid);
    FILE *status = fopen(text, "r");
    if (!status)
        return 0;
    long kib = 0;
    char line[256];
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = atol(line + 6);
    fclose(status);
    return kib;
}

long processes_rss_kib(const struct processes *p)
{
    long sum = 0;
    for (int i = 0; i < p->count; i++)
        sum += rss_kib(p->pid[i]);
    return sum;
}
