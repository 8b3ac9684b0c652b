/*
 * A step of preparing: the question's vector is asked for, the ledger looks
 * what is near to it, and what it finds, fused with what the words have found,
 * takes the place of the passages that the turn brought. Whatever fails, or
 * takes longer than CHAT_EMBEDDING_TIMEOUT, those stay. With CHAT_PII_MASK the
 * question is sent as it is masked.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "chat/retrieve.h"
#include "chat/turn.h"
#include "model/embedding.h"
#include "server/embedder.h"
#include "server/embeds.h"
#include "server/relay_priv.h"

static void
go_on_without(struct stream *s, const char *why)
{
	metrics_count(METRIC_EMBEDDINGS_QUESTIONS_FAILED);
	log_with(LOG_NOTICE, "a question was not embedded",
	    LOG_TEXT("message_id", s->turn->message_id), LOG_TEXT("why", why));
}

static struct embed *
make_find(struct stream *s, const struct errand_end *end)
{
	struct embed *e = embed_new(EMBED_FIND);

	if (e == NULL)
		return NULL;
	memcpy(e->user_id, s->turn->user_id, ID_TEXT);
	memcpy(e->message_id, s->turn->message_id, ID_TEXT);
	e->owner = s;
	e->question = strdup(s->turn->question);
	buf_add(&e->answer, end->body, end->n);
	if (e->question != NULL && !e->answer.failed &&
	    embedder_give(s->relay, e))
		return e;
	embed_free(e);
	return NULL;
}

/* The ledger has other work, and Postgres may be away. */
static void
wait_for_finding(struct stream *s)
{
	s->preparation.find_end_ms =
	    uv_now(&s->relay->loop) +
	    (uint64_t)s->relay->config->embedding_timeout_ms;
	stream_arm(s);
}

/* A question that is refused says nothing about others. */
static void
tell_embedder(struct relay *r, const struct errand_end *end)
{
	if (end->code != CURLE_OK || !embedding_is_refusal(end->status))
		embedder_failed(r);
}

static void
vector_came(void *arg, const struct errand_end *end)
{
	struct stream *s = arg;
	char why[64];
	bool is_answer = end->code == CURLE_OK && end->status / 100 == 2;

	s->preparation.errand = NULL;
	(void)snprintf(
	    why, sizeof(why), "the server answered %ld", end->status);
	if (is_answer) {
		s->preparation.find = make_find(s, end);
		if (s->preparation.find != NULL) {
			wait_for_finding(s);
			return;
		}
		go_on_without(s, "no memory to look for what is near");
	} else {
		tell_embedder(s->relay, end);
		go_on_without(s, end->code != CURLE_OK ? end->why : why);
	}
	stream_prepared(s);
}

void
stream_embed_found(struct embed *e)
{
	struct stream *s = e->owner;

	metrics_add(METRIC_EMBEDDING_TOKENS_QUESTIONS, e->tokens);
	if (s == NULL) {
		embed_free(e);
		return;
	}
	s->preparation.find = NULL;
	if (e->error == ERR_MODEL_FAILED)
		embedder_failed(s->relay);
	else
		embedder_answered(s->relay);
	if (e->error == OK) {
		metrics_count(METRIC_EMBEDDINGS_QUESTIONS_DONE);
		/* Without memory the turn keeps what it has. */
		if (context_replace_passages(s->turn, e->found) != OK)
			log_text(LOG_NOTICE,
			    "no memory for what a vector has found");
		e->found = NULL;
	} else
		go_on_without(
		    s, e->why[0] != '\0' ? e->why : err_code(e->error));
	embed_free(e);
	stream_prepared(s);
}

bool
stream_embed_question(struct stream *s)
{
	const struct turn *t = s->turn;
	const char *texts[1];
	char *question;

	if (!t->wants_vector || t->is_local || t->is_cached ||
	    t->question == NULL || s->relay->embedder == NULL)
		return true;
	if (!embedder_may_ask(s->relay)) {
		metrics_count(METRIC_EMBEDDINGS_QUESTIONS_SKIPPED);
		return true;
	}
	question =
	    strndup(t->question, text_prefix(t->question, strlen(t->question),
				     RETRIEVE_QUESTION_BYTES));
	texts[0] = question;
	if (question != NULL)
		s->preparation.errand = embedder_send(s->relay, texts, 1,
		    s->relay->config->embedding_timeout_ms, vector_came, s);
	free(question);
	if (s->preparation.errand != NULL)
		return false;
	go_on_without(s, "no memory to ask for its vector");
	return true;
}

void
stream_embed_stop(struct stream *s)
{
	struct embed *e = s->preparation.find;

	if (e == NULL)
		return;
	e->owner = NULL;
	atomic_store(&e->is_unwanted, true);
	s->preparation.find = NULL;
}

uint64_t
stream_embed_due_ms(const struct stream *s)
{
	return s->preparation.find != NULL ? s->preparation.find_end_ms
					   : UINT64_MAX;
}

void
stream_embed_tick(struct stream *s, uint64_t now_ms)
{
	if (now_ms < stream_embed_due_ms(s))
		return;
	stream_embed_stop(s);
	go_on_without(s, "what is near was not found in time");
	stream_prepared(s);
}
