/*
 * What the migrations promise beyond row level security: verify notices what
 * is amiss, partitions come and take their strays, updated_at keeps itself,
 * deletion reaches everything, dead workers' replies end.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

static char database[48];

static void
begin(void)
{
	snprintf(database, sizeof(database), "natter_schema_%d", getpid());
	admin_schema(database);
}

static void
end(void)
{
	admin_drop(database);
}

TestSuite(schema, .init = begin, .fini = end, .timeout = 120);

Test(schema, verify_names_whatever_is_amiss)
{
	static const struct {
		const char *break_it;
		const char *says;
		const char *mend_it;
	} rows[] = {
	    {"CREATE TABLE chat.bare (user_id uuid)",
		"table of users' rows without forced row level security: "
		"chat.bare",
		"DROP TABLE chat.bare"},
	    {"ALTER TABLE auth.sessions NO FORCE ROW LEVEL SECURITY",
		"without forced row level security: auth.sessions",
		"ALTER TABLE auth.sessions FORCE ROW LEVEL SECURITY"},
	    {"ALTER POLICY own ON chat.conversations WITH CHECK (true)",
		"without a policy that binds reading and writing to "
		"app.user_id: chat.conversations",
		NULL},
	    {"CREATE POLICY leak ON chat.messages FOR SELECT USING (true)",
		"see more than their own: leak on chat.messages",
		"DROP POLICY leak ON chat.messages"},
	    {"GRANT SELECT ON chat.messages_default TO natter_app",
		"partition that can be reached without its table: "
		"chat.messages_default",
		"REVOKE ALL ON chat.messages_default FROM natter_app"},
	    {"DROP TABLE chat.usage_tracking_default",
		"or a default one: chat.usage_tracking",
		"SELECT chat.create_partitions(3)"},
	    {"ALTER TABLE chat.workers OWNER TO natter_app",
		"does not belong to natter_owner: chat.workers",
		"ALTER TABLE chat.workers OWNER TO natter_owner"},
	    {"GRANT EXECUTE ON FUNCTION natter.uuid_floor TO PUBLIC",
		"function that everybody may run: natter.uuid_floor",
		"REVOKE ALL ON FUNCTION natter.uuid_floor FROM PUBLIC"},
	    {"ALTER FUNCTION chat.take_lost_replies RESET search_path",
		"without a fixed search_path: chat.take_lost_replies",
		"ALTER FUNCTION chat.take_lost_replies SET search_path = "
		"pg_catalog, pg_temp"},
	    {"ALTER TABLE audit.log_default DISABLE TRIGGER refuse",
		"table of the audit log that could be changed: "
		"audit.log_default",
		"ALTER TABLE audit.log_default ENABLE TRIGGER refuse"},
	    {"GRANT DELETE ON audit.chain TO natter_jobs",
		"table of the audit log that could be changed: audit.chain",
		"REVOKE DELETE ON audit.chain FROM natter_jobs"},
	    {"ALTER TABLE auth.sessions DISABLE TRIGGER USER",
		"whose changes leave no row in the audit log: auth.sessions",
		"ALTER TABLE auth.sessions ENABLE TRIGGER USER"},
	    {"CREATE TABLE chat.bare (a int)",
		"whose changes leave no row in the audit log: chat.bare",
		"DROP TABLE chat.bare"},
	    {"GRANT SELECT ON chat.workers TO PUBLIC",
		"right that everybody has: chat.workers",
		"REVOKE ALL ON chat.workers FROM PUBLIC"},
	    {"COMMENT ON SCHEMA chat IS NULL", "schema without a comment: chat",
		"COMMENT ON SCHEMA chat IS 'x'"},
	    {"COMMENT ON TABLE chat.workers IS NULL",
		"table without a comment: chat.workers",
		"COMMENT ON TABLE chat.workers IS 'x'"},
	    {"ALTER TABLE chat.workers ADD COLUMN x int",
		"column without a comment: chat.workers.x",
		"ALTER TABLE chat.workers DROP COLUMN x"},
	    {"COMMENT ON FUNCTION natter.uuid_floor IS NULL",
		"function without a comment: natter.uuid_floor",
		"COMMENT ON FUNCTION natter.uuid_floor IS 'x'"},
	    {"CREATE INDEX idx_dumb ON chat.workers (pid)",
		"index that does not say what it is for: chat.idx_dumb",
		"DROP INDEX chat.idx_dumb"},
	    {"DELETE FROM natter.schema_migrations WHERE version = "
	     "(SELECT max(version) FROM natter.schema_migrations)",
		" is not applied", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		admin_sql(rows[i].break_it);
		EXPECT(1, rows[i].says, "migrate", "verify");
		if (rows[i].mend_it != NULL) {
			admin_sql(rows[i].mend_it);
			continue;
		}
		/* The files mend themselves: run them again. */
		admin_sql("TRUNCATE natter.schema_migrations");
		EXPECT(0, "applied", "migrate", "up");
	}
	EXPECT(0, "All is well", "migrate", "verify");
}

/* A user with a conversation; ids are fixed. */
#define USER "00000000-0000-7000-8000-00000000000a"
#define TALK "01900000-0000-7000-8000-000000000001"
static const char talk_sql[] =
    "INSERT INTO auth.users (id, username) VALUES ('" USER "', 'a');"
    "INSERT INTO chat.conversations (user_id, id, short_id)"
    " VALUES ('" USER "', '" TALK "', 'abc')";

/* Messages whose ids are of these times. */
#define MESSAGES(times)                                                        \
	"INSERT INTO chat.messages (user_id, id, conversation_id, position,"   \
	" role, content, status) SELECT '" USER "', overlay(natter.uuid_floor" \
	"(t)::text placing '7001-8000-000000000001' from 15)::uuid, '" TALK    \
	"', row_number() OVER (), 'user', 'x', 'complete' FROM " times " t"

Test(schema, uuid_floor_bounds_the_ids_of_a_time)
{
	EXPECT_VALUE("SELECT natter.uuid_floor('2022-02-22 19:22:22Z')",
	    "017f22e2-79b0-0000-0000-000000000000");
	EXPECT_VALUE("SELECT natter.uuid_floor('1969-01-01')",
	    "00000000-0000-0000-0000-000000000000");
	EXPECT_VALUE("SELECT natter.uuid_floor('infinity')",
	    "ffffffff-ffff-0000-0000-000000000000");
	EXPECT_VALUE("SELECT natter.uuid_floor(NULL) IS NULL", "t");
}

Test(schema, ids_lie_in_the_partition_of_their_month)
{
	admin_sql(talk_sql);
	admin_sql(MESSAGES("generate_series(date_trunc('month', now() AT TIME "
			   "ZONE 'UTC') AT TIME ZONE 'UTC', now() + "
			   "'2 months', '1 day')"));
	EXPECT_VALUE("SELECT count(*) FROM chat.messages_default", "0");
	EXPECT_VALUE(
	    "SELECT bool_and(tableoid::regclass::text = 'chat.messages_' || "
	    "to_char(to_timestamp(('x' || translate(left(id::text, 13), '-', "
	    "''))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC', 'YYYY_MM')) "
	    "FROM chat.messages",
	    "t");
}

Test(schema, new_partitions_take_the_strays_out_of_the_default_one)
{
	admin_sql(talk_sql);
	admin_sql(MESSAGES("generate_series(now() - interval '14 months', "
			   "now() + '8 months', '20 days')"));
	EXPECT_VALUE("SELECT count(*) > 10 FROM chat.messages_default", "t");
	admin_sql("SET ROLE natter_jobs; SELECT chat.create_partitions(9, "
		  "now() - interval '15 months')");
	EXPECT_VALUE("SELECT count(*) FROM chat.messages_default", "0");
	EXPECT_VALUE("SELECT count(*) FROM chat.messages", "34");
	EXPECT_VALUE("SELECT chat.create_partitions(9)", "0");
	EXPECT(0, "All is well", "migrate", "verify");
}

Test(schema, create_partitions_refuses_what_makes_no_sense)
{
	EXPECT_END(RUN("psql", "-X", "-d", admin_url("natter_jobs"), "-c",
		       "SELECT chat.create_partitions(1000)"),
	    1, "0 to 120 months");
	EXPECT_END(RUN("psql", "-X", "-d", admin_url("natter_app"), "-c",
		       "SELECT chat.create_partitions(1)"),
	    1, "permission denied");
}

Test(schema, updated_at_keeps_itself_and_an_import_may_set_it)
{
	admin_sql(talk_sql);
	admin_sql("UPDATE chat.conversations SET updated_at = '2001-01-01Z'");
	EXPECT_VALUE("SELECT updated_at = '2001-01-01Z' FROM "
		     "chat.conversations",
	    "t");
	admin_sql("UPDATE chat.conversations SET title = 'x'");
	EXPECT_VALUE("SELECT updated_at > now() - interval '1 minute' FROM "
		     "chat.conversations",
	    "t");
	EXPECT_VALUE(
	    "SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class c "
	    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = "
	    "'updated_at' WHERE c.relkind IN ('r', 'p') AND NOT EXISTS ("
	    "SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = "
	    "'set_updated_at')",
	    "");
}

Test(schema, deleting_a_user_leaves_no_row_of_theirs)
{
	static const char left[] =
	    "SELECT sum((xpath('/row/n/text()', query_to_xml(format('SELECT "
	    "count(*) AS n FROM %s', c.oid::regclass), false, true, '')))[1]"
	    "::text::int) FROM pg_class c JOIN pg_attribute a ON a.attrelid = "
	    "c.oid AND a.attname = 'user_id' WHERE c.relkind IN ('r', 'p') AND "
	    "NOT c.relispartition AND c.relnamespace IN ('auth'::regnamespace, "
	    "'chat'::regnamespace) AND c.relname <> 'user_ends'";

	admin_sql(talk_sql);
	admin_sql(MESSAGES("generate_series(now(), now() + '2 months', "
			   "'1 month')"));
	admin_sql(
	    "INSERT INTO auth.sessions (id, user_id, rt_secret, expires_at, "
	    "idle_expires_at) VALUES ('" TALK "', '" USER "', sha256(''), "
	    "now() + '1 day', now() + '1 day');"
	    "INSERT INTO auth.refresh_tokens (id, user_id, session_id, "
	    "generation, expires_at) VALUES ('" TALK "', '" USER "', '" TALK
	    "', 0, now());"
	    "INSERT INTO chat.running_replies (user_id, message_id, "
	    "conversation_id, worker_id) VALUES ('" USER "', '" TALK "', '" TALK
	    "', '" TALK "');"
	    "INSERT INTO chat.usage_tracking (user_id, id, model) VALUES "
	    "('" USER "', '" TALK "', 'm')");
	EXPECT_VALUE(left, "8");
	/* As the function of an administrator would, past row security. */
	admin_sql("SET ROLE natter_auth; DELETE FROM auth.users");
	EXPECT_VALUE(left, "0");
	/* That they went stays for some minutes, for Redis to hear of. */
	EXPECT_VALUE("SELECT count(*) FROM auth.user_ends", "1");
}

#define SWEEPER "01900000-0000-7000-8000-0000000000ff"
#define TAKE                                         \
	"SET ROLE natter_app; SELECT count(*) FROM " \
	"chat.take_lost_replies('" SWEEPER "', '10 s', 100)"
#define SWEEP                                                        \
	"SET ROLE natter_app; SELECT count(*) FILTER (WHERE "        \
	"chat.end_taken_reply(t.user_id, t.message_id, NULL)) FROM " \
	"chat.take_lost_replies('" SWEEPER "', '10 s', 100) t"

Test(schema, a_sweep_ends_replies_of_dead_workers_only)
{
	admin_sql(talk_sql);
	admin_sql(
	    "INSERT INTO chat.messages (user_id, id, conversation_id, "
	    "position, role, content, status) SELECT '" USER "', ('0190000"
	    "0-0000-7000-8000-00000000010' || i)::uuid, '" TALK "', i, "
	    "'assistant', 'half', 'streaming' FROM generate_series(1, 4) i;"
	    "INSERT INTO chat.workers (id, host, pid, seen_at) VALUES "
	    "('" USER "', 'h', 1, now()), ('" TALK "', 'h', 2, now() - "
	    "interval '1 hour');"
	    /* 1: alive; 2: dead; 3: never seen; 4: just begun, not seen. */
	    "INSERT INTO chat.running_replies (user_id, message_id, "
	    "conversation_id, parent_id, worker_id, started_at) SELECT "
	    "user_id, id, conversation_id, id, (ARRAY['" USER "', '" TALK "', "
	    "gen_random_uuid()::text, gen_random_uuid()::text])[position]"
	    "::uuid, now() - CASE position WHEN 4 THEN interval '1 s' ELSE "
	    "interval '5 min' END FROM chat.messages;"
	    /* A row whose message is gone. */
	    "INSERT INTO chat.running_replies VALUES ('" USER "', '" TALK "', "
	    "'" TALK "', NULL, '" TALK "', now() - interval '5 min')");
	EXPECT_VALUE(SWEEP, "3");
	EXPECT_VALUE("SELECT string_agg(status, ' ' ORDER BY position) FROM "
		     "chat.messages",
	    "streaming interrupted interrupted streaming");
	EXPECT_VALUE("SELECT count(*) FROM chat.messages WHERE completed_at "
		     "IS NOT NULL AND content = 'half'",
	    "2");
	EXPECT_VALUE("SELECT count(*) FROM chat.running_replies", "2");
	EXPECT_VALUE("SELECT count(*) FROM chat.workers", "1");
	EXPECT_VALUE(SWEEP, "0");
}

Test(schema, a_sweep_skips_a_reply_that_is_being_finished)
{
	PGconn *busy;

	admin_sql(talk_sql);
	admin_sql(MESSAGES("generate_series(now(), now(), '1 day')"));
	admin_sql("UPDATE chat.messages SET role = 'assistant', status = "
		  "'streaming'; INSERT INTO chat.running_replies SELECT "
		  "user_id, id, conversation_id, NULL, id, now() - "
		  "interval '1 min' FROM chat.messages");
	busy = PQconnectdb(admin_url("postgres"));
	PQclear(PQexec(busy, "UPDATE chat.messages SET content = 'y', "
			     "status = 'complete'"));
	PQclear(
	    PQexec(busy, "BEGIN; SELECT FROM chat.running_replies FOR UPDATE"));
	/* Whose row is held is not taken. */
	EXPECT_VALUE("SET lock_timeout = '1s'; " TAKE, "0");
	PQclear(PQexec(busy, "ROLLBACK"));
	EXPECT_VALUE(TAKE, "1");
	/* Its own worker was only stopped, and wakes: it ends its reply. */
	PQclear(PQexec(busy, "DELETE FROM chat.running_replies"));
	EXPECT_VALUE(SWEEP, "0");
	EXPECT_VALUE("SELECT status FROM chat.messages", "complete");
	PQfinish(busy);
}

Test(schema, states_that_make_no_sense_are_refused)
{
	static const struct {
		const char *sql;
		const char *constraint;
	} rows[] = {
	    {"UPDATE auth.users SET role = 'root'", "users_role"},
	    {"UPDATE auth.users SET issuer = 'x'", "users_external"},
	    {"UPDATE auth.users SET issuer = 'x', external_id = repeat('x', "
	     "256)",
		"users_external_id"},
	    {"UPDATE auth.users SET metadata = '[]'", "users_metadata"},
	    {"UPDATE chat.conversations SET title = repeat('x', 201)",
		"conversations_title"},
	    {"UPDATE chat.conversations SET archived_at = now()",
		"conversations_archived"},
	    {"UPDATE chat.conversations SET message_count = -1",
		"conversations_message_count"},
	    {"UPDATE chat.messages SET role = 'robot'", "messages_role"},
	    {"UPDATE chat.messages SET status = 'streaming'",
		"messages_streaming"},
	    {"UPDATE chat.messages SET tool_calls = '{}'",
		"messages_tool_calls"},
	    {"UPDATE chat.messages SET conversation_id = user_id",
		"messages_conversation_fkey"},
	};

	admin_sql(talk_sql);
	admin_sql(MESSAGES("generate_series(now(), now(), '1 day')"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		EXPECT_END(RUN("psql", "-X", "-d", admin_url("postgres"), "-c",
			       rows[i].sql),
		    1, rows[i].constraint);
}
