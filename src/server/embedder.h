/*
 * Vectors, where CHAT_EMBEDDING_MODEL asks for them: each worker makes those of
 * documents in the background, a batch at a time, and lets streams ask for
 * those of their questions (stream_embed.c). What it works at is leased
 * (chat/embedding.h): a worker that is killed leaves nothing behind.
 *
 * A server that fails is asked less and less often, up to once a minute; three
 * questions in a row that it failed, and none is sent there for ten seconds.
 *
 * Thread: relay.
 */
#ifndef SERVER_EMBEDDER_H
#define SERVER_EMBEDDER_H

#include <stdbool.h>

#include "server/errand.h"

struct buf;
struct embed;
struct embedder;
struct relay;

/* Makes r->embedder, NULL where no vectors are wanted, and takes it down: its
 * handles while the loop runs, the rest after that. */
bool embedder_open(struct relay *r);
void embedder_close(struct relay *r);
void embedder_free(struct relay *r);

/* The worker drains: nothing more is begun, what is asked for is given back. */
void embedder_drain(struct relay *r);

/* Asks for the vectors of texts; NULL: no memory. */
struct errand *embedder_send(struct relay *r, const char *const *texts,
    size_t n, long timeout_ms, errand_fn fn, void *arg) MUST_CHECK;

/* Gives an embed to the ledger; false: it has too many, it is the caller's. */
bool embedder_give(struct relay *r, struct embed *e) MUST_CHECK;

/* May a question be sent there now? What came of it. */
bool embedder_may_ask(const struct relay *r);
void embedder_answered(struct relay *r);
void embedder_failed(struct relay *r);

#endif
