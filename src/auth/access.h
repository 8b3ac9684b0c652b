/*
 * Who asks: by an access token, an HS256 JWT made and verified here, and the
 * check that its session still lives; or by an API key (api_key.h). The
 * verifier refuses everything that is not exactly what the maker writes
 * (specification: docs, "Tokens").
 *
 * Thread: any, with its own services.
 */
#ifndef AUTH_ACCESS_H
#define AUTH_ACCESS_H

#include "base/errors.h"

struct request;

/*
 * Authenticates `Authorization: Bearer …` and the session behind it, and
 * fills req->who; or an API key in its place (api_key_check, with its errors)
 * and its owner. ERR_TOKEN_MISSING, ERR_TOKEN_EXPIRED, ERR_TOKEN_INVALID,
 * ERR_SESSION_REVOKED; ERR_UNAVAILABLE when neither Redis nor Postgres can
 * tell whether the session lives. One Redis round trip for a warm session;
 * for a cold one, one to Postgres and one more to Redis to remember it.
 */
enum err access_authenticate(struct request *req) MUST_CHECK;

/*
 * The same for a page load, where a browser's cookie may hold the token. With
 * another Authorization than Bearer, which is somebody else's, it counts too.
 */
enum err access_authenticate_page(struct request *req) MUST_CHECK;

/*
 * The same for leaving: without Authorization a browser's refresh token is
 * enough (auth/browser.h), whatever became of its access token. Errors of
 * browser_enter and session_recognize; one round trip to Postgres.
 */
enum err access_authenticate_leaving(struct request *req) MUST_CHECK;

#endif
