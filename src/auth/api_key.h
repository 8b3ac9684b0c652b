/*
 * Personal API keys: what a program shows instead of an access token, in the
 * same header. A key acts as its owner within its scopes, never under
 * /api/v1/auth and never as an administrator; it outlives sessions and
 * passwords, and ends when it expires, is revoked, or its owner is disabled or
 * deleted. As text it is
 *
 *     nk_ | base64url of user 16 | random 32
 *
 * 67 characters without spare bits, so that a key has one spelling. The user
 * tells where to look, nothing more. Stored is the SHA-256 of the text: of 256
 * random bits nobody guesses any back.
 *
 * Strings written out live in the request's arena. Thread: any, with its own
 * services.
 */
#ifndef AUTH_API_KEY_H
#define AUTH_API_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct request;

#define API_KEY_TEXT     68  /* with its NUL */
#define API_KEY_NAME_MAX 100 /* characters */
#define API_KEYS_MAX     200 /* in a list; 50 can be alive */

/* Does the token claim to be a key? Nothing else of ours begins so. */
bool api_key_is(const char *token);

/*
 * Fills req->who with the owner of a key that may be used on req->route.
 * ERR_FORBIDDEN where no key may, without looking at it; ERR_KEY_INVALID;
 * ERR_INSUFFICIENT_SCOPE; ERR_UNAVAILABLE when neither store can tell. One
 * Redis round trip when warm; when cold, one to Postgres and a second one to
 * Redis.
 */
enum err api_key_check(struct request *req, const char *token) MUST_CHECK;

/* Can a key be called so? 1 to 100 characters, none of them a control. */
bool api_key_is_name(const char *name);

/* What a new key is to be. Borrowed. */
struct api_key_ask {
	const char *name;
	unsigned scopes; /* SCOPE_READ, SCOPE_CHAT */
	long life_s;     /* 0: until it is revoked */
};

/* A key as its owner sees it. */
struct api_key {
	const char *id;
	const char *name;
	const char *ending; /* its last characters */
	unsigned scopes;
	const char *created_at;
	const char *expires_at;   /* NULL: it does not */
	const char *last_used_at; /* NULL: never; else 5 minutes off at most */
	const char *last_ip;      /* NULL likewise */
};

/*
 * Makes a key of req->who; its text is nowhere else. ERR_REAUTH_REQUIRED when
 * the session's sign-in is more than 15 minutes old; ERR_CONFLICT at 50 live
 * keys. One round trip.
 */
enum err api_key_create(struct request *req, const struct api_key_ask *ask,
    struct api_key *out_key, const char **out_text) MUST_CHECK;

/* The keys of req->who that are not revoked, the newest first. One trip. */
enum err api_keys_list(
    struct request *req, struct api_key **out_keys, size_t *out_n) MUST_CHECK;

/*
 * Revokes; the next request with the key is refused. ERR_NOT_FOUND when
 * req->who has no such key. One round trip each to Postgres and Redis.
 */
enum err api_key_revoke(struct request *req, const char *id) MUST_CHECK;

/* The name of one scope; 0 for an unknown name. */
const char *api_key_scope_name(unsigned scope);
unsigned api_key_scope_named(const char *name, size_t n);

#endif
