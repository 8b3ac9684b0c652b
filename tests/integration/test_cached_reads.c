/*
 * Cached reads through nginx, on two hosts (natterd masters) that share
 * Postgres and Redis: whoever has been told of a write sees it, wherever he
 * asks next, whatever died or stood still meanwhile. The first host reaches
 * Postgres through a gate, which can keep the answer to a commit back.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "pg_gate.h"
#include "redis_scratch.h"
#include "stack.h"
#include "stores.h"

#define HOSTS 2

static struct stores stores;
static struct pg_gate *gate;
static struct stack hosts[HOSTS];
static struct person person;
static struct redis *redis;
static char message[40];    /* one of the conversation's */
static char page_path[128]; /* of the conversation's first messages */

/* What is read from a host, and by whom. */
static void
read_at(const struct stack *host, const char *token, const char *path,
    struct answer *a)
{
	const struct ask ask = {
	    .base = host->base, .path = path, .token = token};

	http_ask(&ask, a);
	cr_assert_eq(a->status, 200, "%s: %ld %s", path, a->status, a->body.p);
}

/* Does a read of the path at the host hold these bytes? */
static bool
shows(const struct stack *host, const char *path, const char *bytes)
{
	struct answer a;
	bool is_there;

	read_at(host, person.token, path, &a);
	is_there = strstr(a.body.p, bytes) != NULL;
	answer_clear(&a);
	return is_there;
}

/* Says nothing in JSON, and stands nowhere else. */
#define MARK "\t\t\t"

/* Is what a host shows from Redis? Changes it there, and looks. */
static bool
is_from_redis(const struct stack *host, const char *path, const char *key)
{
	const char *get[] = {"GET", key};
	AUTO_REPLY redisReply *value = NULL, *done = NULL;
	char *marked, *brace;
	const char *set[] = {"SET", key, NULL, "KEEPTTL"};
	bool is_shown;

	cr_assert_eq(redis_command(redis, 2, get, NULL, &value), OK);
	if (value->type != REDIS_REPLY_STRING)
		return false;
	marked = calloc(1, value->len + 32);
	brace = strchr(value->str, '{');
	sprintf(marked, "%.*s" MARK "%s", (int)(brace + 1 - value->str),
	    value->str, brace + 1);
	set[2] = marked;
	cr_assert_eq(redis_command(redis, 4, set, NULL, &done), OK);
	is_shown = shows(host, path, MARK);
	redis_reply_cleanup(&done);
	set[2] = value->str;
	cr_assert_eq(redis_command(redis, 4, set, NULL, &done), OK);
	free(marked);
	return is_shown;
}

struct look {
	const struct stack *host;
	const char *path;
	char key[160];
	const char *bytes;
};

static bool
is_warm(void *arg)
{
	const struct look *l = arg;

	(void)shows(l->host, l->path, "");
	return is_from_redis(l->host, l->path, l->key);
}

static bool
is_shown(void *arg)
{
	const struct look *l = arg;

	return shows(l->host, l->path, l->bytes);
}

static struct look
look_at(const struct stack *host, const char *path, const char *kind)
{
	struct look l = {.host = host, .path = path};

	snprintf(l.key, sizeof(l.key), "%s:{%s}%s%s", kind, person.user_id,
	    strcmp(kind, "hist") == 0 ? ":" : "",
	    strcmp(kind, "hist") == 0 ? person.conversation : "");
	return l;
}

/* Reads until the host answers from Redis: it is not in doubt then. */
static void
warm_at(const struct stack *host, const char *path, const char *kind)
{
	struct look l = look_at(host, path, kind);

	cr_assert(wait_until(is_warm, &l, 60000), "%s", l.key);
}

static void
warm(const char *path, const char *kind)
{
	warm_at(&hosts[1], path, kind);
}

/* Changes the message's metadata to {"n":n}; the status. */
static long
write_at(const struct stack *host, int n)
{
	char path[96], json[64];

	snprintf(path, sizeof(path), "/api/v1/messages/%s", message);
	snprintf(json, sizeof(json), "{\"metadata\":{\"n\":%d}}", n);
	return call_status(host, "PATCH", path, person.token, json);
}

static bool
shows_n(const struct stack *host, int n)
{
	char bytes[32];

	snprintf(bytes, sizeof(bytes), "{\"n\": %d}", n);
	return shows(host, page_path, bytes);
}

/* Once, before there are threads: whoever prints into a buffer empties it for
 * a moment, and an empty path is nginx's own page. */
static void
name_page(void)
{
	snprintf(page_path, sizeof(page_path),
	    "/api/v1/conversations/%s/messages", person.conversation);
}

static void
start(const char *redis_timeout)
{
	char url[160], *root;
	const struct stack_options first = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_PG_TIMEOUT=2000",
		redis_timeout},
	    .database_url = url};
	const struct stack_options second = {
	    .settings = {"CHAT_WORKERS=2", redis_timeout}};
	struct answer a;

	stores_start(&stores, NULL);
	root = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", root, 1);
	free(root);
	gate = pg_gate_open(stores.postgres.folder);
	snprintf(url, sizeof(url),
	    "postgresql:///natter?host=%s&user=natter_app",
	    pg_gate_folder(gate));
	stack_start(&hosts[0], &first);
	stack_start(&hosts[1], &second);
	redis = redis_new(stores.redis.url, 5000);
	person_make(&hosts[0], &person);
	name_page();
	person_say(&hosts[0], &person, "Hello.", &a);
	snprintf(message, sizeof(message), "%s",
	    answer_event_text(&a, "start", "message_id"));
	answer_clear(&a);
}

static void
setup(void)
{
	start("CHAT_REDIS_TIMEOUT=3000");
}

/* Where Redis stands still, which many commands wait for. */
static void
setup_hasty(void)
{
	start("CHAT_REDIS_TIMEOUT=100");
}

static void
teardown(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_stop(&hosts[i]);
	redis_free(redis);
	pg_gate_close(gate);
	stores_stop(&stores);
}

TestSuite(cached_reads, .init = setup, .fini = teardown, .timeout = 180);
TestSuite(cached_hasty, .init = setup_hasty, .fini = teardown, .timeout = 180);

Test(cached_reads, are_answered_from_redis)
{
	struct answer a;

	warm("/api/v1/me", "me");
	warm("/api/v1/me/stats", "stats");
	warm(page_path, "hist");
	/* Nobody else is shown them. */
	struct person other;
	person_make(&hosts[1], &other);
	cr_expect_eq(
	    call_status(&hosts[1], "GET", page_path, other.token, NULL), 404);
	read_at(&hosts[1], other.token, "/api/v1/me", &a);
	cr_expect_null(strstr(a.body.p, person.user_id));
	answer_clear(&a);
	/* Whose session has ended is shown nothing. */
	cr_expect_eq(call_logout(&hosts[0], person.token), 204);
	cr_expect_eq(
	    call_status(&hosts[1], "GET", "/api/v1/me", person.token, NULL),
	    401);
	cr_expect_eq(
	    call_status(&hosts[1], "GET", page_path, person.token, NULL), 401);
}

/* A temporary conversation's page ends with it. */
Test(cached_reads, do_not_outlive_a_temporary_conversation)
{
	const struct ask make = {.method = "POST",
	    .base = hosts[0].base,
	    .path = "/api/v1/conversations",
	    .token = person.token,
	    .json = "{\"expires_in\":6}"};
	struct answer a;
	struct look l;

	http_ask(&make, &a);
	cr_assert_eq(a.status, 201);
	snprintf(person.conversation, sizeof(person.conversation), "%s",
	    answer_text(&a, "id"));
	name_page();
	answer_clear(&a);
	l = look_at(&hosts[1], page_path, "hist");
	(void)shows(l.host, l.path, "");
	const char *ttl[] = {"PTTL", l.key};
	cr_expect_leq(number_of(redis, 2, ttl), 6000);
	for (int i = 0; i < 70 && call_status(&hosts[1], "GET", l.path,
				      person.token, NULL) == 200;
	     i++)
		(void)poll(NULL, 0, 100);
	cr_expect_eq(
	    call_status(&hosts[1], "GET", l.path, person.token, NULL), 404);
}

struct storm {
	pthread_t thread;
	const struct stack *host;
	_Atomic int written; /* acknowledged */
	_Atomic bool is_over;
	_Atomic int stale;
	_Atomic int reads;
	char first[256]; /* of the stale: what was asked for, and the answer */
};

/* Reads all the time; never less than what was acknowledged before it asked. */
static void *
read_on(void *arg)
{
	struct storm *s = arg;

	while (!s->is_over) {
		int least = s->written, n = -1;
		struct answer a;
		const char *at;

		read_at(s->host, person.token, page_path, &a);
		at = strstr(a.body.p, "{\"n\": ");
		if (at != NULL)
			n = atoi(at + 6);
		if (n < least && s->stale++ == 0)
			snprintf(s->first, sizeof(s->first), "%d: %s", least,
			    a.body.p);
		s->reads++;
		answer_clear(&a);
	}
	return NULL;
}

Test(cached_reads, show_every_write_at_once_on_both_hosts)
{
	enum { READERS = 6, WRITES = 150 };
	static struct storm storms[READERS];
	int reads = 0;

	cr_assert_eq(write_at(&hosts[0], 0), 200);
	for (size_t i = 0; i < READERS; i++) {
		storms[i].host = &hosts[i % HOSTS];
		pthread_create(&storms[i].thread, NULL, read_on, &storms[i]);
	}
	for (int n = 1; n <= WRITES; n++) {
		cr_assert_eq(write_at(&hosts[n % HOSTS], n), 200);
		for (size_t i = 0; i < READERS; i++)
			storms[i].written = n;
		cr_expect(shows_n(&hosts[(n + 1) % HOSTS], n), "%d", n);
	}
	for (size_t i = 0; i < READERS; i++)
		storms[i].is_over = true;
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(storms[i].thread, NULL);
		cr_expect_eq(storms[i].stale, 0, "reader %zu: %d of %d, %s", i,
		    storms[i].stale, storms[i].reads, storms[i].first);
		reads += storms[i].reads;
	}
	cr_expect_gt(reads, WRITES);
}

/* A turn is written by two threads: the question by the front, the reply by
 * the ledger. */
Test(cached_reads, show_a_turn_as_soon_as_it_is_done)
{
	for (int i = 0; i < 20; i++) {
		struct answer a;
		char text[32], done[64];

		snprintf(text, sizeof(text), "Question %d.", i);
		warm("/api/v1/me/stats", "stats");
		warm(page_path, "hist");
		person_say(&hosts[i % HOSTS], &person, text, &a);
		cr_assert(answer_ends_with(&a, "done"));
		snprintf(done, sizeof(done), "%s",
		    answer_event_text(&a, "done", "id"));
		answer_clear(&a);
		cr_expect(shows(&hosts[1 - i % HOSTS], page_path, done));
		cr_expect(
		    !shows(&hosts[1 - i % HOSTS], page_path, "\"streaming\""));
		snprintf(text, sizeof(text), "\"messages\":%d,", 2 * i + 4);
		cr_expect(
		    shows(&hosts[1 - i % HOSTS], "/api/v1/me/stats", text),
		    "%s", text);
	}
}

struct writer {
	pthread_t thread;
	int n;
	long status;
};

static void *
write_once(void *arg)
{
	struct writer *w = arg;

	w->status = write_at(&hosts[0], w->n);
	return NULL;
}

static bool
is_committed(void *arg)
{
	const struct writer *w = arg;
	char got[64], want[32];

	db_value("SELECT metadata->>'n' FROM chat.messages WHERE id = $1",
	    message, got, sizeof(got));
	snprintf(want, sizeof(want), "%d", w->n);
	return strcmp(got, want) == 0;
}

/* The first host's worker dies after the commit of {"n":n} and before it could
 * say so to anybody. */
static void
die_in_between(struct writer *w)
{
	pid_t worker = 0;

	cr_assert_eq(stack_workers(&hosts[0], &worker, 1), 1);
	pg_gate_shut(gate);
	pthread_create(&w->thread, NULL, write_once, w);
	cr_assert(wait_until(is_committed, w, 60000));
	kill(worker, SIGKILL);
	pthread_join(w->thread, NULL);
	pg_gate_let(gate);
	cr_expect_neq(w->status, 200);
}

Test(cached_reads, show_what_a_killed_writer_had_committed)
{
	struct writer w = {.n = 1};

	cr_assert_eq(write_at(&hosts[0], 0), 200);
	warm_at(&hosts[0], page_path, "hist");
	warm(page_path, "hist");
	die_in_between(&w);
	for (int i = 0; i < 50; i++)
		cr_expect(shows_n(&hosts[1], 1));
}

/* And when Redis forgets the mark besides, as soon as the worker is missed. */
Test(cached_reads, show_it_though_redis_forgot_that_somebody_wrote)
{
	struct writer w = {.n = 1};
	struct look l = look_at(&hosts[1], page_path, "hist");
	pid_t worker = 0;

	l.bytes = "{\"n\": 1}";
	cr_assert_eq(write_at(&hosts[0], 0), 200);
	warm_at(&hosts[0], page_path, "hist");
	cr_assert_eq(stack_workers(&hosts[0], &worker, 1), 1);
	pg_gate_shut(gate);
	pthread_create(&w.thread, NULL, write_once, &w);
	cr_assert(wait_until(is_committed, &w, 60000));
	expect_status(redis, "OK", WORDS("FLUSHALL"));
	kill(worker, SIGKILL);
	pthread_join(w.thread, NULL);
	pg_gate_let(gate);
	cr_expect(wait_until(is_shown, &l, 60000));
}

Test(cached_hasty, reads_show_a_write_that_redis_stood_still_for)
{
	for (int n = 1; n <= 5; n++) {
		cr_assert_eq(write_at(&hosts[1], 0), 200);
		warm(page_path, "hist");
		server_freeze(&stores.redis);
		cr_expect_eq(write_at(&hosts[0], n), 200);
		server_thaw(&stores.redis);
		redis_catches_up(redis);
		cr_expect(shows_n(&hosts[1], n), "%d", n);
		cr_expect(shows_n(&hosts[0], n), "%d", n);
	}
}

Test(cached_reads, show_a_write_after_redis_forgot_everything)
{
	for (int n = 1; n <= 20; n++) {
		warm(page_path, "hist");
		if (n % 2)
			expect_status(redis, "OK", WORDS("FLUSHALL"));
		cr_assert_eq(write_at(&hosts[0], n), 200);
		if (n % 2 == 0)
			expect_status(redis, "OK", WORDS("FLUSHALL"));
		cr_expect(shows_n(&hosts[1], n), "%d", n);
	}
}

/* However long it stands still, and whoever writes meanwhile. */
Test(cached_hasty, reads_show_writes_while_the_breaker_is_open)
{
	cr_assert_eq(write_at(&hosts[1], 0), 200);
	warm(page_path, "hist");
	server_freeze(&stores.redis);
	for (int n = 1; n <= 10; n++)
		cr_expect_eq(write_at(&hosts[0], n), 200);
	server_thaw(&stores.redis);
	redis_catches_up(redis);
	cr_expect(shows_n(&hosts[1], 10));
	cr_expect(shows_n(&hosts[0], 10));
}

/* Who changes without natterd does not know Redis: it takes a second. */
Test(cached_reads, show_what_others_changed_soon)
{
	struct look l = look_at(&hosts[1], "/api/v1/me", "me");
	char none[8];

	warm("/api/v1/me", "me");
	db_value("UPDATE auth.users SET display_name = 'Zoe' WHERE id = $1",
	    person.user_id, none, sizeof(none));
	l.bytes = "\"Zoe\"";
	cr_expect(wait_until(is_shown, &l, 60000));
}

Test(cached_reads, show_a_sign_in_at_once)
{
	struct answer a;
	char before[64], json[160];

	for (int i = 0; i < 5; i++) {
		warm("/api/v1/me", "me");
		read_at(&hosts[1], person.token, "/api/v1/me", &a);
		snprintf(before, sizeof(before), "%s",
		    answer_text(&a, "last_login_at"));
		answer_clear(&a);
		snprintf(json, sizeof(json),
		    "{\"username\":\"%s\",\"password\":"
		    "\"correct horse %s\"}",
		    person.username, strchr(person.username, '-') + 1);
		cr_assert_eq(call_status(&hosts[0], "POST",
				 "/api/v1/auth/login", NULL, json),
		    200);
		cr_expect(!shows(&hosts[1], "/api/v1/me", before));
	}
}
