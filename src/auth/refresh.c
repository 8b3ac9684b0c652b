/*
 * The bytes of refresh tokens and their MACs. Owns nothing; every derived key
 * is wiped before return. Must not know rows, requests or the clock.
 */
#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "auth/refresh.h"
#include "base/keyring.h"
#include "base/text.h"

/* Offsets into the token's bytes. */
enum {
	AT_FORM = 0,
	AT_KID = 1,
	AT_SESSION = 2,
	AT_GENERATION = 18,
	AT_MAC_A = 22,
	AT_MAC_B = 38,
	TOKEN_BYTES = 54,
};

#define NAMED_BYTES AT_MAC_A /* what both MACs cover */

static unsigned char
kid_byte(const char *kid)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	(void)crypto_hash_sha256(hash, (const unsigned char *)kid, strlen(kid));
	return hash[0];
}

/* HMAC-SHA256(K, label | the named bytes). */
static void
hmac(const struct keyring *ring, size_t key, char label,
    const unsigned char named[static NAMED_BYTES],
    unsigned char out[static crypto_auth_hmacsha256_BYTES])
{
	unsigned char text[1 + NAMED_BYTES];
	unsigned char k[KEYRING_BYTES];
	text[0] = (unsigned char)label;
	memcpy(text + 1, named, NAMED_BYTES);
	keyring_derive(ring, key, KEY_FOR_REFRESH, k);
	(void)crypto_auth_hmacsha256(out, text, sizeof text, k);
	sodium_memzero(k, sizeof k);
}

/* The part of a token that both MACs cover. */
static void
put_named(const struct keyring *ring, const struct refresh_token *token,
    unsigned char out[static NAMED_BYTES])
{
	assert(token->form >= 1 && token->form <= REFRESH_FORMS);
	out[AT_FORM] = token->form;
	out[AT_KID] = kid_byte(keyring_kid(ring, keyring_current(ring)));
	id_to_bytes(token->session_id, out + AT_SESSION);
	for (int i = 0; i < 4; i++)
		out[AT_GENERATION + i] =
		    (unsigned char)(token->generation >> (24 - 8 * i));
}

static uint32_t
read_generation(const unsigned char *bytes)
{
	uint32_t n = 0;
	for (int i = 0; i < 4; i++)
		n = n << 8 | bytes[AT_GENERATION + i];
	return n;
}

/* Did this key make macA? */
static bool
is_made_by(const struct keyring *ring, size_t key,
    const unsigned char bytes[static TOKEN_BYTES])
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	if (kid_byte(keyring_kid(ring, key)) != bytes[AT_KID])
		return false;
	hmac(ring, key, 'a', bytes, mac);
	return sodium_memcmp(mac, bytes + AT_MAC_A, REFRESH_MAC) == 0;
}

/* The key that made macA, or -1. */
static int
maker_of(
    const struct keyring *ring, const unsigned char bytes[static TOKEN_BYTES])
{
	for (size_t i = 0; i < keyring_count(ring); i++) {
		if (is_made_by(ring, i, bytes))
			return (int)i;
	}
	return -1;
}

enum err
refresh_parse(const struct keyring *ring, const char *text,
    struct refresh_token *out_token)
{
	unsigned char bytes[TOKEN_BYTES];
	if (strnlen(text, REFRESH_TEXT) != REFRESH_TEXT - 1 ||
	    !text_from_base64url(text, REFRESH_TEXT - 1, bytes, sizeof bytes) ||
	    bytes[AT_FORM] < 1 || bytes[AT_FORM] > REFRESH_FORMS ||
	    read_generation(bytes) >= INT32_MAX)
		return ERR_REFRESH_INVALID;
	int key = maker_of(ring, bytes);
	if (key < 0)
		return ERR_REFRESH_INVALID;
	out_token->form = bytes[AT_FORM];
	id_from_bytes(bytes + AT_SESSION, out_token->session_id);
	out_token->generation = read_generation(bytes);
	memcpy(out_token->mac, bytes + AT_MAC_B, REFRESH_MAC);
	hmac(ring, (size_t)key, 'b', bytes, out_token->key);
	sodium_memzero(bytes, sizeof bytes);
	return OK;
}

void
refresh_key(const struct keyring *ring, const struct refresh_token *token,
    unsigned char out_key[static REFRESH_KEY])
{
	unsigned char named[NAMED_BYTES];
	put_named(ring, token, named);
	hmac(ring, keyring_current(ring), 'b', named, out_key);
}

void
refresh_make(const struct keyring *ring, const struct refresh_token *token,
    char out_text[static REFRESH_TEXT])
{
	unsigned char bytes[TOKEN_BYTES];
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	put_named(ring, token, bytes);
	hmac(ring, keyring_current(ring), 'a', bytes, mac);
	memcpy(bytes + AT_MAC_A, mac, REFRESH_MAC);
	memcpy(bytes + AT_MAC_B, token->mac, REFRESH_MAC);
	(void)sodium_bin2base64(out_text, REFRESH_TEXT, bytes, sizeof bytes,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(bytes, sizeof bytes);
}
