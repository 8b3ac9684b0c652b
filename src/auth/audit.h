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
struct pg_call;
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

/* What a row is to say; ids are UUIDs or NULL. */
struct audit_note {
	const char *action;      /* "conversation.export" */
	const char *object_kind; /* "conversation" */
	const char *object_id;
	const char *user_id; /* whose data */
	const char *details; /* a JSON object of ids; NULL for none */
};

/* Leaves a row by itself, before what cannot be one transaction with it. */
enum err
audit_note(struct request *req, const struct audit_note *note) MUST_CHECK;

/*
 * The call that leaves a row, to be run in one pipeline with what it is about:
 * then both happen or neither does. Borrows the note's strings.
 */
struct pg_call audit_note_call(const struct audit_note *note);

#endif
