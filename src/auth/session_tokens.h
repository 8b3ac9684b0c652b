/*
 * The two tokens of a session, made from what Postgres gave for them. The same
 * grant gives the same bytes again.
 *
 * Thread: any.
 */
#ifndef AUTH_SESSION_TOKENS_H
#define AUTH_SESSION_TOKENS_H

#include <stdint.h>

#include "auth/session.h"
#include "base/errors.h"

struct request;

/* Whose tokens, of which session and generation. Borrowed strings. */
struct session_grant {
	const char *user_id;
	const char *session_id;
	const char *jti;
	enum session_carrier carrier;
	uint32_t generation;
	const char *mac; /* macB in hex */
	int64_t epoch;
	int64_t issued_s;
	int64_t age_s; /* since issued_s, database clock */
	const char *username;
	const char *role;
	const char *user_created_at;
};

/* The form of a refresh token that travels so. */
unsigned char session_form(enum session_carrier carrier);

/* Makes both; everything in *out_tokens is in the request's arena. */
enum err session_tokens_make(struct request *req,
    const struct session_grant *grant,
    struct session_tokens *out_tokens) MUST_CHECK;

#endif
