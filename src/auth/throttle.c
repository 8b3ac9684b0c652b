/*
 * Makes the throttle's keys. Owns no state. Must not know passwords, nor what
 * a bucket holds.
 */
#include <sodium.h>
#include <string.h>

#include "auth/client.h"
#include "auth/queries.h"
#include "auth/throttle.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/keyring.h"
#include "http/request.h"

#define KEY_BYTES 32

/* What a key is made of: each part with its NUL, so that none runs on. */
struct parts {
	const char *kind;
	const char *first;
	const char *second; /* NULL: one part only */
};

static void
make_key(const struct keyring *ring, size_t i, const struct parts *p,
    unsigned char out[static KEY_BYTES])
{
	_Static_assert(KEY_BYTES == crypto_auth_hmacsha256_BYTES, "a key");
	const char *const texts[] = {p->kind, p->first, p->second};
	unsigned char secret[KEYRING_BYTES];
	crypto_auth_hmacsha256_state state;
	keyring_derive(ring, i, KEY_FOR_DEVICE, secret);
	(void)crypto_auth_hmacsha256_init(&state, secret, sizeof secret);
	for (size_t t = 0; t < 3 && texts[t]; t++)
		(void)crypto_auth_hmacsha256_update(&state,
		    (const unsigned char *)texts[t], strlen(texts[t]) + 1);
	(void)crypto_auth_hmacsha256_final(&state, out);
	sodium_memzero(secret, sizeof secret);
	sodium_memzero(&state, sizeof state);
}

/* Under the current key, as SQL takes it. */
static const char *
current_key(struct request *req, const struct parts *p)
{
	const struct keyring *ring = req->services->keys;
	unsigned char key[KEY_BYTES];
	make_key(ring, keyring_current(ring), p, key);
	return queries_bytea(req->arena, key, sizeof key);
}

/* Under every key of the ring, one after the other. */
static const char *
all_keys(struct request *req, const struct parts *p)
{
	const struct keyring *ring = req->services->keys;
	unsigned char keys[KEYRING_MAX * KEY_BYTES];
	size_t n = keyring_count(ring);
	for (size_t i = 0; i < n; i++)
		make_key(ring, i, p, keys + i * KEY_BYTES);
	return queries_bytea(req->arena, keys, n * KEY_BYTES);
}

enum err
throttle_keys_make(
    struct request *req, const char *username, struct throttle_keys *out_keys)
{
	const struct parts name = {"name", username, NULL};
	const struct parts device = {
	    "device", username, client_device_secret(req)};
	const struct parts address = {"address", client_network(req), NULL};
	struct throttle_keys keys = {
	    .name = current_key(req, &name),
	    .device = device.second ? current_key(req, &device) : NULL,
	    .devices = device.second ? all_keys(req, &device) : NULL,
	    .address = address.first ? current_key(req, &address) : NULL,
	    .rate = arena_printf(
		req->arena, "%ld", req->services->config->login_address_rate),
	};
	if (!keys.name || !keys.rate || (address.first && !keys.address) ||
	    (device.second && (!keys.device || !keys.devices)))
		return ERR_TOO_LARGE;
	*out_keys = keys;
	return OK;
}

enum err
throttle_exchange_key(struct request *req, const char **out_key)
{
	const struct parts p = {"exchange", client_network(req), NULL};
	const char *key = p.first ? current_key(req, &p) : NULL;
	if (p.first && !key)
		return ERR_TOO_LARGE;
	*out_key = key;
	return OK;
}

enum err
throttle_refuse(struct request *req, long wait_s)
{
	req->retry_after_s = (int)wait_s;
	return request_fail(
	    req, ERR_LOGIN_THROTTLED, "too many failures before");
}

void
throttle_undo(struct request *req, const char *bucket)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_THROTTLE_UNDO],
	    .params = {bucket},
	};
	/* The try stays charged then. */
	if (pg_run(req->services->pg, NULL, &call, 1) == OK)
		pg_calls_clear(&call, 1);
}
