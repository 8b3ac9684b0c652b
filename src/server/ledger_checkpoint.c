/*
 * Storing texts of running replies.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "chat/queries.h"
#include "server/ledger_checkpoint.h"
#include "store/pg.h"

/* At once: a few ms of Postgres's time. */
#define FEW_MAX   64
#define FEW_BYTES ((size_t)256 << 10)

/* What one transaction stores: items[c->done, to). */
static size_t
choose(const struct checkpoints *c)
{
	size_t to = c->done, bytes = 0;

	while (to < c->n && to - c->done < FEW_MAX && bytes < FEW_BYTES)
		bytes += c->items[to++].n;
	return to;
}

static void
fill(const struct checkpoint *item, struct arena *a, struct pg_call *call)
{
	bool has_text = item->text != NULL;
	size_t bytes = has_text ? item->from : item->from + item->n;

	*call = (struct pg_call){
	    .query = chat_query(
		has_text ? CHAT_REPLY_CHECKPOINT : CHAT_COMPLETION_CHECKPOINT),
	    .params = {item->user_id, item->message_id,
		arena_printf(a, "%zu", bytes), item->text},
	};
}

bool
checkpoints_store(struct checkpoints *c, struct pg *pg, struct arena *a)
{
	struct pg_call calls[FEW_MAX] = {0};
	const char *users[FEW_MAX];
	size_t to = choose(c), n = to - c->done;
	struct checkpoint *items = &c->items[c->done];
	enum err e;

	for (size_t i = 0; i < n; i++) {
		users[i] = items[i].user_id;
		fill(&items[i], a, &calls[i]);
	}
	e = n == 0 ? OK : pg_run_many(pg, users, calls, n);
	if (e != OK && e != ERR_UNAVAILABLE)
		log_with(LOG_ERROR, "texts of running replies were not kept",
		    LOG_TEXT("why", pg_why(pg)));
	for (size_t i = 0; i < n && e == OK; i++)
		items[i].result = pg_rows(calls[i].result) > 0
				      ? CHECKPOINT_KEPT
				      : CHECKPOINT_OTHER;
	pg_calls_clear(calls, n);
	c->done = e == ERR_UNAVAILABLE ? c->n : to;
	return c->done < c->n;
}

void
checkpoints_free(struct checkpoints *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->items[i].text);
	free(c);
}
