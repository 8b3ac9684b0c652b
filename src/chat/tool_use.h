/*
 * What a reply did with tools: each call that its model made, with what came
 * of it. Written into the client's events, into the message's columns
 * tool_calls and tool_responses, and into the next request to the model, which
 * wants a `tool` message for each call.
 *
 * Ownership: the turn's. While the ledger has a batch of them (tool_run.h) it
 * has copies. Thread: whoever has the turn.
 */
#ifndef CHAT_TOOL_USE_H
#define CHAT_TOOL_USE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"
#include "model/model_calls.h"

struct tool;
struct tools;

/* The most calls of one reply, and the most results that one shows. */
#define TOOL_USES_MAX 256

struct tool_use {
	char id[MODEL_CALL_ID_MAX + 1]; /* unique in its reply */
	char name[MODEL_CALL_NAME_MAX + 1];
	char log_id[ID_TEXT];    /* of its operation: done once under it */
	const struct tool *tool; /* of the turn's list; NULL: not offered */
	struct buf arguments;    /* as the model wrote them */
	bool is_cut;             /* they were too long */
	int round;               /* of the model's answer, from 1 */

	struct buf result; /* text for the model: mostly JSON, clean UTF-8 */
	bool is_error;
	bool has_ended; /* the result is there */
	int64_t ms;     /* that it took */
};

struct tool_uses {
	struct tool_use *list;
	size_t n;
};

/* NULL without memory. tool_uses_free(NULL) is fine. */
struct tool_uses *tool_uses_new(void);
void tool_uses_free(struct tool_uses *uses);

/*
 * Adds a call; takes its arguments over. Where its id is none, or another
 * call's, it gets one. NULL: no memory, or there are TOOL_USES_MAX.
 */
struct tool_use *tool_uses_add(struct tool_uses *uses, struct model_call *call,
    const struct tools *tools, int round);

/* Ends a use with a result of which at most `max` bytes are kept; the rest is
 * cut at a whole character, and the result says so. */
void
tool_use_end(struct tool_use *use, const char *result, size_t n, size_t max);

/* Ends a use with {"error": code, "message": message}. */
void tool_use_fail(struct tool_use *use, const char *code, const char *message);

/* The data of the event that tells of a call, and of what came of it. */
void tool_use_write_call(const struct tool_use *use, struct buf *out);
void tool_use_write_result(const struct tool_use *use, struct buf *out);

/* What the message's columns get: JSON arrays. NULL: "[]". */
void tool_uses_write_calls(const struct tool_uses *uses, struct buf *out);
void tool_uses_write_responses(const struct tool_uses *uses, struct buf *out);

/* Appends what the calls of a round and of those after it say, for moderation:
 * their arguments, and names that nobody offered. A paragraph each. */
void
tool_uses_write_words(const struct tool_uses *uses, int round, struct buf *out);

/* The uses of a stored message, from its columns; NULL: these are none. */
struct tool_uses *
tool_uses_read(const char *calls, const char *responses) MUST_CHECK;

/*
 * Appends what one round adds to the next request: the assistant's message
 * with its calls (and the text that it said before them), and a `tool`
 * message for each.
 */
void tool_round_messages(const struct tool_uses *uses, int round,
    const char *text, size_t n, struct buf *out);

/*
 * The same of a stored message, from its columns: {"calls": …, "responses": …}.
 * A call without a response gets one that says so. false: it is none, and
 * nothing was appended.
 */
bool tool_history_messages(const char *json, struct buf *out) MUST_CHECK;

#endif
