/*
 * Streams in threads, over the tests' HTTP client.
 */
#include <assert.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "follow_call.h"
#include "json_escape.h"

/* Nothing here takes as long, on a busy machine either. */
#define WAIT_MS 90000

static void
event_came(void *arg, int n)
{
	struct call *c = arg;

	atomic_store(&c->text, c->answer.text.n);
	atomic_store(&c->events, n);
}

static void *
run(void *arg)
{
	struct call *c = arg;

	http_ask(&c->ask, &c->answer);
	atomic_store(&c->has_ended, true);
	return NULL;
}

static void
begin(struct call *c)
{
	c->ask.path = c->path;
	c->ask.timeout_ms = WAIT_MS;
	c->ask.on_event = event_came;
	c->ask.arg = c;
	cr_assert_eq(pthread_create(&c->thread, NULL, run, c), 0);
}

void
call_say(struct call *c, const struct stack *s, const struct person *p,
    const char *content, int hang_up_after)
{
	struct buf inside = {0};

	*c = (struct call){.ask = {.method = "POST",
			       .base = s->base,
			       .token = p->token,
			       .json = c->json,
			       .hang_up_after = hang_up_after}};
	snprintf(c->path, sizeof(c->path), "/api/v1/conversations/%s/messages",
	    p->conversation);
	json_escape(&inside, content, strlen(content));
	snprintf(c->json, sizeof(c->json),
	    "{\"content\":\"%s\",\"stream\":true}", buf_text(&inside));
	buf_free(&inside);
	begin(c);
}

void
call_follow(struct call *c, const struct stack *s, const char *token,
    const char *message_id, const char *after)
{
	*c = (struct call){.ask = {.base = s->base, .token = token}};
	snprintf(
	    c->path, sizeof(c->path), "/api/v1/messages/%s/stream", message_id);
	if (after != NULL) {
		snprintf(
		    c->header, sizeof(c->header), "Last-Event-ID: %s", after);
		c->ask.headers[0] = c->header;
	}
	begin(c);
}

struct awaited {
	struct call *call;
	int events;
	size_t text;
};

static bool
has_come(void *arg)
{
	struct awaited *w = arg;

	return (atomic_load(&w->call->events) >= w->events &&
		   atomic_load(&w->call->text) >= w->text) ||
	       atomic_load(&w->call->has_ended);
}

void
call_await(struct call *c, int events)
{
	struct awaited w = {.call = c, .events = events};

	cr_assert(wait_until(has_come, &w, WAIT_MS), "%d of %d events",
	    atomic_load(&c->events), events);
}

void
call_await_text(struct call *c, size_t bytes)
{
	struct awaited w = {.call = c, .text = bytes};

	cr_assert(wait_until(has_come, &w, WAIT_MS), "%zu of %zu bytes",
	    atomic_load(&c->text), bytes);
}

const struct answer *
call_join(struct call *c)
{
	if (!c->is_joined)
		pthread_join(c->thread, NULL);
	c->is_joined = true;
	return &c->answer;
}

void
call_clear(struct call *c)
{
	call_join(c);
	answer_clear(&c->answer);
}

void
follow(const struct stack *s, const char *token, const char *message_id,
    const char *after, struct answer *a)
{
	struct call c;

	call_follow(&c, s, token, message_id, after);
	call_join(&c);
	*a = c.answer;
}

struct newest {
	const struct person *person;
	char *id;
};

static bool
has_reply(void *arg)
{
	struct newest *n = arg;

	db_value("SELECT id FROM chat.messages WHERE conversation_id = $1"
		 " AND role = 'assistant' ORDER BY position DESC LIMIT 1",
	    n->person->conversation, n->id, 40);
	return *n->id != '\0';
}

void
reply_id(const struct person *p, char out_id[40])
{
	struct newest n = {p, out_id};

	cr_assert(wait_until(has_reply, &n, WAIT_MS));
}

static bool
has_message_ended(void *arg)
{
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE id = $1", arg, status,
	    sizeof(status));
	return strcmp(status, "streaming") != 0;
}

char *
reply_text(const char *message_id)
{
	char id[40];

	snprintf(id, sizeof(id), "%s", message_id);
	cr_assert(wait_until(has_message_ended, id, WAIT_MS));
	return db_text("SELECT content FROM chat.messages WHERE id = $1", id);
}

/* Appends the texts of the deltas among events [0, k). */
static void
add_texts(struct buf *text, const struct answer *a, size_t k)
{
	for (size_t i = 0; i < k; i++) {
		struct json_object *o, *t;

		if (strcmp(a->events[i].name, "delta") != 0)
			continue;
		o = json_tokener_parse(a->events[i].data);
		if (json_object_object_get_ex(o, "text", &t))
			buf_add(text, json_object_get_string(t),
			    (size_t)json_object_get_string_len(t));
		json_object_put(o);
	}
}

static int64_t
offset_of(const char *start)
{
	struct json_object *o = json_tokener_parse(start), *n;
	int64_t offset = -1;

	if (json_object_object_get_ex(o, "offset", &n))
		offset = json_object_get_int64(n);
	json_object_put(o);
	return offset;
}

char *
text_resumed(const struct answer *first, size_t k, const struct answer *rest)
{
	struct buf text = {0};
	struct answer part = {0};
	size_t from = 0;

	if (first != NULL)
		add_texts(&text, first, k);
	for (size_t i = 0; i < rest->n_events; i++) {
		int64_t offset;

		if (strcmp(rest->events[i].name, "start") != 0)
			continue;
		offset = offset_of(rest->events[i].data);
		if (offset == 0)
			buf_clear(&text);
		else if (offset != (int64_t)text.n)
			return NULL;
		from = i;
	}
	if (rest->n_events == 0 || strcmp(rest->events[0].name, "start") != 0)
		return NULL;
	part.events = rest->events + from;
	add_texts(&text, &part, rest->n_events - from);
	return buf_take(&text);
}
