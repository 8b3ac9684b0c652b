/*
 * Workers killed, stopped and left by their clients at every event of a reply.
 * Whoever read can tell, reads on elsewhere, and gets the rest; what is stored
 * begins with what was seen, byte for byte; and each reply is billed once.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "crowd.h"
#include "reply_check.h"
#include "stack.h"

#define EVENTS  12
#define CLIENTS 12
#define ROUNDS  4
#define MANY    500

static struct stack stack, other;
static bool has_other;

static void
teardown(void)
{
	stack_stop(&stack);
	if (has_other)
		stack_stop(&other);
}

TestSuite(recovery, .fini = teardown, .timeout = 240);

/* Two hosts: replies are asked for at one, and read again at the other. */
static void
start(const char *workers)
{
	const struct stack_options here = {.has_model = true,
	    .settings = {workers, "CHAT_MAX_TOKENS_PER_DAY=1000000",
		"CHAT_STREAMS_PER_USER=0", "CHAT_HASH_MEMORY=8"}};
	const struct stack_options there = {.settings = {"CHAT_WORKERS=1"}};

	stack_start(&stack, &here);
	stack_start(&other, &there);
	has_other = true;
}

static void
pause_ms(int ms)
{
	struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

struct client {
	pthread_t thread;
	struct person person;
	char json[128];
	int hang_up_after;
	struct answer answer;
	_Atomic int events, text;
	int wanted;      /* of them */
	int wanted_text; /* and bytes of text */
	char message[40];
};

static void
event_came(void *arg, int n)
{
	struct client *c = arg;

	atomic_store(&c->text, (int)c->answer.text.n);
	atomic_store(&c->events, n);
}

static void *
client_run(void *arg)
{
	struct client *c = arg;
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = c->json,
	    .token = c->person.token,
	    .timeout_ms = 120000,
	    .hang_up_after = c->hang_up_after,
	    .on_event = event_came,
	    .arg = c};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    c->person.conversation);
	http_ask(&ask, &c->answer);
	return NULL;
}

static void
client_start(struct client *c, const char *directives)
{
	snprintf(c->json, sizeof(c->json),
	    "{\"content\":\"[[%s]] go\",\"stream\":true}", directives);
	person_make(&stack, &c->person);
	pthread_create(&c->thread, NULL, client_run, c);
}

/* Is its reply there, and has the client come as far as it should? */
static bool
has_come(void *arg)
{
	struct client *c = arg;

	if (c->message[0] == '\0')
		db_value("SELECT id FROM chat.messages WHERE user_id = $1"
			 " AND role = 'assistant' ORDER BY id DESC LIMIT 1",
		    c->person.user_id, c->message, sizeof(c->message));
	return c->message[0] != '\0' && atomic_load(&c->events) >= c->wanted &&
	       atomic_load(&c->text) >= c->wanted_text;
}

/* The id of the last event that has one; "" for none. */
static const char *
last_id(const struct answer *a)
{
	const char *id = "";

	for (size_t i = 0; i < a->n_events; i++)
		if (a->events[i].id[0] != '\0')
			id = a->events[i].id;
	return id;
}

/* Reads on where the client was cut, at the other host. */
static void
read_on(const struct client *c, struct answer *out)
{
	char path[96], header[96];
	struct ask ask = {.base = other.base,
	    .path = path,
	    .token = c->person.token,
	    .timeout_ms = 90000,
	    .headers = {"Accept: text/event-stream", header}};

	snprintf(path, sizeof(path), "/api/v1/messages/%s/stream", c->message);
	snprintf(
	    header, sizeof(header), "Last-Event-ID: %s", last_id(&c->answer));
	if (last_id(&c->answer)[0] == '\0')
		ask.headers[1] = NULL;
	http_ask(&ask, out);
}

static void
expect_value(const char *sql, const char *param, const char *want)
{
	char got[256];

	db_value(sql, param, got, sizeof(got));
	cr_expect_str_eq(got, want, "%s: %s, wanted %s", sql, got, want);
}

/* Nothing is held back; used is what was sent and streamed, each reply once. */
static void
expect_settled(const struct person *p)
{
	expect_value("SELECT count(*) FROM chat.running_replies"
		     " WHERE user_id = $1",
	    p->user_id, "0");
	expect_value("SELECT coalesce(max(tokens_reserved), 0)"
		     " FROM chat.token_budgets WHERE user_id = $1",
	    p->user_id, "0");
	expect_value("SELECT count(*) FROM chat.budgets_amiss(date_trunc("
		     "'month', now() AT TIME ZONE 'UTC')::date)"
		     " WHERE user_id = $1",
	    p->user_id, "0");
	expect_value("SELECT count(*) FROM chat.messages m"
		     " LEFT JOIN chat.usage_tracking u ON u.id = m.id"
		     " WHERE m.user_id = $1 AND m.role = 'assistant'"
		     " AND (u.id IS NULL OR u.prompt_tokens = 0 OR"
		     " m.status = 'interrupted' AND u.completion_tokens <>"
		     " (octet_length(m.content) + 3) / 4)",
	    p->user_id, "0");
	expect_value("SELECT b.tokens_used = (SELECT sum(u.prompt_tokens +"
		     " u.completion_tokens) FROM chat.usage_tracking u"
		     " WHERE u.user_id = b.user_id)"
		     " FROM chat.token_budgets b WHERE b.user_id = $1"
		     " AND b.period = 'month' AND b.store_id IS NULL"
		     " ORDER BY b.starts_on DESC LIMIT 1",
	    p->user_id, "t");
}

/*
 * The two parts together are what is stored, and what the log says. A worker
 * that died between commit and log left a log without an end.
 */
static void
expect_whole(const struct client *c, const struct answer *rest,
    const char *status, const char *end)
{
	char *stored = db_text(
	    "SELECT content FROM chat.messages WHERE id = $1", c->message);
	struct reply_seen log;

	cr_expect(strncmp(stored, c->answer.text.p, c->answer.text.n) == 0,
	    "%s: stored %zu bytes are not what was seen, %zu", c->message,
	    strlen(stored), c->answer.text.n);
	cr_expect_str_eq(stored + c->answer.text.n, rest->text.p,
	    "%s: the rest", c->message);
	expect_value("SELECT status FROM chat.messages WHERE id = $1",
	    c->message, status);
	reply_seen_in_log(c->message, &log);
	cr_expect_str_eq(log.text ? log.text : "", stored);
	cr_expect(strcmp(log.end, end) == 0 ||
		      (log.end[0] == '\0' && strcmp(end, "done") == 0),
	    "%s, not %s", log.end, end);
	reply_seen_free(&log);
	free(stored);
}

/* Interrupted; or its end was stored, and only nobody was told. */
static void
expect_rest(const struct client *c, const struct answer *rest)
{
	if (answer_ends_with(rest, "done")) {
		expect_whole(c, rest, "complete", "done");
		return;
	}
	cr_expect(answer_ends_with(rest, "error"), "%ld %s", rest->status,
	    rest->body.p);
	cr_expect_str_eq(
	    answer_event_text(rest, "error", "code"), "interrupted");
	cr_expect_str_eq(
	    answer_event_text(rest, "error", "message_id"), c->message);
	expect_whole(c, rest, "interrupted", "error");
}

/* How a reply ended whose worker may have been killed; true: it was. */
static bool
expect_recovered(struct client *c)
{
	struct answer rest;
	bool was_cut;

	pthread_join(c->thread, NULL);
	was_cut = !answer_ends_with(&c->answer, "done");
	if (was_cut) {
		cr_expect_not(answer_ends_with(&c->answer, "error"), "%s",
		    c->answer.body.p);
		read_on(c, &rest);
		expect_rest(c, &rest);
		answer_clear(&rest);
	} else {
		expect_reply_agrees(&c->answer);
	}
	expect_settled(&c->person);
	answer_clear(&c->answer);
	return was_cut;
}

/* Kills all workers at once; how many there were. */
static size_t
kill_all(void)
{
	pid_t workers[8];
	size_t n = stack_workers(&stack, workers, 8);

	for (size_t i = 0; i < n; i++)
		kill(workers[i], SIGKILL);
	return n;
}

/* One client has seen k - 1 pieces of 8 bytes, for each k; they are as many
 * events, unless the machine is busy. */
Test(recovery, killed_at_each_event)
{
	static struct client clients[EVENTS];
	char directives[64];
	size_t cut = 0;

	start("CHAT_WORKERS=2");
	for (int k = 0; k < EVENTS; k++) {
		clients[k].wanted = k > 0;
		clients[k].wanted_text = k > 0 ? 8 * (k - 1) - 3 : 0;
		snprintf(directives, sizeof(directives),
		    k == 0 ? "hang=1" : "events=40 gap=60 stall=%d", k - 1);
		client_start(&clients[k], directives);
	}
	for (int k = 0; k < EVENTS; k++)
		cr_assert(wait_until(has_come, &clients[k], 60000), "%d", k);
	cr_assert_eq(kill_all(), 2);
	for (int k = 0; k < EVENTS; k++)
		cut += expect_recovered(&clients[k]);
	cr_expect_eq(cut, EVENTS);
}

/* Before and after each batch of the log, and while replies are stored. */
Test(recovery, killed_at_any_moment)
{
	static struct client clients[CLIENTS];
	size_t cut = 0; /* beside the one that stalls */

	srand((unsigned)getpid());
	start("CHAT_WORKERS=2");
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CLIENTS; i++) {
			clients[i] = (struct client){.wanted = 1};
			client_start(&clients[i],
			    i == 0       ? "events=80 gap=10 stall=60"
			    : i % 3 == 0 ? "events=80 gap=10"
			    : i % 3 == 1 ? "text=30000 chunk=60 gap=3"
					 : "text=900 chunk=9 gap=20 nousage=1");
		}
		for (int i = 0; i < CLIENTS; i++)
			cr_assert(wait_until(has_come, &clients[i], 30000));
		pause_ms(rand() % 900);
		cr_expect_gt(kill_all(), 0);
		cr_expect(expect_recovered(&clients[0]), "the one that stalls");
		for (int i = 1; i < CLIENTS; i++)
			cut += expect_recovered(&clients[i]);
	}
	fprintf(stderr, "%zu of %d replies were cut\n", cut,
	    ROUNDS * (CLIENTS - 1));
}

Test(recovery, who_hangs_up_at_any_event_reads_on_elsewhere)
{
	static struct client clients[EVENTS];

	start("CHAT_WORKERS=2");
	for (int k = 1; k < EVENTS; k++) {
		clients[k].wanted = 1;
		clients[k].hang_up_after = k;
		client_start(&clients[k], "events=40 gate=1");
	}
	for (int i = 1; i <= 40; i++) {
		for (int k = i; k < EVENTS; k++) {
			clients[k].wanted = i;
			cr_assert(wait_until(has_come, &clients[k], 60000));
		}
		stack_model_open(&stack);
	}
	for (int k = 1; k < EVENTS; k++) {
		struct client *c = &clients[k];
		struct answer rest;

		pthread_join(c->thread, NULL);
		cr_expect(has_come(c));
		cr_expect_eq(c->answer.n_events, (size_t)k);
		read_on(c, &rest);
		cr_expect(answer_ends_with(&rest, "done"), "%s", rest.body.p);
		expect_whole(c, &rest, "complete", "done");
		expect_settled(&c->person);
		answer_clear(&rest);
		answer_clear(&c->answer);
	}
}

static bool
has_ended(void *arg)
{
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE id = $1", arg, status,
	    sizeof(status));
	return strcmp(status, "streaming") != 0;
}

/* Longer than the others wait: they take it for dead. */
Test(recovery, a_worker_that_was_stopped_writes_nothing_over)
{
	static struct client c, second;
	struct answer rest;
	pid_t worker;
	char *before, *after;

	start("CHAT_WORKERS=1");
	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	c.wanted = 3;
	client_start(&c, "events=500 gap=50");
	cr_assert(wait_until(has_come, &c, 60000));
	kill(worker, SIGSTOP);
	cr_assert(wait_until(has_ended, c.message, 60000));
	before = db_text(
	    "SELECT content FROM chat.messages WHERE id = $1", c.message);
	second.person = c.person;
	memcpy(second.message, c.message, sizeof(c.message));
	read_on(&second, &rest); /* from the beginning */
	cr_expect(answer_ends_with(&rest, "error"));
	cr_expect_str_eq(rest.text.p, before);
	answer_clear(&rest);
	kill(worker, SIGCONT);
	pthread_join(c.thread, NULL); /* it ends one way or another */
	after = db_text(
	    "SELECT content FROM chat.messages WHERE id = $1", c.message);
	cr_expect_str_eq(before, after);
	expect_value("SELECT status FROM chat.messages WHERE id = $1",
	    c.message, "interrupted");
	expect_settled(&c.person);
	answer_clear(&c.answer);
	free(before);
	free(after);
}

/* As the service manager may do: then another host looks after its replies. */
Test(recovery, of_a_host_that_is_gone)
{
	static struct client c;
	pid_t worker;

	start("CHAT_WORKERS=1");
	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	c.wanted = 3;
	client_start(&c, "events=2000 gap=50");
	cr_assert(wait_until(has_come, &c, 60000));
	kill(stack.natterd, SIGKILL);
	kill(worker, SIGKILL);
	cr_expect(expect_recovered(&c));
}

static struct crowd crowd;
static struct load_end load;

static void *
stream_all(void *arg)
{
	(void)arg;
	crowd_stream(&crowd, MANY,
	    "{\"content\":\"[[events=4000 gap=200]] number %d\","
	    "\"stream\":true}",
	    0, NULL, &load);
	return NULL;
}

/* How many of them run: other tests' replies are in Postgres too. */
static int
n_running(void)
{
	char n[16];

	db_value("SELECT count(DISTINCT r.message_id)"
		 " FROM chat.running_replies r"
		 " JOIN chat.messages m ON m.user_id = r.user_id"
		 " AND m.conversation_id = r.conversation_id"
		 " WHERE m.role = 'user' AND m.content LIKE '%number%'",
	    NULL, n, sizeof(n));
	return atoi(n);
}

static bool
are_running(void *arg)
{
	(void)arg;
	return n_running() >= MANY;
}

static bool
none_runs(void *arg)
{
	(void)arg;
	return n_running() == 0;
}

/* Each is billed for what its log holds; some had no word yet. */
static void
expect_all_as_logged(const char *since)
{
	static const char sql[] =
	    "SELECT coalesce(string_agg(m.id::text, ' '), '')"
	    " FROM chat.messages m"
	    " JOIN chat.usage_tracking u ON u.id = m.id"
	    " JOIN chat.messages q ON q.id = m.parent_id"
	    " WHERE m.status = 'interrupted'"
	    " AND m.created_at > $1::timestamptz"
	    " AND q.content LIKE '%number%' AND u.completion_tokens ="
	    " (octet_length(m.content) + 3) / 4";
	char *ids = db_text(sql, since), *rest = ids, *id;
	int n = 0, with_text = 0;

	while ((id = strsep(&rest, " ")) != NULL && *id != '\0') {
		char *stored = db_text(
		    "SELECT content FROM chat.messages WHERE id = $1", id);
		struct reply_seen log;

		reply_seen_in_log(id, &log);
		cr_expect_str_eq(stored, log.text ? log.text : "");
		cr_expect_str_eq(log.end, "error");
		with_text += stored[0] != '\0';
		n++;
		reply_seen_free(&log);
		free(stored);
	}
	cr_expect_eq(n, MANY);
	cr_expect_gt(with_text, 0);
	fprintf(stderr, "%d of %d had begun to speak\n", with_text, n);
	free(ids);
}

Test(recovery, of_hundreds_at_once)
{
	pthread_t thread;
	struct timespec began, ended;
	char since[64];

	db_value("SELECT now()", NULL, since, sizeof(since));
	start("CHAT_WORKERS=1");
	crowd_make(&stack, MANY, &crowd);
	pthread_create(&thread, NULL, stream_all, NULL);
	cr_assert(wait_until(are_running, NULL, 60000));
	pause_ms(3000);
	clock_gettime(CLOCK_MONOTONIC, &began);
	cr_assert_eq(kill_all(), 1);
	cr_expect(wait_until(none_runs, NULL, 90000));
	clock_gettime(CLOCK_MONOTONIC, &ended);
	fprintf(stderr, "all were ended after %d s\n",
	    (int)(ended.tv_sec - began.tv_sec));
	pthread_join(thread, NULL);
	expect_all_as_logged(since);
	load_end_clear(&load);
	crowd_free(&crowd);
}
