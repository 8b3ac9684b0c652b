/*
 * Members of a site: a token that the site's own identity provider signed
 * becomes a session here. Who the member is, is the pair of the issuer and the
 * token's sub; the user behind it is made at first sight, whatever
 * CHAT_REGISTRATION says, since the site vouches. The username is made from a
 * claim and only ever once; the display name follows the site's.
 *
 * Strings written out live in the request's arena. Thread: chores, because a
 * new key may have to be fetched.
 */
#ifndef AUTH_EXCHANGE_H
#define AUTH_EXCHANGE_H

#include <stdbool.h>

#include "auth/session.h"
#include "base/errors.h"

struct request;

/* A site's token and what the session that it opens is to be. Borrowed. */
struct exchange_ask {
	const char *token;
	const char *device_name; /* NULL: not named */
	bool is_remembered;
	enum session_carrier carrier;
};

/*
 * Opens a session. ERR_EXCHANGE_OFF; ERR_IDENTITY_INVALID and
 * ERR_IDENTITY_EXPIRED as site_token_verify has them; ERR_RATE_LIMITED after
 * too many of those from one address; ERR_USER_DISABLED; ERR_UNAVAILABLE also
 * while the site's keys cannot be had. Two Postgres round trips: the address is
 * charged before the signature is checked, and the second one gives that back,
 * finds the user and opens the session. One for a token that is refused, none
 * for a text that is no token at all; one to Redis when an older session had
 * to go.
 */
enum err exchange_sign_in(struct request *req, const struct exchange_ask *ask,
    struct session_tokens *out_tokens) MUST_CHECK;

#endif
