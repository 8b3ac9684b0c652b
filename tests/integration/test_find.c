/*
 * Finding: conversations by every filter, messages by their words, page by
 * page; what is temporary is found nowhere; metadata survive two who change
 * them at once; what counts counts.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/json.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "store/pg.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_find"))
		abort();
}

static struct world w;

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

TestSuite(find, .init = open_world, .fini = close_world, .timeout = 120);

static void
create(const char *body, char out_id[static ID_TEXT])
{
	cr_assert_eq(world_call(&w, api_conversation_create, NULL, "", body),
	    OK, "%s: %s", body, w.req.detail);
	strcpy(out_id, world_text(&w, "id"));
}

/* The first letters of the titles that a list shows, in order. */
static const char *
letters(world_handler_fn handler, const char *query)
{
	static char found[64];
	size_t n = 0;
	cr_assert_eq(world_call(&w, handler, NULL, query, ""), OK, "%s: %s %s",
	    query, w.req.bad_field, w.req.why);
	struct json_object *data = json_object_object_get(w.answer, "data");
	for (; n < json_object_array_length(data); n++)
		found[n] = *json_object_get_string(json_object_object_get(
		    json_object_array_get_idx(data, n), "title"));
	found[n] = '\0';
	return found;
}

Test(find, conversations_by_every_filter)
{
	char id[ID_TEXT], store[ID_TEXT], query[256], body[256];
	static const struct {
		const char *query;
		const char *found;
	} rows[] = {
	    {"", "cba"},
	    {"order=asc", "abc"},
	    {"tag=red", "ba"},
	    {"tag=red&tag=big", "b"},
	    {"tag=none", ""},
	    {"metadata=%7B%22k%22:%7B%22n%22:1%7D%7D", "a"},
	    {"metadata=%7B%22k%22:2%7D", ""},
	    {"q=invoice", "ba"},
	    {"q=invoces", "ba"},
	    {"q=MAY+invoice", "b"},
	    {"q=100%25", "c"},
	    {"q=_", ""},
	    {"active=false", "d"},
	    {"active=all", "dcba"},
	    {"archived=true", "e"},
	    {"archived=all", "ecba"},
	    {"archived=all&active=all&order=asc", "abcde"},
	    {"tag=red&archived=all&active=all", "edba"},
	    {"since=2020-01-01T00:00:00Z", "cba"},
	    {"until=2020-01-01T00:00:00Z", ""},
	    {"q=invoice&tag=red&order=asc", "ab"},
	};
	create("{\"title\":\"a: Invoices of April\",\"tags\":[\"red\"],"
	       "\"metadata\":{\"k\":{\"n\":1,\"m\":2}}}",
	    id);
	create("{\"title\":\"b: Invoices of May\",\"tags\":[\"big\",\"red\"]}",
	    id);
	id_make(store);
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open)"
		  " VALUES ('%s', 's-%.8s', 'Shop', true)",
	    store, store + 24);
	(void)snprintf(body, sizeof(body),
	    "{\"title\":\"c: 100%% cotton\",\"store_id\":\"%s\"}", store);
	create(body, id);
	create("{\"title\":\"d: closed\",\"tags\":[\"red\"]}", id);
	cr_assert_eq(world_call(&w, api_conversation_patch, id, "",
			 "{\"is_active\":false}"),
	    OK);
	create("{\"title\":\"e: away\",\"tags\":[\"red\"]}", id);
	cr_assert_eq(world_call(&w, api_conversation_patch, id, "",
			 "{\"is_archived\":true}"),
	    OK);
	create("{\"title\":\"f: Invoice\",\"temporary\":true,"
	       "\"tags\":[\"red\"]}",
	    id);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_str_eq(letters(api_conversations_list, rows[i].query),
		    rows[i].found, "%s", rows[i].query);
	(void)snprintf(query, sizeof(query), "store_id=%s", store);
	cr_expect_str_eq(letters(api_conversations_list, query), "c");
}

Test(find, filtered_pages_go_on_where_they_ended)
{
	char id[ID_TEXT], body[128], query[1024];
	static const char *const filters[] = {
	    "tag=x", "active=all", "tag=x&order=asc", "q=number&archived=all"};
	for (int i = 0; i < 7; i++) {
		(void)snprintf(body, sizeof(body),
		    "{\"title\":\"%d number\",\"tags\":[\"x\"]}", i);
		create(body, id);
	}
	for (size_t f = 0; f < sizeof(filters) / sizeof(*filters); f++) {
		char all[32] = "";
		const char *cursor = "";
		do {
			(void)snprintf(query, sizeof(query), "%s&limit=3%s%s",
			    filters[f], *cursor ? "&cursor=" : "", cursor);
			strcat(all, letters(api_conversations_list, query));
			cursor = world_text(&w, "next_cursor");
		} while (cursor && strlen(all) < 20);
		cr_expect_str_eq(
		    all, strstr(filters[f], "asc") ? "0123456" : "6543210");
	}
	/* A cursor is of its filters. */
	cr_assert_eq(
	    world_call(&w, api_conversations_list, NULL, "tag=x&limit=1", ""),
	    OK);
	(void)snprintf(query, sizeof(query), "tag=y&cursor=%s",
	    world_text(&w, "next_cursor"));
	cr_expect_eq(world_call(&w, api_conversations_list, NULL, query, ""),
	    ERR_BAD_CURSOR);
}

Test(find, a_temporary_conversation_ends)
{
	char id[ID_TEXT], reply[ID_TEXT];
	struct turn *t = NULL;
	create("{\"expires_in\":60,\"title\":\"f\"}", id);
	cr_expect_not_null(world_text(&w, "expires_at"));
	world_turn(&w, id, NULL, "zebra", reply);
	cr_expect_eq(world_call(&w, api_message_get, reply, "", ""), OK);
	cr_expect_str_eq(letters(api_conversations_list, "archived=all"), "");
	cr_assert_eq(
	    world_call(&w, api_messages_search, NULL, "q=zebra", ""), OK);
	cr_expect_eq(
	    json_object_array_length(json_object_object_get(w.answer, "data")),
	    0);
	cr_assert_eq(world_call(&w, api_messages_recent, NULL, "", ""), OK);
	cr_expect_eq(
	    json_object_array_length(json_object_object_get(w.answer, "data")),
	    0);
	world_sql("UPDATE chat.conversations SET expires_at = now()"
		  " WHERE id = '%s'",
	    id);
	cr_expect_eq(
	    world_call(&w, api_conversation_get, id, "", ""), ERR_NOT_FOUND);
	cr_expect_eq(world_call(&w, api_conversation_patch, id, "", "{}"),
	    ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_messages_list, id, "", ""), ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_message_get, reply, "", ""), ERR_NOT_FOUND);
	cr_expect_eq(world_call(&w, api_message_patch, reply, "",
			 "{\"metadata\":{\"a\":1}}"),
	    ERR_NOT_FOUND);
	cr_expect_eq(world_begin(&w, id, NULL, "still?", &t), ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_conversation_stats, id, "", ""), ERR_NOT_FOUND);
}

Test(find, a_store_must_be_one_that_the_user_may_talk_in)
{
	char id[ID_TEXT], store[ID_TEXT], body[128];
	id_make(store);
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open)"
		  " VALUES ('%s', 's-%.8s', 'Shop', false)",
	    store, store + 24);
	(void)snprintf(body, sizeof(body), "{\"store_id\":\"%s\"}", store);
	cr_expect_eq(world_call(&w, api_conversation_create, NULL, "", body),
	    ERR_INVALID_FIELD);
	cr_expect_str_eq(w.req.bad_field, "store_id");
	create("{}", id);
	cr_expect_eq(world_call(&w, api_conversation_patch, id, "", body),
	    ERR_INVALID_FIELD);
	cr_expect_str_eq(w.req.bad_field, "store_id");
	cr_expect_eq(world_call(&w, api_conversation_patch, store, "", body),
	    ERR_NOT_FOUND);
	world_sql("INSERT INTO chat.store_members (user_id, store_id)"
		  " VALUES ('%s', '%s')",
	    w.user, store);
	cr_expect_eq(world_call(&w, api_conversation_patch, id, "", body), OK);
	cr_expect_str_eq(world_text(&w, "store_id"), store);
	cr_expect_eq(world_call(&w, api_conversation_patch, id, "",
			 "{\"store_id\":null}"),
	    OK);
	cr_expect_null(world_text(&w, "store_id"));
}

/* One of several who change one row's metadata at the same time. */
struct patcher {
	pthread_t thread;
	const char *user;
	const char *id;
	world_handler_fn handler;
	int number;
	int failed;
};

static void *
patch_many(void *arg)
{
	struct patcher *p = arg;
	struct world mine;
	char body[64];
	world_open(&mine, p->user);
	for (int i = 0; i < 20; i++) {
		(void)snprintf(body, sizeof(body),
		    "{\"metadata\":{\"k%d\":{\"i%d\":1}}}", p->number, i);
		enum err e;
		do
			e = world_call(&mine, p->handler, p->id, "", body);
		while (world_was_late(&mine, e));
		p->failed += e != OK;
	}
	world_close(&mine);
	return NULL;
}

static void
patch_at_once(world_handler_fn handler, const char *id)
{
	struct patcher p[4] = {0};
	for (int i = 0; i < 4; i++) {
		p[i] = (struct patcher){
		    .user = w.user, .id = id, .handler = handler, .number = i};
		pthread_create(&p[i].thread, NULL, patch_many, &p[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(p[i].thread, NULL);
		cr_expect_eq(p[i].failed, 0);
	}
	cr_assert_eq(world_call(&w, handler, id, "", "{}"), OK);
	struct json_object *m = json_object_object_get(w.answer, "metadata");
	cr_expect_eq(json_object_object_length(m), 4);
	json_object_object_foreach(m, key, value)
	{
		cr_expect_eq(json_object_object_length(value), 20, "%s", key);
	}
}

Test(find, changes_of_metadata_at_once_all_survive)
{
	char id[ID_TEXT], reply[ID_TEXT];
	create("{}", id);
	patch_at_once(api_conversation_patch, id);
	world_turn(&w, id, NULL, "hello", reply);
	patch_at_once(api_message_patch, reply);
}

Test(find, metadata_are_merged_and_stay_small)
{
	char id[ID_TEXT], *body = NULL;
	create("{\"metadata\":{\"a\":{\"b\":1,\"c\":2},\"d\":[1]}}", id);
	cr_assert_eq(world_call(&w, api_conversation_patch, id, "",
			 "{\"metadata\":{\"a\":{\"b\":null,\"e\":{\"f\":null}},"
			 "\"d\":[2,null]}}"),
	    OK);
	cr_expect_str_eq(json_object_to_json_string_ext(
			     json_object_object_get(w.answer, "metadata"),
			     JSON_C_TO_STRING_PLAIN),
	    "{\"a\":{\"c\":2,\"e\":{}},\"d\":[2,null]}");
	for (int i = 0; i < 3; i++) {
		cr_assert_gt(asprintf(&body,
				 "{\"metadata\":{\"x%d\":\"%6000d\"}}", i, i),
		    0);
		cr_expect_eq(
		    world_call(&w, api_conversation_patch, id, "", body),
		    i < 2 ? OK : ERR_INVALID_FIELD);
		free(body);
	}
	cr_expect_str_eq(w.req.bad_field, "metadata");
}

/* Found messages: the first word of each passage's matches, and how many. */
static size_t
found(const char *query)
{
	cr_assert_eq(world_call(&w, api_messages_search, NULL, query, ""), OK,
	    "%s: %s", query, w.req.why);
	return json_object_array_length(
	    json_object_object_get(w.answer, "data"));
}

static void
say(const char *conversation, const char *text)
{
	char reply[ID_TEXT];
	world_turn(&w, conversation, NULL, text, reply);
}

Test(find, messages_by_their_words)
{
	char id[ID_TEXT], other[ID_TEXT], query[128];
	static const struct {
		const char *query;
		size_t found;
	} rows[] = {
	    {"q=invoice", 2},
	    {"q=invoices", 2},
	    {"q=%22late+invoice%22", 1},
	    {"q=invoice+-late", 1},
	    {"q=invoice+-%22late+invoice%22", 1},
	    {"q=invoice+-%22invoice+late%22", 2},
	    {"q=-%22invoice+late%22+invoice+%22of+may%22", 1},
	    {"q=invoice+or+parrot", 3},
	    {"q=Papagei", 1},
	    {"q=nothing-of-the-kind", 0},
	    {"q=%22", 0},
	    {"q=answer&role=assistant", 3},
	    {"q=answer&role=user", 0},
	    {"q=invoice&since=2020-01-01T00:00:00Z", 2},
	    {"q=invoice&until=2020-01-01T00:00:00Z", 0},
	    {"q=invoice&intent=pay", 1},
	};
	create("{}", id);
	create("{}", other);
	say(id, "Where is the late invoice <b>of May</b>?");
	say(id, "Two invoices came.");
	say(other, "Mein Papagei is a parrot");
	world_sql("UPDATE chat.messages SET intent = 'pay'"
		  " WHERE user_id = '%s' AND content LIKE 'Two%%'",
	    w.user);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_eq(found(rows[i].query), rows[i].found, "%s: %zu",
		    rows[i].query, found(rows[i].query));
	(void)snprintf(
	    query, sizeof(query), "q=invoice&conversation_id=%s", id);
	cr_expect_eq(found(query), 2);
	(void)snprintf(
	    query, sizeof(query), "q=invoice&conversation_id=%s", other);
	cr_expect_eq(found(query), 0);
	cr_expect_eq(found("q=invoice&conversation_id=0123456789"), 0);
	found("q=late");
	cr_expect_str_eq(
	    json_object_to_json_string_ext(
		json_object_object_get(
		    json_object_array_get_idx(
			json_object_object_get(w.answer, "data"), 0),
		    "snippet"),
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
	    "[{\"text\":\"Where is the \",\"match\":false},"
	    "{\"text\":\"late\",\"match\":true},"
	    "{\"text\":\" invoice\",\"match\":false}]");
}

Test(find, found_pages_show_each_once_whatever_comes_meanwhile)
{
	char id[ID_TEXT], query[1024], seen[512][ID_TEXT];
	const char *cursor = "";
	size_t n = 0;
	create("{}", id);
	world_sql("INSERT INTO chat.messages (user_id, id, conversation_id,"
		  " position, role, content, status)"
		  " SELECT '%s', (overlay(natter.uuid_floor(now() -"
		  " make_interval(mins => n))::text PLACING"
		  " lpad(n::text, 12, '0') FROM 25))::uuid, '%s', n, 'user',"
		  " 'walrus' || repeat(' walrus', n %% 7), 'complete'"
		  " FROM generate_series(1, 450) n",
	    w.user, id);
	do {
		(void)snprintf(query, sizeof(query), "q=walrus&limit=50%s%s",
		    *cursor ? "&cursor=" : "", cursor);
		size_t here = found(query);
		struct json_object *data =
		    json_object_object_get(w.answer, "data");
		for (size_t i = 0; i < here && n < 512; i++) {
			const char *one =
			    json_object_get_string(json_object_object_get(
				json_object_array_get_idx(data, i), "id"));
			for (size_t k = 0; k < n; k++)
				cr_expect_str_neq(seen[k], one);
			strcpy(seen[n++], one);
		}
		cursor = world_text(&w, "next_cursor");
		if (cursor) {
			static char kept[512];
			strcpy(kept, cursor);
			cursor = kept;
			say(id, "another walrus");
		}
	} while (cursor && n < 512);
	cr_expect_eq(n, 450);
}

Test(find, statistics_count)
{
	char id[ID_TEXT], reply[ID_TEXT];
	create("{}", id);
	world_turn(&w, id, NULL, "one", reply);
	world_turn(&w, id, NULL, "two", reply);
	cr_assert_eq(world_call(&w, api_conversation_stats, id, "", ""), OK,
	    "%s", w.req.why);
	cr_expect_str_eq(world_text(&w, "messages"), "4");
	struct json_object *roles = json_object_object_get(w.answer, "by_role");
	cr_expect_eq(
	    json_object_get_int(json_object_object_get(roles, "assistant")), 2);
	struct json_object *usage = json_object_object_get(w.answer, "usage");
	cr_expect_eq(
	    json_object_get_int(json_object_object_get(usage, "replies")), 2);
	cr_expect_eq(json_object_array_length(
			 json_object_object_get(w.answer, "models")),
	    1);
	cr_assert_eq(world_call(&w, api_me_stats, NULL, "", ""), OK);
	cr_expect_str_eq(world_text(&w, "messages"), "4");
	cr_expect_str_eq(world_text(&w, "conversations"), "1");
}

Test(find, feedback_is_given_changed_and_taken_back)
{
	char id[ID_TEXT], reply[ID_TEXT];
	create("{}", id);
	world_turn(&w, id, NULL, "one", reply);
	cr_expect_eq(
	    world_call(&w, api_feedback_get, reply, "", ""), ERR_NOT_FOUND);
	cr_assert_eq(world_call(&w, api_feedback_put, reply, "",
			 "{\"rating\":\"down\",\"reasons\":[\"wrong\"]}"),
	    OK);
	cr_assert_eq(world_call(&w, api_feedback_put, reply, "",
			 "{\"rating\":\"up\",\"comment\":\"fine\"}"),
	    OK);
	cr_assert_eq(world_call(&w, api_feedback_get, reply, "", ""), OK);
	cr_expect_str_eq(world_text(&w, "rating"), "up");
	cr_expect_str_eq(world_text(&w, "comment"), "fine");
	cr_expect_eq(json_object_array_length(
			 json_object_object_get(w.answer, "reasons")),
	    0);
	cr_expect_eq(world_call(&w, api_feedback_delete, reply, "", ""), OK);
	cr_expect_eq(
	    world_call(&w, api_feedback_delete, reply, "", ""), ERR_NOT_FOUND);
	/* Not about a question. */
	char question[ID_TEXT];
	cr_assert_eq(world_call(&w, api_message_get, reply, "", ""), OK);
	strcpy(question, world_text(&w, "parent_id"));
	cr_expect_eq(world_call(&w, api_feedback_put, question, "",
			 "{\"rating\":\"up\"}"),
	    ERR_NOT_FOUND);
}

Test(find, old_conversations_are_deleted_in_bounded_steps)
{
	char id[ID_TEXT];
	for (int i = 0; i < 3; i++)
		create("{}", id);
	world_sql("UPDATE chat.conversations SET"
		  " last_message_at = now() - interval '11 days',"
		  " is_active = false WHERE id = '%s'",
	    id);
	cr_expect_eq(world_call(&w, api_conversations_delete, NULL, "", ""),
	    ERR_INVALID_FIELD);
	cr_assert_eq(world_call(&w, api_conversations_delete, NULL,
			 "older_than_days=10", ""),
	    OK, "%s", w.req.why);
	cr_expect_str_eq(world_text(&w, "deleted"), "1");
	cr_expect_str_eq(world_text(&w, "has_more"), "false");
	cr_expect_eq(world_number("SELECT count(*) FROM chat.conversations"
				  " WHERE user_id = '%s'",
			 w.user),
	    2);
}

Test(find, recent_messages_and_touch)
{
	char a[ID_TEXT], b[ID_TEXT];
	create("{\"title\":\"a\"}", a);
	create("{\"title\":\"b\"}", b);
	say(a, "first");
	say(b, "second");
	cr_assert_eq(world_call(&w, api_messages_recent, NULL, "limit=3", ""),
	    OK, "%s", w.req.why);
	struct json_object *data = json_object_object_get(w.answer, "data");
	cr_assert_eq(json_object_array_length(data), 3);
	cr_expect_str_eq(json_object_get_string(json_object_object_get(
			     json_object_array_get_idx(data, 1), "content")),
	    "second");
	cr_expect_not_null(world_text(&w, "next_cursor"));
	cr_expect_str_eq(letters(api_conversations_list, ""), "ba");
	cr_assert_eq(world_call(&w, api_conversation_touch, a, "", ""), OK);
	cr_expect_str_eq(letters(api_conversations_list, ""), "ab");
}
