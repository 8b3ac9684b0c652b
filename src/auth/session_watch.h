/*
 * What a worker does between requests about sessions that were ended, API keys
 * that were revoked and users who were disabled or deleted.
 *
 * Whoever ends one of them tells Redis himself, after the commit. That can
 * fail: Redis is away or hangs, the process dies in between, natterctl does not
 * know Redis at all. What Redis remembers can also go back in time, when it
 * starts again from an old snapshot. So every worker asks Postgres once a
 * second for the endings of which Redis was not told, and tells it; and a
 * worker that noticed trouble with Redis believes no entry that allows until it
 * has told Redis all endings of the last two minutes again. Both together:
 * after an outage a worker that saw it is never wrong, and any other for a
 * second.
 *
 * Thread: the ledger; struct session_doubt: any.
 */
#ifndef AUTH_SESSION_WATCH_H
#define AUTH_SESSION_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct pg;
struct redis;

/*
 * May an entry that allows be believed? Shared by a worker's threads. Zeroed,
 * it may; redis_count_troubles counts in `troubles`.
 */
struct session_doubt {
	_Atomic uint64_t troubles;
	_Atomic uint64_t settled; /* as many troubles have been made good */
};

/* NULL: never. */
bool session_is_doubted(const struct session_doubt *doubt);

/* What the watch works with; borrowed. */
struct session_watch {
	struct pg *pg;
	struct redis *redis; /* counts its troubles in doubt->troubles */
	struct arena *arena;
	struct session_doubt *doubt;
	long access_ttl_s; /* CHAT_ACCESS_TTL */
};

/*
 * Tells Redis what it was not told, and settles the doubt. One round trip to
 * each store; when sessions were ended, one more to Redis for each and one to
 * Postgres. ERR_UNAVAILABLE: the doubt stays.
 */
enum err session_watch_bury(const struct session_watch *w) MUST_CHECK;

/* A session or an API key on which something that goes on leans. */
struct session_pair {
	char user_id[ID_TEXT];
	char grant_id[ID_TEXT]; /* "": the user alone counts */
};

/*
 * Moves the pairs whose session or key was ended, or whose user is gone or
 * disabled, to the front and says how many. One statement for all.
 */
enum err session_watch_ended(const struct session_watch *w,
    struct session_pair *pairs, size_t n, size_t *out_n) MUST_CHECK;

#endif
