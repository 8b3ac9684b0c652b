/*
 * Readers of a reply while what they read from dies: Redis flushed, killed and
 * gone, the worker that writes the reply, the one that serves them, their own
 * key, the conversation itself. Each comes to an end, and what it was told
 * together is what is stored.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

#include "calls.h"
#include "follow_call.h"
#include "stores.h"

#define HOSTS   2
#define READERS 6

/* Its second half waits for a gate, so that what breaks and comes back does so
 * in its middle. */
#define LONG "[[text=2000 chunk=10 gap=20 gate=100 seed=6]] go"

static struct stack hosts[HOSTS];
static struct stores stores;

static void
setup(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_DRAIN_SECONDS=20"}};
	char *url;

	stores_start(&stores, NULL);
	url = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", url, 1); /* what db_value asks */
	free(url);
	for (size_t i = 0; i < HOSTS; i++)
		stack_start(&hosts[i], &o);
}

static void
teardown(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_stop(&hosts[i]);
	stores_stop(&stores);
}

TestSuite(resume_deaths, .init = setup, .fini = teardown, .timeout = 240);

/* The model says the rest: pieces end with a character, so that there are some
 * more of them. */
static void
go_on(void)
{
	for (int i = 0; i < 3; i++)
		stack_model_open(&hosts[0]);
}

/* A reply of host 0, and those who follow it on both. */
struct scene {
	struct person person;
	struct call say;
	struct call readers[READERS];
	char id[40];
};

static void
open_scene(struct scene *s)
{
	person_make(&hosts[0], &s->person);
	call_say(&s->say, &hosts[0], &s->person, LONG, 0);
	stack_model_open(&hosts[0]);
	call_await_text(&s->say, 100);
	reply_id(&s->person, s->id);
	for (int i = 0; i < READERS; i++)
		call_follow(&s->readers[i], &hosts[i % HOSTS], s->person.token,
		    s->id, NULL);
	for (int i = 0; i < READERS; i++)
		call_await_text(&s->readers[i], 50);
}

/* All of them have been told what is stored, and end
 * with `event`. */
static void
expect_all_told(struct scene *s, const char *event)
{
	char *want;

	go_on();
	want = reply_text(s->id);

	for (int i = 0; i < READERS; i++) {
		const struct answer *a = call_join(&s->readers[i]);
		char *got = text_resumed(NULL, 0, a);

		cr_assert_not_null(got, "%d: %.300s", i, a->body.p);
		cr_expect(strcmp(got, want) == 0, "%d: %zu of %zu bytes", i,
		    strlen(got), strlen(want));
		cr_expect(answer_ends_with(a, event), "%d: %.300s", i,
		    a->n_events ? a->events[a->n_events - 1].data : a->body.p);
		free(got);
	}
	free(want);
}

static void
close_scene(struct scene *s)
{
	go_on();
	call_clear(&s->say);
	for (int i = 0; i < READERS; i++)
		call_clear(&s->readers[i]);
}

static void
flush(void)
{
	redisContext *c =
	    redisConnectUnix(stores.redis.url + strlen("unix://"));

	cr_assert(c != NULL && c->err == 0);
	freeReplyObject(redisCommand(c, "FLUSHALL"));
	redisFree(c);
}

Test(resume_deaths, redis_flushed)
{
	static struct scene s;

	open_scene(&s);
	flush();
	expect_all_told(&s, "done");
	cr_expect(answer_ends_with(call_join(&s.say), "done"));
	close_scene(&s);
}

Test(resume_deaths, redis_killed_and_started_again)
{
	static struct scene s;

	open_scene(&s);
	server_stop(&stores.redis, SIGKILL);
	call_await_text(&s.say, 700);
	cr_assert(server_start_again(&stores.redis));
	expect_all_told(&s, "done");
	cr_expect(answer_ends_with(call_join(&s.say), "done"));
	close_scene(&s);
}

Test(resume_deaths, redis_frozen_and_awake_again)
{
	static struct scene s;

	open_scene(&s);
	server_freeze(&stores.redis);
	call_await_text(&s.say, 700);
	server_thaw(&stores.redis);
	expect_all_told(&s, "done");
	cr_expect(answer_ends_with(call_join(&s.say), "done"));
	close_scene(&s);
}

Test(resume_deaths, redis_gone_for_good)
{
	static struct scene s;
	struct answer rest;
	char *want;

	open_scene(&s);
	server_stop(&stores.redis, SIGTERM);
	expect_all_told(&s, "done");
	/* Who comes now is told from Postgres. */
	want = reply_text(s.id);
	follow(&hosts[1], s.person.token, s.id, "5-100", &rest);
	cr_expect_str_eq(rest.text.p, want + 100);
	cr_expect(answer_ends_with(&rest, "done"));
	answer_clear(&rest);
	free(want);
	close_scene(&s);
	cr_assert(server_start_again(&stores.redis));
}

static void
kill_workers(const struct stack *host)
{
	pid_t pids[8];
	size_t n = stack_workers(host, pids, 8);

	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
}

/* Half of the readers die with it: they come again, to the other host. */
Test(resume_deaths, the_worker_that_writes_the_reply)
{
	static struct scene s;
	char *want;

	open_scene(&s);
	kill_workers(&hosts[0]);
	want = reply_text(s.id);
	for (int i = 0; i < READERS; i++) {
		const struct answer *a = call_join(&s.readers[i]);
		struct answer rest = {0};
		char *got;

		if (i % HOSTS == 0) {
			cr_expect_not(answer_ends_with(a, "error"));
			follow(&hosts[1], s.person.token, s.id,
			    a->events[a->n_events - 1].id, &rest);
			got = text_resumed(a, a->n_events, &rest);
			a = &rest;
		} else {
			got = text_resumed(NULL, 0, a);
		}
		cr_assert_not_null(got, "%d: %.300s", i, a->body.p);
		cr_expect_str_eq(got, want);
		cr_expect(
		    answer_ends_with(a, "error"), "%d: %.300s", i, a->body.p);
		cr_expect_str_eq(
		    answer_event_text(a, "error", "code"), "interrupted");
		cr_expect_str_eq(
		    answer_event_text(a, "error", "message_id"), s.id);
		answer_clear(&rest);
		free(got);
	}
	free(want);
	close_scene(&s);
}

/* It lets its readers go at once, whatever the reply does on another host. */
Test(resume_deaths, the_worker_that_serves_the_readers)
{
	static struct scene s;
	char *want;

	open_scene(&s);
	cr_expect_eq(stack_end_natterd(&hosts[1], SIGTERM), 0);
	cr_expect_not(atomic_load(&s.say.has_ended), "it waited for the reply");
	go_on();
	for (int i = 1; i < READERS; i += HOSTS) {
		const struct answer *a = call_join(&s.readers[i]);
		struct answer rest;
		char *got;

		cr_expect_str_eq(
		    answer_event_text(a, "error", "code"), "draining");
		cr_expect_str_eq(
		    answer_event_text(a, "error", "resumable"), "true");
		cr_expect_str_eq(
		    answer_event_text(a, "error", "message_id"), s.id);
		follow(&hosts[0], s.person.token, s.id,
		    a->events[a->n_events - 1].id, &rest);
		got = text_resumed(a, a->n_events, &rest);
		want = reply_text(s.id);
		cr_assert_not_null(got);
		cr_expect_str_eq(got, want);
		cr_expect(answer_ends_with(&rest, "done"));
		answer_clear(&rest);
		free(got);
		free(want);
	}
	close_scene(&s);
}

/* A key that is revoked takes along those who read with it, nobody else. */
Test(resume_deaths, the_key_of_a_reader)
{
	static struct scene s;
	struct ask ask = {.method = "POST",
	    .base = hosts[0].base,
	    .path = "/api/v1/auth/keys",
	    .json = "{\"name\":\"x\"}"};
	struct answer a;
	struct call reader;

	open_scene(&s);
	ask.token = s.person.token;
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201);
	call_follow(&reader, &hosts[1], answer_text(&a, "key"), s.id, "2-10");
	answer_clear(&a);
	call_await(&reader, 2);
	free(db_text("SELECT count(*) FROM auth.api_keys k, LATERAL"
		     " auth.api_key_revoke(k.user_id, k.id)"
		     " WHERE k.user_id = $1::uuid",
	    s.person.user_id));
	cr_expect_str_eq(answer_event_text(call_join(&reader), "error", "code"),
	    "key_invalid");
	expect_all_told(&s, "done");
	call_clear(&reader);
	close_scene(&s);
}

Test(resume_deaths, the_conversation)
{
	static struct scene s;
	char path[96];

	open_scene(&s);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    s.person.conversation);
	cr_assert_eq(
	    call_status(&hosts[1], "DELETE", path, s.person.token, NULL), 204);
	for (int i = 0; i < READERS; i++) {
		const struct answer *a = call_join(&s.readers[i]);

		cr_expect_str_eq(
		    answer_event_text(a, "error", "code"), "not_found");
	}
	close_scene(&s);
}
