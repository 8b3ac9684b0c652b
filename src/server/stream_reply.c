/*
 * What the client of a reply sees: server-sent events, or one JSON document at
 * the end. Every event stream closes with `done` or `error`, because nginx
 * shows a killed worker as a clean end (measured on 1.22).
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "chat/turn.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/sse_write.h"
#include "server/relay_priv.h"

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

void
stream_say_start(struct stream *s)
{
	struct buf out = {0}, data = {0};
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
	turn_start_json(s->turn, &data);
	sse_write_event(&out, ++s->event_id, "start", data.p, data.n);
	buf_free(&data);
	send_bytes(s, &out);
}

void
stream_say_text(struct stream *s, const char *p, size_t n)
{
	AUTO_JSON struct json_object *o = json_object_new_object();
	struct buf out = {0};
	const char *text;
	size_t len;

	if (!s->wants_stream || !client_is_open(&s->client) || n == 0)
		return;
	json_object_object_add(
	    o, "text", json_object_new_string_len(p, (int)n));
	text = json_text(o, &len);
	sse_write_event(&out, ++s->event_id, "delta", text, len);
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
write_problem(struct stream *s, struct buf *out)
{
	reply_problem_about(
	    out, s->turn->error, s->request_id, s->turn->message_id);
}

static void
write_end_event(struct stream *s, struct buf *out)
{
	struct buf data = {0};

	if (s->turn->error == OK) {
		sse_write_event(out, ++s->event_id, "done", s->turn->stored.p,
		    s->turn->stored.n);
	} else {
		write_problem(s, &data);
		sse_write_event(out, ++s->event_id, "error", data.p, data.n);
	}
	buf_free(&data);
}

static void
write_document(struct stream *s, struct buf *out)
{
	struct reply rep = {
	    .status = 201,
	    .content_type = "application/json",
	    .limits = s->limits,
	};
	struct buf data = {0};

	if (s->turn->error == OK) {
		buf_add(&data, s->turn->stored.p, s->turn->stored.n);
	} else {
		write_problem(s, &data);
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
	rep.body_len = data.n;
	rep.body = data.p;
	reply_head(out, &rep, s->request_id);
	buf_add(out, data.p, data.n);
	buf_free(&data);
}

void
stream_say_end(struct stream *s)
{
	struct buf out = {0};

	if (s->wants_stream)
		write_end_event(s, &out);
	else
		write_document(s, &out);
	if (out.failed)
		client_cut(&s->client);
	else
		client_end(&s->client, out.p, out.n);
	buf_free(&out);
}
