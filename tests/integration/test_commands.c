/*
 * natter-local at work through a real nginx: commands on tasks, each once and
 * each with its row in the log; what it asks before it does; documents quoted.
 * What a real model answers has its intent and entities too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "stack.h"

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};

	(void)tests;
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
	api_caller_make(&caller);
}

static void
teardown(void)
{
	api_check_workers(&caller);
}

TestSuite(commands, .init = setup, .fini = teardown, .timeout = 240);

#define LOCAL ",\"model\":\"natter-local\""

static void
call(const struct person *p, const char *method, const char *path,
    const char *json, const char *key, struct answer *a)
{
	char header[128];
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = path,
	    .token = *p->token ? p->token : NULL,
	    .json = json};

	if (key) {
		snprintf(header, sizeof(header), "Idempotency-Key: %s", key);
		ask.headers[0] = header;
	}
	http_ask(&ask, a);
}

/* Says it to natter-local, as p, under the key; checks the reply's text. */
static void
say_keyed(const struct person *p, const char *words, const char *key,
    const char *want, struct answer *a)
{
	char path[160], json[2048];

	snprintf(path, sizeof(path), API "/conversations/%s/messages",
	    p->conversation);
	snprintf(json, sizeof(json), "{\"content\":\"%s\"" LOCAL "}", words);
	call(p, "POST", path, json, key, a);
	cr_assert_eq(a->status, 201, "%s: %ld %s", words, a->status, a->body.p);
	cr_expect_not_null(strstr(answer_text(a, "content"), want),
	    "%s: '%s' lacks '%s'", words, answer_text(a, "content"), want);
}

static void
say_as(const struct person *p, const char *words, const char *want)
{
	struct answer a;

	say_keyed(p, words, NULL, want, &a);
	answer_clear(&a);
}

static void
say(const char *words, const char *want)
{
	say_as(&caller.person, words, want);
}

/* What this statement gives about the caller ($1 is the name). */
static void
expect_as(const struct person *p, const char *sql, const char *want)
{
	char got[1024], whole[1200];

	snprintf(whole, sizeof(whole),
	    "WITH me AS (SELECT id FROM auth.users WHERE username = $1) %s",
	    sql);
	db_value(whole, p->username, got, sizeof(got));
	cr_expect_str_eq(got, want, "%s: '%s' is not '%s'", sql, got, want);
}

static void
expect(const char *sql, const char *want)
{
	expect_as(&caller.person, sql, want);
}

#define TASKS                                                         \
	"SELECT coalesce(string_agg(t.title || ' ' || t.status, ',' " \
	"ORDER BY t.created_at), '') FROM chat.tasks t "              \
	"WHERE t.user_id = (SELECT id FROM me)"
#define LOGS                                                                \
	"SELECT coalesce(string_agg(concat_ws(' ', l.operation_type, "      \
	"l.source, l.is_success, l.error_code), ',' ORDER BY l.created_at)" \
	", '') FROM chat.task_operation_logs l "                            \
	"WHERE l.user_id = (SELECT id FROM me)"

static void
patch_me(const char *json, long status)
{
	struct answer a;

	call(&caller.person, "PATCH", API "/me", json, NULL, &a);
	cr_expect_eq(a.status, status, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
}

Test(commands, tasks_are_made_listed_changed_done_and_deleted)
{
	patch_me("{\"time_zone\":\"America/New_York\"}", 200);
	say("Please remind me to send the invoice tomorrow at 3pm",
	    "“Send the invoice”, due tomorrow");
	expect("SELECT concat_ws(' ', (t.due_at AT TIME ZONE "
	       "'America/New_York')::time, (t.due_at AT TIME ZONE "
	       "'America/New_York')::date - (now() AT TIME ZONE "
	       "'America/New_York')::date, t.conversation_id IS NOT NULL, "
	       "t.message_id IS NOT NULL) FROM chat.tasks t "
	       "WHERE t.user_id = (SELECT id FROM me)",
	    "15:00:00 1 t t");
	say("add a task: buy milk", "“Buy milk”");
	say("add a task to call mom with high priority", "high priority");
	say("show my tasks", "You have 3 tasks:\n\n1. Send the invoice, due");
	say("task 2 is done", "marked as done: “Call mom”");
	say("what are my tasks?", "You have 2 tasks:");
	say("make it urgent", "Which one?");
	say("make the milk task urgent", "“Buy milk”, urgent priority");
	say("rename it to Buy oat milk", "“Buy oat milk”");
	say("start the invoice task", "(in progress)");
	say("show completed tasks", "1. Call mom, high priority (done)");
	expect(TASKS,
	    "Send the invoice in_progress,Buy oat milk open,Call mom done");
	say("delete the milk task", "Delete “Buy oat milk”");
	expect(TASKS,
	    "Send the invoice in_progress,Buy oat milk open,Call mom done");
	say("yes", "Deleted: “Buy oat milk”");
	expect(TASKS, "Send the invoice in_progress,Call mom done");
	say("yes", "asked nothing");
	say("remove the due date from the invoice task",
	    "“Send the invoice” (in progress)");
	expect("SELECT count(*) FROM chat.tasks t WHERE t.due_at IS NULL "
	       "AND t.user_id = (SELECT id FROM me)",
	    "2");
}

Test(commands, people_say_it_in_many_ways)
{
	say("don't let me forget the keys tomorrow morning", "“The keys”, due");
	say("Put oat milk on my list, please", "“Oat milk”");
	say("Call the vet, could you put that on my to-do list?",
	    "“Call the vet”");
	say("what's left on my list?", "You have 3 tasks:");
	say("prioritise the vet task", "“Call the vet”, high priority");
	say("push the vet task to next week", "“Call the vet”, due");
	say("which tasks am I working on?", "You have no tasks in progress");
	say("I've begun working on the vet task", "(in progress)");
	say("which tasks am I working on?", "You have 1 task in progress");
	say("you can tick the oat milk off now", "marked as done: “Oat milk”");
	say("I don't need the keys task anymore", "Delete “The keys”");
	say("yep", "Deleted: “The keys”");
	expect(TASKS, "Oat milk done,Call the vet in_progress");
}

/* What is no command does nothing, and is told that. */
Test(commands, what_is_not_understood_changes_nothing)
{
	say("add a task buy milk", "Buy milk");
	say("She put the milk task on my list", "I changed nothing");
	say("please don't delete the milk task", "I changed nothing");
	say("I never finished the milk task", "I changed nothing");
	say("Remind me to call mom and remind me to call dad",
	    "one task at a time");
	say("set a reminder on Tuesdays to take the bins out", "cannot repeat");
	say("push the milk task back by two days", "to a date");
	say("clear my to-do list", "one task at a time");
	say("add it to my list", "What shall the task be called?");
	expect(TASKS, "Buy milk open");
}

Test(commands, each_operation_leaves_its_row_and_no_other)
{
	say("add a task buy milk", "Buy milk");
	say("how do I create a task in Jira?", "");
	say("show my tasks", "You have 1 task:");
	say("complete the cheese task", "found no task");
	say("complete task 1", "marked as done");
	say("delete it", "Say yes");
	say("yes please", "Deleted");
	expect(LOGS, "create command t,read command t,update command t,"
		     "delete command f confirmation_required,delete command t");
	expect("SELECT count(*) FROM chat.task_operation_logs l "
	       "JOIN chat.messages m ON m.user_id = l.user_id "
	       "AND m.id = l.message_id AND m.content = l.original_command "
	       "AND m.conversation_id = l.conversation_id "
	       "WHERE l.user_id = (SELECT id FROM me)",
	    "5");
	expect(
	    "SELECT l.parameters::text || ' ' || (l.result #>> '{task,title}') "
	    "FROM chat.task_operation_logs l WHERE l.operation_type = "
	    "'create' AND l.user_id = (SELECT id FROM me)",
	    "{\"title\": \"Buy milk\"} Buy milk");
	expect("SELECT bool_and(l.parameters = jsonb_build_object('id', "
	       "l.task_id)) FROM chat.task_operation_logs l WHERE "
	       "l.operation_type IN ('update', 'delete') "
	       "AND l.user_id = (SELECT id FROM me)",
	    "t");
}

Test(commands, of_several_that_fit_it_asks_which)
{
	say("add a task buy milk", "Buy milk");
	say("add a task milk the cow", "Milk the cow");
	say("complete the milk task",
	    "Which one do you mean?\n\n1. Buy milk\n2. Milk the cow");
	expect(TASKS, "Buy milk open,Milk the cow open");
	say("7", "only 2 tasks");
	say("complete the milk task", "Which one");
	say("yes", "Answer with its number");
	say("complete the milk task", "Which one");
	say("the second one", "“Milk the cow”");
	expect(TASKS, "Buy milk open,Milk the cow done");
	/* Titles that are it, word for word. */
	say("add a task buy milk and bread", "bread");
	say("mark 'buy milk' as done", "done: “Buy milk”");
	expect(
	    TASKS, "Buy milk done,Milk the cow done,Buy milk and bread open");
}

Test(commands, a_delete_that_is_not_confirmed_at_once_is_none)
{
	say("complete task 1", "no list");
	say("delete it", "do not know which");
	say("add a task buy milk", "Buy milk");
	say("delete it", "Say yes");
	say("no, keep it", "changed nothing");
	say("delete it", "Say yes");
	say("show my tasks", "1. Buy milk");
	say("yes", "asked nothing");
	expect(TASKS, "Buy milk open");
	say("delete all my tasks", "one task at a time");
	say("remind me every Monday to laugh", "cannot repeat");
	say("remind me on 4/5 to laugh", "two ways");
	expect(TASKS, "Buy milk open");
}

Test(commands, nobody_elses_tasks_are_touched)
{
	struct person other;

	person_make(&caller.stack, &other);
	say("add a task buy milk", "Buy milk");
	say_as(&other, "show my tasks", "You have no tasks");
	say_as(&other, "complete the milk task", "found no task");
	say_as(&other, "delete the milk task", "found no task");
	say_as(&other, "yes", "asked nothing");
	expect(TASKS, "Buy milk open");
	expect_as(&other, TASKS, "");
}

Test(commands, a_replay_does_nothing_twice)
{
	struct answer first, again;
	char id[40];

	say_keyed(
	    &caller.person, "add a task buy milk", "k-1", "Buy milk", &first);
	say_keyed(
	    &caller.person, "add a task buy milk", "k-1", "Buy milk", &again);
	snprintf(id, sizeof(id), "%s", answer_text(&first, "id"));
	cr_expect_str_eq(answer_text(&again, "id"), id);
	answer_clear(&first);
	answer_clear(&again);
	expect(TASKS, "Buy milk open");
	expect(LOGS, "create command t");
}

/* The id of the question before the reply. */
static void
question_of(const struct answer *reply, char out[static 40])
{
	snprintf(out, 40, "%s", answer_text(reply, "parent_id"));
}

Test(commands, another_answer_does_nothing_and_an_edit_is_a_command)
{
	struct answer a;
	char id[40], path[128];

	say_keyed(&caller.person, "add a task buy milk", NULL, "milk", &a);
	snprintf(path, sizeof(path), API "/messages/%s/regenerate",
	    answer_text(&a, "id"));
	question_of(&a, id);
	answer_clear(&a);
	call(&caller.person, "POST", path, "{\"model\":\"natter-local\"}", NULL,
	    &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	cr_expect_not_null(
	    strstr(answer_text(&a, "content"), "carry a command out once"));
	answer_clear(&a);
	expect(TASKS, "Buy milk open");
	snprintf(path, sizeof(path), API "/messages/%s/edit", id);
	call(&caller.person, "POST", path,
	    "{\"content\":\"add a task buy oat milk\"" LOCAL "}", NULL, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
	expect(TASKS, "Buy milk open,Buy oat milk open");
	expect(LOGS, "create command t,create command t");
}

Test(commands, each_branch_knows_what_was_asked_in_it)
{
	struct answer a;
	char id[40], path[128];

	say("add a task buy milk", "milk");
	say_keyed(&caller.person, "delete the milk task", NULL, "Say yes", &a);
	question_of(&a, id);
	answer_clear(&a);
	snprintf(path, sizeof(path), API "/messages/%s/edit", id);
	call(&caller.person, "POST", path, "{\"content\":\"hello\"" LOCAL "}",
	    NULL, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
	/* Below "hello" nothing was asked. */
	say("yes", "asked nothing");
	expect(TASKS, "Buy milk open");
}

Test(commands, questions_to_models_have_intent_and_entities)
{
	struct answer a;
	char path[128], id[40];

	patch_me("{\"time_zone\":\"Asia/Tokyo\"}", 200);
	snprintf(path, sizeof(path), API "/conversations/%s/messages",
	    caller.person.conversation);
	call(&caller.person, "POST", path,
	    "{\"content\":\"is it free on 2031-01-02 at 15:00?\"}", NULL, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "intent"), "");
	question_of(&a, id);
	answer_clear(&a);
	snprintf(path, sizeof(path), API "/messages/%s", id);
	call(&caller.person, "GET", path, NULL, NULL, &a);
	cr_expect_str_eq(answer_text(&a, "intent"), "question");
	cr_expect_str_eq(answer_text(&a, "entities.time_zone"), "Asia/Tokyo");
	answer_clear(&a);
	expect("SELECT m.entities #>> '{dates,0,at}' FROM chat.messages m "
	       "WHERE m.user_id = (SELECT id FROM me) "
	       "AND m.intent = 'question' LIMIT 1",
	    "2031-01-02T06:00:00Z");
	/* What would be a command to natter-local was the model's here. */
	snprintf(path, sizeof(path), API "/conversations/%s/messages",
	    caller.person.conversation);
	call(&caller.person, "POST", path,
	    "{\"content\":\"add a task buy milk\"}", NULL, &a);
	cr_expect_eq(a.status, 201);
	answer_clear(&a);
	expect(TASKS, "");
	expect("SELECT m.intent || ' ' || m.entities FROM chat.messages m "
	       "WHERE m.user_id = (SELECT id FROM me) "
	       "AND m.content LIKE 'add a task%'",
	    "create_task {\"title\": \"Buy milk\"}");
	/* Counted once each: what users want, by day. */
	expect("SELECT string_agg(a.name || ' ' || a.n, ',' ORDER BY a.name) "
	       "FROM (SELECT e.name, count(*) AS n FROM chat.analytics e "
	       "WHERE e.user_id = (SELECT id FROM me) "
	       "AND e.category = 'intent' GROUP BY e.name) a",
	    "create_task 1,greeting 1,question 1");
}

Test(commands, documents_are_quoted_or_it_says_that_there_is_nothing)
{
	struct answer a;

	say("search my documents for the vacation policy",
	    "found nothing about that");
	say("How many days of vacation do employees get?",
	    "looked in your documents");
	call(&caller.person, "POST", API "/documents",
	    "{\"title\":\"Staff handbook\",\"content\":\"# "
	    "Leave\\n\\nEmployees "
	    "get thirty days of vacation each year.\\n\\n# Pay\\n\\nSalaries "
	    "are paid on the last day of the month.\"}",
	    NULL, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
	say("How many days of vacation do employees get?",
	    "thirty days of vacation each year.");
	say("search my documents for vacation", "- [1] Staff handbook");
	/* It tells of itself all the same. */
	say("Who are you?", "I am natter-local");
}

Test(commands, a_new_user_may_bring_a_zone)
{
	char json[256];
	struct answer a;
	struct person nobody = {0};

	snprintf(json, sizeof(json),
	    "{\"username\":\"%.40s-2\",\"password\":\"correct horse "
	    "battery\",\"time_zone\":\"Nowhere\"}",
	    caller.person.username);
	call(&nobody, "POST", API "/auth/register", json, NULL, &a);
	cr_expect_eq(a.status, 422);
	cr_expect_str_eq(answer_text(&a, "field"), "time_zone");
	answer_clear(&a);
	snprintf(json, sizeof(json),
	    "{\"username\":\"%.40s-2\",\"password\":\"correct horse "
	    "battery\",\"time_zone\":\"Asia/Kolkata\"}",
	    caller.person.username);
	call(&nobody, "POST", API "/auth/register", json, NULL, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	snprintf(nobody.token, sizeof(nobody.token), "%s",
	    answer_text(&a, "access_token"));
	answer_clear(&a);
	call(&nobody, "GET", API "/me", NULL, NULL, &a);
	cr_expect_str_eq(answer_text(&a, "time_zone"), "Asia/Kolkata");
	answer_clear(&a);
}

Test(commands, a_profile_takes_zones_and_languages_that_there_are)
{
	struct answer a;

	patch_me("{\"time_zone\":\"Mars/Olympus\"}", 422);
	patch_me("{\"time_zone\":\"../../etc/passwd\"}", 422);
	patch_me("{\"locale\":\"no language\"}", 422);
	patch_me("{\"role\":\"admin\"}", 422);
	patch_me("{\"time_zone\":\"Europe/Berlin\",\"locale\":\"pt-BR\","
		 "\"display_name\":\"Ada\"}",
	    200);
	call(&caller.person, "GET", API "/me", NULL, NULL, &a);
	cr_expect_str_eq(answer_text(&a, "time_zone"), "Europe/Berlin");
	cr_expect_str_eq(answer_text(&a, "locale"), "pt-BR");
	cr_expect_str_eq(answer_text(&a, "display_name"), "Ada");
	answer_clear(&a);
	patch_me("{\"time_zone\":null}", 200);
	call(&caller.person, "GET", API "/me", NULL, NULL, &a);
	cr_expect_str_eq(answer_text(&a, "time_zone"), "");
	cr_expect_str_eq(answer_text(&a, "locale"), "pt-BR");
	answer_clear(&a);
}
