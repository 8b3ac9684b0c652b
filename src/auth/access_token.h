/*
 * Access tokens as text: an HS256 JWT made by libjwt and verified by libjwt
 * behind a strict pre-parse. Pure: keys, clock and rules come as arguments,
 * nothing is looked up.
 *
 * libjwt 1.10.2 takes the algorithm that the token names, checks no claim,
 * writes a byte past the end on an empty segment and crashes on megabytes, so
 * it only ever sees tokens of at most 2 KiB, of three canonical base64url
 * segments, whose first one equals, byte for byte, the header that we write
 * for one of our keys. All it does is the MAC. The claims are then read with
 * json-c: each of the nine must be there with its type, and no tenth.
 *
 * A token is made from its claims and the key alone, so that the same claims
 * give the same bytes again (the grace of a refresh relies on it).
 *
 * Thread: any; pure.
 */
#ifndef AUTH_ACCESS_TOKEN_H
#define AUTH_ACCESS_TOKEN_H

#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct keyring;

#define ACCESS_TOKEN_MIN 60   /* bytes; shorter is refused unread */
#define ACCESS_TOKEN_MAX 2048 /* bytes; longer is refused unread */
#define ACCESS_LIFE_MAX  3600 /* seconds between iat and exp */
#define ACCESS_LEEWAY    30   /* seconds that iat may lie ahead of our clock */

/* What every token of this installation shares. Borrowed. */
struct access_rules {
	const struct keyring *keys;
	const char *issuer;   /* iss */
	const char *audience; /* aud, always one string */
};

/* What one token says. */
struct access_claims {
	char user_id[ID_TEXT];    /* sub */
	char session_id[ID_TEXT]; /* sid */
	char jti[ID_TEXT]; /* jti: the lineage row of its refresh token */
	int64_t issued_s;  /* iat, seconds since 1970, database clock */
	int64_t expires_s; /* exp */
	int64_t epoch;     /* ue, users.session_epoch at sign-in */
};

/*
 * Makes the token with the ring's current key. ERR_INTERNAL: no memory, or
 * an issuer and audience too long to fit into ACCESS_TOKEN_MAX.
 */
enum err access_token_make(const struct access_rules *rules,
    const struct access_claims *claims, struct arena *a,
    const char **out_token) MUST_CHECK;

/*
 * Verifies the token against the clock `now_s`. ERR_TOKEN_EXPIRED only for a
 * token that is right in everything else; ERR_UNAVAILABLE without memory;
 * ERR_TOKEN_INVALID for all others.
 */
enum err access_token_verify(const struct access_rules *rules,
    const char *token, int64_t now_s,
    struct access_claims *out_claims) MUST_CHECK;

#endif
