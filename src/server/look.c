/*
 * Two queues between the relay and the ledger, and the one question.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/queue.h"
#include "chat/queries.h"
#include "server/look.h"
#include "store/pg.h"

/* Questions of one round trip: a message may have megabytes of text, and all
 * of them are in memory until they are told. */
#define BATCH_MAX 16

struct looks {
	struct queue *asked;
	struct queue *answered;
	size_t n, max; /* asked and not taken; the relay's */
};

void
look_free(struct look *look)
{
	if (look == NULL)
		return;
	PQclear(look->result);
	free(look);
}

struct looks *
looks_new(size_t max)
{
	struct looks *looks = calloc(1, sizeof(*looks));

	if (looks == NULL)
		return NULL;
	looks->max = max;
	looks->asked = queue_new(max);
	looks->answered = queue_new(max);
	if (looks->asked != NULL && looks->answered != NULL)
		return looks;
	looks_free(looks);
	return NULL;
}

static void
empty(struct queue *q)
{
	struct look *look;

	while (q != NULL && (look = queue_pop(q)) != NULL)
		look_free(look);
	queue_free(q);
}

void
looks_free(struct looks *looks)
{
	if (looks == NULL)
		return;
	empty(looks->asked);
	empty(looks->answered);
	free(looks);
}

bool
looks_ask(struct looks *looks, struct look *look)
{
	if (looks->n == looks->max || !queue_push(looks->asked, look))
		return false;
	looks->n++;
	return true;
}

struct look *
looks_take(struct looks *looks)
{
	struct look *look = queue_pop(looks->answered);

	if (look != NULL)
		looks->n--;
	return look;
}

int
looks_fd(const struct looks *looks)
{
	return queue_fd(looks->answered);
}

/* Each under its own user's identity. */
static void
run(struct pg *pg, struct look **batch, size_t n)
{
	struct pg_call calls[BATCH_MAX] = {0};
	const char *users[BATCH_MAX] = {0};
	enum err e;

	for (size_t i = 0; i < n; i++) {
		users[i] = batch[i]->user_id;
		calls[i] = (struct pg_call){
		    .query = chat_query(CHAT_MESSAGE_GET),
		    .params = {batch[i]->user_id, batch[i]->message_id},
		};
	}
	e = pg_run_many(pg, users, calls, n);
	for (size_t i = 0; i < n; i++) {
		batch[i]->error = e;
		if (e == OK && pg_rows(calls[i].result) == 0) {
			batch[i]->error = ERR_NOT_FOUND;
		} else if (e == OK) {
			batch[i]->result = calls[i].result;
			calls[i].result = NULL;
		}
	}
	pg_calls_clear(calls, n);
}

bool
looks_answer(struct looks *looks, struct pg *pg)
{
	struct look *batch[BATCH_MAX];
	size_t n = 0;

	while (n < BATCH_MAX && (batch[n] = queue_pop(looks->asked)) != NULL)
		n++;
	if (n > 0)
		run(pg, batch, n);
	for (size_t i = 0; i < n; i++) {
		/* There are as many places as questions. */
		bool is_given = queue_push(looks->answered, batch[i]);

		assert(is_given);
	}
	return queue_length(looks->asked) > 0;
}
