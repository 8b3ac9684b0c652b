/*
 * What the statements of a turn's beginning are given, and which are sent.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/config.h"
#include "chat/budget.h"
#include "chat/context.h"
#include "chat/conversation.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/send_key.h"
#include "chat/store_tool.h"
#include "chat/turn.h"
#include "chat/turn_fallback.h"
#include "chat/turn_pipeline.h"
#include "chat/turn_tools.h"
#include "chat/turn_words.h"
#include "http/request.h"
#include "model/embedding.h"
#include "model/fallback.h"

/* Those that each turn sends; the rest follow in their order. */
enum { LOCK, BEGIN, ALWAYS };
_Static_assert(TURN_PIPELINE_CALLS == ALWAYS + 6, "each has a place");

/* Without a model server every name means natter-local. */
static const char *
force_model(const struct config *config, const struct turn_ask *ask)
{
	return model_is_configured(config) ? ask->model : LOCAL_MODEL;
}

static bool
refuses_documents(const struct turn_ask *ask)
{
	return ask->documents && *ask->documents == 'f';
}

enum err
turn_pipeline_prepare(struct turn_pipeline *p)
{
	struct arena *a = p->req->arena;
	const struct config *config = p->req->services->config;
	enum err e = conversation_key(p->ask->conversation_id, p->key);
	if (e != OK)
		return e;
	p->forced_model = force_model(config, p->ask);
	p->title = conversation_title(a, p->ask->content);
	p->tokens = arena_printf(
	    a, "%" PRId64, context_tokens(strlen(p->ask->content)));
	p->limit = arena_printf(a, "%ld", config->context_messages);
	p->bytes = arena_printf(a, "%ld", CONTEXT_BYTES_MAX);
	p->quotas = budget_limits(a, config);
	e = context_limits(a, config, p->forced_model, &p->limits);
	if (e == OK && !refuses_documents(p->ask))
		p->limits.passages = arena_printf(a, "%d", RETRIEVE_BYTES);
	p->tools_bytes = arena_printf(a, "%zu", turn_tools_bytes(config));
	p->standins = turn_fallback_names(p->req);
	if (e != OK)
		return e;
	int64_t most = p->ask->max_tokens > 0 ? p->ask->max_tokens
					      : config->reply_max_tokens;
	p->max_tokens = most > 0 ? arena_printf(a, "%" PRId64, most) : NULL;
	if (!p->title || !p->tokens || !p->limit || !p->bytes || !p->quotas ||
	    !p->tools_bytes || (most > 0 && !p->max_tokens))
		return ERR_TOO_LARGE;
	return OK;
}

void
turn_pipeline_add_history(struct turn_pipeline *p)
{
	p->history = &p->calls[p->n_calls++];
	*p->history = (struct pg_call){
	    .query = chat_query(CHAT_TURN_HISTORY),
	    .params = {p->turn->user_id, p->turn->user_message_id, p->limit,
		p->bytes, p->limits.summaries},
	};
}

/* What only some turns ask about models. */
static void
fill_calls_of_models(struct turn_pipeline *p)
{
	struct turn *t = p->turn;
	bool stands_in = fallback_has_local(p->req->services->config);

	p->facts = NULL;
	/* The conversation's own model may be natter-local too. */
	if (!p->forced_model || !strcmp(p->forced_model, LOCAL_MODEL) ||
	    stands_in) {
		p->facts = &p->calls[p->n_calls++];
		*p->facts = (struct pg_call){
		    .query = chat_query(CHAT_TURN_FACTS),
		    .params = {t->user_id, t->message_id,
			stands_in ? NULL : LOCAL_MODEL},
		};
	}
	p->tools = NULL;
	if (p->req->services->config->tools &&
	    (!p->forced_model || strcmp(p->forced_model, LOCAL_MODEL) != 0)) {
		store_tools_call(t, &p->calls[p->n_calls]);
		p->tools = &p->calls[p->n_calls++];
	}
}

/* The question's passages, once the pipeline has stored the reply. */
static void
fill_retrieval(struct turn_pipeline *p)
{
	const struct retrieve_ask ask = {
	    .user_id = p->turn->user_id,
	    .question = p->ask->content,
	    .message_id = p->turn->message_id,
	    .documents = p->ask->documents,
	};
	const struct config *config = p->req->services->config;
	char model[EMBEDDING_NAME];
	p->passages = NULL;
	p->embedded = NULL;
	if (refuses_documents(p->ask))
		return;
	p->passages = &p->calls[p->n_calls++];
	retrieve_call(&ask, p->passages);
	if (!embedding_is_on(config))
		return;
	embedding_name(config, model);
	p->embedded = &p->calls[p->n_calls++];
	*p->embedded = (struct pg_call){
	    .query = chat_query(CHAT_EMBEDDED),
	    .params = {p->turn->user_id, arena_strdup(p->req->arena, model)},
	};
}

void
turn_pipeline_fill(struct turn_pipeline *p)
{
	struct turn *t = p->turn;
	const char *user = t->user_id;
	const struct services *services = p->req->services;
	p->calls[LOCK] = (struct pg_call){
	    .query = chat_query(CHAT_TURN_LOCK),
	    .params = {user, p->key[0], p->key[1], p->limits.person,
		p->ask->documents},
	};
	p->calls[BEGIN] = (struct pg_call){
	    .query = chat_query(CHAT_TURN_BEGIN),
	    .params = {user, p->key[0], p->key[1], p->ask->parent_id,
		t->user_message_id, t->message_id, p->ask->content,
		p->ask->metadata, p->tokens, p->forced_model,
		services->config->model, p->title, services->worker_id,
		p->quotas, p->max_tokens, p->limits.prompt_bytes, p->limit,
		p->bytes, LOCAL_MODEL, turn_kind_name(p->ask->kind),
		p->ask->key ? p->ask->key->key : NULL, p->limits.window,
		p->limits.passages, p->limits.summaries, p->limits.templates,
		p->limits.template_bytes, p->limits.models, p->limits.windows,
		p->limits.facts, p->tools_bytes, p->words->intent,
		p->words->entities, p->standins, p->limits.summary},
	};
	p->lock = &p->calls[LOCK];
	p->begun = &p->calls[BEGIN];
	p->n_calls = ALWAYS;
	if (p->ask->key)
		send_key_claim(
		    p->ask->key, user, t->message_id, &p->calls[p->n_calls++]);
	fill_calls_of_models(p);
	fill_retrieval(p);
	p->history = NULL;
	if (!p->copy.rows)
		turn_pipeline_add_history(p);
}
