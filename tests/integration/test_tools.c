/*
 * Tools through nginx, with a stand-in model that calls them in every way: what
 * the client saw, what the log says, what is stored and what the model is told
 * next agree, each operation is done once and logged, and every bound holds.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "follow_call.h"
#include "reply_check.h"
#include "stack.h"
#include "stack_shared.h"

static struct stack stack;

#define SETTINGS                                                 \
	"CHAT_WORKERS=1", "CHAT_TOOLS=on", "CHAT_TOOL_ROUNDS=3", \
	    "CHAT_MODEL_RETRIES=1"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	const struct stack_options o = {
	    .has_model = true, .settings = {SETTINGS}};

	(void)tests;
	criterion_options.jobs = 1; /* they look at what the model got last */
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	stack_take(&stack);
}

static void
start(const char *more, const char *still_more)
{
	const struct stack_options o = {
	    .has_model = true, .settings = {SETTINGS, more, still_more}};

	stack_start(&stack, &o);
}

static void
setup_hasty(void)
{
	start("CHAT_FIRST_TOKEN_TIMEOUT=6000", "CHAT_MODEL_RETRIES=0");
}

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(tools, .init = setup, .timeout = 120);
TestSuite(tools_hasty, .init = setup_hasty, .fini = teardown, .timeout = 120);

/* How many events of this name there are. */
static size_t
count_events(const struct answer *a, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_events; i++)
		n += strcmp(a->events[i].name, name) == 0;
	return n;
}

/* The one value of a query about the person, as a number. */
static long
count_rows(const char *sql, const struct person *p)
{
	char value[64];

	db_value(sql, p->user_id, value, sizeof(value));
	return strtol(value, NULL, 10);
}

#define TASKS "SELECT count(*) FROM chat.tasks WHERE user_id = $1"
#define LOGGED \
	"SELECT count(*) FROM chat.task_operation_logs WHERE user_id = $1"

/* The messages that the model was sent last; put by the caller. */
static struct json_object *
last_request(void)
{
	const struct ask ask = {.base = stack.model, .path = "/_last"};
	struct json_object *o, *body;
	struct answer a;

	http_ask(&ask, &a);
	o = json_tokener_parse(a.body.p);
	answer_clear(&a);
	body = json_object_object_get(o, "body");
	if (json_object_is_type(body, json_type_string))
		body = json_tokener_parse(json_object_get_string(body));
	else
		body = json_object_get(body);
	json_object_put(o);
	cr_assert_not_null(body);
	return body;
}

static const char *
text_of(struct json_object *o, const char *key)
{
	const char *text = json_member_text(o, key);

	return text != NULL ? text : "";
}

/* Each call is followed by what came of it, as OpenAI demands. */
static size_t
expect_answered(struct json_object *request)
{
	struct json_object *list = json_object_object_get(request, "messages");
	size_t n = json_object_array_length(list), answered = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(list, i);
		struct json_object *calls = NULL;

		if (!json_object_object_get_ex(m, "tool_calls", &calls))
			continue;
		cr_expect_str_eq(text_of(m, "role"), "assistant");
		for (size_t k = 0; k < json_object_array_length(calls); k++) {
			struct json_object *call =
			    json_object_array_get_idx(calls, k);
			struct json_object *tool =
			    json_object_array_get_idx(list, i + 1 + k);

			cr_assert_not_null(tool);
			cr_expect_str_eq(text_of(tool, "role"), "tool");
			cr_expect_str_eq(
			    text_of(tool, "tool_call_id"), text_of(call, "id"));
			cr_expect_str_neq(text_of(call, "id"), "");
			answered++;
		}
	}
	return answered;
}

Test(tools, a_task_is_made_shown_logged_and_told)
{
	struct person p;
	struct answer a;
	struct json_object *request;
	char value[512];

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task "
	    "args={\"title\":\"Milk\",\"priority\":\"high\"}]]"
	    " buy milk",
	    &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_events(&a, "tool_call"), 1);
	cr_expect_eq(count_events(&a, "tool_result"), 1);
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_call", "arguments.title"), "Milk");
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_result", "result.task.title"), "Milk");
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "stop");
	expect_reply_agrees(&a);

	db_value("SELECT t.title || ' ' || t.priority || ' '"
		 " || (t.conversation_id IS NOT NULL) || ' ' || (SELECT m.role"
		 " FROM chat.messages m WHERE m.id = t.message_id)"
		 " FROM chat.tasks t WHERE t.user_id = $1",
	    p.user_id, value, sizeof(value));
	cr_expect_str_eq(value, "Milk high true user");
	db_value("SELECT l.source || ' ' || l.operation_type || ' '"
		 " || l.is_success || ' ' || (l.parameters->>'title') || ' '"
		 " || (l.result->'task'->>'title') || ' '"
		 " || right(l.original_command, 8) FROM"
		 " chat.task_operation_logs l WHERE l.user_id = $1",
	    p.user_id, value, sizeof(value));
	cr_expect_str_eq(value, "model create true Milk Milk buy milk");

	request = last_request();
	cr_expect_eq(expect_answered(request), 1);
	cr_expect_not_null(json_object_object_get(request, "tools"));
	cr_expect_null(json_object_object_get(request, "tool_choice"));
	json_object_put(request);
	answer_clear(&a);
}

Test(tools, usage_is_that_of_all_rounds)
{
	struct person p;
	struct answer a;
	char value[64];
	long rounds = 0;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} then=list_tasks"
	    " thenargs={} rounds=2]] go",
	    &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_events(&a, "tool_call"), 2);
	expect_reply_agrees(&a);
	/* What it says it took is more than the last round's prompt. */
	rounds = strtol(
	    answer_event_text(&a, "done", "usage.prompt_tokens"), NULL, 10);
	db_value("SELECT prompt_tokens FROM chat.usage_tracking"
		 " WHERE user_id = $1",
	    p.user_id, value, sizeof(value));
	cr_expect_eq(rounds, strtol(value, NULL, 10));
	/* "You are a helpful assistant." and the question, three times over. */
	cr_expect_gt(rounds, 3 * 28);
	db_value("SELECT count(*) FROM chat.budgets_amiss(date_trunc('month',"
		 " now() AT TIME ZONE 'UTC')::date)",
	    NULL, value, sizeof(value));
	cr_expect_str_eq(value, "0");
	answer_clear(&a);
}

Test(tools, several_calls_at_once)
{
	struct person p;
	struct answer a;
	struct json_object *request;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} calls=3]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_events(&a, "tool_call"), 3);
	cr_expect_eq(count_events(&a, "tool_result"), 3);
	cr_expect_eq(count_rows(TASKS, &p), 3);
	cr_expect_eq(count_rows(LOGGED, &p), 3);
	request = last_request();
	cr_expect_eq(expect_answered(request), 3);
	json_object_put(request);
	expect_reply_agrees(&a);
	answer_clear(&a);
}

Test(tools, calls_without_ids_are_told_apart)
{
	struct person p;
	struct answer a;
	struct json_object *request;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} calls=2 bare=1"
	    " rounds=2]] go",
	    &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_rows(TASKS, &p), 4);
	request = last_request();
	cr_expect_eq(expect_answered(request), 4);
	json_object_put(request);
	expect_reply_agrees(&a);
	answer_clear(&a);
}

Test(tools, more_calls_than_an_answer_may_have_are_not_made)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} calls=12]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_events(&a, "tool_call"), 8);
	cr_expect_eq(count_rows(TASKS, &p), 8);
	expect_reply_agrees(&a);
	answer_clear(&a);
}

/* Whatever a model calls amiss it is told, and nothing is done. */
static const struct {
	const char *script;
	const char *error;
	const char *message;
} wrongs[] = {
    {"tool=create_task", "invalid_arguments", "It must have \"title\"."},
    {"tool=create_task args={\"title\":", "invalid_arguments",
	"The arguments are not one JSON object."},
    {"tool=create_task args=[]", "invalid_arguments",
	"The arguments are not one JSON object."},
    {"tool=create_task args={\"title\":7}", "invalid_arguments",
	"title: It must be of the type string."},
    {"tool=create_task args={\"title\":\"x\",\"due_at\":\"tomorrow\"}",
	"invalid_arguments",
	"due_at: It must be a time with its offset such as "
	"2026-01-31T23:59:59+01:00."},
    {"tool=create_task args={\"title\":\"x\",\"owner\":\"me\"}",
	"invalid_arguments", "It has no \"owner\"."},
    {"tool=create_task big=200000", "invalid_arguments",
	"The arguments are too long; send less."},
    {"tool=create_task big=2000", "invalid_arguments",
	"title: It must be at most 500 characters long."},
    {"tool=complete_task args={\"id\":\"7\"}", "invalid_arguments",
	"id: It must be of the format uuid."},
    {"tool=complete_task "
     "args={\"id\":\"019a0000-0000-7000-8000-000000000000\"}",
	"not_found",
	"The user has no task with this id; list_tasks gives the ids."},
    {"tool=drop_database", "unknown_tool", "There is no tool of this name."},
};

Test(tools, what_is_called_amiss_is_told)
{
	struct person p;
	struct answer a;
	char content[512];

	person_make(&stack, &p);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		snprintf(
		    content, sizeof(content), "[[%s]] go", wrongs[i].script);
		person_say(&stack, &p, content, &a);
		cr_assert(answer_ends_with(&a, "done"), "%s: %.600s",
		    wrongs[i].script, a.body.p);
		cr_expect_str_eq(
		    answer_event_text(&a, "tool_result", "is_error"), "true");
		cr_expect_str_eq(
		    answer_event_text(&a, "tool_result", "result.error"),
		    wrongs[i].error, "%s", wrongs[i].script);
		cr_expect_str_eq(
		    answer_event_text(&a, "tool_result", "result.message"),
		    wrongs[i].message, "%s", wrongs[i].script);
		expect_reply_agrees(&a);
		answer_clear(&a);
	}
	cr_expect_eq(count_rows(TASKS, &p), 0);
}

Test(tools, a_model_that_never_stops_calling_is_told_to_answer)
{
	struct person p;
	struct answer a;
	struct json_object *request;

	person_make(&stack, &p);
	person_say(&stack, &p, "[[tool=list_tasks rounds=1000]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_events(&a, "tool_call"), 3);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "stop");
	cr_expect_gt(a.text.n, 0);
	request = last_request();
	cr_expect_str_eq(text_of(request, "tool_choice"), "none");
	json_object_put(request);
	expect_reply_agrees(&a);
	answer_clear(&a);
	/* And where it does not listen, the reply ends. */
	person_say(
	    &stack, &p, "[[tool=list_tasks rounds=1000 stubborn=1]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_events(&a, "tool_call"), 3);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "length");
	expect_reply_agrees(&a);
	answer_clear(&a);
}

Test(tools, text_around_calls_is_one_text)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	person_say(&stack, &p, "[[text=40 chunk=10 tool=list_tasks]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(a.text.n, 40 + 2 + 40, "%zu", a.text.n);
	cr_expect(strncmp(a.text.p + 40, "\n\n", 2) == 0);
	expect_reply_agrees(&a);
	answer_clear(&a);
}

Test(tools, later_questions_tell_what_tools_did)
{
	struct person p;
	struct answer a;
	struct json_object *request;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} calls=2]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
	/* From the copy in Redis, or from Postgres; and one turn later. */
	for (int i = 0; i < 2; i++) {
		person_say(&stack, &p, "and now?", &a);
		cr_assert(answer_ends_with(&a, "done"));
		request = last_request();
		cr_expect_eq(expect_answered(request), 2);
		json_object_put(request);
		answer_clear(&a);
	}
}

Test(tools, a_task_is_deleted_only_after_a_yes)
{
	struct person p;
	struct answer a;
	char path[80], prompt[160], id[64];

	person_make(&stack, &p);
	person_say(
	    &stack, &p, "[[tool=create_task args={\"title\":\"x\"}]] go", &a);
	snprintf(id, sizeof(id), "%s",
	    answer_event_text(&a, "tool_result", "result.task.id"));
	answer_clear(&a);
	snprintf(prompt, sizeof(prompt),
	    "{\"system_prompt\":\"[[tool=delete_task args={\\\"id\\\":"
	    "\\\"%s\\\"}]]\"}",
	    id);
	snprintf(
	    path, sizeof(path), "/api/v1/conversations/%s", p.conversation);
	http_ask(&(struct ask){.method = "PATCH",
		     .base = stack.base,
		     .path = path,
		     .token = p.token,
		     .json = prompt},
	    &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	/* A yes to nothing deletes nothing. */
	static const char *const says[] = {"yes", "delete it", "no", "yes"};
	static const char *const comes[] = {"confirmation_required",
	    "confirmation_required", "confirmation_required", ""};
	for (size_t i = 0; i < 4; i++) {
		person_say(&stack, &p, says[i], &a);
		cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
		cr_expect_str_eq(
		    answer_event_text(&a, "tool_result", "result.status"),
		    comes[i], "%zu %s", i, a.body.p);
		cr_expect_str_eq(
		    answer_event_text(&a, "tool_result", "result.task.title"),
		    "x");
		cr_expect_eq(count_rows(TASKS, &p), i < 3);
		answer_clear(&a);
	}
}

Test(tools, each_event_can_be_read_again)
{
	struct person p;
	struct answer a, rest;
	char id[40], *want;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[text=60 chunk=10 gap=40 tool=list_tasks rounds=2]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	want = reply_text(id);
	for (size_t k = 1; k < a.n_events; k++) {
		char *got;

		follow(&stack, p.token, id, a.events[k - 1].id, &rest);
		got = text_resumed(&a, k, &rest);
		cr_assert_not_null(got);
		cr_expect_str_eq(got, want);
		cr_expect_eq(rest.n_events - 1, a.n_events - k);
		for (size_t i = 1; i < rest.n_events; i++)
			cr_expect_str_eq(
			    rest.events[i].data, a.events[k + i - 1].data);
		free(got);
		answer_clear(&rest);
	}
	free(want);
	answer_clear(&a);
}

Test(tools, a_failure_in_a_later_round_is_tried_again)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} later=1 fail=1"
	    " id=again]] go",
	    &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_eq(count_rows(TASKS, &p), 1);
	expect_reply_agrees(&a);
	answer_clear(&a);
}

Test(tools, a_failure_in_a_later_round_keeps_what_was_done)
{
	struct person p;
	struct answer a;
	char value[64];

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} later=1 status=500]] go",
	    &a);
	cr_assert(answer_ends_with(&a, "error"), "%s", a.body.p);
	cr_expect_eq(count_rows(TASKS, &p), 1);
	expect_reply_agrees(&a);
	/* The first round was charged. */
	db_value("SELECT prompt_tokens > 0 AND completion_tokens > 0"
		 " FROM chat.usage_tracking WHERE user_id = $1",
	    p.user_id, value, sizeof(value));
	cr_expect_str_eq(value, "t");
	answer_clear(&a);
}

Test(tools_hasty, a_model_that_hangs_after_its_tool_is_given_up)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} later=1 hang=1]] go",
	    &a);
	cr_assert(answer_ends_with(&a, "error"), "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "error", "code"), "model_timeout");
	cr_expect_eq(count_rows(TASKS, &p), 1);
	expect_reply_agrees(&a);
	answer_clear(&a);
}

static void
setup_bounded(void)
{
	start("CHAT_MAX_TOKENS_PER_DAY=6000", "CHAT_REPLY_MAX_TOKENS=1500");
}

TestSuite(
    tools_bounded, .init = setup_bounded, .fini = teardown, .timeout = 120);

/* Each round takes some 800 tokens; 1500 more than the prompt are held back. */
Test(tools_bounded, rounds_end_with_what_was_reserved)
{
	struct person p;
	struct answer a;
	struct json_object *request;
	char value[64];

	person_make(&stack, &p);
	person_say(&stack, &p,
	    "[[tool=list_tasks rounds=1000 text=400 nousage=1]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "length");
	cr_expect_lt(count_events(&a, "tool_call"), 3);
	cr_expect_gt(count_events(&a, "tool_result"), 0);
	expect_reply_agrees(&a);
	request = last_request();
	cr_expect_lt(json_member_number(request, "max_tokens"), 1500);
	cr_expect_gt(json_member_number(request, "max_tokens"), 15);
	json_object_put(request);
	db_value("SELECT count(*) FROM chat.budgets_amiss(date_trunc('month',"
		 " now() AT TIME ZONE 'UTC')::date)",
	    NULL, value, sizeof(value));
	cr_expect_str_eq(value, "0");
	db_value("SELECT tokens_used <= 6000 AND tokens_reserved = 0"
		 " FROM chat.token_budgets WHERE user_id = $1"
		 " AND store_id IS NULL AND period = 'day'",
	    p.user_id, value, sizeof(value));
	cr_expect_str_eq(value, "t");
	answer_clear(&a);
}

Test(tools, a_reply_that_is_not_streamed_has_them_too)
{
	struct person p;
	struct answer a;
	char path[96];

	person_make(&stack, &p);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	http_ask(&(struct ask){.method = "POST",
		     .base = stack.base,
		     .path = path,
		     .token = p.token,
		     .json = "{\"content\":\"[[tool=create_task args={"
			     "\\\"title\\\":\\\"Tea\\\"}]] go\"}"},
	    &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	cr_expect_not_null(strstr(a.body.p, "\"tool_calls\":[{\""));
	cr_expect_not_null(strstr(a.body.p, "\"title\": \"Tea\""));
	cr_expect_not_null(strstr(a.body.p, "\"is_error\": false"));
	answer_clear(&a);
}

Test(tools, documents_are_searched)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	http_ask(&(struct ask){.method = "POST",
		     .base = stack.base,
		     .path = "/api/v1/documents",
		     .token = p.token,
		     .json = "{\"title\":\"Kettle\",\"content\":\"The kettle "
			     "is descaled with vinegar once a month.\"}"},
	    &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	answer_clear(&a);
	person_say(&stack, &p,
	    "[[tool=search_documents args={\"query\":\"vinegar\"}]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_result", "is_error"), "false");
	cr_expect_not_null(strstr(a.text.p, "descaled with vinegar"));
	expect_reply_agrees(&a);
	answer_clear(&a);
}

static void
make_document(const struct person *p, const char *json, char out_id[40])
{
	struct answer a;

	http_ask(&(struct ask){.method = "POST",
		     .base = stack.base,
		     .path = "/api/v1/documents",
		     .token = p->token,
		     .json = json},
	    &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

/* No later question tells a model what its tools quoted of it, and the reply
 * shows that there was one; what they quoted of others stays. */
Test(tools, a_document_that_is_deleted_takes_its_quotes_along)
{
	static const struct {
		const char *sql;
		const char *want;
	} rows[] = {
	    {"SELECT count(*) FROM chat.messages WHERE user_id = $1::uuid"
	     " AND tool_responses::text LIKE '%descaled%'",
		"0"},
	    {"SELECT count(*) FROM chat.messages WHERE user_id = $1::uuid"
	     " AND context::text LIKE '%descaled%'",
		"0"},
	    {"SELECT count(*) FROM chat.messages WHERE user_id = $1::uuid"
	     " AND tool_responses::text LIKE '%cucumbers%'",
		"1"},
	    {"SELECT count(*) FROM chat.messages WHERE user_id = $1::uuid"
	     " AND context::text LIKE '%descaled%'",
		"0"},
	    {"SELECT count(*) FROM chat.messages m CROSS JOIN LATERAL"
	     " jsonb_path_query(m.tool_responses,"
	     " '$[*].result.passages[*] ? (@.deleted == true)') p"
	     " WHERE m.user_id = $1::uuid AND p ?& '{document_id,deleted}'"
	     " AND NOT p ?| '{text,title,heading}'",
		"1"},
	    /* The reply's own words are the conversation's. */
	    {"SELECT count(*) FROM chat.messages WHERE user_id = $1::uuid"
	     " AND role = 'assistant' AND content LIKE '%descaled%'",
		"1"},
	};
	struct json_object *request;
	char id[40], other[40], path[96], got[16];
	const char *told;
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	make_document(&p,
	    "{\"title\":\"Kettle\",\"content\":\"The kettle is descaled with "
	    "vinegar once a month.\"}",
	    id);
	make_document(&p,
	    "{\"title\":\"Pickles\",\"content\":\"The cucumbers lie in "
	    "vinegar.\"}",
	    other);
	person_say(&stack, &p,
	    "[[tool=search_documents args={\"query\":\"vinegar\"}]] go", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_not_null(strstr(a.text.p, "descaled"));
	answer_clear(&a);
	snprintf(path, sizeof(path), "/api/v1/documents/%s", id);
	http_ask(&(struct ask){.method = "DELETE",
		     .base = stack.base,
		     .path = path,
		     .token = p.token},
	    &a);
	cr_assert_eq(a.status, 204, "%s", a.body.p);
	answer_clear(&a);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		db_value(rows[i].sql, p.user_id, got, sizeof(got));
		cr_expect_str_eq(got, rows[i].want, "%zu: %s", i, got);
	}
	/* What the reply said is told again, what the tool said is not. */
	person_say(&stack, &p, "and now?", &a);
	answer_clear(&a);
	request = last_request();
	told = json_object_to_json_string(request);
	cr_expect_not_null(strstr(told, "deleted"));
	told = strstr(told, "descaled");
	cr_expect_not_null(told);
	cr_expect(told == NULL || strstr(told + 1, "descaled") == NULL);
	json_object_put(request);
}

Test(tools, a_store_can_do_without)
{
	struct person p;
	struct answer a;
	struct json_object *request;
	char id[40];

	person_make(&stack, &p);
	db_value("INSERT INTO chat.stores (id, slug, name, is_open, settings)"
		 " VALUES (gen_random_uuid(), 's' || left(md5(random()::text), "
		 "12), 'No tools', true,"
		 " '{\"tools\": false}') RETURNING id",
	    NULL, id, sizeof(id));
	cr_assert_str_neq(id, "");
	db_value(
	    "UPDATE chat.conversations SET store_id = (SELECT id"
	    " FROM chat.stores WHERE name = 'No tools' AND is_open LIMIT 1)"
	    " WHERE user_id = $1 RETURNING id",
	    p.user_id, id, sizeof(id));
	person_say(&stack, &p, "hello", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	request = last_request();
	cr_expect_null(json_object_object_get(request, "tools"));
	json_object_put(request);
	answer_clear(&a);
}
