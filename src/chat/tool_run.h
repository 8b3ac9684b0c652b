/*
 * Natter's own tools at work: a use becomes a statement, and what the statement
 * gave the use's result. Whoever has a connection runs it: the ledger, a
 * model's calls; the front, natter-local's.
 *
 * A use is done once, however often its call is run: under use->log_id.
 *
 * Thread: that of the connection.
 */
#ifndef CHAT_TOOL_RUN_H
#define CHAT_TOOL_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct pg_call;
struct tool_use;

/* For whom, and what they asked. */
struct tool_place {
	char user_id[ID_TEXT];
	char conversation_id[ID_TEXT];
	char question_id[ID_TEXT]; /* the user's message */
	const char *source; /* "model" or "command"; constant, for the log */
	bool says_yes;      /* the question agrees to what was asked before */
	size_t max_bytes;   /* of a result */
};

/*
 * Fills the call of a use of a native tool; strings are borrowed from the place
 * and from `a`. ERR_INVALID_FIELD: the arguments do not fit, the use has ended
 * with a result that says why, and nothing is to be run.
 */
enum err tool_fill(const struct tool_place *at, struct tool_use *use,
    struct arena *a, struct pg_call *out_call) MUST_CHECK;

/* Ends the use with what the call gave. */
void tool_read(const struct tool_place *at, struct tool_use *use,
    const struct pg_call *call);

/* Ends the use that could not be run. */
void tool_failed(struct tool_use *use, enum err e);

#endif
