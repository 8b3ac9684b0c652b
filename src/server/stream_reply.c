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
#include "server/last_word.h"
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

/* Appends the stream's next event. */
static void
add_event(
    struct stream *s, const char *name, const struct buf *data, struct buf *out)
{
	struct reply_event e = {
	    .at = {++s->event_id, s->sent},
	    .name = name,
	    .name_len = strlen(name),
	    .data = data->p,
	    .n = data->n,
	};

	reply_event_say(&e, out);
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
	add_event(s, "start", &data, &out);
	buf_free(&data);
	send_bytes(s, &out);
}

void
stream_say_text(struct stream *s, const char *p, size_t n)
{
	struct buf out = {0};
	struct reply_event e = {
	    .at = {s->event_id + 1, s->sent + n},
	    .name = "delta",
	    .name_len = 5,
	    .data = p,
	    .n = n,
	};

	if (!s->wants_stream || !client_is_open(&s->client) || n == 0)
		return;
	s->event_id++;
	reply_event_say(&e, &out);
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
	last_word_problem(
	    out, s->turn->error, s->turn->message_id, s->request_id);
}

static void
write_end_event(struct stream *s, struct buf *out)
{
	struct buf data = {0};

	if (s->turn->error == OK) {
		add_event(s, "done", &s->turn->stored, out);
	} else {
		write_problem(s, &data);
		add_event(s, "error", &data, out);
	}
	buf_free(&data);
}

static void
write_document(struct stream *s, struct buf *out)
{
	struct last_word w = {
	    .config = s->relay->config,
	    .origin = s->origin,
	    .limits = s->limits,
	    .request_id = s->request_id,
	    .error = s->turn->error,
	    .data = s->turn->stored.p,
	    .n = s->turn->stored.n,
	};
	struct buf problem = {0};

	if (w.error != OK) {
		write_problem(s, &problem);
		w.data = problem.p;
		w.n = problem.n;
	}
	s->status = last_word_document(out, &w);
	buf_free(&problem);
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
