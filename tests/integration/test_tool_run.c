/*
 * Natter's own tools and a real Postgres: what each does, for whom, that it
 * does it once however often it is run, and that deleting asks first.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "chat/tool.h"
#include "chat/tool_run.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "store/pg.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_tool_run"))
		abort();
}

static struct world w;
static struct tools *tools;
static struct tool_uses *uses;
static struct tool_place place;

/* A question of the world's user in a conversation of its own. */
static void
ask(const char *question, bool says_yes)
{
	struct turn *t;

	cr_assert_eq(
	    world_begin(&w, place.conversation_id, NULL, question, &t), OK);
	memcpy(place.user_id, t->user_id, ID_TEXT);
	memcpy(place.question_id, t->user_message_id, ID_TEXT);
	place.says_yes = says_yes;
	cr_assert_eq(world_finish(&w, t, "Well."), OK);
	turn_free(t);
}

static void
setup(void)
{
	world_open(&w, NULL);
	tools = tools_new();
	tools_add_native(tools);
	uses = tool_uses_new();
	place = (struct tool_place){.source = "model", .max_bytes = 16384};
	world_conversation(&w, place.conversation_id);
	ask("Please.", false);
}

static void
teardown(void)
{
	tools_free(tools);
	tool_uses_free(uses);
	world_close(&w);
}

TestSuite(tool_run, .init = setup, .fini = teardown, .timeout = 60);

static struct tool_use *
call(const char *name, const char *arguments)
{
	struct model_call c = {0};
	struct tool_use *use;

	strncat(c.name, name, sizeof(c.name) - 1);
	buf_puts(&c.arguments, arguments);
	use = tool_uses_add(uses, &c, tools, 1);
	cr_assert_not_null(use);
	cr_assert_not_null(use->tool, "%s", name);
	return use;
}

static void
run(struct tool_use *use)
{
	struct request *req = world_request(&w);
	struct pg_call c = {0};
	enum err e = tool_fill(&place, use, req->arena, &c);

	if (e == ERR_INVALID_FIELD)
		return;
	cr_assert_eq(e, OK);
	e = pg_run(w.services.pg, place.user_id, &c, 1);
	if (e == OK)
		tool_read(&place, use, &c);
	else
		tool_failed(use, e);
	pg_calls_clear(&c, 1);
}

/* A member of what came of it ("a.b" goes down); "" when absent. */
static const char *
result(struct tool_use *use, const char *path)
{
	static char out[512];
	struct json_object *o AUTO_JSON = NULL, *at;
	char copy[64], *rest = copy;

	out[0] = '\0';
	cr_assert_eq(json_parse_object(use->result.p, use->result.n, &o), OK);
	at = o;
	snprintf(copy, sizeof(copy), "%s", path);
	for (char *name = strsep(&rest, "."); name != NULL && at != NULL;
	     name = strsep(&rest, "."))
		at = json_object_object_get(at, name);
	if (at != NULL)
		snprintf(out, sizeof(out), "%s", json_object_get_string(at));
	return out;
}

/* The text with the id in place of %s. */
static const char *
with_id(const char *text, const char *id)
{
	static char out[512];
	const char *at = strstr(text, "%s");
	int n = at != NULL ? (int)(at - text) : (int)strlen(text);

	snprintf(out, sizeof(out), "%.*s%s%s", n, text, at != NULL ? id : "",
	    at != NULL ? at + 2 : "");
	return out;
}

#define COUNT(table)  \
	world_number( \
	    "SELECT count(*) FROM " table " WHERE user_id = '%s'", w.user)

/* Makes a task, and gives its id. */
static void
make_task(const char *title, char out_id[static ID_TEXT])
{
	struct tool_use *use =
	    call("create_task", with_id("{\"title\":\"%s\"}", title));

	run(use);
	cr_assert(!use->is_error);
	snprintf(out_id, ID_TEXT, "%s", result(use, "task.id"));
}

Test(tool_run, a_call_that_is_run_again_does_nothing_more)
{
	static const char *const arguments[] = {"{\"title\":\"x\"}",
	    "{\"id\":\"%s\",\"title\":\"y\"}", "{\"id\":\"%s\"}"};
	static const char *const names[] = {
	    "create_task", "update_task", "complete_task"};
	char id[ID_TEXT] = "", first[4096];

	for (size_t i = 0; i < 3; i++) {
		struct tool_use *use =
		    call(names[i], with_id(arguments[i], id));

		run(use);
		cr_expect(!use->is_error);
		snprintf(first, sizeof(first), "%s", buf_text(&use->result));
		if (i == 0)
			snprintf(id, sizeof(id), "%s", result(use, "task.id"));
		world_sql("UPDATE chat.tasks SET title = 'between'"
			  " WHERE id = '%s'",
		    id);
		run(use);
		cr_expect_str_eq(buf_text(&use->result), first, "%s", names[i]);
		cr_expect_eq(world_number("SELECT count(*) FROM chat.tasks"
					  " WHERE title = 'between' AND"
					  " user_id = '%s'",
				 w.user),
		    1, "%s", names[i]);
		cr_expect_eq(COUNT("chat.tasks"), 1);
		cr_expect_eq(COUNT("chat.task_operation_logs"), (int)i + 1);
	}
}

Test(tool_run, a_task_changes_as_it_is_told)
{
	char id[ID_TEXT];
	struct tool_use *use;

	make_task("x", id);
	use = call("update_task",
	    with_id(
		"{\"id\":\"%s\",\"status\":\"done\",\"priority\":\"urgent\","
		"\"due_at\":\"2031-01-02T03:04:05+01:00\",\"tags\":"
		"[\"a\",\"b\"],\"description\":\"d\",\"title\":null}",
		id));
	run(use);
	cr_expect_str_eq(result(use, "task.title"), "x");
	cr_expect_str_eq(result(use, "task.status"), "done");
	cr_expect_str_eq(result(use, "task.priority"), "urgent");
	cr_expect_str_eq(
	    result(use, "task.due_at"), "2031-01-02T02:04:05+00:00");
	cr_expect_str_neq(result(use, "task.completed_at"), "");
	cr_expect_str_eq(result(use, "task.description"), "d");
	use = call("update_task",
	    with_id("{\"id\":\"%s\",\"no_due_date\":true,\"status\":\"open\","
		    "\"tags\":[]}",
		id));
	run(use);
	cr_expect_str_eq(result(use, "task.due_at"), "");
	cr_expect_str_eq(result(use, "task.completed_at"), "");
	cr_expect_str_eq(result(use, "task.tags"), "");
	cr_expect_str_eq(result(use, "task.priority"), "urgent");
	use = call("complete_task", with_id("{\"id\":\"%s\"}", id));
	run(use);
	cr_expect_str_eq(result(use, "task.status"), "done");
}

Test(tool_run, the_list_is_filtered_ordered_and_bounded)
{
	static const struct {
		const char *arguments;
		const char *first;
		int n;
		bool has_more;
	} rows[] = {
	    {"{}", "soon", 20, true},
	    {"", "soon", 20, true},
	    {"{\"limit\":1}", "soon", 1, true},
	    {"{\"limit\":50}", "soon", 32, false},
	    {"{\"title\":\"SOO\"}", "soon", 1, false},
	    {"{\"title\":\"%\"}", NULL, 0, false},
	    {"{\"priority\":\"low\"}", "later", 1, false},
	    {"{\"status\":\"done\"}", NULL, 0, false},
	    {"{\"due_before\":\"2031-01-01T00:00:00Z\"}", "soon", 1, false},
	    {"{\"due_after\":\"2031-01-01T00:00:00Z\"}", "later", 1, false},
	    {"{\"tag\":\"home\"}", "soon", 1, false},
	};
	struct tool_use *use;

	for (int i = 0; i < 30; i++) {
		char id[ID_TEXT];

		make_task("some day", id);
	}
	run(call("create_task", "{\"title\":\"later\",\"priority\":\"low\","
				"\"due_at\":\"2032-01-01T00:00:00Z\"}"));
	run(call("create_task", "{\"title\":\"soon\",\"tags\":[\"home\"],"
				"\"due_at\":\"2030-01-01T00:00:00Z\"}"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct json_object *o AUTO_JSON = NULL, *list;

		use = call("list_tasks", rows[i].arguments);
		run(use);
		cr_assert(!use->is_error, "%s", buf_text(&use->result));
		cr_assert_eq(
		    json_parse_object(use->result.p, use->result.n, &o), OK);
		list = json_object_object_get(o, "tasks");
		cr_expect_eq(json_object_array_length(list), rows[i].n, "%s",
		    rows[i].arguments);
		cr_expect_eq(json_object_get_boolean(
				 json_object_object_get(o, "has_more")),
		    rows[i].has_more, "%s", rows[i].arguments);
		if (rows[i].n > 0)
			cr_expect_str_eq(
			    json_member_text(
				json_object_array_get_idx(list, 0), "title"),
			    rows[i].first, "%s", rows[i].arguments);
	}
}

Test(tool_run, a_long_list_ends_at_bytes)
{
	struct tool_use *use;

	world_sql("INSERT INTO chat.tasks (user_id, id, title)"
		  " SELECT '%s', gen_random_uuid(), repeat('x', 500)"
		  " FROM generate_series(1, 50)",
	    w.user);
	use = call("list_tasks", "{\"limit\":50}");
	run(use);
	cr_expect_leq(use->result.n, 14000);
	cr_expect_gt(use->result.n, 10000);
	cr_expect_str_eq(result(use, "has_more"), "true");
}

Test(tool_run, others_tasks_are_not_there)
{
	static const char *const names[] = {
	    "update_task", "complete_task", "delete_task"};
	struct world other;
	char id[ID_TEXT];

	make_task("x", id);
	world_open(&other, NULL);
	memcpy(place.user_id, other.user, ID_TEXT);
	place.says_yes = true;
	for (size_t i = 0; i < 3; i++) {
		struct tool_use *use =
		    call(names[i], with_id("{\"id\":\"%s\"}", id));

		run(use);
		cr_expect(use->is_error);
		cr_expect_str_eq(result(use, "error"), "not_found");
	}
	cr_expect_eq(world_number("SELECT count(*) FROM chat.tasks"
				  " WHERE id = '%s' AND status = 'open'",
			 id),
	    1);
	cr_expect_eq(world_number("SELECT count(*) FROM"
				  " chat.task_operation_logs WHERE user_id ="
				  " '%s' AND error_code = 'not_found'"
				  " AND NOT is_success",
			 other.user),
	    3);
	world_close(&other);
}

static const char *
try_delete(const char *id)
{
	struct tool_use *use =
	    call("delete_task", with_id("{\"id\":\"%s\"}", id));

	run(use);
	cr_expect(!use->is_error);
	return strcmp(result(use, "deleted"), "true") == 0
		   ? "deleted"
		   : result(use, "status");
}

Test(tool_run, deleting_asks_and_a_later_yes_does_it)
{
	char id[ID_TEXT], other[ID_TEXT];

	make_task("x", id);
	make_task("y", other);
	ask("Yes", true);
	/* A yes to what nobody asked; and again within the same question. */
	cr_expect_str_eq(try_delete(id), "confirmation_required");
	cr_expect_str_eq(try_delete(id), "confirmation_required");
	ask("Hm.", false);
	cr_expect_str_eq(try_delete(id), "confirmation_required");
	ask("Yes", true);
	/* Of another task nobody asked. */
	cr_expect_str_eq(try_delete(other), "confirmation_required");
	cr_expect_str_eq(try_delete(id), "deleted");
	cr_expect_eq(COUNT("chat.tasks"), 1);
}

Test(tool_run, a_yes_counts_in_its_conversation_and_for_ten_minutes)
{
	char id[ID_TEXT];

	make_task("x", id);
	cr_expect_str_eq(try_delete(id), "confirmation_required");
	world_sql("UPDATE chat.task_operation_logs SET created_at ="
		  " created_at - interval '11 minutes' WHERE user_id = '%s'",
	    w.user);
	ask("Yes", true);
	cr_expect_str_eq(try_delete(id), "confirmation_required");
	world_conversation(&w, place.conversation_id);
	ask("Yes", true);
	cr_expect_str_eq(try_delete(id), "confirmation_required");
	cr_expect_eq(COUNT("chat.tasks"), 1);
}

Test(tool_run, a_delete_that_is_run_again_says_the_same)
{
	char id[ID_TEXT];
	struct tool_use *use;

	make_task("x", id);
	(void)try_delete(id);
	ask("Yes", true);
	use = call("delete_task", with_id("{\"id\":\"%s\"}", id));
	run(use);
	cr_expect_str_eq(result(use, "deleted"), "true");
	run(use);
	cr_expect_str_eq(result(use, "deleted"), "true");
}

Test(tool_run, results_are_cut)
{
	struct tool_use *use;

	place.max_bytes = 300;
	world_sql("INSERT INTO chat.tasks (user_id, id, title)"
		  " SELECT '%s', gen_random_uuid(), repeat('x', 500)"
		  " FROM generate_series(1, 3)",
	    w.user);
	use = call("list_tasks", "{}");
	run(use);
	cr_expect_leq(use->result.n, 300 + 40);
	cr_expect_not_null(strstr(buf_text(&use->result), "[cut:"));
	use = call("search_documents", "{\"query\":\"nothing\"}");
	run(use);
	cr_expect_str_eq(
	    buf_text(&use->result), "{\"passages\":[],\"has_more\":false}");
}
