/*
 * What a reader's client sees: the same events as the client of the reply
 * itself, or the same document.
 */
#include <stdlib.h>

#include "base/config.h"
#include "base/json.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/sse_write.h"
#include "server/last_word.h"
#include "server/reader.h"

static void
write_start(const struct reader *x, struct buf *out)
{
	char id[REPLY_POSITION_TEXT];
	struct buf data = {0};

	reply_position_print(x->at, id);
	follow_start_json(x->follow, x->at.bytes, &data);
	sse_write_event(out, id, "start", data.p, data.n);
	out->failed |= data.failed;
	buf_free(&data);
}

void
reader_say_start(struct reader *x)
{
	struct buf out = {0};
	struct reply head = {
	    .status = 200,
	    .content_type = "text/event-stream",
	    .follow = x->follow, /* no Content-Length */
	    .limits = x->limits,
	};

	if (!x->follow->wants_stream)
		return;
	if (!x->has_head) {
		reply_header(&head, "X-Accel-Buffering", "no");
		origin_allow(
		    x->relay->config, x->origin ? x->origin : "", &head);
		reply_head(&out, &head, x->follow->request_id);
		x->has_head = true;
	}
	write_start(x, &out);
	reader_say(x, &out);
	buf_free(&out);
}

void
reader_say(struct reader *x, struct buf *events)
{
	if (!x->follow->wants_stream || events->n == 0)
		return;
	if (events->failed)
		client_cut(&x->client); /* no memory: it can come again */
	else
		client_write(&x->client, events->p, events->n);
	x->last_sent_ms = uv_now(&x->relay->loop);
}

void
reader_say_heartbeat(struct reader *x)
{
	struct buf out = {0};

	sse_write_comment(&out, "still here");
	reader_say(x, &out);
	buf_free(&out);
}

/* An `error` is a problem document, whose code says the rest. */
static enum err
error_of(const struct reply_event *end)
{
	AUTO_JSON struct json_object *o = NULL;

	if (!reply_event_is(end, "error"))
		return OK;
	if (json_parse_object(end->data, end->n, &o) != OK)
		return ERR_INTERNAL;
	return err_from_code(json_member_text(o, "code"), ERR_INTERNAL);
}

static void
write_document(struct reader *x, const struct reply_event *end, struct buf *out)
{
	const struct last_word w = {
	    .config = x->relay->config,
	    .origin = x->origin,
	    .limits = x->limits,
	    .request_id = x->follow->request_id,
	    .error = x->error,
	    .data = end->data,
	    .n = end->n,
	};

	x->status = last_word_document(out, &w);
}

void
reader_say_end(struct reader *x, const struct reply_event *end)
{
	struct buf out = {0};

	x->error = error_of(end);
	if (x->follow->wants_stream)
		reply_event_say(end, &out);
	else
		write_document(x, end, &out);
	if (out.failed)
		client_cut(&x->client);
	else
		client_end(&x->client, out.p, out.n);
	buf_free(&out);
}

void
reader_say_error(struct reader *x, const struct last_problem *problem)
{
	struct reply_event e = {.at = x->at, .name = "error", .name_len = 5};
	struct buf data = {0};

	last_word_problem(&data, problem);
	e.data = data.p;
	e.n = data.n;
	reader_say_end(x, &e);
	buf_free(&data);
}
