/*
 * What Redis remembers of API keys, under the same rules as sessions
 * (session_cache.h): it allows for 60 s what Postgres allowed, an ending is
 * committed first and told second, and what is missing or not understood
 * means: ask Postgres.
 *
 *     key:{<user>}:<hash>  "<key id> <scopes> <role> <username>", or "-" when
 *                          it was revoked
 *     user:{<user>}        present: believe no entry of this user
 *
 * Entries are written with NX, so that a slow reader never writes over a
 * tombstone. The second one is session_cache_distrust's.
 *
 * Thread: any, each with its own connection.
 */
#ifndef AUTH_API_KEY_CACHE_H
#define AUTH_API_KEY_CACHE_H

#include <stdbool.h>

#include "base/errors.h"

struct arena;
struct limit_door;
struct limit_entry;
struct redis;

enum api_key_memory {
	API_KEY_LIVE,       /* allowed within the last 60 s */
	API_KEY_GONE,       /* revoked: no need to ask */
	API_KEY_UNKNOWN,    /* ask Postgres, then remember */
	API_KEY_DISTRUSTED, /* ask Postgres, remember nothing */
	API_KEY_AWAY,       /* Redis does not answer: ask Postgres */
};

/* Which key: its owner and the hash in hex. Borrowed. */
struct api_key_name {
	const char *user_id;
	const char *hash;
};

/* What an entry says; all in the arena. */
struct api_key_live {
	const char *id;
	unsigned scopes;
	const char *role;
	const char *username;
};

/* The keys that limit_knock asks for; false beyond the arena's cap. */
bool api_key_cache_door(struct arena *a, const struct api_key_name *name,
    struct limit_door *out_door);

/* What their values say together; *out_live is set only with API_KEY_LIVE. */
enum api_key_memory api_key_cache_judge(struct arena *a,
    const struct limit_door *door, struct api_key_live *out_live);

/*
 * What limit_enter has Redis remember of a key that Postgres allowed for
 * `left_s` more; false: nothing.
 */
bool api_key_cache_entry(struct arena *a, const struct api_key_live *live,
    long left_s, struct limit_entry *out_entry);

/*
 * Writes the tombstone of a revoked key. On ERR_UNAVAILABLE an entry may
 * still allow once Redis is back, until session_watch_bury has told it.
 */
enum err api_key_cache_bury(struct redis *redis, struct arena *a,
    const struct api_key_name *name) MUST_CHECK;

/*
 * Forgets the keys of a user with these hashes (spaces between; NULL: none),
 * which may be good again later. One round trip when there are any.
 */
enum err api_key_cache_forget(struct redis *redis, struct arena *a,
    const char *user_id, const char *hashes) MUST_CHECK;

#endif
