/*
 * Cursors: the last row's keys, sealed. As bytes:
 *
 *     version (1) | kid length (2), kid | per key: length (2), key | MAC (16)
 *
 * The MAC (BLAKE2b, keyed for cursors only) also covers whose cursor it is and
 * of which list, so neither needs room in it. Knows nothing of rows.
 */
#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/keyring.h"
#include "base/text.h"
#include "http/cursor.h"
#include "http/request.h"

#define VERSION   2
#define MAC_BYTES 16
#define KEY_BYTES 256 /* 64 characters */
#define LEN_BYTES 2
#define RAW_MAX                        \
	(1 + LEN_BYTES + KEYRING_KID + \
	    CURSOR_KEYS_MAX * (LEN_BYTES + KEY_BYTES) + MAC_BYTES)

/* A cursor's bytes while they are made. */
struct raw {
	unsigned char p[RAW_MAX];
	size_t n;
};

static bool
add_part(struct raw *raw, const char *s)
{
	size_t len = strlen(s);
	if (len > KEY_BYTES || len + LEN_BYTES > RAW_MAX - MAC_BYTES - raw->n)
		return false;
	raw->p[raw->n++] = (unsigned char)(len >> 8);
	raw->p[raw->n++] = (unsigned char)(len & 0xff);
	memcpy(raw->p + raw->n, s, len);
	raw->n += len;
	return true;
}

static void
hash_part(crypto_generichash_state *state, const void *p, size_t n)
{
	uint64_t len = n; /* or "ab","c" would hash as "a","bc" */
	(void)crypto_generichash_update(
	    state, (const unsigned char *)&len, sizeof(len));
	(void)crypto_generichash_update(state, p, n);
}

/* The MAC of `raw`'s bytes for this user and list under ring key `key`. */
static void
make_mac(const struct request *req, const char *list, const struct raw *raw,
    size_t key, unsigned char out[static MAC_BYTES])
{
	unsigned char secret[KEYRING_BYTES];
	crypto_generichash_state state;
	const char *user = req->who.user_id ? req->who.user_id : "";
	keyring_derive(req->services->keys, key, KEY_FOR_CURSOR, secret);
	(void)crypto_generichash_init(
	    &state, secret, sizeof(secret), MAC_BYTES);
	hash_part(&state, user, strlen(user));
	hash_part(&state, list, strlen(list));
	hash_part(&state, raw->p, raw->n);
	(void)crypto_generichash_final(&state, out, MAC_BYTES);
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(&state, sizeof(state));
}

/* Decodes the text into the bytes before the MAC and the MAC. */
static bool
decode(const char *text, struct raw *raw, unsigned char mac[static MAC_BYTES])
{
	unsigned char all[RAW_MAX];
	size_t len = strnlen(text, RAW_MAX * 2);
	size_t n = len / 4 * 3 + len % 4 * 3 / 4;
	if (n > RAW_MAX || n < 2 + MAC_BYTES ||
	    !text_from_base64url(text, len, all, n))
		return false;
	raw->n = n - MAC_BYTES;
	memcpy(raw->p, all, raw->n);
	memcpy(mac, all + raw->n, MAC_BYTES);
	return true;
}

/* Reads the part at `*at`, at most `max` bytes, into the arena. */
static const char *
read_part(struct arena *a, const struct raw *raw, size_t *at, size_t max)
{
	if (raw->n < LEN_BYTES || *at > raw->n - LEN_BYTES)
		return NULL;
	size_t len = (size_t)raw->p[*at] << 8 | raw->p[*at + 1];
	if (len > max || len > raw->n - *at - LEN_BYTES)
		return NULL;
	const char *s = (const char *)raw->p + *at + LEN_BYTES;
	*at += LEN_BYTES + len;
	return arena_strndup(a, s, len);
}

/* Is the MAC right? `*out_at` is where the keys begin. */
static bool
is_ours(struct request *req, const char *list, const struct raw *raw,
    const unsigned char mac[static MAC_BYTES], size_t *out_at)
{
	unsigned char want[MAC_BYTES];
	size_t at = 1;
	if (raw->p[0] != VERSION)
		return false;
	const char *kid = read_part(req->arena, raw, &at, KEYRING_KID - 1);
	int key = kid ? keyring_find(req->services->keys, kid) : -1;
	if (key < 0)
		return false;
	make_mac(req, list, raw, (size_t)key, want);
	*out_at = at;
	return sodium_memcmp(want, mac, MAC_BYTES) == 0;
}

const char *
cursor_make(struct request *req, const char *list, const char *const *keys)
{
	const struct keyring *ring = req->services->keys;
	size_t current = keyring_current(ring);
	struct raw raw = {.p = {VERSION}, .n = 1};
	if (!add_part(&raw, keyring_kid(ring, current)))
		return NULL;
	for (size_t i = 0; keys[i]; i++) {
		assert(i < CURSOR_KEYS_MAX);
		if (!add_part(&raw, keys[i]))
			return NULL;
	}
	unsigned char mac[MAC_BYTES];
	make_mac(req, list, &raw, current, mac);
	memcpy(raw.p + raw.n, mac, MAC_BYTES);
	return text_base64url(req->arena, raw.p, raw.n + MAC_BYTES);
}

enum err
cursor_read(struct request *req, const char *list,
    const char *keys[static CURSOR_KEYS_MAX])
{
	const char *text;
	struct raw raw;
	unsigned char mac[MAC_BYTES];
	const char *found[CURSOR_KEYS_MAX] = {NULL};
	size_t at;
	enum err e = request_query(req, "cursor", &text);
	if (e)
		return e == ERR_INVALID_FIELD ? ERR_BAD_CURSOR : e;
	if (text) {
		if (!decode(text, &raw, mac) ||
		    !is_ours(req, list, &raw, mac, &at))
			return ERR_BAD_CURSOR;
		for (size_t i = 0; i < CURSOR_KEYS_MAX && at < raw.n; i++) {
			found[i] = read_part(req->arena, &raw, &at, KEY_BYTES);
			if (!found[i])
				return ERR_TOO_LARGE;
		}
	}
	memcpy(keys, found, sizeof(found));
	return OK;
}
