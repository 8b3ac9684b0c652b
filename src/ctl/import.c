/*
 * natterctl import: users, conversations, messages, sessions and documents of
 * another system, or of a file written for it. Records are checked here one by
 * one and staged by COPY; statements (import_steps.def) then link them and make
 * the rows, all in one transaction: what is interrupted leaves nothing, and
 * what is run again finds what is there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "ctl/account.h"
#include "ctl/import_cut.h"
#include "ctl/import_record.h"
#include "store/pg.h"

#define ARENA_MAX   ((size_t)1024 * 1024)
#define FLUSH_BYTES ((size_t)256 * 1024)
#define SHOWN_MAX   100

static const struct step {
	const char *made; /* NULL: nothing to count */
	const char *sql;
} steps[] = {
#define STEP(made, sql) {made, sql},
#include "ctl/import_steps.def"
#undef STEP
};

struct import {
	struct account account;
	struct arena *arena;
	struct buf lines;
	enum import_table table; /* the one that is being staged */
	bool has_progress;
	int percent;      /* as last shown */
	const char *user; /* --user, or NULL */
	char *owner;      /* whose the file being read is, or NULL */
	int64_t n[IMPORT__TABLES];
	int64_t skipped;
	struct buf counts; /* what was made, shown after the commit */
	char *passwords;   /* "NAME PASSWORD" lines, shown after the commit */
};

static enum ctl_exit
run(struct import *i, const char *sql)
{
	AUTO_PGRESULT PGresult *r = PQexec(i->account.conn, sql);

	if (ctl_is_ok(r))
		return CTL_OK;
	return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(i->account.conn, r));
}

/* Names a record that cannot be used; the first hundred of them. */
static void
skip(struct import *i, const char *origin, const char *why)
{
	if (i->has_progress)
		fputs("\r\033[K", stderr);
	if (++i->skipped <= SHOWN_MAX)
		ctl_note("%s: %s", origin, why);
	else if (i->skipped == SHOWN_MAX + 1)
		ctl_note("further ones are only counted");
}

static void
show_progress(struct import *i, const struct import_item *item)
{
	int percent = (int)(item->offset * 100 / item->size);

	if (!i->has_progress || percent == i->percent)
		return;
	i->percent = percent;
	fprintf(stderr, "\r\033[K%s: %s %.*s%.*s %d %%", item->path,
	    import_table_name(i->table), percent / 5, "####################",
	    20 - percent / 5, "....................", percent);
}

static enum ctl_exit
flush(struct import *i)
{
	if (i->lines.failed)
		return ctl_refuse(CTL_FAILED, "out of memory");
	if (i->lines.n > 0 &&
	    PQputCopyData(i->account.conn, i->lines.p, (int)i->lines.n) != 1)
		return ctl_refuse(
		    CTL_FAILED, "%s", ctl_pg_message(i->account.conn, NULL));
	buf_clear(&i->lines);
	return CTL_OK;
}

/* Stages one record of the table in turn. */
static enum ctl_exit
stage(struct import *i, const struct import_item *item, const char *inside)
{
	const char *flaw = NULL;
	char origin[512];

	arena_reset(i->arena, ARENA_MAX);
	if (import_record_write(i->table, item, i->n[i->table], inside,
		i->arena, &i->lines, &flaw)) {
		i->n[i->table]++;
	} else {
		snprintf(origin, sizeof(origin), "%s:%ld: %s %s", item->path,
		    item->line, item->table, item->key);
		skip(i, origin, flaw);
	}
	return i->lines.n >= FLUSH_BYTES ? flush(i) : CTL_OK;
}

/* Messages that lie in their conversation's record. */
static enum ctl_exit
stage_inner(struct import *i, const struct import_item *talk)
{
	char *inside = NULL, key[256];
	struct import_item item = *talk;
	struct json_object *messages;
	enum ctl_exit code = CTL_OK;

	if (!json_object_is_type(talk->record, json_type_object) ||
	    !json_object_object_get_ex(talk->record, "messages", &messages) ||
	    !json_object_is_type(messages, json_type_array))
		return CTL_OK;
	inside = strdup(import_record_ref(IMPORT_CONVERSATIONS, talk));
	if (inside == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	item.key = key;
	for (size_t k = 0;
	     code == CTL_OK && k < json_object_array_length(messages); k++) {
		snprintf(key, sizeof(key), "%.200s/%zu", talk->key, k);
		item.record = json_object_array_get_idx(messages, k);
		code = stage(i, &item, inside);
	}
	free(inside);
	return code;
}

/* The account of a file that GET /me/export gave stands before its records. */
static void
note_owner(struct import *i, const struct import_item *account)
{
	struct json_object *name = NULL;

	if (json_object_object_get_ex(account->record, "username", &name)) {
		free(i->owner);
		i->owner = strdup(json_object_get_string(name));
	}
}

static enum ctl_exit
take_item(void *context, const struct import_item *item)
{
	struct import *i = context;
	enum import_table t = import_table_find(item->table);

	show_progress(i, item);
	if (strcmp(item->table, "account") == 0) {
		note_owner(i, item);
		if (i->user != NULL)
			return CTL_OK; /* somebody else is to have it */
	}
	if (t == IMPORT_CONVERSATIONS && i->table == IMPORT_MESSAGES)
		return stage_inner(i, item);
	if (t != i->table)
		return CTL_OK;
	return stage(i, item,
	    t == IMPORT_MESSAGES ? NULL
				 : (i->user != NULL ? i->user : i->owner));
}

/* Says once what a file has that nobody understands. */
static enum ctl_exit
take_unknown(void *context, const struct import_item *item)
{
	char **last = context;

	if (import_table_find(item->table) != IMPORT__TABLES ||
	    !json_object_is_type(item->record, json_type_object) ||
	    (*last != NULL && strcmp(*last, item->table) == 0))
		return CTL_OK;
	ctl_note("%s:%ld: the table %s is none of users, conversations, "
		 "messages, sessions, documents: left out",
	    item->path, item->line, item->table);
	free(*last);
	*last = strdup(item->table);
	return CTL_OK;
}

/* All files' records of one table. */
static enum ctl_exit
stage_table(struct import *i, enum import_table t, char **files)
{
	AUTO_PGRESULT PGresult *r = NULL;
	struct buf sql = {0};
	enum ctl_exit code;

	i->table = t;
	i->percent = -1;
	import_copy_sql(t, &sql);
	r = PQexec(i->account.conn, buf_text(&sql));
	code = PQresultStatus(r) == PGRES_COPY_IN
		   ? CTL_OK
		   : ctl_refuse(
			 CTL_FAILED, "%s", ctl_pg_message(i->account.conn, r));
	buf_free(&sql);
	for (; code == CTL_OK && *files != NULL; files++) {
		free(i->owner);
		i->owner = NULL;
		code = import_file_read(*files, take_item, i);
	}
	if (code == CTL_OK)
		code = flush(i);
	if (code != CTL_OK)
		return code;
	PQclear(r);
	r = NULL;
	if (PQputCopyEnd(i->account.conn, NULL) == 1)
		r = PQgetResult(i->account.conn);
	if (!ctl_is_ok(r))
		code = ctl_refuse(
		    CTL_FAILED, "%s", ctl_pg_message(i->account.conn, r));
	while (code == CTL_OK) {
		PGresult *rest = PQgetResult(i->account.conn);
		if (rest == NULL)
			break;
		PQclear(rest);
	}
	return code;
}

static enum ctl_exit
stage_all(struct import *i, char **files)
{
	struct buf sql = {0};
	char *unknown = NULL;
	enum ctl_exit code = CTL_OK;

	for (char **f = files; code == CTL_OK && *f != NULL; f++)
		code = import_file_read(*f, take_unknown, &unknown);
	free(unknown);
	if (code != CTL_OK)
		return code;
	import_staging_sql(&sql);
	code = run(i, buf_text(&sql));
	buf_free(&sql);
	for (enum import_table t = 0; code == CTL_OK && t < IMPORT__TABLES; t++)
		code = stage_table(i, t, files);
	if (i->has_progress)
		fputs("\r\033[Kmaking the rows", stderr);
	return code;
}

/* Runs one step and prints its counts. */
static enum ctl_exit
take_step(struct import *i, const struct step *s)
{
	AUTO_PGRESULT PGresult *r = NULL;

	if (s->made == NULL)
		return run(i, s->sql);
	r = PQexec(i->account.conn, s->sql);
	if (!ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "%s: %s", s->made,
		    ctl_pg_message(i->account.conn, r));
	buf_printf(&i->counts, "%s: %lld made, %lld there already\n", s->made,
	    (long long)pg_number(r, 0, 0), (long long)pg_number(r, 0, 1));
	return CTL_OK;
}

/* Makes a password for a new user without one that can be used. */
static enum ctl_exit
give_password(struct import *i, const char *name, const char *id)
{
	char hash[PASSWORD_HASH_TEXT], *password = NULL, *all = NULL;
	const char *values[] = {id, hash};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_password(&i->account, &password);

	if (code == CTL_OK)
		code = account_hash(&i->account, name, password, hash);
	if (code == CTL_OK)
		code = account_call(&i->account,
		    "UPDATE auth.users SET password_hash = $2 WHERE id = $1", 2,
		    values, &r);
	if (code == CTL_OK &&
	    asprintf(&all, "%s%s %s\n",
		i->passwords != NULL ? i->passwords : "", name, password) < 0)
		code = ctl_refuse(CTL_FAILED, "out of memory");
	if (code == CTL_OK) {
		ctl_wipe(i->passwords);
		i->passwords = all;
	}
	ctl_wipe(password);
	return code;
}

static enum ctl_exit
give_passwords(struct import *i)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(&i->account,
	    "SELECT name, id FROM import_new_users WHERE NOT has_password "
	    "ORDER BY name",
	    0, NULL, &r);

	for (int k = 0; code == CTL_OK && k < pg_rows(r); k++)
		code = give_password(i, pg_text(r, k, 0), pg_text(r, k, 1));
	return code;
}

/* Names the records that nothing could be made of. */
static enum ctl_exit
name_skipped(struct import *i)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(&i->account,
	    "SELECT origin, why FROM import_skipped ORDER BY origin", 0, NULL,
	    &r);

	for (int k = 0; code == CTL_OK && k < pg_rows(r); k++)
		skip(i, pg_text(r, k, 0), pg_text(r, k, 1));
	return code;
}

static enum ctl_exit
import_files(struct import *i, char **files, bool has_passwords)
{
	enum ctl_exit code = run(i, "BEGIN; SET LOCAL ROLE natter_auth;"
				    " SET LOCAL TimeZone = 'UTC'");

	if (code == CTL_OK)
		code = stage_all(i, files);
	for (size_t s = 0;
	     code == CTL_OK && s < sizeof(steps) / sizeof(steps[0]); s++)
		code = take_step(i, &steps[s]);
	if (code == CTL_OK)
		code = import_cut_documents(&i->account);
	if (code == CTL_OK && has_passwords)
		code = give_passwords(i);
	if (code == CTL_OK)
		code = name_skipped(i);
	if (code == CTL_OK)
		code = run(i, "SELECT audit.note('import.run', 'database',"
			      " NULL, NULL)");
	return code;
}

/* What is told once it is certain. */
static void
report(struct import *i, bool is_dry)
{
	if (i->has_progress)
		fputs("\r\033[K", stderr);
	fputs(buf_text(&i->counts), stderr);
	if (i->skipped > 0)
		ctl_note(
		    "%lld records could not be used", (long long)i->skipped);
	if (is_dry)
		fputs("Nothing was changed (--dry-run).\n", stderr);
	if (i->passwords != NULL)
		fputs(i->passwords, stdout);
}

/* What all kinds of files have in common. */
static enum ctl_exit
import(const struct command *self, int argc, char **argv)
{
	struct import i = {0};
	const char *config = NULL;
	bool is_dry = false, has_no_passwords = false;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"config", OPTION_TEXT, &config},
	    {"user", OPTION_TEXT, &i.user},
	    {"dry-run", OPTION_FLAG, &is_dry},
	    {"no-passwords", OPTION_FLAG, &has_no_passwords},
	    {0},
	};
	char **files = NULL;

	if (!ctl_options_list(self, argc, argv, rows, &files, &code))
		return code;
	i.has_progress = isatty(STDERR_FILENO);
	i.arena = arena_new(ARENA_MAX);
	code = i.arena != NULL ? account_open(&i.account, config)
			       : ctl_refuse(CTL_FAILED, "out of memory");
	if (code == CTL_OK && i.user != NULL)
		code = account_name(&i.account, i.user, &i.user);
	if (code == CTL_OK)
		code = import_files(&i, files, !has_no_passwords && !is_dry);
	if (code == CTL_OK)
		code = run(&i, is_dry ? "ROLLBACK" : "COMMIT");
	if (code == CTL_OK)
		report(&i, is_dry);
	buf_free(&i.counts);
	free(i.owner);
	ctl_wipe(i.passwords);
	buf_free(&i.lines);
	account_close(&i.account);
	arena_free(i.arena);
	return code == CTL_OK && i.skipped > 0 ? CTL_FAILED : code;
}

enum ctl_exit
ctl_import_tinydb(const struct command *self, int argc, char **argv)
{
	return import(self, argc, argv);
}

enum ctl_exit
ctl_import_json(const struct command *self, int argc, char **argv)
{
	return import(self, argc, argv);
}
