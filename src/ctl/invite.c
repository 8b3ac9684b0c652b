/*
 * natterctl user: invite, invites, uninvite.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "auth/invite.h"
#include "base/id.h"
#include "ctl/account.h"
#include "ctl/prompt.h"
#include "store/pg.h"

#define DAYS_MAX 3650
#define USES_MAX 100000
#define NOTE_MAX 200

/* What an invitation is to be. */
struct wanted {
	long uses;
	long days;
	const char *note;
};

/* Stores the code's hash and prints the code, once. */
static enum ctl_exit
invite(PGconn *conn, const struct wanted *w, const char *code_text)
{
	struct account a = {.conn = conn};
	unsigned char hash[INVITE_HASH];
	char id[ID_TEXT], hex[2 + 2 * INVITE_HASH + 1] = "\\x", uses[16],
						    days[16];
	const char *values[] = {id, hex, uses, days, w->note};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	id_make(id);
	invite_hash(code_text, hash);
	(void)sodium_bin2hex(hex + 2, sizeof(hex) - 2, hash, sizeof(hash));
	snprintf(uses, sizeof(uses), "%ld", w->uses);
	snprintf(days, sizeof(days), "%ld", w->days);
	code = account_call(&a,
	    "SELECT to_char(auth.invite_admin_create($1, $2, $3, $4, $5) "
	    "AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')",
	    5, values, &r);
	if (code == CTL_OK)
		printf("Invitation %s, good for %ld account%s until %s UTC.\n"
		       "Code (not shown again): %s\n",
		    id, w->uses, w->uses == 1 ? "" : "s", pg_text(r, 0, 0),
		    code_text);
	return code;
}

enum ctl_exit
ctl_user_invite(const struct command *self, int argc, char **argv)
{
	struct wanted w = {.uses = 1, .days = 7, .note = ""};
	PGconn *conn = NULL;
	char *code_text = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"uses", OPTION_NUMBER, &w.uses},
	    {"days", OPTION_NUMBER, &w.days},
	    {"note", OPTION_TEXT, &w.note},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (w.uses < 1 || w.uses > USES_MAX || w.days < 1 || w.days > DAYS_MAX)
		return ctl_refuse(CTL_USAGE,
		    "an invitation is for 1 to %d accounts and 1 to %d days",
		    USES_MAX, DAYS_MAX);
	if (strlen(w.note) > NOTE_MAX)
		return ctl_refuse(
		    CTL_USAGE, "--note: at most %d bytes", NOTE_MAX);
	code = ctl_connect_owner(&conn);
	if (code == CTL_OK)
		code = prompt_generate(0, &code_text);
	if (code == CTL_OK)
		code = invite(conn, &w, code_text);
	ctl_wipe(code_text);
	PQfinish(conn);
	return code;
}

enum ctl_exit
ctl_user_invites(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, NULL, 0, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_call(&a,
		    "SELECT id, uses, uses_max, "
		    "to_char(expires_at AT TIME ZONE 'UTC', "
		    "'YYYY-MM-DD HH24:MI'), note FROM auth.invite_admin_list()",
		    0, NULL, &r);
	for (int i = 0; code == CTL_OK && i < PQntuples(r); i++)
		printf("%s  %s/%s  %s  %s\n", pg_text(r, i, 0),
		    pg_text(r, i, 1), pg_text(r, i, 2), pg_text(r, i, 3),
		    pg_text(r, i, 4));
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_user_uninvite(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *id;
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &id, 1, &code))
		return code;
	if (!id_is_uuid(id))
		return ctl_refuse(CTL_USAGE,
		    "\"%s\" is no invitation's id: natterctl user invites "
		    "shows them (the code itself is kept nowhere)",
		    id);
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_call(
		    &a, "SELECT auth.invite_admin_delete($1)", 1, &id, &r);
	if (code == CTL_OK && !pg_flag(r, 0, 0))
		code = ctl_refuse(CTL_FAILED, "there is no invitation %s", id);
	if (code == CTL_OK)
		printf("Took the invitation %s back.\n", id);
	account_close(&a);
	return code;
}
