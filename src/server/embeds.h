/*
 * What has to do with vectors on its way between the relay, which asks the
 * server for them, and the ledger, which has the database: batches of passages
 * in the background, and what a question's vector finds. The ledger also reads
 * the server's answers: a batch's takes milliseconds, which no stream waits
 * for.
 *
 * An embed is asked (base/queue_pair.h) and always comes back. Thread:
 * embeds_answer is the ledger's.
 */
#ifndef SERVER_EMBEDS_H
#define SERVER_EMBEDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"

struct arena;
struct config;
struct embedding_batch;
struct passages_found;
struct pg;
struct queue_pair;
struct stream;

enum embed_kind {
	EMBED_CLAIM,     /* what is to be done: `batch` */
	EMBED_STORE,     /* `answer` is about the batch */
	EMBED_GIVE_BACK, /* the batch was not answered: `why` */
	EMBED_FIND,      /* `answer` is about the question: `found` */
};

struct embed {
	enum embed_kind kind;
	struct embedding_batch *batch; /* owned; NULL: none */
	struct buf answer;             /* the server's */
	char why[160];                 /* for people */
	size_t most;                   /* passages that are claimed */
	bool is_refused;               /* the server does not want it */

	/* Of a question. */
	char user_id[ID_TEXT];
	char message_id[ID_TEXT]; /* of its conversation */
	char *question;           /* owned */
	struct stream *owner;     /* the relay's; nobody else looks at it */
	atomic_bool is_unwanted;  /* nobody waits for it: it need not be done */

	/* What the ledger says. */
	enum err error;               /* of anything; ERR_CONFLICT: the lease
				       * was another's when it was stored */
	struct passages_found *found; /* owned; NULL: nothing */
	int64_t tokens;               /* of the texts; 0: not known */
};

/* NULL without memory. */
struct embed *embed_new(enum embed_kind kind);
void embed_free(struct embed *e);

/* Says why it failed; what is too long is cut between characters. */
void embed_explain(struct embed *e, const char *why);

/* At most `max` of them at a time; NULL without memory. */
struct queue_pair *embeds_new(size_t max);

/* What the ledger needs. Borrowed. */
struct embeds_stores {
	const struct config *config;
	const char *worker_id;
	bool is_steady; /* as struct embedding_claim */
	struct pg *pg;
	struct arena *arena; /* reset here */
};

/* Answers a few of what waits; true: more waits. */
bool
embeds_answer(struct queue_pair *embeds, const struct embeds_stores *stores);

#endif
