/*
 * The keys and values of sessions in Redis. Owns no state. Must not know
 * requests or Postgres.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auth/access_token.h"
#include "auth/session_cache.h"
#include "base/arena.h"
#include "limit/limit.h"
#include "store/redis.h"

#define ALLOW_TTL_S  60 /* a look-up is believed this long */
#define BURY_SLACK_S 30 /* our clocks against Redis's */
#define BURY_KEYS    64 /* per script call */
#define TOMBSTONE    "-"

static const char bury_text[] =
    "for _, key in ipairs(KEYS) do\n"
    "  local r = redis.pcall('SET', key, '-', 'EX', ARGV[1])\n"
    "  if type(r) == 'table' and r.err then redis.call('DEL', key) end\n"
    "end\n"
    "return #KEYS\n";

static const char *
token_key(struct arena *a, const char *user_id, const char *jti)
{
	return arena_printf(a, "sess:{%s}:%s", user_id, jti);
}

static const char *
session_key(struct arena *a, const char *user_id, const char *session_id)
{
	return arena_printf(a, "gone:{%s}:%s", user_id, session_id);
}

/* Reads "<sid> <epoch> <role> <username>" that belongs to these claims. */
static enum session_memory
read_entry(struct arena *a, const char *entry,
    const struct access_claims *claims, struct session_live *out)
{
	char *rest = arena_strdup(a, entry);
	if (!rest)
		return SESSION_UNKNOWN;
	const char *session_id = strsep(&rest, " ");
	const char *epoch = strsep(&rest, " ");
	const char *role = strsep(&rest, " ");
	if (!rest || !*rest || strcmp(session_id, claims->session_id) != 0 ||
	    strtoll(epoch, NULL, 10) != claims->epoch)
		return SESSION_UNKNOWN;
	*out = (struct session_live){.role = role, .username = rest};
	return SESSION_LIVE;
}

const char *
session_cache_user_key(struct arena *a, const char *user_id)
{
	return arena_printf(a, "user:{%s}", user_id);
}

/* What an entry begins with that belongs to these claims. */
static const char *
entry_head(struct arena *a, const struct access_claims *claims)
{
	return arena_printf(
	    a, "%s %lld ", claims->session_id, (long long)claims->epoch);
}

bool
session_cache_door(struct arena *a, const struct access_claims *claims,
    struct limit_door *out_door)
{
	*out_door = (struct limit_door){
	    .user_id = claims->user_id,
	    .gone = session_key(a, claims->user_id, claims->session_id),
	    .entry = token_key(a, claims->user_id, claims->jti),
	    .distrust = session_cache_user_key(a, claims->user_id),
	    .begins = entry_head(a, claims),
	};
	return out_door->gone && out_door->entry && out_door->distrust &&
	       out_door->begins;
}

/* A tombstone in either of two refuses. */
enum session_memory
session_cache_judge(struct arena *a, const struct limit_door *door,
    const struct access_claims *claims, struct session_live *out_live)
{
	const char *entry = door->entry_value;
	if (door->state == LIMIT_AWAY)
		return SESSION_AWAY;
	if (door->gone_value || (entry && strcmp(entry, TOMBSTONE) == 0))
		return SESSION_GONE;
	if (door->distrust_value)
		return SESSION_DISTRUSTED;
	return entry ? read_entry(a, entry, claims, out_live) : SESSION_UNKNOWN;
}

bool
session_cache_entry(struct arena *a, const struct access_claims *claims,
    const struct session_live *live, struct limit_entry *out_entry)
{
	const char *head = entry_head(a, claims);
	*out_entry = (struct limit_entry){
	    .text = head ? arena_printf(
			       a, "%s%s %s", head, live->role, live->username)
			 : NULL,
	    .ttl_s = ALLOW_TTL_S,
	};
	return out_entry->text != NULL;
}

/* The keys that an ending writes over, in chunks of one script call each. */
struct burial {
	struct redis *redis;
	struct arena *arena;
	const char *user_id;
	const char *ttl;
	const char *keys[BURY_KEYS];
	int n;
};

/*
 * By EVAL, not by its hash: a Redis that hangs still carries out what waits
 * in its socket when it wakes, and there is nobody left then to send the text.
 */
static enum err
bury_chunk(struct burial *b)
{
	const char *argv[3 + BURY_KEYS + 1] = {"EVAL", bury_text};
	AUTO_REPLY redisReply *reply = NULL;
	if (b->n == 0)
		return OK;
	argv[2] = arena_printf(b->arena, "%d", b->n);
	if (!argv[2])
		return ERR_TOO_LARGE;
	memcpy(argv + 3, b->keys, (size_t)b->n * sizeof *argv);
	argv[3 + b->n] = b->ttl;
	int argc = 3 + b->n + 1;
	b->n = 0;
	return redis_command(b->redis, argc, argv, NULL, &reply);
}

/* Adds the keys of the ids in `list`. */
static enum err
bury_list(struct burial *b, const char *list,
    const char *(*key)(struct arena *, const char *, const char *))
{
	char *rest = arena_strdup(b->arena, list ? list : "");
	if (!rest)
		return ERR_TOO_LARGE;
	for (char *id; (id = strsep(&rest, " "));) {
		if (!*id)
			continue;
		const char *k = key(b->arena, b->user_id, id);
		if (!k)
			return ERR_TOO_LARGE;
		b->keys[b->n++] = k;
		if (b->n == BURY_KEYS) {
			enum err e = bury_chunk(b);
			if (e)
				return e;
		}
	}
	return OK;
}

enum err
session_cache_bury(
    struct redis *redis, struct arena *a, const struct session_ended *ended)
{
	/* Longer than any entry that allows, and than any token of theirs. */
	long ttl_s = ended->access_ttl_s > ALLOW_TTL_S ? ended->access_ttl_s
						       : ALLOW_TTL_S;
	struct burial b = {
	    .redis = redis,
	    .arena = a,
	    .user_id = ended->user_id,
	    .ttl = arena_printf(a, "%ld", ttl_s + BURY_SLACK_S),
	};
	if (!b.ttl)
		return ERR_TOO_LARGE;
	enum err e = bury_list(&b, ended->sessions, session_key);
	if (!e)
		e = bury_list(&b, ended->tokens, token_key);
	return e ? e : bury_chunk(&b);
}

enum err
session_cache_distrust(
    struct redis *redis, struct arena *a, const char *user_id)
{
	/* Longer than any entry, and by an EVAL as bury_chunk has it. */
	const char *argv[] = {"EVAL", bury_text, "1",
	    session_cache_user_key(a, user_id),
	    arena_printf(a, "%d", ALLOW_TTL_S + BURY_SLACK_S)};
	AUTO_REPLY redisReply *reply = NULL;
	if (!argv[3] || !argv[4])
		return ERR_TOO_LARGE;
	return redis_command(redis, 5, argv, NULL, &reply);
}
