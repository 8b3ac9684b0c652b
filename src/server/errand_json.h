/*
 * An errand that posts JSON to one of the administrator's servers, as OpenAI's
 * protocol wants it: below a base URL, with a key. Thread: relay.
 */
#ifndef SERVER_ERRAND_JSON_H
#define SERVER_ERRAND_JSON_H

#include <stddef.h>

#include "model/model_server.h"
#include "server/errand.h"

struct buf;
struct relay;

struct errand_json {
	struct model_server server;
	const char *path;   /* "/moderations" */
	const char *accept; /* NULL: anything */
	const struct buf *body;
	long timeout_ms;
	size_t max_bytes;
};

/* As errand_start; NULL also for a body that has failed. */
struct errand *errand_post_json(
    struct relay *r, const struct errand_json *post, errand_fn fn, void *arg);

#endif
