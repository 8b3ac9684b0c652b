/*
 * Bringing an archive's rows back into their tables. May be run again: rows
 * that are there are left as they are, and so are those whose user or
 * conversation is gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/config.h"
#include "ctl/archive.h"
#include "ctl/archive_command.h"
#include "ctl/jobs.h"
#include "ctl/retention.h"
#include "ctl/settings.h"
#include "store/pg.h"

/* A batch is at most so many rows, and not many more bytes than this. */
#define ROWS_MAX  500
#define BYTES_MAX ((size_t)4 << 20)

/*
 * How the rows of a table go in, and where they may: $1 is a JSON array of the
 * archive's lines; the first %s are the table's columns that the archive has,
 * so that those which came since get their defaults.
 */
#define LINES(table)                                                       \
	"WITH r AS (SELECT p.* FROM json_array_elements($1::json) l(line)" \
	" CROSS JOIN LATERAL json_populate_record(NULL::chat." table       \
	", l.line -> 'row') p), i AS (INSERT INTO chat." table             \
	" (%s) SELECT %s FROM r"
#define THERE                                             \
	" WHERE EXISTS (SELECT FROM chat.conversations c" \
	" WHERE c.user_id = r.user_id"                    \
	" AND c.id = r.conversation_id) ON CONFLICT DO NOTHING"
static const struct {
	const char *table;
	bool is_monthly; /* then it gives the conversations of its rows, too */
	const char *sql;
} kinds[] = {
    {"conversations", false,
	LINES("conversations") " WHERE EXISTS (SELECT FROM auth.users u WHERE "
			       "u.id = r.user_id)"
			       " ON CONFLICT DO NOTHING RETURNING 1) SELECT "
			       "count(*) FROM i"},
    {"messages", true,
	LINES("messages") THERE
	" RETURNING user_id, conversation_id), t AS ("
	"SELECT user_id, conversation_id AS talk, count(*) AS n FROM i"
	" GROUP BY 1, 2) SELECT sum(t.n),"
	" array_agg(t.user_id ORDER BY t.user_id, t.talk),"
	" array_agg(t.talk ORDER BY t.user_id, t.talk) FROM t"},
    {"message_feedback", false,
	LINES("message_feedback") THERE " RETURNING 1) SELECT count(*) FROM i"},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/*
 * $1 the table, $2 the manifest's columns. A store that is gone is none. A
 * reply that was being written when it was archived is not any more.
 */
static const char columns_sql[] =
    "SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),"
    " string_agg(CASE WHEN a.attname = 'store_id' THEN"
    " '(SELECT s.id FROM chat.stores s WHERE s.id = r.store_id)'"
    " WHEN c.relname = 'messages' AND a.attname = 'status' THEN"
    " 'CASE r.status WHEN ''streaming'' THEN ''interrupted'' ELSE r.status END'"
    " WHEN c.relname = 'messages' AND a.attname = 'completed_at' THEN"
    " 'CASE r.status WHEN ''streaming'' THEN coalesce(r.completed_at,"
    " r.updated_at, r.created_at) ELSE r.completed_at END'"
    " ELSE 'r.' || quote_ident(a.attname) END, ', ' ORDER BY a.attnum)"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    " WHERE c.relnamespace = 'chat'::regnamespace AND c.relname = $1"
    " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
    " AND a.attname IN (SELECT json_array_elements_text("
    "$2::json -> $1::text))";

struct restoring {
	PGconn *conn;
	const struct archive *archive;
	int table; /* of the batch, in archive->tables */
	int n;
	struct buf lines; /* "[{...},{...}" */
	int64_t restored;
};

static size_t
kind_of(const struct restoring *r)
{
	const char *table = r->archive->tables[r->table].name;

	for (size_t i = 0; i < N_KINDS; i++)
		if (strcmp(kinds[i].table, table) == 0)
			return i;
	return N_KINDS;
}

/* Makes the months that the batch's ids are of. */
static enum ctl_exit
make_months(struct restoring *r, const char *lines)
{
	return jobs_insist(r->conn,
	    "SELECT chat.create_month('messages', m.month) FROM ("
	    "SELECT DISTINCT date_trunc('month', natter.uuid_time("
	    "(l.line -> 'row' ->> 'id')::uuid)) AS month"
	    " FROM json_array_elements($1::json) l(line)) m",
	    1, &lines);
}

/* The statement that puts the batch into its table. */
static enum ctl_exit
make_sql(struct restoring *r, size_t kind, struct buf *sql)
{
	const char *values[] = {kinds[kind].table, r->archive->columns};
	AUTO_PGRESULT PGresult *columns = NULL;
	enum ctl_exit code =
	    ctl_query(r->conn, columns_sql, 2, values, &columns);
	const char *text = kinds[kind].sql, *mark;

	for (int i = 0; code == CTL_OK && i < 2; i++) {
		mark = strstr(text, "%s");
		buf_add(sql, text, (size_t)(mark - text));
		buf_puts(sql, PQgetvalue(columns, 0, i));
		text = mark + 2;
	}
	buf_puts(sql, text);
	return code;
}

/* Puts the batch into its table and mends what counts its rows. */
static enum ctl_exit
flush(struct restoring *r)
{
	size_t kind = kind_of(r);
	const char *lines;
	struct buf sql = {0};
	AUTO_PGRESULT PGresult *did = NULL;
	enum ctl_exit code = CTL_OK;

	if (r->n == 0)
		return CTL_OK;
	buf_putc(&r->lines, ']');
	lines = buf_text(&r->lines);
	if (r->lines.failed || kind == N_KINDS)
		return ctl_refuse(CTL_FAILED, "archive %s: cannot restore %s",
		    r->archive->name, r->archive->tables[r->table].name);
	if (kinds[kind].is_monthly)
		code = make_months(r, lines);
	if (code == CTL_OK)
		code = make_sql(r, kind, &sql);
	if (code == CTL_OK)
		code = ctl_query(r->conn, buf_text(&sql), 1, &lines, &did);
	buf_free(&sql);
	if (code == CTL_OK) {
		r->restored += pg_number(did, 0, 0);
		if (kinds[kind].is_monthly && !PQgetisnull(did, 0, 1))
			code = retention_count(r->conn, PQgetvalue(did, 0, 1),
			    PQgetvalue(did, 0, 2));
	}
	r->n = 0;
	buf_clear(&r->lines);
	return code;
}

static enum ctl_exit
take_line(void *arg, const char *line, size_t n)
{
	struct restoring *r = arg;
	int table = archive_table_of(r->archive, line, n);
	enum ctl_exit code = CTL_OK;

	if (table != r->table || r->n == ROWS_MAX || r->lines.n > BYTES_MAX)
		code = flush(r);
	r->table = table;
	buf_putc(&r->lines, r->n == 0 ? '[' : ',');
	buf_add(&r->lines, line, n);
	r->n++;
	return code;
}

static enum ctl_exit
restore(struct archive_work *w, const struct archive *a)
{
	struct restoring r = {.conn = w->conn, .archive = a};
	enum ctl_exit code = archive_read(w->dir, a, NULL, NULL);

	if (code == CTL_OK)
		code = archive_read(w->dir, a, take_line, &r);
	if (code == CTL_OK)
		code = flush(&r);
	buf_free(&r.lines);
	if (code == CTL_OK)
		code =
		    jobs_note(w->conn, "archive.restore", a->name, r.restored);
	if (code == CTL_OK)
		printf("%s: restored %lld rows; left out %lld that are there "
		       "already or whose user or conversation is gone.\n",
		    a->name, (long long)r.restored,
		    (long long)(a->rows - r.restored));
	return code;
}

enum ctl_exit
archive_work_open(struct archive_work *w, const char *file)
{
	bool is_ours = false;
	enum ctl_exit code;

	*w = (struct archive_work){.dir = -1};
	code = ctl_settings(file, &w->config);
	if (code == CTL_OK)
		code = archive_folder(w->config->archive_dir, &w->dir);
	if (code == CTL_OK)
		code = jobs_connect(&w->conn);
	if (code == CTL_OK)
		code = jobs_lock(w->conn, &is_ours);
	if (code == CTL_OK && !is_ours)
		code = ctl_refuse(CTL_FAILED,
		    "another natterctl works on retention or archives: try "
		    "again when it has ended");
	return code;
}

void
archive_work_close(struct archive_work *w)
{
	if (w->dir >= 0)
		close(w->dir);
	PQfinish(w->conn);
	config_free(w->config);
}

enum ctl_exit
ctl_archive_restore(const struct command *self, int argc, char **argv)
{
	struct archive_work w;
	struct archive a = {0};
	const char *name, *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {{"config", OPTION_TEXT, &file}, {0}};

	if (!ctl_options(self, argc, argv, rows, &name, 1, &code))
		return code;
	code = archive_work_open(&w, file);
	if (code == CTL_OK)
		code = archive_load(w.dir, name, &a);
	if (code == CTL_OK)
		code = restore(&w, &a);
	archive_clear(&a);
	archive_work_close(&w);
	return code;
}
