/*
 * What the ledger does with a work. Each is a transaction of its own: they are
 * few, and one that fails must not take another along.
 */
#include "base/arena.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue_pair.h"
#include "chat/afterwork.h"
#include "server/works.h"
#include "store/cache.h"
#include "store/pg.h"

/* Of one round: those who wait for the end of their replies come first. */
#define BATCH_MAX 4

#define ARENA_MAX       ((size_t)1 << 20)
#define CACHE_ARENA_MAX ((size_t)1 << 20)

static void
free_item(void *w)
{
	afterworks_free(w);
}

struct queue_pair *
works_new(size_t max, size_t bills)
{
	return queue_pair_new(max, bills, free_item);
}

bool
works_give(struct queue_pair *works, struct afterwork *w)
{
	return w->stage == WORK_ASKED ? queue_pair_ask(works, w)
				      : queue_pair_tell(works, w);
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
answer(struct queue_pair *works, struct afterwork *w,
    const struct works_stores *stores)
{
	bool is_end = w->stage != WORK_ASKED;
	bool is_answer = w->stage == WORK_ANSWERED;
	enum err e = run(w, stores);

	if (is_end && e == ERR_UNAVAILABLE && queue_pair_tell(works, w))
		return false;
	if (e != OK)
		complain(w, stores);
	if (is_answer)
		metrics_count(
		    e == OK ? METRIC_AFTERWORK_DONE : METRIC_AFTERWORK_FAILED);
	/* What cannot be stored is billed all the same. */
	if (is_answer && e != OK && e != ERR_UNAVAILABLE && afterwork_failed(w))
		return answer(works, w, stores);
	if (is_end)
		afterworks_free(w);
	else
		queue_pair_answer(works, w);
	return e != ERR_UNAVAILABLE;
}

bool
works_answer(struct queue_pair *works, const struct works_stores *stores)
{
	struct afterwork *w;
	size_t n = 0;

	while (n++ < BATCH_MAX && (w = queue_pair_next(works)) != NULL)
		if (!answer(works, w, stores))
			return false;
	return queue_pair_waits(works);
}
