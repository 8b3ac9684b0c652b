/*
 * Archives: nothing is lost and nothing comes twice, whenever natterctl is
 * killed; what is damaged or cannot be written is noticed and nothing is
 * dropped; what is restored is what was there.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <signal.h>
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

TestSuite(archive, .init = ages_begin, .fini = ages_end, .timeout = 300);

/*
 * Two users; a talk of today with a message of 500 days ago, and a talk of 380
 * days ago with feedback. All ids of messages and conversations are in t.ids.
 */
static void
fill(void)
{
	ages_sql(
	    "SELECT t.person('ada'), t.person('bob');"
	    "SELECT t.say(u.id, c, now() - interval '500 days', 'user', "
	    "E'line\\nline \\\\ \"quoted\" \\u00e4' || i), t.say(u.id, c, "
	    "now()) FROM (SELECT u.id, t.talk(u.id, now()) AS c, i FROM "
	    "auth.users u, generate_series(1, 20) i OFFSET 0) u;"
	    "SELECT t.say(u.id, c, p) FROM (SELECT u.id, t.talk(u.id, p) AS c, "
	    "p FROM auth.users u, generate_series(1, 20), (SELECT now() - "
	    "interval '380 days' AS p) x OFFSET 0) u;"
	    "UPDATE chat.conversations SET tags = '{a,\"b c\"}', metadata = "
	    "'{\"k\": 1.50}';"
	    "INSERT INTO chat.message_feedback (user_id, message_id, "
	    "conversation_id, rating) SELECT user_id, id, conversation_id, 1 "
	    "FROM chat.messages;"
	    "CREATE TABLE t.ids AS SELECT id FROM chat.messages UNION ALL "
	    "SELECT id FROM chat.conversations");
}

/* All ids that are in the database (retired months too) or in an archive. */
static void
expect_nothing_lost(void)
{
	char path[128], sql[400];
	struct command_end end;

	snprintf(path, sizeof(path), "%s/.ids", ages_folder());
	end = RUN("sh", "-c",
	    "cd \"$CHAT_ARCHIVE_DIR\" && for m in *.json; do [ -e \"$m\" ] || "
	    "continue; zcat \"$(sed -n 's/.*\"file\": "
	    "*\"\\([^\"]*\\)\".*/\\1/p' "
	    "\"$m\")\"; done | sed -n 's/^{\"table\":\"\\(messages\\|"
	    "conversations\\)\",\"row\":{\"user_id\":\"[^\"]*\",\"id\":\""
	    "\\([^\"]*\\).*/\\2/p' | sort > .ids; chmod 711 .; chmod 644 .ids");
	cr_assert_eq(end.code, 0, "%s", end.err);
	command_end_clear(&end);
	ages_sql("DROP TABLE IF EXISTS t.archived; CREATE TABLE t.archived (id "
		 "uuid)");
	snprintf(sql, sizeof(sql), "\\copy t.archived from '%s'", path);
	EXPECT_END(RUN("psql", "-X", "-d", getenv("SUPERUSER_DATABASE_URL"),
		       "-c", sql),
	    0, "COPY");
	(void)unlink(path);
	EXPECT_END(RUN("chmod", "700", ages_folder()), 0, "");
	cr_expect_str_eq(
	    ages_value(
		"SELECT count(*) FROM t.ids i WHERE NOT EXISTS (SELECT FROM "
		"t.archived a WHERE a.id = i.id) AND NOT EXISTS (SELECT FROM "
		"chat.messages m WHERE m.id = i.id) AND NOT EXISTS (SELECT "
		"FROM chat.conversations c WHERE c.id = i.id)"),
	    "0");
}

/*
 * Where a run is stopped: a lock that it comes to wait for, after which it is
 * killed.
 */
static const struct {
	const char *phase;
	const char *lock;
} phases[] = {
    {"before it reads a month", "LOCK TABLE chat.messages"},
    {"when the month is archived and not taken out",
	"LOCK TABLE chat.messages IN ROW EXCLUSIVE MODE"},
    {"when the month is taken out and not counted",
	"SELECT id FROM chat.conversations WHERE last_message_at > now() - "
	"interval '1 day' FOR UPDATE"},
    {"when the month is counted and not dropped",
	"LOCK TABLE chat.conversations IN ACCESS SHARE MODE"},
    {"while it writes conversations", "LOCK TABLE chat.message_feedback"},
    {"when conversations are archived and not deleted",
	"LOCK TABLE chat.tasks IN SHARE MODE"},
};

Test(archive, a_run_that_is_killed_loses_nothing_and_the_next_one_goes_on)
{
	const char *const argv[] = {
	    admin_natterctl(), "retention", "run", NULL};

	fill();
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		PGconn *held = ages_hold(phases[i].lock);
		pid_t pid = command_start(argv);

		ages_wait_for_waiter();
		kill(pid, SIGKILL);
		cr_assert_eq(command_wait(pid), -1, "%s", phases[i].phase);
		PQfinish(held);
		expect_nothing_lost();
	}
	ages_wait_until_alone();
	EXPECT(0, "", "retention", "run");
	expect_nothing_lost();
	/* Nothing lies about that no manifest names. */
	EXPECT_END(RUN("sh", "-c",
		       "cd \"$CHAT_ARCHIVE_DIR\" && ls -A | grep -v json$ | "
		       "wc -l; ls *.json | wc -l"),
	    0, "3\n3\n");
	EXPECT(0, "good", "archive", "verify");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) || ' ' || (SELECT count(*) FROM "
		       "chat.conversations WHERE message_count = 1) FROM "
		       "chat.messages"),
	    "40 40");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM t.archived a WHERE EXISTS (SELECT "
		       "FROM chat.messages m WHERE m.id = a.id) OR EXISTS "
		       "(SELECT FROM chat.conversations c WHERE c.id = a.id)"),
	    "0");
}

Test(archive, what_is_restored_is_what_was_there)
{
	char before[4][160];
	static const char *const tables[] = {
	    "(SELECT * FROM chat.messages)",
	    "(SELECT user_id, id, title, tags, metadata, message_count, "
	    "next_position, last_message_at FROM chat.conversations)",
	    "chat.message_feedback",
	};

	fill();
	for (size_t i = 0; i < 3; i++)
		snprintf(
		    before[i], sizeof(before[i]), "%s", ages_hash(tables[i]));
	EXPECT(0, "", "retention", "run");
	cr_expect_str_neq(ages_hash(tables[0]), before[0]);
	EXPECT(0, "messages-", "archive", "list");
	/* The conversations first: the messages need them. */
	EXPECT_END(RUN("sh", "-c",
		       "set -e; for f in \"$CHAT_ARCHIVE_DIR\"/conv*.json "
		       "\"$CHAT_ARCHIVE_DIR\"/mess*.json; do "
		       "\"${NATTERCTL:-./natterctl}\" archive restore "
		       "\"$(basename \"$f\" .json)\"; done"),
	    0, "restored");
	for (size_t i = 0; i < 3; i++)
		cr_expect_str_eq(
		    ages_hash(tables[i]), before[i], "%s", tables[i]);
	EXPECT_END(RUN("sh", "-c",
		       "set -e; for f in \"$CHAT_ARCHIVE_DIR\"/*.json; do "
		       "\"${NATTERCTL:-./natterctl}\" archive restore "
		       "\"$(basename \"$f\" .json)\"; done"),
	    0, "restored 0 rows");
	for (size_t i = 0; i < 3; i++)
		cr_expect_str_eq(
		    ages_hash(tables[i]), before[i], "%s", tables[i]);
	/* The same month, archived again, is the same archive. */
	EXPECT(0, "", "retention", "run");
	EXPECT_END(
	    RUN("sh", "-c", "ls \"$CHAT_ARCHIVE_DIR\"/mess*.json | wc -l"), 0,
	    "1");
}

/* What lies in the folder and is no manifest; each made by a command. */
static const char *const strangers[] = {
    "echo '{\"a\": 1}' > a.json",
    "echo no JSON > a.json",
    "echo '[]' > a.json",
    "sed 's/\"users\": *\\[/&null,/' messages*.json > a.json",
    ": > a.json",
    "ln -s messages*.json a.json",
    "ln -s nowhere a.json",
    "ln -s a.json a.json",
    "mkdir a.json",
    "mkfifo a.json",
};

Test(archive, what_is_no_manifest_is_named_and_the_others_are_read)
{
	fill();
	EXPECT(0, "", "retention", "run");
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		static const struct {
			const char *command, *shown;
		} rows[] = {{"list", "  20"}, {"verify", "  good\n"}};

		char made[256];

		snprintf(made, sizeof(made), "cd \"$CHAT_ARCHIVE_DIR\" && %s",
		    strangers[i]);
		EXPECT_END(RUN("sh", "-c", made), 0, "");
		for (size_t k = 0; k < 2; k++) {
			struct command_end e =
			    RUN(admin_natterctl(), "archive", rows[k].command);
			size_t shown = 0;

			cr_expect_eq(e.code, 1, "%s: %d", strangers[i], e.code);
			cr_expect_not_null(
			    strstr(e.err, "a.json in CHAT_ARCHIVE_DIR is "
					  "unusable"),
			    "%s: %s", strangers[i], e.err);
			for (const char *at = e.out;
			     (at = strstr(at, rows[k].shown)) != NULL; at++)
				shown++;
			cr_expect_geq(shown, 2, "%s: %s", strangers[i], e.out);
			cr_expect_not_null(strstr(e.out, "messages-"));
			command_end_clear(&e);
		}
		EXPECT_END(
		    RUN("sh", "-c", "rm -r \"$CHAT_ARCHIVE_DIR\"/a.json"), 0,
		    "");
	}
	EXPECT(0, "good", "archive", "verify");
}

Test(archive, a_reply_that_was_being_written_comes_back_interrupted)
{
	fill();
	ages_sql("UPDATE chat.messages SET status = 'streaming', role ="
		 " 'assistant', completed_at = NULL WHERE id <"
		 " natter.uuid_floor(now() - interval '450 days') AND user_id ="
		 " (SELECT id FROM auth.users WHERE username = 'ada')");
	EXPECT(0, "", "retention", "run");
	EXPECT_END(
	    RUN("sh", "-c",
		"\"${NATTERCTL:-./natterctl}\" archive restore "
		"$(basename \"$CHAT_ARCHIVE_DIR\"/messages*.json .json)"),
	    0, "restored 40 rows");
	cr_expect_str_eq(
	    ages_value("SELECT string_agg(x, ', ' ORDER BY x) FROM (SELECT"
		       " status || ' ' || count(*) AS x FROM chat.messages"
		       " WHERE id < natter.uuid_floor(now() - interval '450"
		       " days') AND completed_at = updated_at"
		       " GROUP BY status) s"),
	    "complete 20, interrupted 20");
}

Test(archive, a_restore_leaves_out_those_who_are_gone)
{
	fill();
	EXPECT(0, "", "retention", "run");
	EXPECT(0, "Deleted ada", "user", "delete", "ada", "--yes");
	EXPECT_END(
	    RUN("sh", "-c",
		"\"${NATTERCTL:-./natterctl}\" archive restore "
		"$(basename \"$CHAT_ARCHIVE_DIR\"/messages*.json .json)"),
	    0, "restored 20 rows; left out 20");
	cr_expect_str_eq(
	    ages_value("SELECT count(DISTINCT user_id) FROM chat.messages"),
	    "1");
}

/* Ways to spoil the archive of a month that is still in its table. */
static const char *const spoils[] = {"truncate -s -20", "truncate -s 0",
    "sh -c 'printf x >>$1' x",
    "sh -c 'printf X | dd of=$1 bs=1 seek=60 conv=notrunc status=none' x",
    "rm"};

/* Until the month's archive lies there under its own name. */
static void
wait_for_archive(void)
{
	EXPECT_END(RUN("sh", "-c",
		       "for i in $(seq 300); do ls \"$CHAT_ARCHIVE_DIR\" |"
		       " grep -q '^messages.*json$' && exit 0; sleep 0.1; done;"
		       " exit 1"),
	    0, "");
}

Test(archive, a_damaged_archive_is_noticed_and_nothing_is_dropped)
{
	const char *const argv[] = {
	    admin_natterctl(), "retention", "run", NULL};
	char command[512];

	fill();
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		PGconn *held = ages_hold(phases[1].lock);
		pid_t pid = command_start(argv);

		/* The waiter may still be the one that was killed before. */
		wait_for_archive();
		ages_wait_for_waiter();
		kill(pid, SIGKILL);
		(void)command_wait(pid);
		PQfinish(held);
		snprintf(command, sizeof(command),
		    "%s \"$CHAT_ARCHIVE_DIR\"/messages*.gz", spoils[i]);
		EXPECT_END(RUN("sh", "-c", command), 0, "");
		EXPECT(1, "archive messages-", "archive", "verify");
		ages_wait_until_alone();
		EXPECT(1, "messages: not done", "retention", "run");
		cr_expect_str_eq(
		    ages_value("SELECT count(*) FROM chat.messages WHERE id < "
			       "natter.uuid_floor(now() - interval '400 "
			       "days')"),
		    "40", "%s", spoils[i]);
		EXPECT_END(RUN("sh", "-c", "rm -f \"$CHAT_ARCHIVE_DIR\"/mess*"),
		    0, "");
	}
	EXPECT(0, "", "retention", "run");
	expect_nothing_lost();
}

Test(archive, a_folder_that_cannot_be_written_to_keeps_everything)
{
	fill();
	/* A file may grow to 512 bytes: as good as a full disk. */
	EXPECT_END(RUN("sh", "-c",
		       "trap '' XFSZ; ulimit -f 1; exec "
		       "\"${NATTERCTL:-./natterctl}\" retention run"),
	    1, "cannot write archive messages");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.messages"), "120");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.conversations"), "80");
	EXPECT_END(RUN("ls", "-A", ages_folder()), 0, "");
	setenv("CHAT_ARCHIVE_DIR", "/proc/natter", 1);
	EXPECT(78, "cannot make the folder", "retention", "run");
	setenv("CHAT_ARCHIVE_DIR", ages_folder(), 1);
	EXPECT_END(RUN("chmod", "755", ages_folder()), 0, "");
	EXPECT(78, "others may look into", "retention", "run");
	EXPECT_END(RUN("chmod", "700", ages_folder()), 0, "");
	cr_expect_str_eq(
	    ages_value("SELECT count(*) FROM chat.messages"), "120");
}

Test(archive, files_are_for_their_owner_and_people_can_read_them)
{
	fill();
	EXPECT(0, "", "retention", "run");
	EXPECT_END(
	    RUN("sh", "-c", "stat -c %a \"$CHAT_ARCHIVE_DIR\"/* | sort -u"), 0,
	    "600\n");
	EXPECT_END(RUN("sh", "-c",
		       "zcat \"$CHAT_ARCHIVE_DIR\"/messages*.gz | head -n 1"),
	    0, "\"content\":\"line\\nline \\\\ \\\"quoted\\\"");
}

/* What runs in batches finds its rows by an index. */
static const struct {
	const char *name;
	const char *batch;
} batches[] = {
#define RETENTION_ROWS(name, field, what, count, batch) {name, batch},
#define RETENTION_OVER(name, what, count, batch)        {name, batch},
#define RETENTION_MONTHS(name, field, fate, what)
#define RETENTION_TALKS(name, field, what)
#include "ctl/retention.def"
};

Test(archive, batches_find_their_rows_by_an_index)
{
	ages_sql(
	    "SELECT t.person('ada');"
	    "INSERT INTO chat.conversations (user_id, id, short_id, "
	    "last_message_at, updated_at, is_archived, expires_at) SELECT "
	    "u.id, t.at(p), i, p, p, i %% 2 = 0, CASE WHEN i %% 10 = 0 THEN p "
	    "END "
	    "FROM auth.users u, generate_series(1, 20000) i, LATERAL (SELECT "
	    "now() - i * interval '7 minutes' AS p) x;"
	    "INSERT INTO chat.messages (user_id, id, conversation_id, "
	    "position, role, content, status) SELECT c.user_id, t.at(now() - "
	    "i * interval '1 second'), c.id, i, CASE WHEN i %% 100 = 0 THEN "
	    "'system' ELSE 'user' END, 'x', 'complete' FROM (SELECT user_id, "
	    "id FROM chat.conversations LIMIT 1) c, generate_series(1, 20000) "
	    "i;"
	    "INSERT INTO auth.sessions (id, user_id, rt_secret, expires_at, "
	    "idle_expires_at, last_activity) SELECT t.at(now()), u.id, "
	    "sha256('x'), now() + i * interval '1 minute', now(), now() - i * "
	    "interval '1 minute' FROM auth.users u, generate_series(1, 20000) "
	    "i;"
	    "INSERT INTO auth.api_keys (id, user_id, name, hash, ending, "
	    "scopes, revoked_at) SELECT t.at(now()), u.id, 'x', "
	    "sha256(i::text::bytea), 'abcd', '{read}', now() - i * interval "
	    "'1 minute' FROM auth.users u, generate_series(1, 20000) i;"
	    "INSERT INTO auth.invites (id, code_hash, expires_at) SELECT "
	    "t.at(now()), sha256(i::text::bytea), now() + i * interval '1 "
	    "minute' FROM generate_series(-100, 20000) i;"
	    "INSERT INTO auth.login_throttle (key, kind, expires_at) SELECT "
	    "sha256(i::text::bytea), 'address', now() + i * interval '1 "
	    "minute' FROM generate_series(-100, 20000) i;"
	    "INSERT INTO auth.rate_buckets (key, level, expires_at) SELECT "
	    "'rate:' || i, 0, now() + i * interval '1 minute' "
	    "FROM generate_series(-19000, 1000) i;"
	    "INSERT INTO auth.user_ends (user_id, ended_at) SELECT "
	    "gen_random_uuid(), now() - i * interval '1 minute' FROM "
	    "generate_series(1, 20000) i;"
	    "INSERT INTO chat.token_budgets (user_id, id, period, starts_on) "
	    "SELECT u.id, t.at(now()), 'day', now()::date - i FROM auth.users "
	    "u, generate_series(-19000, 1000) i;"
	    "INSERT INTO chat.idempotency_keys (user_id, key, request, "
	    "message_id, expires_at) SELECT u.id, sha256(i::text::bytea), "
	    "sha256(''), t.at(now()), now() + i * interval '1 minute' FROM "
	    "auth.users u, generate_series(-100, 20000) i;"
	    "INSERT INTO chat.context_summaries (user_id, message_id, "
	    "conversation_id, content, model, created_at) SELECT c.user_id, "
	    "t.at(now() - i * interval '1 second'), c.id, 'x', 'm', now() - i "
	    "* interval '1 minute' FROM (SELECT user_id, id FROM "
	    "chat.conversations LIMIT 1) c, generate_series(1, 20000) i;"
	    "ANALYZE");
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		char *sql = NULL;
		struct command_end end;

		cr_assert_geq(asprintf(&sql,
				  "PREPARE b (timestamptz, int, int) AS %s;"
				  "EXPLAIN EXECUTE b (now(), 13, 500)",
				  batches[i].batch),
		    0);
		end = RUN("psql", "-X", "-qAt", "-d", admin_url("natter_jobs"),
		    "-c", sql);
		cr_assert_eq(end.code, 0, "%s", end.err);
		for (char *at = end.out;
		     (at = strstr(at, "Seq Scan on ")) != NULL; at++)
			cr_expect(
			    strncmp(at + 12, "running_replies", 15) == 0 ||
				strstr(end.out, "_default"),
			    "%s: %s", batches[i].name, end.out);
		cr_expect_not_null(strstr(end.out, "Index"), "%s: %s",
		    batches[i].name, end.out);
		command_end_clear(&end);
		free(sql);
	}
}
