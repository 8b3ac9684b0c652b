/*
 * The context of a turn from Redis: whatever happened before (other branches,
 * another host, a killed ledger, FLUSHALL, deletions), the model is told the
 * way to the question as it is in Postgres. Two hosts in one process: each has
 * its own connections, as fronts and ledgers have.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/arena.h"
#include "chat/turn.h"
#include "redis_scratch.h"
#include "servers.h"
#include "store/cache.h"
#include "store/redis.h"
#include "world.h"

#define HOSTS    2
#define MESSAGES 6
#define ROUNDS   300

struct host {
	struct world w;
	_Atomic uint64_t troubles;
	struct cache_shared shared;
	struct cache *cache;
	struct arena *arena;
};

static struct host hosts[HOSTS];

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!servers_provide_redis() || !world_provide("test_context_cache"))
		exit(1);
}

static void
tell(struct host *h)
{
	cr_assert_eq(cache_tell(h->cache, h->arena, "test"), OK);
}

/* In a database of its own what one test forgets is nothing to another. */
static char *
url_of(int db)
{
	const char *url = getenv("TEST_REDIS_URL");
	char *out = calloc(1, strlen(url) + 16);

	sprintf(out, "%s%s%d", url,
	    strncmp(url, "unix:", 5) == 0 ? "?db=" : "/", db);
	return out;
}

static void
host_open(struct host *h, const char *user, int db)
{
	char *url = url_of(db);

	world_open(&h->w, user);
	h->w.config.context_cache = true;
	h->w.config.context_messages = MESSAGES;
	h->w.services.redis = redis_new(url, 1000);
	h->shared.troubles = &h->troubles;
	redis_count_troubles(h->w.services.redis, &h->troubles);
	h->cache = cache_new(h->w.services.redis, &h->shared, 60000, true);
	h->w.services.cache = h->cache;
	h->arena = arena_new((size_t)8 << 20);
	tell(h);
	tell(h);
	free(url);
}

static void
setup(void)
{
	host_open(&hosts[0], NULL, 0);
	host_open(&hosts[1], hosts[0].w.user, 0);
}

TestSuite(context_cache, .init = setup, .timeout = 120);

/* "user:a|assistant:b|": the history in a request to a model. */
static void
read_prompt(const struct turn *t, char *out, size_t size)
{
	struct json_object *o = json_tokener_parse(t->prompt.p), *list, *m;
	size_t n, at = 0;

	cr_assert(json_object_object_get_ex(o, "messages", &list));
	n = json_object_array_length(list);
	out[0] = '\0';
	/* Without the system's prompt, and the question. */
	for (size_t i = 1; i + 1 < n && at < size; i++) {
		m = json_object_array_get_idx(list, i);
		at += (size_t)snprintf(out + at, size - at, "%s:%s|",
		    json_object_get_string(json_object_object_get(m, "role")),
		    json_object_get_string(
			json_object_object_get(m, "content")));
	}
	json_object_put(o);
}

/* Is it what Postgres has on the way to the question? */
static bool
is_the_path(struct host *h, const struct turn *t)
{
	char got[8192], quoted[9000];

	read_prompt(t, got, sizeof(got));
	snprintf(quoted, sizeof(quoted), "%s", got);
	return world_number(
		   "WITH RECURSIVE path AS (SELECT q.parent_id, q.role,"
		   " q.content, 0 AS depth FROM chat.messages q"
		   " WHERE q.user_id = '%s' AND q.id = '%s' UNION ALL"
		   " SELECT m.parent_id, m.role, m.content, p.depth + 1"
		   " FROM path p JOIN chat.messages m ON m.user_id = '%s'"
		   " AND m.id = p.parent_id WHERE p.depth < %d)"
		   " SELECT (coalesce(string_agg(role || ':' || content || '|',"
		   " '' ORDER BY depth DESC) FILTER (WHERE depth > 0"
		   " AND content <> ''), '') = '%s')::int FROM path",
		   h->w.user, t->user_message_id, h->w.user, MESSAGES,
		   quoted) == 1;
}

/* What the ledger does after the commit. */
static void
keep(struct host *h, struct turn *t)
{
	t->is_stored = true;
	arena_reset(h->arena, (size_t)8 << 20);
	history_keep(h->cache, h->arena, t);
}

static uint64_t
hits(void)
{
	return hosts[0].shared.counts[CACHE_CONTEXT].hits +
	       hosts[1].shared.counts[CACHE_CONTEXT].hits;
}

/* One turn; gives its reply. */
static void
say(struct host *h, const char *conversation, const char *parent,
    const char *text, char out_reply[static ID_TEXT])
{
	static int n;
	char question[32];
	struct turn *t = NULL;

	snprintf(question, sizeof(question), "q%d", ++n);
	cr_assert_eq(
	    world_begin(&h->w, conversation, parent, question, &t), OK);
	cr_expect(is_the_path(h, t), "%s", t->prompt.p);
	memcpy(out_reply, t->message_id, ID_TEXT);
	cr_assert_eq(world_finish(&h->w, t, text), OK);
	keep(h, t);
	turn_free(t);
}

Test(context_cache, is_used_by_the_next_turn_on_any_host)
{
	char c[ID_TEXT], reply[ID_TEXT];

	world_conversation(&hosts[0].w, c);
	say(&hosts[0], c, NULL, "a", reply);
	cr_expect_eq(hits(), 0);
	say(&hosts[1], c, NULL, "b", reply);
	say(&hosts[0], c, NULL, "c", reply);
	cr_expect_eq(hits(), 2);
	cr_expect_eq(hosts[0].shared.counts[CACHE_CONTEXT].keeps, 2);
}

Test(context_cache, is_off_unless_it_is_on)
{
	char c[ID_TEXT], reply[ID_TEXT];

	hosts[0].w.config.context_cache = false;
	world_conversation(&hosts[0].w, c);
	say(&hosts[0], c, NULL, "a", reply);
	say(&hosts[0], c, NULL, "b", reply);
	cr_expect_eq(hosts[0].shared.counts[CACHE_CONTEXT].misses, 0);
	cr_expect_eq(hosts[0].shared.counts[CACHE_CONTEXT].keeps, 0);
}

/* What anybody changed in it there is not believed, but it is not broken. */
Test(context_cache, that_is_garbage_is_asked_of_postgres)
{
	static const char *const values[] = {"", "x", "1 user", "1 user 99\nx",
	    "1 user -1\nx", "1 averyveryverylongrole 1\nx", "user 1 1\nx"};
	struct redis *r = hosts[0].w.services.redis;
	char c[ID_TEXT], reply[ID_TEXT], key[128], value[400];

	world_conversation(&hosts[0].w, c);
	say(&hosts[0], c, NULL, "a", reply);
	snprintf(key, sizeof(key), "ctx:{%s}:%s", hosts[0].w.user, c);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		const char *get[] = {"GET", key};
		AUTO_REPLY redisReply *old = NULL;

		cr_assert_eq(redis_command(r, 2, get, NULL, &old), OK);
		cr_assert_eq(old->type, REDIS_REPLY_STRING);
		snprintf(value, sizeof(value), "%.*s\n%s\n%s",
		    (int)strcspn(old->str, "\n"), old->str, reply, values[i]);
		expect_status(r, "OK", WORDS("SET", key, value));
		say(&hosts[0], c, NULL, "b", reply);
	}
}

Test(context_cache, is_never_another_way_than_that_in_postgres)
{
	enum { REPLIES = 40 };
	static char replies[2][REPLIES][ID_TEXT];
	static const char *const texts[] = {"x", "", "yy", "zzz z"};
	char c[2][ID_TEXT], other[ID_TEXT];
	int n[2] = {0};
	unsigned seed = 20261122;

	host_open(&hosts[0], NULL, 7);
	host_open(&hosts[1], hosts[0].w.user, 7);
	for (int i = 0; i < 2; i++)
		world_conversation(&hosts[0].w, c[i]);
	for (int round = 0; round < ROUNDS; round++) {
		struct host *h = &hosts[rand_r(&seed) % HOSTS];
		int k = rand_r(&seed) % 2, at = n[k] % REPLIES;
		int known = n[k] < REPLIES ? n[k] : REPLIES;
		const char *parent = NULL;

		if (known > 0 && rand_r(&seed) % 4 == 0)
			parent = replies[k][rand_r(&seed) % known];
		tell(&hosts[0]);
		tell(&hosts[1]);
		say(h, c[k], parent, texts[rand_r(&seed) % 4], replies[k][at]);
		n[k]++;
		switch (rand_r(&seed) % 12) {
		case 0:
			expect_status(
			    h->w.services.redis, "OK", WORDS("FLUSHDB"));
			break;
		case 1: { /* begun, and its ledger is killed */
			struct turn *t = NULL;

			cr_assert_eq(
			    world_begin(&h->w, c[k], NULL, "k", &t), OK);
			cr_expect(is_the_path(h, t));
			cr_assert_eq(world_finish(&h->w, t, "killed"), OK);
			turn_free(t);
			break;
		}
		case 2: { /* the user deletes something */
			struct cache_write write = {.change = CACHE_DELETE,
			    .users = {h->w.user},
			    .n_users = 1};

			world_conversation(&h->w, other);
			arena_reset(h->arena, (size_t)8 << 20);
			cache_write_begin(h->cache, h->arena, &write);
			cache_write_end(h->cache, h->arena, &write);
			break;
		}
		default:
			break;
		}
	}
	cr_expect_gt(hits(), ROUNDS / 4, "%" PRIu64, hits());
}

/* A deleted conversation is nobody's context, whoever asks how fast. */
Test(context_cache, goes_with_the_conversation)
{
	struct cache_write write = {
	    .change = CACHE_DELETE, .users = {hosts[0].w.user}, .n_users = 1};
	char c[ID_TEXT], reply[ID_TEXT], key[128];
	struct turn *t = NULL;

	world_conversation(&hosts[0].w, c);
	say(&hosts[0], c, NULL, "a", reply);
	snprintf(key, sizeof(key), "ctx:{%s}:%s", hosts[0].w.user, c);
	cr_expect_eq(
	    number_of(hosts[0].w.services.redis, WORDS("EXISTS", key)), 1);
	cr_expect_leq(
	    number_of(hosts[0].w.services.redis, WORDS("PTTL", key)), 330000);
	cache_write_begin(hosts[0].cache, hosts[0].arena, &write);
	cr_expect_eq(
	    number_of(hosts[0].w.services.redis, WORDS("EXISTS", key)), 0);
	world_sql("DELETE FROM chat.conversations WHERE id = '%s'", c);
	cr_expect_eq(world_begin(&hosts[1].w, c, NULL, "q", &t), ERR_NOT_FOUND);
}
