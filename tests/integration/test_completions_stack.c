/*
 * Completions that nobody keeps, when things go wrong: too many at once, a
 * killed worker, a client that goes away or does not read, Redis and Postgres
 * that are not there. Whatever happens is billed, and nothing is kept of it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

#include "calls.h"
#include "raw_http.h"
#include "stack.h"
#include "stores.h"
#include "utc_day.h"

#define PATH  "/openai/v1/chat/completions"
#define CROWD 50

static struct stack stack;
static struct stores stores;

/* One stack at a time has the machine. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
}

/* A suite's .fini comes after a test's own. */
static void
teardown(void)
{
	if (stack.natterd > 0)
		stack_stop(&stack);
	stack.natterd = 0;
}

static void
teardown_all(void)
{
	teardown();
	stores_stop(&stores);
}

TestSuite(
    completions_stack, .init = utc_day_begin, .fini = teardown, .timeout = 300);

static long
number_of(const char *sql, const char *user)
{
	char text[64];

	db_value(sql, user, text, sizeof(text));
	return strtol(text, NULL, 10);
}

#define AMISS                                                         \
	"SELECT count(*) FROM chat.budgets_amiss(date_trunc('month'," \
	" now() AT TIME ZONE 'UTC' - interval '1 day')::date) a"      \
	" WHERE a.user_id = $1::uuid"
#define RUNNING \
	"SELECT count(*) FROM chat.running_replies WHERE user_id = $1::uuid"
#define RESERVED                                              \
	"SELECT sum(tokens_reserved) FROM chat.token_budgets" \
	" WHERE user_id = $1::uuid"
#define USED                                              \
	"SELECT sum(tokens_used) FROM chat.token_budgets" \
	" WHERE user_id = $1::uuid AND period = 'day'"
#define USAGE                                           \
	"SELECT sum(prompt_tokens + completion_tokens)" \
	" FROM chat.usage_tracking WHERE user_id = $1::uuid AND is_billed"
#define ROWS "SELECT count(*) FROM chat.usage_tracking WHERE user_id = $1::uuid"
#define COMPLETION                                               \
	"SELECT sum(completion_tokens) FROM chat.usage_tracking" \
	" WHERE user_id = $1::uuid"
#define MESSAGES "SELECT count(*) FROM chat.messages WHERE user_id = $1::uuid"
/* Usage that names a conversation or a message. */
#define PLACED                                                       \
	"SELECT count(*) FROM chat.usage_tracking"                   \
	" WHERE user_id = $1::uuid AND (conversation_id IS NOT NULL" \
	" OR message_id IS NOT NULL)"

static bool
has_ended(void *arg)
{
	return number_of(RUNNING, arg) == 0;
}

/* All of it is settled, and nothing of it is stored. */
static void
expect_balance(char *user, long rows)
{
	cr_expect(wait_until(has_ended, user, 90000), "completions still run");
	cr_expect_eq(number_of(AMISS, user), 0);
	cr_expect_eq(number_of(RESERVED, user), 0);
	cr_expect_eq(number_of(USED, user), number_of(USAGE, user));
	cr_expect_eq(number_of(ROWS, user), rows, "%ld rows of usage",
	    number_of(ROWS, user));
	cr_expect_eq(number_of(MESSAGES, user), 0);
	cr_expect_eq(number_of(PLACED, user), 0);
}

/* Bytes of text that the client has seen. */
static size_t
seen(const struct answer *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_events; i++) {
		struct json_object *o = json_tokener_parse(a->events[i].data);
		struct json_object *v = NULL;

		if (json_object_object_get_ex(o, "choices", &v) &&
		    json_object_array_length(v) > 0 &&
		    json_object_object_get_ex(
			json_object_array_get_idx(v, 0), "delta", &v) &&
		    json_object_object_get_ex(v, "content", &v))
			n += (size_t)json_object_get_string_len(v);
		json_object_put(o);
	}
	return n;
}

#define ASK(script, more)                                                     \
	"{\"messages\":[{\"role\":\"user\",\"content\":\"" script "\"}]" more \
	"}"
#define STREAM(script) ASK(script, ",\"stream\":true")

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	const struct person *person;
	const char *json;
	struct answer answer;
};

static _Atomic int n_answered;

static void *
member_run(void *arg)
{
	struct member *m = arg;

	pthread_barrier_wait(m->gate);
	do
		call_complete(&stack, m->person, m->json, &m->answer);
	while (call_was_late(&m->answer));
	atomic_fetch_add(&n_answered, 1);
	return NULL;
}

/* All at once. So many are to be refused, and only then the model answers the
 * others. */
static void
crowd(struct member m[static CROWD], const struct person *p, const char *json,
    int refused)
{
	pthread_barrier_t gate;

	pthread_barrier_init(&gate, NULL, CROWD);
	for (size_t i = 0; i < CROWD; i++) {
		m[i] =
		    (struct member){.gate = &gate, .person = p, .json = json};
		pthread_create(&m[i].thread, NULL, member_run, &m[i]);
	}
	cr_expect(wait_for_count(&n_answered, refused, 45000), "%d of %d",
	    atomic_load(&n_answered), refused);
	stack_model_open(&stack);
	for (size_t i = 0; i < CROWD; i++)
		pthread_join(m[i].thread, NULL);
	pthread_barrier_destroy(&gate);
}

static int
count(struct member m[static CROWD], long status, const char *code)
{
	int n = 0;

	for (size_t i = 0; i < CROWD; i++) {
		const struct answer *a = &m[i].answer;

		if (a->status != status)
			continue;
		n++;
		if (code == NULL)
			continue;
		cr_expect_str_eq(answer_text(a, "error.code"), code);
		cr_expect_gt(
		    strtol(answer_header(a, "Retry-After"), NULL, 10), 0);
	}
	return n;
}

static void
clear(struct member m[static CROWD])
{
	for (size_t i = 0; i < CROWD; i++)
		answer_clear(&m[i].answer);
}

/* The question has 32 bytes: 8 tokens, and 992 may come. The model keeps
 * silent until everybody has asked. */
#define SLOW "[[gate=2 events=2]]............."

Test(completions_stack, of_fifty_at_once_ten_fit_a_budget)
{
	static struct member m[CROWD];
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", "CHAT_MAX_TOKENS_PER_DAY=10000",
		"CHAT_STREAMS_PER_USER=0", "CHAT_RATE_LIMIT_PER_MINUTE=0",
		"CHAT_RESPONSE_TIMEOUT=60000"},
	    .has_model = true};
	struct person p;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	crowd(m, &p, ASK(SLOW, ",\"max_tokens\":992"), CROWD - 10);
	cr_expect_eq(count(m, 200, NULL), 10);
	cr_expect_eq(count(m, 429, "insufficient_quota"), CROWD - 10);
	clear(m);
	expect_balance(p.user_id, 10);
}

Test(completions_stack, of_fifty_at_once_three_may_run_and_a_minute_has_five)
{
	static struct member m[CROWD];
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", "CHAT_STREAMS_PER_USER=3",
		"CHAT_RATE_LIMIT_PER_MINUTE=5", "CHAT_RESPONSE_TIMEOUT=60000"},
	    .has_model = true};
	struct person p;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	crowd(m, &p, STREAM(SLOW), CROWD - 3);
	cr_expect_eq(count(m, 200, NULL), 3);
	cr_expect_eq(count(m, 429, "rate_limit_exceeded"), CROWD - 3);
	clear(m);
	expect_balance(p.user_id, 3);
}

/* Kills every worker once the client has seen some of it. */
static void
kill_workers(void *arg, int n)
{
	pid_t workers[16];

	(void)arg;
	stack_model_open(&stack);
	if (n != 20)
		return;
	for (size_t i = stack_workers(&stack, workers, 16); i > 0; i--)
		kill(workers[i - 1], SIGKILL);
}

static const struct stack_options plain = {
    .settings = {"CHAT_WORKERS=2", "CHAT_RATE_LIMIT_PER_MINUTE=0",
	"CHAT_MAX_TOKENS_PER_DAY=100000"},
    .has_model = true};

/* Asks for a reply with gate=1: the first piece comes by itself, and on_event
 * opens the gate of the next, so that they are as many events. */
static void
ask_by_pieces(struct ask *ask, const struct person *p, struct answer *a)
{
	ask->method = "POST";
	ask->base = stack.base;
	ask->path = PATH;
	ask->token = p->token;
	ask->timeout_ms = 90000;
	stack_model_open(&stack);
	http_ask(ask, a);
}

Test(completions_stack, what_was_seen_before_a_worker_was_killed_is_billed)
{
	struct person p;
	struct answer a;
	struct ask ask = {.json = STREAM("[[events=400 gate=1]] x"),
	    .on_event = kill_workers};

	stack_start(&stack, &plain);
	person_make(&stack, &p);
	ask_by_pieces(&ask, &p, &a);
	cr_expect_gt(seen(&a), 20);
	cr_expect_null(strstr(a.body.p, "[DONE]"));
	expect_balance(p.user_id, 1);
	cr_expect_geq(number_of(COMPLETION, p.user_id), (long)seen(&a) / 4);
	cr_expect_lt(number_of(COMPLETION, p.user_id), 800);
	answer_clear(&a);
}

static int
ask_without_reading(const struct person *p, const char *json)
{
	struct buf b = {0};
	int fd = raw_open(stack.port, 4096);

	buf_printf(&b,
	    "POST " PATH " HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\nAuthorization: Bearer %s\r\n"
	    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
	    p->token, strlen(json), json);
	raw_send(fd, b.p, b.n);
	buf_free(&b);
	return fd;
}

static bool
model_is_asked(void *arg)
{
	(void)arg;
	return stack_model_count(&stack, "streams_open") == 1;
}

static bool
model_saw_hangup(void *arg)
{
	return stack_model_count(&stack, "client_hangups") >= *(long *)arg;
}

/* Streaming, before the first token, and asked for in one piece. */
Test(completions_stack, a_client_that_goes_away_ends_the_transfer)
{
	static const struct {
		const char *json;
		long gates; /* that the model came through */
	} rows[] = {
	    {STREAM("[[events=2000 gate=20]] x"), 1},
	    {STREAM("[[hang=1]] x"), 0},
	    {ASK("[[events=2000 gate=20]] x", ""), 1},
	};
	struct person p;

	stack_start(&stack, &plain);
	person_make(&stack, &p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		long hangups = stack_model_count(&stack, "client_hangups") + 1;
		int fd = ask_without_reading(&p, rows[i].json);

		cr_assert(wait_until(model_is_asked, NULL, 60000));
		for (long k = 0; k < rows[i].gates; k++)
			stack_model_open(&stack);
		cr_assert(wait_until(stack_model_is_heard, &stack, 60000));
		close(fd);
		cr_expect(wait_until(model_saw_hangup, &hangups, 60000),
		    "%zu: the model goes on", i);
		expect_balance(p.user_id, (long)i + 1);
		stack_model_reset(&stack);
	}
	/* The first and the last had 160 bytes, the second a prompt. */
	cr_expect_eq(number_of(COMPLETION, p.user_id), 80);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.usage_tracking"
			       " WHERE user_id = $1::uuid AND is_estimated"
			       " AND prompt_tokens > 0",
			 p.user_id),
	    3);
}

/* With store: true the reply goes on, and is all there. */
static bool
is_complete(void *arg)
{
	return number_of("SELECT count(*) FROM chat.messages WHERE user_id ="
			 " $1::uuid AND role = 'assistant' AND status ="
			 " 'complete' AND octet_length(content) = 480",
		   arg) == 1;
}

Test(completions_stack, one_that_is_kept_goes_on_without_its_client)
{
	struct person p;
	struct answer a;
	struct ask ask = {.method = "POST",
	    .path = PATH,
	    .json = ASK(
		"[[events=60 gap=50]] x", ",\"stream\":true,\"store\":true"),
	    .hang_up_after = 5,
	    .timeout_ms = 60000};

	stack_start(&stack, &plain);
	person_make(&stack, &p);
	ask.base = stack.base;
	ask.token = p.token;
	http_ask(&ask, &a);
	answer_clear(&a);
	cr_expect(wait_until(is_complete, p.user_id, 60000));
	cr_expect_eq(number_of(AMISS, p.user_id), 0);
	cr_expect_eq(number_of(ROWS, p.user_id), 1);
}

static bool
has_begun(void *arg)
{
	return number_of(RUNNING, arg) + number_of(ROWS, arg) > 0;
}

/* Lets the model say what stands before its next gate. */
static void
open_gate(void)
{
	const struct ask ask = {
	    .method = "POST", .base = stack.model, .path = "/_open"};
	struct answer a;

	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
}

/*
 * What waits for a reader waits in the kernel (tcp_wmem of nginx's connection,
 * 4 MB as a rule, and wmem_default of natterd's), in one of nginx's buffers,
 * and in CHAT_CLIENT_BUFFER: the write that finds more waiting there is the
 * last, a heartbeat's if no other comes. A model that has said everything by
 * then has said it, so this one says 10 MB and waits for ever: it was cut
 * before.
 */
Test(completions_stack, a_reader_that_does_not_read_is_cut_and_billed)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_CLIENT_BUFFER=65536",
		"CHAT_REPLY_MAX_BYTES=16000000", "CHAT_HEARTBEAT_SECONDS=1",
		"CHAT_MAX_TOKENS_PER_DAY=100000000"},
	    .has_model = true};
	struct person p;
	int fd;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	fd = ask_without_reading(
	    &p, STREAM("[[text=15000000 chunk=4000 gate=2500]] x"));
	cr_assert(wait_until(has_begun, p.user_id, 30000));
	open_gate();
	expect_balance(p.user_id, 1);
	cr_expect_gt(number_of(COMPLETION, p.user_id), 1000);
	cr_expect_leq(number_of(COMPLETION, p.user_id), 10000000 / 4, "%ld",
	    (long)number_of(COMPLETION, p.user_id));
	close(fd);
}

static void
begin_stores(void)
{
	stores_start(&stores, NULL);
	stack_start(&stack, &plain);
}

static redisContext *
redis_of_stores(void)
{
	redisContext *c =
	    redisConnectUnix(stores.redis.url + strlen("unix://"));

	cr_assert(c != NULL && c->err == 0);
	return c;
}

/* Looks into Redis while the reply runs: how much there is, and no word. */
static void
look_for_words(void *arg, int n)
{
	redisContext *c;
	redisReply *keys, *log;

	stack_model_open(&stack);
	if (n != 20)
		return;
	c = redis_of_stores();
	keys = redisCommand(c, "KEYS reply:*");
	cr_assert(keys->type == REDIS_REPLY_ARRAY && keys->elements == 1);
	log = redisCommand(c, "XRANGE %s - +", keys->element[0]->str);
	cr_expect_gt(log->elements, 2);
	for (size_t i = 1; i < log->elements; i++) {
		redisReply *fields = log->element[i]->element[1];

		cr_expect_str_eq(fields->element[0]->str, "t");
		cr_expect_eq(fields->element[1]->len, 0);
	}
	*(size_t *)arg = log->elements;
	freeReplyObject(log);
	freeReplyObject(keys);
	redisFree(c);
}

Test(completions_stack, no_word_of_it_is_in_redis, .init = begin_stores,
    .fini = teardown_all)
{
	struct person p;
	struct answer a;
	size_t looked = 0;
	struct ask ask = {.json = STREAM("[[events=30 gate=1]] x"),
	    .on_event = look_for_words,
	    .arg = &looked};

	person_make(&stack, &p);
	ask_by_pieces(&ask, &p, &a);
	cr_expect_gt(looked, 0);
	cr_expect_not_null(strstr(a.body.p, "[DONE]"));
	answer_clear(&a);
	expect_balance(p.user_id, 1);
}

static bool
is_checkpointed(void *arg)
{
	return number_of("SELECT sum(completion_bytes) FROM"
			 " chat.running_replies WHERE user_id = $1::uuid",
		   arg) > 100;
}

/* Redis goes; what has come is noted in Postgres; then the workers die. */
static void
stop_redis_then_kill(void *arg, int n)
{
	if (n == 10)
		server_stop(&stores.redis, SIGKILL);
	if (n != 60) {
		stack_model_open(&stack);
		return;
	}
	cr_expect(wait_until(is_checkpointed, arg, 60000));
	kill_workers(NULL, 20);
}

Test(completions_stack, without_redis_a_killed_worker_is_billed_all_the_same,
    .init = begin_stores, .fini = teardown_all)
{
	struct person p;
	struct answer a;
	struct ask ask = {.json = STREAM("[[events=400 gate=1]] x"),
	    .on_event = stop_redis_then_kill,
	    .arg = p.user_id};

	person_make(&stack, &p);
	ask_by_pieces(&ask, &p, &a);
	cr_expect_null(strstr(a.body.p, "[DONE]"));
	answer_clear(&a);
	cr_assert(server_start_again(&stores.redis));
	expect_balance(p.user_id, 1);
	cr_expect_geq(number_of(COMPLETION, p.user_id), 25);
}

static void
stop_redis(void *arg, int n)
{
	(void)arg;
	if (n == 10)
		server_stop(&stores.redis, SIGKILL);
	stack_model_open(&stack);
}

Test(completions_stack, it_goes_on_without_redis, .init = begin_stores,
    .fini = teardown_all)
{
	struct person p;
	struct answer a;
	struct ask ask = {
	    .json = STREAM("[[events=120 gate=1]] x"), .on_event = stop_redis};

	person_make(&stack, &p);
	ask_by_pieces(&ask, &p, &a);
	cr_expect(!process_runs(stores.redis.pid));
	cr_expect_not_null(strstr(a.body.p, "[DONE]"));
	cr_expect_eq(seen(&a), 960);
	answer_clear(&a);
	/* And another begins without. */
	call_complete(&stack, &p, ASK("[[events=4]] x", ""), &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	cr_assert(server_start_again(&stores.redis));
	expect_balance(p.user_id, 2);
}

static void
restart_postgres(void *arg, int n)
{
	stack_model_open(&stack);
	if (n != 10)
		return;
	server_stop(&stores.postgres, SIGINT);
	cr_assert(server_start_again(&stores.postgres));
	*(bool *)arg = true;
}

Test(completions_stack, a_restart_of_postgres_loses_no_token,
    .init = begin_stores, .fini = teardown_all)
{
	struct person p;
	struct answer a;
	bool has_restarted = false;
	struct ask ask = {.json = STREAM("[[events=60 gate=1]] x"),
	    .on_event = restart_postgres,
	    .arg = &has_restarted};

	person_make(&stack, &p);
	ask_by_pieces(&ask, &p, &a);
	cr_expect(has_restarted);
	cr_expect_not_null(strstr(a.body.p, "[DONE]"));
	answer_clear(&a);
	expect_balance(p.user_id, 1);
}

Test(completions_stack, without_postgres_nothing_begins, .init = begin_stores,
    .fini = teardown_all)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	server_stop(&stores.postgres, SIGINT);
	call_complete(&stack, &p, ASK("[[events=4]] x", ""), &a);
	cr_expect_eq(a.status, 503, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "error.type"), "server_error");
	cr_expect_not_null(answer_header(&a, "Retry-After"));
	answer_clear(&a);
	cr_assert(server_start_again(&stores.postgres));
}
