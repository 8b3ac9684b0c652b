/*
 * Beginning a turn. One pipeline (turn_pipeline.c) locks the conversation,
 * stores the question and the empty reply, and reads the context; when it was
 * refused, a second round trip (turn_refusal.c) finds out why. Finishing is
 * turn_finish.c's.
 */
#include <stdio.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "base/config.h"
#include "base/id.h"
#include "base/text.h"
#include "chat/context.h"
#include "chat/conversation.h"
#include "chat/local_turn.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/store_tool.h"
#include "chat/title.h"
#include "chat/tool.h"
#include "chat/turn.h"
#include "chat/turn_context.h"
#include "chat/turn_fallback.h"
#include "chat/turn_pipeline.h"
#include "chat/turn_refusal.h"
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

/* What TURN_BEGIN and TURN_FACTS give; TURN_LOCK's columns are
 * turn_context.h's, the rest of TURN_BEGIN's budget.c's. */
enum { BEGIN_ID, BEGIN_MODEL, BEGIN_PARENT = 13, BEGIN_SUMMARY };
enum { FACTS_USERNAME, FACTS_CONVERSATIONS, FACTS_MESSAGES, FACTS_FIRST_MS };

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

/* Is its question asked about elsewhere, too? */
static bool
keeps_question(const struct config *config)
{
	return (config->moderation_url && *config->moderation_url) ||
	       embedding_is_on(config);
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
store(struct turn_pipeline *p)
{
	for (int i = 0; i < BEGIN_TRIES; i++) {
		turn_pipeline_fill(p);
		enum err e = chat_run(p->req, p->calls, p->n_calls);
		if (e != OK && e != ERR_CONFLICT) {
			turn_disown_if_in_doubt(p->req, p->turn);
			return e;
		}
		if (e == OK && pg_rows(p->begun->result) > 0) {
			e = budget_read(
			    p->req, p->begun->result, &p->turn->budget);
			if (e != OK)
				pg_calls_clear(p->calls, p->n_calls);
			return e;
		}
		pg_calls_clear(p->calls, p->n_calls);
		e = turn_refusal(p->req, p->ask, p->key);
		if (e != OK || turn_is_replay(p->ask))
			return e;
	}
	return ERR_REPLY_IN_PROGRESS;
}

/* Appends natter-local's talk; `local` says what it tried, or NULL. */
static void
say_locally(const struct turn_pipeline *p, const struct local_turn *local,
    struct buf *out)
{
	const PGresult *r = p->facts ? p->facts->result : NULL;
	struct local_facts facts = {
	    .username = p->req->who.username,
	    .question = p->ask->content,
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
stand_in_locally(const struct turn_pipeline *p)
{
	if (command_is_operation(&p->words->command))
		local_cannot(&p->turn->local);
	else
		say_locally(p, NULL, &p->turn->local);
}

static enum err
answer_locally(struct turn_pipeline *p)
{
	struct turn *t = p->turn;
	struct local_turn local = {
	    .req = p->req,
	    .turn = t,
	    .words = p->words,
	    .question = p->ask->content,
	    .is_again = p->ask->kind == TURN_AGAIN,
	    .documents = p->ask->documents,
	    .has_searched = pg_flag(p->lock->result, 0, LOCK_DOCUMENTS),
	};
	t->is_local = true;
	if (!local_turn_answer(&local, &t->prompt, &t->note))
		say_locally(p, &local, &t->prompt);
	(void)buf_text(&t->note);
	t->prompt_estimate = context_tokens(strlen(p->ask->content));
	return t->prompt.failed ? ERR_TOO_LARGE : OK;
}

/* Reads what a copy was to spare, which ends with another reply. */
static enum err
read_history(struct turn_pipeline *p)
{
	const char *parent = pg_text(p->begun->result, 0, BEGIN_PARENT);
	const char *summary = pg_text(p->begun->result, 0, BEGIN_SUMMARY);
	(void)snprintf(p->turn->summary_id, sizeof(p->turn->summary_id), "%s",
	    summary ? summary : "");
	if (p->history || (parent && !strcmp(parent, p->copy.leaf) &&
			      !strcmp(p->turn->summary_id, p->copy.summary)))
		return OK;
	turn_pipeline_add_history(p);
	return chat_run(p->req, p->history, 1);
}

/* Takes what the pipeline gave and builds the model's request. */
static enum err
take(struct turn_pipeline *p)
{
	struct turn *t = p->turn;
	const struct config *config = p->req->services->config;
	const PGresult *lock = p->lock->result;
	const PGresult *begun = p->begun->result;
	(void)snprintf(t->conversation_id, sizeof(t->conversation_id), "%s",
	    pg_text(begun, 0, BEGIN_ID));
	(void)snprintf(
	    t->model, sizeof(t->model), "%s", pg_text(begun, 0, BEGIN_MODEL));
	enum err e =
	    p->passages ? retrieve_read(p->passages->result, &t->passages) : OK;
	if (e != OK)
		return e;
	t->wants_vector = p->embedded && pg_flag(p->embedded->result, 0, 0) &&
			  pg_flag(lock, 0, LOCK_DOCUMENTS);
	if (!strcmp(t->model, LOCAL_MODEL))
		return answer_locally(p);
	if (fallback_has_local(config))
		stand_in_locally(p);
	e = read_history(p);
	if (e != OK)
		return e;
	const PGresult *history =
	    p->history ? p->history->result : p->copy.rows;
	history_note(t, p->copy.stamp, history, p->ask->content);
	bool may_call = !pg_flag(lock, 0, LOCK_NO_TOOLS);
	if (may_call && p->ask->kind == TURN_AGAIN)
		turn_tools_offer_again(p->req, t);
	else if (may_call)
		turn_tools_offer(p->req, t, p->ask->content);
	if (t->tools && !pg_flag(lock, 0, LOCK_DOCUMENTS))
		tools_remove(t->tools, TOOL_SEARCH_DOCUMENTS);
	if (t->tools && p->tools)
		e = store_tools_take(t, p->tools);
	if (e != OK)
		return e;
	if (config->titles && turn_context_is_new(lock)) {
		if (!t->question)
			t->question = strdup(p->ask->content);
		title_plan(t, config, p->title, p->quotas);
	}
	return turn_context(p->req,
	    &(struct turn_context){
		.turn = t,
		.lock = lock,
		.history = history,
		.question = p->ask->content,
		.passages =
		    t->passages || t->wants_vector ? p->limits.passages : "0",
		.quotas = p->quotas,
		.cache = p->ask->cache,
	    });
}

enum err
turn_begin(
    struct request *req, const struct turn_ask *ask, struct turn **out_turn)
{
	struct turn_pipeline p = {.req = req, .ask = ask};
	enum err e = check_ask(req, ask);
	if (e == OK)
		e = turn_pipeline_prepare(&p);
	if (e == OK)
		e = turn_words_read(req, ask->content, &p.words);
	if (e == OK)
		e = turn_fallback_admit(req, p.forced_model, p.key);
	if (e != OK)
		return e;
	p.turn = make_turn(req, ask);
	if (!p.turn)
		return ERR_BUSY;
	p.turn->intent = ask->kind == TURN_AGAIN ? NULL : p.words->intent;
	history_find(req, ask->conversation_id, &p.copy);
	e = store(&p);
	if (e == OK && !turn_is_replay(ask)) {
		e = take(&p);
		pg_calls_clear(p.calls, p.n_calls);
		if (e != OK)
			turn_abandon(req, p.turn, e);
	}
	history_clear(&p.copy);
	if (e != OK || turn_is_replay(ask)) {
		turn_free(p.turn);
		p.turn = NULL;
	}
	if (e == OK)
		*out_turn = p.turn;
	return e;
}
