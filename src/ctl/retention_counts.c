/*
 * What stays behind when rows go: the counts of conversations, and the daily
 * sums of events.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "ctl/jobs.h"
#include "ctl/retention.h"
#include "store/pg.h"

#define BATCH    "500"
#define SQL_MAX  2048
#define PAUSE_MS 20
#define TRIES    20
#define NOBODY   "00000000-0000-0000-0000-000000000000"

/*
 * Two statements, so that the second sees what those committed whom the first
 * waited for. A turn locks the conversation first, too.
 */
static const char lock_sql[] =
    "SELECT c.id FROM chat.conversations c,"
    " unnest($1::uuid[], $2::uuid[]) k(user_id, id)"
    " WHERE c.user_id = k.user_id AND c.id = k.id FOR NO KEY UPDATE OF c";
static const char count_sql[] =
    "UPDATE chat.conversations c SET message_count = n.messages,"
    " leaf_id = CASE WHEN n.has_leaf THEN c.leaf_id ELSE n.newest END,"
    " updated_at = c.updated_at + interval '1 microsecond'"
    " FROM unnest($1::uuid[], $2::uuid[]) k(user_id, id)"
    " CROSS JOIN LATERAL (SELECT"
    " (SELECT count(*) FROM chat.messages m WHERE m.user_id = k.user_id"
    " AND m.conversation_id = k.id) AS messages,"
    " EXISTS (SELECT FROM chat.conversations d JOIN chat.messages m"
    " ON m.user_id = d.user_id AND m.id = d.leaf_id"
    " WHERE d.user_id = k.user_id AND d.id = k.id) AS has_leaf,"
    " (SELECT m.id FROM chat.messages m WHERE m.user_id = k.user_id"
    " AND m.conversation_id = k.id ORDER BY m.position DESC LIMIT 1)"
    " AS newest) n"
    " WHERE c.user_id = k.user_id AND c.id = k.id"
    " AND (c.message_count <> n.messages OR NOT n.has_leaf)";

/* One try at a batch: arrays of users' and conversations' ids. */
static bool
try_count(PGconn *conn, const char *const *values, PGresult **out_failure)
{
	const char *const steps[] = {"BEGIN", lock_sql, count_sql, "COMMIT"};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		PGresult *r = PQexecParams(conn, steps[i],
		    i == 1 || i == 2 ? 2 : 0, NULL, values, NULL, NULL, 0);

		if (!ctl_is_ok(r)) {
			PQclear(PQexec(conn, "ROLLBACK"));
			*out_failure = r;
			return false;
		}
		PQclear(r);
	}
	return true;
}

enum ctl_exit
retention_count(PGconn *conn, const char *users, const char *ids)
{
	const char *values[] = {users, ids};

	for (int tries = 0;; tries++) {
		AUTO_PGRESULT PGresult *failure = NULL;

		if (try_count(conn, values, &failure))
			return CTL_OK;
		if (!jobs_is_passing(failure) || tries == TRIES)
			return ctl_refuse(
			    CTL_FAILED, "%s", ctl_pg_message(conn, failure));
		clock_sleep_ms(500);
	}
}

/* The next conversations with rows in the month, after $1 and $2. */
static const char next_sql[] =
    "SELECT array_agg(n.user_id), array_agg(n.conversation_id),"
    " count(*) FROM ("
    "SELECT DISTINCT m.user_id, m.conversation_id FROM chat.%s m"
    " WHERE (m.user_id, m.conversation_id) > ($1::uuid, $2::uuid)"
    " ORDER BY 1, 2 LIMIT " BATCH ") n";

/* The last element of an array of UUIDs as Postgres writes it. */
static void
last_of(const char *array, char out[static ID_TEXT])
{
	size_t n = strlen(array);

	/* {…,id} */
	memcpy(out, array + n - ID_TEXT, ID_TEXT - 1);
	out[ID_TEXT - 1] = '\0';
}

enum ctl_exit
retention_recount(struct retention *r, const char *part)
{
	char sql[SQL_MAX], user[ID_TEXT] = NOBODY, talk[ID_TEXT] = NOBODY;
	const char *after[] = {user, talk};
	enum ctl_exit code = CTL_OK;

	snprintf(sql, sizeof(sql), next_sql, part);
	while (code == CTL_OK) {
		AUTO_PGRESULT PGresult *next = NULL;

		code = ctl_query(r->conn, sql, 2, after, &next);
		if (code != CTL_OK || PQgetisnull(next, 0, 0))
			return code;
		code = retention_count(
		    r->conn, PQgetvalue(next, 0, 0), PQgetvalue(next, 0, 1));
		last_of(PQgetvalue(next, 0, 0), user);
		last_of(PQgetvalue(next, 0, 1), talk);
		clock_sleep_ms(PAUSE_MS);
	}
	return code;
}

/*
 * Each month's days from the last one that was summed up, and a week at least,
 * because rows may come late, to yesterday. What comes later still counts when
 * its month is dropped.
 */
static const char days_sql[] =
    "SELECT d.begins, d.ends FROM chat.months() m CROSS JOIN LATERAL (SELECT"
    " greatest(m.month, least(t.today - interval '7 days',"
    " coalesce((SELECT max(k.day)::timestamp AT TIME ZONE 'UTC'"
    " FROM chat.rollup_days k WHERE k.source = 'analytics'"
    " AND NOT k.is_closed), '-infinity'))) AS begins,"
    " least((m.month AT TIME ZONE 'UTC' + interval '1 month')"
    " AT TIME ZONE 'UTC', t.today) AS ends"
    " FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC')"
    " AT TIME ZONE 'UTC' AS today) t) d"
    " WHERE m.parent = 'analytics' AND NOT m.is_retired"
    " AND d.begins < d.ends ORDER BY 1";

enum ctl_exit
retention_roll_up(struct retention *r)
{
	AUTO_PGRESULT PGresult *days = NULL;
	enum ctl_exit code = ctl_query(r->conn, days_sql, 0, NULL, &days);

	for (int i = 0; code == CTL_OK && i < PQntuples(days); i++) {
		const char *values[] = {
		    pg_text(days, i, 0), pg_text(days, i, 1)};

		code = jobs_insist(r->conn,
		    "SELECT chat.roll_up('analytics', 'chat.analytics',"
		    " $1::timestamptz, $2::timestamptz, false)",
		    2, values);
	}
	return code;
}
