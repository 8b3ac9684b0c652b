/*
 * Caches: who may use them, the keys, the waits for another builder and the
 * counts. What Redis does in one step is in cache_script.c. Must not know what
 * the values mean.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "store/cache.h"
#include "store/cache_script.h"
#include "store/redis.h"

#define TEXT_OF_(n) #n
#define TEXT_OF(n)  TEXT_OF_(n)

/* A builder's lock, in ms: as long as a statement may take by default. */
#define LOCK_MS TEXT_OF(CACHE_LEASE_MS)

/* Waits for another builder, in ms: doubled, 254 in all. */
#define WAIT_FIRST_MS 2
#define WAIT_LAST_MS  128

/* A value that will not be true for much longer is not worth keeping, in ms;
 * and Redis's expiry begins a little after Postgres's clock was read. */
#define LIFE_MIN_MS    2000
#define LIFE_MARGIN_MS 1000

/* Without a word from the ledger for so long nothing is believed, in ms. */
#define TOLD_MS 5000

#define RUN_ID_MAX 64

struct cache {
	struct redis *redis;
	struct cache_shared *shared;
	long write_ms;
	bool is_on;
	char run_id[RUN_ID_MAX]; /* of the Redis that was asked last */
};

static const struct {
	const char *name;
	int64_t ttl_ms;
} kinds[] = {
#define CACHE(kind, name, ttl_s) {name, (int64_t)(ttl_s)*1000},
#include "store/cache.def"
#undef CACHE
};

struct cache *
cache_new(
    struct redis *redis, struct cache_shared *shared, long write_ms, bool is_on)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->redis = redis;
	c->shared = shared;
	c->write_ms = write_ms;
	c->is_on = is_on;
	return c;
}

void
cache_free(struct cache *c)
{
	free(c);
}

static uint64_t
troubles(const struct cache_shared *s)
{
	return s->troubles == NULL ? 0 : atomic_load(s->troubles);
}

/* May what Redis holds be believed? */
static bool
is_sure(const struct cache_shared *s)
{
	uint64_t told_ms = atomic_load(&s->told_ms);

	return told_ms != 0 && clock_mono_ms() < told_ms + TOLD_MS &&
	       troubles(s) == atomic_load(&s->settled) &&
	       atomic_load(&s->lost) == atomic_load(&s->lost_told);
}

static void
count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static const char *
new_id(struct arena *a)
{
	char id[ID_TEXT];

	id_make(id);
	return arena_strdup(a, id);
}

static int64_t
jittered(int64_t ttl_ms)
{
	return ttl_ms - ttl_ms / 10 +
	       randombytes_uniform((uint32_t)(ttl_ms / 5) + 1);
}

static const char *
user_key(struct arena *a, const char *name, const char *user_id)
{
	return arena_printf(a, "%s:{%s}", name, user_id);
}

static bool
name_slot(struct arena *a, struct cache_slot *slot)
{
	slot->key = arena_printf(a, "%s:{%s}%s%s", kinds[slot->kind].name,
	    slot->user_id, slot->what == NULL ? "" : ":",
	    slot->what == NULL ? "" : slot->what);
	slot->token = new_id(a);
	return slot->key != NULL && slot->token != NULL;
}

/* What a script said: a number, and text with some of them. It is cut here and
 * not there: a copy of 45 kB in Lua takes as long as the rest. */
static enum cache_answer
parse_answer(const redisReply *reply, const char **out_text, size_t *out_n)
{
	const char *line;
	enum cache_answer got;

	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements < 1 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER)
		return ANSWER_BUSY;
	got = (enum cache_answer)reply->element[0]->integer;
	if (reply->elements < 2)
		return got;
	*out_text = reply->element[1]->str;
	*out_n = reply->element[1]->len;
	line = got == ANSWER_HIT ? memchr(*out_text, '\n', *out_n) : NULL;
	if (line != NULL) {
		*out_n -= (size_t)(line + 1 - *out_text);
		*out_text = line + 1;
	}
	return got;
}

static enum cache_answer
read_answer(struct arena *a, const redisReply *reply, struct cache_slot *slot)
{
	const char *text = NULL;
	size_t n = 0;
	enum cache_answer got = parse_answer(reply, &text, &n);

	if (text == NULL)
		return got;
	slot->payload = arena_strndup(a, text, n);
	slot->payload_len = n;
	slot->stamp = slot->payload;
	return slot->payload == NULL ? ANSWER_BUSY : got;
}

static enum cache_answer
look_once(struct cache *c, struct arena *a, struct cache_slot *slot)
{
	const char *args[] = {"cache:epoch", user_key(a, "ver", slot->user_id),
	    slot->key, arena_printf(a, "%s:lock", slot->key), slot->variant,
	    slot->token, LOCK_MS, new_id(a)};
	AUTO_REPLY redisReply *reply = NULL;

	if (args[1] == NULL || args[3] == NULL || args[7] == NULL ||
	    redis_script_run(
		c->redis, &cache_script_look, 4, 8, args, &reply) != OK)
		return ANSWER_BUSY;
	return read_answer(a, reply, slot);
}

/* As look_once, but waits a little for somebody else to build. */
static enum cache_answer
look_patiently(struct cache *c, struct arena *a, struct cache_slot *slot)
{
	enum cache_answer got = look_once(c, a, slot);

	for (long ms = WAIT_FIRST_MS; got == ANSWER_WAIT && ms <= WAIT_LAST_MS;
	     ms *= 2) {
		clock_sleep_ms(ms);
		got = look_once(c, a, slot);
	}
	return got;
}

static const enum metric hit_metrics[] = {
#define CACHE(kind, name, ttl_s) [CACHE_##kind] = METRIC_CACHE_##kind##_HIT,
#include "store/cache.def"
#undef CACHE
};

static const enum metric miss_metrics[] = {
#define CACHE(kind, name, ttl_s) [CACHE_##kind] = METRIC_CACHE_##kind##_MISS,
#include "store/cache.def"
#undef CACHE
};

static enum cache_found
judge(struct cache_shared *s, enum cache_kind kind, enum cache_answer got)
{
	struct cache_counts *n = &s->counts[kind];

	/* The doubt may have come with the very question. */
	if (got == ANSWER_BUSY || !is_sure(s)) {
		count(&n->passes);
		return CACHE_PASS;
	}
	if (got == ANSWER_HIT) {
		count(&n->hits);
		metrics_count(hit_metrics[kind]);
		return CACHE_HIT;
	}
	count(&n->misses);
	metrics_count(miss_metrics[kind]);
	if (got == ANSWER_BUILD)
		return CACHE_BUILD;
	count(&n->waits);
	return CACHE_PASS;
}

enum cache_found
cache_look(struct cache *c, struct arena *a, struct cache_slot *slot)
{
	if (c == NULL || !c->is_on)
		return CACHE_PASS;
	if (!is_sure(c->shared) || !name_slot(a, slot)) {
		count(&c->shared->counts[slot->kind].passes);
		return CACHE_PASS;
	}
	return judge(c->shared, slot->kind, look_patiently(c, a, slot));
}

static int64_t
lifetime_ms(enum cache_kind kind, int64_t life_ms)
{
	int64_t ttl_ms = jittered(kinds[kind].ttl_ms);

	if (life_ms >= 0 && life_ms - LIFE_MARGIN_MS < ttl_ms)
		return life_ms - LIFE_MARGIN_MS;
	return ttl_ms;
}

static bool
was_kept(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
}

void
cache_keep(struct cache *c, struct arena *a, const struct cache_slot *slot,
    const char *payload, size_t n, int64_t life_ms)
{
	bool is_fit = n > 0 && n <= CACHE_VALUE_MAX &&
		      (life_ms < 0 || life_ms >= LIFE_MIN_MS);
	const char *args[] = {"cache:epoch", user_key(a, "ver", slot->user_id),
	    slot->key, arena_printf(a, "%s:lock", slot->key),
	    user_key(a, "held", slot->user_id), slot->stamp, slot->variant,
	    slot->token,
	    arena_printf(
		a, "%lld", (long long)lifetime_ms(slot->kind, life_ms)),
	    is_fit ? arena_strndup(a, payload, n) : ""};
	AUTO_REPLY redisReply *reply = NULL;

	for (size_t i = 0; i < sizeof(args) / sizeof(*args); i++)
		if (args[i] == NULL)
			return;
	if (redis_script_run(
		c->redis, &cache_script_keep, 5, 10, args, &reply) == OK &&
	    was_kept(reply))
		count(&c->shared->counts[slot->kind].keeps);
}

/*
 * Runs a script about a write. By EVAL, not by its hash: a Redis that hangs
 * still carries out what waits in its socket when it wakes, and there is
 * nobody left then to send the text.
 */
static void
tell_of_write(struct cache *c, const struct cache_write *w, const char *text,
    const char *const args[static 4])
{
	const char *words[7 + CACHE_USERS_MAX] = {
	    "EVAL", text, "0", args[0], args[1], args[2], args[3]};

	memcpy(words + 7, w->users, w->n_users * sizeof(*w->users));
	if (args[1] == NULL || args[2] == NULL ||
	    redis_tell(c->redis, 7 + (int)w->n_users, words) != OK)
		atomic_fetch_add(&c->shared->lost, 1);
}

static void
tell_change(struct cache *c, struct arena *a, const struct cache_write *w,
    const char *text)
{
	const char *is_deletion = w->change == CACHE_DELETE ? "1" : "0";
	const char *args[] = {w->token,
	    arena_printf(a, "%ld", c->write_ms + w->longer_ms), new_id(a),
	    is_deletion};

	tell_of_write(c, w, text, args);
}

void
cache_write_begin(struct cache *c, struct arena *a, struct cache_write *w)
{
	if (c == NULL || !c->is_on || w->n_users == 0)
		return;
	id_make(w->token);
	tell_change(c, a, w, cache_script_begin);
}

void
cache_write_end(struct cache *c, struct arena *a, struct cache_write *w)
{
	if (c == NULL || !c->is_on || w->n_users == 0)
		return;
	tell_change(c, a, w, cache_script_end);
	w->n_users = 0;
}

/* As judge. Who waits has neither hit nor missed yet. */
static enum cache_found
judge_answer(struct cache_shared *s, enum cache_answer got)
{
	if (got == ANSWER_WAIT && is_sure(s))
		return CACHE_WAIT;
	return judge(s, CACHE_ANSWER, got);
}

enum cache_found
cache_answer_look(struct cache *c, struct arena *a, const char *user_id,
    const char *hash, struct cache_slot *out)
{
	struct cache_answer_place at = {
	    .user_id = user_id, .hash = hash, .token = new_id(a)};
	AUTO_REPLY redisReply *reply = NULL;
	enum cache_answer got = ANSWER_BUSY;
	enum cache_found found;
	struct cache_ask ask;

	if (c == NULL || !c->is_on)
		return CACHE_PASS;
	out->token = at.token;
	if (is_sure(c->shared) && at.token != NULL) {
		cache_answer_ask(&ask, &at);
		if (redis_script_run(c->redis, &cache_script_answer_look, 4,
			ask.n - 3, ask.words + 3, &reply) == OK)
			got = read_answer(a, reply, out);
	}
	found = judge_answer(c->shared, got);
	if (found == CACHE_WAIT)
		count(&c->shared->counts[CACHE_ANSWER].waits);
	return found;
}

static void
keep_answer(struct cache *c, enum cache_kind kind, const char *args[static 9])
{
	AUTO_REPLY redisReply *reply = NULL;

	for (size_t i = 0; i < 9; i++)
		if (args[i] == NULL)
			return;
	if (c->is_on &&
	    redis_script_run(c->redis, &cache_script_answer_keep, 5, 9, args,
		&reply) == OK &&
	    was_kept(reply))
		count(&c->shared->counts[kind].keeps);
}

void
cache_answer_keep(struct cache *c, struct arena *a,
    const struct cache_answer_place *at, const char *payload, size_t n)
{
	struct cache_ask ask;
	const char *args[] = {"cache:epoch", ask.ver, ask.key,
	    user_key(a, "kept", at->user_id), ask.lock, at->stamp,
	    arena_printf(
		a, "%lld", (long long)jittered(kinds[CACHE_ANSWER].ttl_ms)),
	    n <= CACHE_VALUE_MAX ? arena_strndup(a, payload, n) : "",
	    at->token};

	cache_answer_ask(&ask, at);
	keep_answer(c, CACHE_ANSWER, args);
}

static const char *
context_key(struct arena *a, const char *user_id, const char *conversation)
{
	return arena_printf(
	    a, "%s:{%s}:%s", kinds[CACHE_CONTEXT].name, user_id, conversation);
}

/* The stamp stands before the value. */
static const char *
stamp_before(struct arena *a, const redisReply *reply)
{
	const char *text = reply->element[1]->str;

	return arena_strndup(a, text, strcspn(text, "\n"));
}

enum cache_found
cache_context_look(struct cache *c, struct arena *a, const char *user_id,
    const char *conversation, struct cache_slot *out)
{
	const char *args[] = {"cache:epoch", user_key(a, "ver", user_id),
	    context_key(a, user_id, conversation), user_id, new_id(a)};
	AUTO_REPLY redisReply *reply = NULL;
	enum cache_answer got = ANSWER_BUSY;

	if (c == NULL || !c->is_on || args[1] == NULL || args[2] == NULL ||
	    args[4] == NULL)
		return CACHE_PASS;
	if (is_sure(c->shared) &&
	    redis_script_run(
		c->redis, &cache_script_context_look, 3, 5, args, &reply) == OK)
		got = read_answer(a, reply, out);
	if (got == ANSWER_HIT)
		out->stamp = stamp_before(a, reply);
	return judge(c->shared, CACHE_CONTEXT, got);
}

void
cache_context_keep(struct cache *c, struct arena *a,
    const struct cache_answer_place *at, const char *payload, size_t n)
{
	const char *key = context_key(a, at->user_id, at->hash);
	const char *args[] = {"cache:epoch", user_key(a, "ver", at->user_id),
	    key, user_key(a, "kept", at->user_id), "none", at->stamp,
	    arena_printf(
		a, "%lld", (long long)jittered(kinds[CACHE_CONTEXT].ttl_ms)),
	    n <= CACHE_VALUE_MAX ? arena_strndup(a, payload, n) : "", "none"};

	keep_answer(c, CACHE_CONTEXT, args);
}

struct cache_shared *
cache_shared(const struct cache *c)
{
	return c->shared;
}

void
cache_answer_channel(const char *hash, char out[static 80])
{
	(void)snprintf(out, 80, "%s:%s", kinds[CACHE_ANSWER].name, hash);
}

void
cache_answer_ask(struct cache_ask *out, const struct cache_answer_place *at)
{
	id_make(out->fresh);
	(void)snprintf(out->ver, sizeof(out->ver), "ver:{%s}", at->user_id);
	cache_answer_channel(at->hash, out->key);
	(void)snprintf(out->lock, sizeof(out->lock), "%s:lock", out->key);
	const char *words[] = {"EVAL", cache_script_answer_look.text, "4",
	    "cache:epoch", out->ver, out->key, out->lock, at->user_id,
	    out->fresh, at->token, LOCK_MS};
	out->n = sizeof(words) / sizeof(*words);
	memcpy(out->words, words, sizeof(words));
}

void
cache_answer_renew(struct cache_ask *out, const struct cache_answer_place *at)
{
	cache_answer_channel(at->hash, out->key);
	(void)snprintf(out->lock, sizeof(out->lock), "%s:lock", out->key);
	const char *words[] = {"EVAL", cache_script_answer_renew, "1",
	    out->lock, at->token, LOCK_MS};
	out->n = sizeof(words) / sizeof(*words);
	memcpy(out->words, words, sizeof(words));
}

enum cache_found
cache_answer_told(struct cache_shared *shared, const redisReply *reply,
    const char **out_text, size_t *out_n)
{
	return judge_answer(shared, parse_answer(reply, out_text, out_n));
}

/* Which Redis is this? One that was started anew may hold what was true once.
 * A Redis that does not say counts as another one each time. */
static void
ask_run_id(struct cache *c)
{
	const char *words[] = {"INFO", "server"};
	AUTO_REPLY redisReply *reply = NULL;
	const char *at = NULL;

	id_make(c->run_id);
	if (redis_command(c->redis, 2, words, NULL, &reply) == OK &&
	    reply->type == REDIS_REPLY_STRING)
		at = strstr(reply->str, "run_id:");
	if (at == NULL)
		return;
	at += strlen("run_id:");
	memset(c->run_id, 0, sizeof(c->run_id));
	memcpy(c->run_id, at, strnlen(at, 40));
	c->run_id[strcspn(c->run_id, "\r\n")] = '\0';
}

enum err
cache_tell(struct cache *c, struct arena *a, const char *state)
{
	struct cache_shared *s = c->shared;
	uint64_t told_ms = clock_mono_ms();
	uint64_t seen = troubles(s);
	uint64_t lost = atomic_load(&s->lost);
	AUTO_REPLY redisReply *reply = NULL;
	enum err e;

	if (c->run_id[0] == '\0' || seen != atomic_load(&s->settled))
		ask_run_id(c);
	const char *args[] = {"cache:epoch", "cache:seen",
	    arena_printf(a, "%s %s", c->run_id, state), new_id(a),
	    c->is_on && lost == atomic_load(&s->lost_told) ? "0" : "1"};
	if (args[2] == NULL || args[3] == NULL)
		return ERR_TOO_LARGE;
	e = redis_script_run(c->redis, &cache_script_tell, 2, 5, args, &reply);
	if (e != OK)
		return e;
	atomic_store(&s->lost_told, lost);
	atomic_store(&s->settled, seen);
	atomic_store(&s->told_ms, told_ms);
	return OK;
}
