/*
 * Two queues, and the asker's count of what has not come back.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/queue.h"
#include "base/queue_pair.h"

struct queue_pair {
	struct queue *asked;
	struct queue *answered;
	size_t n, max; /* asked and not taken: the asker's */
	void (*free_item)(void *);
};

struct queue_pair *
queue_pair_new(size_t max, size_t more, void (*free_item)(void *))
{
	struct queue_pair *pair = calloc(1, sizeof(*pair));

	if (pair == NULL)
		return NULL;
	pair->max = max;
	pair->free_item = free_item;
	pair->asked = queue_new(max + more);
	pair->answered = queue_new(max);
	if (pair->asked != NULL && pair->answered != NULL)
		return pair;
	queue_pair_free(pair);
	return NULL;
}

static void
empty(struct queue_pair *pair, struct queue *q)
{
	void *item;

	while (q != NULL && (item = queue_pop(q)) != NULL)
		pair->free_item(item);
	queue_free(q);
}

void
queue_pair_free(struct queue_pair *pair)
{
	if (pair == NULL)
		return;
	empty(pair, pair->asked);
	empty(pair, pair->answered);
	free(pair);
}

bool
queue_pair_ask(struct queue_pair *pair, void *item)
{
	if (pair->n == pair->max || queue_length(pair->asked) >= pair->max ||
	    !queue_push(pair->asked, item))
		return false;
	pair->n++;
	return true;
}

bool
queue_pair_tell(struct queue_pair *pair, void *item)
{
	return queue_push(pair->asked, item);
}

void *
queue_pair_take(struct queue_pair *pair)
{
	void *item = queue_pop(pair->answered);

	if (item != NULL)
		pair->n--;
	return item;
}

int
queue_pair_fd(const struct queue_pair *pair)
{
	return queue_fd(pair->answered);
}

void *
queue_pair_next(struct queue_pair *pair)
{
	return queue_pop(pair->asked);
}

void
queue_pair_answer(struct queue_pair *pair, void *item)
{
	/* There are as many places as questions. */
	bool is_given = queue_push(pair->answered, item);

	assert(is_given);
}

bool
queue_pair_waits(const struct queue_pair *pair)
{
	return queue_length(pair->asked) > 0;
}
