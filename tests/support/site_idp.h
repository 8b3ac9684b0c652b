/*
 * A site's identity provider for tests: keys, their JWKs, and tokens signed
 * with them, right or wrong in any way a test can think of. Aborts on what
 * cannot happen.
 *
 * Thread: any; strings written out are the caller's to free.
 */
#ifndef TESTS_SUPPORT_SITE_IDP_H
#define TESTS_SUPPORT_SITE_IDP_H

#include <stddef.h>

struct evp_pkey_st;

enum idp_kind { IDP_RSA_2048, IDP_RSA_1024, IDP_P256, IDP_P384 };

/* A fresh key pair; idp_key_free. */
struct evp_pkey_st *idp_key(enum idp_kind kind);
void idp_key_free(struct evp_pkey_st *key);

/*
 * Pairs of RSA take a tenth of a second and more to make: in a
 * ReportHook(PRE_ALL) one for all tests of a program, by a name, and in each of
 * them that one; idp_key_free.
 */
void idp_share_key(const char *name);
struct evp_pkey_st *idp_shared_key(const char *name);

/*
 * Its public JWK. `extra` is put before the closing brace (",\"use\":\"sig\"")
 * and may be ""; `kid` NULL leaves it out.
 */
char *idp_jwk(struct evp_pkey_st *key, const char *kid, const char *extra);

/* A JWKS of these JWKs (NULL-ended). */
char *idp_jwks(const char *first, ...) __attribute__((sentinel));

/* The public key as PEM, as an attacker would have it. */
char *idp_public_pem(struct evp_pkey_st *key);

/* Base64url of `n` bytes. */
char *idp_base64url(const void *p, size_t n);

/*
 * A token of this header and these claims, both JSON as they are to stand
 * there, signed as the key is (RS256, or ES256 in JWS's form).
 */
char *idp_sign(struct evp_pkey_st *key, const char *header, const char *claims);

/* The same with HMAC-SHA-256 under `secret`. */
char *idp_mac(const char *secret, const char *header, const char *claims);

/* A formatted string. */
char *idp_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
