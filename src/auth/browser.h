/*
 * A session in a browser's cookies, out of reach of the page's scripts:
 *
 *     __Host-rt   the refresh token. SameSite=Strict
 *     __Host-at   the access token, for page loads, which carry no Bearer:
 *                 /auth/verify alone reads it. SameSite=Lax, so that a link
 *                 from elsewhere finds its reader signed in
 *     __Host-did  an id of the browser, for 400 days, over sign-ins. Strict. A
 *                 browser that its user signed in from is throttled apart from
 *                 strangers, as a known device (throttle.h)
 *
 * All are HttpOnly and Secure, for this host and every path (the prefix wants
 * it so). Pages use the access token of the answer's body, in memory, as every
 * other client does. So cookies speak for a request in three places only:
 * where the body says "cookie": true (register, login, exchange, refresh), in a
 * logout without Authorization, and in /auth/verify, which changes nothing.
 *
 * Strings live in the request's arena. Thread: any.
 */
#ifndef AUTH_BROWSER_H
#define AUTH_BROWSER_H

#include <stdbool.h>

#include "base/errors.h"

struct reply;
struct request;
struct session_tokens;

/*
 * From here on cookies speak for the request: req->is_by_cookie, and
 * req->device_cookie where it has one. ERR_CSRF_FAILED (origin_check).
 */
enum err browser_enter(struct request *req) MUST_CHECK;

/*
 * Only notes which browser it is, where an access token speaks for the request:
 * a new password leaves this browser known (throttle.h).
 */
void browser_know_device(struct request *req);

/* Gives a browser without an id one, before a sign-in. */
enum err browser_name_device(struct request *req) MUST_CHECK;

/* The tokens in the request's cookies; NULL without a fit one. */
const char *browser_refresh_token(const struct request *req);
const char *browser_access_token(const struct request *req);

/* Is the refresh token in its cookies one of this session? */
bool browser_holds(const struct request *req, const char *session_id);

/* Puts the tokens, and the device's id if it has one, into cookies. */
enum err browser_give(struct request *req, struct reply *rep,
    const struct session_tokens *tokens) MUST_CHECK;

/* Deletes the cookies of the session; the device keeps its id. */
void browser_take_back(struct request *req, struct reply *rep);

#endif
