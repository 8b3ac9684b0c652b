/*
 * Running Postgres' own programs (pg_dump, pg_restore, psql) as children: no
 * shell, and nothing that is secret in their words or their environment. Where
 * to connect goes by libpq's variables; a password by a file without a name,
 * which PGPASSFILE points to.
 *
 * Thread: there is one.
 */
#ifndef CTL_PG_PROGRAM_H
#define CTL_PG_PROGRAM_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "ctl/ctl.h"

/*
 * Starts argv[0], which is to connect to where `conn` (may be NULL) is
 * connected; of the installed versions that of conn's server is taken. `in`
 * and `out` become its standard input and output, -1: /dev/null.
 */
enum ctl_exit pg_program_start(PGconn *conn, const char *const *argv, int in,
    int out, pid_t *out_pid) MUST_CHECK;

/* Waits for it; a failure is printed, after what it said itself. */
enum ctl_exit pg_program_wait(pid_t pid, const char *name) MUST_CHECK;

#endif
