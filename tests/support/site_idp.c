/*
 * Keys and tokens through libcrypto, written apart from the code under test.
 */
#include <assert.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "site_idp.h"

char *
idp_text(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	return text;
}

char *
idp_base64url(const void *p, size_t n)
{
	const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
	size_t room = sodium_base64_encoded_len(n, variant);
	char *text = malloc(room);
	assert(text);
	return sodium_bin2base64(text, room, p, n, variant);
}

EVP_PKEY *
idp_key(enum idp_kind kind)
{
	EVP_PKEY *key = NULL;
	switch (kind) {
	case IDP_RSA_2048:
		key = EVP_RSA_gen(2048);
		break;
	case IDP_RSA_1024:
		key = EVP_RSA_gen(1024);
		break;
	case IDP_P256:
		key = EVP_EC_gen("P-256");
		break;
	case IDP_P384:
		key = EVP_EC_gen("P-384");
		break;
	}
	assert(key);
	return key;
}

/* As PEM in the environment, which is what a test's process has of the one
 * that starts it. */
void
idp_share_key(const char *name)
{
	EVP_PKEY *key = idp_key(IDP_RSA_2048);
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	int ok = PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	assert(ok == 1);
	long n = BIO_get_mem_data(bio, &pem);
	char *text = strndup(pem, (size_t)n);
	ok = setenv(name, text, 1);
	assert(ok == 0);
	free(text);
	BIO_free(bio);
	EVP_PKEY_free(key);
}

EVP_PKEY *
idp_shared_key(const char *name)
{
	const char *pem = getenv(name);
	assert(pem);
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	assert(key);
	BIO_free(bio);
	return key;
}

void
idp_key_free(EVP_PKEY *key)
{
	EVP_PKEY_free(key);
}

/* A number of the key in base64url, padded to `width` bytes. */
static char *
number(EVP_PKEY *key, const char *name, int width)
{
	BIGNUM *bn = NULL;
	unsigned char bytes[1024];
	int ok = EVP_PKEY_get_bn_param(key, name, &bn);
	assert(ok == 1);
	int n = width ? width : BN_num_bytes(bn);
	ok = BN_bn2binpad(bn, bytes, n);
	assert(ok == n);
	BN_free(bn);
	return idp_base64url(bytes, (size_t)n);
}

char *
idp_jwk(EVP_PKEY *key, const char *kid, const char *extra)
{
	int is_rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
	int width = (EVP_PKEY_get_bits(key) + 7) / 8;
	char *a = is_rsa ? number(key, OSSL_PKEY_PARAM_RSA_N, 0)
			 : number(key, OSSL_PKEY_PARAM_EC_PUB_X, width);
	char *b = is_rsa ? number(key, OSSL_PKEY_PARAM_RSA_E, 0)
			 : number(key, OSSL_PKEY_PARAM_EC_PUB_Y, width);
	char *name =
	    kid ? idp_text(",\"kid\":\"%s\"", kid) : idp_text("%s", "");
	char *jwk;
	if (is_rsa)
		jwk =
		    idp_text("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s%s}",
			a, b, name, extra);
	else
		jwk = idp_text("{\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"%s\","
			       "\"y\":\"%s\"%s%s}",
		    EVP_PKEY_get_bits(key), a, b, name, extra);
	free(a);
	free(b);
	free(name);
	return jwk;
}

char *
idp_jwks(const char *first, ...)
{
	char *set = idp_text("{\"keys\":[%s", first);
	va_list ap;
	va_start(ap, first);
	for (const char *jwk; (jwk = va_arg(ap, const char *));) {
		char *longer = idp_text("%s,%s", set, jwk);
		free(set);
		set = longer;
	}
	va_end(ap);
	char *whole = idp_text("%s]}", set);
	free(set);
	return whole;
}

char *
idp_public_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	int ok = PEM_write_bio_PUBKEY(bio, key);
	assert(ok == 1);
	long n = BIO_get_mem_data(bio, &p);
	char *pem = strndup(p, (size_t)n);
	BIO_free(bio);
	return pem;
}

static char *
first_two(const char *header, const char *claims)
{
	char *h = idp_base64url(header, strlen(header));
	char *c = idp_base64url(claims, strlen(claims));
	char *text = idp_text("%s.%s", h, c);
	free(h);
	free(c);
	return text;
}

static char *
with_signature(char *text, const unsigned char *signature, size_t n)
{
	char *s = idp_base64url(signature, n);
	char *token = idp_text("%s.%s", text, s);
	free(s);
	free(text);
	return token;
}

/* From DER to r and s, each as wide as the curve. */
static size_t
to_rs(unsigned char *signature, size_t n, int width)
{
	const unsigned char *p = signature;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	assert(sig);
	BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, width);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + width, width);
	ECDSA_SIG_free(sig);
	return 2 * (size_t)width;
}

char *
idp_sign(EVP_PKEY *key, const char *header, const char *claims)
{
	unsigned char signature[1024];
	size_t n = sizeof signature;
	char *text = first_two(header, claims);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		 EVP_DigestSign(ctx, signature, &n, (const unsigned char *)text,
		     strlen(text)) == 1;
	assert(ok);
	EVP_MD_CTX_free(ctx);
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
		n = to_rs(signature, n, (EVP_PKEY_get_bits(key) + 7) / 8);
	return with_signature(text, signature, n);
}

char *
idp_mac(const char *secret, const char *header, const char *claims)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	char *text = first_two(header, claims);
	crypto_auth_hmacsha256_init(
	    &state, (const unsigned char *)secret, strlen(secret));
	crypto_auth_hmacsha256_update(
	    &state, (const unsigned char *)text, strlen(text));
	crypto_auth_hmacsha256_final(&state, mac);
	return with_signature(text, mac, sizeof mac);
}
