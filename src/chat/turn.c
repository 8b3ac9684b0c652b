/*
 * Beginning a turn. One pipeline locks the conversation, stores the question
 * and the empty reply, and reads the context; when it was refused, a second
 * round trip finds out why. Finishing is turn_finish.c's.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "base/text.h"
#include "chat/afterwork.h"
#include "chat/completion.h"
#include "chat/context.h"
#include "chat/context_rounds.h"
#include "chat/conversation.h"
#include "chat/local_turn.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/send_key.h"
#include "chat/store_tool.h"
#include "chat/title.h"
#include "chat/tool.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "chat/turn_context.h"
#include "chat/turn_fallback.h"
#include "chat/turn_tools.h"
#include "chat/turn_words.h"
#include "http/request.h"
#include "model/embedding.h"
#include "model/fallback.h"
#include "model/mask.h"
#include "store/pg.h"

/*
 * A refusal whose reason has gone by the time that it is looked for (the
 * running reply ended in between) is tried again this often.
 */
#define BEGIN_TRIES 3

/*
 * A reply still running so long after its time was up, in s, is nobody's: its
 * turn was committed and the answer to the commit got lost with Postgres, so
 * that no relay ever heard of it. The worker that began it lives on, thus no
 * sweep ends it and its branch would stay closed. The margin is for a ledger
 * that waits for Postgres to come back.
 */
#define LOST_AFTER_S 900

/* A claim only where there is a key, TOOLS where they may be offered, FACTS
 * only where natter-local may answer, HISTORY unless there is a copy, RETRIEVE
 * unless documents are not wanted, and then EMBEDDED where there are vectors.
 */
enum { LOCK, BEGIN, ALWAYS, CALLS_MAX = ALWAYS + 6 };

/* What TURN_BEGIN, TURN_FACTS and TURN_REFUSAL give; TURN_LOCK's columns are
 * turn_context.h's, the rest of TURN_BEGIN's budget.c's. */
enum { BEGIN_ID, BEGIN_MODEL, BEGIN_PARENT = 13, BEGIN_SUMMARY };
enum { FACTS_USERNAME, FACTS_CONVERSATIONS, FACTS_MESSAGES, FACTS_FIRST_MS };
enum { REFUSAL_PARENT_FITS, REFUSAL_RUNNING, REFUSAL_IS_LOST };

/* A turn_kind, as statements call it. */
static const char *const kinds[] = {
    [TURN_SEND] = "send",
    [TURN_EDIT] = "edit",
    [TURN_AGAIN] = "again",
};

/* One call of turn_begin. */
struct beginning {
	struct request *req;
	const struct turn_ask *ask;
	struct turn *turn;
	const char *key[2];       /* the conversation, as queries name it */
	const char *forced_model; /* NULL: the conversation's, the server's */
	const char *title;
	const char *tokens;
	const char *limit;
	const char *bytes;
	const char *quotas;
	const char *max_tokens;         /* NULL: nothing was said */
	struct context_limits limits;   /* for the context */
	const char *tools_bytes;        /* of the tools that may be offered */
	const char *standins;           /* models, or NULL */
	const struct turn_words *words; /* what the question says */
	struct history_copy copy;
	struct pg_call calls[CALLS_MAX];
	size_t n_calls;
	/* Of them; NULL: not sent. */
	struct pg_call *facts, *history, *passages, *embedded;
	const struct pg_call *tools; /* of the conversation's store; or NULL */
};

static bool
is_blank(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	ucs4_t c;
	while ((p = u8_next(&c, p)) != NULL) {
		if (!uc_is_property_white_space(c))
			return false;
	}
	return true;
}

/* The rules of a question, whichever API it came by. */
static enum err
check_content(struct request *req, const struct turn_ask *ask)
{
	size_t n = strlen(ask->content);
	if (n > (size_t)req->services->config->message_max_bytes)
		return request_refuse(req, "content",
		    "It is longer than CHAT_MESSAGE_MAX_BYTES.");
	if (!text_is_clean(ask->content, n))
		return request_refuse(
		    req, "content", "It must be valid UTF-8 without NUL.");
	if (is_blank(ask->content))
		return request_refuse(
		    req, "content", "It must hold some text.");
	return OK;
}

static enum err
check_ask(struct request *req, const struct turn_ask *ask)
{
	enum err e = ask->kind == TURN_AGAIN ? OK : check_content(req, ask);
	if (e != OK)
		return e;
	if (ask->parent_id && !id_is_uuid(ask->parent_id))
		return request_refuse(req, "parent_id", "It must be a UUID.");
	if (ask->model && !model_name_is_fit(ask->model))
		return request_refuse(
		    req, "model", "It must be a model's name.");
	return OK;
}

/* Without a model server every name means natter-local. */
static const char *
force_model(const struct config *config, const struct turn_ask *ask)
{
	return model_is_configured(config) ? ask->model : LOCAL_MODEL;
}

/* Is its question asked about elsewhere, too? */
static bool
keeps_question(const struct config *config)
{
	return (config->moderation_url && *config->moderation_url) ||
	       embedding_is_on(config);
}

struct turn *
turn_new(const struct request *req)
{
	struct turn *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	(void)snprintf(t->user_id, sizeof(t->user_id), "%s", req->who.user_id);
	const char *grant =
	    req->who.key_id ? req->who.key_id : req->who.session_id;
	(void)snprintf(
	    t->grant_id, sizeof(t->grant_id), "%s", grant ? grant : "");
	t->is_by_key = req->who.key_id != NULL;
	(void)snprintf(t->request_id, sizeof(t->request_id), "%s",
	    req->request_id ? req->request_id : "");
	t->begun_us = clock_mono_us();
	t->usage = (struct model_usage){-1, -1, -1};
	return t;
}

static struct turn *
make_turn(const struct request *req, const struct turn_ask *ask)
{
	const struct config *config = req->services->config;
	struct turn *t = turn_new(req);
	if (!t)
		return NULL;
	if (ask->kind == TURN_AGAIN)
		(void)snprintf(t->user_message_id, sizeof(t->user_message_id),
		    "%s", ask->question_id);
	else
		id_make(t->user_message_id);
	id_make(t->message_id); /* after it, as lists by id show them */
	t->wants_stream = ask->wants_stream;
	if (keeps_question(config))
		t->question = strdup(ask->content);
	if (config->pii_mask)
		t->mask = mask_new();
	if ((keeps_question(config) && !t->question) ||
	    (config->pii_mask && !t->mask)) {
		turn_free(t);
		return NULL;
	}
	return t;
}

static bool
refuses_documents(const struct turn_ask *ask)
{
	return ask->documents && *ask->documents == 'f';
}

/* Everything that is sent with the pipeline, made once. */
static enum err
prepare(struct beginning *b)
{
	struct arena *a = b->req->arena;
	const struct config *config = b->req->services->config;
	enum err e = conversation_key(b->ask->conversation_id, b->key);
	if (e != OK)
		return e;
	b->forced_model = force_model(config, b->ask);
	b->title = conversation_title(a, b->ask->content);
	b->tokens = arena_printf(
	    a, "%" PRId64, context_tokens(strlen(b->ask->content)));
	b->limit = arena_printf(a, "%ld", config->context_messages);
	b->bytes = arena_printf(a, "%ld", CONTEXT_BYTES_MAX);
	b->quotas = budget_limits(a, config);
	e = context_limits(a, config, b->forced_model, &b->limits);
	if (e == OK && !refuses_documents(b->ask))
		b->limits.passages = arena_printf(a, "%d", RETRIEVE_BYTES);
	b->tools_bytes = arena_printf(a, "%zu", turn_tools_bytes(config));
	b->standins = turn_fallback_names(b->req);
	if (e != OK)
		return e;
	int64_t most = b->ask->max_tokens > 0 ? b->ask->max_tokens
					      : config->reply_max_tokens;
	b->max_tokens = most > 0 ? arena_printf(a, "%" PRId64, most) : NULL;
	if (!b->title || !b->tokens || !b->limit || !b->bytes || !b->quotas ||
	    !b->tools_bytes || (most > 0 && !b->max_tokens))
		return ERR_TOO_LARGE;
	return OK;
}

static struct pg_call
history_call(const struct beginning *b)
{
	return (struct pg_call){
	    .query = chat_query(CHAT_TURN_HISTORY),
	    .params = {b->turn->user_id, b->turn->user_message_id, b->limit,
		b->bytes, b->limits.summaries},
	};
}

/* What only some turns ask about models. */
static void
fill_calls_of_models(struct beginning *b)
{
	struct turn *t = b->turn;
	bool stands_in = fallback_has_local(b->req->services->config);

	b->facts = NULL;
	/* The conversation's own model may be natter-local too. */
	if (!b->forced_model || !strcmp(b->forced_model, LOCAL_MODEL) ||
	    stands_in) {
		b->facts = &b->calls[b->n_calls++];
		*b->facts = (struct pg_call){
		    .query = chat_query(CHAT_TURN_FACTS),
		    .params = {t->user_id, t->message_id,
			stands_in ? NULL : LOCAL_MODEL},
		};
	}
	b->tools = NULL;
	if (b->req->services->config->tools &&
	    (!b->forced_model || strcmp(b->forced_model, LOCAL_MODEL) != 0)) {
		store_tools_call(t, &b->calls[b->n_calls]);
		b->tools = &b->calls[b->n_calls++];
	}
}

/* The question's passages, once the pipeline has stored the reply. */
static void
fill_retrieval(struct beginning *b)
{
	const struct retrieve_ask ask = {
	    .user_id = b->turn->user_id,
	    .question = b->ask->content,
	    .message_id = b->turn->message_id,
	    .documents = b->ask->documents,
	};
	const struct config *config = b->req->services->config;
	char model[EMBEDDING_NAME];
	b->passages = NULL;
	b->embedded = NULL;
	if (refuses_documents(b->ask))
		return;
	b->passages = &b->calls[b->n_calls++];
	retrieve_call(&ask, b->passages);
	if (!embedding_is_on(config))
		return;
	embedding_name(config, model);
	b->embedded = &b->calls[b->n_calls++];
	*b->embedded = (struct pg_call){
	    .query = chat_query(CHAT_EMBEDDED),
	    .params = {b->turn->user_id, arena_strdup(b->req->arena, model)},
	};
}

static void
fill_calls(struct beginning *b)
{
	struct turn *t = b->turn;
	const char *user = t->user_id;
	const struct services *services = b->req->services;
	b->calls[LOCK] = (struct pg_call){
	    .query = chat_query(CHAT_TURN_LOCK),
	    .params = {user, b->key[0], b->key[1], b->limits.person,
		b->ask->documents},
	};
	b->calls[BEGIN] = (struct pg_call){
	    .query = chat_query(CHAT_TURN_BEGIN),
	    .params = {user, b->key[0], b->key[1], b->ask->parent_id,
		t->user_message_id, t->message_id, b->ask->content,
		b->ask->metadata, b->tokens, b->forced_model,
		services->config->model, b->title, services->worker_id,
		b->quotas, b->max_tokens, b->limits.prompt_bytes, b->limit,
		b->bytes, LOCAL_MODEL, kinds[b->ask->kind],
		b->ask->key ? b->ask->key->key : NULL, b->limits.window,
		b->limits.passages, b->limits.summaries, b->limits.templates,
		b->limits.template_bytes, b->limits.models, b->limits.windows,
		b->limits.facts, b->tools_bytes, b->words->intent,
		b->words->entities, b->standins, b->limits.summary},
	};
	b->n_calls = ALWAYS;
	if (b->ask->key)
		send_key_claim(
		    b->ask->key, user, t->message_id, &b->calls[b->n_calls++]);
	fill_calls_of_models(b);
	fill_retrieval(b);
	b->history = NULL;
	if (!b->copy.rows) {
		b->history = &b->calls[b->n_calls++];
		*b->history = history_call(b);
	}
}

/* Ends a lost reply; the branch is free then. */
static enum err
end_lost(struct request *req, const char *message_id)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_TURN_LOST),
	    .params = {req->who.user_id, message_id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e == OK)
		pg_calls_clear(&call, 1);
	return e;
}

/* Reads TURN_REFUSAL's row. OK: nothing stands in the way (any more). */
static enum err
read_refusal(struct request *req, const PGresult *r)
{
	if (pg_rows(r) == 0)
		return ERR_NOT_FOUND;
	if (!pg_flag(r, 0, REFUSAL_PARENT_FITS))
		return request_refuse(req, "parent_id",
		    "It must be an answer in this conversation.");
	const char *running = pg_text(r, 0, REFUSAL_RUNNING);
	if (!running)
		return OK;
	if (pg_flag(r, 0, REFUSAL_IS_LOST))
		return end_lost(req, running);
	req->running_message = arena_strdup(req->arena, running);
	return ERR_REPLY_IN_PROGRESS;
}

/* Did the same request lead to a reply before? */
static bool
is_replay(const struct beginning *b)
{
	return b->ask->key && *b->ask->key->message_id;
}

/*
 * Finds out why nothing was stored. OK: it is a replay, or trying again is
 * worth it.
 */
static enum err
explain(struct beginning *b)
{
	struct request *req = b->req;
	if (b->ask->key) {
		enum err found = send_key_find(req, b->ask->key);
		if (found != OK || is_replay(b))
			return found;
	}
	long lost = req->services->config->reply_max_seconds + LOST_AFTER_S;
	struct pg_call call = {
	    .query = chat_query(CHAT_TURN_REFUSAL),
	    .params = {b->turn->user_id, b->key[0], b->key[1],
		b->ask->parent_id, arena_printf(req->arena, "%ld", lost),
		kinds[b->ask->kind]},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = read_refusal(req, call.result);
	pg_calls_clear(&call, 1);
	return e;
}

void
turn_disown_if_in_doubt(const struct request *req, const struct turn *t)
{
	const struct services *services = req->services;
	if (pg_is_in_doubt(services->pg) && services->disown)
		services->disown(services->worker, t->user_id, t->message_id);
}

/*
 * Stores both messages, unless it is a replay. ERR_CONFLICT never leaves here:
 * the lock makes a clash on the branch's running reply impossible, and if one
 * came all the same, or one of two who claim a key in different conversations
 * lost, that would be explained like any refusal.
 */
static enum err
store(struct beginning *b)
{
	for (int i = 0; i < BEGIN_TRIES; i++) {
		fill_calls(b);
		enum err e = chat_run(b->req, b->calls, b->n_calls);
		if (e != OK && e != ERR_CONFLICT) {
			turn_disown_if_in_doubt(b->req, b->turn);
			return e;
		}
		if (e == OK && pg_rows(b->calls[BEGIN].result) > 0) {
			e = budget_read(
			    b->req, b->calls[BEGIN].result, &b->turn->budget);
			if (e != OK)
				pg_calls_clear(b->calls, b->n_calls);
			return e;
		}
		pg_calls_clear(b->calls, b->n_calls);
		e = explain(b);
		if (e != OK || is_replay(b))
			return e;
	}
	return ERR_REPLY_IN_PROGRESS;
}

/* Appends natter-local's talk; `local` says what it tried, or NULL. */
static void
say_locally(
    const struct beginning *b, const struct local_turn *local, struct buf *out)
{
	const PGresult *r = b->facts ? b->facts->result : NULL;
	struct local_facts facts = {
	    .username = b->req->who.username,
	    .question = b->ask->content,
	    .has_searched = local && local->has_searched,
	};
	if (pg_rows(r) > 0) {
		facts.username = pg_text(r, 0, FACTS_USERNAME);
		facts.conversations = pg_number(r, 0, FACTS_CONVERSATIONS);
		facts.messages = pg_number(r, 0, FACTS_MESSAGES);
		facts.first_ms = pg_number(r, 0, FACTS_FIRST_MS);
	}
	local_answer(out, &facts);
}

/* It does nothing where a model was to: that may have done it already. */
static void
stand_in_locally(const struct beginning *b)
{
	if (command_is_operation(&b->words->command))
		local_cannot(&b->turn->local);
	else
		say_locally(b, NULL, &b->turn->local);
}

static enum err
answer_locally(struct beginning *b)
{
	struct turn *t = b->turn;
	struct local_turn local = {
	    .req = b->req,
	    .turn = t,
	    .words = b->words,
	    .question = b->ask->content,
	    .is_again = b->ask->kind == TURN_AGAIN,
	    .documents = b->ask->documents,
	    .has_searched = pg_flag(b->calls[LOCK].result, 0, LOCK_DOCUMENTS),
	};
	t->is_local = true;
	if (!local_turn_answer(&local, &t->prompt, &t->note))
		say_locally(b, &local, &t->prompt);
	(void)buf_text(&t->note);
	t->prompt_estimate = context_tokens(strlen(b->ask->content));
	return t->prompt.failed ? ERR_TOO_LARGE : OK;
}

/* Reads what a copy was to spare, which ends with another reply. */
static enum err
read_history(struct beginning *b)
{
	const char *parent = pg_text(b->calls[BEGIN].result, 0, BEGIN_PARENT);
	const char *summary = pg_text(b->calls[BEGIN].result, 0, BEGIN_SUMMARY);
	(void)snprintf(b->turn->summary_id, sizeof(b->turn->summary_id), "%s",
	    summary ? summary : "");
	if (b->history || (parent && !strcmp(parent, b->copy.leaf) &&
			      !strcmp(b->turn->summary_id, b->copy.summary)))
		return OK;
	b->history = &b->calls[b->n_calls];
	*b->history = history_call(b);
	enum err e = chat_run(b->req, b->history, 1);
	if (e == OK)
		b->n_calls++;
	return e;
}

/* Takes what the pipeline gave and builds the model's request. */
static enum err
take(struct beginning *b)
{
	struct turn *t = b->turn;
	const struct config *config = b->req->services->config;
	const PGresult *lock = b->calls[LOCK].result;
	const PGresult *begun = b->calls[BEGIN].result;
	(void)snprintf(t->conversation_id, sizeof(t->conversation_id), "%s",
	    pg_text(begun, 0, BEGIN_ID));
	(void)snprintf(
	    t->model, sizeof(t->model), "%s", pg_text(begun, 0, BEGIN_MODEL));
	enum err e =
	    b->passages ? retrieve_read(b->passages->result, &t->passages) : OK;
	if (e != OK)
		return e;
	t->wants_vector = b->embedded && pg_flag(b->embedded->result, 0, 0) &&
			  pg_flag(lock, 0, LOCK_DOCUMENTS);
	if (!strcmp(t->model, LOCAL_MODEL))
		return answer_locally(b);
	if (fallback_has_local(config))
		stand_in_locally(b);
	e = read_history(b);
	if (e != OK)
		return e;
	const PGresult *history =
	    b->history ? b->history->result : b->copy.rows;
	history_note(t, b->copy.stamp, history, b->ask->content);
	bool may_call = !pg_flag(lock, 0, LOCK_NO_TOOLS);
	if (may_call && b->ask->kind == TURN_AGAIN)
		turn_tools_offer_again(b->req, t);
	else if (may_call)
		turn_tools_offer(b->req, t, b->ask->content);
	if (t->tools && !pg_flag(lock, 0, LOCK_DOCUMENTS))
		tools_remove(t->tools, TOOL_SEARCH_DOCUMENTS);
	if (t->tools && b->tools)
		e = store_tools_take(t, b->tools);
	if (e != OK)
		return e;
	if (config->titles && turn_context_is_new(lock)) {
		if (!t->question)
			t->question = strdup(b->ask->content);
		title_plan(t, config, b->title, b->quotas);
	}
	return turn_context(b->req,
	    &(struct turn_context){
		.turn = t,
		.lock = lock,
		.history = history,
		.question = b->ask->content,
		.passages =
		    t->passages || t->wants_vector ? b->limits.passages : "0",
		.quotas = b->quotas,
		.cache = b->ask->cache,
	    });
}

enum err
turn_begin(
    struct request *req, const struct turn_ask *ask, struct turn **out_turn)
{
	struct beginning b = {.req = req, .ask = ask};
	enum err e = check_ask(req, ask);
	if (e == OK)
		e = prepare(&b);
	if (e == OK)
		e = turn_words_read(req, ask->content, &b.words);
	if (e == OK)
		e = turn_fallback_admit(req, b.forced_model, b.key);
	if (e != OK)
		return e;
	b.turn = make_turn(req, ask);
	if (!b.turn)
		return ERR_BUSY;
	b.turn->intent = ask->kind == TURN_AGAIN ? NULL : b.words->intent;
	history_find(req, ask->conversation_id, &b.copy);
	e = store(&b);
	if (e == OK && !is_replay(&b)) {
		e = take(&b);
		pg_calls_clear(b.calls, b.n_calls);
		if (e != OK)
			turn_abandon(req, b.turn, e);
	}
	history_clear(&b.copy);
	if (e != OK || is_replay(&b)) {
		turn_free(b.turn);
		b.turn = NULL;
	}
	if (e == OK)
		*out_turn = b.turn;
	return e;
}

void
turn_free(struct turn *t)
{
	if (!t)
		return;
	buf_free(&t->prompt);
	buf_free(&t->text);
	buf_free(&t->stored);
	history_note_free(t->history);
	buf_free(&t->local);
	afterworks_free(t->works);
	free(t->question);
	free(t->fallback_from);
	mask_free(t->mask);
	free(t->moderation);
	buf_free(&t->context_note);
	context_rounds_free(t->asked);
	passages_found_free(t->passages);
	cited_free(&t->cited);
	turn_events_free(&t->events);
	buf_free(&t->note);
	completion_free(t->completion);
	free(t->answer);
	tools_free(t->tools);
	tool_uses_free(t->uses);
	free(t);
}
