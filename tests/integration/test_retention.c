/*
 * natterctl retention run: every kind at its border, a dry run that tells what
 * the run does, months that go, sums that stay, and nobody who is disturbed.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"
#include "retention_world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

TestSuite(retention, .init = ages_begin, .fini = ages_end, .timeout = 300);

/* What a run says of a kind, or -1. */
static long
said(const char *out, const char *kind)
{
	size_t n = strlen(kind);

	for (const char *line = out; line != NULL && *line != '\0';
	     line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, kind, n) == 0 && line[n] == ' ')
			return strtol(line + n, NULL, 10);
	return -1;
}

/* One row over the border and one before it, each a minute away. */
static const struct {
	const char *kind;
	const char *sql;
	const char *left; /* 1 when the right one is left */
} borders[] = {
    {"system",
	"SELECT t.say(u, c, now() - interval '30 days' - i, 'system', 'rule')"
	" FROM k, g; UPDATE chat.messages SET tool_calls = '[1]',"
	" tool_responses = '[2]', used_documents = '[3]'"
	" WHERE role = 'system'",
	"SELECT count(*) FROM chat.messages WHERE role = 'system'"
	" AND content = 'rule' AND blanked_at IS NULL AND tool_calls = '[1]'"
	" AND tool_responses = '[2]' AND used_documents = '[3]'"
	" AND id > natter.uuid_floor(now() - interval '30 days')"},
    {"temporary",
	"CREATE TABLE n AS SELECT t.talk(u, now()) AS talk, i FROM k, g;"
	" UPDATE chat.conversations c SET expires_at = now() - n.i FROM n"
	" WHERE c.id = n.talk",
	"SELECT count(*) FROM chat.conversations"
	" WHERE expires_at > now() - interval '30 seconds'"},
    {"idle", "SELECT t.talk(u, now() - interval '90 days' - i) FROM k, g",
	"SELECT count(*) FROM chat.conversations WHERE NOT is_archived"
	" AND last_message_at BETWEEN now() - interval '90 days'"
	" AND now() - interval '89 days'"},
    {"conversations",
	"SELECT t.talk(u, now() - interval '365 days' - i) FROM k, g",
	"SELECT count(*) FROM chat.conversations"
	" WHERE last_message_at < now() - interval '300 days'"},
    {"sessions",
	"INSERT INTO auth.sessions (id, user_id, rt_secret, expires_at,"
	" idle_expires_at, created_at, last_activity) SELECT t.at(now()), u,"
	" sha256('x'), now(), now(), now() - interval '2 years',"
	" now() - interval '365 days' - i FROM k, g",
	"SELECT count(*) FROM auth.sessions"},
    {"api_keys",
	"INSERT INTO auth.api_keys (id, user_id, name, hash, ending, scopes,"
	" created_at, revoked_at) SELECT t.at(now()), u, 'x',"
	" sha256(i::text::bytea), 'abcd', '{read}', now() - interval '2 years',"
	" now() - interval '365 days' - i FROM k, g",
	"SELECT count(*) FROM auth.api_keys"},
    {"invites",
	"INSERT INTO auth.invites (id, code_hash, expires_at)"
	" SELECT t.at(now()), sha256(i::text::bytea), now() - i FROM g",
	"SELECT count(*) FROM auth.invites"},
    {"throttles",
	"INSERT INTO auth.login_throttle (key, kind, expires_at)"
	" SELECT sha256(i::text::bytea), 'address', now() - i FROM g",
	"SELECT count(*) FROM auth.login_throttle"},
    {"rates",
	"INSERT INTO auth.rate_buckets (key, level, expires_at)"
	" SELECT i::text, 1, now() - i FROM g",
	"SELECT count(*) FROM auth.rate_buckets"},
    {"budgets",
	"INSERT INTO chat.token_budgets (user_id, id, period, starts_on)"
	" SELECT u, t.at(now()), 'day', date_trunc('month', (now() - interval "
	"'730 days') AT TIME ZONE 'UTC')::date - (i > '0')::int FROM k, g",
	"SELECT count(*) FROM chat.token_budgets"},
};
#define N_BORDERS (sizeof(borders) / sizeof(borders[0]))

Test(retention, every_kind_takes_what_is_over_and_leaves_what_is_not)
{
	struct command_end dry, run;

	ages_sql("CREATE TABLE t.k AS SELECT u, t.talk(u, now()) AS c FROM "
		 "t.person('ada') u;"
		 "CREATE TABLE t.g AS SELECT unnest(ARRAY[interval '1 second', "
		 "interval '-1 minute']) AS i;");
	for (size_t i = 0; i < N_BORDERS; i++)
		ages_sql("SET search_path = t; %s", borders[i].sql);
	dry = RUN(admin_natterctl(), "retention", "run", "--dry-run");
	cr_assert_eq(dry.code, 0, "%s", dry.err);
	cr_expect_str_eq(ages_value("SELECT count(*) FROM auth.invites"), "2");
	cr_expect_str_eq(
	    ages_value(
		"SELECT count(*) FROM chat.conversations WHERE is_archived"),
	    "0");
	run = RUN(admin_natterctl(), "retention", "run");
	cr_assert_eq(run.code, 0, "%s", run.err);
	cr_expect_str_eq(dry.out, run.out);
	for (size_t i = 0; i < N_BORDERS; i++) {
		/* The two that are a year old are idle, too. */
		long want = strcmp(borders[i].kind, "idle") == 0 ? 3 : 1;

		cr_expect_eq(said(run.out, borders[i].kind), want, "%s: %s",
		    borders[i].kind, run.out);
		cr_expect_str_eq(ages_value("%s", borders[i].left), "1", "%s",
		    borders[i].kind);
	}
	command_end_clear(&dry);
	command_end_clear(&run);
	/* A blanked message stays where it was, with nothing in it. */
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.messages WHERE role = "
		       "'system' AND content = '' AND blanked_at IS NOT NULL"
		       " AND tool_calls = '[]' AND tool_responses = '[]'"
		       " AND used_documents = '[]'"),
	    "1");
	run = RUN(admin_natterctl(), "retention", "run");
	for (size_t i = 0; i < N_BORDERS; i++)
		cr_expect_eq(said(run.out, borders[i].kind), 0, "%s: %s",
		    borders[i].kind, run.out);
	command_end_clear(&run);
}

Test(retention, what_is_not_to_go_never_goes)
{
	static const char *const settings[] = {"IDLE", "SYSTEM", "MESSAGES",
	    "CONVERSATIONS", "SESSIONS", "TASK_LOG", "ANALYTICS", "USAGE"};
	char name[64];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(
		    name, sizeof(name), "CHAT_RETENTION_%s_DAYS", settings[i]);
		setenv(name, "0", 1);
	}
	ages_sql("SELECT t.say(u, t.talk(u, p), p, 'system') FROM "
		 "t.person('ada') u, (SELECT now() - interval '9 years' AS p) "
		 "x");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.messages JOIN "
		       "chat.conversations c USING (user_id) WHERE content = "
		       "'hello' AND NOT c.is_archived"),
	    "1");
}

Test(retention, who_fetches_a_conversation_back_keeps_it)
{
	ages_sql("SELECT t.talk(t.person('ada'), now() - interval '100 days')");
	EXPECT(0, "", "retention", "run");
	ages_sql("UPDATE chat.conversations SET is_archived = false, "
		 "archived_at = NULL");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(
	    ages_value("SELECT is_archived FROM chat.conversations"), "f");
}

/* Days since the end of the month before last, at this moment. */
static void
set_days(const char *setting, int more)
{
	setenv(setting,
	    ages_value("SELECT floor(extract(epoch FROM now() - "
		       "date_trunc('month', now() AT TIME ZONE 'UTC' - "
		       "interval '1 month') AT TIME ZONE 'UTC') / 86400)::int "
		       "+ %d",
		more),
	    1);
}

#define LAST_INSTANT                                                \
	"(date_trunc('month', now() AT TIME ZONE 'UTC' - interval " \
	"'1 month') AT TIME ZONE 'UTC' - interval '1 second')"

Test(retention, a_month_goes_when_its_last_message_is_old_enough)
{
	struct command_end dry, run;

	ages_sql(
	    "SELECT t.say(u, c, " LAST_INSTANT "), t.say(u, c, " LAST_INSTANT
	    " + interval '2 seconds') FROM (SELECT u, "
	    "t.talk(u, now()) AS c FROM t.person('ada') u OFFSET 0) k");
	set_days("CHAT_RETENTION_MESSAGES_DAYS", 1);
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(ages_value("SELECT count(*) FROM chat.messages"), "2");
	set_days("CHAT_RETENTION_MESSAGES_DAYS", 0);
	dry = RUN(admin_natterctl(), "retention", "run", "--dry-run");
	cr_expect_str_eq(ages_value("SELECT count(*) FROM chat.messages"), "2");
	run = RUN(admin_natterctl(), "retention", "run");
	cr_assert_eq(run.code, 0, "%s", run.err);
	cr_expect_str_eq(dry.out, run.out);
	cr_expect_eq(said(run.out, "messages"), 1, "%s", run.out);
	command_end_clear(&dry);
	command_end_clear(&run);
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.messages m JOIN "
		       "chat.conversations c ON c.leaf_id = m.id WHERE "
		       "c.message_count = 1"),
	    "1");
	cr_expect_str_eq(ages_value("SELECT count(*) FROM chat.months() WHERE "
				    "month < " LAST_INSTANT),
	    "0");
}

Test(retention, counts_and_leaves_stay_true_when_all_messages_go)
{
	setenv("CHAT_RETENTION_CONVERSATIONS_DAYS", "0", 1);
	ages_sql("SELECT t.say(u, c, p), t.say(u, c, p, 'assistant') FROM ("
		 "SELECT u, t.talk(u, now() - interval '500 days') AS c, "
		 "now() - interval '500 days' AS p FROM t.person('ada') u "
		 "OFFSET 0) k");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(
	    ages_value("SELECT message_count || ' ' || coalesce(leaf_id::text, "
		       "'none') || ' ' || next_position FROM "
		       "chat.conversations"),
	    "0 none 3");
}

Test(retention, a_reply_that_streams_is_left_alone)
{
	ages_sql(
	    "SELECT t.say(u, c, p, 'assistant') FROM (SELECT u, t.talk(u, p) "
	    "AS c, p FROM t.person('ada') u, (SELECT now() - interval '500 "
	    "days' AS p) x OFFSET 0) k;"
	    "INSERT INTO chat.running_replies (user_id, message_id, "
	    "conversation_id, worker_id) SELECT user_id, id, conversation_id, "
	    "id FROM chat.messages;"
	    "UPDATE chat.messages SET status = 'streaming', completed_at = "
	    "NULL");
	EXPECT(0, "a reply is being written there", "retention", "run");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.messages m JOIN "
		       "chat.conversations c ON c.id = m.conversation_id AND "
		       "NOT c.is_archived WHERE status = 'streaming'"),
	    "1");
	ages_sql("DELETE FROM chat.running_replies");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(ages_value("SELECT count(*) FROM chat.messages"), "0");
}

/* Somebody reads for seconds; writers must not queue behind us for long. */
Test(retention, nobody_waits_two_seconds_for_a_month_that_goes)
{
	const char *const argv[] = {
	    admin_natterctl(), "retention", "run", NULL};
	PGconn *reader, *writer;
	char sql[512];
	pid_t pid;

	ages_sql("SELECT t.say(u, c, now() - interval '500 days'), t.say(u, c, "
		 "now()) FROM (SELECT u, t.talk(u, now()) AS c FROM "
		 "t.person('ada') u OFFSET 0) k");
	reader = ages_hold("LOCK TABLE chat.messages IN ACCESS SHARE MODE");
	writer = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));
	PQclear(PQexec(writer, "SET lock_timeout = '2s'"));
	snprintf(sql, sizeof(sql),
	    "SELECT t.say(user_id, id, now()) FROM chat.conversations");
	pid = command_start(argv);
	for (int i = 0; i < 60; i++) {
		PGresult *r = PQexec(writer, sql);

		cr_assert_eq(PQresultStatus(r), PGRES_TUPLES_OK, "%s",
		    PQerrorMessage(writer));
		PQclear(r);
		usleep(50000);
		if (i == 40)
			PQfinish(reader);
	}
	cr_expect_eq(command_wait(pid), 0);
	PQfinish(writer);
	cr_expect_str_eq(
	    ages_value("SELECT count(*) || ' ' || max(c.message_count) FROM "
		       "chat.messages m JOIN chat.conversations c ON c.id = "
		       "m.conversation_id"),
	    "61 61");
}

Test(retention, two_at_once_are_one)
{
	PGconn *other = ages_hold("SELECT pg_advisory_lock(5211873014926423)");

	ages_sql("SELECT t.talk(t.person('ada'), now() - interval '2 years')");
	EXPECT(0, "another natterctl", "retention", "run");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.conversations"), "1");
	PQfinish(other);
}

/* Events of one day, from SQL's i = a to b. */
static void
events(const char *day, int a, int b)
{
	ages_sql("SELECT chat.create_month('analytics', %s); INSERT INTO "
		 "chat.analytics (user_id, id, category, name, value) SELECT "
		 "u.id, t.at(%s + i * interval '1 second'), 'reply', 'ms', i "
		 "FROM auth.users u, generate_series(%d, %d) i",
	    day, day, a, b);
}

#define SUMS                                                                 \
	"SELECT string_agg(concat_ws(' ', events, total, least, greatest), " \
	"', ' ORDER BY day) FROM chat.analytics_daily"
#define YESTERDAY "(date_trunc('day', now()) - interval '1 day')"
#define LONG_AGO  "(date_trunc('day', now()) - interval '200 days')"

Test(retention, events_are_summed_up_once_however_late_they_come)
{
	ages_sql("SELECT t.person('ada')");
	events(YESTERDAY, 1, 10);
	events("date_trunc('day', now())", 1, 1); /* not over yet */
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(ages_value(SUMS), "10 55 1 10");
	events(YESTERDAY, 11, 12);
	EXPECT(0, "", "retention", "run");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(ages_value(SUMS), "12 78 1 12");
}

Test(retention, sums_outlive_their_events_and_take_stragglers_once)
{
	ages_sql("SELECT t.person('ada')");
	events(LONG_AGO, 1, 10);
	EXPECT(0, "summed up and dropped", "retention", "run");
	cr_expect_str_eq(ages_value(SUMS), "10 55 1 10");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.analytics"), "0");
	/* Their month is gone: they lie in the default partition. */
	ages_sql("INSERT INTO chat.analytics (user_id, id, category, name, "
		 "value) SELECT u.id, t.at(" LONG_AGO "), 'reply', 'ms', 45 "
		 "FROM auth.users u");
	EXPECT(0, "out of the default partition", "retention", "run");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(ages_value(SUMS), "11 100 1 45");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.analytics"), "0");
}

Test(retention, usage_and_task_logs_go_by_the_month)
{
	ages_sql(
	    "SELECT t.person('ada');"
	    "SELECT chat.create_month(p, now() - i) FROM "
	    "unnest('{usage_tracking,task_operation_logs}'::name[]) p, "
	    "unnest('{800 days,600 days}'::interval[]) i;"
	    "INSERT INTO chat.usage_tracking (user_id, id, model, "
	    "prompt_tokens, completion_tokens, cost) SELECT id, t.at(now() - "
	    "i), 'm', 7, 3, 0.5 FROM auth.users, unnest('{800 days,600 "
	    "days}'::interval[]) i;"
	    "INSERT INTO chat.task_operation_logs (user_id, id, "
	    "operation_type) SELECT id, t.at(now() - i), 'read' FROM "
	    "auth.users, unnest('{800 days,600 days}'::interval[]) i");
	EXPECT(0, "", "retention", "run");
	cr_expect_str_eq(
	    ages_value(
		"SELECT (SELECT count(*) FROM chat.usage_tracking) || "
		"' ' || (SELECT count(*) FROM chat.task_operation_logs)"),
	    "1 1");
	cr_expect_str_eq(
	    ages_value("SELECT string_agg(name || ' ' || total, ', ' ORDER BY "
		       "name) FROM chat.analytics_daily"),
	    "cached_tokens 0, completion_tokens 3, cost 0.5, prompt_tokens 7");
}

Test(retention, months_are_made_ahead_and_strays_are_told)
{
	ages_sql("DROP TABLE chat.analytics_default, chat.messages_default;"
		 "SELECT t.person('ada')");
	EXPECT(0, "partitions made", "retention", "run");
	ages_sql("INSERT INTO chat.analytics (user_id, id, category, name) "
		 "SELECT id, 'ffffffff-ffff-7000-8000-000000000000', 'a', 'b' "
		 "FROM auth.users");
	EXPECT(1, "of no plausible time", "retention", "run");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.analytics"), "1");
	EXPECT(0, "All is well", "migrate", "verify");
}

/* Every table that has a user_id, months that are taken out included. */
static const char traces_sql[] =
    "SELECT coalesce(sum((xpath('/row/c/text()', query_to_xml(format('SELECT "
    "count(*) AS c FROM %s WHERE user_id = %L', a.attrelid::regclass, "
    "(SELECT id FROM t.gone)), false, true, '')))[1]::text::int), 0) FROM "
    "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attname = "
    "'user_id' AND NOT a.attisdropped AND c.relkind = 'r' AND c.relnamespace "
    "IN ('chat'::regnamespace, 'auth'::regnamespace) AND c.relname <> "
    "'user_ends'" /* told to Redis, and forgotten after an hour */;

Test(retention, of_a_deleted_user_nothing_is_left_anywhere)
{
	ages_sql(
	    "CREATE TABLE t.gone AS SELECT t.person('ada') AS id;"
	    "SELECT t.say(id, c, now() - interval '500 days'), t.say(id, c, "
	    "now()) FROM (SELECT id, t.talk(id, now()) AS c FROM t.gone OFFSET "
	    "0) k; SELECT t.say(id, t.talk(id, p), p) FROM t.gone, (SELECT "
	    "now() - interval '380 days' AS p) x;"
	    "SELECT t.say(id, t.talk(id, p), p, 'user', 'stays') FROM "
	    "t.person('bob') id, (SELECT now() - interval '500 days' AS p) x");
	EXPECT(0, "", "retention", "run");
	/* A month that a broken-off run left behind. */
	ages_sql("SELECT t.say(id, (SELECT c.id FROM chat.conversations c "
		 "WHERE c.user_id = g.id), now() - interval '450 days') FROM "
		 "t.gone g; SELECT chat.retire_partition(part) FROM "
		 "chat.months() WHERE parent = 'messages' AND month < now() - "
		 "interval '400 days'");
	cr_expect_str_neq(ages_value("%s", traces_sql), "0");
	EXPECT(0, "Deleted ada", "user", "delete", "ada", "--yes");
	cr_expect_str_eq(ages_value("%s", traces_sql), "0");
	EXPECT(0, "erased", "retention", "run");
	EXPECT_END(RUN("sh", "-c",
		       "cat \"$CHAT_ARCHIVE_DIR\"/*.json; zcat "
		       "\"$CHAT_ARCHIVE_DIR\"/*.gz"),
	    0, "stays");
	cr_expect_eq(setenv("GONE", ages_value("SELECT id FROM t.gone"), 1), 0);
	EXPECT_END(RUN("sh", "-c",
		       "{ cat \"$CHAT_ARCHIVE_DIR\"/*.json; zcat "
		       "\"$CHAT_ARCHIVE_DIR\"/*.gz; } | grep -c \"$GONE\""),
	    1, "0");
	EXPECT(0, "good", "archive", "verify");
}
