/*
 * Password hashes that another system made, verified as it would have:
 *
 *     pbkdf2_sha256$ITERATIONS$SALT$HASH   Django; HASH is base64 of 32 bytes,
 *                                          100,000 iterations and up
 *     $2y$, $2b$, $2a$                     bcrypt, as PHP's password_hash makes
 *
 * Nobody's password is ever stored like this here: whoever proves one gets an
 * argon2id hash in its place. Slow on purpose, as password.h.
 */
#ifndef AUTH_PASSWORD_IMPORT_H
#define AUTH_PASSWORD_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

#define PBKDF2_ITERATIONS_MIN 100000
#define PBKDF2_ITERATIONS_MAX 10000000
#define BCRYPT_COST_MIN       10
#define BCRYPT_COST_MAX       16

/* Is it a hash of one of these kinds, within these bounds? */
bool password_import_is_known(const char *hash);

/*
 * ERR_INVALID_CREDENTIALS when the password, of `n` bytes, is not the hash's,
 * or the hash is not one of these; ERR_BUSY without memory.
 */
enum err password_import_verify(
    const char *hash, const char *password, size_t n) MUST_CHECK;

#endif
