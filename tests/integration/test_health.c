/*
 * /livez and /readyz, and what they follow: Postgres, Redis, the schema and
 * the drain. A daemon that cannot serve yet says so and needs no restart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "api/schema_version.h"
#include "base/clock.h"
#include "promises.h"
#include "stack.h"
#include "stores.h"

static struct stack stack;
static struct stores stores;

static void
teardown(void)
{
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(health, .fini = teardown, .timeout = 120);

/* What /readyz says, all in one line: "503 unavailable away ok". */
struct ready {
	char line[128];
	char schema[16];
	uint64_t took_ms;
};

static void
ask_ready(struct ready *r)
{
	struct ask ask = {.base = stack.base, .path = "/readyz"};
	uint64_t began = clock_mono_ms();
	struct answer a;

	http_ask(&ask, &a);
	r->took_ms = clock_mono_ms() - began;
	snprintf(r->line, sizeof(r->line), "%ld %s %s %s", a.status,
	    answer_text(&a, "status"), answer_text(&a, "postgres"),
	    answer_text(&a, "redis"));
	snprintf(r->schema, sizeof(r->schema), "%s",
	    answer_text(&a, "schema_version"));
	cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
	if (a.status == 503)
		cr_expect_not_null(answer_header(&a, "Retry-After"));
	answer_clear(&a);
}

static bool
ready_is(void *arg)
{
	struct ready r;

	ask_ready(&r);
	return strcmp(r.line, arg) == 0;
}

static void
expect_ready(const char *line)
{
	struct ready r;

	ask_ready(&r);
	cr_expect_str_eq(r.line, line);
}

static void
expect_becomes(const char *line, int ms)
{
	char want[128];
	struct ready r;

	snprintf(want, sizeof(want), "%s", line);
	if (wait_until(ready_is, want, ms))
		return;
	ask_ready(&r);
	cr_expect(false, "after %d ms: %s, wanted %s", ms, r.line, line);
}

/* One worker is ready; any thread that has failed lately fails fast for a
 * second before it tries Postgres again. */
static void
settle(void)
{
	struct timespec t = {.tv_sec = 1, .tv_nsec = 200000000};

	nanosleep(&t, NULL);
}

static void
expect_live(void)
{
	struct ask ask = {.base = stack.base, .path = "/livez"};
	struct answer a;

	http_ask(&ask, &a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "status"), "ok");
	answer_clear(&a);
}

/* The workers are the ones that were there before. */
struct workers {
	pid_t pids[16];
	size_t n;
};

static bool
have_begun(void *arg)
{
	const size_t *want = arg;
	pid_t pids[16];

	return stack_workers(&stack, pids, 16) == *want;
}

/* The first answers before the last has been made. */
static void
note_workers(struct workers *w, size_t want)
{
	cr_assert(wait_until(have_begun, &want, 60000));
	w->n = stack_workers(&stack, w->pids, 16);
}

static void
expect_same_workers(const struct workers *w)
{
	struct workers now;

	note_workers(&now, w->n);
	cr_expect_eq(memcmp(now.pids, w->pids, w->n * sizeof(pid_t)), 0);
}

Test(health, ready_follows_postgres)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	struct workers w;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	note_workers(&w, 2);
	expect_becomes("200 ok ok ok", 20000);
	for (int i = 0; i < 2; i++) {
		server_stop(&stores.postgres, i == 0 ? SIGINT : SIGQUIT);
		for (int k = 0; k < 6; k++)
			expect_ready("503 unavailable away ok");
		expect_live();
		cr_assert(server_start_again(&stores.postgres));
		expect_becomes("200 ok ok ok", 20000);
	}
	expect_same_workers(&w);
}

Test(health, a_frozen_postgres_is_found_out_in_time)
{
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_PG_TIMEOUT=1000"}};
	struct ready r;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	expect_becomes("200 ok ok ok", 20000);
	server_freeze(&stores.postgres);
	for (int i = 0; i < 5; i++) {
		ask_ready(&r);
		cr_expect_str_eq(r.line, "503 unavailable away ok");
		cr_expect_lt(
		    r.took_ms, 10000, "%lu ms", (unsigned long)r.took_ms);
	}
	expect_live();
	server_thaw(&stores.postgres);
	expect_becomes("200 ok ok ok", 20000);
}

Test(health, without_redis_it_is_degraded_and_ready)
{
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_REDIS_TIMEOUT=100"}};
	struct ready r;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	server_stop(&stores.redis, SIGKILL);
	for (int i = 0; i < 5; i++)
		expect_ready("200 degraded ok away");
	cr_assert(server_start_again(&stores.redis));
	expect_becomes("200 ok ok ok", 20000);
	server_freeze(&stores.redis);
	for (int i = 0; i < 8; i++) {
		ask_ready(&r);
		cr_expect_str_eq(r.line, "200 degraded ok away");
		cr_expect_lt(
		    r.took_ms, 5000, "%lu ms", (unsigned long)r.took_ms);
	}
	server_thaw(&stores.redis);
	expect_becomes("200 ok ok ok", 20000);
	server_stop(&stores.postgres, SIGINT);
	server_stop(&stores.redis, SIGKILL);
	expect_ready("503 unavailable away away");
}

Test(health, an_old_schema_is_not_ready_until_it_is_migrated)
{
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1"}, .may_be_unready = true};
	struct workers w;
	struct ready r;
	char before[16], newest[16];

	snprintf(before, sizeof(before), "%d", SCHEMA_VERSION - 1);
	stores_start(&stores, before);
	stack_start(&stack, &o);
	note_workers(&w, 1);
	ask_ready(&r);
	cr_expect_str_eq(r.line, "503 unavailable ok ok");
	expect_live();
	stores_migrate();
	expect_becomes("200 ok ok ok", 20000);
	expect_same_workers(&w);
	ask_ready(&r);
	db_value("SELECT max(version) FROM natter.schema_migrations", NULL,
	    newest, sizeof(newest));
	cr_expect_str_eq(r.schema, newest);
	/* Taken back under a running daemon, it is noticed as well. */
	db_value("DELETE FROM natter.schema_migrations WHERE version = "
		 "(SELECT max(version) FROM natter.schema_migrations)",
	    NULL, newest, sizeof(newest));
	expect_ready("503 unavailable ok ok");
}

Test(health, it_may_be_started_before_postgres)
{
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=2"}, .may_be_unready = true};
	struct ask ask = {.method = "POST",
	    .path = "/api/v1/auth/register",
	    .json =
		"{\"username\":\"early\",\"password\":\"correct horse 12\"}"};
	struct workers w;
	struct person p;
	struct answer a;

	stores_start(&stores, NULL);
	server_stop(&stores.postgres, SIGINT);
	stack_start(&stack, &o);
	ask.base = stack.base;
	note_workers(&w, 2);
	expect_ready("503 unavailable away ok");
	http_ask(&ask, &a);
	cr_expect_null(refusal_fault(&a, 503, "unavailable", NULL), "%s",
	    refusal_fault(&a, 503, "unavailable", NULL));
	answer_clear(&a);
	cr_assert(server_start_again(&stores.postgres));
	expect_becomes("200 ok ok ok", 20000);
	expect_same_workers(&w);
	settle();
	person_make(&stack, &p);
	person_say(&stack, &p, "hello", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

Test(health, a_draining_server_lives_but_is_not_ready)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_DRAIN_SECONDS=20"}};
	struct ask say = {.method = "POST",
	    .json = "{\"content\":\"[[events=30 gate=30]] go\","
		    "\"stream\":true}",
	    .hang_up_after = 1};
	char path[128];
	struct person p;
	struct answer a;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	person_make(&stack, &p);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	say.base = stack.base;
	say.path = path;
	say.token = p.token;
	http_ask(&say, &a);
	answer_clear(&a);
	kill(stack.natterd, SIGTERM);
	expect_becomes("503 draining ok ok", 20000);
	expect_live();
	stack_model_open(&stack);
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
}
