/*
 * Months: those to come, strays, and those that go. A month goes in the steps
 * that migration 011 tells; a retired month, left by a run that broke off, is
 * gone on with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "ctl/archive.h"
#include "ctl/jobs.h"
#include "ctl/retention.h"
#include "store/pg.h"

#define MONTHS_AHEAD "3"
#define SQL_MAX      1024
#define PART_MAX     64

/* A month that is to go. */
struct month {
	char part[PART_MAX]; /* its table */
	char label[16];      /* 2025-01 */
	char low[ID_TEXT];   /* bounds of its ids */
	char high[ID_TEXT];
	char begin[40];
	char end[40];
	bool is_retired;
};

/* The oldest first; $1 table, $2 now, $3 days. */
static const char months_sql[] =
    "SELECT m.part, to_char(m.month AT TIME ZONE 'UTC', 'YYYY-MM'),"
    " natter.uuid_floor(m.month), natter.uuid_floor(e.ends),"
    " m.month, e.ends, m.is_retired"
    " FROM chat.months() m CROSS JOIN LATERAL (SELECT"
    " (m.month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC')"
    " e(ends) WHERE m.parent = $1 AND (m.is_retired"
    " OR e.ends <= $2::timestamptz - make_interval(days => $3::int))"
    " AND e.ends < now() - interval '1 day' ORDER BY m.month";

/* What of a month will be archived or dropped; temporary conversations that
 * are over go before. */
static const char count_messages_sql[] =
    "SELECT count(*) FROM %s m WHERE m.id >= $1::uuid AND m.id < $2::uuid"
    " AND NOT EXISTS (SELECT FROM chat.conversations c"
    " WHERE c.user_id = m.user_id AND c.id = m.conversation_id"
    " AND c.expires_at <= $3::timestamptz)";
static const char count_sql[] =
    "SELECT count(*) FROM %s m WHERE m.id >= $1::uuid AND m.id < $2::uuid"
    " AND $3::timestamptz IS NOT NULL";

static void
take_month(const PGresult *r, int i, struct month *m)
{
	snprintf(m->part, sizeof(m->part), "%s", pg_text(r, i, 0));
	snprintf(m->label, sizeof(m->label), "%s", pg_text(r, i, 1));
	snprintf(m->low, sizeof(m->low), "%s", pg_text(r, i, 2));
	snprintf(m->high, sizeof(m->high), "%s", pg_text(r, i, 3));
	snprintf(m->begin, sizeof(m->begin), "%s", pg_text(r, i, 4));
	snprintf(m->end, sizeof(m->end), "%s", pg_text(r, i, 5));
	m->is_retired = pg_flag(r, i, 6);
}

/* Where the month's rows are: chat.messages, or chat.messages_2025_01. */
static void
source_of(const struct retention_kind *k, const struct month *m, char *out,
    size_t size)
{
	snprintf(out, size, "chat.%s", m->is_retired ? m->part : k->name);
}

static enum ctl_exit
count_month(struct retention *r, const struct retention_kind *k,
    const struct month *m, int64_t *out_n)
{
	const char *values[] = {m->low, m->high, r->now};
	char sql[SQL_MAX], source[PART_MAX + 8];
	AUTO_PGRESULT PGresult *result = NULL;
	enum ctl_exit code;

	source_of(k, m, source, sizeof(source));
	snprintf(sql, sizeof(sql),
	    k->fate == MONTHS_ARCHIVE ? count_messages_sql : count_sql, source);
	code = ctl_query(r->conn, sql, 3, values, &result);
	if (code == CTL_OK)
		*out_n = pg_number(result, 0, 0);
	return code;
}

/* Puts the month's rows into a writer, the same rows in the same order
 * wherever they are. */
static enum ctl_exit
add_month(struct retention *r, const struct retention_kind *k,
    const struct month *m, struct archive_writer *w)
{
	const char *values[] = {m->low, m->high};
	char sql[SQL_MAX], source[PART_MAX + 8];

	source_of(k, m, source, sizeof(source));
	snprintf(sql, sizeof(sql),
	    "SELECT m.user_id, '{\"table\":\"%s\",\"row\":'"
	    " || row_to_json(m)::text || '}' FROM %s m"
	    " WHERE m.id >= $1::uuid AND m.id < $2::uuid"
	    " ORDER BY m.user_id, m.id",
	    k->name, source);
	archive_add_table(w, k->name);
	return archive_add_query(w, r->conn, sql, 2, values);
}

/* What the month's rows are now, without writing anything. */
static enum ctl_exit
look_at_month(struct retention *r, const struct retention_kind *k,
    const struct month *m, struct archive *out)
{
	struct archive_writer *w = NULL;
	enum ctl_exit code = archive_begin(-1, k->name, m->part, &w);

	if (code == CTL_OK)
		code = add_month(r, k, m, w);
	if (code == CTL_OK)
		code = archive_end(w, NULL, out);
	archive_writer_free(w);
	return code;
}

/* The name of the month's n-th archive. */
static void
name_archive(const struct retention_kind *k, const struct month *m, int n,
    char out[static ARCHIVE_NAME])
{
	if (n == 1)
		snprintf(out, ARCHIVE_NAME, "%s-%s", k->name, m->label);
	else
		snprintf(out, ARCHIVE_NAME, "%s-%s-%d", k->name, m->label, n);
}

/*
 * Looks for an archive of exactly these rows; whether it is whole is not known
 * yet. `out_free` gets the first name that none has.
 */
static enum ctl_exit
find_archive(struct retention *r, const struct retention_kind *k,
    const struct month *m, const struct archive *rows,
    char out_free[static ARCHIVE_NAME], bool *out_found)
{
	char **names = NULL;
	size_t n_names = 0;
	enum ctl_exit code = archive_names(r->dir, &names, &n_names);

	*out_found = false;
	for (int n = 1; code == CTL_OK && !*out_found; n++) {
		struct archive a = {0};
		bool is_there = false;

		name_archive(k, m, n, out_free);
		for (size_t i = 0; i < n_names; i++)
			is_there = is_there || strcmp(names[i], out_free) == 0;
		if (!is_there)
			break;
		code = archive_load(r->dir, out_free, &a);
		*out_found =
		    code == CTL_OK &&
		    strcmp(a.content_sha256, rows->content_sha256) == 0 &&
		    a.rows == rows->rows;
		if (*out_found)
			code = archive_read(r->dir, &a, NULL, NULL);
		archive_clear(&a);
	}
	archive_names_free(names, n_names);
	return code;
}

enum ctl_exit
retention_publish(
    struct retention *r, struct archive_writer *w, struct archive *out)
{
	static const char columns_sql[] =
	    "SELECT json_object_agg(c.relname, (SELECT json_agg(a.attname"
	    " ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid"
	    " AND a.attnum > 0 AND NOT a.attisdropped)) FROM pg_class c"
	    " WHERE c.relnamespace = 'chat'::regnamespace"
	    " AND c.relname IN ('conversations', 'messages',"
	    " 'message_feedback')";
	AUTO_PGRESULT PGresult *columns = NULL;
	enum ctl_exit code = ctl_query(r->conn, columns_sql, 0, NULL, &columns);

	if (code == CTL_OK)
		code = archive_end(w, NULL, out);
	if (code != CTL_OK)
		return code;
	out->columns = strdup(PQgetvalue(columns, 0, 0));
	out->schema_version = strtoll(r->schema, NULL, 10);
	return archive_publish(r->dir, out);
}

/* Makes sure that there is a verified archive of what the month holds now. */
static enum ctl_exit
archive_month(struct retention *r, const struct retention_kind *k,
    const struct month *m, int64_t *out_rows)
{
	struct archive rows = {0}, written = {0};
	struct archive_writer *w = NULL;
	char name[ARCHIVE_NAME];
	bool is_found = false;
	enum ctl_exit code = look_at_month(r, k, m, &rows);

	if (code == CTL_OK && rows.rows > 0)
		code = find_archive(r, k, m, &rows, name, &is_found);
	if (code == CTL_OK && rows.rows > 0 && !is_found) {
		code = archive_begin(r->dir, k->name, name, &w);
		if (code == CTL_OK)
			code = add_month(r, k, m, w);
		if (code == CTL_OK)
			code = retention_publish(r, w, &written);
	}
	if (code == CTL_OK)
		*out_rows = rows.rows;
	archive_writer_free(w);
	archive_clear(&rows);
	archive_clear(&written);
	return code;
}

/* Does a running reply write into the month? Then it waits for another run. */
static enum ctl_exit
is_written_to(struct retention *r, const struct month *m, bool *out_is)
{
	const char *values[] = {m->low, m->high};
	AUTO_PGRESULT PGresult *result = NULL;
	enum ctl_exit code = ctl_query(r->conn,
	    "SELECT EXISTS (SELECT FROM chat.running_replies r"
	    " WHERE r.message_id >= $1::uuid AND r.message_id < $2::uuid)",
	    2, values, &result);

	if (code == CTL_OK)
		*out_is = pg_flag(result, 0, 0);
	return code;
}

static enum ctl_exit
retire(struct retention *r, struct month *m)
{
	const char *part = m->part;
	enum ctl_exit code =
	    jobs_insist(r->conn, "SELECT chat.retire_partition($1)", 1, &part);

	m->is_retired = code == CTL_OK;
	return code;
}

/* The audit log's row, in the statement that drops. */
#define NOTE_DROP(part)                                         \
	"audit.note('retention.drop', 'partition', NULL, NULL," \
	" jsonb_build_object('what', " part "::text))"

/* The sums and the drop are one statement's transaction. */
static enum ctl_exit
sum_and_drop(
    struct retention *r, const struct retention_kind *k, const struct month *m)
{
	char table[PART_MAX + 8];
	const char *values[] = {k->name, table, m->begin, m->end, m->part};

	snprintf(table, sizeof(table), "chat.%s", m->part);
	return jobs_insist(r->conn,
	    "SELECT chat.drop_retired($5::name), " NOTE_DROP(
		"$5") " FROM (SELECT chat.roll_up($1,"
		      " $2::regclass, $3::timestamptz, $4::timestamptz, true)"
		      " AS n OFFSET 0) x WHERE x.n >= 0",
	    5, values);
}

/* Archives, drops or sums up one month. */
static enum ctl_exit
run_month(struct retention *r, const struct retention_kind *k, struct month *m,
    int64_t *out_rows)
{
	const char *part = m->part;
	bool is_archive = k->fate == MONTHS_ARCHIVE;
	enum ctl_exit code = CTL_OK;

	/* Before it leaves its table: what cannot be archived stays there. */
	if (is_archive && !m->is_retired)
		code = archive_month(r, k, m, out_rows);
	if (code == CTL_OK && !m->is_retired)
		code = retire(r, m);
	/* Nothing but a cascade changes it now: this is what is dropped. */
	if (code == CTL_OK)
		code = is_archive ? archive_month(r, k, m, out_rows)
				  : count_month(r, k, m, out_rows);
	if (code == CTL_OK && is_archive)
		code = retention_recount(r, m->part);
	if (code == CTL_OK && k->fate == MONTHS_SUM)
		return sum_and_drop(r, k, m);
	if (code == CTL_OK)
		code = jobs_insist(r->conn,
		    "SELECT chat.drop_retired($1), " NOTE_DROP("$1"), 1, &part);
	return code;
}

static enum ctl_exit
take_months(struct retention *r, const struct retention_kind *k, long days,
    PGresult **out)
{
	char days_text[16];
	const char *values[] = {k->name, r->now, days_text};

	snprintf(days_text, sizeof(days_text), "%ld", days);
	return ctl_query(r->conn, months_sql, 3, values, out);
}

enum ctl_exit
retention_months(struct retention *r, const struct retention_kind *k, long days)
{
	AUTO_PGRESULT PGresult *found = NULL;
	enum ctl_exit code = take_months(r, k, days, &found);
	int n = code == CTL_OK ? PQntuples(found) : 0;

	for (int i = 0; code == CTL_OK && i < n; i++) {
		struct month m = {0};
		int64_t rows = 0;
		bool is_busy = false;

		take_month(found, i, &m);
		if (k->fate == MONTHS_ARCHIVE && !m.is_retired)
			code = is_written_to(r, &m, &is_busy);
		if (is_busy) {
			ctl_note("%s of %s: a reply is being written there; "
				 "left for another run",
			    k->name, m.label);
			continue;
		}
		if (code == CTL_OK)
			code = r->is_dry ? count_month(r, k, &m, &rows)
					 : run_month(r, k, &m, &rows);
		if (code == CTL_OK)
			retention_say(k, rows, m.label);
	}
	if (code == CTL_OK && n == 0)
		retention_say(k, 0, NULL);
	return code;
}

/* A default partition without a page holds nothing: most runs stop there. */
static enum ctl_exit
move_strays(struct retention *r, const char *parent)
{
	AUTO_PGRESULT PGresult *result = NULL;
	enum ctl_exit code = ctl_query(r->conn,
	    "SELECT s.moved, s.left_over FROM chat.move_strays($1) s", 1,
	    &parent, &result);

	if (code != CTL_OK)
		return code;
	if (pg_number(result, 0, 0) > 0)
		ctl_note("%s: moved %lld rows out of the default partition, "
			 "where they were for want of their month's",
		    parent, (long long)pg_number(result, 0, 0));
	if (pg_number(result, 0, 1) > 0) {
		r->is_amiss = true;
		ctl_note("%s: %lld rows in the default partition have ids of "
			 "no plausible time and cannot be moved: look at "
			 "chat.%s_default, and at what wrote them",
		    parent, (long long)pg_number(result, 0, 1), parent);
	}
	return CTL_OK;
}

enum ctl_exit
retention_months_ahead(struct retention *r)
{
	AUTO_PGRESULT PGresult *made = NULL;
	AUTO_PGRESULT PGresult *full = NULL;
	enum ctl_exit code = ctl_query(r->conn,
	    "SELECT chat.create_partitions(" MONTHS_AHEAD ")", 0, NULL, &made);

	if (code != CTL_OK)
		return code;
	if (pg_number(made, 0, 0) > 0)
		printf("%-20s %10lld  partitions made\n", "months",
		    (long long)pg_number(made, 0, 0));
	code = ctl_query(r->conn,
	    "SELECT p.relname FROM pg_class c"
	    " JOIN pg_inherits i ON i.inhrelid = c.oid"
	    " JOIN pg_class p ON p.oid = i.inhparent"
	    " WHERE p.relnamespace = 'chat'::regnamespace AND p.relkind = 'p'"
	    " AND c.relname = p.relname || '_default'"
	    " AND pg_relation_size(c.oid) > 0 ORDER BY 1",
	    0, NULL, &full);
	for (int i = 0; code == CTL_OK && i < PQntuples(full); i++)
		code = move_strays(r, pg_text(full, i, 0));
	return code;
}
