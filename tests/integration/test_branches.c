/*
 * The tree of a conversation through its handlers and a real Postgres: edits,
 * further replies, forks, paths and siblings, compared with a tree that the
 * test keeps for itself.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/json.h"
#include "chat/branch.h"
#include "chat/import.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "store/pg.h"
#include "support/tree.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_branches"))
		abort();
}

static struct world w;
static char conversation[ID_TEXT];
static struct tree tree;

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

TestSuite(branches, .init = open_world, .fini = close_world, .timeout = 240);

/* Asks for a turn; the caller frees it. */
static enum err
ask(world_handler_fn handler, const char *id, const char *body,
    struct turn **out_turn)
{
	struct request *req = world_request(&w);
	struct reply rep = {0};
	req->ids[0] = id;
	req->body = body;
	req->body_len = strlen(body);
	enum err e = handler(req, &rep);
	*out_turn = rep.turn;
	return e;
}

/* The same, answered with `text` and noted in the tree. */
static void
turn(world_handler_fn handler, const char *id, const char *body,
    const char *parent, const char *question, const char *text)
{
	struct turn *t = NULL;
	enum err e = ask(handler, id, body, &t);
	cr_assert_eq(e, OK, "%s: %s %s", body, w.req.detail, w.req.why);
	cr_assert_eq(world_finish(&w, t, text), OK);
	if (question)
		tree_add(&tree, t->user_message_id, parent, false, question);
	tree_add(&tree, t->message_id, t->user_message_id, true, text);
	turn_free(t);
}

static const struct tree_node *
node(int i)
{
	return &tree.nodes[i];
}

/* A send below an answer; -1: the first question. */
static void
say(int below, const char *content)
{
	char body[256];
	const char *parent = below >= 0 ? node(below)->id : NULL;
	(void)snprintf(body, sizeof(body),
	    "{\"content\":\"%s\",\"parent_id\":%s%s%s}", content,
	    parent ? "\"" : "", parent ? parent : "null", parent ? "\"" : "");
	turn(api_message_post, conversation, body, parent, content, "a");
}

static void
edit(int question, const char *content)
{
	char body[256];
	char parent[ID_TEXT];
	strcpy(parent, node(question)->parent);
	(void)snprintf(body, sizeof(body), "{\"content\":\"%s\"}", content);
	turn(api_message_edit, node(question)->id, body, parent, content, "e");
}

static void
regenerate(int at)
{
	turn(api_message_regenerate, node(at)->id, "", NULL, NULL, "r");
}

/* A tree of about `n` messages by chance, the same each time. */
static void
grow(size_t n)
{
	srand(7);
	say(-1, "q0");
	while (tree.n < n) {
		char content[16];
		int at = rand() % (int)tree.n;
		(void)snprintf(content, sizeof(content), "q%zu", tree.n);
		int what = rand() % 8;
		if (what == 0)
			regenerate(at);
		else if (what == 1 && !node(at)->is_reply)
			edit(at, content);
		else if (what > 1 && node(at)->is_reply)
			say(what < 7 ? tree_end(&tree, at) : at, content);
	}
}

/* Reads a list's pages; fails on a page that is larger than `limit`. */
static void
read_pages(world_handler_fn handler, const char *id, const char *query,
    int limit, struct tree *out)
{
	char asked[4096];
	char cursor[2048] = "";
	out->n = 0;
	do {
		(void)snprintf(asked, sizeof(asked), "%s&limit=%d%s%s", query,
		    limit, *cursor ? "&cursor=" : "", cursor);
		cr_assert_eq(world_call(&w, handler, id, asked, ""), OK,
		    "%s: %s %s", asked, w.req.detail, w.req.why);
		struct json_object *data =
		    json_object_object_get(w.answer, "data");
		size_t n = json_object_array_length(data);
		const char *next = world_text(&w, "next_cursor");
		cr_assert(n == (size_t)limit || (n < (size_t)limit && !next),
		    "%zu rows of %d", n, limit);
		for (size_t i = 0; i < n; i++)
			tree_add_shown(out, json_object_array_get_idx(data, i));
		(void)snprintf(cursor, sizeof(cursor), "%s", next ? next : "");
	} while (*cursor);
}

static void
expect_rows(const struct tree *got, const int *want, size_t n, const char *what)
{
	cr_assert_eq(got->n, n, "%s: %zu of %zu", what, got->n, n);
	for (size_t i = 0; i < n; i++)
		cr_assert_str_eq(got->nodes[i].id, node(want[i])->id,
		    "%s: row %zu", what, i);
}

static void
expect_path(int at, int limit)
{
	static struct tree got;
	static int want[TREE_MAX];
	char query[128];
	size_t n = tree_path(&tree, at, want);
	(void)snprintf(query, sizeof(query), "leaf=%s", node(at)->id);
	read_pages(api_messages_list, conversation, query, limit, &got);
	expect_rows(&got, want, n, query);
	for (size_t i = 0; i < n / 2; i++) {
		int other = want[i];
		want[i] = want[n - 1 - i];
		want[n - 1 - i] = other;
	}
	strcat(query, "&order=desc");
	read_pages(api_messages_list, conversation, query, limit, &got);
	expect_rows(&got, want, n, query);
}

Test(branches, the_tree_is_what_was_asked_for)
{
	static struct tree got;
	grow(120);
	read_pages(api_messages_list, conversation, "order=asc", 200, &got);
	const char *why = tree_differs(&tree, &got, TREE_SAME_IDS);
	cr_expect_null(why, "%s", why);
	cr_expect_eq(world_number("SELECT message_count FROM chat.conversations"
				  " WHERE id = '%s' AND leaf_id = '%s'"
				  " AND next_position = message_count + 1",
			 conversation, node((int)tree.n - 1)->id),
	    (int64_t)tree.n);
	cr_expect_eq(world_number("SELECT count(DISTINCT position)"
				  " FROM chat.messages WHERE user_id = '%s'"
				  " AND position BETWEEN 1 AND %zu",
			 w.user, tree.n),
	    (int64_t)tree.n);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
}

Test(branches, every_path_in_both_orders_at_every_limit)
{
	static const int limits[] = {1, 2, 3, 5, 7, 50, 200};
	grow(100);
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		for (int at = 0; at < (int)tree.n; at += limits[i] < 5 ? 7 : 1)
			expect_path(at, limits[i]);
	}
}

/* Long enough for marks upon marks. */
Test(branches, a_long_path_is_paged_in_both_orders)
{
	enum { LONG = 700 };
	static struct tree got;
	static int want[TREE_MAX];
	char query[128];
	world_sql(
	    "INSERT INTO chat.messages (user_id, id, conversation_id,"
	    " parent_id, position, role, content, status)"
	    " SELECT '%s', ('%.24s' || to_char(n, 'FM000000000000'))::uuid,"
	    " '%s', CASE WHEN n > 1 THEN ('%.24s'"
	    " || to_char(n - 1, 'FM000000000000'))::uuid END, n,"
	    " CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,"
	    " 'm' || n, 'complete' FROM generate_series(1, %d) n",
	    w.user, conversation, conversation, conversation, LONG);
	world_sql("UPDATE chat.conversations SET leaf_id = (SELECT m.id"
		  " FROM chat.messages m WHERE m.conversation_id = '%s'"
		  " AND m.position = %d), message_count = %d,"
		  " next_position = %d WHERE id = '%s'",
	    conversation, LONG, LONG, LONG + 1, conversation);
	read_pages(api_messages_list, conversation, "order=asc", 200, &tree);
	cr_assert_eq(tree.n, LONG);
	static const int limits[] = {1, 2, 3, 10, 64, 200};
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		expect_path(LONG - 1, limits[i]);
		size_t n = tree_path(&tree, LONG - 1, want);
		(void)snprintf(query, sizeof(query), "leaf=current");
		read_pages(
		    api_messages_list, conversation, query, limits[i], &got);
		expect_rows(&got, want, n, query);
	}
}

static const char *
row_id(size_t i)
{
	return json_object_get_string(json_object_object_get(
	    json_object_array_get_idx(
		json_object_object_get(w.answer, "data"), i),
	    "id"));
}

/* A turn that comes in between moves the current leaf, not the pages. */
Test(branches, pages_of_the_current_path_stay_on_it)
{
	static const struct {
		const char *order;
		int then[2]; /* the second page */
	} rows[] = {{"asc", {4, 5}}, {"desc", {1, 0}}};
	char query[2048];
	char body[128];
	for (int i = 0; i < 3; i++)
		say((int)tree.n - 1, "q");
	for (int i = 0; i < 2; i++) {
		(void)snprintf(
		    body, sizeof(body), "{\"leaf_id\":\"%s\"}", node(5)->id);
		cr_assert_eq(world_call(&w, api_conversation_patch,
				 conversation, "", body),
		    OK);
		(void)snprintf(query, sizeof(query),
		    "leaf=current&limit=4&order=%s", rows[i].order);
		cr_assert_eq(
		    world_call(&w, api_messages_list, conversation, query, ""),
		    OK);
		(void)snprintf(query, sizeof(query),
		    "leaf=current&limit=50&order=%s&cursor=%s", rows[i].order,
		    world_text(&w, "next_cursor"));
		edit(0, "elsewhere");
		cr_assert_eq(
		    world_call(&w, api_messages_list, conversation, query, ""),
		    OK);
		cr_assert_eq(json_object_array_length(
				 json_object_object_get(w.answer, "data")),
		    2);
		for (int k = 0; k < 2; k++)
			cr_expect_str_eq(row_id((size_t)k),
			    node(rows[i].then[k])->id, "%s", rows[i].order);
		cr_expect_null(world_text(&w, "next_cursor"));
	}
}

Test(branches, siblings_in_order_with_their_place)
{
	static struct tree got;
	static int want[TREE_MAX];
	grow(80);
	for (int at = 0; at < (int)tree.n; at++) {
		size_t n = tree_siblings(&tree, at, want);
		int64_t place = 1;
		while (want[place - 1] != at)
			place++;
		for (int limit = 1; limit < 4; limit++) {
			read_pages(api_message_siblings, node(at)->id, "",
			    limit, &got);
			expect_rows(&got, want, n, "siblings");
			cr_expect_eq(
			    json_object_get_int64(json_object_object_get(
				w.answer, "sibling_index")),
			    place);
			cr_expect_eq(
			    json_object_get_int64(json_object_object_get(
				w.answer, "sibling_count")),
			    (int64_t)n);
		}
	}
}

Test(branches, a_path_tells_siblings_when_asked)
{
	static int siblings[TREE_MAX];
	char query[128];
	grow(60);
	int leaf = tree_end(&tree, 0);
	(void)snprintf(query, sizeof(query), "limit=200&leaf=%s&siblings=true",
	    node(leaf)->id);
	cr_assert_eq(
	    world_call(&w, api_messages_list, conversation, query, ""), OK);
	struct json_object *data = json_object_object_get(w.answer, "data");
	for (size_t i = 0; i < json_object_array_length(data); i++) {
		struct json_object *m = json_object_array_get_idx(data, i);
		int at = tree_find(&tree,
		    json_object_get_string(json_object_object_get(m, "id")));
		size_t n = tree_siblings(&tree, at, siblings);
		int64_t place = json_object_get_int64(
		    json_object_object_get(m, "sibling_index"));
		cr_expect_eq(json_object_get_int64(
				 json_object_object_get(m, "sibling_count")),
		    (int64_t)n);
		cr_assert(place >= 1 && place <= (int64_t)n);
		cr_expect_eq(siblings[place - 1], at);
	}
	(void)snprintf(
	    query, sizeof(query), "limit=200&leaf=%s", node(leaf)->id);
	cr_assert_eq(
	    world_call(&w, api_messages_list, conversation, query, ""), OK);
	data = json_object_object_get(w.answer, "data");
	cr_expect_null(json_object_object_get(
	    json_object_array_get_idx(data, 0), "sibling_count"));
}

Test(branches, the_chosen_branch_is_where_the_next_question_comes)
{
	char body[128];
	grow(60);
	for (int at = 0; at < 60; at += 9) {
		struct turn *t = NULL;
		int end = tree_end(&tree, at);
		(void)snprintf(
		    body, sizeof(body), "{\"leaf_id\":\"%s\"}", node(at)->id);
		cr_assert_eq(world_call(&w, api_conversation_patch,
				 conversation, "", body),
		    OK);
		cr_expect_str_eq(world_text(&w, "leaf_id"), node(end)->id);
		cr_assert_eq(ask(api_message_post, conversation,
				 "{\"content\":\"next\"}", &t),
		    OK);
		cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
					  " WHERE id = '%s'"
					  " AND parent_id = '%s'",
				 t->user_message_id, node(end)->id),
		    1);
		cr_assert_eq(world_finish(&w, t, "a"), OK);
		tree_add(
		    &tree, t->user_message_id, node(end)->id, false, "next");
		tree_add(&tree, t->message_id, t->user_message_id, true, "a");
		turn_free(t);
	}
}

/* What a reply's model is told. */
static bool
prompts(const struct turn *t, const char *needle)
{
	return memmem(t->prompt.p, t->prompt.n, needle, strlen(needle));
}

Test(branches, a_regenerated_reply_hears_what_the_first_one_heard)
{
	struct turn *t = NULL;
	say(-1, "first question");
	say(1, "second question");
	say(3, "third question");
	uint64_t before = pg_round_trips(w.services.pg);
	cr_assert_eq(ask(api_message_regenerate, node(3)->id,
			 "{\"model\":\"other\",\"max_tokens\":7}", &t),
	    OK);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 2);
	cr_expect_str_eq(t->user_message_id, node(2)->id);
	cr_expect_str_eq(t->model, "other");
	cr_expect(prompts(t, "first question"));
	cr_expect(prompts(t, "second question"));
	cr_expect_not(prompts(t, "third question"));
	struct buf start = {0};
	turn_start_json(t, &start);
	cr_expect(memmem(start.p, start.n, node(2)->id, ID_TEXT - 1));
	buf_free(&start);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s'",
			 w.user),
	    7);
	turn_free(t);
}

Test(branches, an_edit_of_the_first_question_is_a_first_question)
{
	struct turn *t = NULL;
	say(-1, "first question");
	say(1, "second question");
	cr_assert_eq(ask(api_message_edit, node(0)->id,
			 "{\"content\":\"better\",\"metadata\":{\"k\":1}}", &t),
	    OK);
	cr_expect(prompts(t, "better"));
	cr_expect_not(prompts(t, "question"));
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND parent_id IS NULL"
				  " AND content = 'better'"
				  " AND metadata = '{\"k\": 1}'",
			 t->user_message_id),
	    1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s'"
				  " AND content = 'first question'",
			 node(0)->id),
	    1);
	turn_free(t);
}

/* One branch: all questions below one message. */
Test(branches, one_reply_at_a_time_on_a_branch)
{
	struct turn *running = NULL;
	struct turn *t = NULL;
	say(-1, "one");
	say(1, "two");
	edit(2, "two, edited");
	cr_assert_eq(
	    ask(api_message_regenerate, node(2)->id, "", &running), OK);
	const struct {
		world_handler_fn handler;
		const char *id;
		const char *body;
	} refused[] = {
	    {api_message_regenerate, node(2)->id, ""},
	    {api_message_regenerate, node(3)->id, ""},
	    {api_message_regenerate, running->message_id, ""},
	    {api_message_regenerate, node(5)->id, ""},
	    {api_message_edit, node(2)->id, "{\"content\":\"x\"}"},
	    {api_message_edit, node(4)->id, "{\"content\":\"x\"}"},
	    {api_message_post, conversation, "{\"content\":\"x\"}"},
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		cr_expect_eq(
		    ask(refused[i].handler, refused[i].id, refused[i].body, &t),
		    ERR_REPLY_IN_PROGRESS, "row %zu", i);
		cr_expect_str_eq(w.req.running_message, running->message_id);
	}
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s'",
			 w.user),
	    7);
	/* Another branch of the same conversation. */
	cr_assert_eq(ask(api_message_regenerate, node(0)->id, "", &t), OK);
	turn_free(t);
	/* A fork would take half a reply along. */
	cr_expect_eq(
	    world_call(&w, api_conversation_fork, conversation, "", ""),
	    ERR_REPLY_IN_PROGRESS);
	cr_assert_eq(world_finish(&w, running, "done"), OK);
	turn_free(running);
}

Test(branches, every_end_of_a_reply_can_be_tried_again)
{
	static const enum turn_status ends[] = {
	    TURN_FAILED, TURN_INTERRUPTED, TURN_CANCELLED};
	say(-1, "one");
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct turn *t = NULL;
		struct pg_call calls[TURN_FINISH_CALLS];
		cr_assert_eq(
		    ask(api_message_regenerate, node(0)->id, "", &t), OK);
		char id[ID_TEXT];
		strcpy(id, t->message_id);
		t->status = ends[i];
		t->error = ends[i] == TURN_CANCELLED ? OK : ERR_MODEL_CUT;
		struct request *req = world_request(&w);
		size_t n = turn_finish(t, req->arena, calls);
		cr_assert_eq(chat_run(req, calls, n), OK);
		pg_calls_clear(calls, n);
		turn_free(t);
		cr_assert_eq(ask(api_message_regenerate, id, "{}", &t), OK);
		cr_expect_str_eq(t->user_message_id, node(0)->id);
		cr_assert_eq(world_finish(&w, t, "again"), OK);
		turn_free(t);
	}
	cr_expect_eq(world_number("SELECT message_count FROM chat.conversations"
				  " WHERE id = '%s'",
			 conversation),
	    8);
}

Test(branches, hostile_ids_are_refused_by_name)
{
	static struct world other;
	char elsewhere[ID_TEXT];
	char foreign[ID_TEXT];
	char leaf[64];
	char body[64];
	char theirs[ID_TEXT];
	struct turn *t = NULL;
	say(-1, "one");
	world_conversation(&w, elsewhere);
	world_turn(&w, elsewhere, NULL, "there", foreign);
	world_open(&other, NULL);
	world_conversation(&other, theirs);
	char stolen[ID_TEXT];
	world_turn(&other, theirs, NULL, "secret", stolen);
	world_close(&other);
	/* A greeting above all questions, and a system message. */
	world_sql("INSERT INTO chat.messages (user_id, id, conversation_id,"
		  " position, role, content, status) VALUES"
		  " ('%s', gen_random_uuid(), '%s', 50, 'assistant', 'hi',"
		  " 'complete'), ('%s', gen_random_uuid(), '%s', 51, 'system',"
		  " 's', 'complete')",
	    w.user, conversation, w.user, conversation);
	char ids[2][ID_TEXT];
	for (int i = 0; i < 2; i++) {
		(void)snprintf(
		    body, sizeof(body), "order=desc&limit=%d", 2 - i);
		cr_assert_eq(
		    world_call(&w, api_messages_list, conversation, body, ""),
		    OK);
		strcpy(ids[i], row_id(i == 0 ? 1 : 0));
	}
#define CONTENT "{\"content\":\"x\"}"
	const struct {
		world_handler_fn handler;
		const char *id, *body;
		enum err want;
		const char *field;
	} rows[] = {
	    {api_message_edit, stolen, CONTENT, ERR_NOT_FOUND, NULL},
	    {api_message_edit, "x", CONTENT, ERR_NOT_FOUND, NULL},
	    {api_message_edit, conversation, CONTENT, ERR_NOT_FOUND, NULL},
	    {api_message_edit, node(1)->id, CONTENT, ERR_INVALID_FIELD,
		"message_id"},
	    {api_message_edit, ids[1], CONTENT, ERR_INVALID_FIELD,
		"message_id"},
	    {api_message_edit, node(0)->id, "{}", ERR_INVALID_FIELD, "content"},
	    {api_message_edit, node(0)->id, "{\"content\":\" \"}",
		ERR_INVALID_FIELD, "content"},
	    {api_message_edit, node(0)->id,
		"{\"content\":\"x\",\"parent_id\":null}", ERR_INVALID_FIELD,
		"parent_id"},
	    {api_message_edit, node(0)->id, "", ERR_BAD_JSON, NULL},
	    {api_message_regenerate, stolen, "", ERR_NOT_FOUND, NULL},
	    {api_message_regenerate, "../x", "", ERR_NOT_FOUND, NULL},
	    {api_message_regenerate, ids[0], "", ERR_INVALID_FIELD,
		"message_id"},
	    {api_message_regenerate, ids[1], "", ERR_INVALID_FIELD,
		"message_id"},
	    {api_message_regenerate, node(1)->id, CONTENT, ERR_INVALID_FIELD,
		"content"},
	    {api_message_regenerate, node(1)->id, "{\"model\":\"a b\"}",
		ERR_INVALID_FIELD, "model"},
	    {api_message_regenerate, node(1)->id, "{\"cache\":true}",
		ERR_INVALID_FIELD, "cache"},
	    {api_message_regenerate, node(1)->id, "[]", ERR_BAD_JSON, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cr_expect_eq(ask(rows[i].handler, rows[i].id, rows[i].body, &t),
		    rows[i].want, "row %zu", i);
		cr_expect_null(t);
		if (rows[i].field)
			cr_expect_str_eq(
			    w.req.bad_field, rows[i].field, "row %zu", i);
	}
	const char *const leaves[] = {foreign, stolen, "x", ""};
	for (size_t i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
		(void)snprintf(leaf, sizeof(leaf), "leaf=%s", leaves[i]);
		cr_expect_eq(
		    world_call(&w, api_messages_list, conversation, leaf, ""),
		    ERR_INVALID_FIELD, "leaf %zu", i);
		cr_expect_str_eq(w.req.bad_field, "leaf");
		(void)snprintf(
		    body, sizeof(body), "{\"leaf_id\":\"%s\"}", leaves[i]);
		cr_expect_eq(world_call(&w, api_conversation_patch,
				 conversation, "", body),
		    ERR_INVALID_FIELD, "leaf %zu", i);
		cr_expect_str_eq(w.req.bad_field, "leaf_id");
		(void)snprintf(
		    body, sizeof(body), "{\"message_id\":\"%s\"}", leaves[i]);
		cr_expect_eq(world_call(&w, api_conversation_fork, conversation,
				 "", body),
		    ERR_INVALID_FIELD, "leaf %zu", i);
		cr_expect_str_eq(w.req.bad_field, "message_id");
	}
	cr_expect_eq(world_call(&w, api_message_siblings, stolen, "", ""),
	    ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_message_siblings, "x", "", ""), ERR_NOT_FOUND);
	cr_expect_eq(world_call(&w, api_conversation_fork, theirs, "", ""),
	    ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_messages_list, theirs, "leaf=current", ""),
	    ERR_NOT_FOUND);
	(void)snprintf(body, sizeof(body), "{\"leaf_id\":\"%s\"}", stolen);
	cr_expect_eq(world_call(&w, api_conversation_patch, theirs, "", body),
	    ERR_NOT_FOUND);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.conversations"
				  " WHERE user_id = '%s'",
			 w.user),
	    2);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s'",
			 w.user),
	    6);
}

Test(branches, an_expired_conversation_has_no_branches)
{
	struct turn *t = NULL;
	say(-1, "one");
	world_sql("UPDATE chat.conversations SET expires_at = now()"
		  " WHERE id = '%s'",
	    conversation);
	cr_expect_eq(
	    ask(api_message_regenerate, node(1)->id, "", &t), ERR_NOT_FOUND);
	cr_expect_eq(
	    ask(api_message_edit, node(0)->id, CONTENT, &t), ERR_NOT_FOUND);
	cr_expect_eq(world_call(&w, api_message_siblings, node(1)->id, "", ""),
	    ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_messages_list, conversation, "leaf=current", ""),
	    ERR_NOT_FOUND);
	cr_expect_eq(
	    world_call(&w, api_conversation_fork, conversation, "", ""),
	    ERR_NOT_FOUND);
}

Test(branches, a_fork_is_the_path_and_nothing_else)
{
	static struct tree got;
	static struct tree want;
	static int path[TREE_MAX];
	char body[128];
	char fork[ID_TEXT];
	grow(60);
	world_sql("UPDATE chat.conversations SET tags = '{a,b}', title = 'T',"
		  " model = 'm', system_prompt = 'p', is_archived = true,"
		  " metadata = '{\"k\": 1}', documents = false,"
		  " expires_at = now() + interval '1 day' WHERE id = '%s'",
	    conversation);
	world_sql("UPDATE chat.messages SET created_at = '2024-02-03',"
		  " metadata = '{\"n\": 2}', token_count = 9,"
		  " finish_reason = 'length', intent = 'i',"
		  " entities = '{\"e\": 1}', tool_calls = '[1]',"
		  " tool_responses = '[2]', used_documents = '[3]'"
		  " WHERE user_id = '%s'",
	    w.user);
	for (int at = 0; at < 60; at += 13) {
		(void)snprintf(body, sizeof(body), "{\"message_id\":\"%s\"}",
		    node(at)->id);
		cr_assert_eq(world_call(&w, api_conversation_fork, conversation,
				 "", body),
		    OK, "%s", w.req.why);
		cr_expect_eq(w.status, 201);
		strcpy(fork, world_text(&w, "id"));
		size_t n = tree_path(&tree, at, path);
		want.n = 0;
		for (size_t i = 0; i < n; i++) {
			char id[ID_TEXT], parent[ID_TEXT];
			strcpy(id, node(path[i])->id);
			strcpy(parent, node(path[i])->parent);
			tree_add(&want, id, parent, node(path[i])->is_reply,
			    node(path[i])->content);
		}
		read_pages(api_messages_list, fork, "order=asc", 200, &got);
		const char *why = tree_differs(&want, &got, TREE_OTHER_IDS);
		cr_expect_null(why, "%s", why);
		for (size_t i = 0; i < n; i++) {
			cr_expect_lt(tree_find(&tree, got.nodes[i].id), 0);
			cr_expect(i == 0 || strcmp(got.nodes[i - 1].id,
						got.nodes[i].id) < 0,
			    "ids are in order");
		}
		cr_expect_eq(
		    world_number(
			"SELECT count(*) FROM chat.conversations f"
			" JOIN chat.conversations c ON c.id = '%s'"
			" WHERE f.id = '%s' AND f.message_count = %zu"
			" AND f.next_position = %zu AND f.leaf_id = '%s'"
			" AND f.tags = c.tags AND f.title = 'T'"
			" AND f.model = 'm' AND f.system_prompt = 'p'"
			" AND f.expires_at = c.expires_at AND NOT f.is_archived"
			" AND NOT f.documents"
			" AND f.metadata = c.metadata || jsonb_build_object("
			"'forked_from', jsonb_build_object('conversation_id',"
			" c.id, 'message_id', '%s'::text))",
			conversation, fork, n, n + 1, got.nodes[n - 1].id,
			node(at)->id),
		    1);
		cr_expect_eq(
		    world_number(
			"SELECT count(*) FROM chat.messages f"
			" JOIN chat.messages m ON m.user_id = f.user_id"
			" AND m.conversation_id = '%s'"
			" WHERE f.conversation_id = '%s'"
			" AND m.id = ANY ('{%s}')"
			" AND (f.content, f.status, f.model, f.finish_reason,"
			" f.token_count, f.intent, f.entities, f.tool_calls,"
			" f.tool_responses, f.used_documents, f.metadata,"
			" f.created_at, f.completed_at) IS NOT DISTINCT FROM"
			" (m.content, m.status, m.model, m.finish_reason,"
			" m.token_count, m.intent, m.entities, m.tool_calls,"
			" m.tool_responses, m.used_documents, m.metadata,"
			" m.created_at, m.completed_at)"
			" AND f.position = %zu",
			conversation, fork, node(at)->id, n),
		    1);
	}
	/* What it cost stays where it was paid for. */
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE user_id = '%s'"
				  " AND conversation_id <> '%s'",
			 w.user, conversation),
	    0);
	cr_expect_eq(world_number("SELECT message_count FROM chat.conversations"
				  " WHERE id = '%s'",
			 conversation),
	    (int64_t)tree.n);
}

Test(branches, a_fork_goes_on_by_itself)
{
	struct turn *t = NULL;
	char fork[ID_TEXT];
	say(-1, "one");
	say(1, "two");
	cr_assert_eq(world_call(&w, api_conversation_fork, conversation, "",
			 "{\"title\":\"Aside\"}"),
	    OK);
	cr_expect_str_eq(world_text(&w, "title"), "Aside");
	strcpy(fork, world_text(&w, "id"));
	cr_assert_eq(ask(api_message_post, fork, CONTENT, &t), OK);
	cr_expect(prompts(t, "two"));
	cr_assert_eq(world_finish(&w, t, "a"), OK);
	turn_free(t);
	cr_expect_eq(world_number("SELECT message_count FROM chat.conversations"
				  " WHERE id = '%s'",
			 conversation),
	    4);
	/* Its original may go. */
	cr_assert_eq(
	    world_call(&w, api_conversation_delete, conversation, "", ""), OK);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE conversation_id = '%s'",
			 fork),
	    6);
}

Test(branches, a_fork_leaves_a_store_that_is_not_open_any_more)
{
	static const char *const states[] = {"true", "false"};
	char store[ID_TEXT];
	id_make(store);
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open)"
		  " VALUES ('%s', 's-%.8s', 'Shop', true)",
	    store, store + 24);
	world_sql("UPDATE chat.conversations SET store_id = '%s'"
		  " WHERE id = '%s'",
	    store, conversation);
	say(-1, "one");
	for (int i = 0; i < 2; i++) {
		world_sql("UPDATE chat.stores SET is_active = %s"
			  " WHERE id = '%s'",
		    states[i], store);
		cr_assert_eq(
		    world_call(&w, api_conversation_fork, conversation, "", ""),
		    OK);
		const char *kept = world_text(&w, "store_id");
		cr_expect(i == 0 ? kept && !strcmp(kept, store) : !kept);
	}
}

Test(branches, a_fork_is_bounded)
{
	char id[ID_TEXT];
	world_conversation(&w, id);
	cr_expect_eq(world_call(&w, api_conversation_fork, id, "", ""),
	    ERR_INVALID_FIELD, "nothing is there");
	world_sql(
	    "INSERT INTO chat.messages (user_id, id, conversation_id,"
	    " parent_id, position, role, content, status)"
	    " SELECT '%s', ('%.24s' || to_char(n, 'FM000000000000'))::uuid,"
	    " '%s', CASE WHEN n > 1 THEN ('%.24s'"
	    " || to_char(n - 1, 'FM000000000000'))::uuid END, n,"
	    " 'user', 'm', 'complete' FROM generate_series(1, %d) n",
	    w.user, id, id, id, IMPORT_MESSAGES_MAX + 1);
	for (int over = 1; over >= 0; over--) {
		char body[128];
		(void)snprintf(body, sizeof(body),
		    "{\"message_id\":\"%.24s%012d\"}", id,
		    IMPORT_MESSAGES_MAX + over);
		cr_expect_eq(
		    world_call(&w, api_conversation_fork, id, "", body),
		    over ? ERR_INVALID_FIELD : OK, "%s", w.req.why);
	}
	cr_expect_eq(world_number("SELECT message_count FROM chat.conversations"
				  " WHERE id = '%s'",
			 world_text(&w, "id")),
	    IMPORT_MESSAGES_MAX);
	world_sql("UPDATE chat.messages SET content = repeat('x', 1100000)"
		  " WHERE user_id = '%s' AND conversation_id = '%s'"
		  " AND position <= 2",
	    w.user, id);
	char body[128];
	(void)snprintf(
	    body, sizeof(body), "{\"message_id\":\"%.24s%012d\"}", id, 2);
	cr_expect_eq(world_call(&w, api_conversation_fork, id, "", body),
	    ERR_INVALID_FIELD);
	cr_expect_str_eq(w.req.bad_field, "message_id");
}

/* What a store sets holds for a turn that names a message of it, too. */
Test(branches, limits_of_a_store_are_found_by_a_message)
{
	char store[ID_TEXT];
	char elsewhere[ID_TEXT];
	id_make(store);
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open)"
		  " VALUES ('%s', 's-%.8s', 'Shop', true)",
	    store, store + 24);
	world_sql("UPDATE chat.conversations SET store_id = '%s'"
		  " WHERE id = '%s'",
	    store, conversation);
	say(-1, "one");
	world_conversation(&w, elsewhere);
	cr_assert_eq(
	    world_call(&w, api_conversation_get, conversation, "", ""), OK);
	const char *const names[] = {
	    conversation, world_text(&w, "short_id"), node(0)->id, node(1)->id};
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(world_number("SELECT count(*)"
					  " FROM auth.limits_in('%s', '%s') l"
					  " WHERE l.store_id = '%s'",
				 w.user, names[i], store),
		    1, "%s", names[i]);
	const char *const others[] = {elsewhere, store, "-", "x", ""};
	for (size_t i = 0; i < 5; i++)
		cr_expect_eq(world_number("SELECT count(*)"
					  " FROM auth.limits_in('%s', '%s') l"
					  " WHERE l.store_id IS NULL",
				 w.user, others[i]),
		    1, "%s", others[i]);
	cr_expect_eq(world_number("SELECT count(*)"
				  " FROM auth.limits_in('%s', NULL) l"
				  " WHERE l.store_id IS NULL",
			 w.user),
	    1);
	/* Nobody else's. */
	cr_expect_eq(world_number("SELECT count(*)"
				  " FROM auth.limits_in('%s', '%s') l"
				  " WHERE l.store_id IS NULL",
			 store, node(0)->id),
	    1);
}

/* As retention leaves it when old months went. */
Test(branches, branches_of_which_the_beginning_is_gone)
{
	static struct tree got;
	say(-1, "one");
	say(1, "two");
	edit(2, "two, edited");
	world_sql("DELETE FROM chat.messages WHERE user_id = '%s'"
		  " AND position <= 2",
	    w.user);
	struct tree left = {0};
	for (int i = 2; i < (int)tree.n; i++)
		left.nodes[left.n++] = tree.nodes[i];
	tree = left;
	expect_path(1, 1);
	expect_path(3, 50);
	read_pages(api_message_siblings, node(0)->id, "", 50, &got);
	cr_expect_eq(got.n, 2);
	regenerate(0);
	edit(0, "two, once more");
	cr_assert_eq(
	    world_call(&w, api_conversation_fork, conversation, "", ""), OK,
	    "%s", w.req.why);
	cr_expect_str_eq(json_object_get_string(
			     json_object_object_get(w.answer, "message_count")),
	    "2");
}
