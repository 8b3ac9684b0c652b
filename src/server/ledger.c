/*
 * Stores the ends of replies, many in one transaction. Owns its queue, its
 * connections and the turns it was given until they go back; must not know
 * sockets or the model.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue.h"
#include "chat/turn.h"
#include "server/ledger.h"
#include "server/ledger_checkpoint.h"
#include "server/ledger_priv.h"
#include "server/ledger_tools.h"
#include "server/shared.h"
#include "store/cache.h"
#include "store/pg.h"
#include "store/redis.h"

/*
 * Texts of one transaction, in bytes, beyond which no further turn is added.
 * All of it must be stored within CHAT_PG_TIMEOUT, and Postgres takes 5 MB of
 * text a second (measured): 64 replies of 1 MB were tried again for ever.
 */
#define BATCH_BYTES ((size_t)2 << 20)

/* Writes that telling the caches of one batch takes. */
#define CACHE_WRITES (BATCH_MAX / CACHE_USERS_MAX)

/* Pauses while Postgres is away, in ms. */
#define PAUSE_FIRST_MS 50
#define PAUSE_MAX_MS   1000

/* Waits a little longer each time; logs the first failure only. */
static void
pause_while_away(struct ledger *l)
{
	if (!l->was_away)
		log_with(LOG_ERROR, "the ledger waits for Postgres",
		    LOG_TEXT("why", pg_why(l->pg)),
		    LOG_NUMBER("turns", l->n_batch));
	l->was_away = true;
	clock_sleep_ms(l->pause_ms);
	l->pause_ms *= 2;
	if (l->pause_ms > PAUSE_MAX_MS)
		l->pause_ms = PAUSE_MAX_MS;
}

static void
came_back(struct ledger *l)
{
	if (l->was_away)
		log_with(LOG_NOTICE, "the ledger reaches Postgres again",
		    LOG_NUMBER("turns", l->n_batch));
	l->was_away = false;
	l->pause_ms = PAUSE_FIRST_MS;
}

/* Runs the finishing statements of batch[from, to) as one transaction. */
static enum err
run(struct ledger *l, size_t from, size_t to)
{
	size_t first[BATCH_MAX + 1], n = 0;
	enum err e;

	arena_reset(l->arena, ARENA_MAX);
	memset(l->calls, 0, sizeof(l->calls));
	for (size_t i = from; i < to; i++) {
		first[i] = n;
		n += turn_finish(l->batch[i], l->arena, &l->calls[n]);
		for (size_t k = first[i]; k < n; k++)
			l->users[k] = l->batch[i]->user_id;
	}
	first[to] = n;
	e = pg_run_many(l->pg, l->users, l->calls, n);
	for (size_t i = from; i < to && e == OK; i++) {
		struct turn *t = l->batch[i];
		enum err stored = turn_stored(
		    t, &l->calls[first[i]], first[i + 1] - first[i]);

		t->is_stored = stored == OK;
		if (stored != OK && t->error == OK)
			t->error = stored; /* deleted meanwhile */
	}
	pg_calls_clear(l->calls, n);
	return e;
}

/*
 * As run, for as long as Postgres is away. It may be there and yet not take
 * these turns (a lock, a time-out): without a sign meanwhile the other workers
 * would end every reply of this one.
 */
static enum err
run_patiently(struct ledger *l, size_t from, size_t to)
{
	enum err e;

	ledger_sign(l);
	while ((e = run(l, from, to)) == ERR_UNAVAILABLE) {
		/* Others may not have given a sign either: not steady. */
		l->steady_since_ms = 0;
		if (atomic_load(&l->gives_up))
			return e;
		pause_while_away(l);
		ledger_sign(l);
	}
	came_back(l);
	return e;
}

/* Marks, or ends the marks of, the users of batch[from, to). */
static void
tell_caches(struct ledger *l, struct cache_write *writes, size_t from,
    size_t to,
    void (*tell)(struct cache *, struct arena *, struct cache_write *))
{
	for (size_t i = from; i < to; i++) {
		struct cache_write *w = &writes[(i - from) / CACHE_USERS_MAX];

		w->users[(i - from) % CACHE_USERS_MAX] = l->batch[i]->user_id;
		w->n_users = (i - from) % CACHE_USERS_MAX + 1;
	}
	for (size_t i = 0; i < CACHE_WRITES && writes[i].n_users > 0; i++)
		tell(l->cache, l->cache_arena, &writes[i]);
}

/*
 * As run_patiently, and whoever reads afterwards sees it. While Postgres is
 * away a mark may run out; what is read then is what there is.
 */
static enum err
run_told(struct ledger *l, size_t from, size_t to)
{
	struct cache_write writes[CACHE_WRITES] = {0};
	enum err e;

	arena_reset(l->cache_arena, CACHE_ARENA_MAX);
	tell_caches(l, writes, from, to, cache_write_begin);
	e = run_patiently(l, from, to);
	if (e != ERR_UNAVAILABLE)
		tell_caches(l, writes, from, to, cache_write_end);
	for (size_t i = from; i < to && e == OK; i++) {
		arena_reset(l->cache_arena, CACHE_ARENA_MAX);
		answer_keep(l->cache, l->cache_arena, l->batch[i]);
		history_keep(l->cache, l->cache_arena, l->batch[i]);
	}
	return e;
}

static void
log_lost(const struct ledger *l, const struct turn *t)
{
	log_with(LOG_ERROR, "a reply could not be stored",
	    LOG_TEXT("request_id", t->request_id),
	    LOG_TEXT("message_id", t->message_id),
	    LOG_NUMBER("bytes", t->text.n), LOG_TEXT("why", pg_why(l->pg)));
}

static int
compare_turns(const void *a, const void *b)
{
	const struct turn *x = *(struct turn *const *)a;
	const struct turn *y = *(struct turn *const *)b;
	int order = strcmp(x->user_id, y->user_id);

	return order != 0 ? order : strcmp(x->message_id, y->message_id);
}

/*
 * In the users' order: two ledgers whose batches have users in common lock
 * their budgets in the same one (migration 017), so that neither waits for the
 * other in a ring. The replies themselves are each of one ledger alone.
 */
static void
store_batch(struct ledger *l)
{
	enum err e;

	qsort(l->batch, l->n_batch, sizeof(l->batch[0]), compare_turns);
	e = run_told(l, 0, l->n_batch);

	if (e != OK && e != ERR_UNAVAILABLE) {
		for (size_t i = 0; i < l->n_batch; i++)
			if (run_told(l, i, i + 1) != OK)
				log_lost(l, l->batch[i]);
	} else if (e != OK) {
		for (size_t i = 0; i < l->n_batch; i++)
			log_lost(l, l->batch[i]);
	}
	for (size_t i = 0; i < l->n_batch; i++) {
		bool is_given = queue_push(l->to.stored, l->batch[i]);

		assert(is_given);
	}
	metrics_move(GAUGE_TO_STORE, -(int64_t)l->n_batch);
	l->n_batch = 0;
}

/* Takes what waits; waits for a first one up to `timeout_ms`. */
static void
collect(struct ledger *l, int timeout_ms)
{
	struct turn *t = queue_wait(l->inbox, timeout_ms);
	size_t bytes = 0;

	while (t != NULL) {
		l->batch[l->n_batch++] = t;
		bytes += t->text.n;
		if (l->n_batch == BATCH_MAX || bytes >= BATCH_BYTES)
			return;
		t = queue_pop(l->inbox);
	}
}

void *
ledger_run(void *arg)
{
	struct ledger *l = arg;

	for (;;) {
		collect(l, ledger_rounds(l));
		if (l->n_batch > 0)
			store_batch(l);
		else if (queue_is_closed(l->inbox))
			break;
	}
	/* What a model has said by now is billed. */
	while (!atomic_load(&l->gives_up) && ledger_work(l))
		continue;
	atomic_store(&l->has_ended, true);
	return NULL;
}

struct ledger *
ledger_new(struct shared *shared)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->shared = shared;
	l->pause_ms = PAUSE_FIRST_MS;
	l->dead = shared->dead;
	l->pg = services_pg(shared, "natterd ledger", 1);
	l->redis = services_redis(shared);
	l->cache = services_cache(shared, l->redis);
	l->arena = arena_new(ARENA_MAX);
	l->cache_arena = arena_new(CACHE_ARENA_MAX);
	l->inbox = queue_new((size_t)shared->config->streams_max + 1);
	if (l->pg != NULL && l->redis != NULL && l->arena != NULL &&
	    l->inbox != NULL && l->cache != NULL && l->cache_arena != NULL)
		return l;
	ledger_free(l);
	return NULL;
}

void
ledger_returns_to(struct ledger *l, const struct ledger_ways *ways)
{
	l->to = *ways;
}

void
ledger_looks(struct ledger *l, struct queue_pair *looks)
{
	l->looks = looks;
}

void
ledger_works_for(struct ledger *l, struct queue_pair *works)
{
	l->works = works;
}

void
ledger_embeds_for(struct ledger *l, struct queue_pair *embeds)
{
	l->embeds = embeds;
}

void
ledger_wake(struct ledger *l)
{
	queue_wake(l->inbox);
}

void
ledger_ask(struct ledger *l, struct roll *roll)
{
	struct roll *before = atomic_exchange(&l->roll, roll);

	assert(before == NULL);
}

void
ledger_keeps_for(struct ledger *l, struct queue *kept)
{
	l->kept = kept;
}

void
ledger_keep(struct ledger *l, struct checkpoints *checkpoints)
{
	struct checkpoints *before =
	    atomic_exchange(&l->checkpoints, checkpoints);

	assert(before == NULL);
}

void
roll_free(struct roll *roll)
{
	if (roll == NULL)
		return;
	free(roll->pairs);
	free(roll);
}

void
ledger_give(struct ledger *l, struct turn *t)
{
	/* The relay never has more replies than the queue has places. */
	bool is_given;

	metrics_move(GAUGE_TO_STORE, 1);
	is_given = queue_push(l->inbox, t);
	assert(is_given);
}

void
ledger_close(struct ledger *l)
{
	queue_close(l->inbox);
}

void
ledger_give_up(struct ledger *l)
{
	atomic_store(&l->gives_up, true);
}

const char *
ledger_worker_id(const struct ledger *l)
{
	return l->shared->worker_id;
}

bool
ledger_is_known(const struct ledger *l)
{
	return atomic_load(&l->is_known);
}

bool
ledger_has_signed(const struct ledger *l)
{
	return atomic_load(&l->has_signed);
}

bool
ledger_has_ended(const struct ledger *l)
{
	return atomic_load(&l->has_ended);
}

void
ledger_free(struct ledger *l)
{
	if (l == NULL)
		return;
	pg_free(l->pg);
	cache_free(l->cache);
	redis_free(l->redis);
	roll_free(atomic_load(&l->roll));
	checkpoints_free(atomic_load(&l->checkpoints));
	arena_free(l->arena);
	arena_free(l->cache_arena);
	queue_free(l->inbox);
	ledger_tools_free(l);
	free(l);
}
