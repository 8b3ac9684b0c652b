/*
 * One reply in flight, from its beginning until its last handle is closed: its
 * client, its timer, its place in the relay. What it asks of a model is
 * stream_ask.c's, how it ends stream_end.c's. A client that has gone changes
 * nothing of this.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/config.h"
#include "chat/turn.h"
#include "server/relay_priv.h"

bool
stream_is_running(const struct stream *s)
{
	return s->state == STREAM_PREPARING || s->state == STREAM_ASKING ||
	       s->state == STREAM_CHECKING || s->state == STREAM_WAITING ||
	       s->state == STREAM_TOOLING;
}

static void
free_stream(struct stream *s)
{
	stream_note_end(s);
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

void
stream_is_over(struct stream *s)
{
	s->state = STREAM_OVER;
	uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, timer_closed);
}

static uint64_t
min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When something must happen even if nothing comes. */
static uint64_t
next_deadline_ms(const struct stream *s)
{
	const struct config *config = s->relay->config;
	uint64_t at = s->last_sent_ms + (uint64_t)config->heartbeat_s * 1000;

	if (stream_is_running(s))
		at = min64(at, s->end_ms);
	at = min64(at, stream_ask_due_ms(s));
	return min64(at, stream_answer_due_ms(s));
}

static void
timer_fired(uv_timer_t *timer)
{
	struct stream *s = timer->data;
	const struct config *config = s->relay->config;
	uint64_t now = uv_now(&s->relay->loop);

	if (now >= s->last_sent_ms + (uint64_t)config->heartbeat_s * 1000) {
		s->voice->heartbeat(s);
		s->last_sent_ms = now;
	}
	stream_answer_tick(s, now);
	if (stream_is_running(s) && now >= s->end_ms)
		stream_fail(s, ERR_MODEL_TIMEOUT, "the reply took too long");
	else
		stream_ask_tick(s, now);
	stream_arm(s);
}

void
stream_arm(struct stream *s)
{
	uint64_t now = uv_now(&s->relay->loop);
	uint64_t at;

	if (s->state == STREAM_OVER)
		return;
	at = next_deadline_ms(s);
	uv_timer_start(&s->timer, timer_fired, at > now ? at - now : 1, 0);
}

void
stream_service(struct stream *s)
{
	if (s->state == STREAM_ASKING && s->parser.has_done && !s->is_full)
		stream_ask_answered(s);
	else if (stream_is_running(s))
		stream_log_go(s);
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
	s->client.on_closed = client_closed;
	s->last_sent_ms = uv_now(&r->loop);
	s->end_ms =
	    s->last_sent_ms + (uint64_t)r->config->reply_max_seconds * 1000;
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
