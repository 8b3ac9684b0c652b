/*
 * A request to a model after a reply is stored, off its path: the
 * conversation's title, for one. It belongs to its user, who pays for it, and
 * it may be lost at any time: by a failing model, a full worker, a stop, a
 * kill. Nothing waits for it and nothing is held back for it, so that nothing
 * is left behind.
 *
 * Its way: the front hangs it onto the turn (turn->works) if the turn calls for
 * it; the ledger asks, in the transaction that stores the reply, whether the
 * user's limits allow it (is_admitted); the relay runs it (server/afterwork.h);
 * the ledger stores what came of it and bills it, in one transaction. What its
 * user used meanwhile may leave less than it takes: it is asked for once, and
 * its numbers are small.
 *
 * Ownership: whoever holds the pointer; afterworks_free frees all of a list.
 * Thread: see above; the functions say theirs.
 */
#ifndef CHAT_AFTERWORK_H
#define CHAT_AFTERWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"
#include "model/model.h"

struct arena;
struct pg_call;
struct turn;

/* A kind's own part is its row in afterwork.c. */
enum afterwork_kind {
	AFTERWORK_SUMMARY, /* chat/summary.h */
	AFTERWORK__MAX,
};

struct afterwork {
	enum afterwork_kind kind;
	struct afterwork *next; /* of the same turn */
	char user_id[ID_TEXT];
	char conversation_id[ID_TEXT];
	char message_id[ID_TEXT]; /* the reply that it follows */
	char store_id[ID_TEXT];   /* ""; none */
	char model[128];          /* who is asked, at the main server */
	char *limits;             /* the settings', as budget_limits says */
	int64_t max_tokens;       /* of the answer */
	struct buf note;          /* the kind's own; what storing needs */
	struct buf body;          /* the request, JSON, a stream or not */
	bool is_admitted;         /* the user has as much left */

	/* Filled by the relay. */
	struct buf text; /* the answer, clean UTF-8 */
	struct model_usage usage;
	char answered_by[64]; /* the model's own name for itself; "" unknown */
};

/* What a kind of work does. */
struct afterwork_row {
	const char *name; /* in usage and counts; a word */
	/* Writes w->body, now that the reply is known; false: not worth it.
	 * NULL: it was written at the turn's beginning. Thread: relay. */
	bool (*compose)(struct afterwork *w, const struct turn *t);
	/* Fills the one call that stores the answer; false: it is none.
	 * Thread: ledger. */
	bool (*keep)(
	    struct afterwork *w, struct arena *a, struct pg_call *out_call);
};

const struct afterwork_row *afterwork_row(enum afterwork_kind kind);

void afterworks_free(struct afterwork *first);

#endif
