/*
 * Two queues between the relay and the ledger, and what the latter does with
 * a work. Each is a transaction of its own: they are few, and one that fails
 * must not take another along.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue.h"
#include "chat/afterwork.h"
#include "server/works.h"
#include "store/cache.h"
#include "store/pg.h"

/* Of one round: those who wait for the end of their replies come first. */
#define BATCH_MAX 4

#define ARENA_MAX       ((size_t)1 << 20)
#define CACHE_ARENA_MAX ((size_t)1 << 20)

struct works {
	struct queue *asked, *answered;
	size_t max; /* of those asked, without bills */
};

struct works *
works_new(size_t max, size_t bills)
{
	struct works *works = calloc(1, sizeof(*works));

	if (works == NULL)
		return NULL;
	works->max = max;
	works->asked = queue_new(max + bills);
	works->answered = queue_new(max);
	if (works->asked != NULL && works->answered != NULL)
		return works;
	works_free(works);
	return NULL;
}

static void
empty(struct queue *q)
{
	struct afterwork *w;

	while (q != NULL && (w = queue_pop(q)) != NULL)
		afterworks_free(w);
	queue_free(q);
}

void
works_free(struct works *works)
{
	if (works == NULL)
		return;
	empty(works->asked);
	empty(works->answered);
	free(works);
}

bool
works_ask(struct works *works, struct afterwork *w)
{
	return (w->stage != WORK_ASKED ||
		   queue_length(works->asked) < works->max) &&
	       queue_push(works->asked, w);
}

struct afterwork *
works_take(struct works *works)
{
	return queue_pop(works->answered);
}

int
works_fd(const struct works *works)
{
	return queue_fd(works->answered);
}

/* Its user's caches hear of what is stored. */
static enum err
run(struct afterwork *w, const struct works_stores *stores)
{
	struct pg_call calls[AFTERWORK_CALLS] = {0};
	const char *users[AFTERWORK_CALLS] = {w->user_id, w->user_id};
	struct cache_write write = {.users = {w->user_id}, .n_users = 1};
	bool is_write = w->stage != WORK_ASKED;
	enum err e;
	size_t n;

	arena_reset(stores->arena, ARENA_MAX);
	arena_reset(stores->cache_arena, CACHE_ARENA_MAX);
	n = afterwork_calls(w, stores->arena, calls);
	if (is_write)
		cache_write_begin(stores->cache, stores->cache_arena, &write);
	e = pg_run_many(stores->pg, users, calls, n);
	if (is_write && e != ERR_UNAVAILABLE)
		cache_write_end(stores->cache, stores->cache_arena, &write);
	afterwork_done(w, e == OK ? calls : NULL);
	pg_calls_clear(calls, n);
	return e;
}

static void
complain(const struct afterwork *w, const struct works_stores *stores)
{
	log_with(LOG_WARNING, "what follows a reply was not stored",
	    LOG_TEXT("work", afterwork_row(w->kind)->name),
	    LOG_TEXT("message_id", w->message_id),
	    LOG_TEXT("why", pg_why(stores->pg)));
}

/* False: Postgres is away. A bill waits for it, if there is room; a question is
 * answered: nobody knows. */
static bool
answer(
    struct works *works, struct afterwork *w, const struct works_stores *stores)
{
	bool is_end = w->stage != WORK_ASKED;
	bool is_answer = w->stage == WORK_ANSWERED;
	enum err e = run(w, stores);

	if (is_end && e == ERR_UNAVAILABLE && queue_push(works->asked, w))
		return false;
	if (e != OK)
		complain(w, stores);
	if (is_answer)
		metrics_count(
		    e == OK ? METRIC_AFTERWORK_DONE : METRIC_AFTERWORK_FAILED);
	/* What cannot be stored is billed all the same. */
	if (is_answer && e != OK && e != ERR_UNAVAILABLE && afterwork_failed(w))
		return answer(works, w, stores);
	if (is_end || !queue_push(works->answered, w))
		afterworks_free(w);
	return e != ERR_UNAVAILABLE;
}

bool
works_answer(struct works *works, const struct works_stores *stores)
{
	struct afterwork *w;
	size_t n = 0;

	while (n++ < BATCH_MAX && (w = queue_pop(works->asked)) != NULL)
		if (!answer(works, w, stores))
			return false;
	return queue_length(works->asked) > 0;
}
