/*
 * Breakers: when they open, who probes, what closes them, and that a host's
 * workers see the same one.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "model/breaker.h"

#define NOW      1000000
#define LEASE    60000
#define COOLDOWN 10000

static uint64_t key;

static void
setup(void)
{
	key = breaker_key("https://one.example/v1", "model");
}

TestSuite(breaker, .init = setup);

static bool
ask(struct breaker_pass *p, uint64_t now_ms)
{
	return breaker_enter(p, key, now_ms, LEASE);
}

/* `n` replies that the model fails, one after the other. */
static void
fail_times(int n, uint64_t now_ms)
{
	struct breaker_pass p;

	for (int i = 0; i < n; i++) {
		cr_assert(ask(&p, now_ms), "%d", i);
		breaker_failed(&p, now_ms, COOLDOWN);
	}
}

/* The first moment at which somebody may ask. */
static uint64_t
after_cooldown(uint64_t now_ms)
{
	uint64_t wait = breaker_wait_ms(key, now_ms);

	cr_assert_geq(wait, COOLDOWN * 4 / 5);
	cr_assert_leq(wait, COOLDOWN * 6 / 5);
	return now_ms + wait;
}

Test(breaker, opens_after_five_failures_in_a_row)
{
	struct breaker_pass p;

	fail_times(4, NOW);
	cr_expect_eq(breaker_wait_ms(key, NOW), 0);
	cr_expect_eq(breaker_count_open(), 0);
	fail_times(1, NOW);
	cr_expect(!ask(&p, NOW));
	cr_expect_eq(breaker_count_open(), 1);
	cr_expect(!ask(&p, after_cooldown(NOW) - 1));
}

Test(breaker, a_success_between_them_begins_the_count_anew)
{
	struct breaker_pass p;

	for (int i = 0; i < 20; i++) {
		fail_times(4, NOW);
		cr_assert(ask(&p, NOW));
		breaker_succeeded(&p);
	}
	cr_expect_eq(breaker_count_open(), 0);
}

Test(breaker, failures_further_apart_than_its_window_do_not_count_together)
{
	for (int i = 0; i < 20; i++) {
		fail_times(1, NOW + (uint64_t)i * (BREAKER_WINDOW_MS / 3));
		cr_assert_eq(breaker_count_open(), 0, "%d", i);
	}
	/* The window begins at the first of them. */
	fail_times(4, NOW + 100 * BREAKER_WINDOW_MS);
	fail_times(1, NOW + 101 * BREAKER_WINDOW_MS);
	cr_expect_eq(breaker_count_open(), 1);
}

Test(breaker, one_reply_probes_after_the_cool_down)
{
	struct breaker_pass probe, other;
	uint64_t then;

	fail_times(5, NOW);
	then = after_cooldown(NOW);
	cr_assert(ask(&probe, then));
	cr_expect(probe.is_probe);
	for (int i = 0; i < 10; i++)
		cr_expect(!ask(&other, then + (uint64_t)i));
	breaker_succeeded(&probe);
	cr_expect(ask(&other, then));
	cr_expect(!other.is_probe);
	cr_expect_eq(breaker_count_open(), 0);
	fail_times(4, then); /* nothing is left of the failures before */
	cr_expect_eq(breaker_count_open(), 0);
}

Test(breaker, a_probe_that_fails_begins_the_cool_down_anew)
{
	struct breaker_pass probe;
	uint64_t then;

	fail_times(5, NOW);
	then = after_cooldown(NOW);
	for (int i = 0; i < 3; i++) {
		cr_assert(ask(&probe, then));
		breaker_failed(&probe, then, COOLDOWN);
		cr_expect(!ask(&probe, then));
		then = after_cooldown(then);
	}
}

Test(breaker, a_probe_that_is_given_up_leaves_its_turn_to_the_next)
{
	struct breaker_pass probe, next;
	uint64_t then;

	fail_times(5, NOW);
	then = after_cooldown(NOW);
	cr_assert(ask(&probe, then));
	cr_assert(!ask(&next, then));
	breaker_let_go(&probe, then);
	cr_assert(ask(&next, then));
	cr_expect(next.is_probe);
	breaker_let_go(&probe, then); /* no longer its to give */
	cr_expect(!ask(&probe, then));
}

Test(breaker, a_probe_whose_worker_died_is_forgotten_after_its_lease)
{
	struct breaker_pass probe, next;
	uint64_t then;

	fail_times(5, NOW);
	then = after_cooldown(NOW);
	cr_assert(ask(&probe, then));
	cr_expect(!ask(&next, then + LEASE - 1));
	cr_assert(ask(&next, then + LEASE));
	cr_expect(next.is_probe);
}

Test(breaker, what_began_before_it_opened_changes_nothing)
{
	struct breaker_pass early[2], probe;
	uint64_t then;

	cr_assert(ask(&early[0], NOW));
	cr_assert(ask(&early[1], NOW));
	fail_times(5, NOW);
	then = after_cooldown(NOW);
	breaker_succeeded(&early[0]);
	cr_expect_eq(breaker_wait_ms(key, NOW), then - NOW);
	cr_assert(ask(&probe, then));
	breaker_failed(&early[1], then, COOLDOWN);
	breaker_succeeded(&probe);
	cr_expect_eq(breaker_count_open(), 0);
}

Test(breaker, without_a_cool_down_nothing_is_counted)
{
	struct breaker_pass p;

	for (int i = 0; i < 50; i++) {
		cr_assert(ask(&p, NOW));
		breaker_failed(&p, NOW, 0);
	}
}

Test(breaker, a_model_at_another_server_is_another_model)
{
	struct breaker_pass p;
	uint64_t keys[] = {
	    breaker_key("https://two.example/v1", "model"),
	    breaker_key("https://one.example/v1", "model-2"),
	    breaker_key("https://one.example/v1mo", "del"),
	};

	fail_times(5, NOW);
	for (int i = 0; i < 3; i++) {
		cr_expect_neq(keys[i], key);
		cr_expect(breaker_enter(&p, keys[i], NOW, LEASE), "%d", i);
	}
}

/* Whatever users call their models, what is kept stays this big. */
Test(breaker, many_names_push_each_other_out_and_do_no_harm)
{
	struct breaker_pass p;
	char name[32];
	size_t open;

	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "model-%d", i / 5);
		cr_assert(breaker_enter(&p,
		    breaker_key("https://one.example/v1", name), NOW, LEASE));
		breaker_failed(&p, NOW, COOLDOWN);
	}
	open = breaker_count_open();
	cr_expect_gt(open, 0);
	cr_expect_leq(open, 1024);
}

Test(breaker, the_children_of_a_process_share_it)
{
	struct breaker_pass p;
	int status;

	cr_assert(breaker_share());
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			bool may = ask(&p, NOW);

			breaker_failed(&p, NOW, COOLDOWN);
			_exit(may ? 0 : 1);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	cr_expect(!ask(&p, NOW));
}

static _Atomic int probes;

static void *
ask_often(void *arg)
{
	struct breaker_pass p;

	for (int i = 0; i < 20000; i++)
		if (ask(&p, *(uint64_t *)arg))
			atomic_fetch_add(&probes, 1);
	return NULL;
}

Test(breaker, of_many_at_once_one_is_the_probe)
{
	pthread_t threads[4];
	uint64_t then;

	fail_times(5, NOW);
	then = after_cooldown(NOW);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, ask_often, &then);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(atomic_load(&probes), 1);
}
