/*
 * Sessions: what a sign-in opens, a refresh moves on, a request leans on and a
 * logout ends. The rows are in Postgres and change only in its functions
 * (migration 004); Redis remembers for a while (session_cache.h). An ending
 * is committed first and told to Redis second.
 *
 * A session lives 30 days and 14 without a refresh when remembered, otherwise
 * 24 and 12 hours; a user has at most 10. One id names an access token (jti)
 * and the lineage row of the refresh token that came with it, so that an
 * ending knows which access tokens are still about.
 *
 * A session's refresh token travels in bodies or in a browser's cookie, and
 * keeps to that for life: a token taken from the one is worth nothing in the
 * other.
 *
 * All strings written out live in the request's arena. Thread: any, with its
 * own services.
 */
#ifndef AUTH_SESSION_H
#define AUTH_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct access_claims;
struct pg_call;
struct pg_result; /* libpq's PGresult */
struct request;

/* How a session's refresh token travels: its form. */
enum session_carrier {
	SESSION_IN_BODY,
	SESSION_IN_COOKIE,       /* which stays when the browser is closed */
	SESSION_IN_BRIEF_COOKIE, /* which goes then */
};

/* What signing in or refreshing gives. */
struct session_tokens {
	enum session_carrier carrier;
	const char *access_token;
	const char *refresh_token;
	const char *session_id;
	long expires_in; /* seconds that the access token still lives */
	long refresh_in; /* seconds after which to refresh: spread, so that a
			  * fleet of clients does not come at once */
	const char *user_id;
	const char *username;
	const char *role;
	const char *user_created_at;
};

#define SESSION_BEFORE_MAX 2

/* A member of a site, whose user is found, or made, on the way. Borrowed. */
struct session_member {
	const char *new_id; /* the user's, if there is none yet */
	const char *issuer;
	const char *external_id;
	const char *username;
	const char *name;    /* to show; NULL: keeps the one before */
	const char *address; /* charged for the exchange: given back */
	const char *rate;
};

/* What opening a session takes. Borrowed. */
struct session_ask {
	const char *user_id;
	const struct session_member *member; /* instead of user_id, or NULL */
	const char *device_name;             /* NULL: not named */
	bool is_remembered;
	enum session_carrier carrier;
	const struct pg_call *before; /* run first, in the same transaction */
	size_t n_before;              /* at most SESSION_BEFORE_MAX */
};

/*
 * Opens a session. ERR_INVALID_CREDENTIALS when the user is gone or disabled,
 * ERR_USER_DISABLED when the member is. One Postgres round trip; one to Redis
 * when an older session had to go. After a failure, pg_constraint tells why
 * `before` could not be done.
 */
enum err session_open(struct request *req, const struct session_ask *ask,
    struct session_tokens *out_tokens) MUST_CHECK;

/*
 * Exchanges a refresh token that came in the body, or in a cookie where
 * req->is_by_cookie. ERR_REFRESH_INVALID, ERR_REFRESH_EXPIRED,
 * ERR_REFRESH_REUSED, ERR_SESSION_REVOKED. One Postgres round trip, none for
 * a token that no key of the ring made or that came the wrong way; one to
 * Redis when a reuse ended the session.
 */
enum err session_refresh(struct request *req, const char *refresh_token,
    struct session_tokens *out_tokens) MUST_CHECK;

/*
 * Fills req->who from a refresh token, for leaving; errors as above. One
 * Postgres round trip, nothing is exchanged.
 */
enum err
session_recognize(struct request *req, const char *refresh_token) MUST_CHECK;

/*
 * Fills req->who when the session behind verified claims lives.
 * ERR_SESSION_REVOKED; ERR_UNAVAILABLE when nobody can tell. One Redis round
 * trip when warm; when cold, one to Postgres and a second one to Redis.
 */
enum err session_check(
    struct request *req, const struct access_claims *claims) MUST_CHECK;

/*
 * Tells Redis what Postgres has ended: the columns gone_sessions and
 * gone_tokens of the first row, from `column` on. What Redis cannot be told is
 * noted for the log and no failure: the commit stands, the watch tells later.
 */
void session_bury(struct request *req, const char *user_id,
    const struct pg_result *r, int column);

enum session_scope { SESSION_THIS, SESSION_OTHERS, SESSION_ALL };

/*
 * Ends sessions of req->who. ERR_REAUTH_REQUIRED for the others when the proof
 * of the password is more than 15 minutes old: as for one of them, and so that
 * a thief does not turn the owner out and stay. One round trip each to Postgres
 * and Redis.
 */
enum err session_end(struct request *req, enum session_scope scope) MUST_CHECK;

#endif
