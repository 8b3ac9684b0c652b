/*
 * What the client of a completion sees: the model's own chunks, or one document
 * at the end, in OpenAI's protocol. Chunks wait here for as long as the text in
 * them waits for the reply's log: what was said can be settled even if this
 * worker dies in the next moment.
 *
 * The head goes with the first token, so that a reply that fails before it has
 * the status by which clients know what to do. A stream that breaks off later
 * ends with an error object and without [DONE].
 *
 * Where something was masked for the model, or replies are checked, chunks are
 * mended first (model/openai_mend.h). Of a reply that is withheld there are no
 * chunks: it is said as one when it has passed, and one that has not ends as
 * OpenAI's filtered ones do, with content_filter.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json.h"
#include "chat/completion.h"
#include "chat/turn.h"
#include "http/openai_error.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/sse_write.h"
#include "model/mask.h"
#include "model/openai_chunk.h"
#include "model/openai_collect.h"
#include "model/openai_mend.h"
#include "server/relay_priv.h"
#include "server/reply_log.h"

struct openai_voice {
	struct openai_stamp stamp;
	char id[COMPLETION_ID];
	struct buf lines;   /* chunks that wait */
	size_t mark;        /* of them, what goes with the step in flight */
	struct buf usage;   /* as the server said it, JSON */
	bool has_head;      /* the client has it */
	bool has_chunk;     /* and a chunk of this answer */
	bool wants_objects; /* the answer is put together again */
	bool is_withheld;   /* and said at the end only */
	bool is_mended;     /* objects are, before anything else */
	struct openai_mend *mend;
	struct openai_collected *collected; /* it; NULL: nothing came */
};

static const struct completion *
completion_of(const struct stream *s)
{
	return s->turn->completion;
}

bool
stream_openai_begin(struct stream *s)
{
	const struct config *config = s->relay->config;
	struct openai_voice *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return false;
	completion_id(s->turn, v->id);
	v->stamp = (struct openai_stamp){
	    .id = v->id,
	    .model = s->turn->model,
	    .created_s = completion_of(s)->created_s,
	};
	v->is_withheld = stream_moderate_withholds(config);
	v->is_mended =
	    mask_is_used(s->turn->mask) || stream_moderate_checks(config);
	v->wants_objects = !s->wants_stream || completion_of(s)->is_kept ||
			   stream_moderate_checks(config);
	s->openai = v;
	s->voice = &voice_openai;
	return true;
}

static void
forget(struct openai_voice *v)
{
	buf_free(&v->lines);
	buf_free(&v->usage);
	openai_collect_free(v->collected);
	openai_mend_free(v->mend);
	v->collected = NULL;
	v->mend = NULL;
	v->mark = 0;
}

void
stream_openai_free(struct stream *s)
{
	if (s->openai == NULL)
		return;
	forget(s->openai);
	free(s->openai);
}

/* One object as the client may have it, chunk or whole. */
static void
take_object(struct stream *s, const struct model_object *o)
{
	struct openai_voice *v = s->openai;
	struct buf line = {0};

	if (v->wants_objects || o->is_whole) {
		if (v->collected == NULL)
			v->collected = openai_collect_new();
		openai_collect(v->collected, o);
	}
	if (!s->wants_stream || v->is_withheld || o->is_whole ||
	    !client_is_open(&s->client)) {
		openai_usage_find(o->json, o->n, &v->usage);
	} else {
		openai_chunk_rewrite(
		    &line, &v->stamp, o->json, o->n, &v->usage);
		sse_write_data(&v->lines, line.p, line.n);
	}
	buf_free(&line);
}

static void
mend_object(struct stream *s, const struct model_object *o)
{
	struct openai_voice *v = s->openai;
	struct model_object mended = *o;
	struct buf json = {0};

	if (v->mend == NULL)
		v->mend = openai_mend_new(s->turn->mask);
	openai_mend(v->mend, o, &json);
	mended.json = json.p;
	mended.n = json.n;
	s->is_full |= json.failed;
	if (!json.failed)
		take_object(s, &mended);
	buf_free(&json);
}

/* One object of the answer. */
static void
object_came(void *arg, const struct model_object *o)
{
	struct stream *s = arg;
	size_t max = (size_t)s->relay->config->reply_max_bytes;

	if (s->openai->is_mended)
		mend_object(s, o);
	else
		take_object(s, o);
	s->turn->completion->n_beside += o->n_beside;
	if (s->turn->text.n + s->turn->completion->n_beside > max)
		s->is_full = true;
	relay_mark_dirty(s);
}

/* What waited for the rest of a placeholder is said as it is. */
static void
end_mending(struct stream *s)
{
	struct openai_mend *mend = s->openai->mend;
	struct buf json = {0};

	while (mend != NULL && openai_mend_rest(mend, &json)) {
		const struct model_object o = {.json = json.p, .n = json.n};

		if (!json.failed)
			take_object(s, &o);
		buf_free(&json);
	}
}

void
stream_openai_again(struct stream *s)
{
	s->parser.on_object = object_came;
	forget(s->openai);
	s->turn->completion->n_beside = 0;
}

void
stream_openai_store(struct stream *s)
{
	struct completion *c = s->turn->completion;

	end_mending(s);
	/* It was never told, and never will be. */
	if (s->openai->is_withheld && s->turn->status != TURN_COMPLETE)
		forget(s->openai);
	if (c->is_kept && s->openai->collected != NULL)
		openai_collected_calls(&c->calls, s->openai->collected);
}

void
stream_openai_words(const struct stream *s, struct buf *out)
{
	if (s->openai->collected != NULL)
		openai_collected_words(out, s->openai->collected);
}

/* Whoever went away wants no more of what nobody keeps. */
void
stream_openai_left(struct stream *s)
{
	if (!completion_of(s)->is_kept)
		stream_hang_up(s);
}

/* What every head says. */
static void
make_head(struct stream *s, struct reply *head, char ms[static 24])
{
	uint64_t us = clock_mono_us() - s->phases.accepted_us;

	snprintf(ms, 24, "%llu", (unsigned long long)us / 1000);
	head->limits = s->limits;
	reply_header(head, "openai-version", OPENAI_VERSION);
	reply_header(head, "openai-processing-ms", ms);
	origin_allow(s->relay->config, s->origin ? s->origin : "", head);
}

static void
add_head(struct stream *s, struct buf *out)
{
	struct reply head = {
	    .status = 200,
	    .content_type = "text/event-stream",
	    .turn = s->turn, /* no Content-Length */
	};
	char ms[24];

	if (s->openai->has_head)
		return;
	s->openai->has_head = true;
	s->status = 200;
	reply_header(&head, "X-Accel-Buffering", "no");
	make_head(s, &head, ms);
	reply_head(out, &head, s->request_id);
	free(s->limits);
	s->limits = NULL;
}

/* Sends the first `n` bytes of what waits. Now no other model can be asked. */
static void
say_lines(struct stream *s, size_t n)
{
	struct openai_voice *v = s->openai;
	struct buf out = {0};

	if (!client_is_open(&s->client))
		buf_free(&v->lines);
	if (n == 0 || v->lines.n == 0)
		return;
	stream_try_answered(s);
	add_head(s, &out);
	buf_add(&out, v->lines.p, n);
	buf_drop(&v->lines, n);
	v->mark = v->mark > n ? v->mark - n : 0;
	v->has_chunk = true;
	stream_send(s, &out);
}

static void
step(struct stream *s)
{
	s->openai->mark = s->openai->lines.n;
}

/* Nothing is said until there is a token. */
static void
say_start(struct stream *s, const struct reply_event *e)
{
	(void)e;
	s->status = 200;
}

static void
say_event(struct stream *s, const struct reply_event *e)
{
	(void)e;
	say_lines(s, s->openai->mark);
}

static void
say_resumable(struct stream *s)
{
	(void)s;
}

static void
say_heartbeat(struct stream *s)
{
	struct buf out = {0};

	if (!s->wants_stream || !client_is_open(&s->client))
		return;
	add_head(s, &out);
	sse_write_comment(&out, "still here");
	stream_send(s, &out);
}

/* What has no text needs not wait, once the model is at work. */
static void
rest(struct stream *s)
{
	if (s->parser.has_begun &&
	    (stream_is_running(s) || s->state == STREAM_STORING))
		say_lines(s, s->openai->lines.n);
}

/* The server's own refusal of what the client asked: that is the client's to
 * know. What it says of us is not. */
static bool
read_refusal(
    struct stream *s, struct openai_error *error, char *message, size_t size)
{
	const struct buf *body = &s->error_body;

	if (s->turn->error != ERR_MODEL_FAILED || s->turn->text.n > 0)
		return false;
	switch (s->http_status) {
	case 400:
	case 404:
	case 413:
	case 415:
	case 422:
		break;
	default:
		return false;
	}
	openai_error_message(body->p, body->n, message, size);
	stream_hide_keys(s, message);
	error->message = message;
	error->type = "invalid_request_error";
	return true;
}

/* Of a refusal: what it is about, and its code, where they are texts. */
static void
read_about(struct json_object *o, struct openai_error *error)
{
	struct json_object *inside = NULL;

	error->code = "model_refused";
	(void)json_object_object_get_ex(o, "error", &inside);
	if (!json_object_is_type(inside, json_type_object))
		return;
	error->param = json_member_text(inside, "param");
	if (json_member_text(inside, "code") != NULL)
		error->code = json_member_text(inside, "code");
}

/* Has moderation withheld the reply? */
static bool
is_filtered(const struct stream *s)
{
	const struct turn *t = s->turn;

	return t->error == ERR_CONTENT_REFUSED && t->moderated != NULL &&
	       strcmp(t->moderated, "reply") == 0;
}

static bool
has_failed(const struct stream *s)
{
	return s->turn->error != OK && !is_filtered(s);
}

/* Appends the error; returns the status that it has. */
static int
write_error(struct stream *s, struct buf *out)
{
	AUTO_JSON struct json_object *o = NULL;
	struct openai_error error = {.e = s->turn->error};
	int status = openai_error_status(s->turn->error);
	struct buf plain = {0};
	char message[256];

	if (read_refusal(s, &error, message, sizeof(message))) {
		buf_puts(&plain, message);
		unmask_whole(s->turn->mask, &plain);
		error.message = buf_text(&plain);
		status = (int)s->http_status;
		if (json_parse_any(s->error_body.p, s->error_body.n, 8, &o) ==
		    OK)
			read_about(o, &error);
	}
	openai_error_write(out, &error);
	buf_free(&plain);
	return status;
}

static void
write_document(struct stream *s, struct buf *out, int status, struct buf *body)
{
	struct reply rep = {
	    .status = status,
	    .content_type = "application/json",
	    .body = body->p,
	    .body_len = body->n,
	};
	const char *challenge = reply_challenge(s->turn->error);
	char ms[24];

	if (status == 503)
		reply_header(&rep, "Retry-After", "2");
	if (challenge != NULL)
		reply_header(&rep, "WWW-Authenticate", challenge);
	make_head(s, &rep, ms);
	reply_head(out, &rep, s->request_id);
	buf_add(out, body->p, body->n);
	s->status = status;
	s->openai->has_head = true;
}

/* Why it ended: as we know better than the server, as it said, as we have it.
 */
static const char *
finish_of(const struct stream *s)
{
	const struct openai_mend *mend = s->openai->mend;
	enum model_finish f = s->turn->finish;

	if (is_filtered(s))
		f = MODEL_FINISH_CONTENT_FILTER;
	else if (f == MODEL_FINISH_NONE)
		f = MODEL_FINISH_STOP;
	if (f != MODEL_FINISH_CONTENT_FILTER && f != MODEL_FINISH_LENGTH &&
	    mend != NULL && *openai_mend_finish(mend) != '\0')
		return openai_mend_finish(mend);
	return model_finish_name(f);
}

static struct openai_ending
ending_of(const struct stream *s)
{
	const struct turn *t = s->turn;

	return (struct openai_ending){
	    .text = t->text.n > 0 ? t->text.p : "",
	    .n = t->text.n,
	    .finish = finish_of(s),
	    .usage = buf_text(&s->openai->usage),
	};
}

/* All of an answer of which no chunk was said: a kept one, natter-local's, one
 * that was withheld, or a server's that knows no streams. */
static void
write_all(struct stream *s, struct buf *out)
{
	struct openai_voice *v = s->openai;
	struct openai_ending end = ending_of(s);
	struct buf line = {0};

	openai_chunk_open(&line, &v->stamp);
	buf_puts(&line, ",\"choices\":[");
	openai_collected_choice(&line, v->collected, &end);
	buf_puts(&line, "]}");
	sse_write_data(out, line.p, line.n);
	buf_free(&line);
}

/* What no chunk has said: the whole answer, the reason of the end. */
static void
write_rest(struct stream *s, struct buf *out)
{
	struct openai_voice *v = s->openai;
	bool has_chunk = v->has_chunk || v->lines.n > 0;
	struct buf line = {0};

	if (!has_chunk)
		write_all(s, out);
	if (!has_chunk || v->is_mended ||
	    s->parser.finish == MODEL_FINISH_NONE) {
		openai_chunk_write(&line, &v->stamp, "{}", ending_of(s).finish);
		sse_write_data(out, line.p, line.n);
	}
	buf_free(&line);
}

static void
write_usage(struct stream *s, struct buf *out)
{
	struct openai_voice *v = s->openai;
	struct buf line = {0};

	openai_chunk_open(&line, &v->stamp);
	buf_printf(&line, ",\"choices\":[],\"usage\":%s}", buf_text(&v->usage));
	sse_write_data(out, line.p, line.n);
	buf_free(&line);
}

static void
write_stream_end(struct stream *s, struct buf *out)
{
	struct openai_voice *v = s->openai;
	struct buf rest = {0};

	if (has_failed(s)) {
		(void)write_error(s, &rest);
		sse_write_data(out, rest.p, rest.n);
		buf_free(&rest);
		return;
	}
	write_rest(s, &rest);
	buf_add(out, v->lines.p, v->lines.n);
	buf_add(out, rest.p, rest.n);
	if (completion_of(s)->wants_usage)
		write_usage(s, out);
	sse_write_data(out, "[DONE]", strlen("[DONE]"));
	buf_free(&rest);
}

/* Where the server counted nothing, the numbers are those that are billed. */
static void
settle_usage(struct stream *s)
{
	struct model_usage u = turn_usage(s->turn);

	s->openai->stamp.model = s->turn->model;
	if (s->parser.model[0] != '\0')
		s->openai->stamp.model = s->parser.model;
	if (s->openai->usage.n == 0)
		openai_usage_write(&s->openai->usage, &u);
	if (s->openai->collected == NULL)
		s->openai->collected = openai_collect_new();
}

static void
write_whole(struct stream *s, struct buf *out)
{
	struct openai_ending end = ending_of(s);
	struct buf body = {0};
	int status = 200;

	if (has_failed(s))
		status = write_error(s, &body);
	else
		openai_collected_write(
		    &body, s->openai->collected, &s->openai->stamp, &end);
	write_document(s, out, status, &body);
	buf_free(&body);
}

static void
say_end(struct stream *s, const struct reply_event *e)
{
	struct buf out = {0};

	(void)e;
	settle_usage(s);
	if (s->wants_stream && (!has_failed(s) || s->openai->has_head)) {
		add_head(s, &out);
		write_stream_end(s, &out);
	} else {
		write_whole(s, &out);
	}
	if (out.failed)
		client_cut(&s->client);
	else
		client_end(&s->client, out.p, out.n);
	buf_free(&out);
}

const struct voice voice_openai = {
    .step = step,
    .start = say_start,
    .event = say_event,
    .resumable = say_resumable,
    .heartbeat = say_heartbeat,
    .end = say_end,
    .rest = rest,
};
