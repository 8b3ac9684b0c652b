/*
 * A reply's ends: its text is whole or stays as it is, the turn goes to the
 * ledger with its outcome, once, whoever ended it, and comes back stored. The
 * last word is stream_log.c's then.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "chat/context_rounds.h"
#include "chat/turn.h"
#include "http/route.h"
#include "server/afterwork.h"
#include "server/ledger.h"
#include "server/relay_priv.h"
#include "server/serve_log.h"

/* Of the reason for the log. */
#define WHY_MAX 255

/* A model's server may quote the key that it was given. */
void
stream_hide_keys(const struct stream *s, char *text)
{
	for (enum model_place i = 0; i < MODEL_PLACES; i++) {
		const char *key = model_server(s->relay->config, i).key;
		size_t n = strlen(key);

		for (char *p = text; n > 0 && (p = strstr(p, key)) != NULL;
		     p += n)
			memset(p, '*', n);
	}
}

/* Keeps the first reason given, for the log. */
void
stream_explain(struct stream *s, const char *why)
{
	if (s->why != NULL)
		return;
	s->why = strndup(why, WHY_MAX);
	if (s->why != NULL)
		stream_hide_keys(s, s->why);
}

/* Gives the turn to the ledger with its outcome. */
void
stream_store(struct stream *s, enum turn_status status, enum err error)
{
	struct turn *t = s->turn;

	assert(stream_is_running(s) || s->state == STREAM_LEAVING);
	stream_prepare_stop(s);
	stream_answer_leave(s);
	if (stream_tools_leave(s, status, error))
		return;
	if (s->tools.is_ready)
		context_rounds_drop(t);
	stream_text_end(s);
	stream_moderate_drop(s);
	if (status == TURN_COMPLETE && !t->is_local && !t->is_cached)
		stream_try_answered(s);
	stream_try_stopped(s);
	t->status = status;
	t->error = error;
	if (s->parser.finish != MODEL_FINISH_NONE)
		t->finish = s->parser.finish;
	if (s->is_full)
		t->finish = MODEL_FINISH_LENGTH;
	t->usage = s->parser.usage;
	if (!t->is_cached)
		memcpy(t->answered_by, s->parser.model, sizeof(t->answered_by));
	buf_free(&t->prompt);
	cited_end(t);
	(void)turn_end_text(t);
	if (s->openai != NULL)
		stream_openai_store(s);
	s->state = STREAM_STORING;
	stream_log_go(s);
	ledger_give(s->relay->ledger, t);
}

void
stream_complete(struct stream *s)
{
	bool is_checked = s->state == STREAM_CHECKING;

	stream_text_end(s);
	if (is_checked || stream_moderate_reply(s))
		stream_store(s, TURN_COMPLETE, OK);
	else
		stream_arm(s);
}

void
stream_fail(struct stream *s, enum err error, const char *why)
{
	stream_explain(s, why);
	upstream_stop(&s->transfer);
	stream_store(s, TURN_FAILED, error);
}

/* What the model has not been sent whole is not charged. */
static bool
was_asked(const struct stream *s)
{
	const struct turn *t = s->turn;

	return t->text.n > t->rounds.text_from || s->state == STREAM_TOOLING ||
	       (s->state == STREAM_ASKING &&
		   upstream_has_sent(&s->transfer, t->prompt.n));
}

/* It ends from outside, wherever it is. */
static void
break_off(
    struct stream *s, enum turn_status status, enum err error, const char *why)
{
	if (!stream_is_running(s))
		return;
	stream_explain(s, why);
	s->turn->is_unasked = !was_asked(s);
	upstream_stop(&s->transfer);
	stream_store(s, status, error);
}

void
stream_interrupt(struct stream *s, enum err error, const char *why)
{
	break_off(s, TURN_INTERRUPTED, error, why);
}

void
stream_cancel(struct stream *s)
{
	break_off(s, TURN_CANCELLED, OK, "its user cancelled it");
}

void
stream_hang_up(struct stream *s)
{
	break_off(s, TURN_CANCELLED, OK, "its client has gone");
}

void
stream_stored(struct stream *s)
{
	struct turn *t = s->turn;

	assert(s->state == STREAM_STORING);
	if (!t->is_stored && t->error == OK) {
		t->error = ERR_INTERNAL;
		stream_explain(s, "the reply could not be stored");
	}
	upstream_stop(&s->transfer);
	afterwork_begin(s->relay, t, s->transfer.place);
	s->state = STREAM_ENDING;
	stream_log_go(s);
}

static void
log_end(struct stream *s)
{
	uint64_t now = clock_mono_us();
	struct turn *t = s->turn;

	log_with(t->error == OK ? LOG_INFO : LOG_WARNING, "request",
	    LOG_TEXT("request_id", s->request_id),
	    LOG_TEXT("method", s->method), LOG_TEXT("route", s->route->pattern),
	    LOG_NUMBER("status", s->status),
	    LOG_TEXT("message_id", t->message_id),
	    LOG_TEXT("reply", turn_status_name(t->status)),
	    LOG_TEXT("error", t->error == OK ? "" : err_code(t->error)),
	    LOG_TEXT("model", t->model), LOG_NUMBER("attempts", t->attempts),
	    LOG_TEXT("fallback_from",
		t->fallback_from == NULL ? "" : t->fallback_from),
	    LOG_TEXT("given_up", buf_text(&s->plan.tried)),
	    LOG_NUMBER("tool_rounds", t->rounds.n),
	    LOG_NUMBER("bytes", s->sent),
	    LOG_NUMBER("client_gone", s->client.has_vanished),
	    LOG_NUMBER("client_cut", s->client.was_cut),
	    LOG_NUMBER("auth_us", s->phases.auth_us),
	    LOG_NUMBER("handle_us", s->phases.handle_us),
	    LOG_NUMBER("first_us",
		t->first_us == 0
		    ? 0
		    : (int64_t)(t->first_us - s->phases.accepted_us)),
	    LOG_NUMBER("total_us", (int64_t)(now - s->phases.accepted_us)),
	    LOG_TEXT("why", s->why == NULL ? "" : s->why));
}

static void
count_end(const struct stream *s)
{
	const struct turn *t = s->turn;
	uint64_t began = s->phases.accepted_us;

	serve_count(s->route, s->status, clock_mono_us() - began);
	/* What another worker ended, that one has counted. */
	if (t->error != ERR_INTERRUPTED)
		metrics_count(
		    METRIC_REPLIES_COMPLETE + t->status - TURN_COMPLETE);
	if (t->first_us != 0)
		metrics_observe(HISTOGRAM_FIRST_TOKEN, t->first_us - began);
}

void
stream_note_end(struct stream *s)
{
	log_end(s);
	count_end(s);
}
