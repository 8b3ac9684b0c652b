/*
 * Many at once: hundreds of streams beside short requests, many who write to
 * one conversation, and a worker that is afterwards what it was before.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "calls.h"
#include "crowd.h"
#include "process_look.h"
#include "promises.h"
#include "stack.h"
#include "standin_text.h"

#define STREAMS    500
#define TEXT_BYTES 480
#define POSTERS    200
#define WAVE       300

static struct stack stack;
static struct crowd crowd;

/* One load at a time: two would measure each other. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
}

static void
teardown(void)
{
	crowd_free(&crowd);
	stack_stop(&stack);
}

TestSuite(load, .fini = teardown, .timeout = 240);

static int
compare_ms(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Lists conversations until told to stop. */
struct lister {
	pthread_t thread;
	const struct person *person;
	_Atomic bool stops;
	double ms[20000];
	size_t n;
	size_t failures;
};

static void *
lister_run(void *arg)
{
	struct lister *l = arg;
	struct ask ask = {.base = stack.base,
	    .path = "/api/v1/conversations",
	    .token = l->person->token};

	while (!atomic_load(&l->stops) && l->n < 20000) {
		uint64_t began = clock_mono_us();
		struct answer a;

		http_ask(&ask, &a);
		l->ms[l->n++] = (double)(clock_mono_us() - began) / 1000;
		if (a.status != 200)
			l->failures++;
		answer_clear(&a);
	}
	return NULL;
}

static void
lister_report(struct lister *l)
{
	atomic_store(&l->stops, true);
	pthread_join(l->thread, NULL);
	qsort(l->ms, l->n, sizeof(l->ms[0]), compare_ms);
	cr_expect_gt(l->n, 5);
	cr_expect_eq(l->failures, 0, "%zu of %zu", l->failures, l->n);
	fprintf(stderr,
	    "GET /conversations beside %d streams: %zu times, p50 %.1f ms, "
	    "p99 %.1f ms, most %.1f ms\n",
	    STREAMS, l->n, l->ms[l->n / 2], l->ms[l->n * 99 / 100],
	    l->ms[l->n - 1]);
}

/* Has the model go on once it has all streams open at once. */
struct watcher {
	pthread_t thread;
	_Atomic bool stops;
	long most;
};

static void *
watcher_run(void *arg)
{
	struct watcher *w = arg;
	struct timespec t = {.tv_nsec = 50000000};

	while (!atomic_load(&w->stops)) {
		long n = stack_model_count(&stack, "streams_open");

		if (n > w->most)
			w->most = n;
		if (n == STREAMS)
			break;
		nanosleep(&t, NULL);
	}
	for (int i = 0; i < 2; i++) /* 30 pieces, or a few more */
		stack_model_open(&stack);
	return NULL;
}

/* What client `i` saw, and what is stored, against what the model sent. */
static bool
is_whole(size_t i, const char *dump, PGconn *db)
{
	char want[TEXT_BYTES + 1] = "", seen[2 * TEXT_BYTES] = "", path[160];
	const char *params[] = {crowd.people[i].user_id};
	PGresult *r;
	bool ok;
	FILE *f;

	standin_text(i, TEXT_BYTES, want);
	snprintf(path, sizeof(path), "%s/%zu.txt", dump, i);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	seen[fread(seen, 1, sizeof(seen) - 1, f)] = '\0';
	fclose(f);
	r = PQexecParams(db,
	    "SELECT content FROM chat.messages WHERE user_id = $1 "
	    "AND role = 'assistant' AND status = 'complete'",
	    1, NULL, params, NULL, NULL, 0);
	ok = strcmp(seen, want) == 0 && PQntuples(r) == 1 &&
	     strcmp(PQgetvalue(r, 0, 0), want) == 0;
	PQclear(r);
	return ok;
}

Test(load, five_hundred_streams_complete_while_short_requests_are_served)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_HASH_MEMORY=8",
		"CHAT_RESPONSE_TIMEOUT=120000"}};
	static struct lister listers[2];
	static struct watcher watcher;
	char dump[96];
	struct load_end end;
	size_t whole = 0;
	PGconn *db = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));

	stack_start(&stack, &o);
	crowd_make(&stack, STREAMS, &crowd);
	snprintf(dump, sizeof(dump), "%s/dump", stack.dir);
	mkdir(dump, 0755);
	for (int i = 0; i < 2; i++) {
		listers[i].person = &crowd.people[i];
		pthread_create(
		    &listers[i].thread, NULL, lister_run, &listers[i]);
	}
	pthread_create(&watcher.thread, NULL, watcher_run, &watcher);
	stack_model_open(&stack); /* half of each reply comes at once */
	crowd_stream(&crowd, STREAMS,
	    "{\"content\":\"[[text=480 chunk=16 gap=100 gate=15 seed=%d]] "
	    "go\",\"stream\":true}",
	    0, dump, &end);
	for (int i = 0; i < 2; i++)
		lister_report(&listers[i]);
	atomic_store(&watcher.stops, true);
	pthread_join(watcher.thread, NULL);
	fprintf(stderr, "%ld streams at once: %s", watcher.most, end.report);
	cr_expect_eq(end.code, 0);
	cr_expect_eq(end.completed, STREAMS, "%s", end.report);
	cr_expect_eq(watcher.most, STREAMS);
	for (size_t i = 0; i < STREAMS; i++)
		whole += is_whole(i, dump, db);
	cr_expect_eq(whole, STREAMS);
	load_end_clear(&end);
	PQfinish(db);
}

/* One of many who write to the same conversation. */
struct poster {
	pthread_t thread;
	struct person *person;
	pthread_barrier_t *start;
	struct answer answer;
};

static atomic_int n_refused;

/* The model's reply waits until all others have heard of it. */
static void *
poster_run(void *arg)
{
	struct poster *p = arg;

	pthread_barrier_wait(p->start);
	do
		person_say(
		    &stack, p->person, "[[events=30 gate=30]] go", &p->answer);
	while (call_was_late(&p->answer));
	if (p->answer.status != 200)
		atomic_fetch_add(&n_refused, 1);
	return NULL;
}

static bool
all_but_one_are_refused(void *arg)
{
	(void)arg;
	return atomic_load(&n_refused) == POSTERS - 1;
}

static void
check_posters(struct poster *posters, const char *winner)
{
	for (int i = 0; i < POSTERS; i++) {
		struct answer *a = &posters[i].answer;

		if (a->status != 200) {
			const char *fault =
			    refusal_fault(a, 409, "reply_in_progress", NULL);

			cr_expect_null(fault, "%s", fault);
			cr_expect_str_eq(answer_text(a, "message_id"), winner);
		}
		answer_clear(a);
	}
}

Test(load, of_200_who_write_at_once_one_is_answered)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	static struct poster posters[POSTERS];
	pthread_barrier_t start;
	struct person p;
	char winner[40] = "", n[16];
	int won = 0;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	pthread_barrier_init(&start, NULL, POSTERS);
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){.person = &p, .start = &start};
		pthread_create(
		    &posters[i].thread, NULL, poster_run, &posters[i]);
	}
	cr_expect(wait_until(all_but_one_are_refused, NULL, 120000), "%d",
	    atomic_load(&n_refused));
	stack_model_open(&stack);
	for (int i = 0; i < POSTERS; i++) {
		struct answer *a = &posters[i].answer;

		pthread_join(posters[i].thread, NULL);
		if (a->status != 200)
			continue;
		won++;
		cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
		snprintf(winner, sizeof(winner), "%s",
		    answer_event_text(a, "start", "message_id"));
	}
	cr_expect_eq(won, 1);
	check_posters(posters, winner);
	db_value("SELECT count(*) FROM chat.messages WHERE user_id = $1",
	    p.user_id, n, sizeof(n));
	cr_expect_str_eq(n, "2");
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 1);
	pthread_barrier_destroy(&start);
}

struct before {
	pid_t worker;
	struct descriptors had;
};

static void
count_descriptors(pid_t pid, struct descriptors *out)
{
	const char *port = strrchr(stack.model, ':') + 1;

	if (!process_descriptors(pid, (unsigned)atoi(port), stack.socket, out))
		cr_skip_test("only root may look into /proc/%d", (int)pid);
}

/* An answered request may have a connection that is still to be closed. */
static bool
has_no_request(void *arg)
{
	struct before *b = arg;

	count_descriptors(b->worker, &b->had);
	return b->had.requests == 0;
}

static bool
is_as_before(void *arg)
{
	struct before *b = arg;
	struct descriptors now;
	char n[16], pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)b->worker);
	db_value("SELECT count(*) FROM chat.running_replies r JOIN "
		 "chat.workers w ON w.id = r.worker_id WHERE w.pid = $1",
	    pid, n, sizeof(n));
	count_descriptors(b->worker, &now);
	return strcmp(n, "0") == 0 && now.own == b->had.own;
}

static void
stream_wave(size_t n, int hangup_after)
{
	struct load_end end;

	crowd_stream(&crowd, n,
	    "{\"content\":\"[[text=480 chunk=16 gap=30 seed=%d]] go\","
	    "\"stream\":true}",
	    hangup_after, NULL, &end);
	cr_expect_eq(end.code, 0, "%s", end.report);
	cr_expect_eq(hangup_after > 0 ? end.hung_up : end.completed, (long)n,
	    "%s", end.report);
	load_end_clear(&end);
}

Test(load, after_a_thousand_streams_a_worker_has_what_it_had)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_HASH_MEMORY=8"}};
	struct before b;
	struct descriptors after;
	struct answer a;
	long rss;

	stack_start(&stack, &o);
	crowd_make(&stack, WAVE, &crowd);
	cr_assert_eq(stack_workers(&stack, &b.worker, 1), 1);
	/* All that is made on first use has been used. */
	person_say(&stack, &crowd.people[0], "hello", &a);
	cr_assert(answer_ends_with(&a, "done"));
	answer_clear(&a);
	cr_assert(wait_until(has_no_request, &b, 15000));
	rss = process_resident_kib(b.worker);
	stream_wave(WAVE, 0);
	stream_wave(WAVE, 2);
	cr_expect(wait_until(is_as_before, &b, 30000), "after 300 hang-ups");
	stream_wave(WAVE, 0);
	stream_wave(WAVE, 0);
	stream_wave(100, 0);
	cr_expect(wait_until(is_as_before, &b, 30000), "after all");
	count_descriptors(b.worker, &after);
	cr_expect_eq(after.own, b.had.own, "%zu descriptors, had %zu",
	    after.own, b.had.own);
	cr_expect_leq(after.model, 300);
	fprintf(stderr,
	    "descriptors %zu before, %zu after, %zu idle to the model; "
	    "resident %ld KiB before, %ld after\n",
	    b.had.own, after.own, after.model, rss,
	    process_resident_kib(b.worker));
}
