/* What the stub says: llama-server's shapes, as bytes. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define REPLY_MAX 4096 /* of every function here */

/* A whole answer with its headers. */
size_t reply_page(char *to, int status, const char *type, const char *body);

/* The non-streamed answer to a query: 21 tokens. */
size_t reply_completion(char *to);

/* What GET path, or a POST that asks no query, gets; 404 if it is unknown. */
size_t reply_probe(char *to, const char *path, unsigned processing);

size_t reply_stream_head(char *to);

/* Events of a stream, each in a chunk of its own. */
size_t reply_role(char *to);
size_t reply_content(char *to, uint64_t sent_ns);
size_t reply_finish(char *to, uint64_t tokens, int usage_follows);
size_t reply_usage(char *to, uint64_t tokens);
size_t reply_done(char *to);
