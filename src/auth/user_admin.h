/*
 * What administrators change about users, through functions that look at the
 * caller themselves (ERR_FORBIDDEN). Sessions that end by it end in Redis too.
 * Nobody takes their own rights away here: ERR_CONFLICT. One round trip to
 * Postgres, one to Redis.
 *
 * Thread: any, with its own services.
 */
#ifndef AUTH_USER_ADMIN_H
#define AUTH_USER_ADMIN_H

#include "base/errors.h"

struct request;

/*
 * Sets role and state ("t": disabled); NULL leaves one. ERR_NOT_FOUND;
 * ERR_REAUTH_REQUIRED for all but locking out unless the caller proved who they
 * are within 15 minutes.
 */
enum err user_admin_patch(struct request *req, const char *id, const char *role,
    const char *is_disabled) MUST_CHECK;

/* Deletes a user with everything of theirs. ERR_NOT_FOUND, ERR_REAUTH_REQUIRED.
 */
enum err user_admin_delete(struct request *req, const char *id) MUST_CHECK;

/* Ends a user's session, or with NULL all. ERR_NOT_FOUND. */
enum err user_admin_end_sessions(
    struct request *req, const char *id, const char *session) MUST_CHECK;

#endif
