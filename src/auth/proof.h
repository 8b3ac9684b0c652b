/*
 * Proving the password once more within a session: before something that a
 * stolen access token must not be enough for, and to change it. Tries are
 * charged to the session as sign-ins are to an account (throttle.h).
 *
 * Both functions hash, which only the chores thread may wait for. They answer
 * ERR_INVALID_CREDENTIALS for a wrong password and for a user who has none,
 * ERR_LOGIN_THROTTLED, ERR_BUSY. Two round trips to Postgres.
 *
 * Thread: chores, with its own services.
 */
#ifndef AUTH_PROOF_H
#define AUTH_PROOF_H

#include "base/errors.h"

struct request;

/* Proves it; the session counts as fresh for 15 minutes from now. */
enum err proof_renew(struct request *req, const char *password) MUST_CHECK;

/*
 * Sets `next` in place of `current` and ends the user's other sessions.
 * ERR_INVALID_FIELD (new_password) when it is guessed first, or is the old one.
 */
enum err proof_change_password(
    struct request *req, const char *current, const char *next) MUST_CHECK;

#endif
