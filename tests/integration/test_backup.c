/*
 * natterctl backup and restore: a backup restored into an empty cluster of
 * its own is the same in every row, serves natterd, and lets people in; and
 * whatever is wrong with a backup or its place is refused by name.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"
#include "servers.h"
#include "stack.h"

static struct server from, to; /* two clusters */
static char folder[64];
static char file[128];

static void
begin(void)
{
	static const char *const foreign[] = {"BACKUP_DATABASE_URL",
	    "NATTER_APP_PASSWORD", "NATTER_MIGRATE_PASSWORD",
	    "NATTER_JOBS_PASSWORD", "CREDENTIALS_DIRECTORY"};

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		unsetenv(foreign[i]);
	strcpy(folder, "/tmp/natter-backup-XXXXXX");
	if (mkdtemp(folder) == NULL || !server_start_postgres(&to, NULL) ||
	    !admin_start_schema(&from, NULL, "natter"))
		abort();
	snprintf(file, sizeof(file), "%s/b.dump", folder);
}

static void
end(void)
{
	struct command_end e = RUN("rm", "-rf", folder);

	command_end_clear(&e);
	server_remove(&to);
	server_remove(&from);
}

TestSuite(backup, .init = begin, .fini = end, .timeout = 240);

#define USER "00000000-0000-7000-8000-00000000000a"
#define TALK "01900000-0000-7000-8000-000000000001"

/* Rows of many kinds, some in partitions, some hard to write down. */
static void
fill(void)
{
	admin_sql(
	    "INSERT INTO auth.users (id, username, display_name) VALUES "
	    "('" USER "', 'a', E'tab\\t back\\\\slash\\nline ünï \\u2028');"
	    "INSERT INTO auth.user_keys (user_id, version, wrapped_key) VALUES "
	    "('" USER "', 1, sha256('k'));"
	    "INSERT INTO chat.conversations (user_id, id, short_id, metadata, "
	    "tags) VALUES ('" USER "', '" TALK "', 'abc', "
	    "'{\"a\": [1, null]}', '{x,\"y z\"}');"
	    "INSERT INTO chat.messages (user_id, id, conversation_id, "
	    "position, role, content, status) SELECT '" USER "', "
	    "overlay(natter.uuid_floor(now() - i * interval '1 day')::text "
	    "placing '7001-8000-000000000001' from 15)::uuid, '" TALK "', i, "
	    "'user', repeat('word ' || i, 50), 'complete' FROM "
	    "generate_series(1, 300) i");
}

/* From here on natterctl and admin_* speak of the other cluster. */
static void
move_on(void)
{
	setenv("TEST_DATABASE_URL", to.url, 1);
	admin_database("natter");
}

static void
write_text(const char *path, const char *text, const char *mode)
{
	FILE *f = fopen(path, mode);

	cr_assert(
	    f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

/* The sums of all tables, by a way that is not the program's own. */
static const char contents_sql[] =
    "SELECT string_agg(c.oid::regclass || query_to_xml(format('SELECT * FROM "
    "ONLY %s x ORDER BY x::text', c.oid::regclass), true, true, '')::text, "
    "'' ORDER BY c.oid::regclass::text) FROM pg_class c WHERE c.relkind = "
    "'r' AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname "
    "IN ('auth', 'chat', 'audit', 'natter'))";

/*
 * Postgres writes a comparison of rows in a trigger's condition as the tree
 * that it parsed, and parses what it wrote as a list: the same without
 * parentheses.
 */
static char *
without_parentheses(char *sql)
{
	char *end = sql;

	for (const char *p = sql; *p != '\0'; p++)
		if (*p != '(' && *p != ')')
			*end++ = *p;
	*end = '\0';
	return sql;
}

static void
expect_same(char *before, char *after, const char *what)
{
	size_t n = 0, at;

	while (before[n] != '\0' && before[n] == after[n])
		n++;
	at = n < 300 ? 0 : n - 300;
	cr_expect(strcmp(before, after) == 0,
	    "%s differ: %.600s\n-- and\n%.600s", what, before + at, after + at);
	free(before);
	free(after);
}

/* Backs up, restores into the other cluster, compares everything. */
static void
there_and_back(const char *form)
{
	char *contents, *schema;

	fill();
	contents = admin_value(contents_sql);
	schema = admin_dump();
	EXPECT(0, "tables", "backup", "--output", file, form);
	EXPECT_VALUE("SELECT actor_kind FROM audit.log WHERE action = "
		     "'backup.make'",
	    "natterctl");
	cr_assert_not_null(strstr(contents, "word 300"));
	move_on();
	EXPECT(0, "all of them equal", "restore", file);
	EXPECT_VALUE("SELECT count(*) FROM audit.log WHERE action = "
		     "'backup.restore'",
	    "1");
	admin_sql("SET session_replication_role = replica;"
		  "DELETE FROM audit.unchained u USING audit.log l WHERE "
		  "l.id = u.log_id AND l.action = 'backup.restore';"
		  "DELETE FROM audit.log WHERE action = 'backup.restore'");
	expect_same(contents, admin_value(contents_sql), "the rows");
	expect_same(without_parentheses(schema),
	    without_parentheses(admin_dump()), "the schemas");
	EXPECT(0, "All is well", "migrate", "verify");
	EXPECT(0, "Nothing to do", "migrate", "up");
}

Test(backup, a_compressed_one_restores_every_row_into_an_empty_cluster)
{
	there_and_back("--compressed");
}

Test(backup, a_plain_one_does_so_too)
{
	there_and_back("--plain");
}

Test(backup, people_sign_in_to_the_restored_copy)
{
	struct stack s;
	struct stack_options options = {0};
	struct person p;
	struct answer a;
	char body[256], conversation[40], *url = NULL;

	url = strdup(admin_url("natter_app"));
	options.database_url = url;
	stack_start(&s, &options);
	person_make(&s, &p);
	person_say(&s, &p, "remember the milk", &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	snprintf(conversation, sizeof(conversation), "%s", p.conversation);
	stack_stop(&s);
	free(url);
	EXPECT(0, "tables", "backup", "--output", file);
	move_on();
	EXPECT(0, "all of them equal", "restore", file);
	url = strdup(admin_url("natter_app"));
	options.database_url = url;
	stack_start(&s, &options);
	snprintf(body, sizeof(body),
	    "{\"username\":\"%s\",\"password\":\"correct horse %s\"}",
	    p.username, p.username + strlen("person-"));
	http_ask(&(struct ask){.base = s.base,
		     .path = "/api/v1/auth/login",
		     .method = "POST",
		     .json = body},
	    &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	snprintf(body, sizeof(body), "/api/v1/conversations/%s/messages",
	    conversation);
	http_ask(
	    &(struct ask){.base = s.base, .path = body, .token = p.token}, &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	cr_expect_not_null(strstr(a.body.p, "remember the milk"));
	answer_clear(&a);
	person_say(&s, &p, "and the bread", &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	stack_stop(&s);
	free(url);
}

Test(backup, both_files_are_private_and_never_replaced)
{
	char manifest[160], pattern[160];
	struct stat st;
	glob_t found;

	snprintf(manifest, sizeof(manifest), "%s.manifest", file);
	umask(0);
	EXPECT(0, file, "backup", "--output", file);
	cr_assert_eq(stat(file, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(stat(manifest, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	EXPECT(1, "never replaced", "backup", "--output", file);
	EXPECT(0, "natter-2", "backup", "--output", folder, "--plain");
	snprintf(pattern, sizeof(pattern), "%s/natter-*.sql.manifest", folder);
	cr_expect_eq(glob(pattern, 0, NULL, &found), 0);
	globfree(&found);
	EXPECT(1, "cannot be written", "backup", "--output",
	    "/nonexistent/b.dump");
	snprintf(pattern, sizeof(pattern), "%s/*partial*", folder);
	cr_expect_eq(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

Test(backup, a_role_that_does_not_see_all_rows_is_refused)
{
	char path[160], pattern[160];
	glob_t found;

	admin_sql("CREATE ROLE half LOGIN BYPASSRLS IN ROLE pg_read_all_data;"
		  "GRANT CONNECT ON DATABASE natter TO half");
	setenv("BACKUP_DATABASE_URL", admin_url("half"), 1);
	EXPECT(0, "tables", "backup", "--output", file);
	admin_sql("ALTER ROLE half NOBYPASSRLS");
	snprintf(path, sizeof(path), "%s/no.dump", folder);
	EXPECT(78, "does not see all rows", "backup", "--output", path);
	setenv("BACKUP_DATABASE_URL", admin_url("natter_jobs"), 1);
	EXPECT(78, "does not see all rows", "backup", "--output", path);
	setenv("BACKUP_DATABASE_URL", "host=/nonexistent", 1);
	EXPECT(1, "cannot reach Postgres", "backup", "--output", path);
	snprintf(pattern, sizeof(pattern), "%s/no.dump*", folder);
	cr_expect_eq(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

Test(backup, without_keys_the_keys_of_users_data_stay_behind)
{
	fill();
	EXPECT(0, "without the keys", "backup", "--output", file,
	    "--without-keys");
	move_on();
	EXPECT(0, "were left out", "restore", file);
	EXPECT_VALUE("SELECT count(*) FROM auth.user_keys", "0");
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "1");
}

Test(backup, a_spoiled_file_or_manifest_is_refused_before_anything_happens)
{
	char manifest[160], path[160];
	int fd;

	snprintf(manifest, sizeof(manifest), "%s.manifest", file);
	fill();
	EXPECT(0, file, "backup", "--output", file);
	move_on();
	fd = open(file, O_WRONLY);
	cr_assert_eq(pwrite(fd, "X", 1, 5000), 1);
	close(fd);
	EXPECT(
	    1, "is not the file that its manifest speaks of", "restore", file);
	cr_assert_eq(truncate(file, 4000), 0);
	EXPECT(
	    1, "is not the file that its manifest speaks of", "restore", file);
	write_text(manifest, "{}", "w");
	EXPECT(1, "is not a manifest", "restore", file);
	unlink(manifest);
	EXPECT(1, "was not finished", "restore", file);
	snprintf(path, sizeof(path), "%s/none", folder);
	EXPECT(1, "none.manifest", "restore", path);
	EXPECT_VALUE("SELECT to_regnamespace('auth') IS NULL", "t");
}

/* Puts `to` in place of `text` in the manifest. */
static void
edit_manifest(const char *text, const char *with)
{
	char words[256];

	snprintf(words, sizeof(words), "s/%s/%s/", text, with);
	struct command_end e = RUN("sed", "-i", words, "--", "b.dump.manifest");
	cr_assert_eq(e.code, 0, "%s", e.err);
	command_end_clear(&e);
}

Test(backup, rows_that_differ_from_the_manifest_are_named)
{
	fill();
	cr_assert_eq(chdir(folder), 0);
	EXPECT(0, "b.dump", "backup", "--output", "b.dump");
	move_on();
	edit_manifest("\"schema_version\":", "\"schema_version\": 9");
	EXPECT(1, "this natterctl knows", "restore", "b.dump");
	edit_manifest("\"schema_version\": 9", "\"schema_version\":");
	edit_manifest("\"server_version\":", "\"server_version\": 9");
	EXPECT(1, "comes from PostgreSQL 9", "restore", "b.dump");
	edit_manifest("\"server_version\": 9", "\"server_version\":");
	edit_manifest("auth.users", "auth.uzers");
	EXPECT(1, "auth.uzers is missing", "restore", "b.dump");
	edit_manifest("auth.uzers", "auth.users");
	EXPECT(0, "all of them equal", "restore", "b.dump", "--replace");
}

Test(backup, a_place_that_is_not_fit_is_refused)
{
	PGconn *daemon;

	fill();
	EXPECT(0, file, "backup", "--output", file);
	/* Where it came from: not empty. */
	EXPECT(1, "the database is not empty", "restore", file);
	daemon = PQconnectdb(admin_url("natter_app"));
	EXPECT(1, "natterd is connected", "restore", file, "--replace");
	PQfinish(daemon);
	admin_sql("UPDATE auth.users SET username = 'later'");
	EXPECT(0, "all of them equal", "restore", file, "--replace");
	EXPECT_VALUE("SELECT username FROM auth.users", "a");
	setenv("SUPERUSER_DATABASE_URL", admin_url("natter_migrate"), 1);
	EXPECT(1, "only a superuser can restore", "restore", file);
	setenv("SUPERUSER_DATABASE_URL", to.url, 1);
	EXPECT(1, "run natterctl bootstrap first", "restore", file);
	move_on();
	server_sql(to.url, "CREATE DATABASE other");
	EXPECT(1, "was not made by natterctl bootstrap", "restore", file,
	    "--database", "other");
	EXPECT(0, "as they should be", "bootstrap", "--database", "other");
	EXPECT(0, "all of them equal", "restore", file, "--database", "other");
	EXPECT_VALUE("SELECT to_regnamespace('auth') IS NULL", "t");
}

Test(backup, a_password_is_in_no_word_and_no_variable_of_a_child)
{
	char program[160], seen[160], pattern[160], *url;
	char *text = NULL;
	size_t room = 0;
	glob_t found;
	FILE *f;

	/* The child is a script that shows what it got. */
	admin_sql("ALTER ROLE postgres PASSWORD 'canary:back\\slash'");
	snprintf(program, sizeof(program), "%s/pg_dump", folder);
	snprintf(seen, sizeof(seen), "%s/seen", folder);
	f = fopen(program, "w");
	fprintf(f,
	    "#!/bin/sh\n{ echo \"$@\"; tr '\\0' '\\n' </proc/$$/environ;"
	    " echo PASS; cat \"$PGPASSFILE\"; } >%s\nexit 1\n",
	    seen);
	fclose(f);
	chmod(program, 0755);
	setenv("NATTER_PG_BIN", folder, 1);
	url = server_url_with(
	    getenv("SUPERUSER_DATABASE_URL"), "password", "canary:back\\slash");
	setenv("SUPERUSER_DATABASE_URL", url, 1);
	EXPECT(1, "pg_dump failed", "backup", "--output", file);
	f = fopen(seen, "r");
	cr_assert_not_null(f);
	cr_assert_gt(getdelim(&text, &room, '\0', f), 0);
	fclose(f);
	cr_assert_not_null(strstr(text, "PGUSER=postgres"), "%s", text);
	cr_expect_not_null(
	    strstr(text, "PASS\n*:*:*:*:canary\\:back\\\\slash"), "%s", text);
	*strstr(text, "PASS\n") = '\0';
	cr_expect_null(strstr(text, "canary"), "%s", text);
	cr_expect_null(strstr(text, "DATABASE_URL"), "%s", text);
	free(text);
	free(url);
	/* And what failed half-way leaves nothing. */
	snprintf(pattern, sizeof(pattern), "%s*", file);
	cr_expect_eq(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}
