/*
 * The keys and values of API keys in Redis. Owns no state. Must not know
 * requests or Postgres.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/api_key_cache.h"
#include "auth/session_cache.h"
#include "base/arena.h"
#include "limit/limit.h"
#include "store/redis.h"

#define ALLOW_TTL_S 60   /* a look-up is believed this long */
#define BURY_TTL    "90" /* longer than any entry, clocks' difference and all */
#define TOMBSTONE   "-"
#define FORGET_KEYS 64 /* per command */

static const char *
entry_key(struct arena *a, const struct api_key_name *name)
{
	return arena_printf(a, "key:{%s}:%s", name->user_id, name->hash);
}

/* Reads "<key id> <scopes> <role> <username>". */
static enum api_key_memory
read_entry(struct arena *a, const char *entry, struct api_key_live *out)
{
	char *rest = arena_strdup(a, entry);
	if (!rest)
		return API_KEY_UNKNOWN;
	const char *id = strsep(&rest, " ");
	const char *scopes = strsep(&rest, " ");
	const char *role = strsep(&rest, " ");
	if (!rest || !*rest)
		return API_KEY_UNKNOWN;
	*out = (struct api_key_live){
	    .id = id,
	    .scopes = (unsigned)strtoul(scopes, NULL, 10),
	    .role = role,
	    .username = rest,
	};
	return API_KEY_LIVE;
}

bool
api_key_cache_door(struct arena *a, const struct api_key_name *name,
    struct limit_door *out_door)
{
	*out_door = (struct limit_door){
	    .user_id = name->user_id,
	    .gone = "",
	    .entry = entry_key(a, name),
	    .distrust = session_cache_user_key(a, name->user_id),
	    .begins = "",
	};
	return out_door->entry && out_door->distrust;
}

enum api_key_memory
api_key_cache_judge(struct arena *a, const struct limit_door *door,
    struct api_key_live *out_live)
{
	const char *entry = door->entry_value;
	if (door->state == LIMIT_AWAY)
		return API_KEY_AWAY;
	if (entry && strcmp(entry, TOMBSTONE) == 0)
		return API_KEY_GONE;
	if (door->distrust_value)
		return API_KEY_DISTRUSTED;
	return entry ? read_entry(a, entry, out_live) : API_KEY_UNKNOWN;
}

bool
api_key_cache_entry(struct arena *a, const struct api_key_live *live,
    long left_s, struct limit_entry *out_entry)
{
	*out_entry = (struct limit_entry){
	    .text = arena_printf(a, "%s %u %s %s", live->id, live->scopes,
		live->role, live->username),
	    .ttl_s = left_s < ALLOW_TTL_S ? left_s : ALLOW_TTL_S,
	};
	return out_entry->text && out_entry->ttl_s > 0;
}

/*
 * A Redis without memory refuses the SET, and then still takes away what is
 * there: the next request asks Postgres.
 */
enum err
api_key_cache_bury(
    struct redis *redis, struct arena *a, const struct api_key_name *name)
{
	const char *key = entry_key(a, name);
	const char *set[] = {"SET", key, TOMBSTONE, "EX", BURY_TTL};
	const char *del[] = {"DEL", key};
	AUTO_REPLY redisReply *reply = NULL;
	AUTO_REPLY redisReply *second = NULL;
	if (!key)
		return ERR_TOO_LARGE;
	if (redis_command(redis, 5, set, NULL, &reply) == OK)
		return OK;
	return redis_command(redis, 2, del, NULL, &second);
}

enum err
api_key_cache_forget(struct redis *redis, struct arena *a, const char *user_id,
    const char *hashes)
{
	const char *argv[1 + FORGET_KEYS] = {"DEL"};
	char *rest = arena_strdup(a, hashes ? hashes : "");
	enum err e = rest ? OK : ERR_TOO_LARGE;
	while (!e && rest && *rest) {
		int n = 1;
		for (; rest && *rest && n < 1 + FORGET_KEYS; n++) {
			const struct api_key_name name = {
			    user_id, strsep(&rest, " ")};
			argv[n] = entry_key(a, &name);
			if (!argv[n])
				return ERR_TOO_LARGE;
		}
		AUTO_REPLY redisReply *reply = NULL;
		e = redis_command(redis, n, argv, NULL, &reply);
	}
	return e;
}
