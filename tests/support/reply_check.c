/*
 * One reading of events for both: a client's and a log's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "redis_scratch.h"
#include "reply_check.h"
#include "server/reply_log.h"
#include "stack.h"

static void
complain(struct reply_seen *s, const char *why)
{
	fprintf(stderr, "event %zu of %s: %s\n", s->events, s->message, why);
	s->is_well_formed = false;
}

static void
add_text(struct reply_seen *s, const char *p, size_t n)
{
	s->text = realloc(s->text, s->n + n + 1);
	if (s->text == NULL)
		abort();
	memcpy(s->text + s->n, p, n);
	s->n += n;
	s->text[s->n] = '\0';
}

static bool
is_about_tools(const struct reply_event *e)
{
	return reply_event_is(e, "tool_call") ||
	       reply_event_is(e, "tool_result");
}

static void
add_tool(struct reply_seen *s, const struct reply_event *e)
{
	size_t n = strlen(s->tools), room = n + e->name_len + e->n + 3;

	s->tools = realloc(s->tools, room);
	if (s->tools == NULL)
		abort();
	snprintf(s->tools + n, room - n, "%.*s %.*s\n", (int)e->name_len,
	    e->name, (int)e->n, e->data);
}

/* Takes the next event in; a delta's text is raw. */
static void
take(struct reply_seen *s, const struct reply_event *e)
{
	bool is_start = e->name_len == 5 && memcmp(e->name, "start", 5) == 0;

	if (is_start != (s->events == 0))
		complain(s, "start is not the first");
	if (s->end[0] != '\0')
		complain(s, "something follows the end");
	if (e->at.n <= s->last_n)
		complain(s, "the position does not rise");
	if (reply_event_is_delta(e))
		add_text(s, e->data, e->n);
	if (is_about_tools(e))
		add_tool(s, e);
	if (e->at.bytes != s->n)
		complain(s, "the position tells another length");
	if (reply_event_is_terminal(e)) {
		snprintf(
		    s->end, sizeof(s->end), "%.*s", (int)e->name_len, e->name);
		s->data = strndup(e->data, e->n);
	}
	s->last_n = e->at.n;
	s->events++;
}

static struct json_object *
parse(const char *data)
{
	struct json_object *o = json_tokener_parse(data);

	if (o == NULL)
		abort();
	return o;
}

static void
copy_member(struct json_object *o, const char *key, char *out, size_t size)
{
	struct json_object *v;

	if (json_object_object_get_ex(o, key, &v))
		snprintf(out, size, "%s", json_object_get_string(v));
}

static void
take_sent(struct reply_seen *s, const struct event *sent)
{
	struct reply_event e = {.name = sent->name,
	    .name_len = strlen(sent->name),
	    .data = sent->data,
	    .n = strlen(sent->data)};
	struct json_object *o = parse(sent->data), *text = NULL;

	if (strcmp(sent->name, "start") == 0)
		copy_member(o, "message_id", s->message, sizeof(s->message));
	if (!reply_position_parse(sent->id, strlen(sent->id), &e.at))
		complain(s, "its id is not a position");
	if (reply_event_is_delta(&e)) {
		json_object_object_get_ex(o, "text", &text);
		e.data = json_object_get_string(text);
		e.n = (size_t)json_object_get_string_len(text);
	}
	take(s, &e);
	json_object_put(o);
}

static void
begin(struct reply_seen *s)
{
	*s = (struct reply_seen){.is_well_formed = true};
	s->tools = strdup("");
	add_text(s, "", 0);
}

void
reply_seen_by_client(const struct answer *a, struct reply_seen *out)
{
	begin(out);
	for (size_t i = 0; i < a->n_events; i++) {
		/* Of the connection, not of the reply: it has no position. */
		if (strcmp(a->events[i].name, "resumable") == 0)
			continue;
		take_sent(out, &a->events[i]);
	}
}

static struct redis *
open_redis(void)
{
	struct redis *r = redis_new(getenv("REDIS_URL"), 5000);

	if (r == NULL)
		abort();
	return r;
}

void
reply_seen_in_log(const char *message_id, struct reply_seen *out)
{
	struct redis *r = open_redis();
	AUTO_REPLY redisReply *reply = NULL;
	char key[REPLY_LOG_KEY];
	const char *words[] = {"XRANGE", key, "-", "+"};
	struct reply_event e;

	begin(out);
	snprintf(out->message, sizeof(out->message), "%s", message_id);
	reply_log_key(message_id, key);
	cr_assert_eq(redis_command(r, 4, words, NULL, &reply), OK);
	for (size_t i = 0; i < reply->elements; i++)
		if (reply_event_read(reply->element[i], &e))
			take(out, &e);
		else
			complain(out, "an entry that is none");
	redis_free(r);
}

void
reply_seen_free(struct reply_seen *s)
{
	free(s->text);
	free(s->data);
	free(s->tools);
	*s = (struct reply_seen){0};
}

void
expect_same_reply(const struct reply_seen *client, const struct reply_seen *log)
{
	cr_expect(client->is_well_formed, "what the client saw");
	cr_expect(log->is_well_formed, "the log");
	cr_expect_eq(log->n, client->n, "%zu bytes in the log, %zu seen",
	    log->n, client->n);
	cr_expect(strcmp(log->text, client->text) == 0, "another text");
	cr_expect_eq(log->last_n, client->last_n, "event %llu, seen %llu",
	    (unsigned long long)log->last_n,
	    (unsigned long long)client->last_n);
	cr_expect_str_eq(log->end, client->end);
	if (log->data != NULL && client->data != NULL)
		cr_expect_str_eq(log->data, client->data);
	cr_expect_str_eq(log->tools, client->tools);
}

/* The member of a stored array that has this id; NULL: none. */
static struct json_object *
find_stored(struct json_object *array, const char *id)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);
		struct json_object *v = json_object_object_get(o, "id");

		if (strcmp(json_object_get_string(v), id) == 0)
			return o;
	}
	return NULL;
}

/* Each member of what was seen stands in what is stored. */
static void
expect_stored_tool(struct json_object *stored, const char *line)
{
	struct json_object *seen = parse(strchr(line, ' ') + 1);
	struct json_object *whole = find_stored(
	    stored, json_object_get_string(json_object_object_get(seen, "id")));

	cr_assert_not_null(whole, "not stored: %s", line);
	json_object_object_foreach(seen, key, value)
	{
		cr_expect(json_object_equal(
			      value, json_object_object_get(whole, key)),
		    "%s is stored otherwise: %s", key, line);
	}
	json_object_put(seen);
}

/* What was seen of tools is stored, and after an end nothing else. */
static void
expect_stored_tools(const struct reply_seen *s)
{
	char *columns[] = {
	    db_text("SELECT tool_calls FROM chat.messages WHERE id = $1",
		s->message),
	    db_text("SELECT tool_responses FROM chat.messages WHERE id = $1",
		s->message)};
	struct json_object *stored[] = {parse(columns[0]), parse(columns[1])};
	size_t n[] = {0, 0};

	for (char *line = strtok(s->tools, "\n"); line != NULL;
	     line = strtok(NULL, "\n")) {
		size_t which = strncmp(line, "tool_result ", 12) == 0;

		expect_stored_tool(stored[which], line);
		n[which]++;
	}
	for (size_t i = 0; i < 2; i++) {
		cr_expect(s->end[0] == '\0' ||
			      n[i] == json_object_array_length(stored[i]),
		    "%zu seen, stored: %s", n[i], columns[i]);
		json_object_put(stored[i]);
		free(columns[i]);
	}
}

void
expect_stored_reply(const struct reply_seen *s)
{
	char *stored = db_text(
	    "SELECT content FROM chat.messages WHERE id = $1", s->message);

	cr_expect_leq(s->n, strlen(stored));
	cr_expect(strncmp(stored, s->text, s->n) == 0,
	    "the stored text does not begin with what was seen");
	cr_expect(s->end[0] == '\0' || s->n == strlen(stored),
	    "%zu bytes seen, %zu stored", s->n, strlen(stored));
	free(stored);
	expect_stored_tools(s);
}

void
expect_reply_agrees(const struct answer *a)
{
	struct reply_seen client, log;

	reply_seen_by_client(a, &client);
	cr_expect_str_neq(client.end, "", "the reply has not ended");
	reply_seen_in_log(client.message, &log);
	expect_same_reply(&client, &log);
	expect_stored_reply(&client);
	reply_seen_free(&client);
	reply_seen_free(&log);
}

long long
reply_log_ttl(const char *message_id)
{
	struct redis *r = open_redis();
	char key[REPLY_LOG_KEY];
	long long ttl;

	reply_log_key(message_id, key);
	ttl = number_of(r, WORDS("TTL", key));
	redis_free(r);
	return ttl;
}
