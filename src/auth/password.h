/*
 * Password hashes: argon2id through libsodium (memory from CHAT_HASH_MEMORY,
 * two passes). Slow on purpose: only the chores thread and natterctl call it.
 * At most CHAT_HASH_SLOTS run at once on a host, held by flock(2) on files in
 * CHAT_RUN_DIR, which the kernel drops when the holder dies.
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include <stdbool.h>

#include "base/errors.h"

struct config;

#define PASSWORD_HASH_TEXT 128 /* crypto_pwhash_STRBYTES */
#define PASSWORD_MAX       256 /* bytes */

/* Is it a hash that password_verify can verify: ours, or an imported one? */
bool password_hash_is_known(const char *hash);

/* Hashes; ERR_BUSY when no slot came free within 2 s. */
enum err password_hash(const struct config *config, const char *password,
    char out_hash[static PASSWORD_HASH_TEXT]) MUST_CHECK;

/*
 * ERR_INVALID_CREDENTIALS when it does not match; the work is the same for a
 * NULL hash (an unknown user). *out_needs_rehash: the parameters have changed,
 * or the hash came from another system (password_import.h). Such a hash costs
 * what that system chose, so that until its owner's first sign-in here the
 * time of an answer tells that there is one.
 */
enum err password_verify(const struct config *config, const char *password,
    const char *hash, bool *out_needs_rehash) MUST_CHECK;

/* Why a hash could not be made or checked, for the log. */
const char *password_trouble(enum err e);

#endif
