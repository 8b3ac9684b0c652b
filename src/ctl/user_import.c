/*
 * natterctl user import: members of another system, with the hashes that it
 * kept. Reads one line at a time; what is wrong with one stops no other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"
#include "base/arena.h"
#include "base/text.h"
#include "ctl/account.h"

#define ARENA_MAX ((size_t)64 * 1024)

struct import {
	struct account account;
	const char *path;
	long line;
	long made;
	long there;
	long wrong;
};

/* Counts and names a line that cannot be used. */
static enum ctl_exit
skip(struct import *i, const char *why)
{
	ctl_note("%s:%ld: %s", i->path, i->line, why);
	i->wrong++;
	return CTL_OK;
}

/* Takes "NAME<tab>HASH[<tab>DISPLAY NAME]" apart, in place. */
static enum ctl_exit
import_line(struct import *i, char *line)
{
	struct account_new new = {.role = "user"};
	char *rest = line;
	const char *typed = strsep(&rest, "\t");
	bool is_made = false;
	enum ctl_exit code;

	if (rest == NULL)
		return skip(i, "not NAME, a tab, HASH");
	new.hash = strsep(&rest, "\t");
	new.display_name = rest;
	arena_reset(i->account.arena, ARENA_MAX);
	if (text_username(i->account.arena, typed, &new.name) != OK)
		return skip(i, "the name cannot be a username (1 to 64 "
			       "characters without blanks)");
	if (!password_hash_is_known(new.hash))
		return skip(i, "not a hash that can be verified: argon2id, "
			       "bcrypt from cost 10, pbkdf2_sha256 from "
			       "100000 iterations");
	if (rest != NULL && (!text_is_clean(rest, strlen(rest)) ||
				text_length(rest, strlen(rest)) > 200))
		return skip(i, "the display name is not UTF-8 of at most 200 "
			       "characters");
	code = account_create(&i->account, &new, &is_made);
	if (code == CTL_OK && is_made)
		i->made++;
	else if (code == CTL_OK)
		i->there++;
	return code;
}

static enum ctl_exit
import_all(struct import *i, FILE *in)
{
	enum ctl_exit code = CTL_OK;
	char *line = NULL;
	size_t room = 0;

	while (code == CTL_OK && getline(&line, &room, in) >= 0) {
		i->line++;
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] != '\0' && line[0] != '#')
			code = import_line(i, line);
	}
	if (code == CTL_OK && ferror(in))
		code = ctl_refuse(CTL_FAILED, "cannot read %s", i->path);
	ctl_wipe(line);
	return code;
}

enum ctl_exit
ctl_user_import(const struct command *self, int argc, char **argv)
{
	struct import i = {0};
	FILE *in = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &i.path, 1, &code))
		return code;
	in = strcmp(i.path, "-") == 0 ? stdin : fopen(i.path, "re");
	if (in == NULL)
		return ctl_refuse(CTL_FAILED, "cannot open %s: %m", i.path);
	code = account_open(&i.account, NULL);
	if (code == CTL_OK)
		code = import_all(&i, in);
	printf("%ld made, %ld there already, %ld not usable.\n", i.made,
	    i.there, i.wrong);
	account_close(&i.account);
	if (in != stdin)
		(void)fclose(in);
	return code == CTL_OK && i.wrong > 0 ? CTL_FAILED : code;
}
