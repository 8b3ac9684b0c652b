/*
 * Ending turns: the one statement that stores a reply's end, what it gave as
 * the JSON that the client gets, and the workers' life signs. What the ledger
 * batches and when is the server's; this file only fills calls and reads them.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
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
#include "chat/message.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "http/request.h"

/* What TURN_FINISH gives after a message's columns: this call changed it. */
enum { FINISH_IS_NEW = MESSAGE_COLUMNS_N };

#define HOST_MAX 256

static const char *const status_names[] = {
    [TURN_STREAMING] = "streaming",
    [TURN_COMPLETE] = "complete",
    [TURN_INTERRUPTED] = "interrupted",
    [TURN_CANCELLED] = "cancelled",
    [TURN_FAILED] = "failed",
};

const char *
turn_status_name(enum turn_status s)
{
	assert((size_t)s < sizeof(status_names) / sizeof(*status_names));
	return status_names[s];
}

/* Room for the NUL, and the NUL; false without memory. */
static bool
end_in_place(struct buf *text)
{
	if (text->n == text->room) {
		/* Full to its cap, as a reply that was cut there is. */
		text->failed = false;
		text->cap = text->cap ? text->cap + 1 : 0;
		if (!buf_reserve(text, 1))
			return false;
	}
	text->p[text->n] = '\0';
	return true;
}

void
turn_end_text(struct turn *t)
{
	if (t->text.n > 0)
		(void)end_in_place(&t->text);
}

/*
 * The text as a string: in place, since a reply may be 16 MiB. NULL without
 * memory.
 */
static const char *
end_text(struct buf *text, struct arena *a)
{
	if (text->n == 0)
		return "";
	if (!end_in_place(text))
		return arena_strndup(a, text->p, text->n);
	return text->p;
}

static const char *
number(struct arena *a, int64_t n)
{
	if (n < 0)
		n = 0;
	return arena_printf(a, "%" PRId64, n > INT32_MAX ? INT32_MAX : n);
}

struct model_usage
turn_usage(const struct turn *t)
{
	struct model_usage u = t->usage;
	size_t bytes =
	    t->text.n + (t->completion ? t->completion->n_beside : 0);
	if (t->is_cached)
		return (struct model_usage){0, 0, 0};
	/* A model that failed without a word has charged nothing. */
	bool is_charged =
	    (t->status != TURN_FAILED && !t->is_unasked) || bytes > 0;
	if (u.prompt_tokens < 0)
		u.prompt_tokens = is_charged ? t->prompt_estimate : 0;
	if (u.completion_tokens < 0)
		u.completion_tokens = context_tokens(bytes);
	return u;
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

/* What a reader of the message is to know of how it came about: JSON. */
static const char *
metadata_of(const struct turn *t, struct arena *a)
{
	struct buf b = {0};
	if (!t->is_cached && !*t->fallback_from)
		return "{}";
	json_write_open(&b, NULL, '{');
	if (t->is_cached)
		json_write_flag(&b, "cached", true);
	if (*t->fallback_from)
		json_write_text(&b, "fallback_from", t->fallback_from);
	json_write_close(&b, '}');
	const char *text = b.failed ? NULL : arena_strndup(a, b.p, b.n);
	buf_free(&b);
	return text ? text : "{}";
}

static bool
is_estimated(const struct turn *t)
{
	return !t->is_cached &&
	       (t->usage.prompt_tokens < 0 || t->usage.completion_tokens < 0);
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

/* What the model called, of a completion that is kept. */
static size_t
keep_calls(struct turn *t, struct pg_call *call)
{
	if (!t->completion || t->completion->calls.n == 0)
		return 0;
	*call = (struct pg_call){
	    .query = chat_query(CHAT_COMPLETION_CALLS),
	    .params = {t->user_id, t->message_id,
		buf_text(&t->completion->calls)},
	};
	return 1;
}

size_t
turn_finish(struct turn *t, struct arena *a, struct pg_call *calls)
{
	assert(t->status != TURN_STREAMING);
	if (completion_is_unkept(t))
		return settle(t, a, calls);
	struct model_usage u = turn_usage(t);
	int64_t tokens =
	    t->is_cached ? context_tokens(t->text.n) : u.completion_tokens;
	calls[0] = (struct pg_call){
	    .query = chat_query(CHAT_TURN_FINISH),
	    .params = {t->user_id, t->message_id, end_text(&t->text, a),
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
		metadata_of(t, a)},
	};
	return 1 + keep_calls(t, &calls[1]);
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
	assert(n > 0 && calls[0].result);
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

void
turn_start_json(const struct turn *t, struct buf *out)
{
	buf_printf(out,
	    "{\"message_id\":\"%s\",\"user_message_id\":\"%s\","
	    "\"conversation_id\":\"%s\"}",
	    t->message_id, t->user_message_id, t->conversation_id);
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
