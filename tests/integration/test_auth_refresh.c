/*
 * Rotation: the state machine of auth.session_refresh through the API, under
 * concurrency, replay, theft, clocks and restored backups. Numbers in the
 * names are those of the adversarial list of the specification; days pass by
 * moving the row's times back.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/auth_world.h"
#include "../support/ring.h"
#include "auth/refresh.h"
#include "base/clock.h"
#include "base/keyring.h"
#include "store/pg.h"

static struct caller c;
static struct signed_in s;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_refresh_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
	caller_register(&c, &s);
}

static void
teardown(void)
{
	caller_close(&c);
}

TestSuite(rotation, .init = setup, .fini = teardown);

static void
expect_refused(const char *token, const char *code)
{
	struct signed_in none;
	cr_expect_eq(caller_refresh(&c, token, &none), 401);
	cr_expect_str_eq(caller_code(&c), code);
}

static struct signed_in
rotate(const char *token)
{
	struct signed_in next;
	cr_assert_eq(caller_refresh(&c, token, &next), 200, "%s: %s",
	    caller_code(&c), c.req.why ? c.req.why : "");
	return next;
}

static bool
is_revoked(void)
{
	return auth_number("SELECT count(revoked_at) FROM auth.sessions WHERE"
			   " id = '%s'",
		   s.session_id) == 1;
}

/* Lets `seconds` pass for the session. */
static void
pass(const char *seconds)
{
	auth_sql("UPDATE auth.sessions SET"
		 " created_at = created_at - interval '%s s',"
		 " expires_at = expires_at - interval '%s s',"
		 " idle_expires_at = idle_expires_at - interval '%s s',"
		 " rt_rotated_at = rt_rotated_at - interval '%s s',"
		 " rt_grace_until = rt_grace_until - interval '%s s'"
		 " WHERE id = '%s'",
	    seconds, seconds, seconds, seconds, seconds, s.session_id);
}

Test(rotation, gives_new_tokens_in_one_round_trip)
{
	uint64_t before = pg_round_trips(c.services.pg);
	struct signed_in next = rotate(s.refresh);
	cr_expect_eq(pg_round_trips(c.services.pg) - before, 1);
	cr_expect_str_eq(next.session_id, s.session_id);
	cr_expect_str_eq(next.user_id, s.user_id);
	cr_expect_str_neq(next.refresh, s.refresh);
	cr_expect_str_neq(next.access, s.access);
	cr_expect_eq(caller_verify(&c, next.access), 204);
	cr_expect_eq(caller_verify(&c, s.access), 204, "until it expires");
}

Test(rotation, leaves_its_lineage)
{
	struct signed_in a = rotate(s.refresh);
	(void)rotate(a.refresh);
	cr_expect_eq(
	    auth_number(
		"SELECT count(*) FROM auth.refresh_tokens t JOIN"
		" auth.refresh_tokens p ON p.id = t.parent_id WHERE"
		" t.session_id = '%s' AND p.generation = t.generation - 1 AND"
		" p.used_at IS NOT NULL AND p.session_id = t.session_id",
		s.session_id),
	    2);
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.sessions s JOIN"
				 " auth.refresh_tokens t ON t.id = s.access_jti"
				 " AND t.generation = s.rt_gen WHERE s.id ="
				 " '%s' AND t.used_at IS NULL",
			 s.session_id),
	    1, "the newest row names the newest access token");
}

/* ---- 1: everybody at once ---- */

#define CROWD 50

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	const char *token;
	enum err connected;
	int status;
	struct signed_in got;
};

static void *
present(void *arg)
{
	struct member *m = arg;
	struct caller own;
	caller_open(&own, NULL);
	m->connected = pg_connect(own.services.pg);
	pthread_barrier_wait(m->gate);
	m->status = caller_refresh(&own, m->token, &m->got);
	caller_close(&own);
	return NULL;
}

static void
crowd(struct member m[static CROWD], const char *token)
{
	pthread_barrier_t gate;
	pthread_barrier_init(&gate, NULL, CROWD);
	for (int i = 0; i < CROWD; i++) {
		m[i] = (struct member){.gate = &gate, .token = token};
		cr_assert_eq(
		    pthread_create(&m[i].thread, NULL, present, &m[i]), 0);
	}
	for (int i = 0; i < CROWD; i++)
		pthread_join(m[i].thread, NULL);
	pthread_barrier_destroy(&gate);
	for (int i = 0; i < CROWD; i++)
		cr_assert_eq(m[i].connected, OK, "%d", i);
}

Test(rotation, n1_50_at_once_rotate_once_and_get_the_same_bytes)
{
	static struct member m[CROWD];
	char token[128];
	strcpy(token, s.refresh);
	for (int round = 1; round <= 4; round++) {
		crowd(m, token);
		for (int i = 0; i < CROWD; i++) {
			cr_assert_eq(m[i].status, 200, "%d", i);
			cr_expect_str_eq(m[i].got.refresh, m[0].got.refresh);
			cr_expect_str_eq(m[i].got.access, m[0].got.access);
		}
		cr_expect_eq(auth_number("SELECT rt_gen FROM auth.sessions"
					 " WHERE id = '%s'",
				 s.session_id),
		    round);
		cr_expect_eq(auth_number("SELECT count(*) FROM"
					 " auth.refresh_tokens WHERE"
					 " session_id = '%s'",
				 s.session_id),
		    round + 1);
		strcpy(token, m[0].got.refresh);
	}
	cr_expect_not(is_revoked());
}

/* ---- 3 to 7: the grace and its ends ---- */

Test(rotation, n3_the_parent_within_30_s_gets_the_same_bytes_again)
{
	struct signed_in a = rotate(s.refresh);
	pass("20"); /* and what the machine takes */
	struct signed_in b = rotate(s.refresh);
	cr_expect_str_eq(a.refresh, b.refresh);
	cr_expect_str_eq(a.access, b.access);
	cr_expect_eq(caller_verify(&c, b.access), 204);
}

Test(rotation, n3_the_parent_after_31_s_ends_the_session)
{
	struct signed_in a = rotate(s.refresh);
	cr_assert_eq(caller_verify(&c, a.access), 204);
	pass("31");
	expect_refused(s.refresh, "refresh_reused");
	cr_expect(is_revoked());
	uint64_t before = pg_round_trips(c.services.pg);
	cr_expect_eq(caller_verify(&c, a.access), 401, "at once");
	cr_expect_str_eq(caller_code(&c), "session_revoked");
	cr_expect_eq(pg_round_trips(c.services.pg), before, "by tombstone");
	expect_refused(a.refresh, "session_revoked");
}

Test(rotation, n4_the_grace_does_not_slide)
{
	struct signed_in a = rotate(s.refresh);
	for (int i = 0; i < 3; i++) {
		pass("9");
		cr_expect_str_eq(rotate(s.refresh).refresh, a.refresh);
	}
	pass("9");
	expect_refused(s.refresh, "refresh_reused");
}

Test(rotation, n5_the_grace_ends_when_the_successor_is_used)
{
	struct signed_in a = rotate(s.refresh);
	(void)rotate(a.refresh);
	expect_refused(s.refresh, "refresh_reused");
	cr_expect(is_revoked());
}

Test(rotation, n6_a_grandparent_kills_and_nothing_revives)
{
	struct signed_in a = rotate(s.refresh), b = rotate(a.refresh);
	expect_refused(s.refresh, "refresh_reused");
	expect_refused(b.refresh, "session_revoked");
	expect_refused(a.refresh, "session_revoked");
	expect_refused(s.refresh, "session_revoked");
}

Test(rotation, n7_the_parent_from_another_device_ends_the_session)
{
	(void)rotate(s.refresh);
	c.agent = "thief/1.0";
	expect_refused(s.refresh, "refresh_reused");
	cr_expect(is_revoked());
}

Test(rotation, n7_the_devices_own_id_goes_before_its_user_agent)
{
	c.device = "device-1";
	struct signed_in a = rotate(s.refresh);
	c.agent = "updated/2.0";
	cr_expect_str_eq(rotate(s.refresh).refresh, a.refresh);
	c.device = "device-2";
	expect_refused(s.refresh, "refresh_reused");
}

Test(rotation, reuse_ends_one_session_and_not_the_users_others)
{
	struct signed_in other = s;
	caller_login(&c, &other);
	struct signed_in a = rotate(s.refresh);
	(void)rotate(a.refresh);
	expect_refused(s.refresh, "refresh_reused");
	cr_expect_eq(caller_verify(&c, other.access), 204);
	(void)rotate(other.refresh);
}

Test(rotation, a_grace_answer_tells_what_is_left_of_the_token)
{
	(void)rotate(s.refresh);
	auth_sql("UPDATE auth.sessions SET access_iat = access_iat -"
		 " interval '20 s' WHERE id = '%s'",
	    s.session_id);
	(void)rotate(s.refresh);
	cr_expect_geq(caller_number(&c, "expires_in"), 578);
	cr_expect_leq(caller_number(&c, "expires_in"), 580);
	cr_expect_lt(caller_number(&c, "refresh_in"),
	    caller_number(&c, "expires_in") - 30);
}

/* ---- 8: a race with the end ---- */

static void *
keep_refreshing(void *arg)
{
	struct member *m = arg;
	struct caller own;
	struct signed_in last = {0};
	caller_open(&own, NULL);
	strcpy(last.refresh, m->token);
	pthread_barrier_wait(m->gate);
	do
		m->status = caller_refresh(&own, last.refresh, &last);
	while (m->status == 200);
	strcpy(m->got.access, last.access);
	snprintf(
	    m->got.username, sizeof m->got.username, "%s", caller_code(&own));
	caller_close(&own);
	return NULL;
}

Test(rotation, n8_nothing_outlives_a_logout_that_it_races)
{
	for (int round = 0; round < 20; round++) {
		pthread_barrier_t gate;
		struct member m = {.gate = &gate, .token = s.refresh};
		pthread_barrier_init(&gate, NULL, 2);
		pthread_create(&m.thread, NULL, keep_refreshing, &m);
		pthread_barrier_wait(&gate);
		cr_expect_eq(caller_call(&c, "POST", "/auth/logout", s.access,
				 "{\"scope\":\"all\"}"),
		    204);
		pthread_join(m.thread, NULL);
		cr_expect_eq(m.status, 401);
		cr_expect_str_eq(m.got.username, "session_revoked");
		if (*m.got.access)
			cr_expect_eq(caller_verify(&c, m.got.access), 401);
		cr_expect_eq(caller_verify(&c, s.access), 401);
		pthread_barrier_destroy(&gate);
		caller_login(&c, &s);
	}
}

/* ---- 10 to 12: forged and impossible tokens ---- */

Test(rotation, n10_garbage_costs_no_statement)
{
	static const char *const garbage[] = {"", "x",
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	    "AA"
	    "AAAA"};
	uint64_t before = pg_round_trips(c.services.pg);
	for (size_t i = 0; i < 3; i++)
		expect_refused(garbage[i], "refresh_invalid");
	char flipped[128];
	strcpy(flipped, s.refresh);
	flipped[10] = flipped[10] == 'A' ? 'B' : 'A';
	expect_refused(flipped, "refresh_invalid");
	cr_expect_eq(pg_round_trips(c.services.pg), before);
	cr_expect_not(is_revoked());
}

Test(rotation, n11_the_key_alone_forges_nothing)
{
	struct refresh_token t = {.form = 1, .generation = 0};
	char forged[REFRESH_TEXT];
	strcpy(t.session_id, s.session_id);
	for (int i = 0; i < 50; i++) {
		randombytes_buf(t.mac, sizeof t.mac);
		refresh_make(c.services.keys, &t, forged);
		expect_refused(forged, "refresh_invalid");
	}
	cr_expect_not(is_revoked(), "a forger cannot end a session either");
	(void)rotate(s.refresh);
}

Test(rotation, n11_a_token_of_one_session_is_not_one_of_another)
{
	struct signed_in other = s;
	struct refresh_token t;
	char forged[REFRESH_TEXT];
	caller_login(&c, &other);
	cr_assert_eq(refresh_parse(c.services.keys, other.refresh, &t), OK);
	strcpy(t.session_id, s.session_id);
	refresh_make(c.services.keys, &t, forged);
	expect_refused(forged, "refresh_invalid");
	strcpy(t.session_id, "01890000-0000-7000-8000-000000000001");
	refresh_make(c.services.keys, &t, forged);
	expect_refused(forged, "refresh_invalid");
}

Test(rotation, n12_a_generation_ahead_of_a_restored_row_is_an_alarm)
{
	struct signed_in a = rotate(s.refresh);
	auth_sql("UPDATE auth.sessions SET rt_gen = 0 WHERE id = '%s'",
	    s.session_id);
	expect_refused(a.refresh, "refresh_invalid");
	cr_expect_not_null(strstr(c.req.why, "ALARM"));
	cr_expect_not(is_revoked());
}

/* ---- 13, 14 ---- */

Test(rotation, n13_idle_14_days_and_a_second_is_over)
{
	pass("1209590");
	s = rotate(s.refresh);
	pass("1209601");
	expect_refused(s.refresh, "refresh_expired");
}

Test(rotation, n13_thirty_days_are_the_end_however_it_is_used)
{
	for (int day = 0; day < 29; day++) {
		pass("86400");
		s = rotate(s.refresh);
	}
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.sessions WHERE"
				 " idle_expires_at = expires_at AND id = '%s'",
			 s.session_id),
	    1, "the idle end never lies behind the end");
	pass("86401");
	expect_refused(s.refresh, "refresh_expired");
}

Test(rotation, n14_a_row_locked_for_3_s_is_503_and_stays_valid)
{
	struct signed_in none;
	auth_sql("BEGIN; SELECT 1 FROM auth.sessions WHERE id = '%s' FOR"
		 " UPDATE",
	    s.session_id);
	uint64_t before = clock_mono_ms();
	cr_expect_eq(caller_refresh(&c, s.refresh, &none), 503);
	uint64_t took = clock_mono_ms() - before;
	cr_expect(
	    took >= 1900 && took < 10000, "%llu", (unsigned long long)took);
	cr_expect_not_null(caller_header(&c, "Retry-After"));
	auth_sql("ROLLBACK");
	(void)rotate(s.refresh);
}

/* ---- 33: keys come and go ---- */

static void
use_ring(const char *text)
{
	keyring_free(c.services.keys);
	c.services.keys = ring_of(text);
}

Test(rotation, n33_a_new_key_takes_over_without_a_401)
{
	use_ring("k1 previous " RING_KEY_1 "\nk2 current " RING_KEY_2 "\n");
	cr_expect_eq(caller_verify(&c, s.access), 204);
	struct signed_in a = rotate(s.refresh);
	cr_expect_eq(caller_verify(&c, a.access), 204);
	cr_expect_str_eq(rotate(s.refresh).refresh, a.refresh, "the grace too");
	use_ring("k2 current " RING_KEY_2 "\n");
	cr_expect_eq(caller_verify(&c, a.access), 204);
	cr_expect_eq(caller_verify(&c, s.access), 401);
	cr_expect_str_eq(caller_code(&c), "token_invalid");
	expect_refused(s.refresh, "refresh_invalid");
	(void)rotate(a.refresh);
}

/* ---- the function against a model of it ---- */

struct model {
	int gen;
	int device; /* of the last rotation */
	int since;  /* seconds since it; -1: none yet */
	int idle;   /* seconds since the last rotation or sign-in */
	int age;    /* seconds since sign-in */
	bool is_revoked;
};

/* What the specification's section 5.3 says must happen. */
static const char *
predict(struct model *m, int gen, int device)
{
	if (m->is_revoked)
		return "session_revoked";
	if (m->age >= 30 * 86400 || m->idle >= 14 * 86400)
		return "refresh_expired";
	if (gen == m->gen) {
		m->gen++;
		m->device = device;
		m->since = m->idle = 0;
		return "";
	}
	if (gen == m->gen - 1 && m->since >= 0 && m->since <= 30 &&
	    m->device == device)
		return "";
	m->is_revoked = true;
	return "refresh_reused";
}

static void
let_pass(struct model *m, int seconds)
{
	char text[16];
	snprintf(text, sizeof text, "%d", seconds);
	pass(text);
	m->idle += seconds;
	m->age += seconds;
	if (m->since >= 0)
		m->since += seconds;
}

#define GENERATIONS 64

/* One session from sign-in to its end, or 40 steps. */
static void
walk(uint32_t seed)
{
	/* No sum comes near 30 s. */
	static const int waits[] = {8, 16, 40, 86400, 13 * 86400};
	static const char *const agents[] = {"a/1", "b/1"};
	static char tokens[GENERATIONS][128];
	struct model m = {.since = -1};
	char said[1024] = "";
	uint32_t r = seed * 2654435761U + 1;
	caller_login(&c, &s);
	strcpy(tokens[0], s.refresh);
	for (int step = 0; step < 40 && m.gen < GENERATIONS - 1; step++) {
		struct signed_in next;
		r = r * 1664525U + 1013904223U;
		unsigned dice = r >> 16 & 15;
		int back = dice < 9 ? 0 : dice < 13 ? 1 : 2;
		int gen = m.gen > back ? m.gen - back : 0;
		int device = (r >> 20 & 7) == 0;
		if ((r >> 24 & 3) == 0)
			let_pass(&m, waits[(r >> 26) % 5]);
		c.agent = agents[device];
		int was = m.gen;
		const char *want = predict(&m, gen, device);
		int status = caller_refresh(&c, tokens[gen], &next);
		size_t n = strlen(said);
		snprintf(said + n, sizeof said - n, " %d/%d@%d", gen, device,
		    m.since);
		cr_assert_str_eq(
		    caller_code(&c), want, "seed %u:%s", seed, said);
		cr_assert_eq(status, *want ? 401 : 200);
		if (!*want && m.gen == was)
			cr_assert_str_eq(next.refresh, tokens[m.gen]);
		else if (!*want)
			strcpy(tokens[m.gen], next.refresh);
	}
}

Test(rotation, agrees_with_a_model_of_the_specification, .timeout = 120)
{
	for (uint32_t seed = 1; seed <= 60; seed++)
		walk(seed);
}
