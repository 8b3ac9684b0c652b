/*
 * What the caches save, and what they cost: handlers with and without them, in
 * turn, in one process, on a private Postgres and Redis. Figures are medians;
 * the ratio is what counts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/clock.h"
#include "chat/queries.h"
#include "http/reply.h"
#include "store/cache.h"
#include "store/redis.h"
#include "tests/support/servers.h"
#include "tests/support/world.h"

#define ROUNDS    300
#define MESSAGES  50
#define BYTES     "500"
#define REPLIES   20000
#define CONTEXT   "40"
#define ARENA_MAX ((size_t)16 << 20)

static struct world w;
static _Atomic uint64_t troubles;
static struct cache_shared shared = {.troubles = &troubles};
static struct cache *cache;
static struct arena *arena;
static char conversation[ID_TEXT];
static char leaf[ID_TEXT];

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double
median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

static void
tell(void)
{
	for (int i = 0; i < 2; i++)
		if (cache_tell(cache, arena, "bench") != OK)
			abort();
}

static double
time_call(world_handler_fn handler, const char *id, struct cache *with)
{
	struct request *req = world_request(&w);
	struct reply rep = {0};
	w.services.cache = with;
	req->ids[0] = id;
	uint64_t began = clock_mono_us();
	if (handler(req, &rep) != OK)
		abort();
	return (double)(clock_mono_us() - began);
}

static void
compare_handler(const char *name, world_handler_fn handler, const char *id)
{
	static double kept[ROUNDS], asked[ROUNDS];
	for (int i = 0; i < ROUNDS; i++) {
		tell();
		asked[i] = time_call(handler, id, NULL);
		kept[i] = time_call(handler, id, cache);
	}
	double a = median(asked, ROUNDS), k = median(kept, ROUNDS);
	printf("%-28s Postgres %8.0f us   Redis %6.0f us   ratio %6.2f\n", name,
	    a, k, a / k);
}

static void
time_writes(void)
{
	static double took[ROUNDS];
	for (int i = 0; i < ROUNDS; i++) {
		struct cache_write write = {.users = {w.user}, .n_users = 1};
		arena_reset(arena, ARENA_MAX);
		uint64_t began = clock_mono_us();
		cache_write_begin(cache, arena, &write);
		cache_write_end(cache, arena, &write);
		took[i] = (double)(clock_mono_us() - began);
	}
	printf("%-28s %32s %6.0f us\n", "a write tells Redis twice", "",
	    median(took, ROUNDS));
}

/* One pipeline of `n` calls, the turn's lock and its history. */
static double
time_pipeline(size_t n)
{
	struct pg_call calls[] = {
	    {.query = chat_query(CHAT_TURN_LOCK),
		.params = {w.user, conversation, NULL, "f"}},
	    {.query = chat_query(CHAT_TURN_HISTORY),
		.params = {w.user, leaf, CONTEXT, "1048576", "f"}},
	};
	uint64_t began = clock_mono_us();
	if (pg_run(w.services.pg, w.user, calls, n) != OK)
		abort();
	double took = (double)(clock_mono_us() - began);
	pg_calls_clear(calls, n);
	return took;
}

/* A history as long as that of Postgres, as CHAT_CONTEXT_CACHE has it. */
static size_t
history_bytes(void)
{
	struct pg_call call = {.query = chat_query(CHAT_TURN_HISTORY),
	    .params = {w.user, leaf, CONTEXT, "1048576", "f"}};
	size_t n = 0;
	if (pg_run(w.services.pg, w.user, &call, 1) != OK)
		abort();
	for (int i = 0; i < pg_rows(call.result); i++)
		n += strlen(pg_text(call.result, i, 1)) + 16;
	pg_calls_clear(&call, 1);
	return n;
}

/* The context of a turn, of messages so long: the front looks, the ledger
 * keeps. */
static void
compare_context(const char *bytes)
{
	static double without[ROUNDS], with[ROUNDS], looks[ROUNDS],
	    keeps[ROUNDS];
	world_sql("UPDATE chat.messages SET content = repeat('x', %s)"
		  " WHERE user_id = '%s'",
	    bytes, w.user);
	world_sql("VACUUM ANALYZE chat.messages");
	size_t n = history_bytes();
	char *text = calloc(1, n + 1);
	memset(text, 'x', n);
	for (int i = 0; i < ROUNDS; i++) {
		struct cache_slot slot = {.kind = CACHE_CONTEXT};
		if (i % 100 == 0)
			tell();
		without[i] = time_pipeline(1);
		with[i] = time_pipeline(2);
		arena_reset(arena, ARENA_MAX);
		uint64_t began = clock_mono_us();
		if (cache_context_look(cache, arena, w.user, conversation,
			&slot) == CACHE_PASS)
			abort();
		looks[i] = (double)(clock_mono_us() - began);
		const struct cache_answer_place at = {.user_id = w.user,
		    .hash = conversation,
		    .stamp = slot.stamp};
		began = clock_mono_us();
		cache_context_keep(cache, arena, &at, text, n);
		keeps[i] = (double)(clock_mono_us() - began);
	}
	free(text);
	double p = median(with, ROUNDS) - median(without, ROUNDS);
	double look = median(looks, ROUNDS), keep = median(keeps, ROUNDS);
	printf("context of 40 messages of %-5s Postgres %5.0f us   Redis %6.0f"
	       " us, and %.0f us to keep it (%zu bytes)\n",
	    bytes, p, look, keep, n);
}

static void
fill(void)
{
	world_conversation(&w, conversation);
	for (int i = 0; i < MESSAGES / 2; i++)
		world_turn(&w, conversation, NULL, "A question.", leaf);
	world_sql("UPDATE chat.messages SET content = repeat('x', " BYTES ")"
		  " WHERE user_id = '%s'",
	    w.user);
	world_sql("INSERT INTO chat.usage_tracking (user_id, id, model,"
		  " prompt_tokens, completion_tokens)"
		  " SELECT '%s', natter.uuid_floor(now()), 'm', 10, 10",
	    w.user);
	world_sql("INSERT INTO chat.usage_tracking (user_id, id, model,"
		  " prompt_tokens, completion_tokens)"
		  " SELECT '%s', gen_random_uuid(), 'm', 10, 10"
		  " FROM generate_series(1, %d)",
	    w.user, REPLIES);
	world_sql("VACUUM ANALYZE chat.messages, chat.usage_tracking");
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!servers_provide_redis() || !world_provide("bench_cache"))
		return 1;
	world_open(&w, NULL);
	w.services.redis = redis_new(getenv("TEST_REDIS_URL"), 1000);
	redis_count_troubles(w.services.redis, &troubles);
	cache = cache_new(w.services.redis, &shared, 60000, true);
	arena = arena_new(ARENA_MAX);
	fill();
	compare_handler("50 messages", api_messages_list, conversation);
	compare_handler("a conversation's statistics", api_conversation_stats,
	    conversation);
	compare_handler("statistics of 20,000 replies", api_me_stats, NULL);
	time_writes();
	compare_context(BYTES);
	compare_context("6000");
	return 0;
}
