/*
 * natterctl migrate up, down and status: chooses what to run. Running it is
 * migration_run.c's matter.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/migration_run.h"
#include "ctl/prices.h"

/* Is `to` one of the versions, or 0? */
static enum ctl_exit
check_target(const struct migration_run *r, long to)
{
	if (to <= 0 || migrations_find(r->files, (int)to) != NULL)
		return CTL_OK;
	return ctl_refuse(CTL_USAGE,
	    "--to %ld: there is no migration of that number; natterctl migrate "
	    "status lists them",
	    to);
}

enum ctl_exit
ctl_migrate_up(const struct command *self, int argc, char **argv)
{
	struct migration_run r = {0};
	struct plan_entry **todo = NULL;
	const char *folder = NULL;
	long to = -1;
	size_t n = 0;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"to", OPTION_NUMBER, &to},
	    {"dry-run", OPTION_FLAG, &r.is_dry},
	    {"dir", OPTION_TEXT, &folder},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = migration_run_open(&r, folder);
	if (code == CTL_OK)
		code = check_target(&r, to);
	if (code == CTL_OK)
		code = migration_plan_check(r.plan);
	if (code != CTL_OK)
		goto out;
	todo = calloc(r.plan->n + 1, sizeof(*todo));
	for (size_t i = 0; todo != NULL && i < r.plan->n; i++)
		if (r.plan->list[i].state == PLAN_PENDING &&
		    (to < 0 || r.plan->list[i].version <= to))
			todo[n++] = &r.plan->list[i];
	if (n > 0)
		code = migration_run_all(&r, todo, n, true);
	else
		printf("Nothing to do: the schema is at %03d.\n",
		    migration_plan_newest(r.plan));
	if (code == CTL_OK && !r.is_dry)
		code = prices_load_shipped(r.conn, n > 0);
out:
	free(todo);
	migration_run_close(&r);
	return code;
}

/* Asks on the terminal, or refuses where there is none. */
static enum ctl_exit
confirm(struct plan_entry *const *todo, size_t n)
{
	char answer[8] = "";

	if (!isatty(STDIN_FILENO))
		return ctl_refuse(CTL_USAGE,
		    "taking back %zu migration%s drops tables with all their "
		    "rows: say --yes if that is what you want",
		    n, n > 1 ? "s" : "");
	puts("These are taken back, and the rows in their tables are lost:");
	for (size_t i = 0; i < n; i++)
		printf("  %03d_%s\n", todo[i]->version, todo[i]->name);
	fputs("Type yes to go on: ", stdout);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) == NULL ||
	    strcmp(answer, "yes\n") != 0)
		return ctl_refuse(CTL_FAILED, "nothing was changed");
	return CTL_OK;
}

enum ctl_exit
ctl_migrate_down(const struct command *self, int argc, char **argv)
{
	struct migration_run r = {0};
	struct plan_entry **todo = NULL;
	const char *folder = NULL;
	bool is_sure = false;
	long to = -1;
	size_t n = 0;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"to", OPTION_NUMBER, &to},
	    {"dry-run", OPTION_FLAG, &r.is_dry},
	    {"yes", OPTION_FLAG, &is_sure},
	    {"dir", OPTION_TEXT, &folder},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = migration_run_open(&r, folder);
	if (code == CTL_OK)
		code = check_target(&r, to);
	if (code == CTL_OK)
		code = migration_plan_check(r.plan);
	if (code != CTL_OK)
		goto out;
	todo = calloc(r.plan->n + 1, sizeof(*todo));
	for (size_t i = r.plan->n; todo != NULL && i-- > 0;)
		if (r.plan->list[i].state == PLAN_APPLIED &&
		    (to >= 0 ? r.plan->list[i].version > to : n == 0))
			todo[n++] = &r.plan->list[i];
	if (n == 0)
		printf("Nothing to do: the schema is at %03d.\n",
		    migration_plan_newest(r.plan));
	else if (r.is_dry || is_sure || (code = confirm(todo, n)) == CTL_OK)
		code = migration_run_all(&r, todo, n, false);
out:
	free(todo);
	migration_run_close(&r);
	return code;
}

enum ctl_exit
ctl_migrate_status(const struct command *self, int argc, char **argv)
{
	static const char *const states[] = {[PLAN_APPLIED] = "applied",
	    [PLAN_PENDING] = "pending",
	    [PLAN_EDITED] = "EDITED",
	    [PLAN_MISSING] = "MISSING",
	    [PLAN_DISORDER] = "OUT OF ORDER"};
	struct migration_run r = {0};
	const char *folder = NULL;
	char why[MIGRATIONS_WHY];
	enum ctl_exit code;
	const struct option_row rows[] = {{"dir", OPTION_TEXT, &folder}, {0}};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (migrations_load(folder, &r.files, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	/* Takes no lock: it may look while a migration runs. */
	code = ctl_connect_owner(&r.conn);
	if (code == CTL_OK)
		code = migration_plan_read(r.conn, r.files, &r.plan);
	for (size_t i = 0; code == CTL_OK && i < r.plan->n; i++) {
		const struct plan_entry *e = &r.plan->list[i];

		printf("%03d  %-30s  %-12s  %s\n", e->version, e->name,
		    states[e->state],
		    e->applied_at != NULL ? e->applied_at : "");
	}
	fflush(stdout);
	if (code == CTL_OK)
		code = migration_plan_check(r.plan);
	migration_run_close(&r);
	return code;
}
