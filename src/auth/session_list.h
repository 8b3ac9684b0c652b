/*
 * What users see of their own sessions, and what happened to them. Reads run
 * under row level security; ending goes through schema auth.
 *
 * All strings written out live in the request's arena. Thread: any, with its
 * own services. One round trip to Postgres each.
 */
#ifndef AUTH_SESSION_LIST_H
#define AUTH_SESSION_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct request;

/* A live session. Times are RFC 3339; NULL where nothing is known. */
struct session_row {
	const char *id;
	const char *device; /* its name */
	const char *user_agent;
	const char *ip_created;
	const char *ip_last;
	const char *created_at;
	const char *last_activity; /* to five minutes */
	const char *expires_at;    /* if it is not refreshed before */
	bool is_remembered;
	bool is_current;
};

/* Something that its owner should hear. */
struct notice_row {
	const char *id;
	const char *kind; /* refresh_reused, password_changed, … */
	const char *session_id;
	const char *device;
	const char *ip;
	const char *created_at;
};

struct session_overview {
	struct session_row *sessions; /* the last used first */
	size_t n_sessions;
	struct notice_row *notices; /* the newest first */
	size_t n_notices;
};

/* Lists both of req->who. */
enum err session_list(
    struct request *req, struct session_overview *out_overview) MUST_CHECK;

/* Names the device of a session; NULL takes the name away. ERR_NOT_FOUND. */
enum err session_rename(
    struct request *req, const char *id, const char *device) MUST_CHECK;

/*
 * Ends a session. ERR_NOT_FOUND; ERR_REAUTH_REQUIRED when it is another than
 * the asking one, whose owner did not prove who they are within 15 minutes.
 * One more round trip, to Redis.
 */
enum err session_end_one(struct request *req, const char *id) MUST_CHECK;

/* Takes a notice away; ERR_NOT_FOUND. */
enum err session_dismiss(struct request *req, const char *id) MUST_CHECK;

#endif
