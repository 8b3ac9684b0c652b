/*
 * Conversations that nobody went on with for long: each batch is one archive
 * and one transaction. Its snapshot is what is archived; the deletion fails,
 * and the batch begins again, when anything of it has changed since. The
 * archive is published before the commit: a crash between the two leaves rows
 * in both places, never in none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "ctl/archive.h"
#include "ctl/jobs.h"
#include "ctl/retention.h"
#include "store/pg.h"

/* A batch has at most so many conversations, and so many messages unless one
 * conversation has more. */
#define TALKS_MAX    1000
#define MESSAGES_MAX 20000
#define TRIES        5

#define BEFORE "($1::timestamptz - make_interval(days => $2::int))"
#define IS_OVER                                                         \
	"t.is_archived = ANY (ARRAY[false, true])"                      \
	" AND t.last_message_at < " BEFORE                              \
	" AND (t.expires_at IS NULL OR t.expires_at > $1::timestamptz)" \
	" AND NOT EXISTS (SELECT FROM chat.running_replies r"           \
	" WHERE r.user_id = t.user_id AND r.conversation_id = t.id)"

static const char count_sql[] =
    "SELECT count(*) FROM chat.conversations t WHERE " IS_OVER;
static const char pick_sql[] =
    "SELECT t.user_id, t.id, t.message_count FROM chat.conversations t"
    " WHERE " IS_OVER " LIMIT $3::int FOR UPDATE OF t SKIP LOCKED";

/* The batch's keys are $1 and $2. */
#define KEYS "unnest($1::uuid[], $2::uuid[]) k(user_id, id)"
static const struct {
	const char *table;
	const char *sql;
} parts[] = {
    {"conversations",
	"SELECT k.user_id, " ARCHIVE_LINE("conversations",
	    "c") " FROM " KEYS
		 " CROSS JOIN LATERAL (SELECT * FROM chat.conversations x"
		 " WHERE x.user_id = k.user_id AND x.id = k.id OFFSET 0) c"},
    {"messages",
	"SELECT k.user_id, " ARCHIVE_LINE("messages",
	    "m") " FROM " KEYS
		 " CROSS JOIN LATERAL (SELECT * FROM chat.messages x"
		 " WHERE x.user_id = k.user_id AND x.conversation_id = k.id"
		 " ORDER BY x.position OFFSET 0) m"},
    {"message_feedback",
	"SELECT k.user_id, " ARCHIVE_LINE("message_feedback",
	    "f") " FROM " KEYS
		 " CROSS JOIN LATERAL (SELECT * FROM chat.message_feedback x"
		 " WHERE x.user_id = k.user_id AND x.conversation_id = k.id"
		 " OFFSET 0) f"},
};
static const char delete_sql[] = "DELETE FROM chat.conversations c USING " KEYS
				 " WHERE c.user_id = k.user_id AND c.id = k.id";

struct batch {
	int n;
	struct buf users; /* arrays as Postgres reads them */
	struct buf ids;
	bool is_again; /* something changed meanwhile: begin anew */
};

/* The rows locked, as long as they are not too many messages. */
static void
take_keys(struct batch *b, const PGresult *picked)
{
	int64_t messages = 0;

	b->n = 0;
	buf_clear(&b->users);
	buf_clear(&b->ids);
	for (int i = 0; i < PQntuples(picked); i++) {
		messages += pg_number(picked, i, 2);
		if (i > 0 && messages > MESSAGES_MAX)
			break;
		buf_printf(&b->users, "%c%s", i == 0 ? '{' : ',',
		    pg_text(picked, i, 0));
		buf_printf(
		    &b->ids, "%c%s", i == 0 ? '{' : ',', pg_text(picked, i, 1));
		b->n++;
	}
	buf_putc(&b->users, '}');
	buf_putc(&b->ids, '}');
}

static enum ctl_exit
pick(struct retention *r, long days, struct batch *b)
{
	char days_text[16], limit[16];
	const char *values[] = {r->now, days_text, limit};

	snprintf(days_text, sizeof(days_text), "%ld", days);
	snprintf(limit, sizeof(limit), "%d", TALKS_MAX);
	AUTO_PGRESULT PGresult *picked =
	    PQexecParams(r->conn, pick_sql, 3, NULL, values, NULL, NULL, 0);

	if (ctl_is_ok(picked)) {
		take_keys(b, picked);
		return CTL_OK;
	}
	b->is_again = jobs_is_passing(picked);
	return b->is_again ? CTL_FAILED
			   : ctl_refuse(CTL_FAILED, "%s",
				 ctl_pg_message(r->conn, picked));
}

/* Writes and publishes the batch's archive. */
static enum ctl_exit
archive_batch(struct retention *r, struct batch *b, struct archive *out)
{
	const char *values[] = {buf_text(&b->users), buf_text(&b->ids)};
	struct archive_writer *w = NULL;
	char name[ARCHIVE_NAME], id[ID_TEXT];
	enum ctl_exit code;

	id_make(id);
	snprintf(name, sizeof(name), "conversations-%.10s-%.18s", r->now, id);
	code = archive_begin(r->dir, "conversations", name, &w);
	for (size_t i = 0;
	     code == CTL_OK && i < sizeof(parts) / sizeof(parts[0]); i++) {
		archive_add_table(w, parts[i].table);
		code = archive_add_query(w, r->conn, parts[i].sql, 2, values);
	}
	if (code == CTL_OK)
		code = retention_publish(r, w, out);
	archive_writer_free(w);
	return code;
}

/* Takes an archive back whose rows were not deleted. */
static void
forget(struct retention *r, const struct archive *a)
{
	char manifest[ARCHIVE_FILE];

	snprintf(manifest, sizeof(manifest), "%s.json", a->name);
	(void)unlinkat(r->dir, manifest, 0);
	(void)unlinkat(r->dir, a->file, 0);
	(void)fsync(r->dir);
}

static enum ctl_exit
delete_batch(struct retention *r, struct batch *b)
{
	const char *values[] = {buf_text(&b->users), buf_text(&b->ids)};
	AUTO_PGRESULT PGresult *gone =
	    PQexecParams(r->conn, delete_sql, 2, NULL, values, NULL, NULL, 0);

	if (ctl_is_ok(gone) && pg_rows(gone) == b->n)
		return CTL_OK;
	b->is_again = ctl_is_ok(gone) || jobs_is_passing(gone);
	return b->is_again ? CTL_FAILED
			   : ctl_refuse(CTL_FAILED, "%s",
				 ctl_pg_message(r->conn, gone));
}

/* One batch, which may be empty. After COMMIT was sent nobody knows: the
 * archive stays then. */
static enum ctl_exit
run_batch(struct retention *r, long days, struct batch *b)
{
	struct archive a = {0};
	enum ctl_exit code;

	b->is_again = false;
	b->n = 0;
	code =
	    jobs_do(r->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ", 0, NULL);
	if (code == CTL_OK)
		code = pick(r, days, b);
	if (code == CTL_OK && b->n > 0)
		code = archive_batch(r, b, &a);
	if (code == CTL_OK && b->n > 0) {
		code = delete_batch(r, b);
		if (code == CTL_OK)
			code = jobs_note(
			    r->conn, "retention.archive", a.name, b->n);
		if (code != CTL_OK)
			forget(r, &a);
	}
	archive_clear(&a);
	if (code == CTL_OK)
		return jobs_do(r->conn, "COMMIT", 0, NULL);
	PQclear(PQexec(r->conn, "ROLLBACK"));
	return code;
}

static enum ctl_exit
count(struct retention *r, const struct retention_kind *k, long days)
{
	char days_text[16];
	const char *values[] = {r->now, days_text};
	AUTO_PGRESULT PGresult *result = NULL;
	enum ctl_exit code;

	snprintf(days_text, sizeof(days_text), "%ld", days);
	code = ctl_query(r->conn, count_sql, 2, values, &result);
	if (code == CTL_OK)
		retention_say(k, pg_number(result, 0, 0), NULL);
	return code;
}

enum ctl_exit
retention_talks(struct retention *r, const struct retention_kind *k, long days)
{
	struct batch b = {0};
	int64_t all = 0;
	int tries = 0;
	enum ctl_exit code;

	if (r->is_dry)
		return count(r, k, days);
	do {
		code = run_batch(r, days, &b);
		if (code == CTL_OK) {
			all += b.n;
			tries = 0;
			clock_sleep_ms(b.n > 0 ? 100 : 0);
		} else if (b.is_again && ++tries < TRIES) {
			clock_sleep_ms(500);
		} else {
			if (b.is_again)
				ctl_note("conversations: others keep changing "
					 "them");
			break;
		}
	} while (code != CTL_OK || b.n > 0);
	buf_free(&b.users);
	buf_free(&b.ids);
	if (code == CTL_OK || all > 0)
		retention_say(k, all, NULL);
	return code;
}
