/*
 * Tools where things fail: a worker killed while its ledger runs one, a reply
 * cancelled or out of time meanwhile, Redis away between the rounds. Nothing is
 * done twice, what was done is known, and what was seen is stored.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "calls.h"
#include "follow_call.h"
#include "redis_scratch.h"
#include "reply_check.h"
#include "stack.h"
#include "stores.h"
#include "table_hold.h"

#define CREATE "[[tool=create_task args={\"title\":\"x\"} text=30 chunk=10]] go"

static struct stack stack;
static struct stores stores;
static PGconn *held;
static char tasks[] = "chat.tasks";

static void
open_world(const char *redis_timeout, const char *drain)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_TOOLS=on",
		"CHAT_MODEL_RETRIES=0", "CHAT_PG_TIMEOUT=1500", redis_timeout,
		drain}};
	char *url;

	stores_start(&stores, NULL);
	url = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", url, 1);
	free(url);
	stack_start(&stack, &o);
}

static void
setup(void)
{
	open_world("CHAT_REDIS_TIMEOUT=3000", NULL);
}

static void
setup_patient(void)
{
	open_world("CHAT_REDIS_TIMEOUT=5000", "CHAT_DRAIN_SECONDS=1");
}

static void
teardown(void)
{
	server_thaw(&stores.redis);
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(tools_faults, .init = setup, .fini = teardown, .timeout = 240);
TestSuite(tools_log, .init = setup_patient, .fini = teardown, .timeout = 240);

/* Nobody may make a task until hold_ends. */
static void
hold(void)
{
	held = table_hold(tasks);
}

static void
hold_ends(void)
{
	table_let(held);
}

static void
expect_value(const char *sql, const char *param, const char *want)
{
	char got[256];

	db_value(sql, param, got, sizeof(got));
	cr_expect_str_eq(got, want, "%s: %s, wanted %s", sql, got, want);
}

static void
expect_value_of(const char *sql, const struct person *p, const char *want)
{
	expect_value(sql, p->user_id, want);
}

#define TASKS "SELECT count(*) FROM chat.tasks WHERE user_id = $1"

#define RUNNING "SELECT count(*) FROM chat.running_replies WHERE user_id = $1"

static bool
is_none(const char *sql, const struct person *p)
{
	char n[16];

	db_value(sql, p->user_id, n, sizeof(n));
	return strcmp(n, "0") == 0;
}

static bool
has_ended(void *arg)
{
	return is_none(RUNNING, arg);
}

/* Is noted what its model's first answer took? */
static bool
is_noted(void *arg)
{
	return is_none(RUNNING " AND rounds_calls = 0", arg);
}

/* What the client saw of a reply that it did not see to the end. */
static void
expect_stored(const struct answer *a)
{
	struct reply_seen seen;

	reply_seen_by_client(a, &seen);
	cr_expect(seen.is_well_formed);
	expect_stored_reply(&seen);
	reply_seen_free(&seen);
}

static void
cancel(const struct person *p, const char *id)
{
	struct answer a;
	char path[96];

	snprintf(path, sizeof(path), "/api/v1/messages/%s/cancel", id);
	http_ask(&(struct ask){.method = "POST",
		     .base = stack.base,
		     .path = path,
		     .token = p->token},
	    &a);
	cr_expect(a.status == 200 || a.status == 202, "%ld", a.status);
	answer_clear(&a);
}

Test(tools_faults, a_cancel_while_a_tool_waits)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;
	char id[40];

	person_make(&stack, &p);
	hold();
	call_say(&c, &stack, &p, CREATE, 0);
	cr_assert(wait_until(table_is_awaited, tasks, 60000));
	reply_id(&p, id);
	cancel(&p, id);
	a = call_join(&c);
	hold_ends();
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	cr_expect_str_eq(answer_event_text(a, "done", "status"), "cancelled");
	cr_expect_str_eq(
	    answer_event_text(a, "tool_result", "result.error"), "unavailable");
	expect_reply_agrees(a);
	expect_value_of(TASKS, &p, "0");
	call_clear(&c);
}

Test(tools_faults, a_lock_that_goes_in_time_holds_nothing_up)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;

	person_make(&stack, &p);
	hold();
	call_say(&c, &stack, &p, CREATE, 0);
	cr_assert(wait_until(table_is_awaited, tasks, 60000));
	sleep(3); /* more than one try's time */
	hold_ends();
	a = call_join(&c);
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	cr_expect_str_eq(
	    answer_event_text(a, "tool_result", "result.task.title"), "x");
	expect_reply_agrees(a);
	/* However often it was tried. */
	expect_value_of(TASKS, &p, "1");
	call_clear(&c);
}

Test(tools_faults, a_worker_killed_while_a_tool_runs)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;
	pid_t worker;
	char id[40], n[8];

	person_make(&stack, &p);
	hold();
	call_say(&c, &stack, &p, CREATE, 0);
	cr_assert(wait_until(table_is_awaited, tasks, 60000));
	reply_id(&p, id);
	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	kill(worker, SIGKILL);
	a = call_join(&c);
	hold_ends();
	cr_assert(wait_until(has_ended, &p, 60000));
	expect_value("SELECT status || ' ' || jsonb_array_length(tool_calls)"
		     " FROM chat.messages WHERE id = $1",
	    id, "interrupted 1");
	expect_stored(a);
	db_value(TASKS, p.user_id, n, sizeof(n));
	cr_expect_leq(atoi(n), 1);
	/* What its log says is what the database did. */
	expect_value_of("SELECT (SELECT count(*) FROM chat.tasks"
			" WHERE user_id = $1) = (SELECT count(*)"
			" FROM chat.task_operation_logs WHERE user_id = $1)",
	    &p, "t");
	call_clear(&c);
}

Test(tools_faults, a_worker_killed_after_a_tool_was_shown)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;
	pid_t worker;
	char id[40];

	person_make(&stack, &p);
	call_say(&c, &stack, &p,
	    "[[tool=create_task args={\"title\":\"x\"} text=30 chunk=10"
	    " later=1 stall=2]] go",
	    0);
	/* Of the first answer, which calls, and of the one after it. */
	call_await_text(&c, 30 + 20);
	reply_id(&p, id);
	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	kill(worker, SIGKILL);
	a = call_join(&c);
	cr_assert(wait_until(has_ended, &p, 60000));
	expect_value("SELECT status || ' ' || jsonb_array_length(tool_calls)"
		     " || ' ' || jsonb_array_length(tool_responses)"
		     " FROM chat.messages WHERE id = $1",
	    id, "interrupted 1 1");
	expect_stored(a);
	expect_value_of(TASKS, &p, "1");
	call_clear(&c);
}

Test(tools_faults, redis_away_between_the_rounds)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;

	person_make(&stack, &p);
	hold();
	call_say(&c, &stack, &p, CREATE, 0);
	cr_assert(wait_until(table_is_awaited, tasks, 60000));
	server_freeze(&stores.redis);
	hold_ends();
	a = call_join(&c);
	server_thaw(&stores.redis);
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	expect_stored(a);
	expect_value_of(TASKS, &p, "1");
	call_clear(&c);
}

Test(tools_faults, a_log_that_is_lost_is_made_anew_with_its_tools)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;
	struct redis *r;

	person_make(&stack, &p);
	hold();
	call_say(&c, &stack, &p, CREATE, 0);
	cr_assert(wait_until(table_is_awaited, tasks, 60000));
	r = redis_new(getenv("REDIS_URL"), 5000);
	{
		const char *words[] = {"FLUSHALL"};
		redisReply *reply = NULL;

		cr_assert_eq(redis_command(r, 1, words, NULL, &reply), OK);
		freeReplyObject(reply);
	}
	redis_free(r);
	hold_ends();
	a = call_join(&c);
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	expect_reply_agrees(a);
	call_clear(&c);
}

Test(tools_faults, a_worker_that_stops_waits_for_the_tool)
{
	struct person p;
	struct call c = {0};
	const struct answer *a;

	person_make(&stack, &p);
	hold();
	call_say(&c, &stack, &p, CREATE, 0);
	cr_assert(wait_until(table_is_awaited, tasks, 60000));
	kill(stack.natterd, SIGTERM);
	sleep(1);
	hold_ends();
	a = call_join(&c);
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	expect_reply_agrees(a);
	expect_value_of(TASKS, &p, "1");
	call_clear(&c);
}

/* Asks, and waits until its reply has begun; its model waits at a gate. */
static void
call_at_gate(struct call *c, struct person *p, const char *says)
{
	person_make(&stack, p);
	call_say(c, &stack, p, says, 0);
	call_await(c, 1);
}

/* No log takes anything until writes_go_on. */
static struct redis *
hold_writes(void)
{
	struct redis *r = redis_new(getenv("REDIS_URL"), 5000);

	expect_status(r, "OK", WORDS("CLIENT", "PAUSE", "60000", "WRITE"));
	return r;
}

static void
writes_go_on(struct redis *r)
{
	expect_status(r, "OK", WORDS("CLIENT", "UNPAUSE"));
	redis_free(r);
}

#define CREATE_AT(gate, text)                                                  \
	"[[tool=create_task args={\"title\":\"x\"} gate=" #gate " text=" #text \
	" chunk=10]] go"

/* Whoever ends the reply of a dead worker knows what it called from the log:
 * nothing is done before it is there. The second reply's note is written after
 * all that the ledger did for the first. */
Test(tools_log, nothing_is_done_before_the_log_has_it)
{
	static const char *const says[] = {
	    CREATE_AT(100, 30),
	    CREATE_AT(20, 200),
	};
	struct person p[2];
	struct call c[2] = {0};
	struct redis *r;
	bool is_undone, is_lost;

	for (int i = 0; i < 2; i++)
		call_at_gate(&c[i], &p[i], says[i]);
	r = hold_writes();
	for (int i = 0; i < 2; i++) {
		stack_model_open(&stack);
		cr_assert(wait_until(is_noted, &p[i], 30000), "%d", i);
	}
	is_undone = is_none(TASKS, &p[0]);
	writes_go_on(r);
	/* Where that took so long that Redis was given up, nothing waited. */
	is_lost = call_metric(&stack, "natter_reply_logs_lost_total") > 0;
	cr_expect(is_undone || is_lost);
	for (int i = 0; i < 2; i++) {
		const struct answer *a = call_join(&c[i]);

		cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
		expect_stored(a);
		if (!is_lost)
			expect_reply_agrees(a);
		expect_value_of(TASKS, &p[i], "1");
		call_clear(&c[i]);
	}
}

/* It has not begun, so it is known. */
Test(tools_log, what_never_began_has_failed)
{
	struct person p;
	struct call c = {0};
	struct redis *r;
	char id[40];

	call_at_gate(&c, &p, CREATE_AT(100, 30));
	reply_id(&p, id);
	r = hold_writes();
	stack_model_open(&stack);
	cr_assert(wait_until(is_noted, &p, 30000));
	stack_end_natterd(&stack, SIGTERM);
	writes_go_on(r);
	(void)call_join(&c);
	call_clear(&c);
	expect_value("SELECT status || ' ' || (tool_responses::text ~"
		     " 'The reply ended before') FROM chat.messages"
		     " WHERE id = $1",
	    id, "interrupted true");
	expect_value_of(TASKS, &p, "0");
}
