/*
 * The tools that are offered, and how their uses look: to the client, to the
 * database, and to the model, which wants a message for each call.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_schema.h"
#include "chat/tool.h"
#include "chat/tool_use.h"

static struct tools *tools;
static struct tool_uses *uses;
static struct buf out;

static void
setup(void)
{
	tools = tools_new();
	uses = tool_uses_new();
	tools_add_native(tools);
}

static void
teardown(void)
{
	tools_free(tools);
	tool_uses_free(uses);
	buf_free(&out);
}

TestSuite(tools, .init = setup, .fini = teardown);

static struct tool_use *
use(const char *id, const char *name, const char *arguments, int round)
{
	struct model_call call = {0};

	strncat(call.id, id, sizeof(call.id) - 1);
	strncat(call.name, name, sizeof(call.name) - 1);
	buf_puts(&call.arguments, arguments);
	return tool_uses_add(uses, &call, tools, round);
}

Test(tools, each_has_a_sound_schema_that_no_model_misreads)
{
	for (size_t i = 0; i < NATIVE_TOOLS; i++) {
		const struct tool *t = tool_native((enum native_tool)i);
		struct json_object *schema AUTO_JSON = NULL;
		char why[JSON_SCHEMA_WHY];

		cr_assert_eq(
		    json_parse_object(t->schema, strlen(t->schema), &schema),
		    OK, "%s", t->name);
		cr_expect(
		    json_schema_is_sound(schema, why), "%s: %s", t->name, why);
		/* OpenAI's own rule for names. */
		cr_expect_eq(
		    strspn(t->name, "abcdefghijklmnopqrstuvwxyz0123456789_-"),
		    strlen(t->name));
		cr_expect_leq(strlen(t->name), 64);
		cr_expect_not_null(json_object_object_get(schema, "required"));
		cr_expect_eq(tools_find(tools, t->name), &tools->list[i]);
	}
}

Test(tools, the_list_is_json_and_short)
{
	struct json_object *list AUTO_JSON = NULL;

	tools_write(&out, tools);
	cr_assert_eq(json_parse_any(out.p, out.n, 32, &list), OK);
	cr_expect_eq(json_object_array_length(list), NATIVE_TOOLS);
	/* Every question pays for it. */
	cr_expect_lt(out.n, 2800, "%zu bytes", out.n);
}

static int freed;

static void
note_freed(void *site)
{
	freed++;
	free(site);
}

Test(tools, a_name_is_taken_once_and_the_list_owns_what_it_has)
{
	struct tool t = {.name = "create_task", .schema = "{}"};

	cr_expect(!tools_add(tools, &t));
	t.name = "order_status";
	t.site = malloc(1);
	t.site_free = note_freed;
	cr_expect(tools_add(tools, &t));
	cr_expect(!tools_add(tools, &t));
	tools_free(tools);
	cr_expect_eq(freed, 1);
	tools = tools_new();
	cr_expect_null(tools_find(NULL, "create_task"));
}

Test(tools, a_list_has_an_end)
{
	static char names[TOOLS_MAX][8];

	for (size_t i = tools->n; i < TOOLS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "t%zu", i);
		cr_expect(tools_add(tools, &(struct tool){.name = names[i]}));
	}
	cr_expect(!tools_add(tools, &(struct tool){.name = "more"}));
}

Test(tools, every_use_has_an_id_of_its_own)
{
	static const char *const given[] = {"a", "a", "", "call_3", "", "b"};

	for (size_t i = 0; i < 6; i++)
		cr_assert_not_null(use(given[i], "list_tasks", "", 1));
	for (size_t i = 0; i < 6; i++) {
		cr_expect_str_neq(uses->list[i].id, "");
		cr_expect_eq(strlen(uses->list[i].log_id), 36);
		for (size_t k = 0; k < i; k++) {
			cr_expect_str_neq(uses->list[i].id, uses->list[k].id);
			cr_expect_str_neq(
			    uses->list[i].log_id, uses->list[k].log_id);
		}
	}
	cr_expect_str_eq(uses->list[0].id, "a");
	cr_expect_str_eq(uses->list[5].id, "b");
	cr_expect_eq(uses->list[0].tool->native, TOOL_LIST_TASKS);
	cr_expect_null(use("c", "nothing", "", 1)->tool);
}

Test(tools, there_are_only_so_many_uses)
{
	for (size_t i = 0; i < TOOL_USES_MAX; i++)
		cr_assert_not_null(use("", "list_tasks", "", 1));
	cr_expect_null(use("", "list_tasks", "", 1));
}

Test(tools, results_are_cut_at_a_character_and_say_so)
{
	struct tool_use *u = use("a", "list_tasks", "", 1);

	tool_use_end(u, "abcd", 4, 4);
	cr_expect_str_eq(buf_text(&u->result), "abcd");
	tool_use_end(u, "abc\xc3\xa4", 5, 4);
	cr_expect_str_eq(
	    buf_text(&u->result), "abc\n[cut: the result was longer]");
	tool_use_end(u, "a\xff\0b", 4, 100);
	cr_expect_str_eq(buf_text(&u->result), "a\xef\xbf\xbd"
					       "b");
	cr_expect(u->has_ended);
	cr_expect(!u->is_error);
}

Test(tools, events_show_objects_as_objects_and_the_rest_as_text)
{
	struct tool_use *u = use("a", "list_tasks", "{\"limit\": 1}", 1);
	struct tool_use *bad = use("b", "x\"y", "{oops", 1);

	tool_use_end(u, "{\"tasks\":[]}", 12, 100);
	tool_use_fail(bad, "unknown_tool", "None.");
	tool_use_write_call(u, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"id\":\"a\",\"name\":\"list_tasks\",\"arguments\":"
	    "{\"limit\":1}}");
	buf_clear(&out);
	tool_use_write_call(bad, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"id\":\"b\",\"name\":\"x\\\"y\",\"arguments\":\"{oops\"}");
	buf_clear(&out);
	tool_use_write_result(u, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"id\":\"a\",\"name\":\"list_tasks\",\"result\":"
	    "{\"tasks\":[]},\"is_error\":false}");
	buf_clear(&out);
	tool_use_write_result(bad, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"id\":\"b\",\"name\":\"x\\\"y\",\"result\":{\"error\":"
	    "\"unknown_tool\",\"message\":\"None.\"},\"is_error\":true}");
}

#define CALL(id, arguments)                                                \
	"{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":" \
	"\"f\",\"arguments\":\"" arguments "\"}}"
#define TOOL(id, text)                                                       \
	"{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text \
	"\"}"
#define LOST                                                  \
	"{\\\"error\\\":\\\"interrupted\\\",\\\"message\\\":" \
	"\\\"The reply ended before the tool had answered.\\\"}"

Test(tools, a_round_is_calls_and_a_message_for_each)
{
	use("a", "f", "{\"x\":1}", 1);
	tool_use_end(&uses->list[0], "one", 3, 100);
	use("b", "f", "oops", 2);
	use("c", "f", "", 2);
	tool_use_end(&uses->list[2], "three", 5, 100);
	tool_round_messages(uses, 2, "Hm.", 3, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"role\":\"assistant\",\"content\":\"Hm.\",\"tool_calls\":[" CALL(
		"b", "{}") "," CALL("c", "{}") "]}," TOOL("b",
		LOST) "," TOOL("c", "three"));
	buf_clear(&out);
	tool_round_messages(uses, 1, "", 0, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(
		"a", "{\\\"x\\\":1}") "]}," TOOL("a", "one"));
}

/* Columns as they may be stored, and what a later question says of them. */
static const struct {
	const char *json;
	const char *want; /* NULL: nothing */
} histories[] = {
    {"{\"calls\":[{\"id\":\"a\",\"name\":\"f\",\"arguments\":{\"x\":1},"
     "\"round\":1},{\"id\":\"b\",\"name\":\"f\",\"arguments\":\"oops\","
     "\"round\":2}],\"responses\":[{\"id\":\"b\",\"result\":\"two\"},"
     "{\"id\":\"a\",\"result\":{\"y\":[2]}}]}",
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(
	    "a", "{\\\"x\\\":1}") "]}," TOOL("a",
	    "{\\\"y\\\":[2]}") ","
			       "{\"role\":\"assistant\",\"content\":null,"
			       "\"tool_calls\":[" CALL("b", "{}") "]}," TOOL(
				   "b", "two")},
    {"{\"calls\":[{\"id\":\"a\",\"name\":\"f\",\"arguments\":{}},"
     "{\"id\":\"b\",\"name\":\"f\",\"arguments\":{}}],\"responses\":[]}",
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(
	    "a", "{}") "," CALL("b", "{}") "]}," TOOL("a", LOST) "," TOOL("b",
	    LOST)},
    {"{\"calls\":[],\"responses\":[]}", NULL},
    {"{}", NULL},
    {"[]", NULL},
    {"", NULL},
    /* Imported, from who knows where. */
    {"{\"calls\":[7],\"responses\":[]}", NULL},
    {"{\"calls\":[{\"id\":\"a\",\"function\":{}}],\"responses\":[]}", NULL},
    {"{\"calls\":[{\"id\":\"a\",\"name\":\"f\"}],\"responses\":7}",
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(
	    "a", "{}") "]}," TOOL("a", LOST)},
    {"{\"calls\":[{\"id\":\"a\",\"name\":\"f\"}],\"responses\":[7,null]}",
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(
	    "a", "{}") "]}," TOOL("a", LOST)},
};

Test(tools, later_questions_tell_each_call_with_its_result)
{
	for (size_t i = 0; i < sizeof(histories) / sizeof(histories[0]); i++) {
		bool is_there;

		buf_clear(&out);
		is_there = tool_history_messages(histories[i].json, &out);
		cr_expect_eq(is_there, histories[i].want != NULL, "%zu", i);
		cr_expect_str_eq(buf_text(&out),
		    histories[i].want != NULL ? histories[i].want : "", "%zu",
		    i);
	}
}

Test(tools, one_can_be_taken_out)
{
	size_t n = tools->n;
	struct tool site = {.name = "order_status", .kind = TOOL_SITE};

	cr_assert(tools_add(tools, &site));
	tools_remove(tools, TOOL_CREATE_TASK);
	cr_expect_eq(tools->n, n);
	cr_expect_null(tools_find(tools, "create_task"));
	cr_expect_not_null(tools_find(tools, "list_tasks"));
	cr_expect_not_null(tools_find(tools, "order_status"));
	tools_remove(tools, TOOL_CREATE_TASK);
	cr_expect_eq(tools->n, n);
	tools_remove(tools, TOOL_SEARCH_DOCUMENTS);
	cr_expect_str_eq(tools->list[tools->n - 1].name, "order_status");
}

/* Natter's own are constant, and every reply's. */
Test(tools, one_can_be_taken_out_of_those_that_are_shared)
{
	struct tools *own = tools_new(), *others = tools_new();

	tools_add_native(own);
	tools_add_native(others);
	tools_remove(own, TOOL_SEARCH_DOCUMENTS);
	tools_remove(own, TOOL_CREATE_TASK);
	cr_expect_eq(own->n, others->n - 2);
	cr_expect_null(tools_find(own, "create_task"));
	cr_expect_null(tools_find(own, "search_documents"));
	cr_expect_not_null(tools_find(own, "list_tasks"));
	cr_expect_not_null(tools_find(others, "create_task"));
	cr_expect_not_null(tools_find(others, "search_documents"));
	tools_free(own);
	tools_free(others);
}

/* What the columns have says the same to a model as what they were made of. */
Test(tools, uses_are_read_from_their_columns)
{
	struct buf calls = {0}, responses = {0}, before = {0}, after = {0};
	struct tool_use *u = use("a", "list_tasks", "{\"tag\":\"x\"}", 1);

	tool_use_end(u, "{\"tasks\":[]}", 12, 100);
	u = use("b", "nobodys", "no JSON", 1);
	tool_use_fail(u, "unknown_tool", "None.");
	u = use("c", "list_tasks", "", 2);
	tool_use_end(u, "only text", 9, 100);
	use("d", "list_tasks", "{}", 2);
	tool_uses_write_calls(uses, &calls);
	tool_uses_write_responses(uses, &responses);
	struct tool_uses *read =
	    tool_uses_read(buf_text(&calls), buf_text(&responses));
	cr_assert_not_null(read);
	cr_assert_eq(read->n, 4);
	for (int round = 1; round <= 2; round++) {
		tool_round_messages(uses, round, "Well.", 5, &before);
		tool_round_messages(read, round, "Well.", 5, &after);
	}
	cr_expect_str_eq(buf_text(&after), buf_text(&before));
	tool_uses_free(read);
	buf_free(&calls);
	buf_free(&responses);
	buf_free(&before);
	buf_free(&after);
}

Test(tools, columns_that_are_none_have_no_uses)
{
	static const char *const rows[][2] = {
	    {"{}", "[]"},
	    {"[]", "{}"},
	    {"[1]", "[]"},
	    {"[{\"id\":\"a\"}]", "[]"},
	    {"[{\"name\":\"a\"}]", "[]"},
	    {"nothing", "[]"},
	    {"[{\"id\":\"12345678901234567890123456789012345678901234567890"
	     "12345678901234567890123456789012345678901234567890"
	     "12345678901234567890123456789\",\"name\":\"a\"}]",
		"[]"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_null(
		    tool_uses_read(rows[i][0], rows[i][1]), "%zu", i);
	struct tool_uses *none = tool_uses_read("[]", "[]");
	cr_assert_not_null(none);
	cr_expect_eq(none->n, 0);
	tool_uses_free(none);
}
