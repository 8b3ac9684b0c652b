/*
 * Changing the key ring's file while natterd runs. Each change is one rename,
 * so that a reader sees the old ring or the new one; owner, mode and comments
 * stay. Since when a key is what it is stands in a comment of the file, which
 * the loader does not read:
 *
 *     # k-7vq2m0x9rd since 2026-01-02T03:04:05Z
 *
 * A key comes in two steps, because workers learn of a ring one by one: it is
 * added as `next` (all verify with it, none signs), and when every natterd has
 * been reloaded it becomes `current` and the one before `previous`. A previous
 * key goes when no refresh token of it can be alive any more: a session ends
 * when it was not refreshed for 14 days.
 *
 * Thread: any; two changes at once are kept apart by a lock on the file.
 */
#ifndef BASE_KEYRING_FILE_H
#define BASE_KEYRING_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "base/keyring.h"

/* How long a previous key must stay, in seconds. */
#define KEYRING_KEEP_S ((int64_t)14 * 86400)

/* What keyring_rotate did. */
struct keyring_rotation {
	enum { KEYRING_ADDED, KEYRING_PROMOTED } step;
	char kid[KEYRING_KID]; /* the new key: next, or current now */
	char old[KEYRING_KID]; /* the key that became previous, or "" */
};

/*
 * Takes the next step of a rotation at `now_s` (seconds since 1970): adds a
 * key when none is `next`, otherwise makes that one current. ERR_CONFLICT: the
 * ring is full; ERR_BUSY: somebody else changes it; ERR_INVALID_FIELD:
 * anything else. `why` is the sentence.
 */
enum err keyring_rotate(const char *path, int64_t now_s,
    struct keyring_rotation *out_rotation,
    char why[static KEYRING_WHY]) MUST_CHECK;

/*
 * Takes a key out that is not the current one and, when it is previous, was
 * that before `before_s` (INT64_MAX: whenever). ERR_NOT_FOUND, ERR_CONFLICT
 * (too early, or current), or as keyring_rotate.
 */
enum err keyring_retire(const char *path, const char *kid, int64_t before_s,
    char why[static KEYRING_WHY]) MUST_CHECK;

/* A key as keyring_list tells it. */
struct keyring_entry {
	char kid[KEYRING_KID];
	enum key_state state;
	int64_t since_s; /* seconds since 1970; 0: not noted */
};

/* Reads what the file says of its keys, without the keys. */
enum err keyring_list(const char *path,
    struct keyring_entry out_entries[static KEYRING_MAX], size_t *out_n,
    char why[static KEYRING_WHY]) MUST_CHECK;

/* "current", "next" or "previous". */
const char *keyring_state_name(enum key_state state);

#endif
