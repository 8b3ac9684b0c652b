/*
 * Users: making an account, proving a password, and what a user may read about
 * themselves. Usernames are compared as text_username writes them.
 *
 * Strings written out live in the request's arena. Thread: any, with its own
 * services; user_register and user_sign_in hash, which only the chores thread
 * may wait for.
 */
#ifndef AUTH_USER_H
#define AUTH_USER_H

#include <stdbool.h>

#include "auth/session.h"
#include "base/errors.h"

struct request;

/* A password and what the session that it opens is to be. Borrowed. */
struct user_ask {
	const char *username; /* as typed */
	const char *password;
	const char *device_name; /* NULL: not named */
	const char *invite;      /* code of an invitation; NULL: none */
	const char *time_zone;   /* of a new user; NULL: not named */
	bool is_remembered;
	enum session_carrier carrier;
};

/* A row of auth.users as its owner sees it. */
struct user {
	const char *id;
	const char *username;
	const char *display_name; /* may be NULL */
	const char *role;
	const char *created_at;
	const char *last_login_at; /* may be NULL */
	const char *time_zone;     /* may be NULL: the server's */
	const char *locale;        /* may be NULL */
};

/*
 * Refuses the member `field`, a new password, when it is guessed first
 * (password_rule.h).
 */
enum err user_judge_password(struct request *req, const char *field,
    const char *username, const char *password) MUST_CHECK;

/*
 * Makes an account and signs it in, in one transaction.
 * ERR_REGISTRATION_CLOSED and ERR_INVITE_INVALID (before anything is hashed;
 * checking a code costs one more round trip), ERR_USERNAME_TAKEN,
 * ERR_INVALID_FIELD for a username that cannot be one and a password that is
 * guessed first, ERR_BUSY.
 */
enum err user_register(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens) MUST_CHECK;

/*
 * Opens a session. ERR_INVALID_CREDENTIALS, after the same work, for an
 * unknown user, a wrong password, a user without one, a disabled user;
 * ERR_LOGIN_THROTTLED (throttle.h); ERR_BUSY.
 */
enum err user_sign_in(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens) MUST_CHECK;

/* Reads the row of req->who; ERR_NOT_FOUND when it is gone. */
enum err user_read(struct request *req, struct user *out_user) MUST_CHECK;

/*
 * Deletes the user of req->who with everything of theirs and ends all their
 * sessions. ERR_REAUTH_REQUIRED unless the session's owner proved who they are
 * within 15 minutes.
 */
enum err user_delete(struct request *req) MUST_CHECK;

#endif
