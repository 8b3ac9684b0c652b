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
};

/*
 * Makes an account and signs it in, in one transaction.
 * ERR_REGISTRATION_CLOSED (before anything is hashed), ERR_USERNAME_TAKEN,
 * ERR_INVALID_FIELD for a username that cannot be one, ERR_BUSY.
 */
enum err user_register(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens) MUST_CHECK;

/*
 * Opens a session. ERR_INVALID_CREDENTIALS, after the same work, for an
 * unknown user, a wrong password, a user without one, a disabled user;
 * ERR_BUSY.
 */
enum err user_sign_in(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens) MUST_CHECK;

/* Reads the row of req->who; ERR_NOT_FOUND when it is gone. */
enum err user_read(struct request *req, struct user *out_user) MUST_CHECK;

#endif
