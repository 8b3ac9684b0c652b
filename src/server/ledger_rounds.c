/*
 * What comes round for the ledger: the worker's life sign, ended sessions,
 * cancelled replies, dead workers' replies, texts of unlogged ones, what
 * readers ask. Owns when each is due; storing the ends of replies is
 * ledger.c's.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/session_watch.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/queue.h"
#include "chat/cancel.h"
#include "chat/queries.h"
#include "server/disowned.h"
#include "server/embeds.h"
#include "server/ledger_checkpoint.h"
#include "server/ledger_priv.h"
#include "server/ledger_sweep.h"
#include "server/ledger_tools.h"
#include "server/look.h"
#include "server/master.h"
#include "server/relay.h"
#include "server/shared.h"
#include "server/works.h"
#include "store/cache.h"

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

void
ledger_sign(struct ledger *l)
{
	if (clock_mono_ms() >= l->next_sign_ms)
		give_life_sign(l);
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

static bool
find_vectors(struct ledger *l)
{
	const struct embeds_stores stores = {
	    .config = l->shared->config,
	    .worker_id = l->shared->worker_id,
	    .is_steady = may_sweep(l, clock_mono_ms()),
	    .pg = l->pg,
	    .arena = l->arena,
	};

	return l->embeds != NULL && embeds_answer(l->embeds, &stores);
}

bool
ledger_work(struct ledger *l)
{
	bool more = find_vectors(l);

	const struct works_stores stores = {
	    .pg = l->pg,
	    .cache = l->cache,
	    .arena = l->arena,
	    .cache_arena = l->cache_arena,
	};

	return (l->works != NULL && works_answer(l->works, &stores)) || more;
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int
ledger_rounds(struct ledger *l)
{
	uint64_t now = clock_mono_ms(), next;
	bool has_tools;

	has_tools = ledger_tools_run(l);
	keep_some(l);
	ledger_sign(l);
	if (now >= l->next_cancels_ms)
		find_cancels(l);
	if (now >= l->next_watch_ms)
		watch(l);
	if (now >= l->next_sweep_ms)
		sweep(l);
	if (atomic_load(&l->checkpoints) != NULL)
		return 0; /* the rest of them, after what has ended */
	if (looks_answer(l->looks, l->pg) || ledger_work(l))
		return 0;
	now = clock_mono_ms();
	next = sooner(sooner(l->next_sign_ms, l->next_watch_ms),
	    sooner(l->next_cancels_ms, l->next_sweep_ms));
	if (has_tools)
		next = sooner(next, l->tools.next_ms);
	return next > now ? (int)(next - now) : 0;
}
