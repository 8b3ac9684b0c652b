/*
 * What the ledger does with an embed. Each is a transaction of its own.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue_pair.h"
#include "base/text.h"
#include "chat/embedding.h"
#include "chat/retrieve.h"
#include "model/embedding.h"
#include "server/embeds.h"
#include "store/pg.h"

/* Of one round: those who wait for the end of their replies come first. */
#define BATCH_MAX 4

/* A batch's vectors as text, twice. */
#define ARENA_MAX ((size_t)16 << 20)

#define GIVEN_UP "a document gets no vectors: it is given up"

struct embed *
embed_new(enum embed_kind kind)
{
	struct embed *e = calloc(1, sizeof(*e));

	if (e != NULL)
		e->kind = kind;
	return e;
}

void
embed_free(struct embed *e)
{
	if (e == NULL)
		return;
	embedding_batch_free(e->batch);
	passages_found_free(e->found);
	buf_free(&e->answer);
	free(e->question);
	free(e);
}

void
embed_explain(struct embed *e, const char *why)
{
	(void)snprintf(e->why, sizeof(e->why), "%s", why);
	text_mend(e->why);
}

static void
free_item(void *e)
{
	embed_free(e);
}

struct queue_pair *
embeds_new(size_t max)
{
	return queue_pair_new(max, 0, free_item);
}

/* Whose workers died each time, or lost Postgres. */
static void
tell_abandoned(const PGresult *r)
{
	const char *id;

	for (int i = 0; (id = embedding_abandoned(r, i)) != NULL; i++) {
		metrics_count(METRIC_EMBEDDINGS_DOCUMENTS_GIVEN_UP);
		log_with(LOG_ERROR, GIVEN_UP, LOG_TEXT("document_id", id),
		    LOG_TEXT("why", "its vectors were never stored"));
	}
}

static enum err
claim(struct embed *e, const struct embeds_stores *stores)
{
	struct pg_call call = {0};
	char lease[ID_TEXT];
	const struct embedding_claim claim = {.worker_id = stores->worker_id,
	    .lease = lease,
	    .most = e->most,
	    .is_steady = stores->is_steady};
	enum err error;

	id_make(lease);
	embedding_claim(stores->config, &claim, stores->arena, &call);
	error = pg_run(stores->pg, NULL, &call, 1);
	if (error == OK) {
		tell_abandoned(call.result);
		error = embedding_claimed(call.result, lease, &e->batch);
	}
	pg_calls_clear(&call, 1);
	return error;
}

/* What came of giving a batch back. */
static void
tell_refused(const struct embed *e, const PGresult *r)
{
	bool is_over = embedding_is_given_up(r);

	metrics_add(METRIC_EMBEDDINGS_DOCUMENTS_GIVEN_UP, is_over);
	log_with(is_over ? LOG_ERROR : LOG_WARNING,
	    is_over ? GIVEN_UP
		    : "a document got no vectors, and is tried again",
	    LOG_TEXT("document_id", e->batch->document_id),
	    LOG_NUMBER("passages", (int64_t)e->batch->n),
	    LOG_TEXT("why", e->why));
}

static enum err
give_back(struct embed *e, const struct embeds_stores *stores)
{
	struct pg_call call = {0};
	enum err error;

	embedding_give_back(stores->config, e->batch, e->why,
	    e->is_refused ? "t" : "f", stores->arena, &call);
	error = pg_run(stores->pg, NULL, &call, 1);
	if (error == OK && e->is_refused)
		tell_refused(e, call.result);
	pg_calls_clear(&call, 1);
	return error;
}

/* What is of no use is as good as refused: the next try may end the same way.
 */
static enum err
refuse(struct embed *e, const struct embeds_stores *stores, const char *why)
{
	e->kind = EMBED_GIVE_BACK;
	e->is_refused = true;
	embed_explain(e, why);
	return give_back(e, stores);
}

static enum err
keep(struct embed *e, const struct embeds_stores *stores)
{
	struct embeddings vectors;
	struct pg_call call = {0};
	enum err error;
	bool is_ours;

	if (!embeddings_read(e->answer.p, e->answer.n, e->batch->n, &vectors))
		return refuse(
		    e, stores, "the server's answer cannot be understood");
	e->tokens = vectors.tokens > 0 ? vectors.tokens : 0;
	error = embedding_store(
	    stores->config, e->batch, &vectors, stores->arena, &call);
	embeddings_free(&vectors);
	if (error != OK)
		return refuse(e, stores, "no memory to store its vectors");
	error = pg_run(stores->pg, NULL, &call, 1);
	is_ours = error == OK && embedding_is_stored(call.result);
	pg_calls_clear(&call, 1);
	if (error == OK && !is_ours)
		return ERR_CONFLICT;
	if (error != OK && error != ERR_UNAVAILABLE)
		return refuse(e, stores, pg_why(stores->pg));
	return error;
}

static const char *
vector_text(const struct embeddings *vector, struct arena *a)
{
	struct buf text = {0};
	const char *copy;

	embeddings_write(vector, &text);
	copy = text.failed ? NULL : arena_strndup(a, text.p, text.n);
	buf_free(&text);
	return copy;
}

static enum err
find(struct embed *e, const struct embeds_stores *stores)
{
	const struct retrieve_ask ask = {.user_id = e->user_id,
	    .question = e->question,
	    .message_id = e->message_id,
	    .documents = "t"}; /* or the front would not have asked for it */
	struct embeddings vector;
	struct pg_call call = {0};
	char name[EMBEDDING_NAME];
	enum err error = ERR_TOO_LARGE;

	if (!embeddings_read(e->answer.p, e->answer.n, 1, &vector)) {
		embed_explain(e, "its answer cannot be understood");
		return ERR_MODEL_FAILED;
	}
	embedding_name(stores->config, name);
	const struct retrieve_near near = {
	    .model = name,
	    .vector = vector_text(&vector, stores->arena),
	    .least = arena_printf(
		stores->arena, "%ld", stores->config->embedding_least),
	};
	e->tokens = vector.tokens > 0 ? vector.tokens : 0;
	embeddings_free(&vector);
	retrieve_call_fused(&ask, &near, &call);
	if (near.vector != NULL && near.least != NULL)
		error = pg_run(stores->pg, e->user_id, &call, 1);
	if (error == OK)
		error = retrieve_read(call.result, &e->found);
	else
		embed_explain(e, pg_why(stores->pg));
	pg_calls_clear(&call, 1);
	return error;
}

static enum err
run(struct embed *e, const struct embeds_stores *stores)
{
	if (atomic_load(&e->is_unwanted))
		return ERR_UNAVAILABLE;
	arena_reset(stores->arena, ARENA_MAX);
	switch (e->kind) {
	case EMBED_CLAIM:
		return claim(e, stores);
	case EMBED_STORE:
		return keep(e, stores);
	case EMBED_GIVE_BACK:
		return give_back(e, stores);
	case EMBED_FIND:
		break;
	}
	return find(e, stores);
}

bool
embeds_answer(struct queue_pair *embeds, const struct embeds_stores *stores)
{
	struct embed *e;
	size_t n = 0;

	while (n++ < BATCH_MAX && (e = queue_pair_next(embeds)) != NULL) {
		enum embed_kind kind = e->kind;

		e->error = run(e, stores);
		if (e->error != OK && e->error != ERR_UNAVAILABLE &&
		    kind != EMBED_FIND)
			log_with(LOG_WARNING, "vectors were not stored",
			    LOG_TEXT("why", e->error == ERR_CONFLICT
						? "their lease was over by then"
						: pg_why(stores->pg)));
		queue_pair_answer(embeds, e);
	}
	return queue_pair_waits(embeds);
}
