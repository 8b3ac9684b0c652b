/*
 * The audit log as the daemon knows it: reading it, and leaving a row about
 * what no trigger sees. Changes of rows are logged by the database itself
 * (migration 010), under the request's id and address (pg_set_caller).
 *
 * Thread: the request's.
 */
#ifndef AUTH_AUDIT_H
#define AUTH_AUDIT_H

#include "base/errors.h"

struct buf;
struct request;

#define AUDIT_LIMIT_MAX 200

/* What is asked of the log. NULL: all. */
struct audit_ask {
	const char *user_id; /* whose data; of an administrator's question */
	const char *action;  /* "session.revoke" */
	const char *from;    /* times, RFC 3339: from this one */
	const char *to;      /* to before this one */
	const char *before;  /* the last row's id; NULL: from the newest */
	long limit;
};

/*
 * Writes the rows about req->who's own data, the newest first, as a JSON array
 * and the id of the last one where more follow (else NULL). What an
 * administrator's request was and came from is left out.
 */
enum err audit_list_own(struct request *req, const struct audit_ask *ask,
    struct buf *out, const char **out_next) MUST_CHECK;

/*
 * The same for an administrator, of everybody and with everything; leaves a
 * row itself. Who is none gets nothing from the database either.
 */
enum err audit_list_all(struct request *req, const struct audit_ask *ask,
    struct buf *out, const char **out_next) MUST_CHECK;

/*
 * Leaves a row "<what>.export" about req->who's own data, before what cannot be
 * one transaction with it. `what` is the kind of what is exported ("user",
 * "conversation"), `id` its id.
 */
enum err audit_note_export(
    struct request *req, const char *what, const char *id) MUST_CHECK;

#endif
