/*
 * /conversations through its handlers and a real Postgres: what a client
 * sends, what it gets, and what it may not see.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/json.h"
#include "http/reply.h"
#include "store/pg.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_conversations"))
		abort();
}

static struct world w;
static char id[ID_TEXT]; /* of the last conversation made */

static void
open_world(void)
{
	world_open(&w, NULL);
}

static void
close_world(void)
{
	world_close(&w);
}

TestSuite(
    conversations, .init = open_world, .fini = close_world, .timeout = 60);

static void
create(const char *body)
{
	cr_assert_eq(world_call(&w, api_conversation_create, NULL, "", body),
	    OK, "%s: %s", body, w.req.detail);
	strcpy(id, world_text(&w, "id"));
}

static enum err
get(const char *name)
{
	return world_call(&w, api_conversation_get, name, "", "");
}

static enum err
patch(const char *name, const char *body)
{
	return world_call(&w, api_conversation_patch, name, "", body);
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
	struct json_object *row = json_object_array_get_idx(
	    json_object_object_get(w.answer, "data"), i);
	return json_object_get_string(json_object_object_get(row, name));
}

Test(conversations, a_new_one_has_every_member)
{
	create("{}");
	cr_expect_eq(w.status, 201);
	static const char *const members[] = {"id", "short_id", "title",
	    "metadata", "tags", "model", "system_prompt", "is_active",
	    "is_archived", "message_count", "leaf_id", "created_at",
	    "updated_at", "last_message_at", "store_id", "expires_at",
	    "documents"};
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		cr_expect(json_object_object_get_ex(w.answer, members[i], NULL),
		    "%s", members[i]);
	cr_expect_eq(json_object_object_length(w.answer), 17);
	cr_expect(id_is_uuid(world_text(&w, "id")));
	cr_expect(id_is_short(world_text(&w, "short_id")));
	cr_expect_str_eq(world_text(&w, "title"), "");
	cr_expect_str_eq(world_text(&w, "metadata"), "{ }");
	cr_expect_str_eq(world_text(&w, "tags"), "[ ]");
	cr_expect_null(world_text(&w, "model"));
	cr_expect_null(world_text(&w, "leaf_id"));
	cr_expect_null(world_text(&w, "documents"));
	cr_expect_str_eq(world_text(&w, "is_active"), "true");
	cr_expect_str_eq(world_text(&w, "message_count"), "0");
}

Test(conversations, times_are_rfc_3339_in_utc_with_microseconds)
{
	create("{}");
	int year;
	int end = 0;
	int n = sscanf(world_text(&w, "created_at"),
	    "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*6[0-9]Z%n", &year, &end);
	cr_expect_eq(n, 1);
	cr_expect_eq(end, 27);
	cr_expect_eq(strlen(world_text(&w, "created_at")), 27);
	cr_expect_gt(year, 2024);
}

Test(conversations, what_was_sent_comes_back)
{
	create("{\"title\":\"Über \\\"alles\\\"\",\"metadata\":{\"a\":[1,"
	       "{\"b\":null}]},\"tags\":[\"x y\",\"q\\\"\\\\{}\",\"é\"],"
	       "\"model\":\"m-1\",\"system_prompt\":\"Answer\\nbriefly.\","
	       "\"documents\":false}");
	cr_assert_eq(get(id), OK);
	cr_expect_str_eq(world_text(&w, "title"), "Über \"alles\"");
	cr_expect_str_eq(world_text(&w, "model"), "m-1");
	cr_expect_str_eq(world_text(&w, "system_prompt"), "Answer\nbriefly.");
	cr_expect_str_eq(world_text(&w, "documents"), "false");
	struct json_object *tags = json_object_object_get(w.answer, "tags");
	cr_assert_eq(json_object_array_length(tags), 3);
	cr_expect_str_eq(
	    json_object_get_string(json_object_array_get_idx(tags, 1)),
	    "q\"\\{}");
	struct json_object *m = json_object_object_get(w.answer, "metadata");
	cr_expect_str_eq(
	    json_object_to_json_string_ext(m, JSON_C_TO_STRING_PLAIN),
	    "{\"a\":[1,{\"b\":null}]}");
}

Test(conversations, location_names_the_new_one)
{
	struct request *req = world_request(&w);
	struct reply rep = {0};
	req->body = "{}";
	req->body_len = 2;
	cr_assert_eq(api_conversation_create(req, &rep), OK);
	cr_assert_eq(rep.n_headers, 1);
	cr_expect_str_eq(rep.headers[0].name, "Location");
	const char *base = "/api/v1/conversations/";
	cr_assert_eq(strncmp(rep.headers[0].value, base, strlen(base)), 0);
	cr_expect(id_is_uuid(rep.headers[0].value + strlen(base)));
}

Test(conversations, a_bad_field_is_refused_by_name)
{
	static char long_title[1024];
	static char many_tags[1024];
	memset(long_title, 'x', 201);
	char *title = NULL;
	cr_assert(asprintf(&title, "{\"title\":\"%s\"}", long_title) > 0);
	strcpy(many_tags, "{\"tags\":[\"0\"");
	for (int i = 0; i < 20; i++)
		strcat(many_tags, ",\"x\"");
	strcat(many_tags, "]}");
	const struct {
		const char *body;
		const char *field;
	} table[] = {
	    {"{\"titel\":\"x\"}", "titel"},
	    {"{\"user_id\":\"x\"}", "user_id"},
	    {"{\"is_archived\":true}", "is_archived"},
	    {"{\"title\":7}", "title"},
	    {title, "title"},
	    {"{\"metadata\":[]}", "metadata"},
	    {"{\"metadata\":\"x\"}", "metadata"},
	    {"{\"tags\":\"x\"}", "tags"},
	    {"{\"tags\":[1]}", "tags"},
	    {"{\"tags\":[\"\"]}", "tags"},
	    {"{\"tags\":[null]}", "tags"},
	    {many_tags, "tags"},
	    {"{\"model\":\"\"}", "model"},
	    {"{\"model\":\"a b\"}", "model"},
	    {"{\"model\":\"\\u00e9\"}", "model"},
	    {"{\"system_prompt\":{}}", "system_prompt"},
	    {"{\"documents\":\"no\"}", "documents"},
	    {"{\"documents\":0}", "documents"},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		cr_expect_eq(world_call(&w, api_conversation_create, NULL, "",
				 table[i].body),
		    ERR_INVALID_FIELD, "%s", table[i].body);
		cr_expect_str_eq(w.req.bad_field, table[i].field);
	}
	free(title);
}

Test(conversations, patch_changes_what_it_names_and_nothing_else)
{
	static const struct {
		const char *body;
		const char *member;
		const char *want; /* NULL: null */
	} table[] = {
	    {"{\"title\":\"New\"}", "title", "New"},
	    {"{\"title\":\"\"}", "title", ""},
	    {"{\"tags\":[]}", "tags", "[ ]"},
	    {"{\"metadata\":{\"k\":1}}", "metadata", "{\"a\":2,\"k\":1}"},
	    {"{\"metadata\":{\"a\":null}}", "metadata", "{}"},
	    {"{\"model\":null}", "model", NULL},
	    {"{\"model\":\"m-2\"}", "model", "m-2"},
	    {"{\"system_prompt\":null}", "system_prompt", NULL},
	    {"{\"system_prompt\":\"\"}", "system_prompt", ""},
	    {"{\"is_active\":false}", "is_active", "false"},
	    {"{\"is_archived\":true}", "is_archived", "true"},
	    {"{\"is_archived\":false}", "is_archived", "false"},
	    {"{\"documents\":false}", "documents", "false"},
	    {"{\"documents\":null}", "documents", NULL},
	    {"{}", "title", "Old"},
	};
	static const char *const members[] = {"title", "tags", "metadata",
	    "model", "system_prompt", "is_active", "is_archived", "short_id",
	    "message_count", "last_message_at", "documents"};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		create("{\"title\":\"Old\",\"tags\":[\"t\"],\"model\":\"m\","
		       "\"system_prompt\":\"p\",\"metadata\":{\"a\":2},"
		       "\"documents\":true}");
		struct json_object *before = json_object_get(w.answer);
		cr_assert_eq(patch(id, table[i].body), OK);
		const char *now = world_text(&w, table[i].member);
		if (table[i].want && table[i].want[0] == '{')
			now = json_object_to_json_string_ext(
			    json_object_object_get(w.answer, table[i].member),
			    JSON_C_TO_STRING_PLAIN);
		if (table[i].want)
			cr_expect_str_eq(now, table[i].want);
		else
			cr_expect_null(now);
		for (size_t m = 0; m < sizeof(members) / sizeof(*members);
		     m++) {
			if (!strcmp(members[m], table[i].member))
				continue;
			cr_expect_eq(
			    json_object_equal(
				json_object_object_get(before, members[m]),
				json_object_object_get(w.answer, members[m])),
			    1, "%s changed %s", table[i].body, members[m]);
		}
		json_object_put(before);
	}
}

Test(conversations, archiving_notes_when_and_back_forgets_it)
{
	create("{}");
	cr_assert_eq(patch(id, "{\"is_archived\":true}"), OK);
	cr_expect_eq(world_number("SELECT count(archived_at)"
				  " FROM chat.conversations WHERE id = '%s'",
			 id),
	    1);
	cr_assert_eq(patch(id, "{\"is_archived\":false}"), OK);
	cr_expect_eq(world_number("SELECT count(archived_at)"
				  " FROM chat.conversations WHERE id = '%s'",
			 id),
	    0);
}

Test(conversations, a_short_id_does_for_every_route)
{
	char short_id[ID_SHORT_TEXT];
	create("{}");
	strcpy(short_id, world_text(&w, "short_id"));
	cr_expect_eq(get(short_id), OK);
	cr_expect_str_eq(world_text(&w, "id"), id);
	cr_expect_eq(patch(short_id, "{\"title\":\"x\"}"), OK);
	cr_expect_eq(world_call(&w, api_messages_list, short_id, "", ""), OK);
	cr_expect_eq(
	    world_call(&w, api_conversation_delete, short_id, "", ""), OK);
	cr_expect_eq(w.status, 204);
	cr_expect_eq(get(id), ERR_NOT_FOUND);
}

Test(conversations, what_is_not_the_callers_is_not_there)
{
	static struct world other;
	create("{}");
	char short_id[ID_SHORT_TEXT];
	strcpy(short_id, world_text(&w, "short_id"));
	world_open(&other, NULL);
	const char *const names[] = {id, short_id, "", "x",
	    "018f0000-0000-7000-8000-000000000000",
	    "018F0000-0000-7000-8000-000000000000"};
	static const world_handler_fn handlers[] = {api_conversation_get,
	    api_conversation_patch, api_conversation_delete, api_messages_list,
	    api_message_get};
	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++) {
		for (size_t h = 0; h < sizeof(handlers) / sizeof(*handlers);
		     h++)
			cr_expect_eq(world_call(&other, handlers[h], names[n],
					 "", "{\"title\":\"mine\"}"),
			    ERR_NOT_FOUND, "name %zu handler %zu", n, h);
		cr_expect_eq(world_call(&other, api_message_post, names[n], "",
				 "{\"content\":\"hello\"}"),
		    ERR_NOT_FOUND, "name %zu", n);
	}
	world_close(&other);
	cr_assert_eq(get(id), OK);
	cr_expect_str_eq(world_text(&w, "title"), "");
}

/* Walks the whole list in pages; gives the number of rows. */
static size_t
walk(const char *filter, char seen[][ID_TEXT])
{
	char query[2048];
	char cursor[1024] = "";
	size_t n = 0;
	do {
		(void)snprintf(query, sizeof(query), "limit=3%s%s%s", filter,
		    *cursor ? "&cursor=" : "", cursor);
		cr_assert_eq(
		    world_call(&w, api_conversations_list, NULL, query, ""),
		    OK);
		cr_assert_leq(rows(), 3);
		for (size_t i = 0; i < rows(); i++)
			strcpy(seen[n++], row_text(i, "id"));
		const char *next = world_text(&w, "next_cursor");
		(void)snprintf(cursor, sizeof(cursor), "%s", next ? next : "");
	} while (*cursor);
	return n;
}

Test(conversations, pages_show_each_row_once_the_latest_first)
{
	enum { ALL = 10 };
	char made[ALL][ID_TEXT];
	char seen[ALL + 1][ID_TEXT];
	for (int i = 0; i < ALL; i++) {
		create("{}");
		strcpy(made[i], id);
		if (i % 3 == 0)
			cr_assert_eq(patch(id, "{\"is_archived\":true}"), OK);
	}
	/* Three of them with one and the same time: the id decides. */
	world_sql("UPDATE chat.conversations SET last_message_at ="
		  " '2020-01-01' WHERE id IN ('%s', '%s', '%s')",
	    made[1], made[2], made[3]);
	cr_assert_eq(walk("&archived=all", seen), ALL);
	for (int i = 0; i < 6; i++)
		cr_expect_str_eq(seen[i], made[ALL - 1 - i]);
	cr_expect_str_eq(seen[6], made[0]);
	cr_expect_str_eq(seen[7], made[3]);
	cr_expect_str_eq(seen[8], made[2]);
	cr_expect_str_eq(seen[9], made[1]);
	cr_expect_eq(walk("&archived=true", seen), 4);
	cr_expect_str_eq(seen[3], made[3]);
	cr_expect_eq(walk("", seen), 6);
	cr_expect_str_eq(seen[0], made[8]);
}

Test(conversations, an_inactive_one_is_not_listed_until_it_is_used)
{
	char reply[ID_TEXT];
	char seen[4][ID_TEXT];
	create("{}");
	cr_assert_eq(patch(id, "{\"is_active\":false}"), OK);
	cr_expect_eq(walk("", seen), 0);
	cr_expect_eq(walk("&archived=all", seen), 0);
	world_turn(&w, id, NULL, "Hello", reply);
	cr_expect_eq(walk("", seen), 1);
}

Test(conversations, a_list_refuses_bad_parameters)
{
	static const struct {
		const char *query;
		enum err want;
	} table[] = {
	    {"limit=0", ERR_INVALID_FIELD},
	    {"limit=101", ERR_INVALID_FIELD},
	    {"limit=x", ERR_INVALID_FIELD},
	    {"archived=maybe", ERR_INVALID_FIELD},
	    {"cursor=x", ERR_BAD_CURSOR},
	    {"limit=100&archived=all", OK},
	    {"unknown=1", OK},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		cr_expect_eq(world_call(&w, api_conversations_list, NULL,
				 table[i].query, ""),
		    table[i].want, "%s", table[i].query);
}

Test(conversations, a_cursor_is_bound_to_its_list_and_user)
{
	static struct world other;
	char query[2048];
	create("{}");
	create("{}");
	cr_assert_eq(
	    world_call(&w, api_conversations_list, NULL, "limit=1", ""), OK);
	(void)snprintf(query, sizeof(query), "archived=all&cursor=%s",
	    world_text(&w, "next_cursor"));
	cr_expect_eq(world_call(&w, api_conversations_list, NULL, query, ""),
	    ERR_BAD_CURSOR);
	world_open(&other, NULL);
	cr_expect_eq(world_call(&other, api_conversations_list, NULL,
			 strchr(query, '&') + 1, ""),
	    ERR_BAD_CURSOR);
	world_close(&other);
	cr_expect_eq(world_call(&w, api_conversations_list, NULL,
			 strchr(query, '&') + 1, ""),
	    OK);
}

Test(conversations, each_route_is_one_round_trip)
{
	uint64_t before = pg_round_trips(w.services.pg);
	create("{}");
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 1);
	static const struct {
		world_handler_fn handler;
		const char *query;
		const char *body;
	} table[] = {
	    {api_conversation_get, "", ""},
	    {api_conversations_list, "", ""},
	    {api_conversations_list, "archived=all", ""},
	    {api_conversation_patch, "", "{\"title\":\"x\"}"},
	    {api_messages_list, "", ""},
	    {api_conversation_delete, "", ""},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		before = pg_round_trips(w.services.pg);
		cr_expect_eq(world_call(&w, table[i].handler, id,
				 table[i].query, table[i].body),
		    OK, "row %zu", i);
		cr_expect_eq(
		    pg_round_trips(w.services.pg) - before, 1, "row %zu", i);
	}
}
