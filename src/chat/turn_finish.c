/*
 * Ending turns: the one statement that stores a reply's end, what it gave as
 * the JSON that the client gets, and the workers' life signs. What the ledger
 * batches and when is the server's; this file only fills calls and reads them.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json_write.h"
#include "base/metrics.h"
#include "chat/completion.h"
#include "chat/context.h"
#include "chat/context_note.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "http/request.h"
#include "model/moderation.h"

/* What TURN_FINISH gives after a message's columns: this call changed it. */
enum { FINISH_IS_NEW = MESSAGE_COLUMNS_N };

#define HOST_MAX 256

/*
 * The text as a string: in place, since a reply may be 16 MiB. NULL without
 * memory.
 */
static const char *
text_of(struct turn *t, struct arena *a)
{
	if (t->text.n == 0)
		return "";
	if (!turn_end_text(t))
		return arena_strndup(a, t->text.p, t->text.n);
	return t->text.p;
}

static const char *
number(struct arena *a, int64_t n)
{
	if (n < 0)
		n = 0;
	return arena_printf(a, "%" PRId64, n > INT32_MAX ? INT32_MAX : n);
}

/* Once for each reply: when its end was stored. */
static void
count_tokens(const struct turn *t)
{
	struct model_usage u = turn_usage(t);
	metrics_add(METRIC_TOKENS_IN, u.prompt_tokens);
	metrics_add(METRIC_TOKENS_OUT, u.completion_tokens);
}

static const char *
new_id(struct arena *a)
{
	char id[ID_TEXT];
	id_make(id);
	return arena_strdup(a, id);
}

/* The time from the turn's beginning to `at`, in ms; NULL where it has none. */
static const char *
elapsed_ms(const struct turn *t, struct arena *a, uint64_t at_us)
{
	if (t->begun_us == 0 || at_us < t->begun_us)
		return NULL;
	return arena_printf(a, "%.3f", (double)(at_us - t->begun_us) / 1000.0);
}

/* What was flagged, the question or the reply, and as what. */
static void
write_moderation(const struct turn *t, struct buf *b)
{
	struct buf names = {0};
	moderation_write(t->moderation, &names);
	json_write_open(b, "moderation", '{');
	json_write_text(b, "flagged", t->moderated);
	json_write_raw(b, "categories", buf_text(&names));
	json_write_close(b, '}');
	buf_free(&names);
}

/* What a reader of the message is to know of how it came about: JSON. */
static const char *
metadata_of(const struct turn *t, struct arena *a)
{
	struct buf b = {0};
	if (!t->is_cached && !t->fallback_from && !t->moderation &&
	    t->note.n == 0)
		return "{}";
	json_write_open(&b, NULL, '{');
	if (t->is_cached)
		json_write_flag(&b, "cached", true);
	if (t->fallback_from)
		json_write_text(&b, "fallback_from", t->fallback_from);
	if (t->moderation)
		write_moderation(t, &b);
	if (t->note.n > 0)
		json_write_raw(&b, "natter_local", t->note.p);
	json_write_close(&b, '}');
	const char *text = b.failed ? NULL : arena_strndup(a, b.p, b.n);
	buf_free(&b);
	return text ? text : "{}";
}

/* The passages that it rests on: JSON. */
static const char *
used_documents_of(const struct turn *t, struct arena *a)
{
	struct buf b = {0};
	if (!t->passages)
		return "[]";
	cited_write(t, &b);
	const char *text = b.failed ? NULL : arena_strndup(a, b.p, b.n);
	buf_free(&b);
	return text ? text : "[]";
}

/* An array's element; none has anything that needs an escape in quotes. */
static void
add_element(struct buf *array, const char *text, size_t i)
{
	buf_printf(array, "%c\"%s\"", i == 0 ? '{' : ',', text);
}

/*
 * What was flagged is counted by category. The events' ids are made of the
 * reply's, so that storing it again counts nothing twice.
 */
static size_t
count_flagged(const struct turn *t, struct arena *a, struct pg_call *call)
{
	const struct moderation *m = t->moderation;
	struct buf ids = {0};
	struct buf names = {0};
	if (!m || m->n == 0)
		return 0;
	for (size_t i = 0; i < m->n; i++) {
		char id[ID_TEXT];
		(void)snprintf(id, sizeof(id), "%.34s%02zx", t->message_id, i);
		add_element(&ids, id, i);
		add_element(&names, m->categories[i], i);
	}
	buf_putc(&ids, '}');
	buf_putc(&names, '}');
	*call = (struct pg_call){
	    .query =
		chat_query(completion_is_unkept(t) ? CHAT_COMPLETION_FLAGGED
						   : CHAT_MODERATION_COUNT),
	    .params = {t->user_id, t->message_id,
		arena_strdup(a, buf_text(&ids)),
		arena_strdup(a, buf_text(&names)), t->moderated},
	};
	buf_free(&ids);
	buf_free(&names);
	return 1;
}

/* A column of the message; NULL: nothing to be stored in it. */
static const char *
column_of(const struct turn *t, struct arena *a,
    void (*write)(const struct tool_uses *, struct buf *))
{
	struct buf b = {0};
	if (!t->uses || t->uses->n == 0)
		return NULL;
	write(t->uses, &b);
	const char *text = b.failed ? NULL : arena_strndup(a, b.p, b.n);
	buf_free(&b);
	return text;
}

/* What the model called; of a completion that is kept, its client's tools. */
static const char *
calls_of(struct turn *t, struct arena *a)
{
	if (t->completion && t->completion->calls.n > 0)
		return buf_text(&t->completion->calls);
	return column_of(t, a, tool_uses_write_calls);
}

static bool
is_estimated(const struct turn *t)
{
	return !t->is_cached &&
	       (t->usage.prompt_tokens < 0 || t->usage.completion_tokens < 0 ||
		   t->rounds.is_estimated);
}

/* A completion that nobody keeps is only settled. */
static size_t
settle(const struct turn *t, struct arena *a, struct pg_call *calls)
{
	struct model_usage u = turn_usage(t);
	calls[0] = (struct pg_call){
	    .query = chat_query(CHAT_COMPLETION_SETTLE),
	    .params = {t->user_id, t->message_id,
		*t->answered_by ? t->answered_by : t->model, t->model,
		number(a, u.prompt_tokens), number(a, u.completion_tokens),
		number(a, u.cached_tokens), is_estimated(t) ? "t" : "f",
		t->budget.counted_on, t->is_local ? "f" : "t",
		turn_status_name(t->status), new_id(a), new_id(a), new_id(a),
		elapsed_ms(t, a, t->first_us),
		elapsed_ms(t, a, clock_mono_us())},
	};
	return 1;
}

size_t
turn_finish(struct turn *t, struct arena *a, struct pg_call *calls)
{
	assert(t->status != TURN_STREAMING);
	if (completion_is_unkept(t))
		return settle(t, a, calls) + count_flagged(t, a, &calls[1]);
	struct model_usage u = turn_usage(t);
	int64_t tokens =
	    t->is_cached ? context_tokens(t->text.n) : u.completion_tokens;
	calls[0] = (struct pg_call){
	    .query = chat_query(CHAT_TURN_FINISH),
	    .params = {t->user_id, t->message_id, text_of(t, a),
		turn_status_name(t->status),
		*t->answered_by ? t->answered_by : t->model,
		t->finish == MODEL_FINISH_NONE ? NULL
					       : model_finish_name(t->finish),
		t->error == OK ? NULL : err_code(t->error), number(a, tokens),
		number(a, u.prompt_tokens), number(a, u.completion_tokens),
		number(a, u.cached_tokens), is_estimated(t) ? "t" : "f",
		new_id(a), new_id(a), new_id(a), elapsed_ms(t, a, t->first_us),
		elapsed_ms(t, a, clock_mono_us()), t->conversation_id,
		*t->budget.store_id ? t->budget.store_id : NULL,
		*t->budget.counted_on ? t->budget.counted_on : NULL,
		t->is_local || t->is_cached ? "f" : "t", t->model,
		metadata_of(t, a), context_note_text(t, a),
		used_documents_of(t, a), calls_of(t, a),
		column_of(t, a, tool_uses_write_responses), t->intent,
		new_id(a)},
	};
	return 1 + count_flagged(t, a, &calls[1]);
}

/*
 * Is what is stored what this turn would have stored? Then an earlier try of
 * its transaction was committed, though its answer never came.
 */
static bool
is_own_end(const struct turn *t, const struct message *m)
{
	return !strcmp(m->status, turn_status_name(t->status)) &&
	       m->content_len == t->text.n &&
	       (t->text.n == 0 || !memcmp(m->content, t->text.p, t->text.n));
}

enum err
turn_stored(struct turn *t, const struct pg_call *calls, size_t n)
{
	assert(n >= 1 && calls[0].result);
	const PGresult *r = calls[0].result;
	if (completion_is_unkept(t)) {
		if (pg_flag(r, 0, 0))
			count_tokens(t);
		return OK;
	}
	if (pg_rows(r) == 0)
		return ERR_NOT_FOUND;
	struct message m;
	message_read(r, 0, &m);
	if (pg_flag(r, 0, FINISH_IS_NEW)) {
		m.content = calls[0].params[2];
		count_tokens(t);
	} else if (!strcmp(m.status, turn_status_name(TURN_CANCELLED)))
		t->status = TURN_CANCELLED;
	else if (!is_own_end(t, &m)) {
		t->status = TURN_INTERRUPTED;
		return ERR_INTERRUPTED;
	}
	buf_clear(&t->stored);
	message_write(&t->stored, &m);
	return t->stored.failed ? ERR_INTERNAL : OK;
}

void
turn_abandon(struct request *req, struct turn *t, enum err e)
{
	struct pg_call calls[TURN_FINISH_CALLS];
	const char *why = req->why;
	t->status = TURN_FAILED;
	t->error = e;
	size_t n = turn_finish(t, req->arena, calls);
	const struct services *services = req->services;
	if (chat_run(req, calls, n) == OK)
		pg_calls_clear(calls, n);
	else if (services->disown)
		services->disown(services->worker, t->user_id, t->message_id);
	if (why)
		req->why = why;
	req->running_message = arena_strdup(req->arena, t->message_id);
}

void
turn_unheard(
    const char *user_id, const char *message_id, struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_TURN_UNHEARD),
	    .params = {user_id, message_id, err_code(ERR_UNAVAILABLE)},
	};
}

size_t
turn_worker_calls(const char *worker_id, const char *dead, struct arena *a,
    struct pg_call *calls)
{
	char host[HOST_MAX] = "";
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	calls[0] = (struct pg_call){
	    .query = chat_query(CHAT_WORKER_SEEN),
	    .params = {worker_id, arena_strdup(a, host),
		arena_printf(a, "%ld", (long)getpid())},
	};
	calls[1] = (struct pg_call){
	    .query = chat_query(CHAT_WORKERS_DIED),
	    .params = {dead},
	};
	return dead ? TURN_WORKER_CALLS : 1;
}
