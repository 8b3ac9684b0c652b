/*
 * Clients that do not read, or do not write: they are bounded, delay nobody,
 * hold up no stop, and lose nothing that is stored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "raw_http.h"
#include "stack.h"
#include "standin_text.h"

#define SLOW       6
#define TEXT_BYTES 4000000
#define WINDOW     4096

static struct stack stack;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1; /* they measure time */
}

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(slow, .fini = teardown, .timeout = 180);

/* Asks for a huge reply over a connection with a small window. */
static int
ask_slowly(const struct person *p, const char *options)
{
	struct buf b = {0}, body = {0};
	int fd = raw_open(stack.port, WINDOW);

	buf_printf(&body,
	    "{\"content\":\"[[text=%d chunk=4000 seed=9]] go\",%s}", TEXT_BYTES,
	    options);
	buf_printf(&b,
	    "POST /api/v1/conversations/%s/messages HTTP/1.1\r\n"
	    "Host: localhost\r\nConnection: close\r\n"
	    "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    p->conversation, p->token, body.n);
	buf_add(&b, body.p, body.n);
	raw_send(fd, b.p, b.n);
	buf_free(&b);
	buf_free(&body);
	return fd;
}

static bool
is_stored(void *arg)
{
	const struct person *p = arg;
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE user_id = $1 "
		 "AND role = 'assistant'",
	    p->user_id, status, sizeof(status));
	return strcmp(status, "complete") == 0;
}

static bool
is_running(void *arg)
{
	const struct person *p = arg;
	char n[16];

	db_value("SELECT count(*) FROM chat.messages WHERE user_id = $1",
	    p->user_id, n, sizeof(n));
	return strcmp(n, "2") == 0;
}

static void
expect_whole(const struct person *p)
{
	char *want = calloc(1, TEXT_BYTES + 1), *got;

	cr_assert_not_null(want);
	standin_text(9, TEXT_BYTES, want);
	got = db_text("SELECT content FROM chat.messages WHERE user_id = $1 "
		      "AND role = 'assistant'",
	    p->user_id);
	cr_expect(strcmp(got, want) == 0, "%zu of %d bytes are stored",
	    strlen(got), TEXT_BYTES);
	free(want);
	free(got);
}

/* How often the log says so. */
static int
count_in_log(const char *text)
{
	char line[8192];
	int n = 0;
	FILE *f = fopen(stack.log, "r");

	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, text) != NULL;
	fclose(f);
	return n;
}

static bool
all_were_cut(void *arg)
{
	(void)arg;
	return count_in_log("\"client_cut\":1") == SLOW;
}

static const struct stack_options small_buffer = {.has_model = true,
    .settings = {"CHAT_WORKERS=1", "CHAT_CLIENT_BUFFER=65536",
	"CHAT_REPLY_MAX_BYTES=8000000"}};

static const struct stack_options big_buffer = {.has_model = true,
    .settings = {"CHAT_WORKERS=1", "CHAT_CLIENT_BUFFER=16777216",
	"CHAT_REPLY_MAX_BYTES=8000000", "CHAT_DRAIN_SECONDS=1"}};

Test(slow, readers_that_do_not_read_are_cut_and_delay_nobody)
{
	static struct person people[SLOW], quick;
	int fds[SLOW];
	uint64_t began, took;
	struct answer a;

	stack_start(&stack, &small_buffer);
	person_make(&stack, &quick);
	for (int i = 0; i < SLOW; i++)
		person_make(&stack, &people[i]);
	for (int i = 0; i < SLOW; i++)
		fds[i] = ask_slowly(&people[i], "\"stream\":true");
	began = clock_mono_ms();
	person_say(&stack, &quick, "[[events=40 gap=50]] go", &a);
	took = clock_mono_ms() - began;
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	/* Whoever waited for them would wait for nginx's 30 s. */
	cr_expect_lt(took, 20000, "2 s took %lu ms", (unsigned long)took);
	answer_clear(&a);
	for (int i = 0; i < SLOW; i++) {
		cr_expect(wait_until(is_stored, &people[i], 30000), "%d", i);
		expect_whole(&people[i]);
	}
	/* A reply's line is written after its last word. */
	cr_expect(wait_until(all_were_cut, NULL, 30000), "%d",
	    count_in_log("\"client_cut\":1"));
	/* What was cut ends without the last word. */
	for (int i = 0; i < SLOW; i++) {
		raw_answer(fds[i], 20000, &a);
		cr_expect_eq(a.status, 200);
		cr_expect_eq(a.code, CURLE_OK, "it stays open");
		cr_expect_null(strstr(a.body.p, "event: done"));
		cr_expect_lt(a.body.n, TEXT_BYTES);
		answer_clear(&a);
	}
}

Test(slow, a_reader_that_wakes_up_in_time_gets_everything)
{
	struct person p, quick;
	struct answer a;
	int fd;

	stack_start(&stack, &big_buffer);
	person_make(&stack, &p);
	fd = ask_slowly(&p, "\"stream\":true");
	cr_assert(wait_until(is_stored, &p, 30000));
	for (int i = 0; i < 5; i++) {
		person_make(&stack, &quick);
		person_say(&stack, &quick, "hello", &a);
		cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
	}
	raw_answer(fd, 20000, &a);
	cr_expect_not_null(strstr(a.body.p, "event: done"));
	cr_expect_gt(a.body.n, TEXT_BYTES);
	cr_expect_eq(count_in_log("\"client_cut\":1"), 0);
	answer_clear(&a);
	expect_whole(&p);
}

Test(slow, a_stop_does_not_wait_for_who_does_not_read)
{
	static const char *const options[] = {
	    "\"stream\":true", "\"stream\":false"};
	static struct person people[2];
	int fds[2], status;
	uint64_t began;

	stack_start(&stack, &big_buffer);
	for (int i = 0; i < 2; i++) {
		person_make(&stack, &people[i]);
		fds[i] = ask_slowly(&people[i], options[i]);
	}
	for (int i = 0; i < 2; i++)
		cr_assert(wait_until(is_stored, &people[i], 30000));
	began = clock_mono_ms();
	status = stack_end_natterd(&stack, SIGTERM);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_expect_lt(clock_mono_ms() - began, 20000, "%lu ms",
	    (unsigned long)(clock_mono_ms() - began));
	cr_expect_eq(count_in_log("did not end in time"), 0);
	cr_expect_eq(count_in_log("a worker was killed"), 0);
	for (int i = 0; i < 2; i++)
		close(fds[i]);
}

/* Two messages make a page of several MB, more than sockets hold. */
static void
fill_conversation(const struct person *p)
{
	struct answer a;

	for (int i = 0; i < 2; i++) {
		person_say(&stack, p, "[[text=4000000 chunk=4000]] go", &a);
		cr_assert(answer_ends_with(&a, "done"));
		answer_clear(&a);
	}
}

Test(slow, lists_that_are_not_read_hold_no_worker)
{
	struct ask ask = {.path = "/api/v1/conversations"};
	struct buf b = {0};
	struct person p;
	uint64_t began;
	int fds[SLOW];

	stack_start(&stack, &big_buffer);
	person_make(&stack, &p);
	fill_conversation(&p);
	buf_printf(&b,
	    "GET /api/v1/conversations/%s/messages HTTP/1.1\r\n"
	    "Host: localhost\r\nConnection: close\r\n"
	    "Authorization: Bearer %s\r\n\r\n",
	    p.conversation, p.token);
	for (int i = 0; i < SLOW; i++) {
		fds[i] = raw_open(stack.port, WINDOW);
		raw_send(fds[i], b.p, b.n);
	}
	buf_free(&b);
	ask.base = stack.base;
	ask.token = p.token;
	began = clock_mono_ms();
	for (int i = 0; i < 20; i++) {
		struct answer a;

		http_ask(&ask, &a);
		cr_expect_eq(a.status, 200);
		answer_clear(&a);
	}
	/* Whoever waited for them would wait for nginx's 30 s. */
	cr_expect_lt(clock_mono_ms() - began, 20000);
	for (int i = 0; i < SLOW; i++)
		close(fds[i]);
}

Test(slow, who_leaves_before_the_document_comes_finds_it_later)
{
	struct person p;
	int fd;

	stack_start(&stack, &small_buffer);
	person_make(&stack, &p);
	fd = ask_slowly(&p, "\"stream\":false");
	cr_assert(wait_until(is_running, &p, 60000));
	close(fd);
	cr_expect(wait_until(is_stored, &p, 30000));
	expect_whole(&p);
}

Test(slow, writers_that_do_not_write_hold_no_worker)
{
	enum { WRITERS = 60 };
	static const char head[] =
	    "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n"
	    "Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
	    "{\"username\":";
	struct ask ask = {.path = "/api/v1/conversations"};
	uint64_t began;
	struct person p;
	int fds[WRITERS];

	stack_start(&stack, &small_buffer);
	person_make(&stack, &p);
	for (int i = 0; i < WRITERS; i++) {
		fds[i] = raw_open(stack.port, 0);
		raw_send(fds[i], head, i % 2 ? sizeof(head) - 1 : 30);
	}
	ask.base = stack.base;
	ask.token = p.token;
	began = clock_mono_ms();
	for (int i = 0; i < 20; i++) {
		struct answer a;

		http_ask(&ask, &a);
		cr_expect_eq(a.status, 200);
		answer_clear(&a);
	}
	cr_expect_lt(clock_mono_ms() - began, 20000);
	for (int i = 0; i < WRITERS; i++)
		close(fds[i]);
}
