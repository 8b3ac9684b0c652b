/*
 * Who asks the model when many ask the very same at once, through nginx, on two
 * hosts that share Postgres and Redis: one does, the others get its answer for
 * nothing; and when that one fails, dies, takes too long or Redis is away,
 * somebody else does, without anybody being left waiting.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "redis_scratch.h"
#include "stack.h"
#include "stores.h"

#define HOSTS 2
#define MOST  50

static struct stores stores;
static struct stack hosts[HOSTS];
static struct redis *redis;
static char store[40];

/* Somebody who asks, and what came of it. */
struct asker {
	pthread_t thread;
	const struct stack *host;
	struct person person;
	const char *content;
	bool wants_stream;
	struct answer answer;
	char message[40];
};

static struct asker askers[MOST];

/* A person with a conversation in the store that keeps answers. */
static void
make_asker(struct asker *k, const struct stack *host)
{
	char json[96];
	const struct ask make = {.method = "POST",
	    .base = host->base,
	    .path = "/api/v1/conversations",
	    .token = k->person.token,
	    .json = json};
	struct answer a;

	k->host = host;
	person_make(host, &k->person);
	snprintf(json, sizeof(json), "{\"store_id\":\"%s\"}", store);
	http_ask(&make, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(k->person.conversation, sizeof(k->person.conversation), "%s",
	    answer_text(&a, "id"));
	answer_clear(&a);
}

static void *
ask_once(void *arg)
{
	struct asker *k = arg;
	char path[128], json[256];
	const struct ask ask = {.method = "POST",
	    .base = k->host->base,
	    .path = path,
	    .token = k->person.token,
	    .json = json,
	    .timeout_ms = 90000};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    k->person.conversation);
	snprintf(json, sizeof(json), "{\"content\":\"%s\",\"stream\":%s}",
	    k->content, k->wants_stream ? "true" : "false");
	http_ask(&ask, &k->answer);
	return NULL;
}

static void
start(struct asker *k, const char *content)
{
	k->content = content;
	cr_assert_eq(pthread_create(&k->thread, NULL, ask_once, k), 0);
}

static void
join(struct asker *k)
{
	pthread_join(k->thread, NULL);
	snprintf(k->message, sizeof(k->message), "%s",
	    k->wants_stream
		? answer_event_text(&k->answer, "start", "message_id")
		: answer_text(&k->answer, "id"));
}

static bool
was_kept(const struct asker *k)
{
	const char *mark =
	    k->wants_stream
		? answer_event_text(&k->answer, "done", "metadata.cached")
		: answer_text(&k->answer, "metadata.cached");

	return strcmp(mark, "true") == 0;
}

static bool
has_answer(const struct asker *k)
{
	if (k->wants_stream)
		return answer_ends_with(&k->answer, "done");
	return k->answer.status == 201 &&
	       strcmp(answer_text(&k->answer, "status"), "complete") == 0;
}

static void
clear(struct asker *k)
{
	answer_clear(&k->answer);
}

/* How many requests the hosts' models have had. */
static long
asked(void)
{
	long n = 0;

	for (size_t i = 0; i < HOSTS; i++)
		n += stack_model_count(&hosts[i], "chat_requests");
	return n;
}

struct wanted {
	long asked;
	int running;
};

static bool
is_asked(void *arg)
{
	return asked() >= ((struct wanted *)arg)->asked;
}

static bool
is_running(void *arg)
{
	char n[16];

	db_value(
	    "SELECT count(*) FROM chat.running_replies", NULL, n, sizeof(n));
	return atoi(n) == ((struct wanted *)arg)->running;
}

static void
open_models(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_model_open(&hosts[i]);
}

/* Begins the builder's turn, and once its model is asked the others'. */
static void
start_all(size_t n, const char *content)
{
	struct wanted w = {.asked = asked() + 1, .running = (int)n};

	start(&askers[0], content);
	cr_assert(wait_until(is_asked, &w, 60000));
	for (size_t i = 1; i < n; i++)
		start(&askers[i], content);
	cr_assert(wait_until(is_running, &w, 60000));
}

/* Until a host believes Redis: a worker that has just begun does not. */
static bool
is_warm(void *arg)
{
	struct asker *k = arg;
	bool was;

	(void)poll(NULL, 0, 300);
	person_converse(k->host, &k->person, k->person.conversation);
	k->content = "Warm.\",\"cache\":true,\"model\":\"m";
	ask_once(k);
	was = was_kept(k);
	clear(k);
	return was;
}

static void
setup(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_RESPONSE_TIMEOUT=18000",
		"CHAT_MODEL_RETRIES=0", "CHAT_DRAIN_SECONDS=1",
		"CHAT_ADDRESS_RATE_PER_MINUTE=0", "CHAT_HASH_MEMORY=8"}};

	stores_start(&stores, NULL);
	for (size_t i = 0; i < HOSTS; i++)
		stack_start(&hosts[i], &o);
	redis = redis_new(stores.redis.url, 5000);
	db_value("INSERT INTO chat.stores (id, slug, name, is_open, settings)"
		 " VALUES (gen_random_uuid(), 's', 'S', true,"
		 " '{\"answer_cache\": true}') RETURNING id::text",
	    NULL, store, sizeof(store));
	for (size_t i = 0; i < HOSTS; i++) {
		struct asker k = {.host = &hosts[i]};

		person_make(&hosts[i], &k.person);
		cr_assert(wait_until(is_warm, &k, 15000));
	}
}

static void
teardown(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_stop(&hosts[i]);
	redis_free(redis);
	stores_stop(&stores);
}

TestSuite(answer_builders, .init = setup, .fini = teardown, .timeout = 240);

/* The first is of host 0, the others of host 1. */
static void
make_askers(size_t n)
{
	for (size_t i = 0; i < n; i++)
		make_asker(&askers[i], &hosts[i == 0 ? 0 : 1]);
}

static int
count_kept(size_t n)
{
	int kept = 0;

	for (size_t i = 0; i < n; i++)
		kept += was_kept(&askers[i]);
	return kept;
}

static void
expect_settled(void)
{
	char text[64];

	db_value("SELECT coalesce(sum(tokens_reserved), 0)::text"
		 " FROM chat.token_budgets",
	    NULL, text, sizeof(text));
	cr_expect_str_eq(text, "0");
	db_value("SELECT count(*)::text FROM chat.running_replies", NULL, text,
	    sizeof(text));
	cr_expect_str_eq(text, "0");
}

Test(answer_builders, of_fifty_at_once_one_asks_the_model)
{
	long before = asked();
	char text[64];

	for (size_t i = 0; i < MOST; i++) {
		make_asker(&askers[i], &hosts[i % HOSTS]);
		askers[i].wants_stream = i % 3 != 0;
	}
	for (size_t i = 0; i < MOST; i++)
		start(&askers[i], "[[first=3000 text=60]] The same.");
	for (size_t i = 0; i < MOST; i++) {
		join(&askers[i]);
		cr_expect(has_answer(&askers[i]), "%zu: %s", i,
		    askers[i].answer.body.p);
	}
	cr_expect_eq(asked() - before, 1);
	cr_expect_eq(count_kept(MOST), MOST - 1);
	expect_settled();
	db_value("SELECT count(*) || ' ' || count(DISTINCT m.content) || ' ' ||"
		 " sum((u.prompt_tokens = 0 AND u.completion_tokens = 0"
		 " AND NOT u.is_billed)::int) FROM chat.messages m"
		 " JOIN chat.usage_tracking u ON u.id = m.id"
		 " JOIN chat.conversations c ON c.id = m.conversation_id"
		 " WHERE c.store_id IS NOT NULL AND m.status = 'complete'",
	    NULL, text, sizeof(text));
	cr_expect_str_eq(text, "50 1 49");
	db_value("SELECT count(*)::text FROM chat.token_budgets"
		 " WHERE tokens_used > 0 AND store_id IS NULL"
		 " AND period = 'day' AND user_id IN (SELECT c.user_id"
		 " FROM chat.conversations c WHERE c.store_id IS NOT NULL)",
	    NULL, text, sizeof(text));
	cr_expect_str_eq(text, "1", "only who asked the model is billed");
	for (size_t i = 0; i < MOST; i++)
		clear(&askers[i]);
}

Test(answer_builders, whose_model_fails_is_followed_by_the_next)
{
	enum { N = 6 };
	long before;
	int failed = 0;

	make_askers(N);
	before = asked();
	start_all(N, "[[id=f fail=0 gate=4 cut=1 events=4]] Fails.");
	open_models();
	for (size_t i = 0; i < N; i++) {
		join(&askers[i]);
		failed += !has_answer(&askers[i]);
		cr_expect(!was_kept(&askers[i]), "what was cut is not kept");
		clear(&askers[i]);
	}
	/* Each asked in its turn, and each failed for itself. */
	cr_expect_eq(failed, N);
	cr_expect_eq(asked() - before, N);
	expect_settled();
}

Test(answer_builders, who_is_killed_is_followed_by_the_next)
{
	enum { N = 8 };
	long before, n;
	pid_t worker = 0;

	make_askers(N);
	before = asked();
	cr_assert_eq(stack_workers(&hosts[0], &worker, 1), 1);
	start_all(N, "[[gate=100 text=60]] Dies.");
	kill(worker, SIGKILL);
	open_models();
	for (size_t i = 0; i < N; i++)
		join(&askers[i]);
	for (size_t i = 1; i < N; i++)
		cr_expect(has_answer(&askers[i]), "%zu: %s", i,
		    askers[i].answer.body.p);
	/* Some ten seconds after the death, when the worker is missed and its
	 * reply ended, all caches are emptied: who builds just then keeps
	 * nothing, and is followed too. */
	n = asked() - before;
	cr_expect(n >= 2 && n < N, "%ld", n);
	cr_expect_eq(count_kept(N), N - n);
	for (size_t i = 0; i < N; i++)
		clear(&askers[i]);
}

/* As long as a model may be silent, and no longer. */
Test(answer_builders, who_takes_too_long_is_not_waited_for)
{
	enum { N = 4 };
	long before;

	make_askers(N);
	before = asked();
	start_all(N, "[[gap=2000 events=14]] Is slow.");
	for (size_t i = 0; i < N; i++) {
		join(&askers[i]);
		cr_expect(has_answer(&askers[i]));
		clear(&askers[i]);
	}
	cr_expect_eq(asked() - before, N);
	expect_settled();
}

Test(answer_builders, redis_away_or_empty_makes_everybody_ask)
{
	enum { N = 5 };
	long before;
	struct wanted w;

	make_askers(N);
	before = asked();
	start_all(N, "[[gate=100 text=60]] Forgets.");
	expect_status(redis, "OK", WORDS("FLUSHALL"));
	w.asked = before + 2;
	cr_expect(wait_until(is_asked, &w, 60000), "somebody builds anew");
	open_models();
	for (size_t i = 0; i < N; i++) {
		join(&askers[i]);
		cr_expect(has_answer(&askers[i]));
		clear(&askers[i]);
	}
	cr_expect_leq(asked() - before, 3);
	for (size_t i = 0; i < HOSTS; i++)
		stack_model_reset(&hosts[i]);
	before = 0;
	start_all(N, "[[gate=100 text=60]] Hangs.");
	server_freeze(&stores.redis);
	w.asked = before + N;
	cr_expect(wait_until(is_asked, &w, 60000), "everybody asks");
	server_thaw(&stores.redis);
	open_models();
	for (size_t i = 0; i < N; i++) {
		join(&askers[i]);
		cr_expect(has_answer(&askers[i]));
		cr_expect(!was_kept(&askers[i]));
		clear(&askers[i]);
	}
	expect_settled();
}

/* Who waits ends as others do: with the session, and with the worker. */
Test(answer_builders, a_wait_can_be_ended)
{
	enum { N = 3 };

	make_askers(N);
	for (size_t i = 0; i < N; i++)
		askers[i].wants_stream = true;
	start_all(N, "[[gate=100 text=60]] Ends.");
	cr_expect_eq(call_logout(&hosts[1], askers[1].person.token), 204);
	join(&askers[1]);
	cr_expect(answer_ends_with(&askers[1].answer, "error"));
	cr_expect_str_eq(answer_event_text(&askers[1].answer, "error", "code"),
	    "session_revoked");
	cr_expect_eq(stack_end_natterd(&hosts[1], SIGTERM), 0);
	join(&askers[2]);
	cr_expect(answer_ends_with(&askers[2].answer, "error"));
	cr_expect_str_eq(
	    answer_event_text(&askers[2].answer, "error", "code"), "draining");
	open_models();
	join(&askers[0]);
	cr_expect(has_answer(&askers[0]));
	expect_settled();
	for (size_t i = 0; i < N; i++)
		clear(&askers[i]);
}
