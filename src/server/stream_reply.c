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
#include "server/relay_priv.h"
#include "server/reply_log.h"

static void
send_bytes(struct stream *s, struct buf *b)
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

void
stream_say_start(struct stream *s, const struct reply_event *e)
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
	send_bytes(s, &out);
}

void
stream_say_event(struct stream *s, const struct reply_event *e)
{
	struct buf out = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	reply_event_say(e, &out);
	send_bytes(s, &out);
}

void
stream_say_resumable(struct stream *s)
{
	struct buf out = {0}, data = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	json_write_open(&data, NULL, '{');
	json_write_flag(&data, "resumable", s->log.state != LOG_LOST);
	json_write_close(&data, '}');
	sse_write_event(&out, NULL, "resumable", data.p, data.n);
	buf_free(&data);
	send_bytes(s, &out);
}

void
stream_say_heartbeat(struct stream *s)
{
	struct buf out = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	sse_write_comment(&out, "still here");
	send_bytes(s, &out);
}

/* The problem that the client is told, with the message it is about. */
static void
write_problem(const struct stream *s, struct buf *out)
{
	AUTO_JSON struct json_object *o = NULL;
	struct buf b = {0};

	reply_problem(&b, s->turn->error, NULL, s->request_id);
	if (json_parse_object(b.p, b.n, &o) == OK) {
		json_put_text(o, "message_id", s->turn->message_id);
		json_append(out, o);
	}
	buf_free(&b);
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
	struct reply rep = {
	    .status = 201,
	    .content_type = "application/json",
	    .limits = s->limits,
	};

	if (s->turn->error != OK) {
		rep.status = err_status(s->turn->error);
		rep.content_type = "application/problem+json";
		if (rep.status == 503)
			reply_header(&rep, "Retry-After", "2");
		if (reply_challenge(s->turn->error) != NULL)
			reply_header(&rep, "WWW-Authenticate",
			    reply_challenge(s->turn->error));
	}
	allow_origin(s, &rep);
	s->status = rep.status;
	rep.body_len = e->n;
	rep.body = e->data;
	reply_head(out, &rep, s->request_id);
	buf_add(out, e->data, e->n);
}

void
stream_say_end(struct stream *s, const struct reply_event *e)
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
