/*
 * A request to a model after a reply is stored, off its path: the
 * conversation's title, for one. It belongs to its user, who pays for it, and
 * it may be lost at any time: by a failing model, a full worker, a stop, a
 * kill. Nothing waits for it and nothing is held back for it, so that nothing
 * is left behind.
 *
 * Its way: the front hangs it onto the turn (turn->works) if the turn calls for
 * it; when the reply is stored, the relay composes it and the ledger asks
 * whether the user's limits allow it (WORK_ADMITTED); the relay runs it
 * (server/afterwork.h); the ledger stores what came of it and bills it, in one
 * transaction. An answer of no use is billed all the same (WORK_SPENT), for
 * what the model's server said of it or, where it said nothing, for what there
 * is of it; as with replies, a request that gave neither costs nothing. What
 * its user used meanwhile may leave less than it takes: it is asked for once,
 * and its numbers are small.
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
#include "model/model_server.h"
#include "model/model.h"

struct arena;
struct pg_call;
struct turn;

/* A kind's own part is its row in afterwork.c. */
enum afterwork_kind {
	AFTERWORK_TITLE,   /* title.h */
	AFTERWORK_SUMMARY, /* summary.h */
	AFTERWORK__MAX,
};

/* How far it is. */
enum afterwork_stage {
	WORK_ASKED,    /* may it be? */
	WORK_ADMITTED, /* it may */
	WORK_REFUSED,  /* its user has too little left, or nobody knows */
	WORK_ANSWERED, /* to be billed and stored */
	WORK_SPENT,    /* it failed, and is to be billed */
};

struct afterwork {
	enum afterwork_kind kind;
	struct afterwork *next; /* of the same turn */
	char user_id[ID_TEXT];
	char conversation_id[ID_TEXT];
	char message_id[ID_TEXT]; /* the reply that it follows */
	char store_id[ID_TEXT];   /* ""; none */
	char usage_id[ID_TEXT];   /* of the row that bills it */
	char model[128];          /* who is asked; "": whoever answered */
	enum model_place place;   /* at which server */
	char *limits;             /* the settings', as budget_limits says */
	const char *tokens_field; /* how the server calls max_tokens */
	int64_t prompt_tokens;    /* estimated from the request's texts */
	int64_t max_tokens;       /* of the answer */
	struct mask *mask;        /* of the request; NULL: as it is */
	struct buf note;          /* the kind's own; what storing needs */
	struct buf body;          /* the request, JSON, a stream or not */
	enum afterwork_stage stage;

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

/* One of the turn, hung onto it, with what they have in common (a mask where
 * the turn has one); `limits` as budget_limits says. NULL without memory: then
 * it is not done. Thread: front.
 */
struct afterwork *
afterwork_add(struct turn *t, enum afterwork_kind kind, const char *limits);

/* The one that was added last is not done after all. Thread: front. */
void afterwork_remove(struct turn *t, struct afterwork *w);

/* Composes it for the turn that is stored, which the server at `place`
 * answered; false: there is nothing to do. Thread: relay. */
bool afterwork_compose(
    struct afterwork *w, const struct turn *t, enum model_place place);

/* The most statements that a stage takes. */
#define AFTERWORK_CALLS 2

/* Fills the calls (room for AFTERWORK_CALLS) of its stage, returns how many;
 * afterwork_done reads them, NULL: they failed. Thread: ledger. */
size_t
afterwork_calls(struct afterwork *w, struct arena *a, struct pg_call *calls);
void afterwork_done(struct afterwork *w, const struct pg_call *calls);

/* It came to nothing. True: it is to be billed, and WORK_SPENT. Thread: any. */
bool afterwork_failed(struct afterwork *w);

void afterworks_free(struct afterwork *first);

#endif
