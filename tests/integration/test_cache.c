/*
 * store/cache.c against a running Redis: what is kept, for how long, and that
 * nobody is ever shown what was written over, whoever dies or is away when.
 * Who ends everybody's values, or maltreats Redis, has a Redis of its own.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "store/cache.h"
#include "store/redis.h"
#include "tests/support/redis_scratch.h"
#include "tests/support/servers.h"

#define ARENA_MAX ((size_t)16 << 20)

/* A worker's thread with caches of its own connection. */
struct world {
	_Atomic uint64_t troubles;
	struct cache_shared shared;
	struct redis *redis;
	struct cache *cache;
	struct arena *arena;
	char user[ID_TEXT];
};

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!servers_provide_redis())
		exit(1);
}

/* Waits so long for Redis. */
static void
world_open_for(struct world *w, const char *url, long write_ms, long timeout_ms)
{
	*w = (struct world){0};
	w->shared.troubles = &w->troubles;
	w->redis = redis_new(url ? url : getenv("TEST_REDIS_URL"), timeout_ms);
	redis_count_troubles(w->redis, &w->troubles);
	w->cache = cache_new(w->redis, &w->shared, write_ms, true);
	w->arena = arena_new(ARENA_MAX);
	id_make(w->user);
	/* The first time the connection itself is trouble. */
	for (int i = 0; i < 2; i++)
		cr_assert_eq(cache_tell(w->cache, w->arena, "state"), OK);
}

/* A Redis that gets no CPU for a while is not one that is away. */
static void
world_open(struct world *w, const char *url, long write_ms)
{
	world_open_for(w, url, write_ms, 5000);
}

static void
world_close(struct world *w)
{
	cache_free(w->cache);
	redis_free(w->redis);
	arena_free(w->arena);
}

static struct cache_slot
slot_of(const struct world *w, const char *what)
{
	return (struct cache_slot){.kind = CACHE_HISTORY,
	    .user_id = w->user,
	    .what = what,
	    .variant = "asc50"};
}

static enum cache_found
look(struct world *w, struct cache_slot *slot)
{
	return cache_look(w->cache, w->arena, slot);
}

static void
keep(struct world *w, const struct cache_slot *slot, const char *value)
{
	cache_keep(w->cache, w->arena, slot, value, strlen(value), -1);
}

/* What a reader is shown; NULL: the reader has to ask Postgres. */
static const char *
shown(struct world *w, const char *what)
{
	struct cache_slot slot = slot_of(w, what);
	enum cache_found found = look(w, &slot);

	if (found == CACHE_BUILD)
		cache_keep(w->cache, w->arena, &slot, NULL, 0, -1);
	return found == CACHE_HIT ? slot.payload : NULL;
}

/* Keeps a value that a reader then is shown. */
static void
warm(struct world *w, const char *what, const char *value)
{
	struct cache_slot slot = slot_of(w, what);

	cr_assert_eq(look(w, &slot), CACHE_BUILD);
	keep(w, &slot, value);
	cr_assert_str_eq(shown(w, what), value);
}

static struct cache_write
write_of(const struct world *w, enum cache_change change)
{
	return (struct cache_write){
	    .change = change, .users = {w->user}, .n_users = 1};
}

static void
begin(struct world *w, struct cache_write *write)
{
	cache_write_begin(w->cache, w->arena, write);
}

static void
end(struct world *w, struct cache_write *write)
{
	cache_write_end(w->cache, w->arena, write);
}

static void
pause_ms(long ms)
{
	const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static uint64_t
hits(const struct world *w)
{
	return atomic_load(&w->shared.counts[CACHE_HISTORY].hits);
}

static uint64_t
misses(const struct world *w)
{
	return atomic_load(&w->shared.counts[CACHE_HISTORY].misses);
}

Test(cache, shows_what_was_kept_and_counts)
{
	struct world w;
	struct cache_slot other;

	world_open(&w, NULL, 60000);
	warm(&w, "c1", "[1,2,3]");
	cr_expect_eq(misses(&w), 1);
	cr_expect_eq(hits(&w), 1);
	cr_expect_eq(atomic_load(&w.shared.counts[CACHE_HISTORY].keeps), 1);
	cr_expect_str_eq(shown(&w, "c1"), "[1,2,3]");
	cr_expect_null(shown(&w, "c2"));
	/* Another form of it takes its place. */
	other = slot_of(&w, "c1");
	other.variant = "desc50";
	cr_assert_eq(look(&w, &other), CACHE_BUILD);
	keep(&w, &other, "[3,2,1]");
	cr_expect_null(shown(&w, "c1"));
	world_close(&w);
}

Test(cache, one_user_is_never_shown_what_is_anothers)
{
	struct world a, b;

	world_open(&a, NULL, 60000);
	world_open(&b, NULL, 60000);
	warm(&a, "c1", "a's");
	cr_expect_null(shown(&b, "c1"));
	warm(&b, "c1", "b's");
	cr_expect_str_eq(shown(&a, "c1"), "a's");
	world_close(&a);
	world_close(&b);
}

Test(cache, values_live_about_as_long_as_their_kind_says)
{
	static const struct {
		enum cache_kind kind;
		long ttl_s;
	} kinds[] = {
	    {CACHE_USER, 300}, {CACHE_HISTORY, 3600}, {CACHE_STATS, 86400}};
	struct world w;
	long long least = 0, most = 0;

	world_open(&w, NULL, 60000);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		for (int i = 0; i < 40; i++) {
			char what[16];
			struct cache_slot slot = slot_of(&w, what);
			long long ms;

			snprintf(what, sizeof(what), "%zu-%d", k, i);
			slot.kind = kinds[k].kind;
			cr_assert_eq(look(&w, &slot), CACHE_BUILD);
			keep(&w, &slot, "x");
			ms = number_of(w.redis, WORDS("PTTL", slot.key));
			cr_expect_leq(ms, kinds[k].ttl_s * 1100);
			cr_expect_gt(ms, kinds[k].ttl_s * 900 - 60000);
			least = i == 0 || ms < least ? ms : least;
			most = i == 0 || ms > most ? ms : most;
		}
		/* 40 at once do not end at once. */
		cr_expect_gt(most - least, kinds[k].ttl_s * 20);
	}
	world_close(&w);
}

Test(cache, a_value_ends_when_it_stops_being_true)
{
	struct world w;
	struct cache_slot slot;

	world_open(&w, NULL, 60000);
	slot = slot_of(&w, "late");
	cr_assert_eq(look(&w, &slot), CACHE_BUILD);
	cache_keep(w.cache, w.arena, &slot, "x", 1, 60000);
	cr_expect_str_eq(shown(&w, "late"), "x");
	cr_expect_leq(number_of(w.redis, WORDS("PTTL", slot.key)), 59000);
	slot = slot_of(&w, "soon");
	cr_assert_eq(look(&w, &slot), CACHE_BUILD);
	cache_keep(w.cache, w.arena, &slot, "x", 1, 2500);
	pause_ms(1600);
	cr_expect_null(shown(&w, "soon"), "it ends before it is wrong");
	slot = slot_of(&w, "now");
	cr_assert_eq(look(&w, &slot), CACHE_BUILD);
	cache_keep(w.cache, w.arena, &slot, "x", 1, 0);
	cr_expect_null(shown(&w, "now"));
	world_close(&w);
}

Test(cache, sizes_and_numbers_are_bounded)
{
	struct world w;
	struct cache_slot slot;
	char *large = malloc(CACHE_VALUE_MAX + 1), key[128];
	long long n = 0;

	world_open(&w, NULL, 60000);
	memset(large, 'x', CACHE_VALUE_MAX + 1);
	slot = slot_of(&w, "large");
	cr_assert_eq(look(&w, &slot), CACHE_BUILD);
	cache_keep(w.cache, w.arena, &slot, large, CACHE_VALUE_MAX + 1, -1);
	cr_expect_null(shown(&w, "large"));
	slot = slot_of(&w, "large");
	cr_assert_eq(look(&w, &slot), CACHE_BUILD);
	cache_keep(w.cache, w.arena, &slot, large, CACHE_VALUE_MAX, -1);
	cr_expect_not_null(shown(&w, "large"));
	for (int i = 0; i < 100; i++) {
		char what[16];

		snprintf(what, sizeof(what), "n%d", i);
		warm(&w, what, "x");
	}
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "hist:{%s}:n%d", w.user, i);
		n += number_of(w.redis, WORDS("EXISTS", key));
	}
	cr_expect_eq(n, 64);
	cr_expect_str_eq(shown(&w, "n99"), "x");
	cr_expect_null(shown(&w, "n0"), "the oldest went");
	free(large);
	world_close(&w);
}

Test(cache, a_write_is_seen_by_the_next_reader)
{
	struct world w;
	struct cache_write write;

	world_open(&w, NULL, 60000);
	for (int i = 0; i < 20; i++) {
		warm(&w, "c1", "before");
		write = write_of(&w, CACHE_WRITE);
		begin(&w, &write);
		cr_expect_null(shown(&w, "c1"), "while it goes on");
		end(&w, &write);
		cr_expect_null(shown(&w, "c1"), "after it");
	}
	world_close(&w);
}

Test(cache, what_a_reader_began_to_build_before_a_write_is_not_kept)
{
	struct world w;
	struct cache_slot slot;
	struct cache_write write;

	world_open(&w, NULL, 60000);
	for (int i = 0; i < 3; i++) {
		slot = slot_of(&w, "c1");
		write = write_of(&w, CACHE_WRITE);
		cr_assert_eq(look(&w, &slot), CACHE_BUILD);
		begin(&w, &write);
		if (i == 0)
			keep(&w, &slot, "old");
		cr_expect_null(shown(&w, "c1"));
		end(&w, &write);
		if (i == 1)
			keep(&w, &slot, "old");
		cr_expect_null(shown(&w, "c1"));
		if (i == 2)
			keep(&w, &slot, "old");
		cr_expect_null(shown(&w, "c1"));
		cache_keep(w.cache, w.arena, &slot, NULL, 0, -1);
	}
	world_close(&w);
}

/* Two writers, one of which ends: the other's mark stays. */
Test(cache, writes_at_once_do_not_end_each_other)
{
	struct world w;
	struct cache_write a, b;

	world_open(&w, NULL, 60000);
	a = write_of(&w, CACHE_WRITE);
	b = write_of(&w, CACHE_WRITE);
	begin(&w, &a);
	begin(&w, &b);
	end(&w, &a);
	cr_expect_null(shown(&w, "c1"));
	cr_expect_eq(misses(&w), 0, "nobody builds");
	end(&w, &b);
	warm(&w, "c1", "x");
	world_close(&w);
}

/* The writer dies: nothing is kept until its write is decided, and nothing of
 * before comes back then. */
Test(cache, a_mark_without_an_end_ends_by_itself)
{
	struct world w;
	struct cache_write write;

	world_open(&w, NULL, 700);
	warm(&w, "c1", "old");
	write = write_of(&w, CACHE_WRITE);
	begin(&w, &write);
	cr_expect_null(shown(&w, "c1"));
	cr_expect_eq(misses(&w), 1, "nobody builds");
	pause_ms(1000);
	cr_expect_null(shown(&w, "c1"), "the old one does not come back");
	warm(&w, "c1", "new");
	world_close(&w);
}

/* Redis forgets everything while a write goes on, and a reader keeps what was
 * before it. */
Test(cache, a_mark_that_got_lost_is_made_good_by_the_end)
{
	struct world w;
	struct cache_write write;
	char key[128];

	world_open(&w, NULL, 60000);
	warm(&w, "c1", "old");
	write = write_of(&w, CACHE_WRITE);
	begin(&w, &write);
	snprintf(key, sizeof(key), "ver:{%s}", w.user);
	expect_number(w.redis, 1, WORDS("DEL", key));
	warm(&w, "c1", "old");
	end(&w, &write);
	cr_expect_null(shown(&w, "c1"));
	world_close(&w);
}

/* As FLUSHALL does it: without version or epoch no value is believed, and a
 * builder of before does not bring one back. */
Test(cache, what_redis_forgot_is_not_brought_back)
{
	struct world w;
	struct server own = {0};
	struct cache_slot slot;

	cr_assert(server_start_redis(&own, NULL));
	world_open(&w, own.url, 60000);
	warm(&w, "c1", "x");
	slot = slot_of(&w, "c2");
	cr_assert_eq(look(&w, &slot), CACHE_BUILD);
	expect_status(w.redis, "OK", WORDS("FLUSHALL"));
	cr_expect_null(shown(&w, "c1"));
	keep(&w, &slot, "of before");
	cr_expect_null(shown(&w, "c2"));
	warm(&w, "c1", "y");
	world_close(&w);
	server_remove(&own);
}

Test(cache, a_new_state_of_postgres_ends_all_values)
{
	struct world a, b;
	struct server own = {0};

	cr_assert(server_start_redis(&own, NULL));
	world_open(&a, own.url, 60000);
	world_open(&b, own.url, 60000);
	warm(&a, "c1", "x");
	warm(&b, "c1", "x");
	cr_assert_eq(cache_tell(a.cache, a.arena, "state"), OK);
	cr_expect_not_null(shown(&b, "c1"), "it is the same still");
	cr_assert_eq(cache_tell(a.cache, a.arena, "another"), OK);
	cr_expect_null(shown(&a, "c1"));
	cr_expect_null(shown(&b, "c1"));
	cr_assert_eq(cache_tell(a.cache, a.arena, "state"), OK);
	cr_expect_null(shown(&b, "c1"), "nothing comes back");
	world_close(&a);
	world_close(&b);
	server_remove(&own);
}

Test(cache, in_doubt_nothing_is_believed)
{
	struct world w;

	world_open(&w, NULL, 60000);
	warm(&w, "c1", "x");
	atomic_fetch_add(&w.troubles, 1);
	cr_expect_null(shown(&w, "c1"));
	cr_assert_eq(cache_tell(w.cache, w.arena, "state"), OK);
	cr_expect_str_eq(shown(&w, "c1"), "x", "it was the same Redis");
	/* The ledger has not been heard for too long. */
	atomic_store(&w.shared.told_ms, clock_mono_ms() - 6000);
	cr_expect_null(shown(&w, "c1"));
	atomic_store(&w.shared.told_ms, 0);
	cr_expect_null(shown(&w, "c1"));
	world_close(&w);
}

/* Redis hangs while somebody writes: once it is back, everybody sees it. */
Test(cache, a_write_while_redis_hangs_is_seen_afterwards)
{
	struct world writer, reader;
	struct server own = {0};
	struct cache_write write;

	cr_assert(server_start_redis(&own, NULL));
	world_open_for(&writer, own.url, 60000, 500);
	world_open(&reader, own.url, 60000);
	memcpy(reader.user, writer.user, ID_TEXT);
	warm(&reader, "c1", "old");
	kill(own.pid, SIGSTOP);
	for (int i = 0; i < 5; i++) { /* until the breaker is open */
		write = write_of(&writer, CACHE_WRITE);
		begin(&writer, &write);
		end(&writer, &write);
	}
	kill(own.pid, SIGCONT);
	cr_expect_null(shown(&writer, "c1"), "in doubt");
	/* The first mark waited in Redis's socket. */
	redis_catches_up(reader.redis);
	cr_expect_null(shown(&reader, "c1"));
	while (cache_tell(writer.cache, writer.arena, "state") != OK)
		pause_ms(50);
	cr_expect_null(shown(&reader, "c1"));
	world_close(&writer);
	world_close(&reader);
	server_remove(&own);
}

/* Nor does a Redis that comes back with what it held long ago. */
Test(cache, an_old_snapshot_is_not_believed)
{
	struct world w;
	struct server own = {0};
	struct cache_write write;

	cr_assert(server_start_redis(&own, NULL));
	world_open(&w, own.url, 60000);
	warm(&w, "c1", "old");
	expect_status(w.redis, "OK", WORDS("SAVE"));
	write = write_of(&w, CACHE_WRITE);
	begin(&w, &write);
	end(&w, &write);
	warm(&w, "c1", "new");
	server_stop(&own, SIGKILL);
	cr_assert(server_start_again(&own));
	cr_expect_null(shown(&w, "c1"));
	while (cache_tell(w.cache, w.arena, "state") != OK)
		pause_ms(50);
	cr_expect_null(shown(&w, "c1"));
	world_close(&w);
	server_remove(&own);
}

/* A Redis without memory takes the versions away, which it always can. */
Test(cache, a_full_redis_keeps_nothing_and_forgets_what_was_written_over)
{
	struct world w;
	struct server own = {0};
	struct cache_write write;
	struct cache_slot slot;

	cr_assert(server_start_redis(&own, NULL));
	world_open(&w, own.url, 60000);
	warm(&w, "c1", "old");
	expect_status(w.redis, "OK", WORDS("CONFIG", "SET", "maxmemory", "1"));
	slot = slot_of(&w, "c2");
	cr_expect_eq(look(&w, &slot), CACHE_PASS);
	write = write_of(&w, CACHE_WRITE);
	begin(&w, &write);
	end(&w, &write);
	cr_expect_null(shown(&w, "c1"));
	cr_expect_eq(atomic_load(&w.troubles), 1, "its own connection's");
	expect_status(w.redis, "OK", WORDS("CONFIG", "SET", "maxmemory", "0"));
	cr_expect_null(shown(&w, "c1"));
	warm(&w, "c1", "new");
	world_close(&w);
	server_remove(&own);
}

Test(cache, without_redis_the_caller_asks_postgres)
{
	struct world w;
	struct cache_write write;
	struct cache_slot slot;

	world_open(&w, NULL, 60000);
	redis_free(w.redis);
	cache_free(w.cache);
	w.redis = redis_new("redis://127.0.0.1:1", 100);
	redis_count_troubles(w.redis, &w.troubles);
	w.cache = cache_new(w.redis, &w.shared, 1000, true);
	write = write_of(&w, CACHE_WRITE);
	begin(&w, &write);
	end(&w, &write);
	slot = slot_of(&w, "c1");
	cr_expect_eq(look(&w, &slot), CACHE_PASS);
	cr_expect_neq(cache_tell(w.cache, w.arena, "state"), OK);
	cr_expect_eq(cache_look(NULL, w.arena, &slot), CACHE_PASS);
	cache_write_begin(NULL, w.arena, &write);
	cache_write_end(NULL, w.arena, &write);
	world_close(&w);
}

/* Switched off, it neither asks nor keeps, and ends what others left there. */
Test(cache, switched_off_it_ends_what_is_there)
{
	struct world w, off;
	struct server own = {0};
	struct cache_slot slot;

	cr_assert(server_start_redis(&own, NULL));
	world_open(&w, own.url, 60000);
	warm(&w, "c1", "x");
	world_open(&off, own.url, 60000);
	cache_free(off.cache);
	off.cache = cache_new(off.redis, &off.shared, 1000, false);
	slot = slot_of(&w, "c1");
	cr_expect_eq(look(&off, &slot), CACHE_PASS);
	cr_assert_eq(cache_tell(off.cache, off.arena, "state"), OK);
	cr_expect_null(shown(&w, "c1"));
	world_close(&w);
	world_close(&off);
	server_remove(&own);
}

#define CROWD 100

struct reader {
	pthread_t thread;
	pthread_barrier_t *gate;
	struct world world;
	_Atomic int *builds;
	uint64_t gave_up_ms; /* 0: it did not */
	char got[16];
};

/* Reads as a handler does; building takes a while. */
static void *
read_once(void *arg)
{
	struct reader *r = arg;
	struct world *w = &r->world;
	struct cache_slot slot = slot_of(w, "c1");
	enum cache_found found;
	uint64_t began;

	pthread_barrier_wait(r->gate);
	began = clock_mono_ms();
	found = look(w, &slot);
	if (found == CACHE_HIT) {
		snprintf(r->got, sizeof(r->got), "%s", slot.payload);
		return NULL;
	}
	pause_ms(30);
	if (found == CACHE_BUILD) {
		atomic_fetch_add(r->builds, 1);
		keep(w, &slot, "built");
	} else {
		/* On a busy machine somebody may have waited in vain. */
		r->gave_up_ms = clock_mono_ms() - began;
	}
	snprintf(r->got, sizeof(r->got), "built");
	return NULL;
}

Test(cache, a_hundred_readers_at_once_build_once, .timeout = 60)
{
	static struct reader readers[CROWD];
	pthread_barrier_t gate;
	_Atomic int builds = 0;

	pthread_barrier_init(&gate, NULL, CROWD);
	for (size_t i = 0; i < CROWD; i++) {
		struct reader *r = &readers[i];

		world_open(&r->world, NULL, 60000);
		memcpy(r->world.user, readers[0].world.user, ID_TEXT);
		r->gate = &gate;
		r->builds = &builds;
	}
	for (size_t i = 0; i < CROWD; i++)
		cr_assert_eq(pthread_create(&readers[i].thread, NULL, read_once,
				 &readers[i]),
		    0);
	for (size_t i = 0; i < CROWD; i++) {
		pthread_join(readers[i].thread, NULL);
		cr_expect_str_eq(readers[i].got, "built");
		cr_expect(
		    readers[i].gave_up_ms == 0 || readers[i].gave_up_ms >= 200,
		    "%d ms", (int)readers[i].gave_up_ms);
		world_close(&readers[i].world);
	}
	cr_expect_eq(builds, 1, "%d", builds);
}

/* A builder that died holds nobody up for good. */
Test(cache, a_builder_that_died_is_waited_for_a_little)
{
	struct world w;
	struct cache_slot dead, slot;
	uint64_t began;

	world_open(&w, NULL, 60000);
	dead = slot_of(&w, "c1");
	cr_assert_eq(look(&w, &dead), CACHE_BUILD);
	slot = slot_of(&w, "c1");
	began = clock_mono_ms();
	cr_expect_eq(look(&w, &slot), CACHE_PASS);
	cr_expect_geq(clock_mono_ms() - began, 200);
	cr_expect_eq(atomic_load(&w.shared.counts[CACHE_HISTORY].waits), 1);
	cr_expect_leq(
	    number_of(w.redis,
		WORDS("PTTL", arena_printf(w.arena, "%s:lock", dead.key))),
	    5000);
	world_close(&w);
}

/* Answers. */

/* Looks; whoever is to build lets go at once, unless out_place says as whom. */
static const char *
answer(struct world *w, const char *hash, struct cache_answer_place *out_place)
{
	struct cache_slot slot = {0};
	enum cache_found found =
	    cache_answer_look(w->cache, w->arena, w->user, hash, &slot);
	const struct cache_answer_place at = {
	    .user_id = w->user,
	    .hash = hash,
	    .stamp = slot.stamp,
	    .token = slot.token,
	};

	if (out_place)
		*out_place = at;
	else if (found == CACHE_BUILD)
		cache_answer_keep(w->cache, w->arena, &at, NULL, 0);
	return found == CACHE_HIT ? slot.payload : NULL;
}

static void
keep_answer(struct world *w, const char *hash, const char *text)
{
	struct cache_answer_place at;

	cr_assert_null(answer(w, hash, &at));
	cr_assert_not_null(at.stamp);
	cache_answer_keep(w->cache, w->arena, &at, text, strlen(text));
}

Test(cache, answers_outlive_writes_and_not_deletions)
{
	struct world a, b;
	struct cache_write write;
	char key[64];

	world_open(&a, NULL, 60000);
	world_open(&b, NULL, 60000);
	snprintf(key, sizeof(key), "ai_cache:%s", a.user);
	keep_answer(&a, a.user, "m\nforty-two");
	cr_expect_str_eq(answer(&a, a.user, NULL), "m\nforty-two");
	cr_expect_str_eq(answer(&b, a.user, NULL), "m\nforty-two");
	write = write_of(&a, CACHE_WRITE);
	begin(&a, &write);
	cr_expect_not_null(answer(&b, a.user, NULL));
	end(&a, &write);
	cr_expect_not_null(answer(&b, a.user, NULL));
	write = write_of(&b, CACHE_DELETE);
	begin(&b, &write);
	cr_expect_not_null(answer(&a, a.user, NULL), "it was not b's");
	end(&b, &write);
	write = write_of(&a, CACHE_DELETE);
	begin(&a, &write);
	cr_expect_null(answer(&b, a.user, NULL));
	cr_expect_eq(number_of(a.redis, WORDS("EXISTS", key)), 0);
	end(&a, &write);
	cr_expect_null(answer(&b, a.user, NULL));
	world_close(&a);
	world_close(&b);
}

Test(cache, an_answer_from_what_was_deleted_meanwhile_is_not_kept)
{
	struct world w;
	struct cache_write write;
	struct cache_answer_place at;

	world_open(&w, NULL, 60000);
	cr_assert_null(answer(&w, w.user, &at));
	write = write_of(&w, CACHE_DELETE);
	begin(&w, &write);
	cache_answer_keep(w.cache, w.arena, &at, "m\nx", 3);
	end(&w, &write);
	cr_expect_null(answer(&w, w.user, NULL));
	cache_answer_keep(w.cache, w.arena, &at, "m\nx", 3);
	cr_expect_null(answer(&w, w.user, NULL));
	world_close(&w);
}

/* One at a time builds; who lets go, or is not heard of, is followed. */
Test(cache, an_answer_has_one_builder)
{
	struct world a, b;
	struct cache_answer_place first, second, third;
	struct cache_ask ask;
	char lock[80];

	world_open(&a, NULL, 60000);
	world_open(&b, NULL, 60000);
	snprintf(lock, sizeof(lock), "ai_cache:%s:lock", a.user);
	cr_expect_null(answer(&a, a.user, &first));
	cr_assert_not_null(first.stamp);
	cr_expect_leq(number_of(a.redis, WORDS("PTTL", lock)), CACHE_LEASE_MS);
	cr_expect_null(answer(&b, a.user, &second));
	cr_expect_null(second.stamp, "a builds");
	/* Who waits cannot let go of it, or hold it. */
	second.stamp = first.stamp;
	cache_answer_keep(b.cache, b.arena, &second, NULL, 0);
	cr_expect_eq(number_of(a.redis, WORDS("EXISTS", lock)), 1);
	(void)number_of(a.redis, WORDS("PEXPIRE", lock, "3000"));
	cache_answer_renew(&ask, &second);
	cr_expect_eq(number_of(a.redis, ask.n, ask.words), 0);
	cr_expect_leq(number_of(a.redis, WORDS("PTTL", lock)), 3000);
	cache_answer_renew(&ask, &first);
	cr_expect_eq(number_of(a.redis, ask.n, ask.words), 1);
	cr_expect_gt(number_of(a.redis, WORDS("PTTL", lock)), 3000);
	/* Nothing came of it: the next one builds. */
	cache_answer_keep(a.cache, a.arena, &first, NULL, 0);
	cr_expect_null(answer(&b, a.user, &third));
	cr_expect_not_null(third.stamp);
	cache_answer_keep(b.cache, b.arena, &third, "m\nx", 3);
	cr_expect_str_eq(answer(&a, a.user, NULL), "m\nx");
	cr_expect_eq(number_of(a.redis, WORDS("EXISTS", lock)), 0);
	world_close(&a);
	world_close(&b);
}
