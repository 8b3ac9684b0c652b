/*
 * The pair of queues: what is asked and what is told, their places, what is
 * left at the end, and two threads.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#include "base/queue_pair.h"

#define MAX  3
#define MORE 2

static int items[16];
static int n_freed;

static void
free_item(void *item)
{
	*(int *)item += 1;
	n_freed++;
}

static struct queue_pair *
make(void)
{
	struct queue_pair *pair = queue_pair_new(MAX, MORE, free_item);

	cr_assert_not_null(pair);
	return pair;
}

static bool
is_readable(const struct queue_pair *pair)
{
	struct pollfd p = {.fd = queue_pair_fd(pair), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

Test(queue_pair, what_is_asked_comes_back_in_order)
{
	struct queue_pair *pair = make();

	cr_expect_not(queue_pair_waits(pair));
	cr_expect_null(queue_pair_next(pair));
	cr_expect_null(queue_pair_take(pair));
	cr_expect(queue_pair_ask(pair, &items[0]));
	cr_expect(queue_pair_ask(pair, &items[1]));
	cr_expect(queue_pair_waits(pair));
	cr_expect_not(is_readable(pair));
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(queue_pair_next(pair), &items[i]);
		queue_pair_answer(pair, &items[i]);
	}
	cr_expect_not(queue_pair_waits(pair));
	cr_expect(is_readable(pair));
	cr_expect_eq(queue_pair_take(pair), &items[0]);
	cr_expect_eq(queue_pair_take(pair), &items[1]);
	cr_expect_null(queue_pair_take(pair));
	cr_expect_not(is_readable(pair));
	queue_pair_free(pair);
}

/* Wherever they are: waiting, in the answerer's hand, answered. */
Test(queue_pair, so_many_are_under_way_and_no_more)
{
	struct queue_pair *pair = make();

	for (int i = 0; i < MAX; i++)
		cr_expect(queue_pair_ask(pair, &items[i]));
	cr_expect_not(queue_pair_ask(pair, &items[MAX]));
	cr_expect_eq(queue_pair_next(pair), &items[0]);
	cr_expect_not(queue_pair_ask(pair, &items[MAX]));
	queue_pair_answer(pair, &items[0]);
	cr_expect_not(queue_pair_ask(pair, &items[MAX]));
	cr_expect_eq(queue_pair_take(pair), &items[0]);
	cr_expect(queue_pair_ask(pair, &items[MAX]));
	cr_expect_not(queue_pair_ask(pair, &items[0]));
	queue_pair_free(pair);
}

Test(queue_pair, what_is_told_finds_room_where_questions_do_not)
{
	struct queue_pair *pair = make();

	for (int i = 0; i < MAX; i++)
		cr_expect(queue_pair_ask(pair, &items[i]));
	for (int i = MAX; i < MAX + MORE; i++)
		cr_expect(queue_pair_tell(pair, &items[i]));
	cr_expect_not(queue_pair_tell(pair, &items[15]));
	for (int i = 0; i < MAX + MORE; i++)
		cr_expect_eq(queue_pair_next(pair), &items[i]);
	cr_expect_null(queue_pair_next(pair));
	queue_pair_free(pair);
}

Test(queue_pair, while_much_that_was_told_waits_nothing_is_asked)
{
	struct queue_pair *pair = make();

	for (int i = 0; i < MAX; i++)
		cr_expect(queue_pair_tell(pair, &items[i]));
	cr_expect_not(queue_pair_ask(pair, &items[MAX]));
	cr_expect_eq(queue_pair_next(pair), &items[0]);
	cr_expect(queue_pair_ask(pair, &items[MAX]));
	queue_pair_free(pair);
}

Test(queue_pair, what_is_told_leaves_the_places_of_questions_when_it_is_done)
{
	struct queue_pair *pair = make();

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < MAX + MORE; i++)
			cr_assert(queue_pair_tell(pair, &items[i]));
		while (queue_pair_next(pair) != NULL)
			continue;
	}
	for (int i = 0; i < MAX; i++)
		cr_expect(queue_pair_ask(pair, &items[i]));
	queue_pair_free(pair);
}

Test(queue_pair, what_cannot_be_done_waits_again_behind_the_others)
{
	struct queue_pair *pair = make();

	cr_expect(queue_pair_tell(pair, &items[0]));
	cr_expect(queue_pair_ask(pair, &items[1]));
	cr_expect_eq(queue_pair_next(pair), &items[0]);
	cr_expect(queue_pair_tell(pair, &items[0]));
	cr_expect_eq(queue_pair_next(pair), &items[1]);
	cr_expect_eq(queue_pair_next(pair), &items[0]);
	queue_pair_free(pair);
}

Test(queue_pair, what_nobody_took_is_freed_once)
{
	struct queue_pair *pair = make();

	cr_expect(queue_pair_ask(pair, &items[0]));
	cr_expect(queue_pair_ask(pair, &items[1]));
	cr_expect(queue_pair_ask(pair, &items[2]));
	cr_expect(queue_pair_tell(pair, &items[3]));
	queue_pair_answer(pair, queue_pair_next(pair));
	queue_pair_answer(pair, queue_pair_next(pair));
	cr_expect_eq(queue_pair_take(pair), &items[0]);
	queue_pair_free(pair);
	cr_expect_eq(n_freed, 3);
	cr_expect_eq(items[0], 0);
	for (int i = 1; i < 4; i++)
		cr_expect_eq(items[i], 1);
	queue_pair_free(NULL);
}

#define ROUNDS 20000

/* Answers each question with one more; ends with the item that says so. */
static void *
answer_all(void *arg)
{
	struct queue_pair *pair = arg;

	for (;;) {
		uintptr_t *n = queue_pair_next(pair);

		if (n == NULL) {
			(void)sched_yield();
			continue;
		}
		if (*n == UINTPTR_MAX)
			return NULL;
		*n += 1;
		queue_pair_answer(pair, n);
	}
}

Test(queue_pair, two_threads_ask_and_answer)
{
	struct queue_pair *pair = make();
	uintptr_t places[MAX] = {0}, last = UINTPTR_MAX;
	uintptr_t *n, sum = 0;
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, answer_all, pair), 0);
	for (int i = 0; i < MAX; i++)
		cr_assert(queue_pair_ask(pair, &places[i]));
	for (int came = 0; came < ROUNDS;) {
		struct pollfd p = {.fd = queue_pair_fd(pair), .events = POLLIN};

		cr_assert_eq(poll(&p, 1, -1), 1);
		while (came < ROUNDS && (n = queue_pair_take(pair)) != NULL) {
			came++;
			if (came <= ROUNDS - MAX)
				cr_assert(queue_pair_ask(pair, n));
		}
	}
	cr_assert(queue_pair_tell(pair, &last));
	cr_assert_eq(pthread_join(thread, NULL), 0);
	for (int i = 0; i < MAX; i++)
		sum += places[i];
	cr_expect_eq(sum, ROUNDS);
	queue_pair_free(pair);
	cr_expect_eq(n_freed, 0);
}
