/*
 * What the next turn of a conversation will be told, kept in Redis for five
 * minutes (CHAT_CONTEXT_CACHE): the messages on the way to the reply that was
 * stored last. They never change once they have ended, so that a copy needs no
 * version: it is right when the next question's parent is that reply, which
 * TURN_BEGIN says in the transaction that stores the question, and when that
 * finds the same summary on its path. Edits, other branches and a turn of
 * another host have other parents, and a summary may be new: then Postgres is
 * asked. Deletions and what retention blanks end a copy as they end answers
 * (store/cache.h).
 */
#ifndef CHAT_HISTORY_H
#define CHAT_HISTORY_H

#include <libpq-fe.h>

#include "base/buf.h"
#include "base/id.h"

struct arena;
struct cache;
struct request;
struct turn;

/* What is kept of a turn until it has ended; owned by it. */
struct history_note {
	char stamp[128];
	struct buf messages; /* with the question, without the reply */
};

/* A copy. */
struct history_copy {
	char leaf[ID_TEXT];    /* it ends with this reply; "": there is none */
	char summary[ID_TEXT]; /* and begins with this summary; "": with none */
	PGresult *rows;        /* as TURN_HISTORY gives them; owned */
	const char *stamp;     /* NULL: nothing is to be kept */
};

/* Looks for a copy. One round trip where CHAT_CONTEXT_CACHE is on, else none.
 * Thread: front. */
void history_find(
    struct request *req, const char *conversation, struct history_copy *out);
void history_clear(struct history_copy *copy);

/* Notes what the turn was told, for history_keep. Thread: front. */
void history_note(struct turn *t, const char *stamp, const PGresult *rows,
    const char *question);

/* Keeps it with the reply, once that is stored. One round trip at most. Thread:
 * ledger. */
void history_keep(struct cache *cache, struct arena *a, const struct turn *t);

void history_note_free(struct history_note *note);

#endif
