/*
 * The vectors of passages in the database: what is to be made (a lease on a
 * document and a few of its passages), what was made, and what could not be.
 * Leases end with their worker or after a time, so that a kill at any point
 * leaves nothing to clean up: what was not stored is made again.
 *
 * Thread: the ledger, but for embedding_batch_free: any.
 */
#ifndef CHAT_EMBEDDING_H
#define CHAT_EMBEDDING_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct config;
struct embeddings;
struct pg_call;

/* So often vectors are given to a Postgres that is away, with pauses between of
 * half a minute in all: the lease is longer. */
#define EMBEDDING_STORES_MAX 6

/*
 * Longest wait for the vectors of a batch, in ms: many questions' time, since a
 * server may take as long for each passage, and a minute at least, since it may
 * have to load its model.
 */
long embedding_batch_ms(const struct config *config);

/* Passages of one document. One object of the heap. */
struct embedding_batch {
	char lease[ID_TEXT];
	char user_id[ID_TEXT];
	char document_id[ID_TEXT];
	size_t n;
	char (*ids)[ID_TEXT];
	/* What the server is told of each: title, headings, the passage. */
	const char **texts;
};

/* Who asks for a batch, and for what. Borrowed; all of it lives as long as the
 * call. */
struct embedding_claim {
	const char *worker_id;
	const char *lease;
	size_t most;    /* passages */
	bool is_steady; /* Postgres has been there for so long that who gave it
			 * no sign is dead */
};

void embedding_claim(const struct config *config,
    const struct embedding_claim *claim, struct arena *a,
    struct pg_call *out_call);

/* The documents that were given up instead: the n-th's id, NULL behind the
 * last. Points into the result. */
const char *embedding_abandoned(const PGresult *r, int n);

/* What came of it; *out_batch is NULL where nothing is to be done. ERR_BUSY
 * without memory: the lease ends by itself. */
enum err embedding_claimed(const PGresult *r, const char *lease,
    struct embedding_batch **out_batch) MUST_CHECK;

/* Stores its vectors; embedding_is_stored says of the result whether the lease
 * was still ours. */
bool embedding_is_stored(const PGresult *r);
enum err embedding_store(const struct config *config,
    const struct embedding_batch *b, const struct embeddings *e,
    struct arena *a, struct pg_call *out_call) MUST_CHECK;

/* Gives it back; is_refused: the server did not want these passages, or made
 * nothing of them that can be stored. */
void embedding_give_back(const struct config *config,
    const struct embedding_batch *b, const char *why, const char *is_refused,
    struct arena *a, struct pg_call *out_call);

/* Was that the last try of its document? */
bool embedding_is_given_up(const PGresult *r);

/* NULL is fine. */
void embedding_batch_free(struct embedding_batch *b);

#endif
