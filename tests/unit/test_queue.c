/*
 * The queue: order, the bound, the eventfd, waiting and closing, and many
 * pushers at once.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/queue.h"

static int items[64];

static bool
is_readable(struct queue *q)
{
	struct pollfd p = {.fd = queue_fd(q), .events = POLLIN};
	return poll(&p, 1, 0) == 1;
}

Test(queue, gives_back_in_order_over_the_rings_end)
{
	struct queue *q = queue_new(5);
	int in = 0, out = 0;
	for (int round = 0; round < 9; round++) {
		for (int i = 0; i < 4; i++)
			cr_assert(queue_push(q, &items[in++ % 64]));
		cr_assert_eq(queue_length(q), 4);
		for (int i = 0; i < 4; i++)
			cr_assert_eq(queue_pop(q), &items[out++ % 64]);
		cr_assert_null(queue_pop(q));
	}
	queue_free(q);
}

Test(queue, refuses_when_full_and_takes_again_after_a_pop)
{
	for (size_t max = 1; max < 9; max++) {
		struct queue *q = queue_new(max);
		for (size_t i = 0; i < max; i++)
			cr_expect(queue_push(q, &items[i]));
		cr_expect_not(queue_push(q, &items[max]));
		cr_expect_eq(queue_length(q), max);
		cr_expect_eq(queue_pop(q), &items[0]);
		cr_expect(queue_push(q, &items[max]));
		for (size_t i = 1; i <= max; i++)
			cr_expect_eq(queue_pop(q), &items[i]);
		queue_free(q);
	}
}

Test(queue, the_descriptor_is_readable_while_something_waits)
{
	struct queue *q = queue_new(4);
	for (int round = 0; round < 3; round++) {
		cr_expect_not(is_readable(q));
		cr_expect(queue_push(q, &items[0]));
		cr_expect(is_readable(q));
		cr_expect(queue_push(q, &items[1]));
		cr_expect_eq(queue_pop(q), &items[0]);
		cr_expect(is_readable(q), "one still waits");
		cr_expect_eq(queue_wait(q, 0), &items[1]);
		cr_expect_not(is_readable(q));
		cr_expect_null(queue_pop(q));
	}
	queue_free(q);
}

Test(queue, waiting_ends_at_the_time_out)
{
	struct queue *q = queue_new(1);
	uint64_t before = clock_mono_ms();
	cr_expect_null(queue_wait(q, 50));
	cr_expect_geq(clock_mono_ms() - before, 49);
	cr_expect_null(queue_wait(q, 0));
	queue_free(q);
}

static void *
push_later(void *arg)
{
	(void)usleep(20000);
	cr_expect(queue_push(arg, &items[7]));
	return NULL;
}

static void *
close_later(void *arg)
{
	(void)usleep(20000);
	queue_close(arg);
	return NULL;
}

Test(queue, a_waiting_popper_gets_what_another_thread_pushes, .timeout = 20)
{
	static const int timeouts_ms[] = {-1, 10000};
	for (int i = 0; i < 2; i++) {
		struct queue *q = queue_new(1);
		pthread_t t;
		cr_assert_eq(pthread_create(&t, NULL, push_later, q), 0);
		cr_expect_eq(queue_wait(q, timeouts_ms[i]), &items[7]);
		cr_assert_eq(pthread_join(t, NULL), 0);
		queue_free(q);
	}
}

Test(queue, closing_wakes_a_waiting_popper, .timeout = 20)
{
	struct queue *q = queue_new(1);
	pthread_t t;
	cr_assert_eq(pthread_create(&t, NULL, close_later, q), 0);
	cr_expect_null(queue_wait(q, -1));
	cr_assert_eq(pthread_join(t, NULL), 0);
	queue_free(q);
}

Test(queue, closed_it_refuses_pushes_and_gives_what_it_has)
{
	struct queue *q = queue_new(4);
	cr_expect(queue_push(q, &items[0]));
	cr_expect(queue_push(q, &items[1]));
	queue_close(q);
	cr_expect_not(queue_push(q, &items[2]));
	cr_expect_eq(queue_wait(q, -1), &items[0]);
	cr_expect_eq(queue_pop(q), &items[1]);
	cr_expect_null(queue_wait(q, -1), "closed and empty");
	queue_close(q);
	queue_free(q);
}

Test(queue, closing_wakes_a_loop_once)
{
	struct queue *q = queue_new(1);
	queue_close(q);
	cr_expect(is_readable(q));
	cr_expect_null(queue_pop(q));
	cr_expect_not(is_readable(q), "or the loop would spin");
	queue_free(q);
}

#define PUSHERS 4
#define EACH    20000

struct pusher {
	struct queue *q;
	uintptr_t number;
};

static void *
push_many(void *arg)
{
	struct pusher *p = arg;
	for (uintptr_t i = 1; i <= EACH; i++) {
		while (!queue_push(p->q, (void *)(p->number * EACH + i)))
			(void)sched_yield();
	}
	return NULL;
}

/* Pops everything; each pusher's items must come once and in order. */
static void
expect_everything(struct queue *q, bool by_descriptor)
{
	uintptr_t next[PUSHERS];
	for (int i = 0; i < PUSHERS; i++)
		next[i] = 1;
	for (int got = 0; got < PUSHERS * EACH;) {
		struct pollfd p = {.fd = queue_fd(q), .events = POLLIN};
		if (by_descriptor)
			cr_assert_eq(poll(&p, 1, 10000), 1, "a lost wake-up");
		void *item = by_descriptor ? queue_pop(q) : queue_wait(q, -1);
		for (; item; item = queue_pop(q), got++) {
			uintptr_t v = (uintptr_t)item - 1;
			cr_assert_eq(v % EACH + 1, next[v / EACH]);
			next[v / EACH]++;
		}
	}
	cr_expect_not(is_readable(q));
}

Test(queue, nothing_is_lost_or_doubled_between_threads, .timeout = 120)
{
	for (int by_descriptor = 0; by_descriptor < 2; by_descriptor++) {
		struct queue *q = queue_new(17);
		pthread_t t[PUSHERS];
		struct pusher p[PUSHERS];
		for (int i = 0; i < PUSHERS; i++) {
			p[i] = (struct pusher){q, (uintptr_t)i};
			cr_assert_eq(
			    pthread_create(&t[i], NULL, push_many, &p[i]), 0);
		}
		expect_everything(q, by_descriptor);
		for (int i = 0; i < PUSHERS; i++)
			cr_assert_eq(pthread_join(t[i], NULL), 0);
		queue_free(q);
	}
}

static void *
wake(void *q)
{
	queue_wake(q);
	return NULL;
}

/* For ever, but for the wake: before the wait or in its middle. */
Test(queue, a_wake_ends_one_wait_and_loses_nothing, .timeout = 60)
{
	struct queue *q = queue_new(2);
	pthread_t t;

	queue_wake(q);
	cr_expect_null(queue_wait(q, -1));
	cr_assert_eq(pthread_create(&t, NULL, wake, q), 0);
	cr_expect_null(queue_wait(q, -1));
	cr_assert_eq(pthread_join(t, NULL), 0);
	queue_wake(q);
	cr_assert(queue_push(q, &items[1]));
	cr_expect_eq(queue_wait(q, -1), &items[1]);
	cr_expect_null(queue_wait(q, 0));
	queue_free(q);
}

Test(queue, a_size_that_overflows_is_refused)
{
	cr_expect_null(queue_new(SIZE_MAX));
	cr_expect_null(queue_new(SIZE_MAX / sizeof(void *)));
	queue_free(NULL);
}
