/*
 * Budgets as users meet them: through nginx, over two natterd that share
 * Postgres and nothing else, with workers that are killed and a Postgres that
 * goes away; and what the model was really asked for.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "promises.h"
#include "stack.h"
#include "stores.h"
#include "utc_day.h"

#define HOSTS  2
#define CROWD  50
#define PEOPLE 12
#define KILLS  8

static struct stack hosts[HOSTS];
static size_t n_hosts;

/* One stack at a time has the machine. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
}

static void
open_hosts(size_t n, const struct stack_options *o)
{
	utc_day_begin();
	for (size_t i = 0; i < n; i++) {
		stack_start(&hosts[i], o);
		n_hosts++;
	}
}

static void
teardown(void)
{
	for (size_t i = 0; i < n_hosts; i++)
		stack_stop(&hosts[i]);
	n_hosts = 0;
}

TestSuite(budgets_stack, .fini = teardown, .timeout = 300);

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
/* Replies that are not counted once, usage without its reply. */
#define UNCOUNTED                                                 \
	"SELECT count(*) FROM (SELECT m.id FROM chat.messages m"  \
	" WHERE m.user_id = $1::uuid AND m.role = 'assistant') m" \
	" FULL JOIN (SELECT u.id FROM chat.usage_tracking u"      \
	" WHERE u.user_id = $1::uuid) u ON u.id = m.id"           \
	" WHERE m.id IS NULL OR u.id IS NULL"
#define USED                                              \
	"SELECT sum(tokens_used) FROM chat.token_budgets" \
	" WHERE user_id = $1::uuid AND period = 'day'"
#define USAGE                                           \
	"SELECT sum(prompt_tokens + completion_tokens)" \
	" FROM chat.usage_tracking WHERE user_id = $1::uuid AND is_billed"

static bool
has_ended(void *arg)
{
	return number_of(RUNNING, arg) == 0;
}

static void
expect_balance(char *user)
{
	cr_expect(wait_until(has_ended, user, 90000), "replies still run");
	cr_expect_eq(number_of(AMISS, user), 0);
	cr_expect_eq(number_of(RESERVED, user), 0);
	cr_expect_eq(number_of(USED, user), number_of(USAGE, user));
}

/* Sends a body of a post to a conversation. */
static void
post(const struct stack *s, const char *token, const char *conversation,
    const char *json, struct answer *a)
{
	char path[128];
	const struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = path,
	    .token = token,
	    .json = json,
	    .timeout_ms = 90000};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    conversation);
	http_ask(&ask, a);
}

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	const struct stack *host;
	const struct person *person;
	char conversation[40];
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
		post(m->host, m->person->token, m->conversation, m->json,
		    &m->answer);
	while (call_was_late(&m->answer));
	atomic_fetch_add(&n_answered, 1);
	return NULL;
}

/* All at once, over all hosts, each in a conversation of its own. So many are
 * to be refused, and only then the models answer the others. */
static void
crowd(struct member m[static CROWD], const struct person *p, const char *json,
    int refused)
{
	pthread_barrier_t gate;

	pthread_barrier_init(&gate, NULL, CROWD);
	for (size_t i = 0; i < CROWD; i++) {
		m[i] = (struct member){.gate = &gate,
		    .host = &hosts[i % n_hosts],
		    .person = p,
		    .json = json};
		person_converse(m[i].host, p, m[i].conversation);
	}
	for (size_t i = 0; i < CROWD; i++)
		pthread_create(&m[i].thread, NULL, member_run, &m[i]);
	cr_expect(wait_for_count(&n_answered, refused, 45000), "%d of %d",
	    atomic_load(&n_answered), refused);
	for (size_t i = 0; i < n_hosts; i++)
		stack_model_open(&hosts[i]);
	for (size_t i = 0; i < CROWD; i++)
		pthread_join(m[i].thread, NULL);
	pthread_barrier_destroy(&gate);
}

static int
count(struct member m[static CROWD], long status, const char *code)
{
	int n = 0;

	for (size_t i = 0; i < CROWD; i++) {
		const char *fault = NULL;

		if (m[i].answer.status != status)
			continue;
		if (code != NULL)
			fault = refusal_fault(&m[i].answer, status, code, NULL);
		cr_expect_null(fault, "%s", fault);
		if (status == 429)
			cr_expect_gt(
			    strtol(answer_header(&m[i].answer, "Retry-After"),
				NULL, 10),
			    0);
		n++;
	}
	return n;
}

static void
clear(struct member m[static CROWD])
{
	for (size_t i = 0; i < CROWD; i++)
		answer_clear(&m[i].answer);
}

/*
 * The system prompt has 28 bytes and the question 32: 15 tokens. The model
 * keeps silent until everybody has asked.
 */
#define SLOW     "[[gate=2 events=2]]"
#define TOKEN(n) "{\"content\":\"" SLOW ".............\",\"stream\":true" n "}"

Test(budgets_stack, of_fifty_turns_over_two_hosts_ten_fit)
{
	static struct member m[CROWD];
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", "CHAT_MAX_TOKENS_PER_DAY=10000",
		"CHAT_RESPONSE_TIMEOUT=60000"},
	    .has_model = true};
	struct person p;

	open_hosts(HOSTS, &o);
	person_make(&hosts[0], &p);
	crowd(m, &p, TOKEN(",\"max_tokens\":985"), CROWD - 10);
	cr_expect_eq(count(m, 200, NULL), 10);
	cr_expect_eq(count(m, 429, "quota_exceeded"), CROWD - 10);
	expect_balance(p.user_id);
	cr_expect_eq(number_of(UNCOUNTED, p.user_id), 0);
	clear(m);
}

Test(budgets_stack, of_fifty_turns_over_two_hosts_three_run_at_once)
{
	static struct member m[CROWD];
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", "CHAT_STREAMS_PER_USER=3",
		"CHAT_RESPONSE_TIMEOUT=60000"},
	    .has_model = true};
	struct person p;

	open_hosts(HOSTS, &o);
	person_make(&hosts[0], &p);
	crowd(m, &p, TOKEN(""), CROWD - 3);
	cr_expect_eq(count(m, 200, NULL), 3);
	cr_expect_eq(count(m, 429, "rate_limited"), CROWD - 3);
	expect_balance(p.user_id);
	clear(m);
}

/* What the model was asked for last. */
static long
asked_for(const char *member)
{
	const struct ask ask = {.base = hosts[0].model, .path = "/_last"};
	struct answer a;
	long n;

	http_ask(&ask, &a);
	n = strtol(answer_text(&a, member), NULL, 10);
	answer_clear(&a);
	return n;
}

static void
limit_tokens(const char *user, const char *value)
{
	char sql[512];
	char none[8];

	snprintf(sql, sizeof(sql),
	    "INSERT INTO auth.limits (id, user_id, name, value) VALUES"
	    " (natter.uuid_v7(), $1::uuid, 'tokens_per_day', %s)"
	    " ON CONFLICT ON CONSTRAINT limits_subject_key DO UPDATE"
	    " SET value = EXCLUDED.value RETURNING 1",
	    value);
	db_value(sql, user, none, sizeof(none));
}

Test(budgets_stack, the_model_is_asked_for_what_was_reserved)
{
	static const struct {
		const char *json; /* its prompt: 16 tokens */
		long status;
		long cap;
	} rows[] = {
	    {"{\"content\":\"[[text=40 nousage=1]]............\","
	     "\"max_tokens\":1,\"max_completion_tokens\":100000}",
		201, 984},
	    {"{\"content\":\"[[text=40 nousage=1]]............\","
	     "\"max_tokens\":30,\"max_completion_tokens\":20}",
		201, 30},
	    {"{\"content\":\"x\",\"max_tokens\":0}", 422, 0},
	    {"{\"content\":\"x\",\"max_tokens\":1000001}", 422, 0},
	    {"{\"content\":\"x\",\"max_tokens\":\"9\"}", 422, 0},
	    {"{\"content\":\"x\",\"max_completion_tokens\":1.5}", 422, 0},
	};
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1",
		"CHAT_MODEL_TOKENS_FIELD=max_completion_tokens"},
	    .has_model = true};
	struct person p;

	open_hosts(1, &o);
	person_make(&hosts[0], &p);
	limit_tokens(p.user_id, "1000");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char conversation[40];
		struct answer a;

		person_converse(&hosts[0], &p, conversation);
		post(&hosts[0], p.token, conversation, rows[i].json, &a);
		cr_expect_eq(a.status, rows[i].status, "%zu: %s", i, a.body.p);
		if (rows[i].cap > 0)
			cr_expect_eq(asked_for("body.max_completion_tokens"),
			    rows[i].cap);
		answer_clear(&a);
	}
	expect_balance(p.user_id);
	/* Two questions and 40 bytes for each. */
	cr_expect_eq(number_of(USED, p.user_id), 52);
	/* What overrides holds at once. */
	limit_tokens(p.user_id, "60");
	struct answer a;
	post(&hosts[0], p.token, p.conversation, "{\"content\":\"x\"}", &a);
	const char *fault = refusal_fault(&a, 429, "quota_exceeded", NULL);
	cr_expect_null(fault, "%s", fault);
	answer_clear(&a);
}

/* Deletes the conversation after the first words. */
struct eraser {
	struct person *person;
	bool has_erased;
};

static void
erase(void *arg, int n)
{
	struct eraser *e = arg;
	char path[128];
	struct answer a;
	const struct ask ask = {.method = "DELETE",
	    .base = hosts[0].base,
	    .path = path,
	    .token = e->person->token};

	stack_model_open(&hosts[0]); /* for the next piece */
	if (n < 3 || e->has_erased)
		return;
	e->has_erased = true;
	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    e->person->conversation);
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 204);
	answer_clear(&a);
	/* The model goes on, so its place and its tokens are taken. */
	cr_expect_eq(number_of(RUNNING, e->person->user_id), 1);
	cr_expect_gt(number_of(RESERVED, e->person->user_id), 0);
	for (int i = 0; i < 40; i++)
		stack_model_open(&hosts[0]);
}

static bool
is_used(void *arg)
{
	return number_of(USAGE, arg) > 0;
}

Test(budgets_stack, what_was_streamed_counts_when_nobody_wants_it_any_more)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_MAX_TOKENS_PER_DAY=5000"},
	    .has_model = true};
	struct person p;
	struct answer a;
	char path[128];
	struct eraser eraser = {.person = &p};
	struct ask ask = {.method = "POST",
	    .base = hosts[0].base,
	    .path = path,
	    .json = "{\"content\":\"[[events=40 gate=1 nousage=1]] Hello\","
		    "\"stream\":true}",
	    .on_event = erase,
	    .arg = &eraser};

	open_hosts(1, &o);
	person_make(&hosts[0], &p);
	ask.token = p.token;
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	http_ask(&ask, &a);
	cr_expect(eraser.has_erased);
	answer_clear(&a);
	cr_expect(wait_until(is_used, p.user_id, 30000));
	expect_balance(p.user_id);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.messages"
			       " WHERE user_id = $1::uuid",
			 p.user_id),
	    0);
}

/* A reply that begins before and ends while Postgres is away. */
static struct stores stores;

static void
begin_stores(void)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=2", "CHAT_MAX_TOKENS_PER_DAY=5000"},
	    .has_model = true};

	stores_start(&stores, NULL);
	open_hosts(1, &o);
}

static void
end_stores(void)
{
	teardown();
	stores_stop(&stores);
}

static void
restart_postgres(void *arg, int n)
{
	bool *has_restarted = arg;

	stack_model_open(&hosts[0]); /* for the next piece */
	if (n < 3 || *has_restarted)
		return;
	*has_restarted = true;
	server_stop(&stores.postgres, SIGINT);
	cr_assert(server_start_again(&stores.postgres));
}

Test(budgets_stack, a_restart_of_postgres_loses_no_token, .init = begin_stores,
    .fini = end_stores)
{
	struct person p;
	struct answer a;
	char path[128];
	bool has_restarted = false;
	struct ask ask = {.method = "POST",
	    .base = hosts[0].base,
	    .path = path,
	    .json = "{\"content\":\"[[events=20 gate=1]] Hello\","
		    "\"stream\":true}",
	    .on_event = restart_postgres,
	    .arg = &has_restarted,
	    .timeout_ms = 90000};

	person_make(&hosts[0], &p);
	ask.token = p.token;
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	http_ask(&ask, &a);
	cr_expect(has_restarted);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	expect_balance(p.user_id);
	cr_expect_eq(number_of(UNCOUNTED, p.user_id), 0);
	cr_expect_gt(number_of(USED, p.user_id), 0);
}

/* Streams until told to stop, whatever becomes of them. */
struct talker {
	pthread_t thread;
	struct person person;
	unsigned seed;
};

static _Atomic bool is_over;

static void *
talk(void *arg)
{
	struct talker *t = arg;

	while (!atomic_load(&is_over)) {
		char conversation[40], json[160];
		struct answer a;
		const struct ask ask = {.method = "POST",
		    .base = hosts[0].base,
		    .path = "/api/v1/conversations",
		    .token = t->person.token,
		    .json = "{}"};

		http_ask(&ask, &a);
		snprintf(conversation, sizeof(conversation), "%s",
		    a.status == 201 ? answer_text(&a, "id")
				    : t->person.conversation);
		answer_clear(&a);
		snprintf(json, sizeof(json),
		    "{\"content\":\"[[events=%d gap=20%s]] Hello\","
		    "\"stream\":true,\"max_tokens\":100}",
		    rand_r(&t->seed) % 60,
		    rand_r(&t->seed) % 2 ? " nousage=1" : "");
		post(&hosts[0], t->person.token, conversation, json, &a);
		answer_clear(&a);
	}
	return NULL;
}

Test(budgets_stack, workers_that_are_killed_leave_a_ledger_that_balances)
{
	static struct talker talkers[PEOPLE];
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=4", "CHAT_MAX_TOKENS_PER_DAY=1000000",
		"CHAT_STREAMS_PER_USER=2"},
	    .has_model = true};
	unsigned seed = 5;

	open_hosts(1, &o);
	for (unsigned i = 0; i < PEOPLE; i++) {
		person_make(&hosts[0], &talkers[i].person);
		talkers[i].seed = i + 1;
	}
	for (int i = 0; i < PEOPLE; i++)
		pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]);
	for (int i = 0; i < KILLS; i++) {
		pid_t workers[16];
		size_t n;

		usleep(400000);
		n = stack_workers(&hosts[0], workers, 16);
		if (n > 0)
			kill(workers[(size_t)rand_r(&seed) % n], SIGKILL);
		for (int k = 0; k < PEOPLE; k++)
			cr_expect_eq(
			    number_of(AMISS, talkers[k].person.user_id), 0);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < PEOPLE; i++)
		pthread_join(talkers[i].thread, NULL);
	for (int i = 0; i < PEOPLE; i++) {
		expect_balance(talkers[i].person.user_id);
		cr_expect_eq(
		    number_of(UNCOUNTED, talkers[i].person.user_id), 0);
	}
}
