/*
 * Sessions over several workers and several hosts, through nginx: two natterd
 * that share Postgres, Redis and the key ring and nothing else, their clocks
 * ten minutes apart. Numbers in the names are those of the adversarial list.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "stack.h"

#define CROWD  50
#define ROUNDS 3
#define HOSTS  2

static struct stack hosts[HOSTS];
static size_t n_hosts;

static void
open_hosts(const char *const *clocks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct stack_options o = {
		    .settings = {"CHAT_WORKERS=3"}, .clock = clocks[i]};

		stack_start(&hosts[i], &o);
		n_hosts++;
	}
}

static void
open_one(void)
{
	open_hosts((const char *const[]){NULL}, 1);
}

static void
open_both(void)
{
	open_hosts((const char *const[]){"+300", "-300"}, HOSTS);
}

static void
teardown(void)
{
	for (size_t i = 0; i < n_hosts; i++)
		stack_stop(&hosts[i]);
}

TestSuite(workers, .init = open_one, .fini = teardown, .timeout = 120);
TestSuite(hosts, .init = open_both, .fini = teardown, .timeout = 120);

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	const struct stack *host;
	const char *token;
	struct exchanged got;
};

static void *
present(void *arg)
{
	struct member *m = arg;

	pthread_barrier_wait(m->gate);
	call_refresh(m->host, m->token, &m->got);
	return NULL;
}

/* Everybody presents the token at once, spread over the hosts. */
static void
crowd(struct member m[static CROWD], const char *token)
{
	pthread_barrier_t gate;

	pthread_barrier_init(&gate, NULL, CROWD);
	for (size_t i = 0; i < CROWD; i++) {
		m[i] = (struct member){
		    .gate = &gate, .host = &hosts[i % n_hosts], .token = token};
		cr_assert_eq(
		    pthread_create(&m[i].thread, NULL, present, &m[i]), 0);
	}
	for (size_t i = 0; i < CROWD; i++)
		pthread_join(m[i].thread, NULL);
	pthread_barrier_destroy(&gate);
}

/* One answer for all; every host takes the tokens; one step further. */
static void
expect_one_successor(const struct member m[static CROWD],
    const struct person *p, long generation)
{
	for (size_t i = 0; i < CROWD; i++) {
		cr_assert_eq(m[i].got.status, 200, "%zu: %ld %s", i,
		    m[i].got.status, m[i].got.code);
		cr_expect_str_eq(m[i].got.refresh, m[0].got.refresh);
		cr_expect_str_eq(m[i].got.access, m[0].got.access);
	}
	cr_expect_eq(session_generation(p->username), generation);
	for (size_t i = 0; i < 4 * n_hosts; i++)
		cr_expect_eq(call_verify(&hosts[i % n_hosts], m[0].got.access),
		    204, "host %zu", i % n_hosts);
}

static void
crowds_get_one_successor(void)
{
	static struct member m[CROWD];
	struct person p;
	char token[256];

	person_make(&hosts[0], &p);
	snprintf(token, sizeof(token), "%s", p.refresh);
	for (long round = 1; round <= ROUNDS; round++) {
		crowd(m, token);
		expect_one_successor(m, &p, round);
		snprintf(token, sizeof(token), "%s", m[0].got.refresh);
	}
}

Test(workers, n1_50_at_once_get_one_refresh_and_one_access_token)
{
	crowds_get_one_successor();
}

Test(hosts, n2_clocks_ten_minutes_apart_change_nothing)
{
	crowds_get_one_successor();
}

/* What either host issues, both take at once, whatever its own clock says. */
Test(hosts, n2_each_takes_what_the_other_issued)
{
	for (size_t i = 0; i < n_hosts; i++) {
		const struct stack *here = &hosts[i];
		const struct stack *there = &hosts[(i + 1) % n_hosts];
		struct person p;
		struct exchanged got;

		person_make(here, &p);
		for (int k = 0; k < 6; k++) {
			cr_expect_eq(call_verify(here, p.token), 204);
			cr_expect_eq(call_verify(there, p.token), 204);
		}
		call_refresh(there, p.refresh, &got);
		cr_assert_eq(got.status, 200);
		cr_expect_eq(call_verify(here, got.access), 204);
		cr_expect_eq(call_logout(there, got.access), 204);
		for (int k = 0; k < 6; k++) {
			cr_expect_eq(call_verify(here, p.token), 401);
			cr_expect_eq(call_verify(here, got.access), 401);
		}
	}
}

/* Every worker knows the database's clock before it serves. */
Test(hosts, n2_nor_does_a_worker_that_has_just_started_differ)
{
	struct person p;

	person_make(&hosts[0], &p);
	for (size_t i = 0; i < 2 * n_hosts; i++) {
		const struct stack *host = &hosts[i % n_hosts];

		kill(host->natterd, SIGHUP);
		for (int k = 0; k < 100; k++) {
			long status = call_verify(host, p.token);

			cr_expect_eq(status, 204, "%ld", status);
		}
	}
}

/* ---- 8: a race with the end ---- */

static void *
keep_refreshing(void *arg)
{
	struct member *m = arg;
	struct exchanged got;
	char token[256];

	snprintf(token, sizeof(token), "%s", m->token);
	pthread_barrier_wait(m->gate);
	for (;;) {
		call_refresh(m->host, token, &got);
		if (got.status != 200)
			break;
		m->got = got;
		snprintf(token, sizeof(token), "%s", got.refresh);
	}
	snprintf(m->got.code, sizeof(m->got.code), "%s", got.code);
	m->got.status = got.status;
	return NULL;
}

static void
race(int round)
{
	pthread_barrier_t gate;
	struct member m;
	struct person p;
	struct exchanged late;

	person_make(&hosts[0], &p);
	pthread_barrier_init(&gate, NULL, 2);
	m = (struct member){
	    .gate = &gate, .host = &hosts[0], .token = p.refresh};
	pthread_create(&m.thread, NULL, keep_refreshing, &m);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < round; i++) /* a little later in each round */
		(void)call_verify(&hosts[0], p.token);
	cr_expect_eq(call_logout(&hosts[0], p.token), 204);
	/* After the logout's answer, without waiting for the racer. */
	call_refresh(&hosts[0], p.refresh, &late);
	cr_expect_eq(late.status, 401);
	cr_expect_str_eq(late.code, "session_revoked");
	cr_expect_eq(call_verify(&hosts[0], p.token), 401);
	pthread_join(m.thread, NULL);
	cr_expect_eq(m.got.status, 401);
	cr_expect_str_eq(m.got.code, "session_revoked");
	if (m.got.access[0] != '\0') {
		cr_expect_eq(call_verify(&hosts[0], m.got.access), 401);
		call_refresh(&hosts[0], m.got.refresh, &late);
		cr_expect_str_eq(late.code, "session_revoked");
	}
	pthread_barrier_destroy(&gate);
}

Test(workers, n8_nothing_outlives_a_logout_that_it_races)
{
	for (int round = 0; round < 20; round++)
		race(round);
}
