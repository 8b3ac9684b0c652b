/*
 * What the client of a reply sees: server-sent events, or one JSON document at
 * the end. Every event stream closes with `done` or `error`, because nginx
 * shows a killed worker as a clean end (measured on 1.22).
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_write.h"
#include "base/log.h"
#include "chat/turn.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/sse_write.h"
#include "server/last_word.h"
#include "server/relay_priv.h"
#include "server/reply_log.h"

void
stream_send(struct stream *s, struct buf *b)
{
	if (!b->failed)
		client_write(&s->client, b->p, b->n);
	s->last_sent_ms = uv_now(&s->relay->loop);
	buf_free(b);
}

static void
allow_origin(const struct stream *s, struct reply *rep)
{
	origin_allow(s->relay->config, s->origin ? s->origin : "", rep);
}

const char *
stream_start_data(const struct stream *s, enum log_state state, struct buf *out)
{
	turn_start_json(s->turn, out);
	out->n -= out->n > 0; /* its closing brace */
	json_write_flag(out, "resumable", state != LOG_LOST);
	json_write_close(out, '}');
	return "start";
}

static void
say_start(struct stream *s, const struct reply_event *e)
{
	struct buf out = {0};
	struct reply head = {
	    .status = 200,
	    .content_type = "text/event-stream",
	    .turn = s->turn, /* no Content-Length */
	    .limits = s->limits,
	};

	s->status = 200;
	if (!s->wants_stream)
		return;
	reply_header(&head, "X-Accel-Buffering", "no");
	allow_origin(s, &head);
	reply_head(&out, &head, s->request_id);
	free(s->limits);
	s->limits = NULL;
	reply_event_say(e, &out);
	stream_send(s, &out);
}

static void
say_event(struct stream *s, const struct reply_event *e)
{
	struct buf out = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	reply_event_say(e, &out);
	stream_send(s, &out);
}

static void
say_resumable(struct stream *s)
{
	struct buf out = {0}, data = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	json_write_open(&data, NULL, '{');
	json_write_flag(&data, "resumable", s->log.state != LOG_LOST);
	json_write_close(&data, '}');
	sse_write_event(&out, NULL, "resumable", data.p, data.n);
	buf_free(&data);
	stream_send(s, &out);
}

static void
say_heartbeat(struct stream *s)
{
	struct buf out = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	sse_write_comment(&out, "still here");
	stream_send(s, &out);
}

/* The problem that the client is told, with the message it is about. */
static void
write_problem(const struct stream *s, struct buf *out)
{
	const struct last_problem p = {
	    .error = s->turn->error,
	    .message_id = s->turn->message_id,
	    .request_id = s->request_id,
	};

	last_word_problem(out, &p);
}

const char *
stream_end_data(const struct stream *s, struct buf *out)
{
	if (s->turn->error != OK) {
		write_problem(s, out);
		return "error";
	}
	buf_add(out, s->turn->stored.p, s->turn->stored.n);
	return "done";
}

static void
write_document(struct stream *s, const struct reply_event *e, struct buf *out)
{
	const struct last_word w = {
	    .config = s->relay->config,
	    .origin = s->origin,
	    .limits = s->limits,
	    .request_id = s->request_id,
	    .error = s->turn->error,
	    .data = e->data,
	    .n = e->n,
	};

	s->status = last_word_document(out, &w);
}

static void
say_end(struct stream *s, const struct reply_event *e)
{
	struct buf out = {0};

	if (s->wants_stream)
		reply_event_say(e, &out);
	else
		write_document(s, e, &out);
	if (out.failed)
		client_cut(&s->client);
	else
		client_end(&s->client, out.p, out.n);
	buf_free(&out);
}

static void
do_nothing(struct stream *s)
{
	(void)s;
}

const struct voice voice_native = {
    .step = do_nothing,
    .start = say_start,
    .event = say_event,
    .resumable = say_resumable,
    .heartbeat = say_heartbeat,
    .end = say_end,
    .rest = do_nothing,
};
