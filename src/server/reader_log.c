/*
 * What a reader reads from the log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/reader.h"
#include "server/relay_redis.h"

/* Entries of one XRANGE: the first of a reader, and the most. As many as were
 * of some 64 KB the last time, for a fast model's are large. */
#define READ_FIRST 4
#define READ_MAX   64
#define READ_BYTES 65536

/* A delta, as much of it as is new. */
static void
take_delta(struct reader *x, struct reply_event *e, struct buf *out)
{
	while (e->n > 0 && ((unsigned char)*e->data & 0xc0) == 0x80) {
		e->data++; /* somebody asked for half a character */
		e->n--;
	}
	x->at.bytes = e->at.bytes;
	x->told += e->n;
	if (x->follow->wants_stream)
		reply_event_say(e, out);
}

/* The last event. A client that claims more text than there was begins again.
 */
static void
take_end(struct reader *x, const struct reply_event *e)
{
	if (e->at.bytes >= x->at.bytes) {
		reader_end_with(x, e);
		return;
	}
	reader_begin_again(x);
	x->is_due = true;
}

/*
 * Takes one event; false: none after it is to be taken now. Where text is
 * missing before it, the log was lost and is not yet made anew, or is an old
 * one of a Redis that started again: then it says nothing.
 */
static bool
take(struct reader *x, struct reply_event *e, struct buf *out)
{
	bool is_delta = reply_event_is_delta(e);
	enum reply_cut part = reply_event_cut(e, x->at.bytes);

	if (part == REPLY_GAP || (!is_delta && e->at.bytes > x->at.bytes))
		return false;
	if (reply_event_is_terminal(e)) {
		reader_say(x, out);
		buf_clear(out);
		/* Who has much to read yet would be cut by one more word. */
		if (client_waiting(&x->client) > 0)
			x->is_due = true;
		else
			take_end(x, e);
		return false;
	}
	x->at.n = e->at.n;
	if (is_delta && part == REPLY_NEW)
		take_delta(x, e, out);
	else if (!is_delta && !reply_event_is(e, "start")) /* it was told one */
		reply_event_say(e, out);
	return true;
}

/* How many entries to read, after so many had so many bytes. */
static size_t
count_for(size_t n, size_t bytes)
{
	size_t count = bytes == 0 ? READ_MAX : READ_BYTES * n / bytes;

	if (count > READ_MAX)
		return READ_MAX;
	return count > 0 ? count : 1;
}

/* Takes what was read; returns whether there was anything new. */
static bool
take_all(struct reader *x, const redisReply *reply)
{
	struct reply_position before = x->at;
	struct reply_event e;
	struct buf out = {0};
	size_t i = 0, bytes = 0;

	while (i < reply->elements && reply_event_read(reply->element[i], &e)) {
		bytes += e.n;
		if (!take(x, &e, &out))
			break;
		i++;
	}
	reader_say(x, &out);
	buf_free(&out);
	if (i == x->read_count)
		x->is_due = true;
	if (i > 0)
		x->read_count = count_for(i, bytes);
	return x->at.n != before.n || x->at.bytes != before.bytes;
}

static void
log_came(void *arg, const redisReply *reply)
{
	struct reader *x = arg;
	bool is_new = false;

	x->is_reading = false;
	if (x->state == READER_FOLLOWING && reply != NULL &&
	    reply->type == REDIS_REPLY_ARRAY)
		is_new = take_all(x, reply);
	if (x->state != READER_FOLLOWING)
		return;
	if (is_new)
		x->next_look_ms = reader_now_ms(x) + READER_LOOK_MS;
	if (x->is_due)
		reader_read_on(x);
	else if (reader_now_ms(x) >= x->next_look_ms)
		reader_look(x);
	reader_arm(x);
}

/* Asks for the next entries, unless the client has to read first. */
void
reader_read_on(struct reader *x)
{
	char from[REPLY_POSITION_TEXT + 1] = "(", count[24];
	const char *words[] = {"XRANGE", x->key, from, "+", "COUNT", count};

	if (x->state != READER_FOLLOWING || client_waiting(&x->client) > 0)
		return;
	if (x->is_reading) {
		x->is_due = true;
		return;
	}
	x->is_due = false;
	reply_position_print(x->at, from + 1);
	if (x->read_count == 0)
		x->read_count = READ_FIRST;
	snprintf(count, sizeof(count), "%zu", x->read_count);
	x->is_reading =
	    relay_redis_send(x->relay->reading, 6, words, NULL, log_came, x);
}

/* Whoever writes the reply is to hint at its events. */
void
reader_say_followed(struct reader *x)
{
	const char *words[] = {
	    "PUBLISH", REPLY_LOG_FOLLOWED, x->follow->message_id};

	(void)relay_redis_send(x->relay->reading, 3, words, NULL, NULL, x);
}

/* Something may be there. Who knows of more than the hint names need not look.
 * The reply's first event says that its writer had nobody to tell before. */
void
reader_hinted(void *arg, const char *payload)
{
	uint64_t n = payload == NULL ? 0 : strtoull(payload, NULL, 10);
	struct reader *x = arg;

	if (n <= 1)
		reader_say_followed(x);
	if (payload != NULL && n <= x->at.n)
		return;
	reader_read_on(x);
}
