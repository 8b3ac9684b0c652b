/*
 * One public key of a site: made from a JWK, kept as libcrypto's EVP_PKEY,
 * because parsing one takes four times as long as checking a signature with
 * it. Takes RSA of 2048 to 4096 bits for RS256 and P-256 for ES256; a key of
 * the set that is for something else, or broken, is no reason to refuse the
 * others.
 *
 * Ownership: site_key_clear releases. Thread: any.
 */
#ifndef AUTH_SITE_KEY_H
#define AUTH_SITE_KEY_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/site_rules.h"

struct evp_pkey_st;
struct jwt_segment;

#define SITE_KID_MAX 255 /* bytes; a key with a longer one is left out */

struct site_key {
	char kid[SITE_KID_MAX + 1]; /* "" when the JWK has none */
	enum site_alg alg;
	struct evp_pkey_st *key;
};

/*
 * Makes the key of a JWK, which is any JSON. NULL when it serves, else why it
 * does not (a constant).
 */
const char *site_key_read(struct json_object *jwk, struct site_key *out_key);

/* Is this the signature of the text? */
bool site_key_verify(const struct site_key *key, const struct jwt_segment *text,
    const unsigned char *signature, size_t n);

/* The same for HS256. */
bool site_secret_verify(const char *secret, const struct jwt_segment *text,
    const unsigned char *signature, size_t n);

void site_key_clear(struct site_key *key);

#endif
