/*
 * Reading and closing the log of a dead worker's reply, by blocking commands.
 */
#include <stdio.h>

#include "base/buf.h"
#include "server/reply_tail.h"
#include "store/redis.h"

/* Entries of one XRANGE: a piece of the text has about 512 bytes. */
#define PIECE_MAX  128
#define PIECE_TEXT "128"

/* A log without a gap is what the writer leaves; after one nothing counts. */
static void
take_text(struct buf *out, struct reply_event e)
{
	if (reply_event_is_delta(&e) && e.at.bytes <= REPLY_TAIL_MAX &&
	    reply_event_cut(&e, out->n) == REPLY_NEW)
		buf_add(out, e.data, e.n);
}

/* Their data is an object each, written by us. */
static void
take_tool(struct reply_told *out, const struct reply_event *e)
{
	struct buf *into = NULL;

	if (reply_event_is(e, "tool_call"))
		into = &out->tool_calls;
	else if (reply_event_is(e, "tool_result"))
		into = &out->tool_responses;
	if (into == NULL)
		return;
	buf_putc(into, into->n > 0 ? ',' : '[');
	buf_add(into, e->data, e->n);
}

static bool
take_entries(
    const redisReply *entries, struct reply_told *out, struct reply_tail *tail)
{
	struct reply_event e;

	for (size_t i = 0; i < entries->elements; i++) {
		if (!reply_event_read(entries->element[i], &e))
			return false;
		take_text(&out->text, e);
		take_tool(out, &e);
		tail->is_there = true;
		tail->has_ended = reply_event_is_terminal(&e);
		tail->at = e.at;
	}
	return true;
}

enum err
reply_tail_read(struct redis *redis, const char *message_id,
    struct reply_told *out, struct reply_tail *out_tail)
{
	struct reply_tail tail = {0};
	char key[REPLY_LOG_KEY], from[REPLY_POSITION_TEXT + 1] = "-";
	const char *words[] = {"XRANGE", key, from, "+", "COUNT", PIECE_TEXT};
	size_t n = PIECE_MAX;

	reply_log_key(message_id, key);
	while (n == PIECE_MAX) {
		AUTO_REPLY redisReply *reply = NULL;
		enum err e = redis_command(redis, 6, words, NULL, &reply);

		if (e != OK)
			return e;
		if (reply->type != REDIS_REPLY_ARRAY ||
		    !take_entries(reply, out, &tail))
			return ERR_INTERNAL;
		n = reply->elements;
		from[0] = '(';
		reply_position_print(tail.at, from + 1);
	}
	*out_tail = tail;
	return OK;
}

void
reply_told_close(struct reply_told *told)
{
	if (told->tool_calls.n > 0)
		buf_putc(&told->tool_calls, ']');
	if (told->tool_responses.n > 0)
		buf_putc(&told->tool_responses, ']');
}

void
reply_told_free(struct reply_told *told)
{
	buf_free(&told->text);
	buf_free(&told->tool_calls);
	buf_free(&told->tool_responses);
}

/* What comes of it nobody waits for. */
static void
tell(struct redis *redis, const struct reply_command *c)
{
	AUTO_REPLY redisReply *reply = NULL;

	(void)!redis_command(
	    redis, c->n, (const char **)c->words, c->lens, &reply);
}

static void
append(struct redis *redis, const char *message_id, const struct reply_event *e)
{
	struct reply_command c;

	reply_log_append(&c, message_id, e);
	tell(redis, &c);
}

/* What a checkpoint in Postgres had beyond the log. */
static void
append_rest(struct redis *redis, const char *message_id,
    struct reply_position *at, const struct buf *text)
{
	struct reply_event rest = {
	    .name = "delta",
	    .name_len = 5,
	    .data = text->p,
	    .n = text->n,
	};

	rest.at = (struct reply_position){at->n, text->n};
	(void)reply_event_cut(&rest, at->bytes);
	append(redis, message_id, &rest);
	*at = (struct reply_position){at->n + 1, text->n};
}

void
reply_tail_end(struct redis *redis, const char *message_id,
    const struct reply_tail *tail, const struct buf *text,
    struct reply_event *last)
{
	struct reply_position at = {
	    tail->at.n + REPLY_LOG_SEAL, tail->at.bytes};
	struct reply_command c;

	if (tail->is_there && !tail->has_ended) {
		if (text->n > at.bytes)
			append_rest(redis, message_id, &at, text);
		last->at = at;
		append(redis, message_id, last);
		reply_log_expire(&c, message_id, REPLY_LOG_KEEP_S);
		tell(redis, &c);
	}
	reply_log_hint(&c, message_id, at.n);
	tell(redis, &c);
}
