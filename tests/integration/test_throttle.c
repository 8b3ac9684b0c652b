/*
 * The throttle of sign-ins against a real Postgres: who waits, for how long,
 * and who does not. Numbers in the names are those of the adversarial list of
 * the specification.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../support/auth_world.h"
#include "../support/ring.h"
#include "../support/servers.h"
#include "auth/throttle.h"
#include "base/clock.h"
#include "base/keyring.h"
#include "store/pg.h"

#define DEVICE  "a-device-id-of-22-chars-or-more"
#define THREADS 20

static struct caller c;
static struct signed_in s;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_throttle_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
	c.device = DEVICE;
	caller_register(&c, &s);
	c.device = "";
}

static void
teardown(void)
{
	caller_close(&c);
}

TestSuite(throttle, .init = setup, .fini = teardown, .timeout = 120);

static int
try_login(struct caller *who, const char *username, const char *password)
{
	char body[256];
	snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}",
	    username, password);
	return caller_call(who, "POST", "/auth/login", NULL, body);
}

static int
wrong(void)
{
	return try_login(&c, s.username, "wrong horse battery");
}

static int
right(void)
{
	return try_login(&c, s.username, PASSWORD);
}

/* Lets time pass for every bucket of the user. */
static void
pass(const char *interval)
{
	auth_sql("UPDATE auth.login_throttle SET ready_at = ready_at - "
		 "interval '%s' WHERE user_id = '%s'",
	    interval, s.user_id);
}

static long
retry_after(void)
{
	const char *text = caller_header(&c, "Retry-After");
	cr_assert_not_null(text);
	return atol(text);
}

static void
expect_throttled(int status, long least, long most)
{
	cr_assert_eq(status, 429);
	cr_expect_str_eq(caller_code(&c), "login_throttled");
	cr_expect(retry_after() >= least && retry_after() <= most, "%ld",
	    retry_after());
}

static void
fail_5_times(void)
{
	for (int i = 0; i < 5; i++)
		cr_assert_eq(wrong(), 401, "%d", i);
}

/* ---- one account ---- */

Test(throttle, five_go_at_once_and_the_sixth_waits_30_s)
{
	fail_5_times();
	uint64_t before = pg_round_trips(c.services.pg);
	expect_throttled(wrong(), 25, 30);
	cr_expect_eq(pg_round_trips(c.services.pg) - before, 1);
	expect_throttled(right(), 25, 30);
	pass("30 s");
	cr_expect_eq(right(), 200);
}

Test(throttle, the_wait_doubles_to_an_hour)
{
	static const long waits[] = {
	    30, 60, 120, 240, 480, 960, 1920, 3600, 3600};
	fail_5_times();
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
		expect_throttled(wrong(), waits[i] - 5, waits[i]);
		pass("1 hour");
		cr_assert_eq(wrong(), 401);
	}
}

Test(throttle, a_right_password_forgets_the_failures)
{
	for (int i = 0; i < 4; i++)
		cr_assert_eq(wrong(), 401);
	cr_assert_eq(right(), 200);
	fail_5_times();
	expect_throttled(wrong(), 25, 30);
}

Test(throttle, a_refused_try_writes_nothing)
{
	fail_5_times();
#define VERSION                                                            \
	"SELECT xmin::text::bigint FROM auth.login_throttle WHERE user_id" \
	" = '%s' AND kind = 'account'"
	int64_t before = auth_number(VERSION, s.user_id);
	expect_throttled(wrong(), 25, 30);
	cr_expect_eq(auth_number(VERSION, s.user_id), before);
}

Test(throttle, a_hundred_failures_stop_it_until_it_is_lifted)
{
	fail_5_times();
	auth_sql("UPDATE auth.login_throttle SET failures = 99, ready_at ="
		 " '-infinity' WHERE user_id = '%s' AND kind = 'account'",
	    s.user_id);
	cr_assert_eq(wrong(), 401);
	pass("10 days");
	expect_throttled(right(), 3600, 3600);
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.notices WHERE"
				 " user_id = '%s' AND kind = 'sign_in_stopped'",
			 s.user_id),
	    1);
	c.device = DEVICE;
	cr_expect_eq(right(), 200, "not from the owner's device");
	c.device = "";
	expect_throttled(right(), 3600, 3600);
	cr_expect_eq(auth_number("SELECT failures FROM"
				 " auth.user_admin_unlock('%s')"
				 " WHERE was_stopped",
			 s.username),
	    100);
	cr_expect_eq(right(), 200);
}

Test(throttle, a_name_that_nobody_has_is_throttled_as_any_other)
{
	char known[1024];
	fail_5_times();
	expect_throttled(wrong(), 25, 30);
	snprintf(known, sizeof known, "%s", c.rep.body);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(try_login(&c, "nobody-here", "wrong horse"), 401);
	expect_throttled(try_login(&c, "Nobody-HERE", "wrong horse"), 25, 30);
	cr_expect_str_eq(c.rep.body, known);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.login_throttle WHERE"
			" encode(key, 'escape') LIKE '%%nobody%%'"),
	    0);
}

Test(throttle, a_busy_server_takes_nobodys_tries)
{
	char path[64];
	c.config.hash_slots = 1;
	snprintf(path, sizeof path, "%s/hash-0.lock", c.run_dir);
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	for (int i = 0; i < 6; i++) {
		cr_expect_eq(wrong(), 503);
		cr_expect_str_eq(caller_code(&c), "busy");
	}
	close(fd);
	fail_5_times();
}

Test(throttle, a_password_that_changes_while_it_is_verified_opens_nothing)
{
	char app[512];
	cr_assert_eq(right(), 200);
	snprintf(app, sizeof app,
	    "SELECT auth.login_done('%s', '\\x00', NULL, 0, NULL, 'another', "
	    "'mine')",
	    s.user_id);
	cr_expect_str_eq(auth_try("natter_app", "%s", app), "23514");
}

/* ---- devices ---- */

Test(throttle, a_known_device_waits_for_nobody_elses_failures)
{
	fail_5_times();
	expect_throttled(right(), 25, 30);
	c.device = DEVICE;
	cr_expect_eq(right(), 200);
	fail_5_times();
	expect_throttled(right(), 25, 30);
}

Test(throttle, a_device_is_known_after_its_first_sign_in_for_its_user_alone)
{
	struct signed_in first = s;
	c.device = "another-device-id-of-22-chars";
	cr_assert_eq(right(), 200);
	c.device = "";
	caller_register(&c, &s); /* another user */
	c.device = "another-device-id-of-22-chars";
	fail_5_times();
	c.device = "";
	expect_throttled(right(), 25, 30); /* it had no bucket of its own */
	s = first;
	fail_5_times();
	c.device = "another-device-id-of-22-chars";
	cr_expect_eq(right(), 200);
}

Test(throttle, an_id_that_can_be_guessed_is_no_device)
{
	c.device = "21-characters-are-few";
	cr_assert_eq(right(), 200);
	c.device = "";
	fail_5_times();
	c.device = "21-characters-are-few";
	expect_throttled(right(), 25, 30);
}

Test(throttle, a_new_key_forgets_no_device)
{
	fail_5_times();
	c.device = DEVICE;
	keyring_free(c.services.keys);
	c.services.keys =
	    ring_of("k1 previous " RING_KEY_1 "\nk2 current " RING_KEY_2 "\n");
	cr_assert_eq(right(), 200);
	keyring_free(c.services.keys);
	c.services.keys = ring_of("k2 current " RING_KEY_2 "\n");
	cr_expect_eq(right(), 200);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.login_throttle WHERE"
			" user_id = '%s' AND kind = 'device'",
		s.user_id),
	    1);
}

Test(throttle, keeps_the_newest_20_devices)
{
	char device[64];
	c.device = device;
	for (int i = 0; i < 22; i++) {
		snprintf(
		    device, sizeof device, "device-%d-xxxxxxxxxxxxxxxxx", i);
		cr_assert_eq(right(), 200);
	}
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.login_throttle WHERE"
			" user_id = '%s' AND kind = 'device'",
		s.user_id),
	    20);
}

/* ---- addresses ---- */

static int
fail_from(const char *ip)
{
	char name[ID_TEXT];
	id_make(name);
	c.ip = ip;
	return try_login(&c, name, "wrong horse battery");
}

/* How many it may make now, of 20 a minute. */
static int
failures_from(const char *ip)
{
	int n = 0, status;
	while ((status = fail_from(ip)) == 401)
		n++;
	expect_throttled(status, 1, 3);
	return n;
}

/* Three seconds go by for the address of the last call, and for no other. */
static void
pass_3_s(void)
{
	struct throttle_keys keys;
	cr_assert_eq(throttle_keys_make(&c.req, "nobody", &keys), OK);
	auth_sql("UPDATE auth.login_throttle SET ready_at = ready_at -"
		 " interval '3 s' WHERE kind = 'address' AND key = '%s'",
	    keys.address);
}

Test(throttle, an_address_has_20_failures_a_minute)
{
	c.config.login_address_rate = 20;
	uint64_t began_ms = clock_mono_ms();
	int n = failures_from("198.51.100.1");
	/* One comes back every three seconds. */
	int refilled = (int)((clock_mono_ms() - began_ms) / 3000);
	cr_expect(n >= 20 && n <= 20 + refilled, "%d", n);
	pass_3_s();
	n += failures_from("198.51.100.1");
	refilled = (int)((clock_mono_ms() - began_ms) / 3000);
	cr_expect(n >= 21 && n <= 21 + refilled, "%d", n);
	cr_expect_eq(fail_from("198.51.100.2"), 401);
}

Test(throttle, n27_a_mapped_address_and_a_64_are_one_client)
{
	char ip[64];
	c.config.login_address_rate = 2;
	cr_expect_eq(fail_from("203.0.113.4"), 401);
	cr_expect_eq(fail_from("::ffff:203.0.113.4"), 401);
	expect_throttled(fail_from("203.0.113.4"), 1, 30);
	for (int i = 0; i < 50; i++) {
		snprintf(ip, sizeof ip, "2001:db8:1:2:%x::%x", i, i * 7 + 1);
		cr_expect_eq(fail_from(ip), i < 2 ? 401 : 429, "%d", i);
	}
	cr_expect_eq(fail_from("2001:db8:1:3::1"), 401);
}

Test(throttle, a_known_device_waits_for_no_neighbour)
{
	c.config.login_address_rate = 1;
	cr_assert_eq(fail_from("198.51.100.77"), 401);
	expect_throttled(right(), 50, 60);
	c.device = DEVICE;
	cr_expect_eq(right(), 200);
	c.device = "";
	expect_throttled(right(), 50, 60); /* nor did it pay for them */
}

Test(throttle, an_office_that_signs_in_rightly_waits_for_nothing)
{
	c.config.login_address_rate = 2;
	for (int i = 0; i < 12; i++)
		cr_assert_eq(right(), 200, "%d", i);
}

Test(throttle, what_is_over_is_forgotten)
{
	auth_sql("INSERT INTO auth.login_throttle (key, kind, expires_at)"
		 " SELECT sha256(('old' || i)::bytea), 'account', now() -"
		 " interval '1 s' FROM generate_series(1, 20) i");
	for (int i = 0; i < 3; i++)
		(void)right();
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.login_throttle"
				 " WHERE expires_at < now()"),
	    0);
}

/* ---- many at once ---- */

struct crowd {
	struct caller callers[THREADS];
	pthread_t threads[THREADS];
	int tries; /* of each */
	const char *password;
	bool has_own_names;
	atomic_int verified, throttled, others;
};

static struct crowd crowd;

static void *
guess(void *arg)
{
	struct caller *me = arg;
	char name[64];
	for (int i = 0; i < crowd.tries; i++) {
		snprintf(
		    name, sizeof name, "n-%d-%d", (int)(me - crowd.callers), i);
		int status = try_login(me,
		    crowd.has_own_names ? name : s.username, crowd.password);
		atomic_fetch_add(status == 401   ? &crowd.verified
				 : status == 429 ? &crowd.throttled
						 : &crowd.others,
		    1);
	}
	return NULL;
}

static void
run_crowd(void)
{
	for (int i = 0; i < THREADS; i++) {
		caller_open(&crowd.callers[i], NULL);
		crowd.callers[i].config = c.config;
		crowd.callers[i].ip = "203.0.113.200";
	}
	for (int i = 0; i < THREADS; i++)
		pthread_create(
		    &crowd.threads[i], NULL, guess, &crowd.callers[i]);
}

static void
end_crowd(void)
{
	for (int i = 0; i < THREADS; i++)
		pthread_join(crowd.threads[i], NULL);
	for (int i = 0; i < THREADS; i++)
		caller_close(&crowd.callers[i]);
}

Test(throttle, n28_200_parallel_guesses_verify_5)
{
	crowd.tries = 10;
	crowd.password = "wrong horse battery";
	run_crowd();
	end_crowd();
	cr_expect_eq(atomic_load(&crowd.verified), 5);
	cr_expect_eq(atomic_load(&crowd.throttled), 195);
	c.device = DEVICE;
	cr_expect_eq(right(), 200, "the owner's device");
}

Test(throttle, n28_nor_does_the_right_one_slip_through_in_parallel)
{
	fail_5_times();
	crowd.tries = 5;
	crowd.password = PASSWORD;
	run_crowd();
	end_crowd();
	cr_expect_eq(atomic_load(&crowd.throttled), 100);
}

/* How many of our slots are locked now. */
static int
slots_in_use(void)
{
	char line[256], inode[32], path[64];
	int n = 0;
	for (int i = 0; i < 64; i++) {
		struct stat st;
		snprintf(path, sizeof path, "%s/hash-%d.lock", c.run_dir, i);
		if (stat(path, &st) < 0)
			continue;
		snprintf(
		    inode, sizeof inode, ":%lu ", (unsigned long)st.st_ino);
		FILE *f = fopen("/proc/locks", "r");
		while (f && fgets(line, sizeof line, f))
			if (strstr(line, "FLOCK") && !strstr(line, "->") &&
			    strstr(line, inode))
				n++;
		if (f)
			(void)fclose(f);
	}
	return n;
}

static int
crowd_tries(void)
{
	return atomic_load(&crowd.verified) + atomic_load(&crowd.throttled) +
	       atomic_load(&crowd.others);
}

Test(throttle, n28_at_most_4_hashes_at_once)
{
	int most = 0;
	c.config.hash_slots = 4;
	c.config.hash_memory_kib = 4096;
	crowd.tries = 4;
	crowd.password = "wrong horse battery";
	crowd.has_own_names = true;
	run_crowd();
	while (crowd_tries() < THREADS * crowd.tries) {
		int n = slots_in_use();
		most = n > most ? n : most;
		usleep(1000);
	}
	end_crowd();
	cr_expect(most >= 2 && most <= 4, "%d", most);
	cr_expect_eq(atomic_load(&crowd.throttled), 0);
}

/* ---- when stores fail ---- */

Test(throttle, n22_a_dead_redis_neither_opens_nor_locks)
{
	caller_use_redis(&c, "unix:///nonexistent/redis.sock");
	cr_expect_eq(right(), 200);
	fail_5_times();
	expect_throttled(right(), 25, 30);
}

Test(throttle, n24_without_postgres_a_sign_in_is_503)
{
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	cr_expect_eq(right(), 503);
	cr_expect_not_null(caller_header(&c, "Retry-After"));
}

/* ---- what work tells: make bench-login shows the times ---- */

#define SAMPLES 41

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t
median_us(uint64_t *samples)
{
	qsort(samples, SAMPLES, sizeof *samples, compare);
	return samples[SAMPLES / 2];
}

/* CPU time of this thread, which does all of a sign-in here: unlike a clock it
 * does not depend on what else the machine does. */
static uint64_t
work_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The difference of the medians of a known and an unknown name. */
static double
measure(void)
{
	uint64_t known[SAMPLES], unknown[SAMPLES];
	char nobody[ID_TEXT];
	for (int i = 0; i < SAMPLES; i++) {
		id_make(nobody);
		auth_sql("DELETE FROM auth.login_throttle WHERE user_id = '%s'",
		    s.user_id);
		uint64_t t0 = work_us();
		cr_assert_eq(wrong(), 401);
		uint64_t t1 = work_us();
		cr_assert_eq(try_login(&c, nobody, "wrong horse battery"), 401);
		uint64_t t2 = work_us();
		known[i] = t1 - t0;
		unknown[i] = t2 - t1;
	}
	double a = (double)median_us(known), b = (double)median_us(unknown);
	return a > b ? (a - b) / a : (b - a) / b;
}

Test(throttle, n29_a_name_that_nobody_has_costs_as_much_work)
{
	double difference = 1;
	c.config.hash_memory_kib = 16384;
	/* Let the user have a hash of that size. */
	cr_assert_eq(right(), 200);
	for (int i = 0; i < 3 && difference >= 0.05; i++)
		difference = measure();
	/* Without the hash of a name that nobody has it is nearly 1. */
	cr_expect_lt(difference, 0.25, "%f", difference);
}
