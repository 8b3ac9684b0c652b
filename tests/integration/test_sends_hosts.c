/*
 * One turn at a time on each branch, and admission, as clients meet them:
 * through nginx, over two natterd that share Postgres and Redis and nothing
 * else. What is refused leaves Postgres and Redis as they were.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "promises.h"
#include "stack.h"
#include "store/redis.h"
#include "stores.h"
#include "utc_day.h"

#define HOSTS 2
#define CROWD 24

static struct stack hosts[HOSTS];
static struct stores stores;
static struct person me;

static void
open_hosts(const char *const settings[2])
{
	utc_day_begin();
	stores_start(&stores, NULL);
	for (size_t i = 0; i < HOSTS; i++) {
		const struct stack_options o = {
		    .has_model = true,
		    .settings = {"CHAT_WORKERS=2",
			/* Some stand at a gate. */
			"CHAT_RESPONSE_TIMEOUT=300000",
			"CHAT_RATE_LIMIT_PER_DAY=1000",
			"CHAT_MAX_TOKENS_PER_DAY=1000000", settings[0],
			settings[1]},
		};

		stack_start(&hosts[i], &o);
	}
	person_make(&hosts[0], &me);
}

static void
open_plain(void)
{
	open_hosts((const char *const[2]){NULL, NULL});
}

static void
teardown(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_stop(&hosts[i]);
	stores_stop(&stores);
}

TestSuite(sends_hosts, .init = open_plain, .fini = teardown, .timeout = 300);
TestSuite(sends_room, .fini = teardown, .timeout = 300);

/* One stack at a time has the machine. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
}

/* ---- what there is ---- */

static long
number_of(const char *sql)
{
	char text[64];

	db_value(sql, me.user_id, text, sizeof(text));
	return strtol(text, NULL, 10);
}

/* What Redis counts of today's turns; without Redis, what Postgres does. */
static long
charged_in_redis(void)
{
	char key[128];
	const char *argv[] = {"GET", key};
	struct redis *r = redis_new(stores.redis.url, 2000);
	AUTO_REPLY redisReply *reply = NULL;
	time_t now = time(NULL);
	struct tm utc;
	int n = snprintf(key, sizeof(key), "rate:{%s}:day:", me.user_id);

	strftime(
	    key + n, sizeof(key) - (size_t)n, "%Y-%m-%d", gmtime_r(&now, &utc));
	cr_assert_eq(
	    redis_command(r, 2, argv, NULL, &reply), OK, "%s", redis_why(r));
	redis_free(r);
	return reply->str != NULL ? strtol(reply->str, NULL, 10) : 0;
}

/* Everything that a turn changes. */
struct ledger_of {
	long messages, running, keys, usage, reserved, turns, next_position;
	long in_redis, in_postgres;
};

static struct ledger_of
look(bool has_redis)
{
#define OF_ME(what, table) \
	number_of("SELECT " what " FROM " table " WHERE user_id = $1::uuid")
	return (struct ledger_of){
	    .messages = OF_ME("count(*)", "chat.messages"),
	    .running = OF_ME("count(*)", "chat.running_replies"),
	    .keys = OF_ME("count(*)", "chat.idempotency_keys"),
	    .usage = OF_ME("count(*)", "chat.usage_tracking"),
	    .reserved = OF_ME("sum(tokens_reserved)", "chat.token_budgets"),
	    .turns = OF_ME("sum(turns)", "chat.token_budgets"),
	    .next_position = OF_ME("sum(next_position)", "chat.conversations"),
	    .in_redis = has_redis ? charged_in_redis() : 0,
	    .in_postgres =
		number_of("SELECT sum(level) FROM auth.rate_buckets"
			  " WHERE key LIKE 'rate:{' || $1 || '}:day:%'"),
	};
#undef OF_ME
}

static void
expect_same(const struct ledger_of *want, const struct ledger_of *got)
{
#define SAME(what)                                                             \
	cr_expect_eq(got->what, want->what, #what ": %ld, was %ld", got->what, \
	    want->what)
	SAME(messages);
	SAME(running);
	SAME(keys);
	SAME(usage);
	SAME(reserved);
	SAME(turns);
	SAME(next_position);
	SAME(in_redis);
	SAME(in_postgres);
#undef SAME
}

static bool
has_ended(void *arg)
{
	(void)arg;
	return number_of("SELECT count(*) FROM chat.running_replies"
			 " WHERE user_id = $1::uuid") == 0;
}

static void
expect_balance(void)
{
	cr_expect(wait_until(has_ended, NULL, 60000), "replies still run");
	cr_expect_eq(number_of("SELECT count(*) FROM chat.budgets_amiss("
			       "date_trunc('month', now())::date) a"
			       " WHERE a.user_id = $1::uuid"),
	    0);
}

/* ---- a crowd ---- */

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	size_t host;
	struct send send;
	char json[256], key[32];
	struct answer answer;
};

static _Atomic int n_answered;

static void *
member_run(void *arg)
{
	struct member *m = arg;

	pthread_barrier_wait(m->gate);
	do
		call_send(&hosts[m->host], &me, &m->send, &m->answer);
	while (call_was_late(&m->answer));
	atomic_fetch_add(&n_answered, 1);
	return NULL;
}

static void
open_models(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_model_open(&hosts[i]);
}

/* All at once, over both hosts. So many are refused, and only then the models
 * answer the others. */
static void
crowd(struct member *m, size_t n, int refused)
{
	pthread_barrier_t gate;

	atomic_store(&n_answered, 0);
	pthread_barrier_init(&gate, NULL, (unsigned)n);
	for (size_t i = 0; i < n; i++) {
		m[i].gate = &gate;
		m[i].host = i % HOSTS;
		m[i].send.json = m[i].json;
		pthread_create(&m[i].thread, NULL, member_run, &m[i]);
	}
	cr_expect(wait_for_count(&n_answered, refused, 60000), "%d of %d",
	    atomic_load(&n_answered), refused);
	open_models();
	for (size_t i = 0; i < n; i++)
		pthread_join(m[i].thread, NULL);
	pthread_barrier_destroy(&gate);
}

/* A body whose reply waits until everybody else was refused. */
#define SLOW "{\"content\":\"[[gate=2 events=2]] %zu\",\"stream\":true%s}"

/* A refusal names a reply that either host knows. */
static void
expect_in_progress(const struct member *m, const char *running)
{
	const char *fault =
	    refusal_fault(&m->answer, 409, "reply_in_progress", NULL);
	char path[128];

	cr_expect_null(fault, "%s", fault);
	cr_expect_str_eq(answer_text(&m->answer, "message_id"), running);
	snprintf(path, sizeof(path), "/api/v1/messages/%s", running);
	cr_expect_eq(call_status(&hosts[(m->host + 1) % HOSTS], "GET", path,
			 me.token, NULL),
	    200);
}

/* Of these exactly one was answered; all others name its reply. */
static void
expect_one_winner(struct member *m, size_t n)
{
	const struct member *winner = NULL;
	char running[40];

	for (size_t i = 0; i < n; i++)
		if (m[i].answer.status == 200) {
			cr_expect_null(winner, "two won");
			winner = &m[i];
		}
	cr_assert_not_null(winner, "%s", m[0].answer.body.p);
	cr_expect(answer_ends_with(&winner->answer, "done"));
	snprintf(running, sizeof(running), "%s",
	    answer_event_text(&winner->answer, "start", "message_id"));
	for (size_t i = 0; i < n; i++) {
		if (&m[i] != winner)
			expect_in_progress(&m[i], running);
		answer_clear(&m[i].answer);
	}
}

/* What one whole turn of these changes, beside what ended. */
static void
expect_one_more_turn(const struct ledger_of *before)
{
	struct ledger_of after, want = *before;

	expect_balance();
	after = look(true);
	want.messages += 2;
	want.usage += 1;
	want.turns += 2; /* the day's row and the month's */
	want.next_position += 2;
	want.in_redis += 1;
	expect_same(&want, &after);
}

/* ---- one key ---- */

#define HUNDRED 100

/* How often both models were asked. */
static long
asked(void)
{
	long n = 0;

	for (size_t i = 0; i < HOSTS; i++)
		n += stack_model_count(&hosts[i], "chat_requests");
	return n;
}

/* The reply's id and text, as a stream or as a document. */
static void
read_reply(struct answer *a, const char **out_id, const char **out_text)
{
	if (a->n_events == 0) {
		cr_expect_eq(a->status, 201, "%ld %s", a->status, a->body.p);
		*out_id = answer_text(a, "id");
		*out_text = answer_text(a, "content");
		return;
	}
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	*out_id = answer_event_text(a, "done", "id");
	*out_text = a->text.p;
}

static void
expect_one_reply(struct member *m, size_t n)
{
	char first_id[40], *first_text = NULL;
	size_t begun = 0;

	for (size_t i = 0; i < n; i++) {
		const char *id, *text;

		read_reply(&m[i].answer, &id, &text);
		if (first_text == NULL) {
			snprintf(first_id, sizeof(first_id), "%s", id);
			first_text = strdup(text);
		}
		cr_expect_str_eq(id, first_id);
		cr_expect_str_eq(text, first_text);
		begun +=
		    answer_header(&m[i].answer, "Idempotent-Replayed") == NULL;
		answer_clear(&m[i].answer);
	}
	cr_expect_eq(begun, 1, "%zu", begun);
	free(first_text);
}

/* While it is written and afterwards, over both hosts, in both forms. */
Test(sends_hosts, a_hundred_sends_with_one_key_are_one_turn)
{
	static struct member m[HUNDRED];
	struct ledger_of before = look(true);

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < HUNDRED; i++) {
			m[i] = (struct member){
			    .send = {.conversation = me.conversation,
				.key = i % 4 > 1 ? "one" : "\"one\""}};
			snprintf(m[i].json, sizeof(m[i].json),
			    "{\"content\":\"[[first=5000 events=20 gap=50]]\""
			    ",\"stream\":%s}",
			    i % 8 > 3 ? "true" : "false");
		}
		crowd(m, HUNDRED, 0);
		if (round == 0)
			expect_one_reply(m, HUNDRED);
	}
	for (size_t i = 0; i < HUNDRED; i++) {
		cr_expect_str_eq(
		    answer_header(&m[i].answer, "Idempotent-Replayed"), "true");
		answer_clear(&m[i].answer);
	}
	cr_expect_eq(asked(), 1);
	before.keys += 1;
	expect_one_more_turn(&before);
}

Test(sends_hosts, another_body_under_the_key_is_refused_and_charges_nothing)
{
	struct ledger_of before, after;
	struct send send = {.conversation = me.conversation,
	    .key = "k",
	    .json = "{\"content\":\"one\"}"};
	struct answer a;

	call_send(&hosts[0], &me, &send, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	answer_clear(&a);
	before = look(true);
	send.json = "{\"content\":\"two\"}";
	call_send(&hosts[1], &me, &send, &a);
	const char *fault =
	    refusal_fault(&a, 422, "idempotency_key_reused", "Idempotency-Key");
	cr_expect_null(fault, "%s", fault);
	answer_clear(&a);
	send.key = "not one";
	call_send(&hosts[1], &me, &send, &a);
	fault = refusal_fault(&a, 422, "invalid_field", "Idempotency-Key");
	cr_expect_null(fault, "%s", fault);
	answer_clear(&a);
	after = look(true);
	expect_same(&before, &after);
}

/* ---- one turn at a time ---- */

Test(sends_hosts, of_many_first_sends_to_an_empty_conversation_one_wins)
{
	static struct member m[CROWD];
	struct ledger_of before = look(true);

	for (size_t i = 0; i < CROWD; i++) {
		m[i] = (struct member){.send.conversation = me.conversation};
		snprintf(m[i].json, sizeof(m[i].json), SLOW, i, "");
		/* Half of them with a key of their own, which is lost too. */
		snprintf(m[i].key, sizeof(m[i].key), "key-%zu", i);
		m[i].send.key = i % 4 > 1 ? m[i].key : NULL;
	}
	crowd(m, CROWD, CROWD - 1);
	before.keys = number_of("SELECT count(*) FROM chat.idempotency_keys"
				" WHERE user_id = $1::uuid");
	cr_expect_leq(before.keys, 1, "the winner's");
	expect_one_winner(m, CROWD);
	expect_one_more_turn(&before);
}

/* Says something whose reply comes at once; writes the reply's id. */
static void
say(const char *json, char out_reply[40])
{
	const struct send send = {
	    .conversation = me.conversation, .json = json};
	struct answer a;

	call_send(&hosts[0], &me, &send, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(out_reply, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

Test(sends_hosts, of_many_sends_onto_one_parent_one_wins)
{
	static struct member m[CROWD];
	struct ledger_of before;
	char parent[40], leaf[40], more[80];

	say("{\"content\":\"one\"}", parent);
	say("{\"content\":\"two\"}", leaf);
	expect_balance();
	before = look(true);
	snprintf(more, sizeof(more), ",\"parent_id\":\"%s\"", parent);
	for (size_t i = 0; i < CROWD; i++) {
		m[i] = (struct member){.send.conversation = me.conversation};
		snprintf(m[i].json, sizeof(m[i].json), SLOW, i, more);
	}
	crowd(m, CROWD, CROWD - 1);
	expect_one_winner(m, CROWD);
	expect_one_more_turn(&before);
}

/* Asks for a reply and goes away when it has begun; writes the reply's id. */
static void
begin(const char *json, char out_reply[40])
{
	char path[128];
	const struct ask ask = {.method = "POST",
	    .base = hosts[0].base,
	    .path = path,
	    .token = me.token,
	    .json = json,
	    .hang_up_after = 1};
	struct answer a;

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    me.conversation);
	http_ask(&ask, &a);
	snprintf(
	    out_reply, 40, "%s", answer_event_text(&a, "start", "message_id"));
	answer_clear(&a);
}

/* Two branches at once, and onto the reply that is being written. */
Test(sends_hosts, other_branches_run_beside_it_and_nothing_below_it)
{
	static struct member m[2];
	struct member below = {.host = 1};
	char parent[40], leaf[40], more[80], running[40];

	say("{\"content\":\"one\"}", parent);
	say("{\"content\":\"two\"}", leaf);
	for (size_t i = 0; i < 2; i++) {
		m[i] = (struct member){.send.conversation = me.conversation};
		snprintf(more, sizeof(more), ",\"parent_id\":\"%s\"",
		    i == 0 ? parent : leaf);
		snprintf(m[i].json, sizeof(m[i].json), SLOW, i, more);
	}
	crowd(m, 2, 0);
	for (size_t i = 0; i < 2; i++) {
		cr_expect_eq(m[i].answer.status, 200, "%s", m[i].answer.body.p);
		cr_expect(answer_ends_with(&m[i].answer, "done"));
		answer_clear(&m[i].answer);
	}
	/* The leaf is one of them; now one that still runs. */
	stack_model_reset(&hosts[0]);
	snprintf(more, sizeof(more), ",\"parent_id\":\"%s\"", leaf);
	snprintf(m[0].json, sizeof(m[0].json), SLOW, (size_t)9, more);
	begin(m[0].json, running);
	below.send =
	    (struct send){.conversation = me.conversation, .json = below.json};
	snprintf(more, sizeof(more), ",\"parent_id\":\"%s\"", running);
	snprintf(below.json, sizeof(below.json), SLOW, (size_t)10, more);
	call_send(&hosts[1], &me, &below.send, &below.answer);
	expect_in_progress(&below, running);
	answer_clear(&below.answer);
	stack_model_open(&hosts[0]);
	expect_balance();
}

/*
 * Positions are given in the order of the commits: whoever looks, at whatever
 * moment, sees all positions up to the highest that there is.
 */
static atomic_bool is_over;
static atomic_int gaps, looks;

static void *
watch_positions(void *arg)
{
	(void)arg;
	while (!atomic_load(&is_over)) {
		if (number_of("SELECT coalesce(max(position), 0) - count(*)"
			      " FROM chat.messages"
			      " WHERE user_id = $1::uuid") != 0)
			atomic_fetch_add(&gaps, 1);
		atomic_fetch_add(&looks, 1);
	}
	return NULL;
}

Test(sends_hosts, positions_are_seen_in_their_order)
{
	static struct member m[CROWD];
	char parents[CROWD][40];
	pthread_t watcher;

	for (size_t i = 0; i < CROWD; i++)
		say("{\"content\":\"x\"}", parents[i]);
	pthread_create(&watcher, NULL, watch_positions, NULL);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < CROWD; i++) {
			m[i] = (struct member){
			    .send.conversation = me.conversation};
			snprintf(m[i].json, sizeof(m[i].json),
			    "{\"content\":\"y\",\"parent_id\":\"%s\"}",
			    parents[i]);
		}
		crowd(m, CROWD, CROWD);
		for (size_t i = 0; i < CROWD; i++) {
			cr_expect_eq(
			    m[i].answer.status, 201, "%s", m[i].answer.body.p);
			answer_clear(&m[i].answer);
		}
	}
	atomic_store(&is_over, true);
	pthread_join(watcher, NULL);
	cr_expect_gt(atomic_load(&looks), 0);
	cr_expect_eq(atomic_load(&gaps), 0);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.messages"
			       " WHERE user_id = $1::uuid"),
	    CROWD * 8);
	expect_balance();
}

/* ---- admission ---- */

/* Both hosts have what they take; whoever comes now changes nothing. */
static void
expect_busy(bool has_redis)
{
	static struct member m[CROWD];
	struct ledger_of before = look(has_redis), after;
	char conversations[CROWD][40];

	for (size_t i = 0; i < CROWD; i++)
		person_converse(&hosts[0], &me, conversations[i]);
	before.next_position += CROWD; /* of those */
	if (!has_redis)                /* counted anew from what was begun */
		before.in_postgres = HOSTS;
	for (size_t i = 0; i < CROWD; i++) {
		m[i] = (struct member){.send.conversation = conversations[i]};
		snprintf(m[i].json, sizeof(m[i].json), SLOW, i, "");
		m[i].send.key = i % 4 > 1 ? "one-of-its-own" : NULL;
	}
	crowd(m, CROWD, CROWD);
	for (size_t i = 0; i < CROWD; i++) {
		const char *fault =
		    refusal_fault(&m[i].answer, 503, "busy", NULL);

		cr_expect_null(fault, "%s", fault);
		cr_expect_geq(strtol(answer_header(&m[i].answer, "Retry-After"),
				  NULL, 10),
		    1);
		answer_clear(&m[i].answer);
	}
	after = look(has_redis);
	expect_same(&before, &after);
}

static void *
hold(void *arg)
{
	struct member *m = arg;

	call_send(&hosts[m->host], &me, &m->send, &m->answer);
	return NULL;
}

static bool
all_run(void *arg)
{
	return number_of("SELECT count(*) FROM chat.running_replies"
			 " WHERE user_id = $1::uuid") == *(long *)arg;
}

Test(sends_room, beyond_its_room_a_worker_stores_and_charges_nothing)
{
	static struct member held[HOSTS];
	char conversations[HOSTS][40];
	long want = HOSTS;

	open_hosts(
	    (const char *const[2]){"CHAT_WORKERS=1", "CHAT_STREAMS_MAX=1"});
	for (size_t i = 0; i < HOSTS; i++) {
		person_converse(&hosts[0], &me, conversations[i]);
		/* More gates than the crowds of expect_busy open. */
		held[i] = (struct member){.host = i,
		    .send = {.conversation = conversations[i],
			.json = "{\"content\":\"[[events=8 gate=1]]\","
				"\"stream\":true}"}};
		pthread_create(&held[i].thread, NULL, hold, &held[i]);
	}
	cr_assert(wait_until(all_run, &want, 60000));
	expect_busy(true);
	server_stop(&stores.redis, SIGKILL);
	expect_busy(false);
	for (size_t i = 0; i < HOSTS; i++) {
		for (int gate = 0; gate < 8; gate++)
			stack_model_open(&hosts[i]);
		pthread_join(held[i].thread, NULL);
		cr_expect(answer_ends_with(&held[i].answer, "done"));
		answer_clear(&held[i].answer);
	}
	expect_balance();
}
