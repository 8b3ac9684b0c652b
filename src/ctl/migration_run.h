/*
 * Running migrations, under an advisory lock that ends with the connection.
 *
 * Ownership: migration_run_close releases everything. Thread: there is one.
 */
#ifndef CTL_MIGRATION_RUN_H
#define CTL_MIGRATION_RUN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/ctl.h"
#include "ctl/migration_plan.h"

struct migration_run {
	PGconn *conn;
	struct migrations *files;
	struct migration_plan *plan;
	bool is_dry; /* all in one transaction that is rolled back */
};

/*
 * Loads the files (`folder` may be NULL: the built-in ones), connects, waits
 * for the lock and reads the plan. Refusals are printed; close it either way.
 */
enum ctl_exit
migration_run_open(struct migration_run *r, const char *folder) MUST_CHECK;
void migration_run_close(struct migration_run *r);

/* Runs the up files of `todo`, or the down files, in that order. */
enum ctl_exit migration_run_all(const struct migration_run *r,
    struct plan_entry *const *todo, size_t n, bool is_up) MUST_CHECK;

#endif
