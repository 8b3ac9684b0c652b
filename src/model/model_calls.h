/*
 * The tools that a model calls, put together from the pieces of its answer.
 * Servers differ: some count their calls by `index`, some do not or always say
 * 0, some give no ids, some give whole calls at once, some arguments as an
 * object. What belongs together, model_calls.c says.
 *
 * Bounded: so many calls of an answer, so many bytes of each one's arguments;
 * what goes beyond is counted or marked, never believed.
 *
 * Ownership: the list owns its calls. Thread: relay; pure. Fuzzed.
 */
#ifndef MODEL_MODEL_CALLS_H
#define MODEL_MODEL_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct json_span;

/* Calls of one answer. */
#define MODEL_CALLS_MAX 8

/* Bytes of one call's arguments; a task's longest description fits. */
#define MODEL_ARGUMENTS_MAX ((size_t)96 * 1024)

#define MODEL_CALL_ID_MAX   128
#define MODEL_CALL_NAME_MAX 64

/* One call. */
struct model_call {
	char id[MODEL_CALL_ID_MAX + 1];     /* "": the server gave none */
	char name[MODEL_CALL_NAME_MAX + 1]; /* as the model wrote it, clean */
	/* JSON as the model wrote it, which may be none; clean UTF-8 once the
	 * answer has ended. */
	struct buf arguments;
	bool is_cut;   /* its arguments were longer than that */
	int64_t index; /* the server's; -1: it gave none */
	uint16_t high; /* half a surrogate pair between two pieces */
};

struct model_calls {
	struct model_call *list; /* room for MODEL_CALLS_MAX, or NULL */
	size_t n;
	unsigned dropped; /* calls beyond the bound */
	bool is_dropping; /* the last piece belonged to one of those */
	bool has_failed;  /* no memory */
};

/* Takes the pieces of one `tool_calls` array, `array`, which was scanned.
 * Of a plain answer (`model_calls_take_whole`) each element is a call. */
void model_calls_take(struct model_calls *c, struct json_span array);
void model_calls_take_whole(struct model_calls *c, struct json_span array);

/* No piece follows: arguments are cleaned. */
void model_calls_end(struct model_calls *c);

void model_calls_free(struct model_calls *c);

#endif
