/*
 * Taking users out of archives: the file is written anew without their rows,
 * and the manifest that names it replaces the old one in one step.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/config.h"
#include "ctl/archive.h"
#include "ctl/archive_command.h"
#include "ctl/jobs.h"
#include "ctl/settings.h"
#include "store/pg.h"

/* Whom to take out of one archive. */
struct erasing {
	const struct archive *from;
	struct archive_writer *to;
	char (*gone)[ID_TEXT]; /* in order */
	size_t n_gone;
};

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Whose row a line holds: "user_id" is a column of every table. */
static bool
user_of(const char *line, char out[static ID_TEXT])
{
	struct json_object *o = json_tokener_parse(line), *row, *id;
	bool is_good = json_object_object_get_ex(o, "row", &row) &&
		       json_object_object_get_ex(row, "user_id", &id) &&
		       id_is_uuid(json_object_get_string(id));

	if (is_good)
		memcpy(out, json_object_get_string(id), ID_TEXT);
	json_object_put(o);
	return is_good;
}

static enum ctl_exit
keep_line(void *arg, const char *line, size_t n)
{
	struct erasing *e = arg;
	char user[ID_TEXT];

	if (!user_of(line, user))
		return ctl_refuse(
		    CTL_FAILED, "archive %s: a row has no user", e->from->name);
	if (bsearch(user, e->gone, e->n_gone, ID_TEXT, by_text) != NULL)
		return CTL_OK;
	return archive_add(e->to, user, line, n);
}

/* A name that the old file does not have. */
static void
name_after(const struct archive *a, char out[static ARCHIVE_FILE])
{
	const char *mark = strrchr(a->file, '~');
	long n = mark != NULL ? strtol(mark + 1, NULL, 10) : 0;

	snprintf(out, ARCHIVE_FILE, "%.*s~%ld.jsonl.gz", ARCHIVE_NAME - 1,
	    a->name, n + 1);
}

static enum ctl_exit
rewrite(int dir, struct erasing *e)
{
	const struct archive *from = e->from;
	char file[ARCHIVE_FILE];
	struct archive to = {0};
	enum ctl_exit code = archive_begin(dir, from->kind, from->name, &e->to);

	for (size_t i = 0; code == CTL_OK && i < from->n_tables; i++)
		archive_add_table(e->to, from->tables[i].name);
	if (code == CTL_OK)
		code = archive_read(dir, from, keep_line, e);
	name_after(from, file);
	if (code == CTL_OK)
		code = archive_end(e->to, file, &to);
	if (code == CTL_OK) {
		to.columns = strdup(from->columns);
		to.schema_version = from->schema_version;
		memcpy(to.created, from->created, sizeof(to.created));
		code = archive_publish(dir, &to);
	}
	if (code == CTL_OK) {
		(void)unlinkat(dir, from->file, 0);
		(void)fsync(dir);
		printf("%s: erased %lld rows of %zu users\n", from->name,
		    (long long)(from->rows - to.rows), e->n_gone);
	}
	archive_writer_free(e->to);
	archive_clear(&to);
	return code;
}

/* The archive's users who have no account any more. */
static enum ctl_exit
find_gone(PGconn *conn, const struct archive *a, struct erasing *e)
{
	struct buf ids = {0};
	const char *value;
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	buf_putc(&ids, '{');
	for (size_t i = 0; i < a->n_users; i++)
		buf_printf(&ids, "%s%s", i > 0 ? "," : "", a->users[i]);
	buf_putc(&ids, '}');
	value = buf_text(&ids);
	code = ctl_query(conn,
	    "SELECT a.id FROM unnest($1::uuid[]) a(id) WHERE NOT EXISTS ("
	    "SELECT FROM auth.users u WHERE u.id = a.id) ORDER BY a.id::text "
	    "COLLATE \"C\"",
	    1, &value, &r);
	buf_free(&ids);
	if (code != CTL_OK)
		return code;
	e->n_gone = (size_t)PQntuples(r);
	e->gone = calloc(e->n_gone + 1, sizeof(*e->gone));
	for (size_t i = 0; e->gone != NULL && i < e->n_gone; i++)
		memcpy(e->gone[i], pg_text(r, (int)i, 0), ID_TEXT);
	return e->gone != NULL ? CTL_OK
			       : ctl_refuse(CTL_FAILED, "out of memory");
}

static enum ctl_exit
erase_one(int dir, const struct archive *a, void *arg)
{
	struct erasing e = {.from = a};
	enum ctl_exit code = find_gone(arg, a, &e);

	if (code == CTL_OK && e.n_gone > 0)
		code = rewrite(dir, &e);
	if (code == CTL_OK && e.n_gone > 0)
		code =
		    jobs_note(arg, "archive.erase", a->name, (int64_t)e.n_gone);
	free(e.gone);
	return code;
}

enum ctl_exit
archive_erase_gone(int dir, PGconn *conn)
{
	return archive_each(dir, NULL, erase_one, conn);
}

enum ctl_exit
ctl_archive_erase(const struct command *self, int argc, char **argv)
{
	struct archive_work w;
	const char *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {{"config", OPTION_TEXT, &file}, {0}};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = archive_work_open(&w, file);
	if (code == CTL_OK)
		code = archive_erase_gone(w.dir, w.conn);
	archive_work_close(&w);
	return code;
}
