/*
 * Looks after replies whose beginning was lost. Owns its list; knows no
 * threads and no SQL.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/queue.h"
#include "chat/turn.h"
#include "server/disowned.h"
#include "store/pg.h"

/* Those that wait to be looked after: an outage's worth of one front, whose
 * every try costs it a time-out. */
#define WAITING_MAX 1024

/* Those of one transaction. */
#define HELD_MAX 64

struct orphan {
	char user_id[ID_TEXT];
	char message_id[ID_TEXT];
	uint64_t decided_ms; /* it is stored by then, or never will be */
};

struct disowned {
	long decided_ms;
	struct queue *waiting;
	struct orphan *held[HELD_MAX];
	size_t n_held;
};

struct disowned *
disowned_new(long decided_ms)
{
	struct disowned *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->decided_ms = decided_ms;
	d->waiting = queue_new(WAITING_MAX);
	if (d->waiting == NULL) {
		free(d);
		return NULL;
	}
	return d;
}

void
disowned_free(struct disowned *d)
{
	struct orphan *o;

	if (d == NULL)
		return;
	while ((o = queue_pop(d->waiting)) != NULL)
		free(o);
	for (size_t i = 0; i < d->n_held; i++)
		free(d->held[i]);
	queue_free(d->waiting);
	free(d);
}

void
disowned_add(struct disowned *d, const char *user_id, const char *message_id)
{
	struct orphan *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return;
	snprintf(o->user_id, sizeof(o->user_id), "%s", user_id);
	snprintf(o->message_id, sizeof(o->message_id), "%s", message_id);
	o->decided_ms = clock_mono_ms() + (uint64_t)d->decided_ms;
	if (!queue_push(d->waiting, o))
		free(o);
}

/* In the users' order, as everybody locks budgets (migration 017). */
static int
compare(const void *a, const void *b)
{
	const struct orphan *x = *(struct orphan *const *)a;
	const struct orphan *y = *(struct orphan *const *)b;

	return strcmp(x->user_id, y->user_id);
}

static void
collect(struct disowned *d)
{
	struct orphan *o;

	while (d->n_held < HELD_MAX && (o = queue_pop(d->waiting)) != NULL)
		d->held[d->n_held++] = o;
	qsort(d->held, d->n_held, sizeof(d->held[0]), compare);
}

/* Is there nothing left to do for it? */
static bool
is_settled(
    const struct orphan *o, const struct pg_call *call, uint64_t asked_ms)
{
	if (pg_flag(call->result, 0, 0)) {
		log_with(LOG_WARNING,
		    "a reply whose beginning was lost is ended as failed",
		    LOG_TEXT("message_id", o->message_id));
		return true;
	}
	return asked_ms >= o->decided_ms;
}

enum err
disowned_settle(struct disowned *d, struct pg *pg)
{
	struct pg_call calls[HELD_MAX];
	const char *users[HELD_MAX];
	uint64_t now = clock_mono_ms();
	size_t n = 0;
	enum err e;

	collect(d);
	if (d->n_held == 0)
		return OK;
	for (size_t i = 0; i < d->n_held; i++) {
		users[i] = d->held[i]->user_id;
		turn_unheard(users[i], d->held[i]->message_id, &calls[i]);
	}
	e = pg_run_many(pg, users, calls, d->n_held);
	if (e != OK)
		return e;
	for (size_t i = 0; i < d->n_held; i++) {
		if (is_settled(d->held[i], &calls[i], now))
			free(d->held[i]);
		else
			d->held[n++] = d->held[i];
	}
	pg_calls_clear(calls, d->n_held);
	d->n_held = n;
	return OK;
}
