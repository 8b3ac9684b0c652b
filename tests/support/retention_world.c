/*
 * See retention_world.h. Stands on admin.h; knows no test.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin.h"
#include "retention_world.h"
#include "utc_day.h"

static char database[48];
static char folder[64];

static const char functions[] =
    "CREATE SCHEMA t;"
    "CREATE FUNCTION t.at(p timestamptz) RETURNS uuid LANGUAGE sql VOLATILE "
    "RETURN (left(natter.uuid_floor(p)::text, 14) || '7' ||"
    " right(gen_random_uuid()::text, 21))::uuid;"
    "CREATE FUNCTION t.person(p text) RETURNS uuid LANGUAGE sql AS $$"
    " INSERT INTO auth.users (id, username) VALUES (t.at(now()), p)"
    " RETURNING id $$;"
    "CREATE FUNCTION t.talk(u uuid, p timestamptz) RETURNS uuid"
    " LANGUAGE sql AS $$ INSERT INTO chat.conversations (user_id, id,"
    " short_id, last_message_at, created_at, updated_at)"
    " VALUES (u, t.at(p), left(gen_random_uuid()::text, 13), p, p, p)"
    " RETURNING id $$;"
    "CREATE FUNCTION t.say(u uuid, c uuid, p timestamptz,"
    " r text DEFAULT 'user', x text DEFAULT 'hello') RETURNS uuid"
    " LANGUAGE plpgsql AS $$ DECLARE i uuid := t.at(p); BEGIN"
    " PERFORM chat.create_month('messages', p);"
    " INSERT INTO chat.messages (user_id, id, conversation_id, parent_id,"
    " position, role, content, status, completed_at, created_at, updated_at)"
    " SELECT u, i, c, k.leaf_id, k.next_position, r, x, 'complete', p, p, p"
    " FROM chat.conversations k WHERE k.user_id = u AND k.id = c;"
    " UPDATE chat.conversations k SET message_count = k.message_count + 1,"
    " next_position = k.next_position + 1, leaf_id = i,"
    " updated_at = k.updated_at - interval '1 microsecond'"
    " WHERE k.user_id = u AND k.id = c; RETURN i; END $$;";

void
ages_begin(void)
{
	static const char *const settings[] = {"IDLE", "SYSTEM", "MESSAGES",
	    "CONVERSATIONS", "SESSIONS", "TASK_LOG", "ANALYTICS", "USAGE"};
	char name[64];

	utc_day_begin();
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(
		    name, sizeof(name), "CHAT_RETENTION_%s_DAYS", settings[i]);
		unsetenv(name);
	}
	unsetenv("CREDENTIALS_DIRECTORY");
	snprintf(database, sizeof(database), "natter_ages_%d", getpid());
	admin_schema(database);
	setenv("JOBS_DATABASE_URL", admin_url("natter_jobs"), 1);
	strcpy(folder, "/tmp/natter-archive-XXXXXX");
	if (mkdtemp(folder) == NULL)
		abort();
	setenv("CHAT_ARCHIVE_DIR", folder, 1);
	admin_sql(functions);
}

void
ages_end(void)
{
	struct command_end end = RUN("rm", "-rf", folder);

	command_end_clear(&end);
	admin_drop(database);
}

const char *
ages_folder(void)
{
	return folder;
}

void
ages_sql(const char *fmt, ...)
{
	char *sql = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sql, fmt, ap) < 0)
		abort();
	va_end(ap);
	admin_sql(sql);
	free(sql);
}

const char *
ages_value(const char *fmt, ...)
{
	static char *kept[4];
	static unsigned next;
	char *sql = NULL, **value = &kept[next++ % 4];
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sql, fmt, ap) < 0)
		abort();
	va_end(ap);
	free(*value);
	*value = admin_value(sql);
	free(sql);
	return *value;
}

const char *
ages_hash(const char *table)
{
	return ages_value(
	    "SELECT count(*) || ' ' || encode(sha256(convert_to(coalesce("
	    "string_agg(row_to_json(x)::text, E'\\n' ORDER BY "
	    "row_to_json(x)::text), ''), 'UTF8')), 'hex') FROM %s "
	    "x",
	    table);
}

PGconn *
ages_hold(const char *sql)
{
	PGconn *conn = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));
	PGresult *r = PQexec(conn, "BEGIN");

	PQclear(r);
	r = PQexec(conn, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK &&
	    PQresultStatus(r) != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(conn));
		abort();
	}
	PQclear(r);
	return conn;
}

/* Waits until `sql` is true, at most 30 s. */
static void
wait_until_true(const char *sql, const char *otherwise)
{
	struct timespec nap = {0, 20000000};

	for (int i = 0; i < 1500; i++) {
		if (strcmp(ages_value("%s", sql), "t") == 0)
			return;
		(void)nanosleep(&nap, NULL);
	}
	fprintf(stderr, "%s\n", otherwise);
	abort();
}

void
ages_wait_for_waiter(void)
{
	wait_until_true("SELECT count(*) > 0 FROM pg_stat_activity"
			" WHERE datname = current_database()"
			" AND application_name = 'natterctl'"
			" AND usename = 'natter_jobs'"
			" AND wait_event_type = 'Lock'",
	    "no natterctl waits for a lock");
}

void
ages_wait_until_alone(void)
{
	wait_until_true("SELECT count(*) = 0 FROM pg_stat_activity"
			" WHERE datname = current_database()"
			" AND usename = 'natter_jobs'",
	    "a natterctl that was killed is still there");
}
