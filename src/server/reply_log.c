/*
 * The log's format, and the commands that write it.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "http/sse_write.h"
#include "server/reply_log.h"
#include "server/reply_log_lua.h"

void
reply_log_key(const char *message_id, char out_key[static REPLY_LOG_KEY])
{
	snprintf(out_key, REPLY_LOG_KEY, "reply:%s", message_id);
}

bool
reply_event_is(const struct reply_event *e, const char *name)
{
	return e->name_len == strlen(name) &&
	       memcmp(e->name, name, e->name_len) == 0;
}

bool
reply_event_is_delta(const struct reply_event *e)
{
	return reply_event_is(e, "delta");
}

bool
reply_event_is_terminal(const struct reply_event *e)
{
	return reply_event_is(e, "done") || reply_event_is(e, "error");
}

/* Takes one field of an entry; others than ours are passed over. */
static void
read_field(
    const redisReply *name, const redisReply *value, struct reply_event *e)
{
	if (name->type != REDIS_REPLY_STRING || name->len != 1 ||
	    value->type != REDIS_REPLY_STRING)
		return;
	if (*name->str == 'e') {
		e->name = value->str;
		e->name_len = value->len;
	} else if (*name->str == 'd' || *name->str == 't') {
		e->data = value->str;
		e->n = value->len;
	}
	if (*name->str == 't') {
		e->name = "delta";
		e->name_len = 5;
	}
}

bool
reply_event_read(const redisReply *entry, struct reply_event *out_event)
{
	struct reply_event e = {0};
	const redisReply *id, *fields;

	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2)
		return false;
	id = entry->element[0];
	fields = entry->element[1];
	if (id->type != REDIS_REPLY_STRING ||
	    fields->type != REDIS_REPLY_ARRAY ||
	    !reply_position_parse(id->str, id->len, &e.at))
		return false;
	for (size_t i = 0; i + 1 < fields->elements; i += 2)
		read_field(fields->element[i], fields->element[i + 1], &e);
	if (e.name == NULL || e.data == NULL ||
	    (reply_event_is_delta(&e) && e.n > e.at.bytes))
		return false;
	*out_event = e;
	return true;
}

enum reply_cut
reply_event_cut(struct reply_event *e, uint64_t bytes)
{
	uint64_t begin;

	if (!reply_event_is_delta(e))
		return REPLY_NEW;
	begin = e->at.bytes - e->n;
	if (bytes >= e->at.bytes)
		return REPLY_SEEN;
	if (bytes < begin)
		return REPLY_GAP;
	e->data += bytes - begin;
	e->n = e->at.bytes - bytes;
	return REPLY_NEW;
}

void
reply_event_say(const struct reply_event *e, struct buf *out)
{
	char id[REPLY_POSITION_TEXT], name[32];

	reply_position_print(e->at, id);
	snprintf(name, sizeof(name), "%.*s", (int)e->name_len, e->name);
	if (!reply_event_is_delta(e)) {
		sse_write_event(out, id, name, e->data, e->n);
		return;
	}
	buf_reserve(out, e->n + 128);
	sse_write_open(out, id, name);
	buf_putc(out, '{');
	json_write_bytes(out, "text", e->data, e->n);
	buf_putc(out, '}');
	sse_write_close(out);
}

static void
add_bytes(struct reply_command *c, const char *p, size_t n)
{
	assert((size_t)c->n < sizeof(c->words) / sizeof(*c->words));
	c->words[c->n] = p;
	c->lens[c->n++] = n;
}

static void
add_word(struct reply_command *c, const char *word)
{
	add_bytes(c, word, strlen(word));
}

static void
begin(struct reply_command *c, const char *verb, const char *message_id)
{
	c->n = 0;
	reply_log_key(message_id, c->key);
	add_word(c, verb);
	add_word(c, c->key);
}

static void
add_event(struct reply_command *c, const struct reply_event *e)
{
	reply_position_print(e->at, c->position);
	add_word(c, c->position);
	if (!reply_event_is_delta(e)) {
		add_word(c, "e");
		add_bytes(c, e->name, e->name_len);
	}
	add_word(c, reply_event_is_delta(e) ? "t" : "d");
	add_bytes(c, e->data, e->n);
}

void
reply_log_begin(struct reply_command *c, const char *message_id,
    const struct reply_event *e)
{
	begin(c, "XADD", message_id);
	add_event(c, e);
}

void
reply_log_append(struct reply_command *c, const char *message_id,
    const struct reply_event *e)
{
	begin(c, "XADD", message_id);
	add_word(c, "NOMKSTREAM");
	add_event(c, e);
}

static void
add_number(struct reply_command *c, uint64_t number)
{
	snprintf(c->number, sizeof(c->number), "%" PRIu64, number);
	add_word(c, c->number);
}

void
reply_log_expire(
    struct reply_command *c, const char *message_id, int64_t seconds)
{
	begin(c, "EXPIRE", message_id);
	add_number(c, (uint64_t)seconds);
}

void
reply_log_hint(struct reply_command *c, const char *message_id, uint64_t n)
{
	begin(c, "PUBLISH", message_id);
	add_number(c, n);
}

void
reply_log_delete(struct reply_command *c, const char *message_id)
{
	begin(c, "DEL", message_id);
}

void
reply_log_rebuild(struct reply_command *c, const char *message_id,
    const struct reply_rebuild *what)
{
	c->n = 0;
	reply_log_key(message_id, c->key);
	reply_position_print(what->text.at, c->position);
	snprintf(c->number, sizeof(c->number), "%" PRId64, what->life_s);
	snprintf(c->hint, sizeof(c->hint), "%" PRIu64, what->text.at.n);
	add_word(c, "EVAL");
	add_word(c, reply_rebuild_lua);
	add_word(c, "1");
	add_word(c, c->key);
	add_bytes(c, what->start, what->start_len);
	add_word(c, what->text.n > 0 ? c->position : "");
	add_bytes(c, what->text.n > 0 ? what->text.data : "", what->text.n);
	add_word(c, c->number);
	add_word(c, c->hint);
	add_bytes(c, what->tools_len > 0 ? what->tools : "[]",
	    what->tools_len > 0 ? what->tools_len : 2);
}
