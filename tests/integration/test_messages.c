/*
 * Messages through their handlers and a real Postgres: posting, reading and
 * paging.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/json.h"
#include "chat/message.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "store/pg.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_messages"))
		abort();
}

static struct world w;
static char conversation[ID_TEXT];

static void
open_world(void)
{
	world_open(&w, NULL);
	world_conversation(&w, conversation);
}

static void
close_world(void)
{
	world_close(&w);
}

TestSuite(messages, .init = open_world, .fini = close_world, .timeout = 60);

/* Posts a body as a client that accepts `accept`. */
static enum err
post(const char *accept, const char *body, struct turn **out_turn)
{
	struct request *req = world_request(&w);
	struct reply rep = {0};
	req->ids[0] = conversation;
	req->accept = accept;
	req->body = body;
	req->body_len = strlen(body);
	enum err e = api_message_post(req, &rep);
	*out_turn = rep.turn;
	return e;
}

static struct json_object *
row(size_t i)
{
	return json_object_array_get_idx(
	    json_object_object_get(w.answer, "data"), i);
}

static size_t
rows(void)
{
	return json_object_array_length(
	    json_object_object_get(w.answer, "data"));
}

static const char *
row_text(size_t i, const char *name)
{
	return json_object_get_string(json_object_object_get(row(i), name));
}

Test(messages, a_post_hands_over_a_turn_in_one_round_trip)
{
	struct turn *t;
	uint64_t before = pg_round_trips(w.services.pg);
	cr_assert_eq(
	    post("", "{\"content\":\"Hello\",\"metadata\":{\"a\":1}}", &t), OK);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 1);
	cr_assert_not_null(t);
	cr_expect_not(t->wants_stream);
	cr_assert_eq(
	    world_call(&w, api_message_get, t->user_message_id, "", ""), OK);
	cr_expect_str_eq(world_text(&w, "content"), "Hello");
	cr_expect_str_eq(world_text(&w, "role"), "user");
	cr_expect_str_eq(world_text(&w, "status"), "complete");
	cr_expect_str_eq(json_object_to_json_string_ext(
			     json_object_object_get(w.answer, "metadata"),
			     JSON_C_TO_STRING_PLAIN),
	    "{\"a\":1}");
	cr_expect_null(world_text(&w, "usage"));
	cr_assert_eq(
	    world_call(&w, api_message_get, t->message_id, "", ""), OK);
	cr_expect_str_eq(world_text(&w, "status"), "streaming");
	cr_expect_str_eq(world_text(&w, "content"), "");
	cr_expect_null(world_text(&w, "completed_at"));
	cr_expect_null(world_text(&w, "usage"));
	turn_free(t);
}

Test(messages, the_stream_flag_wins_over_accept)
{
	static const struct {
		const char *accept;
		const char *body;
		bool want;
	} table[] = {
	    {"", "{\"content\":\"x\"}", false},
	    {"text/event-stream", "{\"content\":\"x\"}", true},
	    {"application/json, Text/Event-Stream;q=0.9", "{\"content\":\"x\"}",
		true},
	    {"text/event-stream", "{\"content\":\"x\",\"stream\":false}",
		false},
	    {"application/json", "{\"content\":\"x\",\"stream\":true}", true},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct turn *t;
		world_conversation(&w, conversation);
		cr_assert_eq(post(table[i].accept, table[i].body, &t), OK);
		cr_expect_eq(t->wants_stream, table[i].want, "row %zu", i);
		turn_free(t);
	}
}

Test(messages, a_bad_field_is_refused_by_name_and_stores_nothing)
{
	static const struct {
		const char *body;
		const char *field;
	} table[] = {
	    {"{}", "content"},
	    {"{\"content\":\"\"}", "content"},
	    {"{\"content\":\" \\n\"}", "content"},
	    {"{\"content\":null}", "content"},
	    {"{\"content\":[]}", "content"},
	    {"{\"content\":\"x\",\"role\":\"system\"}", "role"},
	    {"{\"content\":\"x\",\"stream\":\"yes\"}", "stream"},
	    {"{\"content\":\"x\",\"model\":\"a b\"}", "model"},
	    {"{\"content\":\"x\",\"model\":7}", "model"},
	    {"{\"content\":\"x\",\"parent_id\":\"y\"}", "parent_id"},
	    {"{\"content\":\"x\",\"parent_id\":"
	     "\"018f0000-0000-7000-8000-000000000000\"}",
		"parent_id"},
	    {"{\"content\":\"x\",\"metadata\":[]}", "metadata"},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct turn *t;
		cr_expect_eq(post("", table[i].body, &t), ERR_INVALID_FIELD,
		    "%s", table[i].body);
		cr_expect_str_eq(w.req.bad_field, table[i].field);
		cr_expect_null(t);
	}
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
}

Test(messages, a_body_that_is_no_object_is_bad_json)
{
	struct turn *t;
	cr_expect_eq(post("", "", &t), ERR_BAD_JSON);
	cr_expect_eq(post("", "[1]", &t), ERR_BAD_JSON);
	cr_expect_eq(post("", "{\"content\":\"a\\u0000b\"}", &t), ERR_BAD_JSON);
}

/* Walks the list in pages of `limit`; expects positions in order. */
static size_t
walk(const char *order, int limit, int64_t first, int64_t step)
{
	char query[2048];
	char cursor[1024] = "";
	size_t n = 0;
	do {
		(void)snprintf(query, sizeof(query), "order=%s&limit=%d%s%s",
		    order, limit, *cursor ? "&cursor=" : "", cursor);
		cr_assert_eq(
		    world_call(&w, api_messages_list, conversation, query, ""),
		    OK);
		cr_assert_leq(rows(), (size_t)limit);
		for (size_t i = 0; i < rows(); i++, n++) {
			struct json_object *p =
			    json_object_object_get(row(i), "position");
			cr_expect_eq(json_object_get_int64(p),
			    first + (int64_t)n * step);
		}
		const char *next = world_text(&w, "next_cursor");
		(void)snprintf(cursor, sizeof(cursor), "%s", next ? next : "");
	} while (*cursor);
	return n;
}

Test(messages, pages_show_each_message_once_in_either_order)
{
	char reply[ID_TEXT];
	cr_expect_eq(walk("asc", 3, 1, 1), 0);
	for (int i = 0; i < 5; i++)
		world_turn(&w, conversation, NULL, "Hello", reply);
	cr_expect_eq(walk("asc", 3, 1, 1), 10);
	cr_expect_eq(walk("desc", 3, 10, -1), 10);
	cr_expect_eq(walk("asc", 5, 1, 1), 10);
	cr_expect_eq(walk("asc", 200, 1, 1), 10);
}

/* As retention leaves it when old months went. */
Test(messages, pages_begin_where_messages_are_gone)
{
	char reply[ID_TEXT];
	for (int i = 0; i < 4; i++)
		world_turn(&w, conversation, NULL, "Hello", reply);
	world_sql("DELETE FROM chat.messages WHERE user_id = '%s'"
		  " AND position <= 3",
	    w.user);
	cr_expect_eq(walk("asc", 2, 4, 1), 5);
	cr_expect_eq(walk("desc", 2, 8, -1), 5);
}

Test(messages, a_list_shows_what_single_reads_show)
{
	char reply[ID_TEXT];
	world_turn(&w, conversation, NULL, "Hello", reply);
	cr_assert_eq(
	    world_call(&w, api_messages_list, conversation, "", ""), OK);
	cr_assert_eq(rows(), 2);
	cr_expect_str_eq(row_text(1, "id"), reply);
	cr_expect_str_eq(row_text(1, "parent_id"), row_text(0, "id"));
	struct json_object *listed = json_object_get(row(1));
	cr_assert_eq(world_call(&w, api_message_get, reply, "", ""), OK);
	cr_expect_eq(json_object_equal(listed, w.answer), 1);
	cr_expect_eq(json_object_object_length(w.answer), 20);
	cr_expect_not_null(world_text(&w, "usage"));
	json_object_put(listed);
}

Test(messages, a_page_is_bounded_in_bytes_too)
{
	enum { BIG = 1024 * 1024, TURNS = 6 };
	char *big = malloc(BIG + 1);
	memset(big, 'x', BIG);
	big[BIG] = '\0';
	for (int i = 0; i < TURNS; i++) {
		struct turn *t = NULL;
		cr_assert_eq(
		    world_begin(&w, conversation, NULL, "Hello", &t), OK);
		cr_assert_eq(world_finish(&w, t, big), OK);
		turn_free(t);
	}
	free(big);
	cr_assert_eq(
	    world_call(&w, api_messages_list, conversation, "", ""), OK);
	cr_expect_eq(rows(), 8, "%zu rows", rows());
	cr_expect_eq(walk("asc", 200, 1, 1), 2 * TURNS);
	cr_expect_eq(walk("desc", 200, 2 * TURNS, -1), 2 * TURNS);
}

Test(messages, a_list_refuses_bad_parameters)
{
	static const struct {
		const char *query;
		enum err want;
	} table[] = {
	    {"limit=201", ERR_INVALID_FIELD},
	    {"order=up", ERR_INVALID_FIELD},
	    {"cursor=x", ERR_BAD_CURSOR},
	    {"limit=200&order=desc", OK},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		cr_expect_eq(world_call(&w, api_messages_list, conversation,
				 table[i].query, ""),
		    table[i].want, "%s", table[i].query);
}

Test(messages, somebody_elses_message_is_not_there)
{
	static struct world other;
	char reply[ID_TEXT];
	world_turn(&w, conversation, NULL, "Hello", reply);
	world_open(&other, NULL);
	cr_expect_eq(
	    world_call(&other, api_message_get, reply, "", ""), ERR_NOT_FOUND);
	world_close(&other);
}
