/*
 * Keys of a site through libcrypto: from JWK to EVP_PKEY, and signatures. Must
 * not know where keys come from or what is signed.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <string.h>

#include "auth/jwt.h"
#include "auth/site_key.h"
#include "base/text.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096 /* larger ones cost more than they are worth */
#define EXPONENT_MAX 4    /* bytes */
#define COORDINATE   32   /* bytes of x, y, r and s on P-256 */
#define DER_MAX      80   /* bytes of an ECDSA signature on P-256 in DER */

static const char *const no_memory = "no memory for a key";

/*
 * The bytes of a member in base64url, without leading zeros if they are a
 * number's; 0 when it is not there or longer than `room`.
 */
static size_t
member_bytes(
    struct json_object *jwk, const char *name, unsigned char *out, size_t room)
{
	const char *text = jwt_text(jwk, name);
	size_t chars = text ? strlen(text) : 0;
	size_t n = chars / 4 * 3 + (chars % 4 ? chars % 4 - 1 : 0);
	if (chars % 4 == 1 || n > room ||
	    !text_from_base64url(text ? text : "", chars, out, n))
		return 0;
	return n;
}

/* Makes an EVP_PKEY; NULL when libcrypto does not take the numbers. */
static EVP_PKEY *
make_key(const char *type, OSSL_PARAM_BLD *numbers)
{
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(numbers);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	ERR_clear_error();
	return key;
}

static const char *
read_rsa(struct json_object *jwk, struct site_key *out)
{
	unsigned char modulus[RSA_BITS_MAX / 8], exponent[EXPONENT_MAX];
	size_t n = member_bytes(jwk, "n", modulus, sizeof modulus);
	size_t e = member_bytes(jwk, "e", exponent, sizeof exponent);
	if (n == 0 || e == 0)
		return "an RSA key without n and e that can be used";
	BIGNUM *bn = BN_bin2bn(modulus, (int)n, NULL);
	BIGNUM *be = BN_bin2bn(exponent, (int)e, NULL);
	OSSL_PARAM_BLD *numbers = OSSL_PARAM_BLD_new();
	const char *why = NULL;
	if (!bn || !be || !numbers ||
	    !OSSL_PARAM_BLD_push_BN(numbers, OSSL_PKEY_PARAM_RSA_N, bn) ||
	    !OSSL_PARAM_BLD_push_BN(numbers, OSSL_PKEY_PARAM_RSA_E, be))
		why = no_memory;
	else if (BN_num_bits(bn) < RSA_BITS_MIN)
		why = "an RSA key of less than 2048 bits";
	else if (!BN_is_odd(bn) || !BN_is_odd(be) || BN_is_one(be))
		why = "an RSA key of numbers that are none";
	else if (!(out->key = make_key("RSA", numbers)))
		why = "an RSA key that libcrypto refuses";
	OSSL_PARAM_BLD_free(numbers);
	BN_free(bn);
	BN_free(be);
	return why;
}

/* Is the point on the curve, and not at infinity? */
static bool
is_sound(EVP_PKEY *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool yes = ctx && EVP_PKEY_public_check(ctx) == 1;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return yes;
}

static const char *
read_ec(struct json_object *jwk, struct site_key *out)
{
	unsigned char point[1 + 2 * COORDINATE] = {
	    POINT_CONVERSION_UNCOMPRESSED};
	if (!jwt_text_is(jwk, "crv", "P-256"))
		return "an EC key on another curve than P-256";
	if (member_bytes(jwk, "x", point + 1, COORDINATE) != COORDINATE ||
	    member_bytes(jwk, "y", point + 1 + COORDINATE, COORDINATE) !=
		COORDINATE)
		return "an EC key without x and y of 32 bytes";
	OSSL_PARAM_BLD *numbers = OSSL_PARAM_BLD_new();
	const char *why = NULL;
	if (!numbers ||
	    !OSSL_PARAM_BLD_push_utf8_string(
		numbers, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(
		numbers, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point))
		why = no_memory;
	else if (!(out->key = make_key("EC", numbers)) || !is_sound(out->key))
		why = "an EC key that is not a point of the curve";
	OSSL_PARAM_BLD_free(numbers);
	return why;
}

/* Is the member absent, or exactly this string? */
static bool
allows(struct json_object *jwk, const char *name, const char *want)
{
	return !json_object_object_get_ex(jwk, name, NULL) ||
	       jwt_text_is(jwk, name, want);
}

/* key_ops, where it is given, must let us verify. */
static bool
may_verify(struct json_object *jwk)
{
	struct json_object *ops = NULL;
	if (!json_object_object_get_ex(jwk, "key_ops", &ops))
		return true;
	if (!json_object_is_type(ops, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(ops); i++) {
		struct json_object *op = json_object_array_get_idx(ops, i);
		const char *text = json_object_get_string(op);
		if (text && strcmp(text, "verify") == 0)
			return true;
	}
	return false;
}

static const char *
read_kid(struct json_object *jwk, struct site_key *out)
{
	if (!json_object_object_get_ex(jwk, "kid", NULL))
		return NULL;
	const char *kid = jwt_text(jwk, "kid");
	if (!kid || !*kid || strlen(kid) > SITE_KID_MAX)
		return "a key whose kid is empty, too long or no text";
	memcpy(out->kid, kid, strlen(kid) + 1);
	return NULL;
}

const char *
site_key_read(struct json_object *jwk, struct site_key *out_key)
{
	struct site_key key = {0};
	if (!json_object_is_type(jwk, json_type_object))
		return "a key that is no object";
	bool is_rsa = jwt_text_is(jwk, "kty", "RSA");
	if (!is_rsa && !jwt_text_is(jwk, "kty", "EC"))
		return "a key that is neither RSA nor EC";
	key.alg = is_rsa ? SITE_RS256 : SITE_ES256;
	if (json_object_object_get_ex(jwk, "d", NULL))
		return "a PRIVATE key: publish its public half alone";
	if (!allows(jwk, "use", "sig") || !may_verify(jwk))
		return "a key that is not for signatures";
	if (!allows(jwk, "alg", site_alg_name(key.alg)))
		return "a key for another algorithm";
	const char *why = read_kid(jwk, &key);
	if (!why)
		why = is_rsa ? read_rsa(jwk, &key) : read_ec(jwk, &key);
	if (why)
		site_key_clear(&key);
	else
		*out_key = key;
	return why;
}

/* r and s as JWS has them, in DER as libcrypto wants them; 0: no memory. */
static size_t
to_der(const unsigned char rs[static 2 * COORDINATE],
    unsigned char out[static DER_MAX])
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(rs, COORDINATE, NULL);
	BIGNUM *s = BN_bin2bn(rs + COORDINATE, COORDINATE, NULL);
	unsigned char *end = out;
	int n = 0;
	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* sig has them */
		n = i2d_ECDSA_SIG(sig, &end);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n > 0 ? (size_t)n : 0;
}

bool
site_key_verify(const struct site_key *key, const struct jwt_segment *text,
    const unsigned char *signature, size_t n)
{
	unsigned char der[DER_MAX];
	if (key->alg == SITE_ES256) {
		if (n != 2 * COORDINATE)
			return false;
		n = to_der(signature, der);
		signature = der;
	} else if (n != (size_t)EVP_PKEY_get_size(key->key)) {
		return false;
	}
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool yes = ctx &&
		   EVP_DigestVerifyInit(
		       ctx, NULL, EVP_sha256(), NULL, key->key) == 1 &&
		   EVP_DigestVerify(ctx, signature, n,
		       (const unsigned char *)text->p, text->n) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return yes;
}

bool
site_secret_verify(const char *secret, const struct jwt_segment *text,
    const unsigned char *signature, size_t n)
{
	crypto_auth_hmacsha256_state state;
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	if (n != sizeof mac)
		return false;
	(void)crypto_auth_hmacsha256_init(
	    &state, (const unsigned char *)secret, strlen(secret));
	(void)crypto_auth_hmacsha256_update(
	    &state, (const unsigned char *)text->p, text->n);
	(void)crypto_auth_hmacsha256_final(&state, mac);
	bool yes = sodium_memcmp(mac, signature, sizeof mac) == 0;
	sodium_memzero(&state, sizeof state);
	sodium_memzero(mac, sizeof mac);
	return yes;
}

void
site_key_clear(struct site_key *key)
{
	EVP_PKEY_free(key->key);
	*key = (struct site_key){0};
}
