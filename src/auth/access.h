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

#endif
