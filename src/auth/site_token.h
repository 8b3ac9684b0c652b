/*
 * Tokens of a site's own identity provider, as POST /auth/exchange takes them:
 * a JWT signed by a key, and with an algorithm, that the operator configured.
 * The header's alg must be the one of the key; the rest of the header decides
 * nothing, and what would change how a token is read (crit, jku, jwk, x5u, …)
 * refuses it. A kid is only ever compared with the kids of the set.
 *
 * Claims: iss equals the configured one; aud is it, or an array that has it;
 * sub is a text of 1 to 255 characters; iat and exp are whole numbers, and
 * nbf where it is there.
 *
 * Thread: one that may wait (the keys may have to be fetched).
 */
#ifndef AUTH_SITE_TOKEN_H
#define AUTH_SITE_TOKEN_H

#include <stdint.h>

#include "auth/site_rules.h"
#include "base/errors.h"

struct arena;
struct site_keys;

#define SITE_TOKEN_MAX 8192 /* bytes; longer is refused unread */
#define SITE_AUDS_MAX  32   /* in an array of aud */

/* What checking a token takes. Borrowed. */
struct site_check {
	const struct site_rules *rules;
	struct site_keys *keys; /* unused with HS256 */
	struct arena *arena;
	uint64_t wall_ms; /* since 1970, by the clock that all hosts share */
	uint64_t mono_ms;
	const char *username_claim; /* "" takes sub alone */
	const char *name_claim;     /* "" takes none */
};

/* What a token says, in the arena. */
struct site_claims {
	const char *external_id; /* sub */
	const char *username;    /* as the claim has it; NULL without */
	const char *name;        /* likewise, at most 200 bytes */
	const char *time_zone;   /* zoneinfo; NULL without */
};

/*
 * Verifies. ERR_IDENTITY_EXPIRED only for a token that is right in everything
 * else, past its exp or older than the rules allow; ERR_UNAVAILABLE while its
 * key cannot be had; ERR_IDENTITY_INVALID for all others. *out_why says more,
 * for the log, and is set even on success (NULL: nothing to say).
 */
enum err site_token_verify(const struct site_check *check, const char *token,
    struct site_claims *out_claims, const char **out_why) MUST_CHECK;

#endif
