/*
 * How a site knows that a call comes from its Natter: what is sent is signed
 * with the tool's secret, together with the time.
 *
 *   Natter-Timestamp: 1700000000
 *   Natter-Signature: v1=<hex of HMAC-SHA256(secret, "1700000000." + body)>
 *
 * While a secret is being changed there are two, with a comma between; one that
 * fits is enough.
 *
 * Thread: any; pure.
 */
#ifndef SERVER_SITE_SIGN_H
#define SERVER_SITE_SIGN_H

#include <stddef.h>
#include <stdint.h>

/* Of "v1=…,v1=…", with its NUL. */
#define SITE_SIGNATURES (2 * 67 + 2)

struct site_secrets {
	const char *now;
	const char *before; /* NULL: not good any more */
};

void site_sign(const struct site_secrets *secrets, int64_t timestamp_s,
    const char *body, size_t n, char out[static SITE_SIGNATURES]);

#endif
