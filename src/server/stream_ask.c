/*
 * Asking a model: a try's request, its answer piece by piece into the turn's
 * text, and what follows a try that failed. Whom a try asks and what is to be
 * done after it, stream_try.c says; pauses and time-outs are kept here.
 */
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/text.h"
#include "chat/context_keep.h"
#include "chat/turn.h"
#include "server/relay_priv.h"

/* Bytes kept of the body of an error answer. */
#define ERROR_BODY_MAX 4096

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
void
stream_text_end(struct stream *s)
{
	struct buf rest = {0};

	unmask_end(&s->unmask, &rest);
	if (rest.n > 0)
		add_text(s, rest.p, rest.n);
	buf_free(&rest);
}

/* A try failed: before the first token that need not be the reply's end. */
static void
go_on(struct stream *s, const struct try_failure *f)
{
	stream_explain(s, f->why);
	upstream_stop(&s->transfer);
	switch (stream_try_failed(s, f)) {
	case TRY_NEXT_NONE:
		stream_fail(s, f->error, f->why);
		break;
	case TRY_NEXT_PAUSE:
		s->state = STREAM_WAITING;
		s->retry_ms = uv_now(&s->relay->loop) +
			      stream_try_pause_ms(s, f->retry_after_s);
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

void
stream_ask_answered(struct stream *s)
{
	struct try_failure f;
	enum err e = model_parser_end(&s->parser);

	if (e == OK) {
		stream_text_end(s);
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
		stream_ask_answered(s);
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

	s->last_byte_ms = uv_now(&s->relay->loop);
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

static enum err
start_transfer(struct stream *s)
{
	const struct buf *prompt = &s->turn->prompt;

	s->transfer.on_head = head_came;
	s->transfer.on_body = body_came;
	s->transfer.on_end = transfer_ended;
	s->transfer.arg = s;
	return upstream_start(
	    s->relay->upstream, &s->transfer, prompt->p, prompt->n);
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
	s->asked_ms = s->last_byte_ms = uv_now(&s->relay->loop);
	context_seal(t);
	if (start_transfer(s) != OK)
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

uint64_t
stream_ask_due_ms(const struct stream *s)
{
	if (s->state == STREAM_ASKING)
		return silence_ms(s);
	return s->state == STREAM_WAITING ? s->retry_ms : UINT64_MAX;
}

void
stream_ask_tick(struct stream *s, uint64_t now)
{
	if (now < stream_ask_due_ms(s))
		return;
	if (s->state == STREAM_WAITING)
		stream_ask(s);
	else
		silent(s);
}
