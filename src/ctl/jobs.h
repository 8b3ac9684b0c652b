/*
 * What the commands that look after the rows share: the connection as
 * natter_jobs, which row level security does not bind, and the lock that lets
 * one of them work at a time.
 *
 * Thread: there is one.
 */
#ifndef CTL_JOBS_H
#define CTL_JOBS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl.h"

/* Connects by JOBS_DATABASE_URL; times are UTC there. */
enum ctl_exit jobs_connect(PGconn **out_conn) MUST_CHECK;

/* Takes the lock until the connection ends; whether it was free. */
enum ctl_exit jobs_lock(PGconn *conn, bool *out_is_ours) MUST_CHECK;

/* Runs a statement of which nothing comes back. */
enum ctl_exit jobs_do(
    PGconn *conn, const char *sql, int n, const char *const *values) MUST_CHECK;

/*
 * Leaves a row in the audit log: "retention.delete" of so many rows of `what`
 * (a kind, a partition, an archive). In the transaction that did it.
 */
enum ctl_exit jobs_note(PGconn *conn, const char *action, const char *what,
    int64_t rows) MUST_CHECK;

/* Does this failure go away by trying again (a lock, a serialization)? */
bool jobs_is_passing(const PGresult *r);

/*
 * Runs a statement again while it fails for a reason that passes, for up to a
 * minute; in a transaction of its own.
 */
enum ctl_exit jobs_insist(
    PGconn *conn, const char *sql, int n, const char *const *values) MUST_CHECK;

#endif
