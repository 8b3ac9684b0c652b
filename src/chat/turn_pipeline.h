/*
 * The statements that begin a turn, one round trip: what each is given, and
 * which of them are sent at all. Whether they have begun it and what comes of
 * them is turn_begin.c's.
 *
 * Ownership: the turn and the copy are the caller's, strings live in the
 * request's arena. Thread: front.
 */
#ifndef CHAT_TURN_PIPELINE_H
#define CHAT_TURN_PIPELINE_H

#include <stddef.h>

#include "base/errors.h"
#include "chat/history.h"
#include "chat/turn_context.h"
#include "store/pg.h"

struct request;
struct turn;
struct turn_ask;
struct turn_words;

/* LOCK and BEGIN always; a claim only where there is a key, FACTS only where
 * natter-local may answer, TOOLS where they may be offered, RETRIEVE unless
 * documents are not wanted, and then EMBEDDED where there are vectors; HISTORY
 * unless there is a copy. */
#define TURN_PIPELINE_CALLS 8

/* One call of turn_begin. */
struct turn_pipeline {
	struct request *req;
	const struct turn_ask *ask;
	struct turn *turn;
	const char *key[2];       /* the conversation, as queries name it */
	const char *forced_model; /* NULL: the conversation's, the server's */
	const char *title;
	const char *tokens;
	const char *limit;
	const char *bytes;
	const char *quotas;
	const char *max_tokens;         /* NULL: nothing was said */
	struct context_limits limits;   /* for the context */
	const char *tools_bytes;        /* of the tools that may be offered */
	const char *standins;           /* models, or NULL */
	const struct turn_words *words; /* what the question says */
	struct history_copy copy;

	struct pg_call calls[TURN_PIPELINE_CALLS];
	size_t n_calls;
	/* Of them. */
	const struct pg_call *lock, *begun;
	/* NULL: not sent. */
	struct pg_call *facts, *history, *passages, *embedded;
	const struct pg_call *tools; /* of the conversation's store; or NULL */
};

/* Makes what is the same in every try, of `req` and `ask`. ERR_NOT_FOUND: no
 * conversation has such a name; ERR_TOO_LARGE: no room in the arena. */
enum err turn_pipeline_prepare(struct turn_pipeline *p) MUST_CHECK;

/* Fills the calls; `turn`, `words` and `copy` are there. */
void turn_pipeline_fill(struct turn_pipeline *p);

/* Adds the one that a copy was to spare; it is the last. */
void turn_pipeline_add_history(struct turn_pipeline *p);

#endif
