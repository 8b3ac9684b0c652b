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

#include "auth/session_watch.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue.h"
#include "chat/cancel.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "server/disowned.h"
#include "server/ledger.h"
#include "server/ledger_checkpoint.h"
#include "server/ledger_sweep.h"
#include "server/look.h"
#include "server/master.h"
#include "server/relay.h"
#include "server/shared.h"
#include "store/cache.h"
#include "store/pg.h"
#include "store/redis.h"

/* The most turns of one transaction. */
#define BATCH_MAX 64

/*
 * Texts of one transaction, in bytes, beyond which no further turn is added.
 * All of it must be stored within CHAT_PG_TIMEOUT, and Postgres takes 5 MB of
 * text a second (measured): 64 replies of 1 MB were tried again for ever.
 */
#define BATCH_BYTES ((size_t)2 << 20)

/* The life sign, in ms; a worker counts as dead after 10 s without one. */
#define LIFE_SIGN_MS 3000

/* How often Redis is told of endings, and a roll is looked at, in ms. */
#define WATCH_MS 1000

/* How often cancelled replies are looked for, in ms: what is asked for is done
 * within a second even where Redis is away. */
#define CANCELS_MS 400

/* How often there is a look at what died here, in ms. */
#define SWEEP_MS 1000

/* Sweep others only when Postgres was there this long, in ms: right after an
 * outage nobody has given a sign, and everybody would look dead. */
#define STEADY_MS 5000

/* What one batch's parameters may take; texts are borrowed, not copied. */
#define ARENA_MAX ((size_t)64 << 20)

/* What telling the caches of one batch takes. */
#define CACHE_WRITES    (BATCH_MAX / CACHE_USERS_MAX)
#define CACHE_ARENA_MAX ((size_t)1 << 20)

/* Pauses while Postgres is away, in ms. */
#define PAUSE_FIRST_MS 50
#define PAUSE_MAX_MS   1000

struct ledger {
	struct shared *shared;
	struct pg *pg;
	struct redis *redis;
	struct cache *cache;
	struct arena *arena;
	struct arena *cache_arena; /* of what the caches are told */
	struct queue *inbox;
	struct ledger_ways to;
	struct looks *looks;       /* the relay's */
	struct roll *_Atomic roll; /* the relay's question; NULL: none */
	struct queue *kept;
	struct checkpoints *_Atomic checkpoints; /* to be stored; NULL: none */
	struct turn *batch[BATCH_MAX];
	size_t n_batch;
	struct pg_call calls[BATCH_MAX * TURN_FINISH_CALLS];
	const char *users[BATCH_MAX * TURN_FINISH_CALLS];
	uint64_t next_sign_ms;
	uint64_t next_watch_ms;
	uint64_t next_cancels_ms;
	uint64_t next_sweep_ms;
	const char *dead; /* not told yet; NULL: none */
	bool sweeps_all;  /* once after each sign: the silent ones' too */
	uint64_t
	    steady_since_ms; /* every sign since then went well; 0 = none */
	int pause_ms;
	bool was_away;
	bool sign_fails;         /* the last sign did: it is logged once */
	_Atomic bool is_known;   /* the worker's row is there */
	_Atomic bool has_signed; /* or was tried to be written */
	_Atomic bool gives_up;
	_Atomic bool has_ended;
};

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

static bool
may_sweep(const struct ledger *l, uint64_t now)
{
	return l->steady_since_ms != 0 && now >= l->steady_since_ms + STEADY_MS;
}

/* A worker of a role that row level security does not bind must not serve:
 * found before it could take its first reply, so that nothing is lost. */
static void
end_if_misconfigured(const struct ledger *l)
{
	if (atomic_load(&l->is_known) || !pg_role_is_refused(l->pg))
		return;
	log_with(LOG_ERROR, "DATABASE_URL cannot be used",
	    LOG_TEXT("why", pg_why(l->pg)),
	    LOG_TEXT("remedy",
		"name the role natter_app in DATABASE_URL; natterctl bootstrap "
		"gives it its rights, natterctl migrate verify says what is "
		"amiss"));
	_exit(EXIT_CONFIGURATION);
}

static void
give_life_sign(struct ledger *l)
{
	struct pg_call calls[TURN_WORKER_CALLS] = {0};
	uint64_t now = clock_mono_ms();
	size_t n;
	enum err e;

	arena_reset(l->arena, ARENA_MAX);
	n = turn_worker_calls(l->shared->worker_id, l->dead, l->arena, calls);
	e = pg_run(l->pg, NULL, calls, n);
	if (e == OK && pg_rows(calls[0].result) > 0)
		clock_learn(
		    &l->shared->clock, pg_number(calls[0].result, 0, 0), now);
	if (e != OK)
		end_if_misconfigured(l);
	if (e != OK && !l->sign_fails && !l->was_away)
		log_with(LOG_WARNING, "the worker's life sign failed",
		    LOG_TEXT("why", pg_why(l->pg)));
	if (e == OK && l->sign_fails)
		log_text(LOG_NOTICE, "the worker's life sign works again");
	l->sign_fails = e != OK;
	pg_calls_clear(calls, n);
	if (e != OK)
		l->steady_since_ms = 0;
	else if (l->steady_since_ms == 0)
		l->steady_since_ms = now;
	if (e == OK) {
		atomic_store(&l->is_known, true);
		l->dead = NULL;
	}
	l->sweeps_all = may_sweep(l, now);
	atomic_store(&l->has_signed, true);
	l->next_sign_ms = clock_mono_ms() + (e == OK ? LIFE_SIGN_MS : 500);
}

static void
sign_if_due(struct ledger *l)
{
	if (clock_mono_ms() >= l->next_sign_ms)
		give_life_sign(l);
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

	sign_if_due(l);
	while ((e = run(l, from, to)) == ERR_UNAVAILABLE) {
		/* Others may not have given a sign either: not steady. */
		l->steady_since_ms = 0;
		if (atomic_load(&l->gives_up))
			return e;
		pause_while_away(l);
		sign_if_due(l);
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

/* Answers the relay. Without Postgres nobody is said to have ended. */
static void
call_roll(const struct session_watch *w, struct ledger *l)
{
	struct roll *roll = atomic_exchange(&l->roll, NULL);
	bool is_given;

	if (roll == NULL)
		return;
	if (session_watch_ended(w, roll->pairs, roll->n, &roll->n_ended) != OK)
		roll->n_ended = 0;
	is_given = queue_push(l->to.rolls, roll);
	assert(is_given);
}

/* Tells the caches what happened past the workers' requests. */
static void
tell_state(struct ledger *l)
{
	struct pg_call call = {.query = chat_query(CHAT_CACHE_STATE)};
	enum err e = pg_run(l->pg, NULL, &call, 1);

	arena_reset(l->cache_arena, CACHE_ARENA_MAX);
	if (e == OK)
		e = cache_tell(
		    l->cache, l->cache_arena, pg_text(call.result, 0, 0));
	pg_calls_clear(&call, 1);
	if (e != OK && e != ERR_UNAVAILABLE)
		log_with(LOG_ERROR, "the caches were not told of changes",
		    LOG_TEXT("why", err_code(e)));
}

/*
 * While Postgres is away there is nothing to ask it: nobody can end a session
 * then. What Redis thinks of it the other threads notice themselves.
 */
static void
watch(struct ledger *l)
{
	const struct session_watch w = {
	    .pg = l->pg,
	    .redis = l->redis,
	    .arena = l->arena,
	    .doubt = &l->shared->doubt,
	    .access_ttl_s = l->shared->config->access_ttl_s,
	};
	enum err e;

	arena_reset(l->arena, ARENA_MAX);
	e = session_watch_bury(&w);
	if (e != OK && e != ERR_UNAVAILABLE)
		log_with(LOG_ERROR, "redis was not told of ended sessions",
		    LOG_TEXT("why", err_code(e)));
	e = disowned_settle(l->shared->disowned, l->pg);
	if (e != OK && e != ERR_UNAVAILABLE)
		log_with(LOG_ERROR, "replies without an owner were not ended",
		    LOG_TEXT("why", pg_why(l->pg)));
	tell_state(l);
	call_roll(&w, l);
	l->next_watch_ms = clock_mono_ms() + WATCH_MS;
}

/* Stores a few texts of running replies. */
static void
keep_some(struct ledger *l)
{
	struct checkpoints *c = atomic_exchange(&l->checkpoints, NULL);
	bool is_given;

	if (c == NULL)
		return;
	arena_reset(l->arena, ARENA_MAX);
	if (checkpoints_store(c, l->pg, l->arena)) {
		atomic_store(&l->checkpoints, c);
		return;
	}
	is_given = queue_push(l->kept, c);
	assert(is_given);
}

/* Tells the relay whose replies their users have cancelled. A queue that is
 * full holds what it has not looked at yet; we ask again. */
static void
find_cancels(struct ledger *l)
{
	struct cancels *found = NULL;
	enum err e = OK;

	if (relay_count(l->shared->relay) > 0)
		e = cancels_find(l->pg, l->shared->worker_id, &found);
	if (e != OK && e != ERR_UNAVAILABLE)
		log_with(LOG_ERROR, "cancelled replies were not looked for",
		    LOG_TEXT("why", pg_why(l->pg)));
	if (found != NULL && !queue_push(l->to.cancels, found))
		free(found);
	l->next_cancels_ms = clock_mono_ms() + CANCELS_MS;
}

/* A piece of what dead workers left. */
static void
sweep(struct ledger *l)
{
	const struct sweep s = {
	    .pg = l->pg,
	    .redis = l->redis,
	    .worker_id = l->shared->worker_id,
	    .whose = l->sweeps_all ? LOST_OF_SILENT : LOST_OF_DEAD,
	};
	bool has_more = false;
	enum err e = ledger_sweep(&s, &has_more);

	if (e != OK && e != ERR_UNAVAILABLE)
		log_with(LOG_ERROR, "lost replies were not swept",
		    LOG_TEXT("why", pg_why(l->pg)));
	l->sweeps_all = l->sweeps_all && has_more;
	l->next_sweep_ms = clock_mono_ms() + (has_more ? 0 : SWEEP_MS);
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Does what is due; how long nothing will be, in ms. */
static int
do_rounds(struct ledger *l)
{
	uint64_t now = clock_mono_ms(), next;

	keep_some(l);
	sign_if_due(l);
	if (now >= l->next_cancels_ms)
		find_cancels(l);
	if (now >= l->next_watch_ms)
		watch(l);
	if (now >= l->next_sweep_ms)
		sweep(l);
	if (atomic_load(&l->checkpoints) != NULL)
		return 0; /* the rest of them, after what has ended */
	if (looks_answer(l->looks, l->pg))
		return 0;
	now = clock_mono_ms();
	next = sooner(sooner(l->next_sign_ms, l->next_watch_ms),
	    sooner(l->next_cancels_ms, l->next_sweep_ms));
	return next > now ? (int)(next - now) : 0;
}

void *
ledger_run(void *arg)
{
	struct ledger *l = arg;

	for (;;) {
		collect(l, do_rounds(l));
		if (l->n_batch > 0)
			store_batch(l);
		else if (queue_is_closed(l->inbox))
			break;
	}
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
	l->pg = services_pg(shared, "natterd ledger");
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
ledger_looks(struct ledger *l, struct looks *looks)
{
	l->looks = looks;
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
	free(l);
}
