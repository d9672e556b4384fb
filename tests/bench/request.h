/* As much of a request as the stub has to understand. Bodies have a content-length. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the first request in `in`, or 0 while its headers are not whole. Sets *last when
 * the client asks for the connection to be closed. */
size_t request_length(char *in, size_t *head_length, bool *last);

/* The number behind a key such as "\"max_tokens\":", or `otherwise` if there is none above 0. */
uint64_t number_after(const char *body, const char *key, uint64_t otherwise);

/* Whether `true` stands behind the key. */
bool true_after(const char *body, const char *key);
