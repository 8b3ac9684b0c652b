/*
 * The keys and values of API keys in Redis. Owns no state. Must not know
 * requests or Postgres.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/api_key_cache.h"
#include "auth/session_cache.h"
#include "base/arena.h"
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
read_entry(struct arena *a, const redisReply *entry, struct api_key_live *out)
{
	char *rest = arena_strndup(a, entry->str, entry->len);
	if (!rest)
		return API_KEY_UNKNOWN;
	if (strcmp(rest, TOMBSTONE) == 0)
		return API_KEY_GONE;
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

enum api_key_memory
api_key_cache_look(struct redis *redis, struct arena *a,
    const struct api_key_name *name, struct api_key_live *out_live)
{
	const char *argv[] = {"MGET", entry_key(a, name),
	    session_cache_user_key(a, name->user_id)};
	AUTO_REPLY redisReply *values = NULL;
	if (!argv[1] || !argv[2] ||
	    redis_command(redis, 3, argv, NULL, &values) != OK)
		return API_KEY_AWAY;
	if (values->type != REDIS_REPLY_ARRAY || values->elements != 2)
		return API_KEY_UNKNOWN;
	const redisReply *entry = values->element[0];
	bool is_distrusted = values->element[1]->type != REDIS_REPLY_NIL;
	struct api_key_live live;
	enum api_key_memory memory = entry->type == REDIS_REPLY_STRING
					 ? read_entry(a, entry, &live)
					 : API_KEY_UNKNOWN;
	if (memory != API_KEY_GONE && is_distrusted)
		return API_KEY_DISTRUSTED;
	if (memory == API_KEY_LIVE)
		*out_live = live;
	return memory;
}

void
api_key_cache_keep(struct redis *redis, struct arena *a,
    const struct api_key_name *name, const struct api_key_live *live,
    long left_s)
{
	long ttl_s = left_s < ALLOW_TTL_S ? left_s : ALLOW_TTL_S;
	const char *argv[] = {"SET", entry_key(a, name),
	    arena_printf(a, "%s %u %s %s", live->id, live->scopes, live->role,
		live->username),
	    "EX", arena_printf(a, "%ld", ttl_s), "NX"};
	AUTO_REPLY redisReply *reply = NULL;
	if (ttl_s > 0 && argv[1] && argv[2] && argv[4] &&
	    redis_command(redis, 6, argv, NULL, &reply) != OK)
		return; /* asked again next time */
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
