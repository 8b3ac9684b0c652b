/*
 * The background's one batch, and where embeds come back. A batch goes round:
 * claimed by the ledger, sent, stored or given back by the ledger, and then the
 * next one is claimed; while there is none, every other second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue_pair.h"
#include "chat/embedding.h"
#include "model/embedding.h"
#include "server/embedder.h"
#include "server/embeds.h"
#include "server/errand_json.h"
#include "server/ledger.h"
#include "server/relay_priv.h"

/* Between two looks for something to do, in ms. */
#define IDLE_MS 2000

/* After a failure, and the most after many, in ms. */
#define PAUSE_MS     1000
#define PAUSE_MAX_MS 60000
#define DOUBLINGS    6 /* from one to beyond the other */

/* Why a batch is given back that nobody failed to make. */
#define STOPPED "its worker was stopped"

/* Failed questions in a row, and how long none is sent then, in ms. */
#define QUESTIONS_FAILED 3
#define QUESTIONS_OFF_MS 10000

struct embedder {
	struct relay *relay;
	struct queue_pair *embeds; /* with the ledger */
	uv_poll_t poll;
	uv_timer_t timer;
	struct embed *work;         /* the batch that is with the server, or
				     * whose vectors wait for Postgres */
	struct errand *errand;      /* its request; NULL: the latter */
	size_t most;                /* passages of a batch: what is in time */
	bool has_answered;          /* the server, since a batch was too late */
	unsigned stores;            /* times that its vectors were given */
	unsigned failures;          /* of batches, in a row */
	unsigned questions_failed;  /* likewise */
	uint64_t questions_from_ms; /* before that none is sent */
};

struct errand *
embedder_send(struct relay *r, const char *const *texts, size_t n,
    long timeout_ms, errand_fn fn, void *arg)
{
	struct buf body = {0};
	struct errand_json post = {
	    .server = embedding_server(r->config),
	    .path = "/embeddings",
	    .body = &body,
	    .timeout_ms = timeout_ms,
	    .max_bytes = EMBEDDING_ANSWER_MAX(n),
	};
	struct errand *e;

	embedding_body(r->config, texts, n, &body);
	e = errand_post_json(r, &post, fn, arg);
	buf_free(&body);
	return e;
}

bool
embedder_give(struct relay *r, struct embed *e)
{
	if (!queue_pair_ask(r->embedder->embeds, e))
		return false;
	ledger_wake(r->ledger);
	return true;
}

bool
embedder_may_ask(const struct relay *r)
{
	return uv_now(&r->loop) >= r->embedder->questions_from_ms;
}

void
embedder_answered(struct relay *r)
{
	r->embedder->questions_failed = 0;
	r->embedder->has_answered = true;
}

void
embedder_failed(struct relay *r)
{
	struct embedder *em = r->embedder;

	if (++em->questions_failed < QUESTIONS_FAILED)
		return;
	em->questions_failed = 0;
	em->questions_from_ms = uv_now(&r->loop) + QUESTIONS_OFF_MS;
	log_text(LOG_WARNING,
	    "questions are not embedded for %d s: their server failed three",
	    QUESTIONS_OFF_MS / 1000);
}

static void go_on(uv_timer_t *timer);

static void
again_in(struct embedder *em, uint64_t ms)
{
	if (!em->relay->is_draining)
		uv_timer_start(&em->timer, go_on, ms, 0);
}

/* The first of many is told. */
static void
pause_after(struct embedder *em, const char *why)
{
	unsigned before = em->failures < DOUBLINGS ? em->failures : DOUBLINGS;
	uint64_t ms = (uint64_t)PAUSE_MS << before;

	if (em->failures++ == 0)
		log_with(LOG_WARNING, "documents are not embedded at present",
		    LOG_TEXT("why", why));
	again_in(em, ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS);
}

/* Back to the ledger, which always has room for the one batch. */
static void
pass_on(struct embedder *em, struct embed *e)
{
	if (embedder_give(em->relay, e))
		return;
	embed_free(e);
	again_in(em, IDLE_MS);
}

/* A worker that others would take for dead has no leases. */
static void
claim(struct embedder *em)
{
	struct embed *e =
	    ledger_is_known(em->relay->ledger) ? embed_new(EMBED_CLAIM) : NULL;

	if (e == NULL) {
		again_in(em, IDLE_MS);
		return;
	}
	e->most = em->most;
	pass_on(em, e);
}

/* What was paid for is stored before more is. */
static void
go_on(uv_timer_t *timer)
{
	struct embedder *em = timer->data;
	struct embed *e = em->work;

	em->work = NULL;
	if (e != NULL)
		pass_on(em, e);
	else
		claim(em);
}

static void
give_back(struct embedder *em, struct embed *e, const char *why)
{
	e->kind = EMBED_GIVE_BACK;
	embed_explain(e, why);
	pass_on(em, e);
}

/* The server, or a proxy before it, had no time for it. */
static bool
is_late(const struct errand_end *end)
{
	return end->code == CURLE_OPERATION_TIMEDOUT
		   ? end->was_sent
		   : end->status == 408 || end->status == 504;
}

/*
 * How many passages the server makes in time is found by trying: half as many
 * after a batch that was too late, one more after each full one that was not. A
 * single one that is late is too much for the server if that has answered
 * anything since the last time: else it is the server that hangs.
 */
static bool
is_too_much(struct embedder *em, const struct embed *e)
{
	bool has_answered = em->has_answered;

	em->has_answered = false;
	em->most = e->batch->n > 1 ? e->batch->n / 2 : 1;
	return e->batch->n == 1 && has_answered;
}

static void
batch_ended(void *arg, const struct errand_end *end)
{
	struct embedder *em = arg;
	struct embed *e = em->work;
	char why[64];

	em->work = NULL;
	em->errand = NULL;
	em->stores = 0;
	(void)snprintf(
	    why, sizeof(why), "the server answered %ld", end->status);
	if (is_late(end)) {
		e->is_refused = is_too_much(em, e);
		give_back(em, e, end->code == CURLE_OK ? why : end->why);
	} else if (end->code != CURLE_OK) {
		e->is_refused = end->is_too_large;
		give_back(em, e, end->why);
	} else if (end->status / 100 != 2) {
		e->is_refused = embedding_is_refusal(end->status);
		give_back(em, e, why);
	} else {
		em->has_answered = true;
		e->kind = EMBED_STORE;
		buf_add(&e->answer, end->body, end->n);
		pass_on(em, e);
	}
}

static void
send_batch(struct embedder *em, struct embed *e)
{
	const struct embedding_batch *b = e->batch;

	em->errand = embedder_send(em->relay, b->texts, b->n,
	    embedding_batch_ms(em->relay->config), batch_ended, em);
	if (em->errand != NULL)
		em->work = e;
	else
		give_back(em, e, "no memory for a request");
}

static void
batch_stored(struct embedder *em, const struct embed *e)
{
	em->failures = 0;
	if (e->batch->n >= em->most &&
	    em->most < (size_t)em->relay->config->embedding_batch)
		em->most++;
	metrics_add(METRIC_EMBEDDINGS_PASSAGES_DONE, (int64_t)e->batch->n);
	metrics_add(METRIC_EMBEDDING_TOKENS_PASSAGES, e->tokens);
	again_in(em, 0);
}

static void
batch_failed(struct embedder *em, const struct embed *e)
{
	if (em->relay->is_draining)
		return; /* it was given back */
	metrics_add(METRIC_EMBEDDINGS_PASSAGES_FAILED, (int64_t)e->batch->n);
	if (e->is_refused)
		again_in(em, 0); /* its document waits, others need not */
	else
		pause_after(em, e->why);
}

/* Postgres did not take it, or it was another's by then. A lease that nobody
 * gives back ends by itself, and was counted when it was given. */
static void
batch_unstored(struct embedder *em, const struct embed *e)
{
	metrics_add(METRIC_EMBEDDINGS_PASSAGES_FAILED, (int64_t)e->batch->n);
	again_in(em, IDLE_MS);
}

/* Postgres is away: the vectors wait for it. */
static bool
is_worth_keeping(const struct embedder *em, const struct embed *e)
{
	return e->error == ERR_UNAVAILABLE && e->kind == EMBED_STORE &&
	       !em->relay->is_draining && em->stores + 1 < EMBEDDING_STORES_MAX;
}

static void
went_round(struct embedder *em, struct embed *e)
{
	if (is_worth_keeping(em, e)) {
		em->work = e;
		again_in(em, (uint64_t)PAUSE_MS << em->stores++);
		return;
	}
	if (e->error == OK && e->kind == EMBED_CLAIM && e->batch != NULL) {
		if (em->relay->is_draining)
			give_back(em, e, STOPPED);
		else
			send_batch(em, e);
		return;
	}
	if (e->batch == NULL)
		again_in(em, IDLE_MS);
	else if (e->error != OK)
		batch_unstored(em, e);
	else if (e->kind == EMBED_STORE)
		batch_stored(em, e);
	else if (e->kind == EMBED_GIVE_BACK)
		batch_failed(em, e);
	embed_free(e);
}

static void
came_back(uv_poll_t *handle, int status, int events)
{
	struct embedder *em = handle->data;
	struct embed *e;

	(void)status;
	(void)events;
	while ((e = queue_pair_take(em->embeds)) != NULL) {
		if (e->kind == EMBED_FIND)
			stream_embed_found(e);
		else
			went_round(em, e);
	}
}

/* What is asked for is not waited for, and was no try; what came is stored. */
void
embedder_drain(struct relay *r)
{
	struct embedder *em = r->embedder;
	struct embed *e;

	if (em == NULL)
		return;
	uv_timer_stop(&em->timer);
	e = em->work;
	em->work = NULL;
	if (e != NULL && em->errand == NULL) {
		pass_on(em, e);
	} else if (e != NULL) {
		errand_stop(em->errand);
		em->errand = NULL;
		give_back(em, e, STOPPED);
	}
}

bool
embedder_open(struct relay *r)
{
	struct embedder *em;

	if (!embedding_is_on(r->config))
		return true;
	em = r->embedder = calloc(1, sizeof(*em));
	if (em == NULL)
		return false;
	em->relay = r;
	em->most = (size_t)r->config->embedding_batch;
	/* A question of each stream, and the one batch. */
	em->embeds = embeds_new((size_t)r->config->streams_max + 2);
	if (em->embeds == NULL ||
	    uv_poll_init(&r->loop, &em->poll, queue_pair_fd(em->embeds)) != 0)
		return false;
	uv_timer_init(&r->loop, &em->timer);
	em->poll.data = em->timer.data = em;
	uv_poll_start(&em->poll, UV_READABLE, came_back);
	again_in(em, IDLE_MS);
	ledger_embeds_for(r->ledger, em->embeds);
	return true;
}

void
embedder_close(struct relay *r)
{
	struct embedder *em = r->embedder;

	if (em == NULL)
		return;
	uv_timer_stop(&em->timer);
	errand_stop(em->errand);
	embed_free(em->work);
	em->errand = NULL;
	em->work = NULL;
	uv_close((uv_handle_t *)&em->poll, NULL);
	uv_close((uv_handle_t *)&em->timer, NULL);
}

void
embedder_free(struct relay *r)
{
	if (r->embedder == NULL)
		return;
	queue_pair_free(r->embedder->embeds);
	free(r->embedder);
}
