/*
 * Look-aside caches in Redis: what was read from Postgres is kept for whoever
 * asks next, and is never shown once somebody has changed what it was read
 * from. Nothing in here can fail a request: without Redis, or in doubt, the
 * caller asks Postgres.
 *
 *     ver:{user}              hash: v, the version of the user's data; d, the
 *                             same of what was deleted; and a mark of each
 *                             write that goes on, with its end in ms
 *     me:{user}  hist:{user}:<conversation>  stats:{user}[:<conversation>]
 *                             "<epoch> <v> <variant>\n" and the value
 *     <value's key>:lock      its builder
 *     held:{user}             the values' keys, the oldest first: 64 at most
 *     ai_cache:<hash>         "<epoch> <user> <d>\n" and a model's answer, of
 *                             which user's conversation it came (chat/answer.h)
 *     ctx:{user}:<conversation>  the same of what its next turn is told
 *     kept:{user}             the keys of those: 256 at most
 *     ai_cache:<hash>:lock    who asks the model for it, as long as they renew
 *                             it; also a channel, ai_cache:<hash>: it is over
 *     cache:epoch             changed when anybody's data may have changed
 *     cache:seen              the state of Postgres that led to it
 *
 * A write puts its mark there before it begins, which changes v, and takes it
 * away after its commit, which changes v again. While there is a mark, nothing
 * of the user is read from here or kept, and what a reader began to build
 * before is not kept either, since v is another. Who dies between commit and
 * end leaves a mark; it ends by itself, but not before the write is certainly
 * committed or not. A mark lies in one key with the version: whatever Redis
 * loses (FLUSHALL, eviction), it loses the version too, and with it all values.
 * Versions and epochs are random, so that none ever comes back.
 *
 * What Redis cannot be told (it is away, or who changes does not know it) the
 * ledger makes good: cache_tell.
 *
 * Scripts find keys by values, so that Redis must not be a Cluster.
 *
 * Thread: any, with its own connection; struct cache_shared is a worker's.
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <hiredis/hiredis.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct redis;

enum cache_kind {
#define CACHE(kind, name, ttl_s) CACHE_##kind,
#include "store/cache.def"
#undef CACHE
	CACHE__MAX
};

/* Longer values are not kept, in bytes. */
#define CACHE_VALUE_MAX (256 * 1024)

/* What became of looks. */
struct cache_counts {
	_Atomic uint64_t hits;
	_Atomic uint64_t misses; /* the caller had to build */
	_Atomic uint64_t waits; /* of them: somebody else built, for too long */
	_Atomic uint64_t passes; /* not asked: Redis away, doubt, a write */
	_Atomic uint64_t keeps;  /* values that were kept */
};

/*
 * What a worker's threads share. Zeroed but for `troubles`, nothing is cached
 * until cache_tell has been called once.
 */
struct cache_shared {
	const _Atomic uint64_t *troubles; /* see redis_count_troubles */
	_Atomic uint64_t settled;         /* so many have been made good */
	_Atomic uint64_t lost;      /* writes that Redis may not know of */
	_Atomic uint64_t lost_told; /* so many have been made good */
	_Atomic uint64_t told_ms;   /* CLOCK_MONOTONIC of the last cache_tell */
	struct cache_counts counts[CACHE__MAX];
};

struct cache;

/*
 * `write_ms`: a write is certainly over so long after its beginning. With
 * `is_on` false every function does nothing, but cache_tell ends what is there.
 * NULL: no memory.
 */
struct cache *cache_new(struct redis *redis, struct cache_shared *shared,
    long write_ms, bool is_on);
void cache_free(struct cache *c);

enum cache_found {
	CACHE_HIT,   /* *payload is the value */
	CACHE_BUILD, /* build it, then call cache_keep */
	CACHE_PASS,  /* build it, and that is all */
	CACHE_WAIT,  /* of answers alone: somebody else builds it */
};

/* A value: the first four are the caller's, the others cache_look's. */
struct cache_slot {
	enum cache_kind kind;
	const char *user_id;
	const char *what;    /* which of the user's, or NULL */
	const char *variant; /* which form of it; no spaces; one is kept */

	const char *key;
	const char *stamp;
	const char *token; /* of the builder's lock */
	const char *payload;
	size_t payload_len;
};

/*
 * Looks. One round trip; while somebody else builds the value, a few more, for
 * a quarter of a second at most. `c` may be NULL: CACHE_PASS.
 */
enum cache_found
cache_look(struct cache *c, struct arena *a, struct cache_slot *slot);

/*
 * After CACHE_BUILD: keeps the value, text of `n` bytes, unless something was
 * written since cache_look; `n` 0: only lets others build. `life_ms`: it will
 * not be true any longer than that; negative: it will. One round trip.
 */
void cache_keep(struct cache *c, struct arena *a, const struct cache_slot *slot,
    const char *payload, size_t n, int64_t life_ms);

enum cache_change {
	CACHE_WRITE,
	CACHE_DELETE, /* also takes away the answers that came from there */
};

/* The most users of one write. */
#define CACHE_USERS_MAX 32

/* A write to the data of these users. Zeroed: none has begun. */
struct cache_write {
	enum cache_change change;
	const char *users[CACHE_USERS_MAX];
	size_t n_users;
	long longer_ms;      /* it may take so much longer than write_ms */
	char token[ID_TEXT]; /* "" while none has begun */
};

/* Before the transaction is sent. One round trip. `c` may be NULL. */
void cache_write_begin(struct cache *c, struct arena *a, struct cache_write *w);

/*
 * After the commit, before anybody is told of it. One round trip. Not to be
 * called when nobody knows whether the transaction was or will be committed:
 * the marks end by themselves.
 */
void cache_write_end(struct cache *c, struct arena *a, struct cache_write *w);

/* A builder's lock on an answer is gone so long after it was renewed, in ms. */
#define CACHE_LEASE_MS 5000

/* An answer's place. Borrowed strings. */
struct cache_answer_place {
	const char *user_id; /* from whose conversation it comes */
	const char *hash;    /* of a context: the conversation */
	const char *stamp;
	const char *token; /* of who may have its lock */
};

/*
 * Looks for an answer under `hash`. CACHE_BUILD: out->stamp (of the arena) is
 * for cache_answer_keep, and nobody else builds it until out->token lets go of
 * it or CACHE_LEASE_MS are over. CACHE_WAIT: somebody else does; what they come
 * to is published on its key.
 */
enum cache_found cache_answer_look(struct cache *c, struct arena *a,
    const char *user_id, const char *hash, struct cache_slot *out);

/*
 * Keeps an answer that came from the user's conversation, `n` 0: none came,
 * lets go of its lock and wakes who waits. One round trip.
 */
void cache_answer_keep(struct cache *c, struct arena *a,
    const struct cache_answer_place *at, const char *payload, size_t n);

/*
 * What the next turn of a conversation is told: as an answer it outlives writes
 * and not deletions, and nobody waits for it. CACHE_HIT or CACHE_BUILD also
 * give out->stamp, for cache_context_keep. One round trip each.
 */
enum cache_found cache_context_look(struct cache *c, struct arena *a,
    const char *user_id, const char *conversation, struct cache_slot *out);
void cache_context_keep(struct cache *c, struct arena *a,
    const struct cache_answer_place *at, const char *payload, size_t n);

/* What the caller's thread shares with the worker's others. */
struct cache_shared *cache_shared(const struct cache *c);

/*
 * The same for who waits for Redis otherwise: the words of a command, which
 * point into the struct. cache_answer_told reads its answer (NULL: there is
 * none) and gives the value or the stamp, which points into it.
 */
struct cache_ask {
	const char *words[12];
	int n;
	char ver[64], key[80], lock[88], fresh[ID_TEXT];
};

void
cache_answer_ask(struct cache_ask *out, const struct cache_answer_place *at);
void
cache_answer_renew(struct cache_ask *out, const struct cache_answer_place *at);
enum cache_found cache_answer_told(struct cache_shared *shared,
    const redisReply *reply, const char **out_text, size_t *out_n);

/* The channel on which an answer's end is told. */
void cache_answer_channel(const char *hash, char out[static 80]);

/*
 * Tells Redis the state of Postgres as far as others than natterd's requests
 * change it (any text): a new one ends all values. So does a Redis that was
 * started anew, and a write of this worker of which Redis was not told. To be
 * called once a second; not called for 5 s, or after trouble with Redis, a
 * worker's caches stand still. ERR_UNAVAILABLE: the doubt stays.
 */
enum err
cache_tell(struct cache *c, struct arena *a, const char *state) MUST_CHECK;

#endif
