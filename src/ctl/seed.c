/*
 * natterctl seed: the users that every installation begins with. May be run
 * again: it makes those that are not there and leaves the others alone.
 */
#include <stdio.h>

#include "ctl/account.h"

static const struct {
	const char *name;
	const char *role;
} users[] = {
    {"admin", "admin"},
    {"user2", "user"},
    {"user3", "user"},
};

/* Makes one user unless it is there, and prints its password. */
static enum ctl_exit
seed_one(struct account *a, size_t i)
{
	char hash[PASSWORD_HASH_TEXT], *password = NULL;
	struct account_new new = {
	    .name = users[i].name, .role = users[i].role, .hash = hash};
	bool is_there = false, is_made = false;
	enum ctl_exit code = account_exists(a, new.name, &is_there);

	if (code != CTL_OK)
		return code;
	if (is_there) {
		ctl_note("there is a user %s already", new.name);
		return CTL_OK;
	}
	code = account_password(a, &password);
	if (code == CTL_OK)
		code = account_hash(a, new.name, password, hash);
	if (code == CTL_OK)
		code = account_create(a, &new, &is_made);
	if (code == CTL_OK && is_made) {
		printf("%s %s\n", new.name, password);
		fflush(stdout);
	}
	ctl_wipe(password);
	return code;
}

enum ctl_exit
ctl_seed(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {{"config", OPTION_TEXT, &file}, {0}};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = account_open(&a, file);
	for (size_t i = 0;
	     code == CTL_OK && i < sizeof(users) / sizeof(users[0]); i++)
		code = seed_one(&a, i);
	account_close(&a);
	return code;
}
