#define _GNU_SOURCE
#include "request.h"

#include <stdlib.h>
#include <string.h>

#define CONTENT_LENGTH "\r\ncontent-length:"

size_t request_length(char *in, size_t *head_length, bool *last)
{
    char *end = strstr(in, "\r\n\r\n");
    if (!end)
        return 0;
    *head_length = (size_t)(end + strlen("\r\n\r\n") - in);
    end[2] = 0; /* so that the searches stay within the headers */
    const char *length = strcasestr(in, CONTENT_LENGTH);
    size_t body = length ? strtoull(length + strlen(CONTENT_LENGTH), NULL, 10) : 0;
    *last |= strcasestr(in, "\r\nconnection: close") != NULL;
    end[2] = '\r';
    return *head_length + body;
}

uint64_t number_after(const char *body, const char *key, uint64_t otherwise)
{
    const char *at = strstr(body, key);
    uint64_t value = at ? strtoull(at + strlen(key), NULL, 10) : 0;
    return value ? value : otherwise;
}

bool true_after(const char *body, const char *key)
{
    const char *at = strstr(body, key);
    return at && at[strlen(key) + strspn(at + strlen(key), " ")] == 't';
}
