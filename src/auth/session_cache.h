/*
 * What Redis remembers of sessions, so that a warm request asks no database:
 *
 *     sess:{user}:<jti>  "<sid> <epoch> <role> <username>": this token's
 *                        session lived at most 60 s ago
 *     gone:{user}:<sid>  "-": this session was ended
 *     user:{user}        "-": believe no entry of this user, here or in
 *                        api_key_cache.h; refuses nobody, so that it may lie
 *                        there when the user is let in again
 *
 * An allow-cache, not a list of the denied: what is not here is asked of
 * Postgres, so that FLUSHALL or eviction let nobody in. Entries are written
 * with SET NX after a look-up, so that a slow look-up cannot write over what
 * an ending wrote. An ending (after its commit) writes "-" over the session's
 * key and over the key of each of its tokens that can still be unexpired:
 * whichever of the two is evicted, the other refuses. Where Redis has no
 * memory left for that, the token's entry is deleted instead, which it can
 * always do.
 *
 * `{user}` are real braces: all keys of a user are in one hash slot.
 *
 * Thread: any, with its own connection.
 */
#ifndef AUTH_SESSION_CACHE_H
#define AUTH_SESSION_CACHE_H

#include <stdbool.h>

#include "base/errors.h"

struct access_claims;
struct arena;
struct limit_door;
struct limit_entry;
struct redis;

/* What a live session says about its user. */
struct session_live {
	const char *role;
	const char *username;
};

enum session_memory {
	SESSION_AWAY,    /* Redis does not answer */
	SESSION_UNKNOWN, /* ask Postgres, then remember */
	SESSION_LIVE,
	SESSION_GONE,
	SESSION_DISTRUSTED, /* ask Postgres, remember nothing */
};

/* The keys that limit_knock asks for; false beyond the arena's cap. */
bool session_cache_door(struct arena *a, const struct access_claims *claims,
    struct limit_door *out_door);

/* What their values say together; *out_live is written with SESSION_LIVE. */
enum session_memory session_cache_judge(struct arena *a,
    const struct limit_door *door, const struct access_claims *claims,
    struct session_live *out_live);

/*
 * What limit_enter has Redis remember of a session that lives; false beyond
 * the arena's cap.
 */
bool session_cache_entry(struct arena *a, const struct access_claims *claims,
    const struct session_live *live, struct limit_entry *out_entry);

/* What ended, as the functions of schema auth tell it. */
struct session_ended {
	const char *user_id;
	const char *sessions; /* ids with spaces between; NULL: none */
	const char *tokens;   /* jtis likewise */
	long access_ttl_s;    /* CHAT_ACCESS_TTL */
};

/*
 * Writes the tombstones, after the commit; no round trip when nothing ended,
 * as a rule one. After ERR_UNAVAILABLE an entry may still allow once Redis is
 * back, until session_watch_bury has told it.
 */
enum err session_cache_bury(struct redis *redis, struct arena *a,
    const struct session_ended *ended) MUST_CHECK;

/* The key of a user's mark; NULL beyond the arena's cap. */
const char *session_cache_user_key(struct arena *a, const char *user_id);

/*
 * Makes every entry of a user worthless, the API keys' too: the user was
 * disabled or deleted. One round trip. Errors as above. A Redis without memory
 * cannot keep the mark: what stands there under other keys is then for
 * session_cache_bury and api_key_cache_forget to take away.
 */
enum err session_cache_distrust(
    struct redis *redis, struct arena *a, const char *user_id) MUST_CHECK;

#endif
