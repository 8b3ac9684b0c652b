/*
 * Identifiers: their form, their order, and that no two are ever the same,
 * over threads and forks.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"

/* Takes the place of base/clock.c: the time may be set, stopped and put back.
 */
static _Atomic uint64_t stopped_ms; /* 0: the real time */

uint64_t
clock_wall_ms(void)
{
	struct timespec ts;
	if (stopped_ms)
		return stopped_ms;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The time that an id tells. */
static uint64_t
time_of(const char *id)
{
	char hex[13];
	(void)snprintf(hex, sizeof(hex), "%.8s%.4s", id, id + 9);
	return strtoull(hex, NULL, 16);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
expect_all_differ(char (*ids)[ID_TEXT], size_t n)
{
	qsort(ids, n, sizeof(*ids), compare);
	for (size_t i = 1; i < n; i++)
		cr_assert_str_neq(ids[i - 1], ids[i]);
}

Test(id, a_uuid_v7_has_its_version_variant_and_time)
{
	for (int i = 0; i < 1000; i++) {
		char id[ID_TEXT];
		uint64_t before = clock_wall_ms();
		id_make(id);
		uint64_t after = clock_wall_ms();
		cr_assert(id_is_uuid(id), "%s", id);
		cr_assert_eq(id[14], '7');
		cr_assert(strchr("89ab", id[19]));
		cr_assert_geq(time_of(id), before);
		cr_assert_leq(time_of(id), after);
	}
}

Test(id, ids_of_one_thread_rise_strictly)
{
	char last[ID_TEXT], id[ID_TEXT];
	id_make(last);
	for (int i = 0; i < 200000; i++) {
		id_make(id);
		cr_assert_lt(strcmp(last, id), 0, "%s then %s", last, id);
		memcpy(last, id, sizeof(last));
	}
}

Test(id, ids_rise_while_the_clock_stands_still)
{
	/* The 12 bits of a millisecond run over several times; then the ids
	 * run ahead of the clock, by a millisecond for each 2,048 at most. */
	char last[ID_TEXT], id[ID_TEXT];
	stopped_ms = 1800000000000;
	id_make(last);
	cr_expect_eq(time_of(last), 1800000000000);
	for (int i = 0; i < 20000; i++) {
		id_make(id);
		cr_assert_lt(strcmp(last, id), 0, "%s then %s", last, id);
		memcpy(last, id, sizeof(last));
	}
	cr_expect_gt(time_of(last), 1800000000000);
	cr_expect_leq(time_of(last), 1800000000000 + 10);
}

Test(id, ids_rise_when_the_clock_goes_back)
{
	char last[ID_TEXT], id[ID_TEXT];
	stopped_ms = 1800000000000;
	id_make(last);
	for (uint64_t back = 1; back < 4000000; back *= 2) {
		stopped_ms = 1800000000000 - back;
		id_make(id);
		cr_assert_lt(strcmp(last, id), 0, "%s then %s", last, id);
		memcpy(last, id, sizeof(last));
	}
	cr_expect_eq(time_of(last), 1800000000000);
	stopped_ms = 1800000000001;
	id_make(id);
	cr_expect_eq(time_of(id), 1800000000001);
}

Test(id, a_random_uuid_is_version_4)
{
	char last[ID_TEXT] = "", id[ID_TEXT];
	for (int i = 0; i < 1000; i++) {
		id_make_random(id);
		cr_assert(id_is_uuid(id), "%s", id);
		cr_assert_eq(id[14], '4');
		cr_assert(strchr("89ab", id[19]));
		cr_assert_str_neq(id, last);
		memcpy(last, id, sizeof(last));
	}
}

#define PER_THREAD 20000
#define THREADS    4

static void *
make_many(void *arg)
{
	char(*ids)[ID_TEXT] = arg;
	for (int i = 0; i < PER_THREAD; i++)
		id_make(ids[i]);
	return NULL;
}

Test(id, ids_of_several_threads_differ)
{
	char(*ids)[ID_TEXT] = calloc(THREADS * PER_THREAD, sizeof(*ids));
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(
				 &t[i], NULL, make_many, ids + i * PER_THREAD),
		    0);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
	expect_all_differ(ids, THREADS * PER_THREAD);
	free(ids);
}

static void
write_ids(int fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char id[ID_TEXT];
		id_make(id);
		if (write(fd, id, ID_TEXT) != ID_TEXT)
			_exit(1);
	}
}

Test(id, a_forked_child_does_not_repeat_its_parents_ids)
{
	enum { N = 500 };
	static char ids[2 * N][ID_TEXT];
	int ends[2];
	char warm[ID_TEXT];
	id_make(warm); /* so that there is state to inherit */
	cr_assert_eq(pipe(ends), 0);
	pid_t child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		write_ids(ends[1], N);
		_exit(0);
	}
	for (int i = 0; i < N; i++)
		id_make(ids[i]);
	(void)close(ends[1]);
	FILE *in = fdopen(ends[0], "r");
	cr_assert_eq(fread(ids[N], ID_TEXT, N, in), N);
	(void)fclose(in);
	int status;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	expect_all_differ(ids, (size_t)2 * N);
}

Test(id, knows_a_uuid)
{
	static const struct {
		const char *in;
		bool want;
	} rows[] = {
	    {"01a202d8-843d-7095-bc08-e1e0357ab74d", true},
	    {"00000000-0000-0000-0000-000000000000", true},
	    {"ffffffff-ffff-ffff-ffff-ffffffffffff", true},
	    {"d1a3ee25-d16b-4692-8126-873c95d62066", true},
	    {NULL, false},
	    {"", false},
	    {"01A202D8-843D-7095-BC08-E1E0357AB74D", false},
	    {"01a202d8-843d-7095-bc08-e1e0357ab74", false},
	    {"01a202d8-843d-7095-bc08-e1e0357ab74d0", false},
	    {"01a202d8-843d-7095-bc08-e1e0357ab74d\n", false},
	    {"01a202d8843d7095bc08e1e0357ab74d", false},
	    {"01a202d8-843d-7095-bc08-e1e0357ab74g", false},
	    {"01a202d8-843d-7095-bc08 e1e0357ab74d", false},
	    {"0-a202d8-843d-7095-bc08-e1e0357ab74d", false},
	    {"{1a202d8-843d-7095-bc08-e1e0357ab74}", false},
	    {"01a202d8a843d-7095-bc08-e1e0357ab74d", false},
	    {"------------------------------------", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_eq(id_is_uuid(rows[i].in), rows[i].want, "%s",
		    rows[i].in ? rows[i].in : "NULL");
}

Test(id, every_position_of_a_uuid_is_checked)
{
	const char good[] = "01a202d8-843d-7095-bc08-e1e0357ab74d";
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		char s[sizeof(good)];
		memcpy(s, good, sizeof(good));
		s[i] = 'x';
		cr_expect_not(id_is_uuid(s), "%s", s);
		s[i] = '\0';
		cr_expect_not(id_is_uuid(s), "cut at %zu", i);
	}
}

Test(id, short_ids_are_short_and_have_no_look_alikes)
{
	bool seen[256] = {false};
	char last[ID_SHORT_TEXT] = "", id[ID_SHORT_TEXT];
	for (int i = 0; i < 5000; i++) {
		id_make_short(id);
		cr_assert(id_is_short(id), "%s", id);
		cr_assert_str_neq(id, last);
		memcpy(last, id, sizeof(last));
		for (const char *p = id; *p; p++)
			seen[(unsigned char)*p] = true;
	}
	int letters = 0;
	for (int c = 0; c < 256; c++)
		letters += seen[c];
	cr_expect_eq(letters, 32, "all of the alphabet is used");
	for (const char *p = "ilou"; *p; p++)
		cr_expect_not(seen[(unsigned char)*p]);
}

Test(id, knows_a_short_id)
{
	static const struct {
		const char *in;
		bool want;
	} rows[] = {
	    {"0123456789", true},
	    {"abcdefghjk", true},
	    {"mnpqrstvwx", true},
	    {"yzyzyzyzyz", true},
	    {NULL, false},
	    {"", false},
	    {"012345678", false},
	    {"01234567890", false},
	    {"012345678i", false},
	    {"l123456789", false},
	    {"01234o6789", false},
	    {"0123456u89", false},
	    {"0123456A89", false},
	    {"01234-6789", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_eq(id_is_short(rows[i].in), rows[i].want, "%s",
		    rows[i].in ? rows[i].in : "NULL");
}
