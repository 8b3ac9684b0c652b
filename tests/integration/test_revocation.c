/*
 * The end of a session as it reaches what goes on: replies that are still
 * being written, other workers, and everybody while Redis is away or hangs.
 * Numbers in the names are those of the adversarial list.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "stack.h"
#include "stores.h"

#define PROMPT_MS 15000 /* what is promised of an open stream */

static struct stack stack;
static struct stores stores;

static void
setup(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_REDIS_TIMEOUT=100"}};

	char *url;

	stores_start(&stores, NULL);
	url = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", url, 1); /* what db_value asks */
	free(url);
	stack_start(&stack, &o);
}

static void
teardown(void)
{
	server_thaw(&stores.redis);
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(revocation, .init = setup, .fini = teardown, .timeout = 120);

static void
pause_ms(int ms)
{
	struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* A reply that goes on for minutes, asked for in a thread. */
struct reader {
	pthread_t thread;
	struct person person;
	const char *key; /* instead of the person's token */
	bool is_whole;   /* one JSON document instead of a stream */
	struct answer answer;
	_Atomic int text;        /* bytes that came so far */
	_Atomic uint64_t end_ms; /* 0: it goes on */
};

static void
event_came(void *arg, int n)
{
	struct reader *r = arg;

	(void)n;
	atomic_store(&r->text, (int)r->answer.text.n);
}

static void *
reader_run(void *arg)
{
	struct reader *r = arg;
	char path[128], json[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = json,
	    .token = r->key != NULL ? r->key : r->person.token,
	    .timeout_ms = 120000,
	    .on_event = event_came,
	    .arg = r};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    r->person.conversation);
	snprintf(json, sizeof(json),
	    "{\"content\":\"[[text=20000 chunk=10 gap=100]] "
	    "go\",\"stream\":%s}",
	    r->is_whole ? "false" : "true");
	http_ask(&ask, &r->answer);
	atomic_store(&r->end_ms, clock_mono_ms());
	return NULL;
}

static bool
has_begun(void *arg)
{
	struct reader *r = arg;

	return atomic_load(&r->text) > 20;
}

static bool
is_running(void *arg)
{
	const struct reader *r = arg;
	char n[8];

	db_value("SELECT count(*) FROM chat.running_replies WHERE user_id = $1",
	    r->person.user_id, n, sizeof(n));
	return strcmp(n, "1") == 0;
}

static bool
has_ended(void *arg)
{
	struct reader *r = arg;

	return atomic_load(&r->end_ms) != 0;
}

static void
reader_start(struct reader *r)
{
	pthread_create(&r->thread, NULL, reader_run, r);
	cr_assert(wait_until(r->is_whole ? is_running : has_begun, r, 60000));
}

static long
call(const char *method, const char *path, const char *token, const char *json)
{
	struct ask ask = {.method = method,
	    .base = stack.base,
	    .path = path,
	    .token = token,
	    .json = json};
	struct answer a;
	long status;

	http_ask(&ask, &a);
	status = a.status;
	answer_clear(&a);
	return status;
}

static long
verify(const char *token)
{
	return call("GET", "/api/v1/auth/verify", token, NULL);
}

static const char *
code_of(const struct reader *r)
{
	return r->key != NULL ? "key_invalid" : "session_revoked";
}

static void
expect_stored(const struct reader *r)
{
	char status[32], error[32], running[8];
	const char *id = answer_event_text(&r->answer, "start", "message_id");
	char *text =
	    db_text("SELECT content FROM chat.messages WHERE id = $1", id);

	db_value("SELECT status FROM chat.messages WHERE id = $1", id, status,
	    sizeof(status));
	db_value("SELECT error_code FROM chat.messages WHERE id = $1", id,
	    error, sizeof(error));
	db_value("SELECT count(*) FROM chat.running_replies WHERE message_id = "
		 "$1",
	    id, running, sizeof(running));
	cr_expect_str_eq(status, "interrupted");
	cr_expect_str_eq(error, code_of(r));
	cr_expect_str_eq(running, "0");
	cr_expect_str_eq(text, r->answer.text.p, "what was seen is stored");
	cr_expect_gt(strlen(text), 20);
	free(text);
}

/* The reader's stream ended in time, and said why. */
static void
expect_cut(struct reader *r, uint64_t since_ms)
{
	cr_expect(wait_until(has_ended, r, PROMPT_MS));
	pthread_join(r->thread, NULL);
	fprintf(stderr, "cut after %lld ms\n",
	    (long long)(atomic_load(&r->end_ms) - since_ms));
	cr_expect(answer_ends_with(&r->answer, "error"));
	cr_expect_str_eq(
	    answer_event_text(&r->answer, "error", "code"), code_of(r));
	cr_expect_str_eq(answer_event_text(&r->answer, "error", "message_id"),
	    answer_event_text(&r->answer, "start", "message_id"));
	expect_stored(r);
}

Test(revocation, n21_an_open_stream_ends_and_what_it_said_is_kept)
{
	struct reader r = {0}, other = {0};
	uint64_t since;

	person_make(&stack, &r.person);
	person_make(&stack, &other.person);
	reader_start(&r);
	reader_start(&other);
	since = clock_mono_ms();
	cr_assert_eq(
	    call("POST", "/api/v1/auth/logout", r.person.token, "{}"), 204);
	cr_expect_eq(verify(r.person.token), 401);
	expect_cut(&r, since);
	cr_expect_not(has_ended(&other), "the others are not concerned");
	cr_expect_eq(verify(other.person.token), 204);
	since = clock_mono_ms();
	free(db_text("SELECT count(*) FROM auth.user_admin_set_disabled($1, "
		     "true)",
	    other.person.username));
	expect_cut(&other, since);
	answer_clear(&r.answer);
	answer_clear(&other.answer);
}

Test(revocation, n21_a_stream_on_an_api_key_ends_with_the_key)
{
	struct reader r = {0}, other = {0};
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/keys",
	    .json = "{\"name\":\"x\"}"};
	struct answer a = {0};
	char path[128], key[128];
	uint64_t since;

	person_make(&stack, &r.person);
	ask.token = r.person.token;
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201);
	snprintf(key, sizeof(key), "%s", answer_text(&a, "key"));
	snprintf(
	    path, sizeof(path), "/api/v1/auth/keys/%s", answer_text(&a, "id"));
	answer_clear(&a);
	r.key = key;
	person_make(&stack, &other.person);
	reader_start(&r);
	reader_start(&other);
	cr_assert_eq(call("POST", "/api/v1/auth/logout", r.person.token,
			 "{\"scope\":\"this\"}"),
	    204);
	pause_ms(5000);
	cr_expect_not(has_ended(&r), "a key outlives the session");
	cr_expect_eq(call("DELETE", path, r.person.token, NULL), 401);
	free(db_text("SELECT count(*) FROM auth.api_keys k, LATERAL"
		     " auth.api_key_revoke(k.user_id, k.id)"
		     " WHERE k.user_id = $1::uuid",
	    r.person.user_id));
	since = clock_mono_ms();
	expect_cut(&r, since);
	cr_expect_not(has_ended(&other));
	free(db_text("SELECT count(*) FROM auth.user_admin_set_disabled($1, "
		     "true)",
	    other.person.username));
	expect_cut(&other, clock_mono_ms());
	answer_clear(&r.answer);
	answer_clear(&other.answer);
}

Test(revocation, n21_a_reply_in_one_piece_becomes_a_problem)
{
	struct reader r = {.is_whole = true};

	person_make(&stack, &r.person);
	reader_start(&r);
	cr_assert_eq(call("POST", "/api/v1/auth/logout", r.person.token,
			 "{\"scope\":\"all\"}"),
	    204);
	cr_expect(wait_until(has_ended, &r, PROMPT_MS));
	pthread_join(r.thread, NULL);
	cr_expect_eq(r.answer.status, 401);
	cr_expect_str_eq(answer_text(&r.answer, "code"), "session_revoked");
	cr_expect_not_null(answer_header(&r.answer, "WWW-Authenticate"));
	cr_expect_str_neq(answer_text(&r.answer, "message_id"), "");
	answer_clear(&r.answer);
}

/* The relay and its ledger do not need Redis for it. */
Test(revocation, n21_an_open_stream_ends_while_redis_hangs)
{
	struct reader r = {0};
	uint64_t since;

	person_make(&stack, &r.person);
	reader_start(&r);
	server_freeze(&stores.redis);
	since = clock_mono_ms();
	cr_assert_eq(
	    call("POST", "/api/v1/auth/logout", r.person.token, "{}"), 204);
	expect_cut(&r, since);
	answer_clear(&r.answer);
}

static bool
is_out_everywhere(void *token)
{
	for (int i = 0; i < 20; i++)
		if (verify(token) != 401)
			return false;
	return true;
}

/* Nobody told Redis, as when natterctl ended it: every worker soon knows. */
Test(revocation, n21_an_ending_by_hand_reaches_every_worker)
{
	struct person p;

	person_make(&stack, &p);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(verify(p.token), 204, "warm everywhere");
	free(db_text("SELECT count(*) FROM auth.user_admin_set_disabled($1, "
		     "true)",
	    p.username));
	/* The watch's second has passed when 20 in a row are refused. */
	cr_expect(wait_until(is_out_everywhere, p.token, PROMPT_MS));
}

/* ---- Redis misbehaves under load ---- */

struct load {
	pthread_t thread;
	const char *token;
	_Atomic bool stop;
	_Atomic int counts[600]; /* by status */
	_Atomic uint64_t slowest_ms;
	_Atomic bool is_counted;
};

static void *
load_run(void *arg)
{
	struct load *l = arg;

	while (!atomic_load(&l->stop)) {
		uint64_t began = clock_mono_ms(), took;
		long status = verify(l->token);

		took = clock_mono_ms() - began;
		if (took > atomic_load(&l->slowest_ms))
			atomic_store(&l->slowest_ms, took);
		atomic_fetch_add(
		    &l->counts[status >= 0 && status < 600 ? status : 0], 1);
	}
	return NULL;
}

static void
expect_only(struct load *l, long status)
{
	for (int i = 0; i < 600; i++)
		if (i != status)
			cr_expect_eq(atomic_load(&l->counts[i]), 0, "%d: %d", i,
			    atomic_load(&l->counts[i]));
	cr_expect_gt(atomic_load(&l->counts[status]), 20);
}

Test(revocation, n22_a_redis_that_hangs_dies_and_returns_is_not_seen)
{
	struct load loads[4] = {0};
	struct person p, left[3];

	person_make(&stack, &p);
	for (int i = 0; i < 3; i++)
		person_make(&stack, &left[i]);
	for (int i = 0; i < 4; i++) {
		loads[i].token = p.token;
		pthread_create(&loads[i].thread, NULL, load_run, &loads[i]);
	}
	pause_ms(500);
	for (int i = 0; i < 3; i++) {
		const char *token = left[i].token;

		for (int k = 0; k < 10; k++)
			cr_assert_eq(verify(token), 204);
		if (i == 0)
			server_freeze(&stores.redis);
		else
			server_stop(&stores.redis, SIGKILL);
		pause_ms(500);
		cr_expect_eq(verify(token), 204);
		cr_expect_eq(
		    call("POST", "/api/v1/auth/logout", token, "{}"), 204);
		for (int k = 0; k < 20; k++)
			cr_expect_eq(verify(token), 401, "%d while away", i);
		if (i == 0)
			server_thaw(&stores.redis);
		else
			cr_assert(server_start_again(&stores.redis));
		for (int k = 0; k < 200; k++)
			cr_expect_eq(verify(token), 401, "%d when back", i);
	}
	for (int i = 0; i < 4; i++) {
		atomic_store(&loads[i].stop, true);
		pthread_join(loads[i].thread, NULL);
		expect_only(&loads[i], 204);
		fprintf(stderr, "%d checks, slowest %lld ms\n",
		    atomic_load(&loads[i].counts[204]),
		    (long long)atomic_load(&loads[i].slowest_ms));
	}
}

/* As a person would: the list's 8, with what a browser has open. */
Test(revocation, n8_after_the_logout_no_refresh_and_no_call_succeeds)
{
	struct person p;
	char json[300];

	person_make(&stack, &p);
	snprintf(json, sizeof(json), "{\"refresh_token\":\"%s\"}", p.refresh);
	cr_assert_eq(call("POST", "/api/v1/auth/logout", p.token, "{}"), 204);
	for (int i = 0; i < 20; i++) {
		cr_expect_eq(verify(p.token), 401);
		cr_expect_eq(
		    call("POST", "/api/v1/auth/refresh", NULL, json), 401);
	}
}
