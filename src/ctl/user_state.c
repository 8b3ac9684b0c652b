/*
 * natterctl user: disable, enable, unlock, delete.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/account.h"
#include "store/pg.h"

/* `disabled` is "true" or "false". */
static enum ctl_exit
set_disabled(const char *file, const char *typed, const char *disabled)
{
	struct account a = {0};
	const char *values[] = {NULL, disabled};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_open(&a, file);

	if (code == CTL_OK)
		code = account_name(&a, typed, &values[0]);
	if (code == CTL_OK)
		code = account_call(&a,
		    "SELECT user_id, gone_sessions, gone_tokens "
		    "FROM auth.user_admin_set_disabled($1, $2)",
		    2, values, &r);
	if (code == CTL_OK && PQntuples(r) == 0)
		code = account_missing(values[0]);
	if (code == CTL_OK) {
		printf("%s is %s.\n", values[0],
		    disabled[0] == 't' ? "disabled" : "enabled");
		fflush(stdout);
		account_bury(&a, r);
	}
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_user_disable(const struct command *self, int argc, char **argv)
{
	const char *typed, *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {{"config", OPTION_TEXT, &file}, {0}};

	if (!ctl_options(self, argc, argv, rows, &typed, 1, &code))
		return code;
	return set_disabled(file, typed, "true");
}

enum ctl_exit
ctl_user_enable(const struct command *self, int argc, char **argv)
{
	const char *typed;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &typed, 1, &code))
		return code;
	return set_disabled(NULL, typed, "false");
}

enum ctl_exit
ctl_user_unlock(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *typed, *name;
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &typed, 1, &code))
		return code;
	code = account_open(&a, NULL);
	if (code == CTL_OK)
		code = account_name(&a, typed, &name);
	if (code == CTL_OK)
		code = account_call(&a,
		    "SELECT failures, was_stopped "
		    "FROM auth.user_admin_unlock($1)",
		    1, &name, &r);
	if (code == CTL_OK && PQntuples(r) == 0)
		code = account_missing(name);
	if (code == CTL_OK)
		printf("Forgot %lld failed sign-ins of %s%s.\n",
		    (long long)pg_number(r, 0, 0), name,
		    pg_flag(r, 0, 1) ? ", which had stopped further ones" : "");
	account_close(&a);
	return code;
}

/* Makes sure that somebody wants this. */
static enum ctl_exit
confirm(const char *name)
{
	char answer[8];

	if (!isatty(STDIN_FILENO))
		return ctl_refuse(CTL_USAGE,
		    "deleting %s deletes all their conversations: say --yes if "
		    "that is what you want",
		    name);
	printf("This deletes %s with all their conversations. Type yes to go "
	       "on: ",
	    name);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) == NULL ||
	    strcmp(answer, "yes\n") != 0)
		return ctl_refuse(CTL_FAILED, "nothing was changed");
	return CTL_OK;
}

static enum ctl_exit
delete_user(struct account *a, const char *name, bool is_sure)
{
	AUTO_PGRESULT PGresult *r = NULL;
	bool is_there = false;
	enum ctl_exit code = account_exists(a, name, &is_there);

	if (code == CTL_OK && !is_there)
		code = account_missing(name);
	if (code == CTL_OK && !is_sure)
		code = confirm(name);
	if (code == CTL_OK)
		code = account_call(a,
		    "SELECT user_id, gone_sessions, gone_tokens "
		    "FROM auth.user_admin_delete($1)",
		    1, &name, &r);
	if (code == CTL_OK && PQntuples(r) == 0)
		code = account_missing(name);
	if (code == CTL_OK) {
		printf("Deleted %s and everything of theirs.\n", name);
		fflush(stdout);
		account_bury(a, r);
	}
	return code;
}

enum ctl_exit
ctl_user_delete(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *typed, *name, *file = NULL;
	bool is_sure = false;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"yes", OPTION_FLAG, &is_sure},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, &typed, 1, &code))
		return code;
	code = account_open(&a, file);
	if (code == CTL_OK)
		code = account_name(&a, typed, &name);
	if (code == CTL_OK)
		code = delete_user(&a, name, is_sure);
	account_close(&a);
	return code;
}
