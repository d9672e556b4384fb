#include "replies.h"

#include <stdio.h>
#include <string.h>

#define JSON "application/json; charset=utf-8"
#define TAIL_FORMAT                                                                               \
    "\"created\":1700000000,\"id\":\"chatcmpl-iCCGbzIMK97juM2PoJNOhWKJFVmrLviB\","                  \
    "\"model\":\"q2\",\"system_fingerprint\":\"b11434-stub\",\"object\":\"%s\""
#define USAGE_FORMAT                                                                              \
    "\"usage\":{\"completion_tokens\":%llu,\"prompt_tokens\":42,\"total_tokens\":%llu,"            \
    "\"prompt_tokens_details\":{\"cached_tokens\":0}}"
#define TIMINGS_FORMAT                                                                            \
    "\"timings\":{\"cache_n\":0,\"prompt_n\":42,\"prompt_ms\":21.5,\"prompt_per_token_ms\":0.512," \
    "\"prompt_per_second\":1953.5,\"predicted_n\":%llu,\"predicted_ms\":100.5,"                    \
    "\"predicted_per_token_ms\":4.786,\"predicted_per_second\":208.9}"
#define PROMPT_TOKENS 42
#define ANSWER_TOKENS 21ull

struct probe {
    const char *path, *body;
};

static const struct probe PROBES[] = {
    {"/health", "{\"status\":\"ok\"}"},
    {"/v1/models", "{\"object\":\"list\",\"data\":[{\"id\":\"q2\",\"object\":\"model\","
                   "\"created\":1700000000,\"owned_by\":\"llamacpp\"}]}"},
    {"/props", "{\"default_generation_settings\":{\"params\":{},\"n_ctx\":4096},"
               "\"total_slots\":256,\"model_alias\":\"q2\",\"build_info\":\"b11434-stub\","
               "\"is_sleeping\":false}"},
    {"/tokenize", "{\"tokens\":[1,2,3,4,5,6,7,8]}"},
    {"/v1/chat/completions/input_tokens",
     "{\"input_tokens\":42,\"object\":\"response.input_tokens\"}"},
};

size_t reply_page(char *to, int status, const char *type, const char *body)
{
    return (size_t)snprintf(to, REPLY_MAX,
                            "HTTP/1.1 %d %s\r\n"
                            "Server: llama.cpp\r\n"
                            "Content-Type: %s\r\n"
                            "Content-Length: %zu\r\n"
                            "Keep-Alive: timeout=5, max=100\r\n\r\n%s",
                            status, status == 200 ? "OK" : "Error", type, strlen(body), body);
}

size_t reply_completion(char *to)
{
    char body[REPLY_MAX / 2];
    snprintf(body, sizeof body,
             "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"message\":{\"role\":"
             "\"assistant\",\"content\":\"The quick brown fox jumps over the lazy dog and then it "
             "rests under the old oak tree.\"}}]," TAIL_FORMAT "," USAGE_FORMAT
             "," TIMINGS_FORMAT "}",
             "chat.completion", ANSWER_TOKENS, PROMPT_TOKENS + ANSWER_TOKENS, ANSWER_TOKENS);
    return reply_page(to, 200, JSON, body);
}

static size_t reply_metrics(char *to, unsigned processing)
{
    char body[REPLY_MAX / 2];
    snprintf(body, sizeof body,
             "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing %u\n"
             "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred 0\n",
             processing);
    return reply_page(to, 200, "text/plain; version=0.0.4", body);
}

size_t reply_probe(char *to, const char *path, unsigned processing)
{
    if (strcmp(path, "/metrics") == 0)
        return reply_metrics(to, processing);
    for (size_t i = 0; i < sizeof PROBES / sizeof *PROBES; i++)
        if (strcmp(path, PROBES[i].path) == 0)
            return reply_page(to, 200, JSON, PROBES[i].body);
    return reply_page(to, 404, JSON,
                      "{\"error\":{\"message\":\"File Not Found\",\"type\":\"not_found_error\","
                      "\"code\":404}}");
}

size_t reply_stream_head(char *to)
{
    return (size_t)snprintf(to, REPLY_MAX,
                            "HTTP/1.1 200 OK\r\n"
                            "Server: llama.cpp\r\n"
                            "Content-Type: text/event-stream\r\n"
                            "X-Accel-Buffering: no\r\n"
                            "Keep-Alive: timeout=5, max=100\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n");
}

static size_t event(char *to, const char *choices, const char *more)
{
    char data[REPLY_MAX / 2];
    int length = snprintf(data, sizeof data, "data: {\"choices\":[%s]," TAIL_FORMAT "%s}\n\n",
                          choices, "chat.completion.chunk", more);
    return (size_t)snprintf(to, REPLY_MAX, "%x\r\n%s\r\n", (unsigned)length, data);
}

size_t reply_role(char *to)
{
    return event(to,
                 "{\"finish_reason\":null,\"index\":0,"
                 "\"delta\":{\"role\":\"assistant\",\"content\":null}}",
                 "");
}

size_t reply_content(char *to, uint64_t sent_ns)
{
    char choice[128];
    snprintf(choice, sizeof choice,
             "{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"T%019llu \"}}",
             (unsigned long long)sent_ns);
    return event(to, choice, "");
}

size_t reply_finish(char *to, uint64_t tokens, int usage_follows)
{
    char timings[512] = "";
    if (!usage_follows)
        snprintf(timings, sizeof timings, "," TIMINGS_FORMAT, (unsigned long long)tokens);
    return event(to, "{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}", timings);
}

size_t reply_usage(char *to, uint64_t tokens)
{
    char more[1024];
    snprintf(more, sizeof more, "," USAGE_FORMAT "," TIMINGS_FORMAT, (unsigned long long)tokens,
             PROMPT_TOKENS + (unsigned long long)tokens, (unsigned long long)tokens);
    return event(to, "", more);
}

size_t reply_done(char *to)
{
    static const char done[] = "data: [DONE]\n\n";
    return (size_t)snprintf(to, REPLY_MAX, "%zx\r\n%s\r\n0\r\n\r\n", sizeof done - 1, done);
}
