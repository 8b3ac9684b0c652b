/*
 * Makes, checks, lists and revokes API keys. Owns no state. Must not know
 * HTTP beyond struct request and its route.
 */
#include <sodium.h>
#include <string.h>

#include "auth/api_key.h"
#include "auth/api_key_cache.h"
#include "auth/client.h"
#include "auth/queries.h"
#include "auth/session_watch.h"
#include "base/arena.h"
#include "base/id.h"
#include "base/text.h"
#include "http/request.h"
#include "http/route.h"
#include "limit/limit.h"

#define PREFIX    "nk_"
#define N_PREFIX  (sizeof PREFIX - 1)
#define USER      16
#define SECRET    32
#define N_CODE    64 /* base64url of both */
#define N_ENDING  4
#define AUTH_PATH "/api/v1/auth/"
#define ENDLESS_S 1000000L /* of a key that does not expire */

_Static_assert(N_PREFIX + N_CODE + 1 == API_KEY_TEXT, "a key's length");
_Static_assert((USER + SECRET) % 3 == 0, "no spare bits");

/* In the order of their bits. */
static const char *const scope_names[] = {"read", "chat", "admin"};
#define N_SCOPES (sizeof scope_names / sizeof scope_names[0])

const char *
api_key_scope_name(unsigned scope)
{
	return scope_names[__builtin_ctz(scope)];
}

unsigned
api_key_scope_named(const char *name, size_t n)
{
	for (unsigned i = 0; i < N_SCOPES; i++) {
		if (strlen(scope_names[i]) == n &&
		    memcmp(scope_names[i], name, n) == 0)
			return 1U << i;
	}
	return 0;
}

/* The scopes of "read chat". */
static unsigned
read_scopes(const char *text)
{
	unsigned scopes = 0;
	for (size_t n; *(text += strspn(text, " ")); text += n) {
		n = strcspn(text, " ");
		scopes |= api_key_scope_named(text, n);
	}
	return scopes;
}

static void
hash_of(const char *text, unsigned char out[static crypto_hash_sha256_BYTES])
{
	(void)crypto_hash_sha256(
	    out, (const unsigned char *)text, strlen(text));
}

bool
api_key_is_name(const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	}
	return n > 0 && text_length(name, n) <= API_KEY_NAME_MAX;
}

bool
api_key_is(const char *token)
{
	return strncmp(token, PREFIX, N_PREFIX) == 0;
}

/* The owner whom a key names, unless it cannot be a key. */
static bool
read_owner(const char *token, char out_user[static ID_TEXT])
{
	unsigned char bytes[USER + SECRET];
	if (strnlen(token, API_KEY_TEXT) != N_PREFIX + N_CODE ||
	    !text_from_base64url(token + N_PREFIX, N_CODE, bytes, sizeof bytes))
		return false;
	id_from_bytes(bytes, out_user);
	sodium_memzero(bytes, sizeof bytes);
	return true;
}

/* The scopes as an array of Postgres. */
static const char *
scope_list(struct arena *a, unsigned scopes)
{
	const char *list = "";
	for (unsigned i = 0; list && i < N_SCOPES; i++) {
		if (scopes & 1U << i)
			list = arena_printf(a, "%s%s%s", list, *list ? "," : "",
			    scope_names[i]);
	}
	return list ? arena_printf(a, "{%s}", list) : NULL;
}

/* What a route takes of a key; ERR_FORBIDDEN where none will do. */
static enum err
needed_scope(struct request *req, unsigned *out)
{
	if (strncmp(req->route->pattern, AUTH_PATH, sizeof AUTH_PATH - 1) ==
	    0) {
		req->detail = "An API key does not serve here.";
		return ERR_FORBIDDEN;
	}
	*out = req->route->access == ACCESS_ADMIN ? SCOPE_ADMIN
	       : req->route->method == HTTP_GET   ? SCOPE_READ
						  : SCOPE_CHAT;
	return OK;
}

/* Reads the row of KEY_CHECK: whether the key is good, and for how long. */
static enum err
read_live(struct request *req, const PGresult *r, struct api_key_live *out,
    long *out_left_s)
{
	if (pg_rows(r) == 0)
		return request_fail(
		    req, ERR_KEY_INVALID, "no such key, or it is over");
	struct api_key_live live = {
	    .id = arena_strdup(req->arena, pg_text(r, 0, 0)),
	    .role = arena_strdup(req->arena, pg_text(r, 0, 1)),
	    .username = arena_strdup(req->arena, pg_text(r, 0, 2)),
	    .scopes = read_scopes(pg_text(r, 0, 3)),
	};
	if (!live.id || !live.role || !live.username)
		return ERR_TOO_LARGE;
	*out = live;
	*out_left_s = pg_text(r, 0, 4) ? (long)pg_number(r, 0, 4) : ENDLESS_S;
	return OK;
}

/* Asks Postgres for what Redis does not know: the key, or its limits. */
static enum err
ask_postgres(struct request *req, struct limit_door *door,
    enum api_key_memory memory, struct api_key_live *live)
{
	struct pg_call calls[2];
	struct limit_entry entry;
	long left_s = 0;
	bool is_known = memory == API_KEY_LIVE;
	size_t n = is_known ? 0 : 1;
	/* Anybody can make up a key: each costs the address that shows it. */
	enum err e = is_known ? OK : limit_stranger(req);
	if (e)
		return e;
	calls[0] = (struct pg_call){
	    .query = &auth_queries[AUTH_KEY_CHECK],
	    .params = {door->user_id, door->proof[0], client_address(req)},
	};
	size_t n_charge = limit_calls(req, door, is_known, &calls[n]);
	if (n + n_charge > 0)
		e = pg_run(
		    req->services->pg, door->user_id, calls, n + n_charge);
	if (e)
		(void)request_fail(req, e, pg_why(req->services->pg));
	if (e == ERR_UNAVAILABLE && is_known)
		return limit_enter_alone(req, door);
	if (e)
		return e;
	if (!is_known)
		e = read_live(req, calls[0].result, live, &left_s);
	bool remembers = !e && memory == API_KEY_UNKNOWN &&
			 api_key_cache_entry(req->arena, live, left_s, &entry);
	if (!e)
		e = limit_enter(req, door, n_charge ? calls[n].result : NULL,
		    remembers ? &entry : NULL);
	pg_calls_clear(calls, n + n_charge);
	return e;
}

/* What the stores say of the key, and of its owner's limits. */
static enum err
find(struct request *req, const struct api_key_name *name,
    struct api_key_live *out)
{
	struct limit_door door;
	if (!api_key_cache_door(req->arena, name, &door))
		return ERR_TOO_LARGE;
	door.charge = &auth_queries[AUTH_RATE_CHARGE_KEY];
	door.proof[0] = arena_printf(req->arena, "\\x%s", name->hash);
	if (!door.proof[0])
		return ERR_TOO_LARGE;
	limit_knock(req, &door, session_is_doubted(req->services->doubt));
	enum api_key_memory memory =
	    api_key_cache_judge(req->arena, &door, out);
	if (memory == API_KEY_GONE)
		return request_fail(
		    req, ERR_KEY_INVALID, "the key was revoked");
	if (memory == API_KEY_LIVE && session_is_doubted(req->services->doubt))
		memory = API_KEY_AWAY; /* as good as */
	return ask_postgres(req, &door, memory, out);
}

static const char *
hex_of(struct arena *a, const unsigned char *p, size_t n)
{
	char *hex = arena_alloc(a, 2 * n + 1);
	return hex ? sodium_bin2hex(hex, 2 * n + 1, p, n) : NULL;
}

enum err
api_key_check(struct request *req, const char *token)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char user_id[ID_TEXT];
	unsigned scope = 0;
	struct api_key_live live = {0};
	enum err e = needed_scope(req, &scope);
	if (e)
		return e;
	if (!read_owner(token, user_id))
		return request_fail(req, ERR_KEY_INVALID, "it is no key");
	hash_of(token, hash);
	const struct api_key_name name = {arena_strdup(req->arena, user_id),
	    hex_of(req->arena, hash, sizeof hash)};
	if (!name.user_id || !name.hash)
		return ERR_TOO_LARGE;
	e = find(req, &name, &live);
	if (e)
		return e;
	if (!(live.scopes & scope)) {
		req->detail = arena_printf(
		    req->arena, "It takes %s.", api_key_scope_name(scope));
		return ERR_INSUFFICIENT_SCOPE;
	}
	req->who = (struct identity){
	    .user_id = name.user_id,
	    .role = live.role,
	    .username = live.username,
	    .key_id = live.id,
	};
	return OK;
}

/* A new key's text. */
static const char *
make_text(struct arena *a, const char *user_id)
{
	unsigned char bytes[USER + SECRET];
	id_to_bytes(user_id, bytes);
	randombytes_buf(bytes + USER, SECRET);
	const char *code = text_base64url(a, bytes, sizeof bytes);
	sodium_memzero(bytes, sizeof bytes);
	return code ? arena_printf(a, PREFIX "%s", code) : NULL;
}

static enum err
judge_outcome(struct request *req, const char *outcome)
{
	if (strcmp(outcome, "made") == 0)
		return OK;
	if (strcmp(outcome, "reauth") == 0)
		return ERR_REAUTH_REQUIRED;
	req->detail = "There are 50 API keys: revoke one first.";
	return ERR_CONFLICT;
}

/* Reads the row of KEY_CREATE into *out, which has the rest already. */
static enum err
created(struct request *req, const PGresult *r, struct api_key *out)
{
	enum err e = judge_outcome(req, pg_text(r, 0, 0));
	if (e)
		return e;
	out->created_at = arena_strdup(req->arena, pg_text(r, 0, 1));
	out->expires_at = arena_strdup(req->arena, pg_text(r, 0, 2));
	return out->created_at ? OK : ERR_TOO_LARGE;
}

enum err
api_key_create(struct request *req, const struct api_key_ask *ask,
    struct api_key *out_key, const char **out_text)
{
	struct arena *a = req->arena;
	unsigned char hash[crypto_hash_sha256_BYTES];
	char id[ID_TEXT];
	const char *text = make_text(a, req->who.user_id);
	if (!text)
		return ERR_TOO_LARGE;
	hash_of(text, hash);
	id_make(id);
	struct api_key key = {
	    .id = arena_strdup(a, id),
	    .name = ask->name,
	    .ending = text + strlen(text) - N_ENDING,
	    .scopes = ask->scopes,
	};
	struct pg_call call = {
	    .query = &auth_queries[AUTH_KEY_CREATE],
	    .params = {req->who.user_id, req->who.session_id, key.id, key.name,
		queries_bytea(a, hash, sizeof hash), key.ending,
		scope_list(a, ask->scopes),
		ask->life_s ? arena_printf(a, "%ld", ask->life_s) : NULL},
	};
	if (!key.id || !call.params[4] || !call.params[6] ||
	    (ask->life_s && !call.params[7]))
		return ERR_TOO_LARGE;
	enum err e = pg_run(req->services->pg, req->who.user_id, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	e = created(req, call.result, &key);
	pg_calls_clear(&call, 1);
	if (e)
		return e;
	*out_key = key;
	*out_text = text;
	return OK;
}

static enum err
copy_row(struct arena *a, const PGresult *r, int row, struct api_key *out)
{
	*out = (struct api_key){
	    .id = arena_strdup(a, pg_text(r, row, 0)),
	    .name = arena_strdup(a, pg_text(r, row, 1)),
	    .ending = arena_strdup(a, pg_text(r, row, 2)),
	    .scopes = read_scopes(pg_text(r, row, 3)),
	    .created_at = arena_strdup(a, pg_text(r, row, 4)),
	    .expires_at = arena_strdup(a, pg_text(r, row, 5)),
	    .last_used_at = arena_strdup(a, pg_text(r, row, 6)),
	    .last_ip = arena_strdup(a, pg_text(r, row, 7)),
	};
	return out->id && out->name && out->ending && out->created_at
		   ? OK
		   : ERR_TOO_LARGE;
}

enum err
api_keys_list(struct request *req, struct api_key **out_keys, size_t *out_n)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_KEY_LIST],
	    .params = {req->who.user_id},
	};
	enum err e = pg_run(req->services->pg, req->who.user_id, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	size_t n = (size_t)pg_rows(call.result);
	struct api_key *keys = arena_array(req->arena, n + 1, sizeof *keys);
	if (!keys)
		e = ERR_TOO_LARGE;
	for (size_t i = 0; !e && i < n; i++)
		e = copy_row(req->arena, call.result, (int)i, &keys[i]);
	pg_calls_clear(&call, 1);
	if (e)
		return e;
	*out_keys = keys;
	*out_n = n;
	return OK;
}

enum err
api_key_revoke(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_KEY_REVOKE],
	    .params = {req->who.user_id, id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = pg_run(req->services->pg, req->who.user_id, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	if (pg_rows(call.result) == 0) {
		e = ERR_NOT_FOUND;
	} else {
		const struct api_key_name name = {
		    req->who.user_id, pg_text(call.result, 0, 0)};
		/* The commit stands; the watch tells Redis later. */
		enum err told =
		    api_key_cache_bury(req->services->redis, req->arena, &name);
		if (told)
			(void)request_fail(req, told,
			    "redis was not told that an API key ended");
	}
	pg_calls_clear(&call, 1);
	return e;
}
