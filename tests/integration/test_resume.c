/*
 * Replies that are read again from where somebody left off: through nginx, on
 * two hosts that share Postgres and Redis, from each event on, by many at once,
 * before the first token and after the log has gone. What comes together must
 * be what is stored, byte for byte.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

#include "follow_call.h"
#include "metrics_text.h"
#include "raw_http.h"
#include "stack_shared.h"
#include "standin_text.h"
#include "store/redis.h"

#define HOSTS  2
#define CROWD  50
#define EVENTS 24 /* of the replies that are hung up on */
#define TEXT   "[[text=4000 chunk=40 gap=20 seed=9]] go"
#define SLOWLY "[[text=240 chunk=10 gap=60 seed=4]] go"
#define BIG    2000000
/* For a model that stands at a gate. */
#define PATIENCE "CHAT_FIRST_TOKEN_TIMEOUT=90000", "CHAT_RESPONSE_TIMEOUT=90000"

static struct stack hosts[HOSTS];

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_REPLY_MAX_BYTES=8000000",
		"CHAT_RATE_LIMIT_PER_MINUTE=1000", "CHAT_MODEL_RETRIES=0",
		"CHAT_CLIENT_BUFFER=16777216", "CHAT_REDIS_TIMEOUT=2000",
		PATIENCE}};

	(void)tests;
	for (size_t i = 0; i < HOSTS; i++)
		stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_take_nth(&hosts[i], i);
}

TestSuite(resume, .init = setup, .timeout = 240);

/* Redis of the environment: the log of a reply as nobody else sees it. */
static long long
redis_of_log(const char *verb, const char *message_id)
{
	struct redis *r = redis_new(getenv("REDIS_URL"), 5000);
	const char *words[2] = {verb};
	char key[64];
	redisReply *reply = NULL;
	long long n;

	snprintf(key, sizeof(key), "reply:%s", message_id);
	words[1] = key;
	cr_assert_eq(redis_command(r, 2, words, NULL, &reply), OK);
	n = reply->integer;
	freeReplyObject(reply);
	redis_free(r);
	return n;
}

/* What was seen of it, and what follows, are together the stored text. */
static void
expect_resumed(const struct answer *first, size_t k, const struct answer *rest,
    const char *want)
{
	char *got = text_resumed(first, k, rest);

	cr_expect_eq(rest->status, 200, "%zu: %ld", k, rest->status);
	cr_assert_not_null(got, "%zu: %.300s", k, rest->body.p);
	cr_expect(strcmp(got, want) == 0, "%zu: %zu bytes, wanted %zu", k,
	    strlen(got), strlen(want));
	cr_expect(answer_ends_with(rest, "done"), "%zu: %.300s", k,
	    rest->n_events ? rest->events[rest->n_events - 1].data : "");
	free(got);
}

/* The events from k on have the ids that they had. */
static void
expect_same_ids(const struct answer *first, size_t k, const struct answer *rest)
{
	cr_assert_eq(rest->n_events - 1, first->n_events - k, "%zu: %zu", k,
	    rest->n_events);
	for (size_t i = 1; i < rest->n_events; i++) {
		const struct event *a = &first->events[k + i - 1];
		const struct event *b = &rest->events[i];

		cr_expect_str_eq(a->id, b->id);
		cr_expect_str_eq(a->name, b->name);
		cr_expect_str_eq(a->data, b->data);
	}
}

Test(resume, each_event_of_a_reply_that_ended_from_either_host)
{
	struct person p;
	struct answer a, rest;
	char id[40], *want;

	person_make(&hosts[0], &p);
	person_say(&hosts[0], &p, TEXT, &a);
	cr_assert(answer_ends_with(&a, "done"));
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	want = reply_text(id);
	cr_assert_gt(a.n_events, 20, "%zu", a.n_events);
	for (size_t k = 1; k < a.n_events; k++) {
		follow(
		    &hosts[k % HOSTS], p.token, id, a.events[k - 1].id, &rest);
		expect_resumed(&a, k, &rest, want);
		expect_same_ids(&a, k, &rest);
		answer_clear(&rest);
	}
	cr_expect_eq(redis_of_log("DEL", id), 1);
	for (size_t k = 1; k < a.n_events; k++) {
		follow(
		    &hosts[k % HOSTS], p.token, id, a.events[k - 1].id, &rest);
		expect_resumed(&a, k, &rest, want);
		cr_expect_str_eq(rest.events[rest.n_events - 1].data,
		    a.events[a.n_events - 1].data);
		cr_expect_leq(rest.n_events, 3);
		answer_clear(&rest);
	}
	/* Who has it all, the last word included, is told the last word. */
	follow(&hosts[0], p.token, id, a.events[a.n_events - 1].id, &rest);
	expect_resumed(&a, a.n_events, &rest, want);
	answer_clear(&rest);
	answer_clear(&a);
	free(want);
}

Test(resume, each_event_of_a_reply_that_goes_on)
{
	static struct person people[EVENTS];
	static struct call says[EVENTS], rests[EVENTS];
	char id[40];

	for (int k = 0; k < EVENTS; k++) {
		person_make(&hosts[0], &people[k]);
		call_say(&says[k], &hosts[0], &people[k], SLOWLY, k + 1);
	}
	for (int k = 0; k < EVENTS; k++) {
		const struct answer *a = call_join(&says[k]);

		cr_assert_geq(a->n_events, 1, "%d: %s", k, a->body.p);
		snprintf(id, sizeof(id), "%s",
		    answer_event_text(a, "start", "message_id"));
		call_follow(&rests[k], &hosts[k % HOSTS], people[k].token, id,
		    a->events[a->n_events - 1].id);
	}
	for (int k = 0; k < EVENTS; k++) {
		const struct answer *a = call_join(&says[k]);
		char *want =
		    reply_text(answer_event_text(a, "start", "message_id"));

		expect_resumed(a, a->n_events, call_join(&rests[k]), want);
		free(want);
		call_clear(&says[k]);
		call_clear(&rests[k]);
	}
}

/* Subscribes to the hints of a reply. */
static redisContext *
hear_hints(const char *message_id)
{
	char path[256];
	const char *at = getenv("REDIS_URL") + strlen("unix://");
	redisContext *c;
	redisReply *reply;

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(at, "?"), at);
	c = redisConnectUnix(path);
	cr_assert(c != NULL && c->err == 0, "%s", path);
	reply = redisCommand(c, "SUBSCRIBE reply:%s", message_id);
	cr_assert_not_null(reply);
	freeReplyObject(reply);
	return c;
}

/* Those that have come; ends it. */
static int
count_hints(redisContext *c)
{
	redisReply *reply;
	int n = -1; /* the answer to PING comes last */

	cr_assert_eq(redisAppendCommand(c, "PING"), REDIS_OK);
	do {
		cr_assert_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
		n++;
		if (strcmp(reply->element[0]->str, "pong") == 0)
			break;
		freeReplyObject(reply);
	} while (true);
	freeReplyObject(reply);
	redisFree(c);
	return n;
}

/* What the model has said is shown to every reader before it says more: so much
 * of the text, up to a character's end. */
static void
expect_all_are_shown(struct call readers[], int n, size_t bytes)
{
	char text[900];

	standin_text(5, sizeof(text), text);
	while ((text[bytes] & 0xc0) == 0x80)
		bytes--;
	for (int i = 0; i < n; i++) {
		call_await_text(&readers[i], bytes);
		cr_expect_eq(atomic_load(&readers[i].text), bytes,
		    "reader %d has %zu of %zu bytes", i,
		    atomic_load(&readers[i].text), bytes);
		cr_expect_not(atomic_load(&readers[i].has_ended));
	}
}

Test(resume, fifty_read_one_reply_some_before_it_begins)
{
	static struct call readers[CROWD];
	struct person p;
	struct call say;
	char id[40], *want;

	person_make(&hosts[0], &p);
	call_say(
	    &say, &hosts[0], &p, "[[text=900 events=90 gate=30 seed=5]] go", 0);
	call_await(&say, 1);
	reply_id(&p, id);
	for (int i = 0; i < CROWD; i++) {
		if (i == CROWD / 2) {
			for (int k = 0; k < i; k++)
				call_await(&readers[k], 1);
			expect_all_are_shown(readers, i, 0);
			stack_model_open(&hosts[0]);
			expect_all_are_shown(readers, i, 300);
		}
		call_follow(&readers[i], &hosts[i % HOSTS], p.token, id, NULL);
	}
	expect_all_are_shown(readers, CROWD, 300);
	stack_model_open(&hosts[0]);
	expect_all_are_shown(readers, CROWD, 600);
	stack_model_open(&hosts[0]);
	want = reply_text(id);
	for (int i = 0; i < CROWD; i++) {
		const struct answer *a = call_join(&readers[i]);

		expect_resumed(NULL, 0, a, want);
		cr_expect_str_eq(answer_event_text(a, "done", "id"), id);
		call_clear(&readers[i]);
	}
	call_clear(&say);
	free(want);
}

/* Nothing on the way keeps a piece until more comes, and each is told to those
 * who read on another host. The other host's model: a gate is open for all. */
Test(resume, each_piece_is_shown_before_the_model_says_the_next)
{
	struct person p;
	struct call say, reader;
	redisContext *hints;
	char id[40];

	person_make(&hosts[1], &p);
	call_say(&say, &hosts[1], &p, "[[text=60 events=6 gate=1]] go", 0);
	call_await(&say, 1);
	reply_id(&p, id);
	hints = hear_hints(id);
	call_follow(&reader, &hosts[0], p.token, id, NULL);
	for (int i = 1; i <= 6; i++) {
		call_await(&say, i);
		call_await(&reader, i);
		cr_expect_eq(atomic_load(&say.events), i);
		cr_expect_eq(atomic_load(&reader.events), i);
		stack_model_open(&hosts[1]);
	}
	cr_expect(answer_ends_with(call_join(&say), "done"));
	cr_expect(answer_ends_with(call_join(&reader), "done"));
	cr_expect_eq(say.answer.text.n, 60);
	cr_expect_geq(count_hints(hints), 6);
	call_clear(&say);
	call_clear(&reader);
}

Test(resume, positions_of_all_kinds)
{
	static const struct {
		const char *header, *query, *field;
	} refused[] = {
	    {"17", NULL, "Last-Event-ID"},
	    {"-", NULL, "Last-Event-ID"},
	    {"1-", NULL, "Last-Event-ID"},
	    {"-1", NULL, "Last-Event-ID"},
	    {"1--1", NULL, "Last-Event-ID"},
	    {"01-1", NULL, "Last-Event-ID"},
	    {"1-1 ", "1-x", "after"}, /* nginx takes the space away */
	    {"+1-1", NULL, "Last-Event-ID"},
	    {"0x1-1", NULL, "Last-Event-ID"},
	    {"1-1-1", NULL, "Last-Event-ID"},
	    {"1-99999999999999999", NULL, "Last-Event-ID"},
	    {"18446744073709551615-18446744073709551615", NULL,
		"Last-Event-ID"},
	    {"99999999999999999999999999999999999999999999999999999999999999-1",
		NULL, "Last-Event-ID"},
	    {"(1-1", NULL, "Last-Event-ID"},
	    {"$", NULL, "Last-Event-ID"},
	    {"\xc3\xa4-1", NULL, "Last-Event-ID"},
	    {"x", "1-1", "Last-Event-ID"},
	    {NULL, "", "after"},
	    {NULL, "x", "after"},
	    {NULL, "1-1%00", "after"},
	    {NULL, "1-1&after=2-2", "after"},
	};
	static const char *const taken[] = {"0-0", "0-5", "1-0", "3-9000",
	    "999999-5", "999999-999999", "4503599627370496-2", "2-1", "2-2"};
	struct person p;
	struct answer a, rest;
	char id[40], path[256], line[160], *want;

	person_make(&hosts[0], &p);
	person_say(&hosts[0], &p, "[[text=300 chunk=9 seed=3]] go", &a);
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	want = reply_text(id);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		struct ask ask = {
		    .base = hosts[0].base, .path = path, .token = p.token};

		snprintf(path, sizeof(path), "/api/v1/messages/%s/stream%s%s",
		    id, refused[i].query ? "?after=" : "",
		    refused[i].query ? refused[i].query : "");
		snprintf(line, sizeof(line), "Last-Event-ID: %s",
		    refused[i].header ? refused[i].header : "");
		ask.headers[0] = refused[i].header ? line : NULL;
		if (i == 6)
			continue; /* both are fit then: the header wins */
		http_ask(&ask, &rest);
		cr_expect_eq(rest.status, 422, "%zu: %ld", i, rest.status);
		cr_expect_str_eq(answer_text(&rest, "field"), refused[i].field,
		    "%zu: %s", i, rest.body.p);
		answer_clear(&rest);
	}
	/* With the log and without it: each ends, none breaks the text. */
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
			follow(&hosts[i % HOSTS], p.token, id, taken[i], &rest);
			cr_expect_eq(rest.status, 200);
			cr_expect(answer_ends_with(&rest, "done"), "%s: %s",
			    taken[i], rest.body.p);
			cr_expect_not_null(
			    strstr(want, rest.text.p), "%s", taken[i]);
			answer_clear(&rest);
		}
		redis_of_log("DEL", id);
	}
	free(want);
	answer_clear(&a);
}

Test(resume, the_header_goes_before_the_query)
{
	struct person p;
	struct answer a, rest;
	char path[160];
	struct ask ask = {.base = hosts[1].base,
	    .path = path,
	    .headers = {"Last-Event-ID: 3-200"}};

	person_make(&hosts[0], &p);
	person_say(&hosts[0], &p, "[[text=300 chunk=9 seed=3]] go", &a);
	ask.token = p.token;
	snprintf(path, sizeof(path), "/api/v1/messages/%s/stream?after=2-100",
	    answer_event_text(&a, "start", "message_id"));
	http_ask(&ask, &rest);
	cr_expect_str_eq(answer_event_text(&rest, "start", "offset"), "200");
	answer_clear(&rest);
	ask.headers[0] = NULL;
	http_ask(&ask, &rest);
	cr_expect_str_eq(answer_event_text(&rest, "start", "offset"), "100");
	answer_clear(&rest);
	answer_clear(&a);
}

static void
expect_status(
    const struct person *p, const char *method, const char *id, long status)
{
	struct answer a;
	char path[160];
	struct ask ask = {.method = method,
	    .base = hosts[0].base,
	    .path = path,
	    .token = p->token};

	snprintf(path, sizeof(path), "/api/v1/messages/%s/stream", id);
	http_ask(&ask, &a);
	cr_expect_eq(a.status, status, "%s %s: %ld", method, id, a.status);
	answer_clear(&a);
}

Test(resume, only_replies_and_only_ones_own)
{
	struct person p, other;
	struct answer a;
	char id[40], question[40];

	person_make(&hosts[0], &p);
	person_make(&hosts[0], &other);
	person_say(&hosts[0], &p, "[[text=30]] go", &a);
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	snprintf(question, sizeof(question), "%s",
	    answer_event_text(&a, "start", "user_message_id"));
	expect_status(&p, "GET", id, 200);
	expect_status(&p, "HEAD", id, 200);
	expect_status(&p, "POST", id, 405);
	expect_status(&p, "GET", question, 404);
	expect_status(&other, "GET", id, 404);
	expect_status(&other, "HEAD", id, 404);
	expect_status(&p, "GET", "x", 404);
	expect_status(&p, "GET", p.user_id, 404);
	other.token[0] = '\0';
	expect_status(&other, "GET", id, 401);
	answer_clear(&a);
}

Test(resume, a_reply_that_failed_ends_as_it_did)
{
	struct person p;
	struct answer a, rest;
	char id[40], *want;

	person_make(&hosts[0], &p);
	person_say(&hosts[0], &p, "[[text=400 chunk=20 cut=9]] go", &a);
	cr_assert(answer_ends_with(&a, "error"));
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	want = reply_text(id);
	for (int round = 0; round < 2; round++) {
		char *got;

		follow(&hosts[1], p.token, id, a.events[1].id, &rest);
		got = text_resumed(&a, 2, &rest);
		cr_expect_str_eq(got, want);
		cr_expect(answer_ends_with(&rest, "error"));
		cr_expect_str_eq(answer_event_text(&rest, "error", "code"),
		    answer_event_text(&a, "error", "code"));
		cr_expect_str_eq(
		    answer_event_text(&rest, "error", "message_id"), id);
		answer_clear(&rest);
		free(got);
		redis_of_log("DEL", id);
	}
	answer_clear(&a);
	free(want);
}

/* Asks for the stream with a small window, and does not read. */
static int
follow_unread(const struct stack *s, const struct person *p, const char *id)
{
	struct buf b = {0};
	int fd = raw_open(s->port, 4096);

	buf_printf(&b,
	    "GET /api/v1/messages/%s/stream HTTP/1.1\r\nHost: x\r\n"
	    "Authorization: Bearer %s\r\nConnection: close\r\n\r\n",
	    id, p->token);
	raw_send(fd, b.p, b.n);
	buf_free(&b);
	return fd;
}

Test(resume, a_slow_reader_beside_quick_ones)
{
	struct person p;
	struct answer a, rest;
	char id[40], *want;
	int fd;

	person_make(&hosts[0], &p);
	snprintf(id, sizeof(id), "[[text=%d chunk=900 seed=2]] go", BIG);
	person_say(&hosts[0], &p, id, &a);
	cr_assert(answer_ends_with(&a, "done"));
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	want = reply_text(id);
	cr_assert_eq(strlen(want), BIG);
	for (int round = 0; round < 2; round++) {
		fd = follow_unread(&hosts[1], &p, id);
		/* However few events a fast model's text comes in. */
		for (size_t k = 0; k < 3 && k < a.n_events; k++) {
			follow(&hosts[1], p.token, id,
			    k == 0 ? NULL : a.events[k - 1].id, &rest);
			expect_resumed(&a, k, &rest, want);
			answer_clear(&rest);
		}
		raw_answer(fd, 30000, &rest);
		cr_expect_not_null(strstr(rest.body.p, "event: done"));
		cr_expect_gt(rest.body.n, 2 * BIG);
		answer_clear(&rest);
		redis_of_log("DEL", id);
	}
	answer_clear(&a);
	free(want);
}

/* ---- one worker, with room for two readers ---- */

static void
setup_small(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_STREAMS_MAX=2", PATIENCE}};

	stack_start(&hosts[0], &o);
}

static void
teardown_small(void)
{
	stack_stop(&hosts[0]);
}

TestSuite(
    resume_room, .init = setup_small, .fini = teardown_small, .timeout = 120);

static double
metric(const char *series)
{
	struct ask ask = {.base = hosts[0].base, .path = "/metrics"};
	struct answer a;
	double v;

	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200);
	v = metrics_sum(a.body.p, series);
	answer_clear(&a);
	return v;
}

static bool
has_no_readers(void *arg)
{
	(void)arg;
	return metric("natter_readers_in_flight{") == 0;
}

static bool
has_a_reader(void *arg)
{
	(void)arg;
	return metric("natter_readers_in_flight{") == 1;
}

Test(resume_room, readers_beyond_it_are_refused_and_counted_beside_replies)
{
	struct person p;
	struct call say, readers[2];
	struct answer a;
	char id[40];

	person_make(&hosts[0], &p);
	call_say(&say, &hosts[0], &p, "[[text=800 events=80 gate=40]] go", 0);
	stack_model_open(&hosts[0]);
	call_await(&say, 2);
	reply_id(&p, id);
	for (int i = 0; i < 2; i++)
		call_follow(&readers[i], &hosts[0], p.token, id, NULL);
	for (int i = 0; i < 2; i++)
		call_await(&readers[i], 2);
	cr_expect_eq(metric("natter_readers_in_flight{"), 2);
	cr_expect_eq(metric("natter_replies_in_flight{"), 1);
	follow(&hosts[0], p.token, id, NULL, &a);
	cr_expect_eq(a.status, 503);
	cr_expect_str_eq(answer_text(&a, "code"), "busy");
	cr_expect_not_null(answer_header(&a, "Retry-After"));
	answer_clear(&a);
	stack_model_open(&hosts[0]);
	cr_expect(answer_ends_with(call_join(&say), "done"));
	for (int i = 0; i < 2; i++) {
		cr_expect_str_eq(
		    call_join(&readers[i])->text.p, say.answer.text.p);
		call_clear(&readers[i]);
	}
	call_clear(&say);
	cr_expect_eq(metric("natter_streams_resumed_total"), 2);
	cr_expect(wait_until(has_no_readers, NULL, 60000));
}

/* Who leaves is noticed, though nothing is to be said to them. */
Test(resume_room, readers_that_leave_make_room)
{
	struct person p;
	struct call say;
	struct answer a;
	char id[40];

	person_make(&hosts[0], &p);
	call_say(&say, &hosts[0], &p, "[[text=300 events=30 gate=30]] go", 0);
	call_await(&say, 1);
	reply_id(&p, id);
	for (int i = 0; i < 6; i++) {
		int fd = follow_unread(&hosts[0], &p, id);

		cr_assert(wait_until(has_a_reader, NULL, 60000));
		shutdown(fd, SHUT_RDWR);
		close(fd);
		cr_assert(wait_until(has_no_readers, NULL, 60000));
	}
	stack_model_open(&hosts[0]);
	follow(&hosts[0], p.token, id, NULL, &a);
	cr_expect_str_eq(a.text.p, call_join(&say)->text.p);
	answer_clear(&a);
	call_clear(&say);
}

/* ---- two workers, and two readers for each user ---- */

static void
setup_few(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {
		"CHAT_WORKERS=2", "CHAT_READERS_PER_USER=2", PATIENCE}};

	stack_start(&hosts[0], &o);
}

TestSuite(
    resume_few, .init = setup_few, .fini = teardown_small, .timeout = 120);

/* A reply that waits at a gate, and two who read it. */
static void
begin_few(struct person *p, struct call *say, struct call readers[2], char *id)
{
	person_make(&hosts[0], p);
	call_say(say, &hosts[0], p, "[[text=800 events=80 gate=40]] go", 0);
	stack_model_open(&hosts[0]);
	call_await(say, 2);
	reply_id(p, id);
	for (int i = 0; i < 2; i++)
		call_follow(&readers[i], &hosts[0], p->token, id, NULL);
	for (int i = 0; i < 2; i++)
		call_await(&readers[i], 2);
}

/* One after the other all of them may read it. */
static void
expect_places(const struct person *p, const char *id)
{
	struct answer a;

	cr_expect(wait_until(has_no_readers, NULL, 60000));
	for (int i = 0; i < 6; i++) {
		follow(&hosts[0], p->token, id, NULL, &a);
		cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
		answer_clear(&a);
	}
}

/* Without a reader there is nobody to tell, but of the end. */
Test(resume_few, replies_that_nobody_reads_are_not_hinted_at)
{
	struct person p;
	struct call say;
	redisContext *hints;
	char id[40];

	person_make(&hosts[0], &p);
	call_say(&say, &hosts[0], &p, "[[text=240 events=24 gate=12]] go", 0);
	stack_model_open(&hosts[0]);
	call_await(&say, 2);
	reply_id(&p, id);
	hints = hear_hints(id);
	stack_model_open(&hosts[0]);
	cr_assert(answer_ends_with(call_join(&say), "done"));
	cr_expect_eq(count_hints(hints), 1);
	call_clear(&say);
}

Test(resume_few, a_user_has_so_many_readers_in_all_workers)
{
	struct person p, other;
	struct call say, readers[2];
	struct answer a;
	char id[40], others[40];

	begin_few(&p, &say, readers, id);
	for (int i = 0; i < 4; i++) {
		follow(&hosts[0], p.token, id, NULL, &a);
		cr_expect_eq(a.status, 429, "%ld %s", a.status, a.body.p);
		cr_expect_str_eq(answer_text(&a, "code"), "rate_limited");
		cr_expect_not_null(strstr(a.body.p, "\"readers\""));
		cr_expect_str_eq(answer_header(&a, "Retry-After"), "5");
		answer_clear(&a);
	}
	/* Others have theirs. */
	person_make(&hosts[0], &other);
	person_say(&hosts[0], &other, "[[text=20]] go", &a);
	snprintf(
	    others, sizeof(others), "%s", answer_event_text(&a, "done", "id"));
	answer_clear(&a);
	follow(&hosts[0], other.token, others, NULL, &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	stack_model_open(&hosts[0]);
	for (int i = 0; i < 2; i++) {
		cr_expect(answer_ends_with(call_join(&readers[i]), "done"));
		call_clear(&readers[i]);
	}
	(void)call_join(&say);
	call_clear(&say);
	expect_places(&p, id);
}

Test(resume_few, a_workers_readers_go_with_it)
{
	struct person p;
	struct call say, readers[2];
	pid_t workers[4];
	char id[40];

	begin_few(&p, &say, readers, id);
	cr_assert_eq(stack_workers(&hosts[0], workers, 4), 2u);
	kill(workers[0], SIGKILL);
	kill(workers[1], SIGKILL);
	for (int i = 0; i < 2; i++) {
		(void)call_join(&readers[i]);
		call_clear(&readers[i]);
	}
	(void)call_join(&say);
	call_clear(&say);
	expect_places(&p, id);
}
