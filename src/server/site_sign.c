/*
 * HMAC-SHA256 by libsodium, of the time, a dot and the body.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "server/site_sign.h"

/* Writes one signature; returns its end. */
static char *
sign_with(const char *secret, const char *prefix, const char *body, size_t n,
    char *out)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(
	    &state, (const unsigned char *)secret, strlen(secret));
	crypto_auth_hmacsha256_update(
	    &state, (const unsigned char *)prefix, strlen(prefix));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, n);
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_memzero(&state, sizeof(state));
	(void)snprintf(out, sizeof("v1="), "v1=");
	sodium_bin2hex(out + 3, 2 * sizeof(mac) + 1, mac, sizeof(mac));
	return out + 3 + 2 * sizeof(mac);
}

void
site_sign(const struct site_secrets *secrets, int64_t timestamp_s,
    const char *body, size_t n, char out[static SITE_SIGNATURES])
{
	char prefix[24];

	snprintf(prefix, sizeof(prefix), "%" PRId64 ".", timestamp_s);
	out = sign_with(secrets->now, prefix, body, n, out);
	if (secrets->before == NULL)
		return;
	*out++ = ',';
	(void)sign_with(secrets->before, prefix, body, n, out);
}
