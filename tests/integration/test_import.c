/*
 * natterctl import: what a file of another system becomes, that nothing is
 * taken twice or overwritten, that bad records are named and the others kept,
 * and that an import which is killed leaves nothing.
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

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

static char database[48];
static char folder[64];
static char file[96], other[96];

static void
begin(void)
{
	strcpy(folder, "/tmp/natter-import-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/a.json", folder);
	snprintf(other, sizeof(other), "%s/b.json", folder);
	setenv("CHAT_RUN_DIR", folder, 1);
	setenv("CHAT_HASH_MEMORY", "64", 1);
	snprintf(database, sizeof(database), "natter_import_%d", getpid());
	admin_schema(database);
}

static void
end(void)
{
	struct command_end e = RUN("rm", "-rf", folder);

	command_end_clear(&e);
	admin_drop(database);
}

TestSuite(import, .init = begin, .fini = end, .timeout = 120);

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

#define HASH                                                                \
	"\"a1b2c3$acf422658d8666074a2499b935b38bddea2a8c17fb19c03daeaf3955" \
	"efd941dc\""

static const char tinydb[] =
    "{\"_default\": {},\n"
    "\"users\": {\n"
    " \"1\": {\"username\": \" ZO\\u00cb \", \"password_hash\": " HASH
    ", \"created_at\": \"2024-01-02T03:04:05\", \"is_admin\": true},\n"
    " \"2\": {\"id\": \"u-2\", \"username\": \"bob\"}},\n"
    "\"conversations\": {\n"
    " \"1\": {\"id\": \"c1\", \"user_id\": 1, \"title\": \"Hello\",\n"
    "  \"created_at\": 1704164645.5, \"tags\": [\"x\"],"
    "  \"message_count\": 99},\n"
    " \"2\": {\"id\": \"019a0000-0000-7000-8000-000000000002\","
    "  \"user_id\": \"u-2\", \"messages\": [\n"
    "  {\"role\": \"human\", \"text\": \"hi\","
    "   \"timestamp\": \"2025-03-01 10:00:00+02:00\"},\n"
    "  {\"role\": \"ai\", \"text\": \"there\","
    "   \"timestamp\": \"2025-03-01 10:00:01+02:00\"}]}},\n"
    "\"messages\": {\n"
    " \"2\": {\"id\": \"m2\", \"conversation_id\": \"c1\","
    "  \"role\": \"assistant\", \"content\": \"second\","
    "  \"timestamp\": 1704164647, \"token_count\": 5,"
    "  \"used_documents\": [\"d1\"]},\n"
    " \"1\": {\"id\": \"m1\", \"conversation_id\": \"c1\","
    "  \"role\": \"user\", \"content\": \"first\","
    "  \"timestamp\": 1704164646},\n"
    " \"3\": {\"conversation_id\": \"c1\", \"role\": \"assistant\","
    "  \"content\": \"another answer\", \"timestamp\": 1704164650,"
    "  \"parent_id\": \"m1\"}},\n"
    "\"sessions\": {\"1\": {\"user_id\": \"BOB\","
    "  \"access_jti\": \"00000000-0000-4000-8000-000000000001\","
    "  \"last_activity\": \"2024-05-05T00:00:00Z\","
    "  \"ip\": \"10.0.0.1\"}},\n"
    "\"documents\": {\"d1\": {\"user_id\": 1, \"title\": \"Doc\","
    "  \"content\": {\"a\": [1, 2]}}}}\n";

/* Every row of the tables, whatever their time of change. */
static const char rows_sql[] =
    "SELECT string_agg(x, E'\\n' ORDER BY x) FROM ("
    "SELECT to_jsonb(t)::text AS x FROM auth.users t UNION ALL "
    "SELECT to_jsonb(t)::text FROM chat.conversations t UNION ALL "
    "SELECT to_jsonb(t)::text FROM chat.messages t UNION ALL "
    "SELECT to_jsonb(t)::text FROM auth.sessions t UNION ALL "
    "SELECT to_jsonb(t)::text FROM chat.documents t) r";

/* Conversations whose counters are not those of their messages. */
#define WRONG_COUNTS                                                     \
	"SELECT count(*) FROM chat.conversations c CROSS JOIN LATERAL (" \
	"SELECT count(*) AS n, coalesce(max(position), 0) AS last,"      \
	" count(DISTINCT position) AS places FROM chat.messages m"       \
	" WHERE m.user_id = c.user_id AND m.conversation_id = c.id) x"   \
	" WHERE (c.message_count, c.next_position, x.places)"            \
	" IS DISTINCT FROM (x.n, x.last + 1, x.n)"

Test(import, takes_over_what_there_is)
{
	write_file(file, tinydb);
	EXPECT(
	    0, "messages: 5 made, 0 there already", "import", "tinydb", file);
	EXPECT_VALUE(
	    "SELECT username || ' ' || role || ' ' || created_at || ' '"
	    " || left(password_hash, 27) FROM auth.users"
	    " WHERE username LIKE 'z%'",
	    "zo\xc3\xab admin 2024-01-02 03:04:05+00 "
	    "pbkdf2_sha256$100000$a1b2c3");
	EXPECT_VALUE("SELECT username FROM auth.users WHERE password_hash LIKE "
		     "'$argon2id$%'",
	    "bob");
	/* Times, order, links and counts. */
	EXPECT_VALUE("SELECT title || ' ' || message_count || ' ' || created_at"
		     " || ' ' || last_message_at || ' ' || tags::text"
		     " FROM chat.conversations WHERE title <> ''",
	    "Hello 3 2024-01-02 03:04:05.5+00 2024-01-02 03:04:10+00 {x}");
	EXPECT_VALUE("SELECT string_agg(m.content || ' ' || m.created_at || ' '"
		     " || coalesce(p.content, '-') || ' ' || "
		     "m.tableoid::regclass, '; ' ORDER BY m.position)"
		     " FROM chat.messages m JOIN chat.conversations c"
		     " ON c.id = m.conversation_id LEFT JOIN chat.messages p"
		     " ON p.id = m.parent_id WHERE c.title = 'Hello'",
	    "first 2024-01-02 03:04:06+00 - chat.messages_2024_01; "
	    "second 2024-01-02 03:04:07+00 first chat.messages_2024_01; "
	    "another answer 2024-01-02 03:04:10+00 first "
	    "chat.messages_2024_01");
	EXPECT_VALUE("SELECT token_count || used_documents::text FROM "
		     "chat.messages WHERE content = 'second'",
	    "5[\"d1\"]");
	/* An id that is one is kept; a conversation begins with its first word.
	 */
	EXPECT_VALUE("SELECT id || ' ' || created_at FROM chat.conversations"
		     " WHERE title = ''",
	    "019a0000-0000-7000-8000-000000000002 2025-03-01 08:00:00+00");
	EXPECT_VALUE(WRONG_COUNTS, "0");
	EXPECT_VALUE("SELECT s.access_jti || ' ' || s.revoke_reason || ' ' || "
		     "s.last_activity || ' ' || u.username FROM auth.sessions s"
		     " JOIN auth.users u ON u.id = s.user_id"
		     " WHERE s.revoked_at <= now()",
	    "00000000-0000-4000-8000-000000000001 imported "
	    "2024-05-05 00:00:00+00 bob");
	EXPECT_VALUE("SELECT d.title || ' ' || d.content || ' ' || u.username"
		     " FROM chat.documents d JOIN auth.users u"
		     " ON u.id = d.user_id",
	    "Doc {\"a\":[1,2]} zo\xc3\xab");
	/* Cut, and found. */
	EXPECT_VALUE(
	    "SELECT d.status || ' ' || d.chunk_count || ' ' || c.content"
	    " FROM chat.documents d JOIN chat.document_chunks c"
	    " ON c.document_id = d.id",
	    "ready 1 {\"a\":[1,2]}");
	EXPECT_VALUE("SELECT count(*) FROM chat.messages_default", "0");
	EXPECT_VALUE("SELECT string_agg(action || ' ' || actor_kind, ', ' "
		     "ORDER BY action) FROM audit.log",
	    "import.run natterctl, session.create natterctl, "
	    "user.create natterctl, user.create natterctl, user.password "
	    "natterctl");
}

Test(import, a_second_time_changes_nothing)
{
	struct command_end e;
	char *before;

	write_file(file, tinydb);
	e = RUN(admin_natterctl(), "import", "tinydb", file);
	cr_assert_eq(e.code, 0, "%s", e.err);
	cr_expect_eq(strncmp(e.out, "bob ", 4), 0, "%s", e.out);
	command_end_clear(&e);
	before = admin_value(rows_sql);
	e = RUN(admin_natterctl(), "import", "tinydb", file);
	cr_assert_eq(e.code, 0, "%s", e.err);
	cr_expect_str_eq(e.out, "", "a password was made again");
	cr_expect_not_null(strstr(e.err, "users: 0 made, 2 there already"));
	cr_expect_not_null(strstr(e.err, "messages: 0 made, 5 there already"));
	cr_expect_not_null(strstr(e.err, "sessions: 0 made, 1 there already"));
	cr_expect_not_null(strstr(e.err, "documents: 0 made, 1 there already"));
	command_end_clear(&e);
	EXPECT_VALUE(rows_sql, before);
	free(before);
}

Test(import, goes_on_where_an_earlier_one_ended)
{
	write_file(file,
	    "{\"users\": {\"1\": {\"username\": \"a\"}}, \"conversations\":"
	    " {\"1\": {\"user_id\": 1}}, \"messages\": {\"1\":"
	    " {\"conversation_id\": 1, \"role\": \"user\", \"content\": \"1\","
	    " \"timestamp\": 1704164646}}}");
	EXPECT(0, "messages: 1 made", "import", "tinydb", file);
	write_file(file,
	    "{\"users\": {\"1\": {\"username\": \"a\"}}, \"conversations\":"
	    " {\"1\": {\"user_id\": 1}}, \"messages\": {\"1\":"
	    " {\"conversation_id\": 1, \"role\": \"user\", \"content\": \"1\","
	    " \"timestamp\": 1704164646}, \"2\": {\"conversation_id\": 1,"
	    " \"role\": \"assistant\", \"content\": \"2\","
	    " \"timestamp\": 1704164647}}}");
	EXPECT(
	    0, "messages: 1 made, 1 there already", "import", "tinydb", file);
	EXPECT_VALUE(WRONG_COUNTS, "0");
	EXPECT_VALUE("SELECT p.content FROM chat.messages m JOIN chat.messages "
		     "p ON p.id = m.parent_id WHERE m.content = '2'",
	    "1");
	EXPECT_VALUE("SELECT m.content FROM chat.conversations c JOIN "
		     "chat.messages m ON m.id = c.leaf_id",
	    "2");
}

Test(import, overwrites_nothing)
{
	write_file(file,
	    "{\"users\": {\"1\": {\"username\": \"Bob\", "
	    "\"password_hash\": " HASH
	    ", \"display_name\": \"Theirs\", \"is_admin\": true}},"
	    " \"conversations\": {\"9\": {\"user_id\": 1, \"title\": \"t\"}}}");
	EXPECT_FED("otter bakes blue plums\n", 0, "Made the user bob", "user",
	    "add", "bob", "--display-name", "Ours", "--password-stdin");
	EXPECT(0, "users: 0 made, 1 there already", "import", "tinydb", file);
	EXPECT_VALUE("SELECT display_name || ' ' || role || ' ' || "
		     "(password_hash LIKE '$argon2id$%') FROM auth.users",
	    "Ours user true");
	EXPECT_VALUE("SELECT u.username FROM chat.conversations c"
		     " JOIN auth.users u ON u.id = c.user_id",
	    "bob");
	admin_sql("UPDATE chat.conversations SET title = 'renamed'");
	EXPECT(0, "conversations: 0 made, 1 there already", "import", "tinydb",
	    file);
	EXPECT_VALUE("SELECT title FROM chat.conversations", "renamed");
}

Test(import, names_what_it_cannot_use_and_takes_the_rest)
{
	static const char *const named[] = {
	    "a.json:2: users 2: username cannot be a username",
	    "a.json:4: conversations 2: no user nobody",
	    "a.json:6: messages 2: no conversation c9",
	    "a.json:7: messages 3: role is not user",
	    "a.json:8: messages 4: content is missing",
	    "a.json:9: documents 1: no user 77",
	    "a.json:10: the table weather is none of users",
	    "6 records could not be used"};
	struct command_end e;

	write_file(file,
	    "{\"users\": {\"1\": {\"username\": \"a\"},\n"
	    " \"2\": {\"username\": \"a b\"}},\n"
	    "\"conversations\": {\"1\": {\"id\": \"c1\", \"user_id\": 1},\n"
	    " \"2\": {\"id\": \"c2\", \"user_id\": \"nobody\"}},\n"
	    "\"messages\": {\"1\": {\"conversation_id\": \"c1\", \"role\": "
	    "\"user\", \"content\": \"x\"},\n"
	    " \"2\": {\"conversation_id\": \"c9\", \"role\": \"user\", "
	    "\"content\": \"x\"},\n"
	    " \"3\": {\"conversation_id\": \"c1\", \"role\": \"alien\", "
	    "\"content\": \"x\"},\n"
	    " \"4\": {\"conversation_id\": \"c1\", \"role\": \"user\"}},\n"
	    "\"documents\": {\"1\": {\"user_id\": 77, \"content\": \"x\"}},\n"
	    "\"weather\": {\"1\": {}}}");
	e = RUN(admin_natterctl(), "import", "tinydb", file);
	cr_assert_eq(e.code, 1, "%s", e.err);
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		cr_expect_not_null(
		    strstr(e.err, named[i]), "%s not in: %s", named[i], e.err);
	command_end_clear(&e);
	EXPECT_VALUE("SELECT (SELECT count(*) FROM auth.users) || ' ' || "
		     "(SELECT count(*) FROM chat.conversations) || ' ' || "
		     "(SELECT count(*) FROM chat.messages)",
	    "1 1 1");
	EXPECT_VALUE(WRONG_COUNTS, "0");
}

Test(import, a_file_that_is_no_json_is_refused_by_its_line)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"[]", "a.json:1: not a JSON object of tables"},
	    {"", "is not a file with something in it"},
	    {"{\"users\":\n {\"1\": {\"username\": \"a\"}", "a.json:2: "},
	    {"{\"users\":\n\n {\"1\": {\"username\": }}}", "a.json:3: "},
	    {"{\"users\": 5}", "a table must be an object or an array"},
	    {"{\"users\": {}}\nx", "something follows"},
	    {"{\"users\": {\"1\": \"\xff\"}}", "a.json:1: "},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_file(file, rows[i].text);
		EXPECT(1, rows[i].says, "import", "tinydb", file);
	}
	EXPECT(1, "cannot open", "import", "tinydb", "/nonexistent");
	EXPECT(2, "FILE", "import", "tinydb");
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "0");
}

/* As GET /me/export writes it: a question with two answers, of which the first
 * was gone on with. */
static const char export[] =
    "{\"format\":\"natter-export\",\"version\":1,\"scope\":\"account\","
    "\"exported_at\":\"2025-03-02T00:00:00Z\",\"account\":[{\"id\":"
    "\"019a0000-0000-7000-8000-000000000001\",\"username\":\"zoe\","
    "\"role\":\"user\",\"metadata\":{},"
    "\"created_at\":\"2025-01-01T00:00:00+00:00\"}],"
    "\"sessions\":[{\"id\":\"019a0000-0000-7000-8000-0000000000a1\","
    "\"created_at\":\"2025-01-01T00:00:00+00:00\"}],"
    "\"notices\":[],\"documents\":[{\"id\":\"d1\",\"title\":\"Teas\","
    "\"mime_type\":\"text/markdown\",\"content\":"
    "\"# Green\\n\\nSencha is steamed.\\n\\n# Black\\n\\nAssam is "
    "malty.\\n\"}],"
    "\"tasks\":[{\"id\":\"t1\",\"title\":\"Buy tea\"}],"
    "\"conversations\":[{\"id\":\"019a0000-0000-7000-8000-000000000002\","
    "\"short_id\":\"abc\",\"store_id\":null,\"title\":\"Tea\","
    "\"tags\":[\"x\"],\"metadata\":{\"k\":1},\"is_archived\":false,"
    "\"leaf_id\":\"m2\",\"created_at\":\"2025-03-01T08:00:00+00:00\","
    "\"messages\":["
    "{\"id\":\"m1\",\"parent_id\":null,\"position\":1,\"role\":\"user\","
    "\"content\":\"Which?\",\"created_at\":\"2025-03-01T08:00:00.5+00:00\"},"
    "{\"id\":\"m2\",\"parent_id\":\"m1\",\"position\":2,"
    "\"role\":\"assistant\",\"content\":\"Green.\","
    "\"created_at\":\"2025-03-01T08:00:01+00:00\"},"
    "{\"id\":\"m3\",\"parent_id\":\"m1\",\"position\":3,"
    "\"role\":\"assistant\",\"content\":\"Black.\","
    "\"created_at\":\"2025-03-01T08:00:01+00:00\"}]}],"
    "\"end\":{\"conversations\":1,\"messages\":3,\"sha256\":\"00\"}}\n";

#define EXPORTED                                                           \
	"SELECT u.username || ' ' || c.title || ' ' || c.short_id || ' '"  \
	" || string_agg(m.role || ':' || m.content || '<' || "             \
	"coalesce(p.content, '-') || '@' || m.created_at::time, ' ' "      \
	"ORDER BY m.position) || ' leaf ' || max(l.content)"               \
	" FROM chat.conversations c JOIN auth.users u ON u.id = c.user_id" \
	" JOIN chat.messages m ON m.conversation_id = c.id"                \
	" LEFT JOIN chat.messages p ON p.id = m.parent_id"                 \
	" LEFT JOIN chat.messages l ON l.id = c.leaf_id"                   \
	" GROUP BY u.username, c.title, c.short_id"
#define EXPORTED_TALK                                                        \
	" Tea abc user:Which?<-@08:00:00.5 assistant:Green.<Which?@08:00:01" \
	" assistant:Black.<Which?@08:00:01 leaf Green."

Test(import, takes_what_natter_exports)
{
	write_file(file, export);
	EXPECT(0, "the table tasks is none of", "import", "json", file);
	EXPECT_VALUE(EXPORTED, "zoe" EXPORTED_TALK);
	EXPECT_VALUE(WRONG_COUNTS, "0");
	EXPECT_VALUE("SELECT revoke_reason FROM auth.sessions", "imported");
	EXPECT_VALUE("SELECT d.status || ' ' || d.chunk_count FROM "
		     "chat.documents d",
	    "ready 2");
	EXPECT_VALUE("WITH me AS MATERIALIZED (SELECT set_config('app.user_id',"
		     " id::text, false) FROM auth.users)"
		     " SELECT c.heading || ' ' || s.match FROM me CROSS JOIN"
		     " LATERAL chat.documents_search('steamed' || left(me::text"
		     ", 0), NULL, NULL, 5) s JOIN chat.document_chunks c"
		     " ON c.id = s.id",
	    "Green all");
	EXPECT(0, "messages: 0 made, 3 there already", "import", "json", file);
	EXPECT_VALUE(WRONG_COUNTS, "0");
}

Test(import, what_natter_exports_may_go_to_somebody_else)
{
	EXPECT_FED("otter bakes blue plums\n", 0, "Made the user bob", "user",
	    "add", "bob", "--password-stdin");
	write_file(file, export);
	EXPECT(0, "users: 0 made, 0 there already", "import", "json", "--user",
	    "Bob", file);
	EXPECT_VALUE(EXPORTED, "bob" EXPORTED_TALK);
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "1");
	EXPECT(1, "no user nobody", "import", "json", "--user", "nobody", file);
}

Test(import, files_may_lean_on_one_another)
{
	write_file(other, "{\"users\": [{\"id\": 5, \"username\": \"a\"}]}");
	write_file(file,
	    "{\"messages\": [{\"conversation_id\": 8, \"role\": \"user\","
	    " \"content\": \"x\"}], \"conversations\": [{\"id\": 8,"
	    " \"user_id\": 5}]}");
	EXPECT(0, "messages: 1 made", "import", "json", file, other);
}

Test(import, a_rehearsal_changes_nothing)
{
	char *before = admin_value(rows_sql), *after;

	write_file(file, tinydb);
	EXPECT(0, "messages: 5 made, 0 there already", "import", "tinydb",
	    "--dry-run", file);
	after = admin_value(rows_sql);
	cr_expect_str_eq(before, after);
	free(before);
	free(after);
}

Test(import, users_may_be_left_without_a_password)
{
	write_file(file, "{\"users\": [{\"username\": \"a\"}]}");
	EXPECT(0, "users: 1 made", "import", "json", "--no-passwords", file);
	EXPECT_VALUE("SELECT password_hash IS NULL FROM auth.users", "t");
}

/* 20,000 messages, so that there is time to kill it. */
static void
write_many(void)
{
	FILE *f = fopen(file, "w");

	cr_assert_not_null(f);
	fputs("{\"users\": [{\"id\": 1, \"username\": \"a\"}],"
	      " \"conversations\": [{\"id\": 1, \"user_id\": 1}],"
	      " \"messages\": [",
	    f);
	for (int i = 0; i < 20000; i++)
		fprintf(f,
		    "%s{\"conversation_id\": 1, \"role\": \"user\","
		    " \"content\": \"word%d is said at %d\","
		    " \"timestamp\": %d}",
		    i > 0 ? "," : "", i, i, 1704164646 + i);
	fputs("]}", f);
	cr_assert_eq(fclose(f), 0);
}

/* Waits until the import has begun to write what the query counts. */
static void
wait_for_work(const char *sql)
{
	for (int i = 0; i < 2000; i++) {
		char *v = admin_value(sql);
		bool is_there = strcmp(v, "0") != 0;
		free(v);
		if (is_there)
			return;
		usleep(5000);
	}
	cr_assert_fail("the import never began");
}

Test(import, one_that_is_killed_leaves_nothing_and_can_be_run_again)
{
	static const char busy[] =
	    "SELECT count(*) FROM pg_stat_activity WHERE datname = "
	    "current_database() AND usename = 'natter_migrate' AND state = "
	    "'active' AND query LIKE '%chat.messages (user_id%'";
	pid_t pid;

	write_many();
	pid = START(admin_natterctl(), "import", "json", file);
	wait_for_work(busy);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(command_wait(pid), -1);
	/* The server notices when it next speaks to the client. */
	EXPECT(0, "messages: 20000 made, 0 there already", "import", "json",
	    "--no-passwords", file);
	EXPECT_VALUE("SELECT count(*) FROM chat.messages", "20000");
	EXPECT_VALUE(WRONG_COUNTS, "0");
}
