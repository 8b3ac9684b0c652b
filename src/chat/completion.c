/*
 * Beginning a completion: one pipeline, as a turn's, and the model's request
 * out of what the client sent. What it must look like is completion_read.c's,
 * what is kept of it completion_keep.c's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "chat/completion.h"
#include "chat/context.h"
#include "chat/local_facts.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "chat/turn_fallback.h"
#include "http/request.h"
#include "model/fallback.h"
#include "model/model.h"

/* A short id is 50 random bits, unique per user: twice is already odd. */
#define SHORT_ID_TRIES 3

/* FACTS only where natter-local may answer. */
enum { BEGIN, ALWAYS, CALLS_MAX = ALWAYS + 1 };

/* One call of completion_begin. */
struct beginning {
	struct request *req;
	const struct completion_ask *ask;
	struct turn *turn;
	struct pg_call calls[CALLS_MAX];
	size_t n_calls;
	const struct pg_call *facts; /* of them; NULL: not sent */
};

bool
completion_is_unkept(const struct turn *t)
{
	return t->completion && !t->completion->is_kept;
}

void
completion_id(const struct turn *t, char out[static COMPLETION_ID])
{
	(void)snprintf(out, COMPLETION_ID, "chatcmpl-%s", t->message_id);
}

void
completion_free(struct completion *c)
{
	if (!c)
		return;
	buf_free(&c->calls);
	free(c);
}

static struct turn *
make_turn(const struct request *req, const struct completion_ask *ask)
{
	const struct config *config = req->services->config;
	struct turn *t = turn_new(req);
	if (!t)
		return NULL;
	t->completion = calloc(1, sizeof(*t->completion));
	if (config->pii_mask)
		t->mask = mask_new();
	if (!t->completion || (config->pii_mask && !t->mask)) {
		turn_free(t);
		return NULL;
	}
	if (ask->words)
		t->question = strdup(ask->words);
	t->wants_stream = ask->wants_stream;
	t->completion->is_kept = ask->messages != NULL;
	t->completion->wants_usage = ask->wants_usage;
	t->completion->created_s = (int64_t)(clock_wall_ms() / 1000);
	(void)snprintf(t->model, sizeof(t->model), "%s", ask->model);
	id_make(t->message_id); /* after those that are kept */
	if (!ask->messages)
		return t;
	id_make(t->conversation_id);
	(void)snprintf(
	    t->user_message_id, sizeof(t->user_message_id), "%s", ask->last_id);
	return t;
}

static bool
is_local(const struct beginning *b)
{
	return !strcmp(b->ask->model, LOCAL_MODEL);
}

/* The settings' longest reply holds where nothing was said. */
static const char *
most_tokens(const struct beginning *b)
{
	int64_t most = b->ask->max_tokens;
	if (most == 0)
		most = b->req->services->config->reply_max_tokens;
	return most > 0 ? arena_printf(b->req->arena, "%" PRId64, most) : NULL;
}

static void
fill_begin(struct beginning *b, const char *short_id)
{
	const struct completion_ask *ask = b->ask;
	const struct services *services = b->req->services;
	struct arena *a = b->req->arena;
	const struct turn *t = b->turn;
	bool is_kept = t->completion->is_kept;
	b->calls[BEGIN] = (struct pg_call){
	    .query = chat_query(CHAT_COMPLETION_BEGIN),
	    .params = {t->user_id, t->message_id,
		is_kept ? t->conversation_id : NULL, is_kept ? short_id : NULL,
		ask->title, ask->metadata, ask->messages, t->model, LOCAL_MODEL,
		services->worker_id, budget_limits(a, services->config),
		most_tokens(b), arena_printf(a, "%" PRId64, ask->prompt_bytes),
		ask->last_id, ask->branch_id, turn_fallback_names(b->req)},
	};
}

static void
fill_calls(struct beginning *b, const char *short_id)
{
	fill_begin(b, short_id);
	b->n_calls = ALWAYS;
	b->facts = NULL;
	if (is_local(b) || fallback_has_local(b->req->services->config)) {
		b->facts = &b->calls[b->n_calls];
		b->calls[b->n_calls++] = (struct pg_call){
		    .query = chat_query(CHAT_COMPLETION_FACTS),
		    .params = {b->turn->user_id},
		};
	}
}

static enum err
reserve(struct beginning *b)
{
	enum err e = ERR_CONFLICT;
	for (int i = 0; i < SHORT_ID_TRIES && e == ERR_CONFLICT; i++) {
		char short_id[ID_SHORT_TEXT];
		id_make_short(short_id);
		fill_calls(b, short_id);
		e = chat_run(b->req, b->calls, b->n_calls);
	}
	if (e != OK) {
		turn_disown_if_in_doubt(b->req, b->turn);
		return e;
	}
	e = budget_read(b->req, b->calls[BEGIN].result, &b->turn->budget);
	if (e != OK)
		pg_calls_clear(b->calls, b->n_calls);
	return e;
}

/* Appends natter-local's answer. */
static void
say_locally(const struct beginning *b, struct buf *out)
{
	struct local_facts facts = {
	    .username = "",
	    .question = b->ask->question,
	};
	local_facts_read(b->facts->result, &facts);
	local_answer(out, &facts);
}

/* As the client called the longest reply, or as the model's server does. */
static void
write_most_tokens(const struct beginning *b, struct buf *out)
{
	const char *const *names = b->ask->tokens_fields;
	int64_t most = b->turn->budget.cap;
	if (most == 0)
		most = b->ask->max_tokens;
	if (most == 0)
		return;
	for (size_t i = 0; i < 2; i++)
		if (names[i])
			json_write_number(out, names[i], most);
	if (!names[0] && !names[1])
		json_write_number(
		    out, b->req->services->config->model_tokens_field, most);
}

static void
write_members(const struct beginning *b, struct buf *out)
{
	const char *members = b->ask->members;
	buf_putc(out, ',');
	if (b->turn->mask)
		mask_add_members(b->turn->mask, members, strlen(members), out);
	else
		buf_puts(out, members);
}

/* The model stands first, where openai_rename looks for it. */
static enum err
write_request(const struct beginning *b, struct buf *out)
{
	const struct completion_ask *ask = b->ask;
	json_write_open(out, NULL, '{');
	json_write_text(out, "model", b->turn->model);
	write_members(b, out);
	json_write_flag(out, "stream", true);
	json_write_open(out, "stream_options", '{');
	json_write_flag(out, "include_usage", true);
	if (*ask->stream_options)
		buf_printf(out, ",%s", ask->stream_options);
	json_write_close(out, '}');
	write_most_tokens(b, out);
	json_write_text(out, "user", b->turn->user_id);
	json_write_close(out, '}');
	return out->failed ? ERR_TOO_LARGE : OK;
}

static enum err
take(struct beginning *b)
{
	struct turn *t = b->turn;
	t->prompt_estimate = context_tokens((size_t)b->ask->prompt_bytes);
	if (is_local(b)) {
		t->is_local = true;
		say_locally(b, &t->prompt);
		return t->prompt.failed ? ERR_TOO_LARGE : OK;
	}
	if (b->facts)
		say_locally(b, &t->local);
	return write_request(b, &t->prompt);
}

enum err
completion_begin(struct request *req, const struct completion_ask *ask,
    struct turn **out_turn)
{
	struct beginning b = {.req = req, .ask = ask};
	const char *nowhere[2] = {NULL, NULL};
	enum err e = turn_fallback_admit(req, ask->model, nowhere);
	if (e != OK)
		return e;
	b.turn = make_turn(req, ask);
	if (!b.turn)
		return ERR_BUSY;
	e = reserve(&b);
	if (e == OK) {
		e = take(&b);
		pg_calls_clear(b.calls, b.n_calls);
		if (e != OK)
			turn_abandon(req, b.turn, e);
	}
	if (e != OK) {
		turn_free(b.turn);
		return e;
	}
	*out_turn = b.turn;
	return OK;
}
