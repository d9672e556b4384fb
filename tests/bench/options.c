#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (1 << 20)
#define HEAD_MAX 4096

static const struct option LONG[] = {
    {"port", required_argument, NULL, 'P'},      {"connections", required_argument, NULL, 'c'},
    {"seconds", required_argument, NULL, 's'},   {"warm-up", required_argument, NULL, 'w'},
    {"ramp", required_argument, NULL, 'r'},      {"path", required_argument, NULL, 'u'},
    {"body", required_argument, NULL, 'b'},      {"pids", required_argument, NULL, 'p'},
    {"per-query", no_argument, NULL, 'q'},       {NULL, 0, NULL, 0},
};

static void usage(void)
{
    fputs("usage: loadgen http|sse --port N [--connections 32] [--seconds 4] [--warm-up 1]\n"
          "       [--ramp 0.2] [--path /v1/chat/completions] [--body FILE] [--pids N,N]\n"
          "       [--per-query]\n"
          "http  closed loop of whole answers\n"
          "sse   streams that last, counted by event; with --per-query a closed loop of them\n"
          "Prints one line of JSON: units and CPU of --pids in the window, latencies, memory.\n",
          stderr);
    exit(2);
}

static void set(struct options *o, int option, char *value)
{
    switch (option) {
    case 'P': o->port = atoi(value); break;
    case 'c': o->connections = atoi(value); break;
    case 's': o->seconds = atof(value); break;
    case 'w': o->warm_up = atof(value); break;
    case 'r': o->ramp = atof(value); break;
    case 'u': o->path = value; break;
    case 'b': o->body = value; break;
    case 'p': processes_parse(&o->watched, value); break;
    case 'q': o->per_query = true; break;
    default: usage();
    }
}

struct options options_parse(int argc, char **argv)
{
    struct options o = {.connections = 32, .seconds = 4, .warm_up = 1, .ramp = 0.2};
    o.path = "/v1/chat/completions";
    if (argc < 2 || (strcmp(argv[1], "http") != 0 && strcmp(argv[1], "sse") != 0))
        usage();
    o.sse = strcmp(argv[1], "sse") == 0;
    optind = 2;
    for (int option; (option = getopt_long(argc, argv, "", LONG, NULL)) != -1;)
        set(&o, option, optarg);
    if (o.port <= 0 || o.connections <= 0 || o.connections > CONNECTIONS_MAX || o.seconds <= 0)
        usage();
    return o;
}

static long read_body(const char *file, char *into)
{
    FILE *f = fopen(file, "rb");
    if (!f) {
        perror(file);
        exit(1);
    }
    long length = (long)fread(into, 1, BODY_MAX, f);
    fclose(f);
    return length;
}

char *options_request(const struct options *o, int *length)
{
    char *request = malloc(HEAD_MAX + BODY_MAX), *body = malloc(BODY_MAX);
    if (!request || !body) {
        perror("request");
        exit(1);
    }
    long body_length = o->body ? read_body(o->body, body) : 0;
    int head = snprintf(request, HEAD_MAX,
                        "%s %s HTTP/1.1\r\n"
                        "Host: 127.0.0.1:%d\r\n"
                        "User-Agent: loadgen\r\n"
                        "Accept: */*\r\n"
                        "Authorization: Bearer sk-1234567890abcdefghijklmnop\r\n"
                        "Content-Type: application/json\r\n"
                        "Content-Length: %ld\r\n\r\n",
                        o->body ? "POST" : "GET", o->path, o->port, body_length);
    if (head >= HEAD_MAX)
        usage();
    memcpy(request + head, body, (size_t)body_length);
    free(body);
    *length = head + (int)body_length;
    return request;
}
