/*
 * Makes and verifies access tokens: see the header for what libjwt may see.
 * Owns nothing. Must not know sessions, requests or the clock.
 */
#include <assert.h>
#include <errno.h>
#include <jwt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/access_token.h"
#include "auth/jwt.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/keyring.h"

#define USE          "access" /* of the claim `use`: typ is libjwt's own */
#define N_CLAIMS     9
#define MAC_TEXT     43 /* base64url of 32 bytes */
#define HEADER_BYTES 80
#define HEADER_TEXT  112 /* base64url of HEADER_BYTES, with a NUL */

/* Of the size that ours have, and as strict as jwt_split; a MAC of the size. */
static bool
split(const char *token, struct jwt_segments *out)
{
	return strnlen(token, ACCESS_TOKEN_MIN) == ACCESS_TOKEN_MIN &&
	       jwt_split(token, ACCESS_TOKEN_MAX, out) &&
	       out->signature.n == MAC_TEXT;
}

/* The header segment that libjwt writes for this kid: sorted, compact. */
static void
pinned_header(const char *kid, char out[static HEADER_TEXT])
{
	char json[HEADER_BYTES];
	int n = snprintf(json, sizeof json,
	    "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", kid);
	assert(n > 0 && (size_t)n < sizeof json);
	(void)sodium_bin2base64(out, HEADER_TEXT, (unsigned char *)json,
	    (size_t)n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* The key whose pinned header this is, or -1. */
static int
key_of(const struct keyring *keys, const struct jwt_segment *header)
{
	for (size_t i = 0; i < keyring_count(keys); i++) {
		char ours[HEADER_TEXT];
		pinned_header(keyring_kid(keys, i), ours);
		if (strlen(ours) == header->n &&
		    memcmp(ours, header->p, header->n) == 0)
			return (int)i;
	}
	return -1;
}

/*
 * The MAC, through libjwt. It reports success with an empty, unverified token
 * when it cannot copy the key: then its alg is not the one of our header.
 */
static enum err
decode(const struct keyring *keys, size_t key, const char *token, jwt_t **out)
{
	unsigned char secret[KEYRING_BYTES];
	jwt_t *jwt = NULL;
	keyring_derive(keys, key, KEY_FOR_ACCESS, secret);
	int rc = jwt_decode(&jwt, token, secret, (int)sizeof secret);
	sodium_memzero(secret, sizeof secret);
	if (rc == ENOMEM)
		return ERR_UNAVAILABLE;
	if (rc != 0)
		return ERR_TOKEN_INVALID;
	if (jwt_get_alg(jwt) != JWT_ALG_HS256) {
		jwt_free(jwt);
		return ERR_UNAVAILABLE;
	}
	*out = jwt;
	return OK;
}

static bool
claim_id(struct json_object *o, const char *name, char out[static ID_TEXT])
{
	const char *text = jwt_text(o, name);
	if (!text || !id_is_uuid(text))
		return false;
	memcpy(out, text, ID_TEXT);
	return true;
}

static enum err
read_claims(const struct access_rules *rules, struct json_object *o,
    int64_t now_s, struct access_claims *out)
{
	struct access_claims c = {0};
	if (json_object_object_length(o) != N_CLAIMS ||
	    !jwt_text_is(o, "iss", rules->issuer) ||
	    !jwt_text_is(o, "aud", rules->audience) ||
	    !jwt_text_is(o, "use", USE) || !claim_id(o, "sub", c.user_id) ||
	    !claim_id(o, "sid", c.session_id) || !claim_id(o, "jti", c.jti) ||
	    !jwt_number(o, "iat", &c.issued_s) ||
	    !jwt_number(o, "exp", &c.expires_s) ||
	    !jwt_number(o, "ue", &c.epoch))
		return ERR_TOKEN_INVALID;
	if (c.expires_s <= c.issued_s ||
	    c.expires_s - c.issued_s > ACCESS_LIFE_MAX ||
	    c.issued_s > now_s + ACCESS_LEEWAY)
		return ERR_TOKEN_INVALID;
	if (c.expires_s <= now_s)
		return ERR_TOKEN_EXPIRED;
	*out = c;
	return OK;
}

enum err
access_token_verify(const struct access_rules *rules, const char *token,
    int64_t now_s, struct access_claims *out_claims)
{
	struct jwt_segments s;
	if (!split(token, &s))
		return ERR_TOKEN_INVALID;
	int key = key_of(rules->keys, &s.header);
	if (key < 0)
		return ERR_TOKEN_INVALID;
	jwt_t *jwt = NULL;
	enum err e = decode(rules->keys, (size_t)key, token, &jwt);
	if (e)
		return e;

	AUTO_JSON struct json_object *o = NULL;
	char *json = jwt_get_grants_json(jwt, NULL);
	jwt_free(jwt);
	if (!json)
		return ERR_UNAVAILABLE;
	e = json_parse_object(json, strlen(json), &o);
	free(json);
	if (e)
		return ERR_TOKEN_INVALID;
	return read_claims(rules, o, now_s, out_claims);
}

static int
add_claims(
    jwt_t *jwt, const struct access_rules *rules, const struct access_claims *c)
{
	int rc = jwt_add_grant(jwt, "iss", rules->issuer);
	rc = rc ? rc : jwt_add_grant(jwt, "aud", rules->audience);
	rc = rc ? rc : jwt_add_grant(jwt, "use", USE);
	rc = rc ? rc : jwt_add_grant(jwt, "sub", c->user_id);
	rc = rc ? rc : jwt_add_grant(jwt, "sid", c->session_id);
	rc = rc ? rc : jwt_add_grant(jwt, "jti", c->jti);
	rc = rc ? rc : jwt_add_grant_int(jwt, "iat", (long)c->issued_s);
	rc = rc ? rc : jwt_add_grant_int(jwt, "exp", (long)c->expires_s);
	rc = rc ? rc : jwt_add_grant_int(jwt, "ue", (long)c->epoch);
	return rc;
}

/* The signed token, which the caller frees; NULL when libjwt fails. */
static char *
encode(const struct access_rules *rules, const struct access_claims *c)
{
	unsigned char secret[KEYRING_BYTES];
	size_t key = keyring_current(rules->keys);
	jwt_t *jwt = NULL;
	char *text = NULL;
	if (jwt_new(&jwt) != 0)
		return NULL;
	keyring_derive(rules->keys, key, KEY_FOR_ACCESS, secret);
	if (add_claims(jwt, rules, c) == 0 &&
	    jwt_add_header(jwt, "kid", keyring_kid(rules->keys, key)) == 0 &&
	    jwt_set_alg(jwt, JWT_ALG_HS256, secret, (int)sizeof secret) == 0)
		text = jwt_encode_str(jwt);
	sodium_memzero(secret, sizeof secret);
	jwt_free(jwt); /* scrubs its own copy of the key */
	return text;
}

enum err
access_token_make(const struct access_rules *rules,
    const struct access_claims *claims, struct arena *a, const char **out_token)
{
	assert(claims->issued_s >= 0 && claims->epoch >= 0);
	char *text = encode(rules, claims);
	if (!text)
		return ERR_INTERNAL;
	size_t n = strlen(text);
	const char *token =
	    n <= ACCESS_TOKEN_MAX ? arena_strndup(a, text, n) : NULL;
	sodium_memzero(text, n);
	free(text);
	if (!token)
		return ERR_INTERNAL;
	*out_token = token;
	return OK;
}
