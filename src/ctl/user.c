/*
 * natterctl user: add, list, passwd. What stops and ends users is
 * user_state.c's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/account.h"
#include "ctl/prompt.h"
#include "store/pg.h"

#define PAGE      500
#define PAGE_TEXT "500"

/* Where a password comes from. */
struct password_from {
	bool is_stdin;
	bool is_generated;
};

/* Gets a password and hashes it; prints a generated one last. */
static enum ctl_exit
new_hash(struct account *a, const char *name, struct password_from from,
    char **out_generated, char out_hash[static PASSWORD_HASH_TEXT])
{
	char *password = NULL;
	enum ctl_exit code;

	if (from.is_stdin && from.is_generated)
		return ctl_refuse(CTL_USAGE,
		    "--password-stdin and --generate: give one of them");
	code = from.is_stdin       ? prompt_read(&password)
	       : from.is_generated ? account_password(a, &password)
				   : prompt_ask(name, &password);
	if (code == CTL_OK)
		code = account_hash(a, name, password, out_hash);
	if (code == CTL_OK && from.is_generated) {
		*out_generated = password;
		password = NULL;
	}
	ctl_wipe(password);
	return code;
}

static enum ctl_exit
add(struct account *a, const struct account_new *wanted,
    struct password_from from)
{
	struct account_new new = *wanted;
	char hash[PASSWORD_HASH_TEXT], *generated = NULL;
	bool is_there = false, is_made = false;
	enum ctl_exit code = account_exists(a, new.name, &is_there);

	if (code == CTL_OK && !is_there)
		code = new_hash(a, new.name, from, &generated, hash);
	if (code == CTL_OK && !is_there) {
		new.hash = hash;
		code = account_create(a, &new, &is_made);
	}
	if (code == CTL_OK && !is_made)
		code = ctl_refuse(CTL_FAILED,
		    "there is a user %s already: natterctl user passwd sets a "
		    "new password",
		    new.name);
	if (code == CTL_OK)
		printf("Made the %s %s.\n",
		    strcmp(new.role, "admin") == 0 ? "administrator" : "user",
		    new.name);
	if (code == CTL_OK && generated != NULL)
		printf("Password (not shown again): %s\n", generated);
	ctl_wipe(generated);
	return code;
}

enum ctl_exit
ctl_user_add(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	struct account_new new = {.role = "user"};
	struct password_from from = {0};
	const char *typed, *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"role", OPTION_TEXT, &new.role},
	    {"display-name", OPTION_TEXT, &new.display_name},
	    {"password-stdin", OPTION_FLAG, &from.is_stdin},
	    {"generate", OPTION_FLAG, &from.is_generated},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, &typed, 1, &code))
		return code;
	if (strcmp(new.role, "user") != 0 && strcmp(new.role, "admin") != 0)
		return ctl_refuse(CTL_USAGE,
		    "--role %s: the roles are user and admin", new.role);
	code = account_open(&a, file);
	if (code == CTL_OK)
		code = account_name(&a, typed, &new.name);
	if (code == CTL_OK)
		code = add(&a, &new, from);
	account_close(&a);
	return code;
}

static const char *
or_dash(const PGresult *r, int row, int column)
{
	const char *text = pg_text(r, row, column);

	return text != NULL ? text : "-";
}

/* Prints a page; *after becomes the last name, NULL after the last page. */
static enum ctl_exit
list_page(struct account *a, char **after)
{
	const char *values[] = {*after};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(a,
	    "SELECT username, role, is_disabled, "
	    "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), "
	    "to_char(last_login_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') "
	    "FROM auth.user_admin_list($1, " PAGE_TEXT ")",
	    1, values, &r);
	int n;

	if (code != CTL_OK)
		return code;
	n = PQntuples(r);
	for (int row = 0; row < n; row++)
		printf("%-32s  %-5s  %-8s  %s  %s\n", pg_text(r, row, 0),
		    pg_text(r, row, 1),
		    pg_flag(r, row, 2) ? "disabled" : "active",
		    or_dash(r, row, 3), or_dash(r, row, 4));
	free(*after);
	*after = n == PAGE ? strdup(pg_text(r, n - 1, 0)) : NULL;
	return CTL_OK;
}

enum ctl_exit
ctl_user_list(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	char *after = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, NULL, 0, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		after = strdup("");
	while (code == CTL_OK && after != NULL)
		code = list_page(&a, &after);
	free(after);
	account_close(&a);
	return code;
}

static enum ctl_exit
passwd(struct account *a, const char *name, struct password_from from)
{
	char hash[PASSWORD_HASH_TEXT], *generated = NULL;
	const char *values[] = {name, hash};
	AUTO_PGRESULT PGresult *r = NULL;
	AUTO_PGRESULT PGresult *unlocked = NULL;
	bool is_there = false;
	enum ctl_exit code = account_exists(a, name, &is_there);

	if (code == CTL_OK && !is_there)
		return account_missing(name);
	if (code == CTL_OK)
		code = new_hash(a, name, from, &generated, hash);
	if (code == CTL_OK)
		code = account_call(a,
		    "SELECT user_id, gone_sessions, gone_tokens "
		    "FROM auth.user_admin_set_password($1, $2)",
		    2, values, &r);
	if (code == CTL_OK && PQntuples(r) == 0)
		code = account_missing(name);
	/* Failures were guesses at another password. */
	if (code == CTL_OK)
		code = account_call(a, "SELECT FROM auth.user_admin_unlock($1)",
		    1, values, &unlocked);
	if (code == CTL_OK) {
		printf(
		    "Set the password of %s and ended their sessions.\n", name);
		if (generated != NULL)
			printf("Password (not shown again): %s\n", generated);
		fflush(stdout);
		account_bury(a, r);
	}
	ctl_wipe(generated);
	return code;
}

enum ctl_exit
ctl_user_passwd(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	struct password_from from = {0};
	const char *typed, *name, *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"password-stdin", OPTION_FLAG, &from.is_stdin},
	    {"generate", OPTION_FLAG, &from.is_generated},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, &typed, 1, &code))
		return code;
	code = account_open(&a, file);
	if (code == CTL_OK)
		code = account_name(&a, typed, &name);
	if (code == CTL_OK)
		code = passwd(&a, name, from);
	account_close(&a);
	return code;
}
