/*
 * Above its limits natterd refuses with 503 and Retry-After, before anything
 * is stored, and goes on with everything else.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/id.h"
#include "calls.h"
#include "log_lines.h"
#include "promises.h"
#include "raw_http.h"
#include "stack.h"

static struct stack stack;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(overload, .fini = teardown, .timeout = 120);

static void
expect_busy(const struct answer *a)
{
	const char *fault = refusal_fault(a, 503, "busy", NULL);

	cr_expect_null(fault, "%s", fault);
}

/* A reply in a thread of its own; it waits at a gate. */
struct client {
	pthread_t thread;
	struct person person;
	struct answer answer;
};

static void *
client_run(void *arg)
{
	struct client *c = arg;

	person_say(&stack, &c->person, "[[events=30 gate=30]] go", &c->answer);
	return NULL;
}

static bool
both_run(void *arg)
{
	(void)arg;
	return stack_model_count(&stack, "streams_open") == 2;
}

/* A client has its end before the relay counts the reply off. */
static bool
none_in_flight(void *arg)
{
	(void)arg;
	return call_metric(&stack, "natter_replies_in_flight{") == 0;
}

Test(overload, one_reply_too_many_is_refused_before_it_is_stored)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_STREAMS_MAX=2"}};
	static struct client clients[2];
	struct person late;
	struct answer a;
	char n[16];

	stack_start(&stack, &o);
	person_make(&stack, &late);
	for (int i = 0; i < 2; i++) {
		person_make(&stack, &clients[i].person);
		pthread_create(
		    &clients[i].thread, NULL, client_run, &clients[i]);
	}
	cr_assert(wait_until(both_run, NULL, 60000));
	for (int i = 0; i < 5; i++) {
		person_say(&stack, &late, "hello", &a);
		expect_busy(&a);
		answer_clear(&a);
	}
	db_value("SELECT count(*) FROM chat.messages WHERE user_id = $1",
	    late.user_id, n, sizeof(n));
	cr_expect_str_eq(n, "0");
	stack_model_open(&stack);
	for (int i = 0; i < 2; i++) {
		pthread_join(clients[i].thread, NULL);
		cr_expect(answer_ends_with(&clients[i].answer, "done"));
		answer_clear(&clients[i].answer);
	}
	cr_assert(wait_until(none_in_flight, NULL, 60000));
	person_say(&stack, &late, "hello", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

struct login {
	pthread_t thread;
	struct answer answer;
};

/* Each for a name of its own: what fails for one name again and again is soon
 * refused for that (429), before any hash. */
#define LOGIN_JSON  "{\"username\":\"%s\",\"password\":\"wrong horse\"}"
#define LOGIN_BYTES (sizeof(LOGIN_JSON) - 3 + ID_TEXT - 1)

/* The same for what fails from one address, other tests' among it. */
#define ANY_ADDRESS "CHAT_LOGIN_ADDRESS_RATE=0"

static void *
login_run(void *arg)
{
	struct login *l = arg;
	char name[ID_TEXT], json[LOGIN_BYTES + 1];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/login",
	    .json = json};

	id_make(name);
	snprintf(json, sizeof(json), LOGIN_JSON, name);
	http_ask(&ask, &l->answer);
	return NULL;
}

Test(overload, too_many_logins_wait_for_nobody)
{
	enum { LOGINS = 24 };
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_CHORES_MAX=2",
		"CHAT_HASH_SLOTS=1", "CHAT_HASH_MEMORY=65536", ANY_ADDRESS}};
	static struct login logins[LOGINS];
	struct ask list = {.path = "/api/v1/conversations"};
	struct person p;
	int busy = 0, wrong = 0;
	struct answer a;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	list.base = stack.base;
	list.token = p.token;
	for (int i = 0; i < LOGINS; i++)
		pthread_create(&logins[i].thread, NULL, login_run, &logins[i]);
	for (int i = 0; i < 5; i++) {
		http_ask(&list, &a);
		cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
		answer_clear(&a);
	}
	for (int i = 0; i < LOGINS; i++) {
		struct answer *got = &logins[i].answer;

		pthread_join(logins[i].thread, NULL);
		busy += got->status == 503;
		wrong += got->status == 401;
		if (got->status == 503)
			expect_busy(got);
		answer_clear(got);
	}
	cr_expect_eq(busy + wrong, LOGINS);
	cr_expect_gt(wrong, 0);
	cr_expect_gt(busy, 0);
	person_make(&stack, &p);
}

/* Holds the only hash slot: each password waits 2 s for it, then gets 503. */
static int
hold_slot(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/hash-0.lock", stack.dir);
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0666);
	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	return fd;
}

/* How many lines of a log have this member. */
static int
count_lines(const char *path, const char *name, const char *value)
{
	struct log_lines lines;
	int n = 0;

	log_lines_read(path, &lines);
	for (size_t i = 0; i < lines.n; i++)
		n += strcmp(log_line_text(lines.items[i], name), value) == 0;
	log_lines_clear(&lines);
	return n;
}

/* How often the log says so. */
static int
count_in_log(const char *why)
{
	return count_lines(stack.log, "why", why);
}

static const struct stack_options slow = {
    .settings = {"CHAT_WORKERS=1", "CHAT_CHORES_WAIT=1", "CHAT_HASH_SLOTS=1",
	ANY_ADDRESS}};

#define LATE "it waited longer than CHAT_CHORES_WAIT"
#define LEFT "the client left before its turn came"

Test(overload, who_waited_too_long_for_a_hash_gets_none)
{
	enum { LOGINS = 12 };
	static struct login logins[LOGINS];
	struct person p;
	int fd;

	stack_start(&stack, &slow);
	person_make(&stack, &p);
	fd = hold_slot();
	for (int i = 0; i < LOGINS; i++)
		pthread_create(&logins[i].thread, NULL, login_run, &logins[i]);
	for (int i = 0; i < LOGINS; i++) {
		pthread_join(logins[i].thread, NULL);
		expect_busy(&logins[i].answer);
		answer_clear(&logins[i].answer);
	}
	close(fd);
	/* One by one, they would have waited for the slot 2 s each. */
	cr_expect_geq(count_in_log(LATE), LOGINS - 2);
	person_make(&stack, &p);
}

/* Has natterd so many connections, from nginx? */
static bool
have_all_come(void *arg)
{
	FILE *f = fopen("/proc/net/unix", "r");
	char line[512];
	int n = 0;

	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, " 03 ") != NULL &&
		     strstr(line, stack.socket) != NULL;
	fclose(f);
	return n >= *(int *)arg;
}

static void
raw_login(int fd)
{
	char name[ID_TEXT], text[512];
	int n;

	id_make(name);
	n = snprintf(text, sizeof(text),
	    "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n"
	    "Content-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n" LOGIN_JSON,
	    LOGIN_BYTES, name);
	raw_send(fd, text, (size_t)n);
}

/* Has nginx, too, seen so many leave? It writes this when natterd's connection
 * is closed. */
static bool
have_all_left(void *arg)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/log/access.log", stack.dir);
	return count_lines(path, "status", "499") >= *(int *)arg;
}

Test(overload, who_left_meanwhile_is_not_hashed_for)
{
	enum { LOGINS = 12 };
	struct person p;
	int fd, clients[LOGINS], want = LOGINS;

	stack_start(&stack, &slow);
	person_make(&stack, &p);
	fd = hold_slot();
	for (int i = 0; i < LOGINS; i++) {
		clients[i] = raw_open(stack.port, 0);
		raw_login(clients[i]);
	}
	cr_assert(wait_until(have_all_come, &want, 60000));
	for (int i = 0; i < LOGINS; i++)
		close(clients[i]);
	cr_assert(wait_until(have_all_left, &want, 60000));
	close(fd);
	person_make(&stack, &p);
	cr_expect_geq(count_in_log(LEFT), LOGINS - 2);
	cr_expect_eq(count_in_log(LATE), 0);
}
