/*
 * The key ring: the only long-lived secrets of the daemon. A file (mode 0400
 * or 0600, refused when others may read it) with one key per line:
 *
 *     <kid> <state> <base64url of 32 random bytes>
 *
 * kid is 1-15 of [a-z0-9-]; state is `current` (signs and verifies; exactly
 * one), `next` (verifies) or `previous` (verifies). At most eight keys; `#`
 * begins a comment line. Keys come and go with keyring_file.h. Purposes never
 * share a key: each derives its own with keyring_derive.
 *
 * Ownership: keyring_free wipes; keys live in sodium_malloc'ed memory. Thread:
 * read-only after keyring_load, any.
 */
#ifndef BASE_KEYRING_H
#define BASE_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

#define KEYRING_MAX   8
#define KEYRING_BYTES 32
#define KEYRING_KID   16 /* room for a kid with its NUL */

enum key_state { KEY_CURRENT, KEY_NEXT, KEY_PREVIOUS };

/* What a derived key is for: the number goes into the derivation. */
enum key_purpose {
	KEY_FOR_ACCESS = 1,  /* HS256 of access tokens */
	KEY_FOR_REFRESH = 2, /* MACs of refresh tokens */
	KEY_FOR_CURSOR = 3,  /* MACs of list cursors */
	KEY_FOR_DEVICE = 4,  /* MACs of device ids and throttle keys */
};

struct keyring;

#define KEYRING_WHY 256

/* Reads the file; `why` says what to mend when it refuses. */
enum err keyring_load(const char *path, struct keyring **out_ring,
    char why[static KEYRING_WHY]) MUST_CHECK;
void keyring_free(struct keyring *ring);

size_t keyring_count(const struct keyring *ring);

/* Key `i`'s kid and state; i < keyring_count. */
const char *keyring_kid(const struct keyring *ring, size_t i);
enum key_state keyring_state(const struct keyring *ring, size_t i);

/* The index of the current key. */
size_t keyring_current(const struct keyring *ring);

/* The index of the key named `kid`, or -1. */
int keyring_find(const struct keyring *ring, const char *kid);

/* Derives (libsodium crypto_kdf) key `i` for a purpose; wipe it after use. */
void keyring_derive(const struct keyring *ring, size_t i,
    enum key_purpose purpose, unsigned char out[static KEYRING_BYTES]);

/* Writes a new ring file with one current key, mode 0400; refuses to replace.
 */
enum err
keyring_create(const char *path, char why[static KEYRING_WHY]) MUST_CHECK;

#endif
