/*
 * What the operator said about the site whose tokens POST /auth/exchange
 * takes: who issues them, for whom, signed how. Nothing of it ever comes from
 * a token.
 *
 * Ownership: borrows from the config. Thread: any; pure.
 */
#ifndef AUTH_SITE_RULES_H
#define AUTH_SITE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct config;

/* How a site may sign. The first two take a JWKS, the third a secret. */
enum site_alg { SITE_RS256, SITE_ES256, SITE_HS256, SITE_ALG__MAX };

#define SITE_SECRET_MIN 32  /* bytes, as RFC 7518 demands of HS256 */
#define SITE_TEXT_MAX   255 /* bytes of an issuer, and of an external id */
#define SITE_WHY        256

struct site_rules {
	const char *issuer;   /* iss */
	const char *audience; /* aud, or one of them */
	unsigned algs;        /* a bit per enum site_alg */
	const char *secret;   /* of HS256, which then stands alone */
	int64_t leeway_s;     /* their clock against ours */
	int64_t max_age_s;    /* since iat */
};

/*
 * Reads the settings. ERR_EXCHANGE_OFF when no issuer is set;
 * ERR_INVALID_FIELD with a line for the operator in `why` when they cannot
 * work.
 */
enum err site_rules_read(const struct config *config, struct site_rules *out,
    char why[static SITE_WHY]) MUST_CHECK;

/* Is this a URL rather than a file's path? */
bool site_is_url(const char *source);

/* The name in `alg`; the algorithm of that name, SITE_ALG__MAX for another. */
const char *site_alg_name(enum site_alg alg);
enum site_alg site_alg_named(const char *name, size_t n);

#endif
