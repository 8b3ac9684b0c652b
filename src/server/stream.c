/*
 * One reply in flight: asks the model that stream_try.c names, collects the
 * text, gives the turn to the ledger, and says the last word once
 * it is committed. A client that has gone changes nothing of this.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "chat/context_keep.h"
#include "chat/context_rounds.h"
#include "chat/turn.h"
#include "http/route.h"
#include "server/afterwork.h"
#include "server/ledger.h"
#include "server/relay_priv.h"
#include "server/serve_log.h"

/* Bytes kept of the body of an error answer. */
#define ERROR_BODY_MAX 4096

/* Of the reason for the log. */
#define WHY_MAX 255

static uint64_t
now_ms(const struct stream *s)
{
	return uv_now(&s->relay->loop);
}

bool
stream_is_running(const struct stream *s)
{
	return s->state == STREAM_PREPARING || s->state == STREAM_ASKING ||
	       s->state == STREAM_CHECKING || s->state == STREAM_WAITING ||
	       s->state == STREAM_TOOLING;
}

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
static void
explain(struct stream *s, const char *why)
{
	if (s->why != NULL)
		return;
	s->why = strndup(why, WHY_MAX);
	if (s->why != NULL)
		stream_hide_keys(s, s->why);
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

static void
free_stream(struct stream *s)
{
	log_end(s);
	count_end(s);
	assert(!s->log.is_busy && s->log.state == LOG_NONE);
	turn_free(s->turn);
	model_parser_free(&s->parser);
	buf_free(&s->error_body);
	buf_free(&s->plan.tried);
	stream_openai_free(s);
	free(s->origin);
	free(s->limits);
	free(s->why);
	relay_forget(s);
	free(s);
}

static void
handle_closed(struct stream *s)
{
	s->handles--;
	if (s->handles == 0 && s->state == STREAM_OVER)
		free_stream(s);
}

static void
client_closed(struct client *c)
{
	struct stream *s =
	    (struct stream *)((char *)c - offsetof(struct stream, client));

	if (s->openai != NULL)
		stream_openai_left(s);
	handle_closed(s);
}

static void
timer_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

/* Text of the reply; what goes over the longest size is dropped. */
static void
add_text(struct stream *s, const char *text, size_t n)
{
	struct turn *t = s->turn;
	size_t max = (size_t)s->relay->config->reply_max_bytes;

	if (s->is_full)
		return;
	if (n > 0)
		buf_puts(&t->text, stream_tools_between(t, *text));
	if (t->text.n + n > max) {
		n = t->text.n < max ? text_prefix(text, n, max - t->text.n) : 0;
		s->is_full = true;
	}
	buf_add(&t->text, text, n);
}

/* No text will come: what waited for the rest of a placeholder is text. */
static void
end_text(struct stream *s)
{
	struct buf rest = {0};

	unmask_end(&s->unmask, &rest);
	if (rest.n > 0)
		add_text(s, rest.p, rest.n);
	buf_free(&rest);
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
	end_text(s);
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
	turn_end_text(t);
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

	end_text(s);
	if (is_checked || stream_moderate_reply(s))
		stream_store(s, TURN_COMPLETE, OK);
	else
		stream_arm(s);
}

void
stream_fail(struct stream *s, enum err error, const char *why)
{
	explain(s, why);
	upstream_stop(s->relay->upstream, &s->transfer);
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

void
stream_interrupt(struct stream *s, enum err error, const char *why)
{
	if (!stream_is_running(s))
		return;
	explain(s, why);
	s->turn->is_unasked = !was_asked(s);
	upstream_stop(s->relay->upstream, &s->transfer);
	stream_store(s, TURN_INTERRUPTED, error);
}

static void
cancel(struct stream *s, const char *why)
{
	if (!stream_is_running(s))
		return;
	explain(s, why);
	s->turn->is_unasked = !was_asked(s);
	upstream_stop(s->relay->upstream, &s->transfer);
	stream_store(s, TURN_CANCELLED, OK);
}

void
stream_cancel(struct stream *s)
{
	cancel(s, "its user cancelled it");
}

void
stream_hang_up(struct stream *s)
{
	cancel(s, "its client has gone");
}

/* A try failed: before the first token that need not be the reply's end. */
static void
go_on(struct stream *s, const struct try_failure *f)
{
	explain(s, f->why);
	upstream_stop(s->relay->upstream, &s->transfer);
	switch (stream_try_failed(s, f)) {
	case TRY_NEXT_NONE:
		stream_fail(s, f->error, f->why);
		break;
	case TRY_NEXT_PAUSE:
		s->state = STREAM_WAITING;
		s->retry_ms =
		    now_ms(s) + stream_try_pause_ms(s, f->retry_after_s);
		stream_arm(s);
		break;
	case TRY_NEXT_ASK:
		stream_ask(s);
		break;
	case TRY_NEXT_LOCAL:
		stream_answer_locally(s);
		break;
	}
}

static void
answered(struct stream *s)
{
	struct try_failure f;
	enum err e = model_parser_end(&s->parser);

	if (e == OK) {
		end_text(s);
		if (!stream_tools_begin(s))
			stream_complete(s);
		return;
	}
	trouble_answer(s, e, &f);
	go_on(s, &f);
}

/* The transfer ended without an answer. */
static void
failed(struct stream *s, const struct transfer_end *end)
{
	bool has_status = s->http_status != 0 || end->code == CURLE_OK;
	struct try_failure f;

	if (has_status && end->status / 100 != 2)
		trouble_refused(s, end, &f);
	else
		trouble_broken(s, end, &f);
	go_on(s, &f);
}

/* Nothing came in time: no first token or, later, no byte. */
static void
silent(struct stream *s)
{
	struct try_failure f;

	trouble_silent(s, &f);
	go_on(s, &f);
}

static void
transfer_ended(void *arg, const struct transfer_end *end)
{
	struct stream *s = arg;

	if (s->state != STREAM_ASKING)
		return; /* [DONE] was enough, or the stream ended otherwise */
	if (s->is_full)
		stream_complete(s);
	else if (end->status / 100 == 2 &&
		 (end->code == CURLE_OK ||
		     s->parser.finish != MODEL_FINISH_NONE ||
		     s->parser.has_done))
		answered(s);
	else
		failed(s, end);
}

static void
head_came(void *arg, long status, const char *content_type)
{
	struct stream *s = arg;

	s->http_status = status;
	model_parser_content_type(&s->parser, content_type);
}

static bool
body_came(void *arg, const char *p, size_t n)
{
	struct stream *s = arg;

	bool had_begun = s->parser.has_begun;

	s->last_byte_ms = now_ms(s);
	if (s->http_status / 100 != 2) {
		buf_add(&s->error_body, p, n);
		return true;
	}
	if (s->state == STREAM_ASKING)
		model_parser_feed(&s->parser, p, n);
	if (s->parser.has_begun && !had_begun) {
		stream_try_works(s);
		stream_arm(s); /* another time-out holds from now on */
	}
	if (s->parser.has_done)
		relay_mark_dirty(s);
	return !s->is_full;
}

/* No retry can follow: of the request nothing is needed any more, but for what
 * another round would begin with. */
static void
let_go_of_prompt(struct stream *s)
{
	struct turn *t = s->turn;

	if (!upstream_has_sent(&s->transfer, t->prompt.n))
		return;
	s->has_let_go = true;
	if (s->tools.is_last)
		buf_free(&t->prompt);
	else
		context_keep(t);
}

/* A piece of the reply. */
static void
text_came(void *arg, const char *text, size_t n)
{
	struct stream *s = arg;
	struct turn *t = s->turn;
	struct buf plain = {0};

	if (s->is_full)
		return;
	if (t->first_us == 0)
		t->first_us = clock_mono_us();
	stream_try_answered(s);
	if (!s->has_let_go)
		let_go_of_prompt(s);
	if (mask_is_used(t->mask)) {
		unmask_add(&s->unmask, text, n, &plain);
		add_text(s, plain.p, plain.n);
		buf_free(&plain);
	} else {
		add_text(s, text, n);
	}
	cited_look(t);
	relay_mark_dirty(s);
}

static void
reset_parser(struct stream *s)
{
	model_parser_free(&s->parser);
	model_parser_init(&s->parser, text_came, s,
	    (size_t)s->relay->config->reply_max_bytes * 2 + 65536);
	if (s->openai != NULL)
		stream_openai_again(s);
	buf_free(&s->error_body);
	s->error_body.cap = ERROR_BODY_MAX;
	s->http_status = 0;
}

void
stream_ask(struct stream *s)
{
	struct turn *t = s->turn;

	stream_answer_leave(s);
	if (t->attempts == 0)
		stream_try_first(s);
	if (t->is_local) {
		stream_answer_locally(s);
		return;
	}
	reset_parser(s);
	stream_try_began(s);
	s->state = STREAM_ASKING;
	s->has_let_go = false;
	s->asked_ms = s->last_byte_ms = now_ms(s);
	context_seal(t);
	if (upstream_start(s->relay->upstream, &s->transfer, t->prompt.p,
		t->prompt.n) != OK)
		stream_fail(
		    s, ERR_INTERNAL, "no memory for a request to the model");
	else
		stream_arm(s);
}

/* natter-local's answer, or a kept one, came with the turn. */
void
stream_answer_locally(struct stream *s)
{
	struct turn *t = s->turn;

	s->state = STREAM_ASKING;
	reset_parser(s);
	t->first_us = clock_mono_us();
	t->text = t->prompt;
	t->prompt = (struct buf){0};
	s->parser.finish = MODEL_FINISH_STOP;
	stream_complete(s);
}

static uint64_t
min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * When the model has been silent too long. Comments and roles keep a stream
 * from going idle but are no first token; a model that thinks aloud is at work.
 */
static uint64_t
silence_ms(const struct stream *s)
{
	const struct config *config = s->relay->config;

	if (s->parser.has_begun)
		return s->last_byte_ms + (uint64_t)config->response_timeout_ms;
	return s->asked_ms + stream_first_token_ms(config);
}

/* When something must happen even if nothing comes. */
static uint64_t
next_deadline_ms(const struct stream *s)
{
	const struct config *config = s->relay->config;
	uint64_t at = s->last_sent_ms + (uint64_t)config->heartbeat_s * 1000;

	if (s->state == STREAM_ASKING)
		at = min64(at, silence_ms(s));
	if (s->state == STREAM_WAITING)
		at = min64(at, s->retry_ms);
	if (stream_is_running(s))
		at = min64(at, s->end_ms);
	at = min64(at, stream_embed_due_ms(s));
	return min64(at, stream_answer_due_ms(s));
}

static void
timer_fired(uv_timer_t *timer)
{
	struct stream *s = timer->data;
	const struct config *config = s->relay->config;
	uint64_t now = now_ms(s);

	if (now >= s->last_sent_ms + (uint64_t)config->heartbeat_s * 1000) {
		s->voice->heartbeat(s);
		s->last_sent_ms = now;
	}
	stream_answer_tick(s, now);
	stream_embed_tick(s, now);
	if (s->state == STREAM_WAITING && now >= s->retry_ms && now < s->end_ms)
		stream_ask(s);
	else if (stream_is_running(s) && now >= s->end_ms)
		stream_fail(s, ERR_MODEL_TIMEOUT, "the reply took too long");
	else if (s->state == STREAM_ASKING && now >= silence_ms(s))
		silent(s);
	stream_arm(s);
}

void
stream_arm(struct stream *s)
{
	uint64_t now = now_ms(s), at;

	if (s->state == STREAM_OVER)
		return;
	at = next_deadline_ms(s);
	uv_timer_start(&s->timer, timer_fired, at > now ? at - now : 1, 0);
}

void
stream_service(struct stream *s)
{
	if (s->state == STREAM_ASKING && s->parser.has_done && !s->is_full)
		answered(s);
	else if (stream_is_running(s))
		stream_log_go(s);
}

void
stream_stored(struct stream *s)
{
	struct turn *t = s->turn;

	assert(s->state == STREAM_STORING);
	if (!t->is_stored && t->error == OK) {
		t->error = ERR_INTERNAL;
		explain(s, "the reply could not be stored");
	}
	upstream_stop(s->relay->upstream, &s->transfer);
	afterwork_begin(s->relay, t, s->transfer.place);
	s->state = STREAM_ENDING;
	stream_log_go(s);
}

void
stream_is_over(struct stream *s)
{
	s->state = STREAM_OVER;
	uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, timer_closed);
}

void
stream_go(struct stream *s)
{
	if (s->turn->is_local || s->turn->is_cached)
		stream_answer_locally(s);
	else if (stream_answer_wait(s))
		stream_arm(s);
	else
		stream_ask(s);
}

void
stream_begin(struct relay *r, const struct handoff *h)
{
	struct stream *s = calloc(1, sizeof(*s));

	assert(s != NULL);
	s->relay = r;
	relay_remember(s);
	s->turn = h->turn;
	s->turn->owner = s;
	s->wants_stream = h->turn->wants_stream;
	s->method = h->method;
	s->route = h->route;
	s->origin = h->origin;
	s->limits = h->limits;
	s->request_id = h->turn->request_id;
	s->phases = h->phases;
	s->transfer.on_head = head_came;
	s->transfer.on_body = body_came;
	s->transfer.on_end = transfer_ended;
	s->transfer.arg = s;
	s->client.on_closed = client_closed;
	s->end_ms = now_ms(s) + (uint64_t)r->config->reply_max_seconds * 1000;
	s->last_sent_ms = now_ms(s);
	s->voice = &voice_native;
	if (s->turn->completion != NULL)
		stream_openai_begin(s);
	uv_timer_init(&r->loop, &s->timer);
	s->timer.data = s;
	s->handles = 1;
	if (client_open(&s->client, &r->loop, h->fd, h->request_id,
		(size_t)r->config->client_buffer_bytes) == 0)
		s->handles++;
	s->unmask.mask = s->turn->mask;
	s->is_withheld = stream_moderate_withholds(r->config);
	s->state = STREAM_PREPARING;
	stream_log_begin(s);
	if (s->openai != NULL && !client_is_open(&s->client))
		stream_openai_left(s);
	if (!stream_is_running(s))
		return;
	if (stream_prepare(s))
		stream_go(s);
	else
		stream_arm(s);
}
