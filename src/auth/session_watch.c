/*
 * What has ended, looked after in batches. Owns no state but the doubt's
 * meaning. Must not know requests or replies.
 */
#include <string.h>

#include "auth/api_key_cache.h"
#include "auth/queries.h"
#include "auth/session_cache.h"
#include "auth/session_watch.h"
#include "base/arena.h"
#include "store/pg.h"
#include "store/redis.h"

/*
 * Endings of one look. More of them in two minutes leave the doubt standing
 * until they are over.
 */
#define ENDINGS_MAX      1000
#define ENDINGS_MAX_TEXT "1000"

/* What ENDINGS_UNBURIED gives. */
enum { KIND, USER, ID, SESSIONS, TOKENS, KEYS };

bool
session_is_doubted(const struct session_doubt *doubt)
{
	return doubt &&
	       atomic_load(&doubt->troubles) != atomic_load(&doubt->settled);
}

/* Is Redis there? A connection made anew counts as trouble right here. */
static enum err
greet(const struct session_watch *w)
{
	const char *words[] = {"PING"};
	AUTO_REPLY redisReply *reply = NULL;
	return redis_command(w->redis, 1, words, NULL, &reply);
}

static enum err
bury_row(const struct session_watch *w, const PGresult *r, int i)
{
	const char *kind = pg_text(r, i, KIND);
	const struct session_ended ended = {
	    .user_id = pg_text(r, i, USER),
	    .sessions = pg_text(r, i, SESSIONS),
	    .tokens = pg_text(r, i, TOKENS),
	    .access_ttl_s = w->access_ttl_s,
	};
	const struct api_key_name key = {ended.user_id, pg_text(r, i, KEYS)};
	if (strcmp(kind, "key") == 0)
		return api_key_cache_bury(w->redis, w->arena, &key);
	enum err e = session_cache_bury(w->redis, w->arena, &ended);
	if (e || strcmp(kind, "user") != 0)
		return e;
	e = session_cache_distrust(w->redis, w->arena, ended.user_id);
	return e ? e
		 : api_key_cache_forget(
		       w->redis, w->arena, key.user_id, key.hash);
}

static enum err
bury_rows(const struct session_watch *w, const PGresult *r)
{
	enum err e = OK;
	for (int i = 0; !e && i < pg_rows(r); i++)
		e = bury_row(w, r, i);
	return e;
}

/* Appends an id, or NULL, to an array's text with room for it. */
static char *
append_id(char *p, char before, const char *id)
{
	size_t n = *id ? strlen(id) : 4;
	*p++ = before;
	memcpy(p, *id ? id : "NULL", n);
	return p + n;
}

static char *
array_room(struct arena *a, size_t n)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, ID_TEXT, &bytes) ||
	    __builtin_add_overflow(bytes, 3, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}

/* The ids of the rows as a uuid[]. */
static const char *
ids_array(struct arena *a, const PGresult *r)
{
	char *text = array_room(a, (size_t)pg_rows(r)), *p = text;
	if (!text)
		return NULL;
	for (int i = 0; i < pg_rows(r); i++)
		p = append_id(p, i ? ',' : '{', pg_text(r, i, ID));
	*p++ = '}';
	*p = '\0';
	return text;
}

static enum err
mark(const struct session_watch *w, const PGresult *r)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_ENDINGS_BURIED],
	    .params = {ids_array(w->arena, r)},
	};
	if (!call.params[0])
		return ERR_TOO_LARGE;
	enum err e = pg_run(w->pg, NULL, &call, 1);
	pg_calls_clear(&call, 1);
	return e;
}

enum err
session_watch_bury(const struct session_watch *w)
{
	enum err e = greet(w);
	if (e)
		return e;
	uint64_t troubles = atomic_load(&w->doubt->troubles);
	struct pg_call call = {
	    .query = &auth_queries[AUTH_ENDINGS_UNBURIED],
	    .params = {session_is_doubted(w->doubt) ? "t" : "f",
		ENDINGS_MAX_TEXT},
	};
	e = pg_run(w->pg, NULL, &call, 1);
	int n = e ? 0 : pg_rows(call.result);
	if (n > 0)
		e = bury_rows(w, call.result);
	if (!e && n > 0)
		e = mark(w, call.result);
	pg_calls_clear(&call, 1);
	if (!e && n < ENDINGS_MAX)
		atomic_store(&w->doubt->settled, troubles);
	return e;
}

/* The pairs as two uuid[]; false beyond the arena's cap. */
static bool
pair_arrays(struct arena *a, const struct session_pair *pairs, size_t n,
    const char *out[static 2])
{
	char *users = array_room(a, n), *grants = array_room(a, n);
	char *u = users, *g = grants;
	if (!users || !grants)
		return false;
	for (size_t i = 0; i < n; i++) {
		u = append_id(u, i ? ',' : '{', pairs[i].user_id);
		g = append_id(g, i ? ',' : '{', pairs[i].grant_id);
	}
	memcpy(u, "}", 2);
	memcpy(g, "}", 2);
	out[0] = users;
	out[1] = grants;
	return true;
}

enum err
session_watch_ended(const struct session_watch *w, struct session_pair *pairs,
    size_t n, size_t *out_n)
{
	struct pg_call call = {.query = &auth_queries[AUTH_GRANTS_ENDED]};
	if (n == 0) {
		*out_n = 0;
		return OK;
	}
	if (!pair_arrays(w->arena, pairs, n, call.params))
		return ERR_TOO_LARGE;
	enum err e = pg_run(w->pg, NULL, &call, 1);
	if (e)
		return e;
	size_t found = 0;
	for (int i = 0; i < pg_rows(call.result); i++) {
		size_t at = (size_t)pg_number(call.result, i, 0);
		if (at >= n)
			continue;
		struct session_pair ended = pairs[at];
		pairs[at] = pairs[found];
		pairs[found++] = ended;
	}
	pg_calls_clear(&call, 1);
	*out_n = found;
	return OK;
}
