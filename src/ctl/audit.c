/*
 * natterctl audit: chain and list.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "ctl/audit_command.h"
#include "ctl/ctl.h"
#include "store/pg.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     10000

enum ctl_exit
audit_chain_all(PGconn *conn, struct audit_head *out_head)
{
	struct audit_head head = {0};
	int64_t added;

	do {
		AUTO_PGRESULT PGresult *r = NULL;
		enum ctl_exit code = ctl_query(conn,
		    "SELECT added, seq, encode(hash, 'hex')"
		    " FROM audit.chain_extend(1000)",
		    0, NULL, &r);

		if (code != CTL_OK)
			return code;
		added = pg_number(r, 0, 0);
		head.added += added;
		head.seq = pg_number(r, 0, 1);
		snprintf(head.hash, sizeof(head.hash), "%s", pg_text(r, 0, 2));
	} while (added > 0);
	*out_head = head;
	return CTL_OK;
}

enum ctl_exit
ctl_audit_chain(const struct command *self, int argc, char **argv)
{
	struct audit_head head;
	PGconn *conn = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, NULL, 0, &code))
		return code;
	code = ctl_connect_jobs(&conn);
	if (code == CTL_OK)
		code = audit_chain_all(conn, &head);
	if (code == CTL_OK)
		printf("Chained %lld rows; %lld in all.\nhead %s\n",
		    (long long)head.added, (long long)head.seq,
		    head.seq > 0 ? head.hash : "none");
	PQfinish(conn);
	return code;
}

/* What the list is to show; NULL: all. */
struct wanted {
	const char *user; /* a name, or an id once it is looked up */
	const char *action;
	const char *since;
	const char *until;
	const char *format;
	long limit;
};

/* The id behind a name. An erased user is known by the id alone. */
static enum ctl_exit
find_user(PGconn *conn, struct wanted *w, char out_id[static ID_TEXT])
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	if (w->user == NULL || id_is_uuid(w->user))
		return CTL_OK;
	code = ctl_query(conn, "SELECT id FROM auth.users WHERE username = $1",
	    1, &w->user, &r);
	if (code != CTL_OK)
		return code;
	if (PQntuples(r) == 0)
		return ctl_refuse(CTL_FAILED,
		    "there is no user %s (one who was deleted is known by the "
		    "id alone)",
		    w->user);
	snprintf(out_id, ID_TEXT, "%s", pg_text(r, 0, 0));
	w->user = out_id;
	return CTL_OK;
}

#define TIME \
	"to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

static const char json_sql[] =
    "json_build_object('id', id, 'at', " TIME
    ", 'action', action, 'actor', actor_kind, 'actor_id', actor_id,"
    " 'operator', operator, 'user_id', user_id, 'object', object_kind,"
    " 'object_id', object_id, 'request_id', request_id, 'ip', host(ip),"
    " 'details', details)";

static const char text_sql[] =
    "concat_ws('  ', " TIME ", action, CASE WHEN operator IS NULL"
    " THEN concat_ws(' ', actor_kind, actor_id)"
    " ELSE actor_kind || ' ' || operator END,"
    " 'on ' || coalesce(object_id::text, object_kind),"
    " 'of ' || user_id, 'from ' || host(ip), 'request ' || request_id,"
    " CASE WHEN details <> '{}' THEN details::text END)";

/* Reading the log is noted in it, in the same transaction. */
static enum ctl_exit
print_rows(PGconn *conn, const struct wanted *w)
{
	AUTO_PGRESULT PGresult *begun = PQexec(conn, "BEGIN");
	AUTO_PGRESULT PGresult *rows = NULL;
	AUTO_PGRESULT PGresult *noted = NULL;
	AUTO_PGRESULT PGresult *ended = NULL;
	char sql[2048], limit[24];
	const char *values[] = {w->user, w->action, w->since, w->until, limit};
	enum ctl_exit code;

	snprintf(limit, sizeof(limit), "%ld", w->limit);
	snprintf(sql, sizeof(sql),
	    "SELECT %s FROM audit.log"
	    " WHERE ($1::uuid IS NULL OR user_id = $1)"
	    " AND ($2::text IS NULL OR action = $2)"
	    " AND ($3::timestamptz IS NULL OR id >= natter.uuid_floor($3))"
	    " AND ($4::timestamptz IS NULL OR id < natter.uuid_floor($4))"
	    " ORDER BY id DESC LIMIT $5::int",
	    strcmp(w->format, "json") == 0 ? json_sql : text_sql);
	code = ctl_query(conn, sql, 5, values, &rows);
	if (code == CTL_OK)
		code = ctl_query(conn,
		    "SELECT audit.note('audit.read', 'audit', NULL, $1)", 1,
		    values, &noted);
	if (code == CTL_OK)
		code = ctl_query(conn, "COMMIT", 0, NULL, &ended);
	for (int i = 0; code == CTL_OK && i < PQntuples(rows); i++)
		puts(pg_text(rows, i, 0));
	return code;
}

enum ctl_exit
ctl_audit_list(const struct command *self, int argc, char **argv)
{
	struct wanted w = {.format = "text", .limit = LIMIT_DEFAULT};
	char id[ID_TEXT];
	PGconn *conn = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"user", OPTION_TEXT, &w.user},
	    {"action", OPTION_TEXT, &w.action},
	    {"since", OPTION_TEXT, &w.since},
	    {"until", OPTION_TEXT, &w.until},
	    {"limit", OPTION_NUMBER, &w.limit},
	    {"format", OPTION_TEXT, &w.format},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (strcmp(w.format, "text") != 0 && strcmp(w.format, "json") != 0)
		return ctl_refuse(CTL_USAGE, "--format takes text or json");
	if (w.limit < 1 || w.limit > LIMIT_MAX)
		return ctl_refuse(
		    CTL_USAGE, "--limit takes 1 to %d", LIMIT_MAX);
	code = ctl_connect_jobs(&conn);
	if (code == CTL_OK)
		code = find_user(conn, &w, id);
	if (code == CTL_OK)
		code = print_rows(conn, &w);
	PQfinish(conn);
	return code;
}
