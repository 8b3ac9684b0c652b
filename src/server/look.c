/*
 * The one question, many at a time.
 */
#include <stdlib.h>

#include "base/queue_pair.h"
#include "chat/queries.h"
#include "server/look.h"
#include "store/pg.h"

/* Questions of one round trip: a message may have megabytes of text, and all
 * of them are in memory until they are told. */
#define BATCH_MAX 16

void
look_free(struct look *look)
{
	if (look == NULL)
		return;
	PQclear(look->result);
	free(look);
}

static void
free_item(void *look)
{
	look_free(look);
}

struct queue_pair *
looks_new(size_t max)
{
	return queue_pair_new(max, 0, free_item);
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
looks_answer(struct queue_pair *looks, struct pg *pg)
{
	struct look *batch[BATCH_MAX];
	size_t n = 0;

	while (n < BATCH_MAX && (batch[n] = queue_pair_next(looks)) != NULL)
		n++;
	if (n > 0)
		run(pg, batch, n);
	for (size_t i = 0; i < n; i++)
		queue_pair_answer(looks, batch[i]);
	return queue_pair_waits(looks);
}
