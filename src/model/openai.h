/*
 * What OpenAI-compatible servers say in one JSON object: a chunk of a stream
 * or a plain answer. Private to the model floor; others see model.h.
 *
 * Thread: any; pure.
 */
#ifndef MODEL_OPENAI_H
#define MODEL_OPENAI_H

#include <stdbool.h>
#include <stddef.h>

#include "model/json_scan.h"
#include "model/model.h"

/* Where choices keep their text. */
enum openai_shape {
	OPENAI_DELTA,   /* choices[].delta: a chunk */
	OPENAI_MESSAGE, /* choices[].message: a plain answer */
};

/* One object, taken apart. Spans point into its text. */
struct openai_chunk {
	struct json_span model;
	struct json_span content; /* a JSON string or array of parts, or NULL */
	struct json_span calls;   /* its `tool_calls` array, or NULL */
	enum model_finish finish;
	struct model_usage usage;
	bool has_work;    /* reasoning or a tool call, which is no text */
	size_t n_work;    /* bytes of it, names of members left out */
	bool has_choices; /* there was a `choices` array */
	bool has_failed;  /* the server reports an error */
};

/* Takes an object apart; false when it is not JSON or nothing of the kind. */
bool openai_read(const char *p, size_t n, enum openai_shape shape,
    struct openai_chunk *out_chunk);

#endif
