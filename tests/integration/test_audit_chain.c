/*
 * The audit log without a daemon: what natterctl's commands and plain SQL leave
 * in it, that nobody changes it, and that its chain shows who did all the same.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "ctl/ctl.h"
#include "expect.h"
#include "servers.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* A user with a conversation; ids are fixed. */
#define USER  "00000000-0000-7000-8000-00000000000a"
#define OTHER "00000000-0000-7000-8000-00000000000b"
#define TALK  "01900000-0000-7000-8000-000000000001"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

static char database[48];
static char run_dir[] = "/tmp/natter-audit-XXXXXX";

static void
begin(void)
{
	snprintf(database, sizeof(database), "natter_audit_%d", getpid());
	admin_schema(database);
	setenv("JOBS_DATABASE_URL", admin_url("natter_jobs"), 1);
	cr_assert(mkdtemp(run_dir));
	setenv("CHAT_RUN_DIR", run_dir, 1);
	setenv("CHAT_HASH_MEMORY", "8", 1);
	setenv("SUDO_USER", "ada", 1);
	unsetenv("REDIS_URL");
}

static void
end(void)
{
	admin_drop(database);
	EXPECT_END(RUN("rm", "-rf", run_dir), 0, "");
}

TestSuite(audit_chain, .init = begin, .fini = end, .timeout = 240);

/* Commands that change no row of a user's, or none at all. */
static const char *const without_rows[] = {
    "bootstrap",
    "embeddings", /* it only reads */
    "migrate up",
    "migrate down",
    "migrate status",
    "migrate verify", /* the schema; its own record is schema_migrations */
    "config",
    "keys init",
    "keys list",
    "keys rotate",
    "keys retire", /* a file, no row: syslog's matter */
    "user invites",
    "audit chain",
    "audit verify",
    "user import",
    "store tool list",
    "prompts list",
    "prompts check",
    "prompts render",
    "seed",
    "maintain",
    "doctor",
    "store list",
    "prices list",
    "usage", /* below */
    "archive list",
    "archive verify",
    /* test_retention, test_archive, test_backup, test_import. */
    "retention run",
    "archive restore",
    "archive erase",
    "backup",
    "restore",
    "import tinydb",
    "import json",
};

/* What is known of a command's rows: action, object's kind and whose they are.
 */
static const struct {
	const char *words[12];
	const char *input;
	const char *rows;
} commands[] = {
    {{"user", "add", "zoe", "--password-stdin"}, "correct horse battery\n",
	"user.create user zoe"},
    {{"user", "add", "zoe", "--password-stdin"}, "correct horse battery\n", ""},
    {{"user", "list"}, NULL, "user.list user -"},
    {{"store", "add", "shop", "--name", "Shop"}, NULL, "store.create store -"},
    {{"store", "set", "shop", "--open"}, NULL,
	"store.update store - {\"changed\": [\"is_open\"]}"},
    {{"store", "member", "shop", "zoe"}, NULL,
	"store_member.create store_member zoe"},
    {{"limits", "set", "--store", "shop", "streams=3"}, NULL,
	"limit.create limit - {\"limit\": \"streams\"}"},
    {{"limits", "unset", "--store", "shop", "all"}, NULL,
	"limit.delete limit - {\"limit\": \"streams\"}"},
    {{"limits", "set", "--user", "zoe", "streams=3"}, NULL,
	"limit.create limit zoe {\"limit\": \"streams\"}"},
    {{"limits", "show", "zoe"}, NULL, "limit.read user zoe"},
    {{"limits", "list"}, NULL, "limit.list limit -"},
    {{"store", "tool", "add", "shop", "look", "--url",
	 "https://teas.example/look", "--description", "Looks", "--parameters",
	 "/dev/stdin"},
	"{\"type\":\"object\"}",
	"store_tool.create store_tool - {\"tool\": \"look\"}"},
    {{"store", "tool", "set", "shop", "look", "--timeout", "500"}, NULL,
	"store_tool.update store_tool -"
	" {\"tool\": \"look\", \"changed\": [\"timeout_ms\"]}"},
    {{"store", "tool", "secret", "shop", "look", "--overlap", "0"}, NULL,
	"store_tool.update store_tool - {\"tool\": \"look\","
	" \"changed\": [\"secret\", \"secret_set_at\"]}"},
    {{"store", "tool", "remove", "shop", "look", "--yes"}, NULL,
	"store_tool.delete store_tool - {\"tool\": \"look\"}"},
    {{"store", "remove", "shop", "--yes"}, NULL, "store.delete store -"},
    {{"prices", "set", "m", "--input=1", "--output=2.5"}, NULL,
	"prices.set price - {\"input\": 1, \"model\": \"m\", \"output\": 2.5, "
	"\"cached_input\": null}"},
    {{"prices", "load", "--replace"}, NULL,
	"prices.load price - {\"as_of\": \"2025-11-30\", \"changed\": 0, "
	"\"removed\": 1, \"currency\": \"USD\"}"},
    {{"prices", "remove", "gpt-4o"}, NULL,
	"prices.remove price - {\"model\": \"gpt-4o\"}"},
    {{"prices", "remove", "gpt-4o"}, NULL, ""},
    {{"usage", "--by", "user"}, NULL, "usage.read usage - {\"by\": \"user\"}"},
    {{"user", "passwd", "zoe", "--password-stdin"}, "the red fox sleeps late\n",
	"user.password user zoe {\"changed\": [\"password_hash\", "
	"\"session_epoch\"]}\nuser.unlock user zoe"},
    {{"user", "disable", "zoe"}, NULL,
	"user.disable user zoe {\"changed\": [\"is_disabled\", "
	"\"session_epoch\"]}"},
    {{"user", "enable", "zoe"}, NULL,
	"user.enable user zoe {\"changed\": [\"is_disabled\"]}"},
    {{"user", "unlock", "zoe"}, NULL, "user.unlock user zoe"},
    {{"user", "unlock", "nobody"}, NULL, ""},
    {{"user", "invite", "--note", "for eve"}, NULL, "invite.create invite -"},
    {{"audit", "list", "--user", "zoe"}, NULL, "audit.read audit zoe"},
    {{"user", "import", "-"},
	"eve\t$2y$10$abcdefghijklmnopqrstuuQWjUiWYqFLTNvGm"
	"K8RUuA6P1y6vdlqG\n",
	"user.create user eve"},
    {{"user", "delete", "zoe", "--yes"}, NULL, "user.delete user zoe"},
    {{"seed"}, NULL,
	"user.create user admin\nuser.create user user2\nuser.create user "
	"user3"},
};

/* Rows since `mark`, names for ids where they are still known. */
static char *
rows_since(const char *mark)
{
	char sql[1024];

	snprintf(sql, sizeof(sql),
	    "SELECT coalesce(string_agg(concat_ws(' ', l.action, l.object_kind,"
	    " coalesce(u.username, CASE WHEN l.user_id IS NULL THEN '-' ELSE"
	    " 'zoe' END), CASE WHEN l.details <> '{}' THEN l.details::text END,"
	    " CASE WHEN l.operator <> 'ada' OR l.actor_kind <> CASE l.action"
	    " WHEN 'audit.read' THEN 'jobs' ELSE 'natterctl' END OR l.actor_id"
	    " IS NOT NULL OR l.ip IS NOT NULL OR l.request_id IS NOT NULL"
	    " THEN 'WRONG' END), E'\\n' ORDER BY l.id), '') FROM audit.log l"
	    " LEFT JOIN auth.users u ON u.id = l.user_id WHERE l.id > '%s'",
	    mark);
	return admin_value(sql);
}

static char *
mark_now(void)
{
	return admin_value("SELECT coalesce(max(id::text), "
			   "'00000000-0000-0000-0000-000000000000') FROM "
			   "audit.log");
}

Test(audit_chain, each_command_leaves_exactly_its_rows)
{
	for (size_t i = 0; i < N(commands); i++) {
		const char *argv[14] = {admin_natterctl()};
		char *mark = mark_now(), *got;
		struct command_end e;

		for (int w = 0; w < 12 && commands[i].words[w] != NULL; w++)
			argv[w + 1] = commands[i].words[w];
		e = command_run(commands[i].input, argv);
		got = rows_since(mark);
		cr_expect_str_eq(got, commands[i].rows, "%s %s left\n%s\n%s%s",
		    argv[1], argv[2], got, e.out, e.err);
		command_end_clear(&e);
		free(got);
		free(mark);
	}
	/* The deleted user's rows are there, and say nothing of the name. */
	EXPECT_VALUE(
	    "SELECT count(*) > 5 FROM audit.log l WHERE user_id IS NOT "
	    "NULL AND NOT EXISTS (SELECT FROM auth.users u WHERE u.id = "
	    "l.user_id)",
	    "t");
	EXPECT_VALUE("SELECT count(*) FROM audit.log l WHERE l::text LIKE "
		     "'%zoe%' OR l::text LIKE '%eve%'",
	    "0");
}

Test(audit_chain, an_invitation_that_is_taken_back_is_noted)
{
	char *id, *mark, *got;

	EXPECT(0, "", "user", "invite");
	id = admin_value("SELECT id FROM auth.invites");
	mark = mark_now();
	EXPECT(0, id, "user", "uninvite", id);
	got = rows_since(mark);
	cr_expect_str_eq(got, "invite.delete invite -");
	free(got);
	free(mark);
	free(id);
}

Test(audit_chain, every_command_has_its_place_in_these_tables)
{
	static const char *const names[] = {
#define COMMAND(name, function, synopsis, summary, help) name,
#include "ctl/commands.def"
#undef COMMAND
	};

	for (size_t i = 0; i < N(names); i++) {
		bool is_known = strcmp(names[i], "user uninvite") == 0;
		char words[64];

		for (size_t j = 0; j < N(commands); j++) {
			const char *const *w = commands[j].words;

			snprintf(words, sizeof(words), "%s %s %s", w[0],
			    w[1] ? w[1] : "", w[1] && w[2] ? w[2] : "");
			/* A command has two words, or three. */
			is_known |= strcmp(words, names[i]) == 0;
			snprintf(words, sizeof(words), "%s %s", w[0],
			    w[1] ? w[1] : "");
			is_known |= strcmp(words, names[i]) == 0;
		}
		for (size_t j = 0; j < N(without_rows); j++)
			is_known |= strcmp(without_rows[j], names[i]) == 0;
		cr_expect(is_known, "%s", names[i]);
	}
}

static const char world_sql[] =
    "INSERT INTO auth.users (id, username) VALUES ('" USER "', 'a'),"
    " ('" OTHER "', 'b');"
    "INSERT INTO chat.conversations (user_id, id, short_id)"
    " VALUES ('" USER "', '" TALK "', 'abc');"
    "INSERT INTO chat.messages (user_id, id, conversation_id, position, role,"
    " content, status) SELECT '" USER "', natter.uuid_v7(), '" TALK "', i,"
    " 'user', 'x', 'complete' FROM generate_series(1, 50) i;"
    "INSERT INTO chat.stores (id, slug, name) VALUES ('" TALK "', 's', 'S');"
    "INSERT INTO chat.tasks (user_id, id, title) VALUES ('" USER "', '" TALK
    "', 't');"
    "INSERT INTO chat.documents (user_id, id, content, content_sha256,"
    " size_bytes) VALUES ('" USER "', '" TALK "', 'c', sha256('c'), 1);"
    "INSERT INTO chat.message_feedback (user_id, message_id, conversation_id,"
    " rating) VALUES ('" USER "', '" TALK "', '" TALK "', 1);";

/* What is done to the tables by hand, and what it leaves. */
static const struct {
	const char *sql;
	const char *rows;
} changes[] = {
    {"UPDATE chat.stores SET name = 'T', settings = '{\"a\": 1}'",
	"store.update store {\"changed\": [\"name\", \"settings\"]}"},
    {"UPDATE chat.stores SET name = 'T'", ""},
    {"INSERT INTO chat.store_members (user_id, store_id) VALUES ('" USER
     "', '" TALK "')",
	"store_member.create store_member"},
    {"UPDATE chat.store_members SET role = 'manager'",
	"store_member.update store_member {\"changed\": [\"role\"]}"},
    {"DELETE FROM chat.store_members", "store_member.delete store_member"},
    {"UPDATE chat.tasks SET title = 'u'", ""},
    {"DELETE FROM chat.tasks", "task.delete task"},
    {"UPDATE chat.documents SET chunk_count = 7, status = 'pending'", ""},
    {"UPDATE chat.documents SET content = 'd'",
	"document.update document {\"changed\": [\"content\"]}"},
    {"DELETE FROM chat.documents", "document.delete document"},
    {"UPDATE chat.message_feedback SET rating = -1, comment = 'no'",
	"feedback.update feedback {\"changed\": [\"comment\", \"rating\"]}"},
    {"DELETE FROM chat.message_feedback", "feedback.delete feedback"},
    {"UPDATE chat.messages SET content = 'y' WHERE position = 1",
	"message.update message {\"changed\": [\"content\"]}"},
    {"UPDATE chat.messages SET content = '', blanked_at = now() WHERE position "
     "= 2",
	"message.blank message {\"changed\": [\"blanked_at\", \"content\"]}"},
    {"UPDATE chat.messages SET status = 'streaming', role = 'assistant' WHERE "
     "position = 3; UPDATE chat.messages SET content = 'z', status = "
     "'complete' WHERE position = 3",
	"message.update message {\"changed\": [\"role\", \"status\"]}"},
    {"DELETE FROM chat.messages WHERE position = 4", "message.delete message"},
    {"UPDATE chat.conversations SET title = 't', next_position = "
     "next_position + 2, message_count = 2",
	""},
    {"UPDATE chat.conversations SET store_id = '" TALK "'",
	"conversation.update conversation {\"changed\": [\"store_id\"]}"},
    {"DELETE FROM chat.stores", "store.delete store"},
    {"INSERT INTO auth.user_keys (user_id, version, wrapped_key) VALUES ('" USER
     "', 1, sha256('k'))",
	"user_key.create user_key {\"version\": 1}"},
    {"UPDATE auth.user_keys SET wrapped_key = NULL, destroyed_at = now()",
	"user_key.destroy user_key {\"changed\": [\"destroyed_at\", "
	"\"wrapped_key\"], \"version\": 1}"},
    {"INSERT INTO auth.invites (id, code_hash, expires_at) VALUES ('" TALK
     "', sha256('c'), now() + '1 day'); SELECT auth.user_register_invited("
     "'" TALK "', 'c', 'h', sha256('c'))",
	"invite.create invite\ninvite.use invite\nuser.create user"},
    {"UPDATE auth.users SET last_login_at = now()", ""},
    {"UPDATE auth.users SET role = 'admin' WHERE id = '" OTHER "'",
	"user.role user {\"changed\": [\"role\"]}"},
    {"UPDATE auth.users SET display_name = 'A' WHERE id = '" OTHER "'",
	"user.update user {\"changed\": [\"display_name\"]}"},
    {"UPDATE auth.users SET password_hash = 'h' WHERE id = '" OTHER "'",
	"user.password user {\"changed\": [\"password_hash\"]}"},
    {"SELECT auth.login_done('" OTHER "', '', '', 0, NULL, 'h', 'i')",
	"user.rehash user {\"changed\": [\"password_hash\"]}"},
    {"INSERT INTO auth.login_throttle (key, user_id, kind, failures, "
     "expires_at) VALUES (sha256(''), '" OTHER "', 'account', 99, "
     "'infinity'); SELECT auth.throttle_take(sha256(''), '" OTHER
     "', 'account')",
	"user.sign_in_stop user"},
    {"INSERT INTO auth.sessions (id, user_id, rt_secret, expires_at, "
     "idle_expires_at) SELECT gen_random_uuid(), '" OTHER "', sha256(''), "
     "now() + '1 day', now() - i * interval '1 hour' FROM generate_series(-1, "
     "9) i WHERE i <> 0; UPDATE auth.sessions SET last_activity = now(), "
     "rt_gen = 1; SELECT auth.session_revoke('" OTHER "', NULL, 'all', 'x')",
	/* Ten are made, nine of them over. */
	"session.create session\nsession.create session\nsession.create "
	"session\nsession.create session\nsession.create "
	"session\nsession.create session\nsession.create "
	"session\nsession.create session\nsession.create "
	"session\nsession.create session\nuser.sign_out user {\"changed\": "
	"[\"session_epoch\"]}\nsession.revoke session {\"reason\": \"x\"}"},
    {"DELETE FROM chat.conversations", "conversation.delete conversation"},
    {"BEGIN; DELETE FROM auth.users; ROLLBACK", ""},
    {"DELETE FROM auth.users WHERE id = '" USER "'", "user.delete user"},
};

Test(audit_chain, each_change_leaves_exactly_its_rows)
{
	admin_sql(world_sql);
	EXPECT_VALUE("SELECT string_agg(action, ' ' ORDER BY id) FROM "
		     "audit.log",
	    "user.create user.create store.create");
	for (size_t i = 0; i < N(changes); i++) {
		char sql[512], *mark = mark_now(), *got;

		admin_sql(changes[i].sql);
		snprintf(sql, sizeof(sql),
		    "SELECT coalesce(string_agg(concat_ws(' ', action, "
		    "object_kind, nullif(details, '{}')::text), E'\\n' ORDER "
		    "BY "
		    "id), '') FROM audit.log WHERE id > '%s'",
		    mark);
		got = admin_value(sql);
		cr_expect_str_eq(
		    got, changes[i].rows, "%s left\n%s", changes[i].sql, got);
		free(got);
		free(mark);
	}
}

static void
expect_refused(
    const char *role, const char *verb, const char *table, const char *column)
{
	char sql[160], set[64];
	struct command_end e;

	snprintf(set, sizeof(set), "SET ROLE %s", role);
	snprintf(sql, sizeof(sql), "%s %s %s%s%s%s", verb, table,
	    *column ? "SET " : "", column, *column ? " = " : "", column);
	e = RUN("psql", "-X", "-v", "ON_ERROR_STOP=1", "-v",
	    "VERBOSITY=sqlstate", "-d", admin_url("postgres"), "-c", set, "-c",
	    sql);
	cr_expect_neq(e.code, 0, "%s: %s", set, sql);
	cr_expect(strstr(e.err, "42501"), "%s: %s: %s", set, sql, e.err);
	command_end_clear(&e);
}

Test(audit_chain, nobody_changes_a_row)
{
	static const char *const roles[] = {"natter_owner", "natter_auth",
	    "natter_jobs", "natter_app", "natter_search", "natter_migrate",
	    "postgres"};
	static const char *const tables[][2] = {{"audit.log", "id"},
	    {"audit.log_default", "id"}, {"audit.chain", "seq"},
	    {"audit.unchained", "log_id"}};

	admin_sql(world_sql);
	for (size_t r = 0; r < N(roles); r++)
		for (size_t t = 0; t < N(tables); t++) {
			expect_refused(
			    roles[r], "UPDATE", tables[t][0], tables[t][1]);
			expect_refused(roles[r], "TRUNCATE", tables[t][0], "");
			if (t < 3) /* chaining takes rows from the fourth */
				expect_refused(
				    roles[r], "DELETE FROM", tables[t][0], "");
		}
	/* Nor does the daemon write one of its own making. */
	EXPECT_END(RUN("psql", "-X", "-d", admin_url("natter_app"), "-c",
		       "INSERT INTO audit.log (id) VALUES (gen_random_uuid())"),
	    1, "permission denied");
	EXPECT_END(RUN("psql", "-X", "-d", admin_url("natter_app"), "-c",
		       "SELECT audit.put('a.b', 'a', NULL, NULL, '{}')"),
	    1, "permission denied");
	EXPECT_END(RUN("psql", "-X", "-d", admin_url("natter_app"), "-c",
		       "SELECT * FROM audit.admin_list(NULL, NULL, NULL, NULL, "
		       "NULL, 1)"),
	    1, "only administrators");
}

Test(audit_chain, strays_of_the_log_are_moved_and_it_stays_guarded)
{
	admin_sql(world_sql);
	admin_sql("INSERT INTO audit.log (id, at, action, actor_kind, "
		  "object_kind) SELECT natter.uuid_v7(t), t, 'a.b', 'system', "
		  "'a' FROM (SELECT now() + '7 months' AS t) x");
	EXPECT_VALUE("SELECT count(*) FROM audit.log_default", "1");
	admin_sql("SET ROLE natter_jobs; SELECT chat.create_partitions(8)");
	EXPECT_VALUE("SELECT count(*) FROM audit.log_default", "0");
	EXPECT_VALUE(
	    "SELECT count(*) FROM audit.log WHERE action = 'a.b'", "1");
	EXPECT(0, "All is well", "migrate", "verify");
}

/* A chain of the world's rows; a row waits. */
static void
make_chain(void)
{
	admin_sql(world_sql);
	admin_sql("UPDATE auth.users SET display_name = id::text; UPDATE "
		  "auth.users SET role = 'admin'; SELECT audit.note('a.b', "
		  "'c', '" TALK "', NULL, '{\"a\": [1, \"é\", null]}')");
	EXPECT(0, "Chained 8 rows; 8 in all", "audit", "chain");
	admin_sql("DELETE FROM chat.tasks");
}

/* Superusers may switch triggers off. */
#define TAMPER "SET session_replication_role = replica; "
#define NTH(n) "(SELECT log_id FROM audit.chain WHERE seq = " #n ")"

Test(audit_chain, verify_finds_whatever_was_tampered_with)
{
	static const struct {
		const char *sql;
		const char *says;
	} rows[] = {
	    {"UPDATE audit.log SET ip = '192.0.2.1' WHERE id = " NTH(3),
		"link 3, row "},
	    {"UPDATE audit.log SET ip = '192.0.2.1' WHERE id = " NTH(3),
		"the row in audit.log was changed"},
	    {"UPDATE audit.log SET at = at + interval '1 us' WHERE id = " NTH(
		 1),
		"link 1, row "},
	    {"UPDATE audit.log SET details = '{\"a\": [1, \"e\", null]}' WHERE "
	     "id = " NTH(8),
		"link 8, row "},
	    {"DELETE FROM audit.log WHERE id = " NTH(4),
		"the row is missing from audit.log"},
	    {"INSERT INTO audit.log SELECT (natter.uuid_v7()), at, action, "
	     "actor_kind, actor_id, operator, user_id, object_kind, object_id, "
	     "request_id, ip, details FROM audit.log LIMIT 1",
		"put there by hand"},
	    {"UPDATE audit.chain SET hash = sha256('x') WHERE seq = 5",
		"the link in audit.chain was changed"},
	    {"UPDATE audit.chain SET hash = sha256('x') WHERE seq = 8",
		"the row or its link was changed"},
	    {"DELETE FROM audit.chain WHERE seq = 5", "link 5 is missing"},
	    {"DELETE FROM audit.chain WHERE seq = 5; UPDATE audit.chain SET "
	     "seq = seq + 100 WHERE seq > 5; UPDATE audit.chain SET seq = seq "
	     "- 101 WHERE seq > 5",
		"link 5, row "},
	    {"DELETE FROM audit.chain WHERE seq = 8", "put there by hand"},
	    {"DELETE FROM audit.log WHERE id = (SELECT log_id FROM "
	     "audit.unchained)",
		"waits for the chain and is missing"},
	};

	make_chain();
	EXPECT(0, "8 rows are as they were chained, 1 wait", "audit", "verify");
	for (size_t i = 0; i < N(rows); i++) {
		char sql[1024];

		/* Copies to put back: a dump and a restore in small. */
		admin_sql(TAMPER "CREATE TABLE public.l AS TABLE audit.log; "
				 "CREATE TABLE public.c AS TABLE audit.chain");
		snprintf(sql, sizeof(sql), TAMPER "%s", rows[i].sql);
		admin_sql(sql);
		EXPECT(1, rows[i].says, "audit", "verify");
		admin_sql(
		    TAMPER "DELETE FROM audit.log; DELETE FROM audit.chain; "
			   "INSERT INTO audit.log TABLE public.l; INSERT INTO "
			   "audit.chain TABLE public.c; DROP TABLE public.l, "
			   "public.c");
		EXPECT(0, "8 rows are", "audit", "verify");
	}
}

/* The head that verify prints; to be freed. */
static char *
head(void)
{
	struct command_end e = RUN(admin_natterctl(), "audit", "verify");
	char *hex;

	cr_assert_eq(e.code, 0, "%s", e.err);
	hex = strstr(e.out, "head ");
	cr_assert(hex);
	hex = strndup(hex + 5, 64);
	command_end_clear(&e);
	return hex;
}

Test(audit_chain, a_kept_head_tells_that_the_end_was_cut_off)
{
	char *kept;

	make_chain();
	kept = head();
	EXPECT(0, "Chained 1 rows; 9 in all", "audit", "chain");
	EXPECT(0, "9 rows", "audit", "verify", "--head", kept);
	admin_sql(
	    TAMPER "DELETE FROM audit.log WHERE id IN (SELECT log_id FROM "
		   "audit.chain WHERE seq > 7); DELETE FROM audit.chain "
		   "WHERE seq > 7");
	EXPECT(0, "7 rows", "audit", "verify");
	EXPECT(1, "the kept head is in no link", "audit", "verify", "--head",
	    kept);
	EXPECT(2, "64 digits", "audit", "verify", "--head", "abc");
	free(kept);
}

static PGconn *
writer(void)
{
	PGconn *conn = PQconnectdb(admin_url("postgres"));

	cr_assert_eq(PQstatus(conn), CONNECTION_OK);
	PQclear(
	    PQexec(conn, "BEGIN; SELECT audit.note('a.b', 'c', NULL, NULL)"));
	return conn;
}

Test(audit_chain, who_commits_late_takes_a_later_place)
{
	PGconn *first = writer(), *second = writer(), *gone = writer();

	PQclear(PQexec(second, "COMMIT"));
	EXPECT(0, "Chained 1 rows; 1 in all", "audit", "chain");
	PQclear(PQexec(gone, "ROLLBACK"));
	PQclear(PQexec(first, "COMMIT"));
	EXPECT(0, "Chained 1 rows; 2 in all", "audit", "chain");
	EXPECT_VALUE("SELECT (SELECT log_id FROM audit.chain WHERE seq = 2) < "
		     "(SELECT log_id FROM audit.chain WHERE seq = 1)",
	    "t");
	EXPECT(0, "2 rows", "audit", "verify");
	PQfinish(first);
	PQfinish(second);
	PQfinish(gone);
}

Test(audit_chain, chaining_survives_writers_rivals_and_being_killed)
{
	static const char write_sql[] =
	    "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM audit.note('a.b', 'c', "
	    "NULL, NULL); IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END $$";
	pid_t writers[3], chains[6];

	for (int i = 0; i < 3; i++)
		writers[i] = START("psql", "-X", "-q", "-d",
		    admin_url("postgres"), "-c", write_sql);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 6; i++)
			chains[i] = START(admin_natterctl(), "audit", "chain");
		usleep(60000 + 70000 * (useconds_t)round);
		for (int i = 0; i < 3; i++)
			kill(chains[i], SIGKILL);
		for (int i = 0; i < 6; i++) {
			int code = command_wait(chains[i]);

			cr_expect(i < 3 || code == 0, "%d", code);
		}
		EXPECT(0, "are as they were chained", "audit", "verify");
	}
	for (int i = 0; i < 3; i++)
		cr_assert_eq(command_wait(writers[i]), 0);
	EXPECT(0, "9000 in all", "audit", "chain");
	EXPECT(
	    0, "9000 rows are as they were chained, 0 wait", "audit", "verify");
}

Test(audit_chain, a_dump_and_a_restore_keep_the_chain)
{
	char file[64], url[160],
	    *was = strdup(getenv("SUPERUSER_DATABASE_URL"));
	char *kept, *to;

	make_chain();
	kept = head();
	snprintf(file, sizeof(file), "%s/dump", run_dir);
	snprintf(url, sizeof(url), "CREATE DATABASE %s_copy TEMPLATE template0",
	    database);
	EXPECT_END(RUN("pg_dump", "-Fc", "-f", file, "-d", was), 0, "");
	admin_sql(url);
	snprintf(url, sizeof(url), "%s_copy", database);
	to = server_url_with(was, "dbname", url);
	EXPECT_END(RUN("pg_restore", "-e", "-d", to, file), 0, "");
	setenv("SUPERUSER_DATABASE_URL", to, 1);
	setenv("JOBS_DATABASE_URL", admin_url("natter_jobs"), 1);
	EXPECT(0, "8 rows are as they were chained, 1 wait", "audit", "verify",
	    "--head", kept);
	EXPECT(0, "Chained 1 rows; 9 in all", "audit", "chain");
	setenv("SUPERUSER_DATABASE_URL", was, 1);
	admin_drop(url);
	free(kept);
	free(was);
	free(to);
}

Test(audit_chain, list_shows_what_is_asked_for)
{
	make_chain();
	EXPECT(0, "store.create  system  on " TALK, "audit", "list");
	EXPECT(0, "\"action\" : \"user.role\"", "audit", "list", "--user", "a",
	    "--format", "json", "--action", "user.role");
	EXPECT(0, "", "audit", "list", "--since", "2100-01-01");
	EXPECT(1, "invalid input syntax", "audit", "list", "--since", "soon");
	EXPECT(1, "there is no user c", "audit", "list", "--user", "c");
	EXPECT(2, "text or json", "audit", "list", "--format", "xml");
	EXPECT(2, "1 to 10000", "audit", "list", "--limit", "0");
	unsetenv("JOBS_DATABASE_URL");
	EXPECT(78, "JOBS_DATABASE_URL is not set", "audit", "list");
}

/* The number after the first `name` of a plan in JSON. */
static long
number_of(const char *plan, const char *name)
{
	const char *p = strstr(plan, name);

	return p != NULL ? strtol(strchr(p, ':') + 1, NULL, 10) : 0;
}

/* Does a query use the index, and touch a few pages only? */
static void
expect_index(const char *role, const char *sql, const char *index)
{
	PGconn *conn = PQconnectdb(admin_url(role));
	char text[1024];
	PGresult *r;
	long pages;

	PQclear(PQexec(conn, "SET app.user_id = '" USER "'"));
	snprintf(text, sizeof(text),
	    "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) %s", sql);
	r = PQexec(conn, text);
	cr_assert_eq(
	    PQresultStatus(r), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	pages = number_of(PQgetvalue(r, 0, 0), "Shared Hit Blocks") +
		number_of(PQgetvalue(r, 0, 0), "Shared Read Blocks");
	cr_expect(pages > 0 && pages < 100, "%s: %ld pages", sql, pages);
	cr_expect(strstr(PQgetvalue(r, 0, 0), index), "%s does not use %s: %s",
	    sql, index, PQgetvalue(r, 0, 0));
	PQclear(r);
	PQfinish(conn);
}

#define NEWEST "'ffffffff-ffff-ffff-ffff-ffffffffffff'"

Test(audit_chain, lists_use_indexes)
{
	admin_sql(TAMPER
	    "INSERT INTO audit.log (id, at, action, actor_kind, user_id, "
	    "object_kind) SELECT natter.uuid_v7(t), t, CASE i % 100 WHEN 0 "
	    "THEN "
	    "'user.role' ELSE 'session.create' END, 'user', CASE i % 2 WHEN 0 "
	    "THEN '" USER "'::uuid ELSE gen_random_uuid() END, 'user' FROM "
	    "(SELECT i, now() + i * interval '0.1 s' AS t FROM "
	    "generate_series(1, 60000) i) x; SET session_replication_role = "
	    "origin; ANALYZE audit.log");
	expect_index("natter_app",
	    "SELECT id, details FROM audit.log WHERE user_id = '" USER
	    "' AND id < " NEWEST " ORDER BY id DESC LIMIT 51",
	    "user_id_id");
	/* As audit.admin_list writes them, past row level security. */
	expect_index("natter_jobs",
	    "SELECT l.* FROM audit.log l WHERE l.id < " NEWEST
	    " ORDER BY l.id DESC LIMIT 51",
	    "_pkey");
	expect_index("natter_jobs",
	    "SELECT l.* FROM audit.log l WHERE l.id < " NEWEST
	    " AND l.user_id = '" OTHER "' ORDER BY l.id DESC LIMIT 51",
	    "user_id_id");
	expect_index("natter_jobs",
	    "SELECT l.* FROM audit.log l WHERE l.id < " NEWEST
	    " AND l.action = 'user.role' ORDER BY l.id DESC LIMIT 51",
	    "action_id");
}
