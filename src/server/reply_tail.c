/*
 * Reading and closing the log of a dead worker's reply, by blocking commands.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "server/reply_tail.h"
#include "store/redis.h"

/* Entries of one XRANGE: a piece of the text has about 512 bytes. */
#define PIECE_MAX  128
#define PIECE_TEXT "128"

/* How long readers may come after the end, in seconds. */
#define LIFE_TEXT "600"

#define KEY_ROOM (sizeof("reply:") + ID_TEXT)
#define AT_ROOM  48 /* two numbers and what is around them */

/* A part of a command; may hold any byte. */
struct word {
	const char *p;
	size_t n;
};

static void
key_of(const char *message_id, char out[static KEY_ROOM])
{
	(void)snprintf(out, KEY_ROOM, "reply:%s", message_id);
}

/* The entry's place, "<n>-<bytes>". */
static bool
read_place(const redisReply *id, uint64_t *out_n, size_t *out_bytes)
{
	char *end;

	if (id->type != REDIS_REPLY_STRING)
		return false;
	*out_n = strtoull(id->str, &end, 10);
	if (*end != '-')
		return false;
	*out_bytes = strtoull(end + 1, &end, 10);
	return *end == '\0';
}

/* The value of a field; NULL: there is none. */
static const redisReply *
field(const redisReply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->elements; i += 2)
		if (strcmp(fields->element[i]->str, name) == 0)
			return fields->element[i + 1];
	return NULL;
}

/* An entry may repeat text that was there before. */
static void
add_text(struct buf *out, const redisReply *text, size_t bytes)
{
	size_t begin = bytes - text->len;

	if (text->len > bytes || begin > out->n || bytes <= out->n ||
	    bytes > REPLY_TAIL_MAX)
		return;
	buf_add(out, text->str + (out->n - begin), bytes - out->n);
}

static bool
take_entry(const redisReply *entry, struct buf *out, struct reply_tail *tail)
{
	const redisReply *event, *text;

	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
	    entry->element[1]->type != REDIS_REPLY_ARRAY ||
	    !read_place(entry->element[0], &tail->n, &tail->bytes))
		return false;
	tail->is_there = true;
	event = field(entry->element[1], "e");
	text = field(entry->element[1], "t");
	if (text != NULL)
		add_text(out, text, tail->bytes);
	tail->has_ended =
	    event != NULL && (strcmp(event->str, "done") == 0 ||
				 strcmp(event->str, "error") == 0);
	return true;
}

enum err
reply_tail_read(struct redis *redis, const char *message_id, struct buf *out,
    struct reply_tail *out_tail)
{
	struct reply_tail tail = {0};
	char key[KEY_ROOM], after[AT_ROOM] = "-";
	const char *words[] = {"XRANGE", key, after, "+", "COUNT", PIECE_TEXT};
	size_t n = PIECE_MAX;

	key_of(message_id, key);
	while (n == PIECE_MAX) {
		AUTO_REPLY redisReply *reply = NULL;
		enum err e = redis_command(redis, 6, words, NULL, &reply);

		if (e != OK)
			return e;
		if (reply->type != REDIS_REPLY_ARRAY)
			return ERR_INTERNAL;
		n = reply->elements;
		for (size_t i = 0; i < n; i++)
			if (!take_entry(reply->element[i], out, &tail))
				return ERR_INTERNAL;
		(void)snprintf(after, sizeof(after), "(%" PRIu64 "-%zu", tail.n,
		    tail.bytes);
	}
	*out_tail = tail;
	return OK;
}

/* Appends an entry of `n` words, where the log still is. */
static void
append(struct redis *redis, const char *key, const struct reply_tail *at,
    const struct word *fields, size_t n)
{
	AUTO_REPLY redisReply *reply = NULL;
	char place[AT_ROOM];
	const char *words[8] = {"XADD", key, "NOMKSTREAM", place};
	size_t lens[8];

	(void)snprintf(
	    place, sizeof(place), "%" PRIu64 "-%zu", at->n, at->bytes);
	for (size_t i = 0; i < 4; i++)
		lens[i] = strlen(words[i]);
	for (size_t i = 0; i < n; i++) {
		words[4 + i] = fields[i].p;
		lens[4 + i] = fields[i].n;
	}
	(void)!redis_command(redis, 4 + (int)n, words, lens, &reply);
}

/* What a checkpoint in Postgres had beyond the log. */
static void
append_rest(struct redis *redis, const char *key, struct reply_tail *at,
    const struct buf *text)
{
	const struct word fields[] = {
	    {"t", 1},
	    {text->p + at->bytes, text->n - at->bytes},
	};

	at->n++;
	at->bytes = text->n;
	append(redis, key, at, fields, 2);
}

static void
append_last(struct redis *redis, const char *key, struct reply_tail *at,
    const struct reply_last *last)
{
	const struct word fields[] = {
	    {"e", 1},
	    {last->event, strlen(last->event)},
	    {"d", 1},
	    {last->data->p, last->data->n},
	};

	at->n++;
	append(redis, key, at, fields, 4);
}

void
reply_tail_end(struct redis *redis, const char *message_id,
    const struct reply_tail *tail, const struct reply_last *last)
{
	struct reply_tail at = *tail;
	char key[KEY_ROOM], n[AT_ROOM];
	const char *expire[] = {"EXPIRE", key, LIFE_TEXT};
	const char *publish[] = {"PUBLISH", key, n};

	key_of(message_id, key);
	if (tail->is_there && !tail->has_ended) {
		AUTO_REPLY redisReply *reply = NULL;

		if (last->text->n > at.bytes)
			append_rest(redis, key, &at, last->text);
		append_last(redis, key, &at, last);
		(void)!redis_command(redis, 3, expire, NULL, &reply);
	}
	AUTO_REPLY redisReply *reply = NULL;
	(void)snprintf(n, sizeof(n), "%" PRIu64, at.n);
	(void)!redis_command(redis, 3, publish, NULL, &reply);
}
