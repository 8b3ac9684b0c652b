/*
 * What is billed is what the model was asked for, in whatever way a reply ends:
 * its worker killed in any round of its tools, cancelled there, drained; and
 * what follows replies, whatever comes of it. The stand-in sums up the usage
 * that it has told; what it did not live to tell is estimated.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <libpq-fe.h>

#include "follow_call.h"
#include "prices.h"
#include "stack.h"
#include "store/redis.h"
#include "table_hold.h"
#include "utc_day.h"

/* A reply of so many rounds with tools, and a last answer. */
#define ROUNDS 3

static struct stack stack;
static struct person person;

/* One stack at a time has the machine. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
}

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(bills, .init = utc_day_begin, .fini = teardown, .timeout = 300);

static void
start(const char *setting, const char *other)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_TOOLS=on",
		"CHAT_MODEL_RETRIES=0", "CHAT_STREAMS_PER_USER=100",
		"CHAT_RATE_LIMIT_PER_MINUTE=0", "CHAT_RATE_LIMIT_PER_DAY=0",
		"CHAT_MAX_TOKENS_PER_DAY=10000000",
		"CHAT_RESPONSE_TIMEOUT=60000", setting, other}};

	stack_start(&stack, &o);
	person_make(&stack, &person);
}

static long
number_of(const char *sql, const char *param)
{
	char text[64];

	db_value(sql, param, text, sizeof(text));
	return strtol(text, NULL, 10);
}

static long
own(const char *sql)
{
	return number_of(sql, person.user_id);
}

static bool
has_asked(void *n)
{
	return stack_model_count(&stack, "chat_requests") >= *(long *)n;
}

static void
await_requests(long n)
{
	cr_assert(wait_until(has_asked, &n, 60000), "%ld of %ld requests",
	    stack_model_count(&stack, "chat_requests"), n);
}

static bool
has_ended(void *arg)
{
	(void)arg;
	return own("SELECT count(*) FROM chat.running_replies"
		   " WHERE user_id = $1::uuid") == 0;
}

#define USED(what)                                     \
	"SELECT coalesce(sum(" what "), 0) FROM chat." \
	"usage_tracking WHERE user_id = $1::uuid AND is_billed"

/* Nothing runs; the budgets are the sums of the usage, to which each reply has
 * come once. */
static void
expect_balance(void)
{
	cr_assert(wait_until(has_ended, NULL, 90000), "replies still run");
	cr_expect_eq(own("SELECT count(*) FROM chat.budgets_amiss("
			 "date_trunc('month', now() AT TIME ZONE 'UTC'"
			 " - interval '1 day')::date) a"
			 " WHERE a.user_id = $1::uuid"),
	    0);
	cr_expect_eq(own("SELECT sum(tokens_reserved) + sum(cost_reserved)"
			 " FROM chat.token_budgets WHERE user_id = $1::uuid"),
	    0);
	cr_expect_eq(own("SELECT sum(tokens_used) FROM chat.token_budgets"
			 " WHERE user_id = $1::uuid AND period = 'day'"),
	    own(USED("prompt_tokens + completion_tokens")));
	cr_expect_eq(own("SELECT count(*) FROM chat.messages m LEFT JOIN"
			 " chat.usage_tracking u ON u.user_id = m.user_id"
			 " AND u.id = m.id WHERE m.user_id = $1::uuid"
			 " AND m.role = 'assistant' AND u.id IS NULL"),
	    0);
}

/* A reply that is stuck, and what its row knew of it. */
struct stuck {
	struct call call;
	char id[40];
	long prompt;                           /* of the answer that is stuck */
	long rounds_prompt, rounds_completion; /* of those before */
	long text_bytes;
};

static void
begin(struct stuck *s, const char *content)
{
	struct person p = person;

	person_converse(&stack, &person, p.conversation);
	call_say(&s->call, &stack, &p, content, 0);
	reply_id(&p, s->id);
}

static long
row_number(const char *id, const char *column)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
	    "SELECT %s FROM chat.running_replies WHERE message_id = $1::uuid",
	    column);
	return number_of(sql, id);
}

static void
look(struct stuck *s)
{
	s->prompt = row_number(s->id, "prompt_tokens");
	s->rounds_prompt = row_number(s->id, "rounds_prompt_tokens");
	s->rounds_completion = row_number(s->id, "rounds_completion_tokens");
	s->text_bytes = row_number(s->id, "rounds_text_bytes");
}

static long
stored_number(const char *id, const char *expression)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
	    "SELECT %s FROM chat.messages m JOIN chat.usage_tracking u"
	    " ON u.user_id = m.user_id AND u.id = m.id WHERE m.id = $1::uuid",
	    expression);
	return number_of(sql, id);
}

/* Tokens of the text that came after those rounds. */
static long
rest_of(const struct stuck *s)
{
	long n = stored_number(s->id, "octet_length(m.content)");

	return n > s->text_bytes ? (n - s->text_bytes + 3) / 4 : 0;
}

/* It was billed by what its row knew, and the text that was seen. */
static void
expect_recovered(const struct stuck *s)
{
	cr_expect_eq(stored_number(s->id, "(m.status = 'interrupted')::int"), 1,
	    "%s", s->id);
	cr_expect_eq(
	    stored_number(s->id, "(u.is_estimated AND u.is_billed)::int"), 1);
	cr_expect_eq(stored_number(s->id, "u.prompt_tokens"),
	    s->rounds_prompt + s->prompt);
	cr_expect_eq(stored_number(s->id, "u.completion_tokens"),
	    s->rounds_completion + rest_of(s));
	cr_expect_eq(stored_number(s->id, "m.token_count"),
	    s->rounds_completion + rest_of(s));
}

static void
kill_worker(void)
{
	pid_t pids[8];
	size_t n = stack_workers(&stack, pids, 8);

	cr_assert_eq(n, 1);
	kill(pids[0], SIGKILL);
}

/* How an answer gets stuck: before its first token, within its text, within
 * what it calls. */
static const char *const faults[] = {"hang=1", "stall=2", "stall=5"};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

/* Bytes of text of the i-th: 40 of each answer, of the one that is stuck the
 * whole characters. There is a little more, between them. */
static size_t
text_until(size_t i)
{
	static const size_t stuck[FAULTS] = {0, 18, 40};

	return 40 * (i / FAULTS) + stuck[i % FAULTS];
}

/* Replies stuck in each of their answers, in each way, then the kill. */
static void
kill_in_answers(void (*before)(void))
{
	static struct stuck s[(ROUNDS + 1) * FAULTS];
	const size_t n = sizeof(s) / sizeof(s[0]);
	long requests = 0, prompt = 0, completion = 0, estimates = 0;
	char content[128];

	for (size_t i = 0; i < n; i++) {
		size_t round = i / FAULTS;

		snprintf(content, sizeof(content),
		    "[[tool=list_tasks rounds=%d text=40 chunk=10 later=%zu "
		    "%s]] go",
		    ROUNDS, round, faults[i % FAULTS]);
		begin(&s[i], content);
		requests += (long)round + 1;
	}
	await_requests(requests);
	for (size_t i = 0; i < n; i++) {
		call_await_text(&s[i].call, text_until(i));
		look(&s[i]);
		cr_expect_gt(s[i].prompt, 0, "%zu", i);
		prompt += s[i].rounds_prompt;
		completion += s[i].rounds_completion;
		estimates += s[i].prompt;
	}
	cr_expect_eq(prompt, stack_model_count(&stack, "prompt_tokens"));
	cr_expect_eq(
	    completion, stack_model_count(&stack, "completion_tokens"));
	cr_expect_gt(completion, 0);
	before();
	kill_worker();
	cr_assert(wait_until(has_ended, NULL, 90000));
	for (size_t i = 0; i < n; i++) {
		expect_recovered(&s[i]);
		call_clear(&s[i].call);
	}
	cr_expect_eq(own(USED("prompt_tokens")),
	    stack_model_count(&stack, "prompt_tokens") + estimates);
	expect_balance();
}

static void
nothing(void)
{
}

Test(bills, a_worker_killed_in_any_answer)
{
	start(NULL, NULL);
	kill_in_answers(nothing);
}

static void
flush(void)
{
	struct redis *r = redis_new(getenv("REDIS_URL"), 5000);
	const char *words[] = {"FLUSHALL"};
	redisReply *reply = NULL;

	cr_assert_eq(redis_command(r, 1, words, NULL, &reply), OK);
	freeReplyObject(reply);
	redis_free(r);
}

/* Then nobody knows the text, but what the rounds took. */
Test(bills, a_worker_killed_after_redis_forgot)
{
	start(NULL, NULL);
	kill_in_answers(flush);
}

/* A tool waits for its row in the log: the answer that calls is whole then, and
 * no other is asked for. */
static void
kill_in_tool(int round)
{
	char content[128], table[] = "chat.task_operation_logs";
	struct stuck s;
	PGconn *held;

	stack_model_reset(&stack);
	snprintf(content, sizeof(content),
	    "[[tool=list_tasks rounds=%d text=40 chunk=10 later=%d "
	    "gate=100]] go",
	    ROUNDS, round);
	begin(&s, content);
	await_requests(round + 1);
	held = table_hold(table);
	stack_model_open(&stack);
	cr_assert(wait_until(table_is_awaited, table, 30000));
	look(&s);
	kill_worker();
	table_let(held);
	cr_assert(wait_until(has_ended, NULL, 90000));
	cr_expect_eq(s.prompt, 0);
	expect_recovered(&s);
	/* Nothing of it is an estimate. */
	cr_expect_eq(stored_number(s.id, "u.prompt_tokens"),
	    stack_model_count(&stack, "prompt_tokens"));
	cr_expect_eq(stored_number(s.id, "u.completion_tokens"),
	    stack_model_count(&stack, "completion_tokens"));
	call_clear(&s.call);
}

Test(bills, a_worker_killed_while_a_tool_runs)
{
	start(NULL, NULL);
	for (int round = 0; round < ROUNDS; round++)
		kill_in_tool(round);
	expect_balance();
}

/* The second answer of one that calls tools in two: 60 bytes have come then. */
#define IN_ROUND_2 \
	"[[tool=list_tasks rounds=2 text=40 chunk=10 later=1 stall=2]] go"

/* It took what the first answer said, and of the second what came. */
static void
expect_partly(const struct stuck *s, const char *status)
{
	char is_status[64];

	cr_assert(wait_until(has_ended, NULL, 90000));
	snprintf(
	    is_status, sizeof(is_status), "(m.status = '%s')::int", status);
	cr_expect_eq(stored_number(s->id, is_status), 1);
	cr_expect_eq(
	    s->rounds_prompt, stack_model_count(&stack, "prompt_tokens"));
	cr_expect_eq(stored_number(s->id, "u.prompt_tokens"),
	    s->rounds_prompt + s->prompt);
	cr_expect_eq(stored_number(s->id, "u.completion_tokens"),
	    s->rounds_completion + rest_of(s));
	expect_balance();
}

Test(bills, cancelled_in_a_later_round)
{
	struct stuck s;
	struct answer a;
	char path[96];

	start(NULL, NULL);
	begin(&s, IN_ROUND_2);
	await_requests(2);
	call_await_text(&s.call, 60);
	look(&s);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/cancel", s.id);
	http_ask(&(struct ask){.method = "POST",
		     .base = stack.base,
		     .path = path,
		     .token = person.token},
	    &a);
	cr_expect_eq(a.status, 202);
	answer_clear(&a);
	expect_partly(&s, "cancelled");
	call_clear(&s.call);
}

Test(bills, drained_in_a_later_round)
{
	struct stuck s;

	start("CHAT_DRAIN_SECONDS=1", NULL);
	begin(&s, IN_ROUND_2);
	await_requests(2);
	call_await_text(&s.call, 60);
	look(&s);
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	expect_partly(&s, "interrupted");
	call_clear(&s.call);
}

/* What follows a reply: its usage, but for the reply's own. */
#define AFTER(what)                                             \
	"SELECT coalesce(sum(" what "), 0) FROM chat."          \
	"usage_tracking WHERE user_id = $1::uuid AND is_billed" \
	" AND message_id IS NULL AND conversation_id IS NOT NULL"

static void
say(const char *content)
{
	struct answer a;

	person_converse(&stack, &person, person.conversation);
	db_value("UPDATE chat.conversations SET title = '' WHERE id = $1::uuid"
		 " RETURNING id",
	    person.conversation, (char[64]){0}, 64);
	person_say(&stack, &person, content, &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

static bool
has_followed(void *n)
{
	return own(AFTER("1")) >= *(long *)n;
}

static bool
has_metric(void *line)
{
	struct ask ask = {.base = stack.base, .path = "/metrics"};
	struct answer a;
	bool has;

	http_ask(&ask, &a);
	has = strstr(a.body.p, line) != NULL;
	answer_clear(&a);
	return has;
}

#define TITLE(script) "[[only=title-model " script "]][[only=test-model]] hi"

/* Titles that come to nothing, and whether the model said what they took. */
Test(bills, what_came_to_nothing_is_billed_as_its_server_says)
{
	static const struct {
		const char *content;
		bool is_billed;
		bool is_estimated;
	} rows[] = {
	    /* No text, or none that is a title, but usage. */
	    {TITLE("text=0"), true, false},
	    {TITLE("refusal=1 text=0"), true, false},
	    /* It breaks off, having said what it took so far, or not. */
	    {TITLE("meter=1 cut=2"), true, false},
	    {TITLE("meter=1 midstream_error=2"), true, false},
	    {TITLE("text=400 chunk=10 cut=9"), true, true},
	    /* A model that failed without a word. */
	    {TITLE("status=500"), false, false},
	    {TITLE("drop=1"), false, false},
	    {TITLE("garbage=1"), false, false},
	};
	long n = 0, failed = 0;
	char line[80];

	start("CHAT_TITLES=on", "CHAT_TITLE_MODEL=title-model");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char model[64];

		say(rows[i].content);
		if (!rows[i].is_billed) {
			snprintf(line, sizeof(line),
			    "natter_afterwork_total{outcome=\"failed\"} %ld",
			    ++failed + 3);
			cr_assert(
			    wait_until(has_metric, line, 30000), "%s", line);
			continue;
		}
		n++;
		cr_assert(wait_until(has_followed, &n, 30000), "row %zu", i);
		cr_expect_eq(own(AFTER("is_estimated::int")),
		    rows[i].is_estimated ? 1 : 0, "row %zu", i);
		db_value("SELECT model || (prompt_tokens > 0)::text FROM"
			 " chat.usage_tracking WHERE user_id = $1::uuid"
			 " AND message_id IS NULL ORDER BY id DESC LIMIT 1",
		    person.user_id, model, sizeof(model));
		cr_expect_str_eq(model, "title-modeltrue", "row %zu", i);
	}
	cr_expect_eq(own(AFTER("1")), n);
	expect_balance();
}

/* A stop drops what is asked; what has come of it is billed all the same. */
Test(bills, what_a_stop_drops_is_billed_as_far_as_it_came)
{
	long two = 2, one = 1;

	start("CHAT_TITLES=on", "CHAT_TITLE_MODEL=title-model");
	say(TITLE("meter=1 text=400 chunk=10 stall=9"));
	await_requests(two);
	cr_assert(wait_until(stack_model_is_heard, &stack, 60000));
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	cr_expect(wait_until(has_followed, &one, 10000));
	/* Of some 90 bytes. */
	cr_expect_geq(own(AFTER("completion_tokens")), 20);
	cr_expect_leq(own(AFTER("completion_tokens")), 23);
	cr_expect_eq(own(AFTER("is_estimated::int")), 0);
	expect_balance();
}

/* Everything at once. */
#define CROWD 24

static const struct {
	const char *path; /* NULL: a message of a new conversation */
	const char *json;
} kinds[] = {
    {NULL, "{\"content\":\"hello\",\"stream\":true}"},
    {NULL, "{\"content\":\"[[tool=list_tasks rounds=2]] what is to do\"}"},
    {NULL, "{\"content\":\"[[tool=create_task args={\\\"title\\\":\\\"x\\\"} "
	   "calls=3 text=30]] do\",\"stream\":true}"},
    {"/openai/v1/chat/completions",
	"{\"model\":\"test-model\",\"messages\":[{\"role\":\"user\","
	"\"content\":\"hi\"}]}"},
    {"/openai/v1/chat/completions",
	"{\"model\":\"test-model\",\"stream\":true,\"store\":true,\"tools\":["
	"{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"messages\":["
	"{\"role\":\"user\",\"content\":\"[[tool=f text=20]] hi\"}]}"},
    {"/openai/v1/chat/completions",
	"{\"model\":\"test-model\",\"tools\":[{\"type\":\"function\","
	"\"function\":{\"name\":\"f\"}}],\"messages\":[{\"role\":\"user\","
	"\"content\":\"[[tool=f args={\\\"a\\\":1} calls=2]] hi\"}]}"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct member {
	pthread_t thread;
	size_t kind;
	char path[128];
	long status;
};

static void *
member_run(void *arg)
{
	struct member *m = arg;
	const struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = m->path,
	    .token = person.token,
	    .json = kinds[m->kind].json,
	    .timeout_ms = 90000};
	struct answer a;

	http_ask(&ask, &a);
	m->status = a.status;
	if (a.status / 100 != 2)
		fprintf(stderr, "%zu: %ld %s\n", m->kind, a.status, a.body.p);
	answer_clear(&a);
	return NULL;
}

static bool
is_all_billed(void *arg)
{
	(void)arg;
	return own(USED("prompt_tokens")) ==
		   stack_model_count(&stack, "prompt_tokens") &&
	       own(USED("completion_tokens")) ==
		   stack_model_count(&stack, "completion_tokens");
}

static void
crowd(void)
{
	static struct member m[CROWD];

	for (size_t i = 0; i < CROWD; i++) {
		char id[40];

		m[i] = (struct member){.kind = i % KINDS};
		snprintf(m[i].path, sizeof(m[i].path), "%s",
		    kinds[i % KINDS].path ? kinds[i % KINDS].path : "");
		if (m[i].path[0] != '\0')
			continue;
		person_converse(&stack, &person, id);
		snprintf(m[i].path, sizeof(m[i].path),
		    "/api/v1/conversations/%s/messages", id);
	}
	db_value("WITH u AS (UPDATE chat.conversations SET title = ''"
		 " WHERE user_id = $1::uuid RETURNING id)"
		 " SELECT count(*) FROM u",
	    person.user_id, (char[64]){0}, 64);
	for (size_t i = 0; i < CROWD; i++)
		pthread_create(&m[i].thread, NULL, member_run, &m[i]);
	for (size_t i = 0; i < CROWD; i++) {
		pthread_join(m[i].thread, NULL);
		cr_expect_eq(m[i].status / 100, 2);
	}
}

/* A conversation that outgrows the model's window, and is summed up. */
static void
talk_long(void)
{
	struct answer a;

	person_converse(&stack, &person, person.conversation);
	for (int i = 0; i < 10; i++) {
		person_say(&stack, &person, "[[text=1200]] tell me more", &a);
		cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
	}
}

Test(bills, what_is_billed_is_what_the_model_told)
{
	static const struct {
		const char *sql;
		long least;
	} seen[] = {
	    {AFTER("1"), 4},
	    {"SELECT count(*) FROM chat.context_summaries"
	     " WHERE user_id = $1::uuid",
		1},
	    {"SELECT count(*) FROM chat.tasks WHERE user_id = $1::uuid", 3},
	    {"SELECT count(*) FROM chat.usage_tracking"
	     " WHERE user_id = $1::uuid AND conversation_id IS NULL",
		4},
	};

	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_TOOLS=on",
		"CHAT_STREAMS_PER_USER=100", "CHAT_RATE_LIMIT_PER_MINUTE=0",
		"CHAT_RATE_LIMIT_PER_DAY=0", "CHAT_TITLES=on",
		"CHAT_SUMMARY=on", "CHAT_MODEL_WINDOW=3000",
		"CHAT_MAX_TOKENS_PER_DAY=10000000"}};

	stack_start(&stack, &o);
	person_make(&stack, &person);
	stack_model_reset(&stack);
	crowd();
	talk_long();
	cr_expect(wait_until(is_all_billed, NULL, 60000),
	    "billed %ld and %ld, told %ld and %ld", own(USED("prompt_tokens")),
	    own(USED("completion_tokens")),
	    stack_model_count(&stack, "prompt_tokens"),
	    stack_model_count(&stack, "completion_tokens"));
	cr_expect_eq(own(USED("is_estimated::int")), 0);
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
		cr_expect_geq(own(seen[i].sql), seen[i].least, "%zu: %ld", i,
		    own(seen[i].sql));
	expect_balance();
}

static void
forget_prices(void)
{
	prices_forget("bill-");
}

/*
 * Each takes a hundredth of a cent with the model asked for, and more than a
 * cent with the one that stands in: of twenty at once only those have the
 * latter that the ten cents pay for.
 */
Test(bills, who_stands_in_overdraws_nothing, .fini = forget_prices)
{
	static struct call calls[20];
	static struct person people[20]; /* one, in so many conversations */
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_MODEL=bill-cheap",
		"CHAT_FALLBACK_MODELS=bill-dear", "CHAT_MODEL_RETRIES=0",
		"CHAT_STREAMS_PER_USER=100", "CHAT_RATE_LIMIT_PER_MINUTE=0",
		"CHAT_REPLY_MAX_TOKENS=100", "CHAT_MAX_TOKENS_PER_DAY=0",
		"CHAT_TOOLS=off", "CHAT_MAX_COST_PER_DAY=10"}};
	size_t n = sizeof(calls) / sizeof(calls[0]);
	long dear;

	price_set("bill-cheap", "1");
	price_set("bill-dear", "100");
	stack_start(&stack, &o);
	person_make(&stack, &person);
	for (size_t i = 0; i < n; i++) {
		people[i] = person;
		person_converse(&stack, &person, people[i].conversation);
		call_say(&calls[i], &stack, &people[i],
		    "[[only=bill-cheap status=500 first=3000]]"
		    "[[only=bill-dear text=400]] hi",
		    0);
	}
	for (size_t i = 0; i < n; i++) {
		(void)call_join(&calls[i]);
		call_clear(&calls[i]);
	}
	dear = own("SELECT count(*) FROM chat.usage_tracking"
		   " WHERE user_id = $1::uuid AND model = 'bill-dear'");
	cr_expect_gt(dear, 3, "%ld", dear);
	cr_expect_lt(dear, (long)n);
	cr_expect_eq(own("SELECT count(*) FROM chat.token_budgets"
			 " WHERE user_id = $1::uuid AND cost_used > 0.1"),
	    0);
	expect_balance();
}
