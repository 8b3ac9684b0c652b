/*
 * The files and what the database says is applied, laid side by side: what is
 * pending, and what does not fit. Shared by `migrate` and `migrate verify`.
 *
 * Ownership: migration_plan_free frees everything but the files. Thread: there
 * is one.
 */
#ifndef CTL_MIGRATION_PLAN_H
#define CTL_MIGRATION_PLAN_H

#include <libpq-fe.h>
#include <stddef.h>

#include "base/errors.h"
#include "ctl/ctl.h"
#include "ctl/migration_files.h"

enum plan_state {
	PLAN_APPLIED,
	PLAN_PENDING,
	PLAN_EDITED,   /* the file is not what was applied */
	PLAN_MISSING,  /* applied, and there is no file */
	PLAN_DISORDER, /* not applied, and a later one is */
};

struct plan_entry {
	int version;
	enum plan_state state;
	const struct migration *file; /* NULL when missing */
	const char *name;             /* of the file, else as recorded */
	const char *applied_at;       /* NULL when it is not */
};

struct migration_plan {
	struct plan_entry *list; /* by version, rising */
	size_t n;
	PGresult *record; /* holds the strings of what is applied */
};

/* Reads the record of `conn`'s database; refusals are printed. */
enum ctl_exit migration_plan_read(PGconn *conn, const struct migrations *files,
    struct migration_plan **out_plan) MUST_CHECK;
void migration_plan_free(struct migration_plan *p);

/* CTL_FAILED, with each misfit printed, unless all entries fit. */
enum ctl_exit migration_plan_check(const struct migration_plan *p) MUST_CHECK;

/* The newest version that is applied, 0 for none. */
int migration_plan_newest(const struct migration_plan *p);

/* May the connection's role do what migrations need? Refusals are printed. */
enum ctl_exit migration_role_check(PGconn *conn) MUST_CHECK;

#endif
