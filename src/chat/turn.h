/*
 * A turn: one message of a user and the reply to it, from the moment both are
 * in Postgres (the reply with status `streaming`) until the reply's end is
 * committed. The front begins it, the relay lets the model fill it, the ledger
 * finishes it; it is one heap object that changes threads by being pushed.
 *
 * Begin is one pipeline, one round trip, one commit: the conversation's row is
 * locked and gives the messages their positions, the messages and the running
 * reply are inserted, the history for the context is read. Finish is a few
 * statements that the ledger puts, many turns together, into one transaction.
 *
 * Ownership: whoever holds the pointer; turn_free frees everything in it.
 */
#ifndef CHAT_TURN_H
#define CHAT_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"
#include "chat/answer.h"
#include "chat/budget.h"
#include "chat/cited.h"
#include "chat/context.h"
#include "chat/history.h"
#include "chat/turn_events.h"
#include "model/model.h"

struct afterwork;
struct arena;
struct completion;
struct context_rounds;
struct mask;
struct moderation;
struct json_object;
struct passages_found;
struct pg_call;
struct request;
struct send_key;
struct tool_uses;
struct tools;

/* How a reply ended; stored as messages.status. */
enum turn_status {
	TURN_STREAMING,   /* not yet */
	TURN_COMPLETE,    /* the model finished */
	TURN_INTERRUPTED, /* the server had to stop; text so far is kept */
	TURN_CANCELLED,   /* the user stopped it; text so far is kept */
	TURN_FAILED,      /* the model failed; text so far is kept */
};

/* What a reply took before the answer that is being written. */
struct turn_rounds {
	int n;             /* answers that called tools */
	bool is_estimated; /* a model did not say what one of them took */
	size_t said_from;  /* where the text of the last of them begins */
	size_t text_from;  /* and that of the answer */
	int64_t prompt_tokens, completion_tokens, cached_tokens;
};

struct turn {
	char user_id[ID_TEXT];
	char grant_id[ID_TEXT]; /* the session or API key that asked */
	bool is_by_key;         /* the latter */
	char conversation_id[ID_TEXT];
	char user_message_id[ID_TEXT];
	char message_id[ID_TEXT]; /* the reply's */
	char request_id[64];
	bool wants_stream; /* SSE; otherwise one JSON body at the end */
	bool is_local;     /* natter-local: `prompt` holds its whole answer */
	bool is_cached;    /* the same of an answer that was kept */
	bool says_yes;     /* the question agrees to what it was asked before */
	struct history_note *history; /* for the next turn; NULL: not kept */
	struct answer_key *answer; /* where to keep this one; NULL: nowhere */

	struct completion *completion; /* chat/completion.h's; NULL: none */

	struct budget budget; /* what was reserved for it */

	char *question;    /* to be checked or to name; owned, NULL: neither */
	struct mask *mask; /* of what the model gets; owned, NULL: as it is */
	struct moderation *moderation; /* what was flagged; owned, or NULL */
	const char *moderated;         /* "question" or "reply" */
	size_t withheld;               /* bytes of text that nobody may have */

	char model[128];     /* the model that is asked */
	char *fallback_from; /* the one asked for, when another stands in;
			      * owned, else NULL */
	struct buf local;    /* natter-local's answer, where it stands in */
	struct buf note;     /* what natter-local did, for its next turn: JSON
			      * with a NUL behind it */
	struct buf prompt;   /* the model request's JSON body (natter-local: the
			      * answer); what stays of it once an answer has
			      * begun, chat/context_keep.h says */
	bool is_cut;         /* that: it is not whole */
	int64_t prompt_estimate; /* tokens, estimated from the bytes sent */
	/* The passages in `prompt`, numbered from 1 in this order; owned. NULL:
	 * none. Their message's bytes are passages_n from passages_at on (0: it
	 * has none, there it would be), and may become passages_room at most
	 * (chat/context.h). */
	struct passages_found *passages;
	size_t passages_at, passages_n;
	int64_t passages_room;
	const struct prompt *passages_prompt; /* what stands around them */
	/* What `prompt` is made of (chat/context_note.h). */
	struct context_use used[CONTEXT__MAX];
	struct buf context_note;
	char summary_id[ID_TEXT]; /* the last message that the summary on its
				   * path covers; "": it has none */
	bool wants_summary;       /* the next turn may lack room */
	bool wants_vector;        /* of the question: passages have some */
	bool is_sealed;           /* the hash is that of `prompt` */
	unsigned char sent_sha256[CONTEXT_SHA256]; /* of the body */
	struct context_rounds *asked; /* requests after that; NULL: none */

	struct tools *tools; /* offered with the question; NULL: none */
	const char *intent;  /* of a new question, constant; NULL: not known */

	uint64_t begun_us; /* CLOCK_MONOTONIC when it was begun */

	/* Filled by the relay. */
	struct buf text;           /* the reply so far, clean UTF-8 */
	struct cited cited;        /* passages that it cites */
	struct turn_events events; /* what is said besides the text */
	enum turn_status status;
	enum err error; /* why it failed; OK otherwise */
	enum model_finish finish;
	struct model_usage usage;
	char answered_by[64]; /* the model's own name for itself; "" unknown */
	bool is_unasked;      /* it ended before a model had the request */
	uint64_t first_us;    /* at the first token; 0 = none */
	int attempts;         /* requests made to the model */
	struct tool_uses *uses;    /* of tools, in order; NULL: none */
	struct turn_rounds rounds; /* of answers that called tools */

	struct afterwork *works; /* owned; to do once it is stored, or NULL */

	/* Filled by turn_stored after the commit. */
	struct buf stored; /* the stored message as the API shows it, JSON */
	bool is_stored;    /* the commit is known to have happened */

	void *owner; /* the relay's stream; nobody else looks at it */
};

/* How a turn comes to its question. */
enum turn_kind {
	TURN_SEND,  /* a new one, below an answer */
	TURN_EDIT,  /* a new one, beside a stored one */
	TURN_AGAIN, /* a stored one: a new reply beside those it has */
};

/* What a request asks for. Borrowed strings. */
struct turn_ask {
	enum turn_kind kind;
	const char *conversation_id; /* UUID or short id */
	const char *content;         /* of TURN_AGAIN: as it is stored */
	/* UUID. NULL: the conversation's current leaf or, but for TURN_SEND,
	 * the question is (or will be) one of the first messages. */
	const char *parent_id;
	const char *question_id; /* of TURN_AGAIN */
	const char *model;    /* or NULL: the conversation's, then CHAT_MODEL */
	const char *metadata; /* JSON object, or NULL */
	int64_t max_tokens;   /* of the reply; 0: nothing was said */
	bool wants_stream;
	enum answer_wish cache;
	/* Are documents looked through? "t" or "f"; NULL: as the conversation
	 * says, its store, or yes. */
	const char *documents;
	struct send_key *key; /* NULL: none */
};

/*
 * Stores the user's message, if it is new, and the empty reply, reads the
 * context, builds the model's request. What a turn is about that is no
 * TURN_SEND, branch_target says (chat/branch.h). ERR_NOT_FOUND: no such
 * conversation of this user; ERR_INVALID_FIELD: content, model, or a parent_id
 * that is no answer in this conversation; ERR_REPLY_IN_PROGRESS: the branch has
 * a running reply (req->running_message names it, NULL when it kept changing);
 * ERR_QUOTA_EXCEEDED, ERR_RATE_LIMITED: see budget_read; ERR_KEY_REUSED: see
 * send_key_find. Nothing was stored then. After any other error the question
 * may be stored; where it is known to be, req->running_message names the reply,
 * which has failed. OK with *out_turn NULL: nothing was begun, since ask->key
 * led to a reply before, which it names. Thread: front.
 */
enum err turn_begin(struct request *req, const struct turn_ask *ask,
    struct turn **out_turn) MUST_CHECK;

/* An answer that called tools has ended, and its calls are among the turn's
 * uses: what it took is added up, and the next one begins behind its text.
 * Thread: relay. */
void turn_end_round(struct turn *t, const struct model_usage *usage);

/* Tokens of all rounds that have ended, estimated where no model said. */
int64_t turn_tokens(const struct turn *t);

/* One of the request's user and grant, without an id and anything else; NULL
 * without memory. */
struct turn *turn_new(const struct request *req);

/*
 * Whether its beginning was stored nobody knows: its reply must not stay
 * `streaming` without anybody to write it. Does nothing where it is known.
 */
void turn_disown_if_in_doubt(const struct request *req, const struct turn *t);

/* What it took: the model's numbers, or ours where it gave none. */
struct model_usage turn_usage(const struct turn *t);

/* Ends the text as a string, in place; false: it has none, or no memory.
 * Whoever reads the text while the ledger has the turn calls it before giving
 * it away: then nobody moves it. */
bool turn_end_text(struct turn *t);

/* The most statements that finishing one turn takes. */
#define TURN_FINISH_CALLS 6

/*
 * Fills the calls (room for TURN_FINISH_CALLS) that store the reply's end;
 * returns how many. Strings are borrowed from the turn and from `a`.
 * Idempotent in the database: a turn that is no longer `streaming` there is
 * left alone. The turn must have ended: any status but TURN_STREAMING.
 * Thread: ledger.
 */
size_t turn_finish(struct turn *t, struct arena *a, struct pg_call *calls);

/*
 * Reads the results of those calls, after the commit, into t->stored.
 * ERR_NOT_FOUND: the message was deleted meanwhile (its conversation or user
 * went away). ERR_INTERRUPTED: another worker took this one for dead and ended
 * it first. Thread: ledger.
 */
enum err
turn_stored(struct turn *t, const struct pg_call *calls, size_t n) MUST_CHECK;

/*
 * Ends, as failed with `e`, a turn that was begun and that nobody will answer;
 * the turn stays the caller's. req->running_message names it then. One round
 * trip; where that fails too, the worker goes on trying. Thread: front.
 */
void turn_abandon(struct request *req, struct turn *t, enum err e);

/* The data of the `start` event: ids as JSON. */
void turn_start_json(const struct turn *t, struct buf *out);

/* The messages.status word of a status; a kind, as statements call it. */
const char *turn_status_name(enum turn_status s);
const char *turn_kind_name(enum turn_kind k);

void turn_free(struct turn *t);

/*
 * Fills the call that ends, as failed, a reply of which no relay ever heard;
 * its row says whether there was one. Idempotent. Thread: ledger.
 */
void turn_unheard(
    const char *user_id, const char *message_id, struct pg_call *out_call);

/* This worker's life sign, and whom its master saw die. */
#define TURN_WORKER_CALLS 2

/*
 * Fills the calls (room for TURN_WORKER_CALLS) that say that this worker lives
 * and that those in `dead` ("{id,…}"; NULL: none) do not. Run under no
 * identity, once before the first turn and then every few seconds. The first
 * call's one row is the database's clock in ms.
 */
size_t turn_worker_calls(const char *worker_id, const char *dead,
    struct arena *a, struct pg_call *calls);

#endif
