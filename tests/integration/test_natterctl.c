/*
 * natterctl beside migrations: bootstrap, users, seed, settings, key ring, and
 * how it answers to being called wrongly.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"
#include "servers.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

static char database[48];
static char folder[64];

static void
begin(void)
{
	static const char *const foreign[] = {"REDIS_URL",
	    "NATTER_APP_PASSWORD", "NATTER_MIGRATE_PASSWORD",
	    "NATTER_JOBS_PASSWORD", "CREDENTIALS_DIRECTORY"};

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		unsetenv(foreign[i]);
	strcpy(folder, "/tmp/natter-natterctl-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	setenv("CHAT_RUN_DIR", folder, 1);
	setenv("CHAT_HASH_MEMORY", "64", 1);
	snprintf(database, sizeof(database), "natter_ctl_%d", getpid());
	admin_database(database);
}

static void
end(void)
{
	struct command_end e = RUN("rm", "-rf", folder);

	command_end_clear(&e);
	admin_drop(database);
}

TestSuite(natterctl, .init = begin, .fini = end, .timeout = 120);

static void
migrate(void)
{
	admin_schema(database);
}

/* Roles, their memberships and settings, and the database's rights. */
static const char roles_sql[] =
    "SELECT string_agg(x, E'\\n') FROM ("
    "SELECT row_to_json(r)::text AS x FROM pg_roles r"
    " WHERE rolname LIKE 'natter%' UNION ALL "
    "SELECT row_to_json(m)::text FROM pg_auth_members m UNION ALL "
    "SELECT row_to_json(s)::text FROM pg_db_role_setting s JOIN pg_database d"
    " ON d.oid = s.setdatabase OR s.setdatabase = 0"
    " WHERE d.datname = current_database() UNION ALL "
    "SELECT datacl::text || datdba FROM pg_database"
    " WHERE datname = current_database() ORDER BY 1) t";

Test(natterctl, a_second_bootstrap_changes_nothing)
{
	char *before = admin_dump(), *roles = admin_value(roles_sql), *after;

	cr_assert_not_null(strstr(roles, "natter_search"));
	EXPECT(0, "as they should be", "bootstrap", "--database", database);
	EXPECT_VALUE(roles_sql, roles);
	after = admin_dump();
	cr_expect_str_eq(before, after);
	free(before);
	free(after);
	free(roles);
}

/*
 * A server of this test's own: roles belong to the whole cluster, and other
 * tests must not see them spoiled.
 */
static struct server alone;

static void
begin_alone(void)
{
	if (!server_start_postgres(&alone, NULL))
		abort();
	setenv("TEST_DATABASE_URL", alone.url, 1);
	begin();
}

static void
end_alone(void)
{
	end();
	server_remove(&alone);
}

TestSuite(cluster, .init = begin_alone, .fini = end_alone, .timeout = 120);

Test(cluster, bootstrap_mends_a_role_that_was_given_too_much)
{
	admin_sql("ALTER ROLE natter_app BYPASSRLS");
	EXPECT(0, "applied", "migrate", "up");
	EXPECT(1, "more rights than it should have", "migrate", "verify");
	EXPECT(0, "as they should be", "bootstrap", "--database", database);
	EXPECT(0, "All is well", "migrate", "verify");
}

Test(natterctl, bootstraps_of_two_databases_at_once_both_succeed)
{
	pid_t pids[4];
	char names[4][64];

	for (int i = 0; i < 4; i++) {
		snprintf(names[i], sizeof(names[i]), "%s_%d", database, i);
		pids[i] = START(
		    admin_natterctl(), "bootstrap", "--database", names[i]);
	}
	for (int i = 0; i < 4; i++) {
		cr_expect_eq(command_wait(pids[i]), 0);
		admin_drop(names[i]);
	}
}

Test(cluster, bootstrap_sends_passwords_as_verifiers_only)
{
	char path[128];
	FILE *f;

	setenv("NATTER_APP_PASSWORD", "a 'strange' \\ password", 1);
	snprintf(path, sizeof(path), "%s/secret", folder);
	f = fopen(path, "w");
	fputs("another\n", f);
	fclose(f);
	setenv("NATTER_MIGRATE_PASSWORD_FILE", path, 1);
	EXPECT(0, "Set the password of natter_app", "bootstrap", "--database",
	    database);
	EXPECT_VALUE("SELECT count(*) FROM pg_authid WHERE rolname IN "
		     "('natter_app', 'natter_migrate') AND rolpassword LIKE "
		     "'SCRAM-SHA-256$%'",
	    "2");
	unsetenv("NATTER_APP_PASSWORD");
	unsetenv("NATTER_MIGRATE_PASSWORD_FILE");
	EXPECT(0, "as they should be", "bootstrap", "--database", database);
	EXPECT_VALUE("SELECT count(*) FROM pg_authid WHERE rolname IN "
		     "('natter_app', 'natter_migrate') AND rolpassword LIKE "
		     "'SCRAM-SHA-256$%'",
	    "2");
}

Test(natterctl, bootstrap_prints_its_sql_without_a_server)
{
	setenv("SUPERUSER_DATABASE_URL", "host=/nonexistent", 1);
	EXPECT(0, "CREATE DATABASE \"x\"", "bootstrap", "--print-sql",
	    "--database", "x");
	EXPECT(1, "cannot reach Postgres", "bootstrap");
	EXPECT(2, "not a URL", "bootstrap", "--database", "postgres://x/y");
}

Test(natterctl, bootstrap_by_an_ordinary_role_is_refused)
{
	setenv("SUPERUSER_DATABASE_URL", admin_url("natter_app"), 1);
	EXPECT(1, "natter_app is not a superuser", "bootstrap");
}

Test(natterctl, a_user_is_added_once_with_a_folded_name)
{
	migrate();
	EXPECT_FED("otter bakes blue plums\n", 0, "Made the administrator zoë.",
	    "user", "add", " ZoË ", "--role", "admin", "--password-stdin");
	EXPECT(1, "there is a user zoë already", "user", "add", "zoë",
	    "--generate");
	EXPECT_VALUE("SELECT username || ' ' || role || ' ' || "
		     "(password_hash LIKE '$argon2id$%') FROM auth.users",
	    "zoë admin true");
	EXPECT(0, "zoë", "user", "list");
}

Test(natterctl, a_bad_name_role_or_password_is_refused)
{
	migrate();
	EXPECT(2, "cannot be a username", "user", "add", "a b", "--generate");
	EXPECT(2, "cannot be a username", "user", "add", "", "--generate");
	EXPECT(2, "the roles are user and admin", "user", "add", "x", "--role",
	    "root", "--generate");
	EXPECT_FED("short\n", 2, "at least 15 characters", "user", "add", "x",
	    "--password-stdin");
	EXPECT_FED(
	    "", 2, "holds no line", "user", "add", "x", "--password-stdin");
	EXPECT_FED(
	    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\n", 2,
	    "not valid UTF-8", "user", "add", "x", "--password-stdin");
	EXPECT(2, "give one of them", "user", "add", "x", "--generate",
	    "--password-stdin");
	setenv("CHAT_PASSWORD_MIN", "0", 1);
	EXPECT(
	    78, "CHAT_PASSWORD_MIN is \"0\"", "user", "add", "x", "--generate");
	unsetenv("CHAT_PASSWORD_MIN");
	setenv("CHAT_RUN_DIR", "/nonexistent", 1);
	EXPECT(78, "(CHAT_RUN_DIR) must be there", "user", "add", "x",
	    "--generate");
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "0");
}

Test(natterctl, a_generated_password_is_as_long_as_it_must_be)
{
	migrate();
	setenv("CHAT_PASSWORD_MIN", "24", 1);
	EXPECT(0, "Password (not shown again): ", "user", "add", "kim",
	    "--generate");
	setenv("CHAT_PASSWORD_MIN", "64", 1);
	EXPECT(0, "admin ", "seed");
}

Test(natterctl, a_malformed_url_is_refused_without_its_password)
{
	struct command_end e;

	setenv("OWNER_DATABASE_URL", "postgres//me:hunter2@host/natter", 1);
	e = RUN(admin_natterctl(), "user", "list");
	cr_expect_eq(e.code, 78);
	cr_expect_not_null(strstr(e.err, "OWNER_DATABASE_URL is neither"));
	cr_expect_null(strstr(e.err, "hunter2"), "%s", e.err);
	command_end_clear(&e);
}

Test(natterctl, without_the_schema_it_says_to_migrate)
{
	EXPECT(1, "run natterctl migrate up", "user", "list");
	EXPECT(1, "run natterctl migrate up", "seed");
}

Test(natterctl, passwd_and_disable_end_the_sessions)
{
	migrate();
	EXPECT(0, "Password (not shown again): ", "user", "add", "kim",
	    "--generate");
	admin_sql(
	    "INSERT INTO auth.sessions (id, user_id, rt_secret, expires_at, "
	    "idle_expires_at, access_iat) SELECT gen_random_uuid(), id, "
	    "sha256(''), now() + '1 day', now() + '1 day', now() FROM "
	    "auth.users");
	EXPECT_FED("another long password\n", 0, "within a second or two",
	    "user", "passwd", "KIM", "--password-stdin");
	EXPECT_VALUE(
	    "SELECT revoke_reason FROM auth.sessions", "password_changed");
	EXPECT_VALUE("SELECT session_epoch FROM auth.users", "1");
	EXPECT(0, "kim is disabled.", "user", "disable", "kim");
	EXPECT_VALUE("SELECT is_disabled FROM auth.users", "t");
	EXPECT(0, "disabled", "user", "list");
	EXPECT(0, "kim is enabled.", "user", "enable", "kim");
	EXPECT_VALUE("SELECT is_disabled FROM auth.users", "f");
	EXPECT(
	    1, "there is no user tom", "user", "passwd", "tom", "--generate");
	EXPECT(1, "there is no user tom", "user", "disable", "tom");
}

Test(natterctl, limits_are_set_shown_listed_and_taken_back)
{
	migrate();
	EXPECT(0, "Made the user kim.", "user", "add", "kim", "--generate");
	EXPECT(0, "Made store books", "store", "add", "books");
	EXPECT(0, "turns_per_minute               20  setting", "limits",
	    "show", "KIM");
	EXPECT(0, "User KIM streams=9: set.", "limits", "set", "--user", "KIM",
	    "streams=9", "cost_per_day=250");
	EXPECT(0, "Role user streams=7: set.", "limits", "set", "streams=7",
	    "api_per_minute=0", "--role", "user");
	EXPECT(0, "Store books turns_per_day=5: set.", "limits", "set",
	    "turns_per_day=5", "--store", "books");
	EXPECT(0, "streams                         9  user", "limits", "show",
	    "kim");
	EXPECT(0, "cost_per_day                  250  user", "limits", "show",
	    "kim");
	EXPECT(0, "api_per_minute               none  role", "limits", "show",
	    "kim");
	EXPECT(0,
	    "\nIn store books:\nturns_per_day                   5  store\n",
	    "limits", "show", "kim", "--store", "books");
	EXPECT(0, "role   user                  streams             7",
	    "limits", "list");
	EXPECT(0, "store  books                 turns_per_day       5",
	    "limits", "list");
	EXPECT(0, "User kim streams: not set any more.", "limits", "unset",
	    "streams", "--user", "kim");
	EXPECT(0, "streams                         7  role", "limits", "show",
	    "kim");
	EXPECT(0, "all: not set any more", "limits", "unset", "all", "--role",
	    "user");
	EXPECT_VALUE("SELECT string_agg(name, ' ' ORDER BY name)"
		     " FROM auth.limits",
	    "cost_per_day turns_per_day");
	EXPECT(0, "Deleted kim", "user", "delete", "kim", "--yes");
	EXPECT(0, "Deleted store books", "store", "remove", "books", "--yes");
	EXPECT_VALUE("SELECT count(*) FROM auth.limits", "0");
}

Test(natterctl, limits_that_are_none_are_refused)
{
	migrate();
	EXPECT(0, "Made the user kim.", "user", "add", "kim", "--generate");
	EXPECT(2, "say whose", "limits", "set", "streams=1");
	EXPECT(2, "say whose", "limits", "set", "streams=1", "--user", "kim",
	    "--role", "user");
	EXPECT(2, "user or admin, not king", "limits", "set", "streams=1",
	    "--role", "king");
	EXPECT(2, "no limit \"turns\"", "limits", "set", "turns=1", "--user",
	    "kim");
	EXPECT(
	    2, "not LIMIT=NUMBER", "limits", "set", "streams", "--user", "kim");
	EXPECT(2, "no limit \"streams=1\"", "limits", "unset", "streams=1",
	    "--user", "kim");
	EXPECT(2, "whole number", "limits", "set", "streams=", "--user", "kim");
	EXPECT(
	    2, "whole number", "limits", "set", "streams=-1", "--user", "kim");
	EXPECT(
	    2, "whole number", "limits", "set", "streams=1.5", "--user", "kim");
	EXPECT(2, "whole number", "limits", "set", "streams=1000000000001",
	    "--user", "kim");
	EXPECT(2, "usage:", "limits", "set", "--user", "kim");
	EXPECT(2, "a store has no api_per_minute", "limits", "set",
	    "api_per_minute=1", "--store", "books");
	EXPECT(1, "no user tom", "limits", "set", "streams=1", "--user", "tom");
	EXPECT(1, "no store books", "limits", "set", "streams=1", "--store",
	    "books");
	EXPECT(1, "no user tom", "limits", "show", "tom");
	EXPECT(
	    1, "no store books", "limits", "show", "kim", "--store", "books");
	EXPECT_VALUE("SELECT count(*) FROM auth.limits", "0");
}

Test(natterctl, a_store_is_made_changed_filled_and_removed)
{
	migrate();
	EXPECT(0, "Made the user kim.", "user", "add", "kim", "--generate");
	EXPECT(0, "Made store books", "store", "add", "books", "--open",
	    "--model", "m1", "--name", "Books & more");
	EXPECT(1, "stores_slug_key", "store", "add", "books");
	EXPECT(1, "stores_slug", "store", "add", "No good");
	EXPECT(2, "both", "store", "set", "books", "--open", "--members-only");
	EXPECT(0, "books                 open     active    m1  Books & more",
	    "store", "list");
	EXPECT(0, "Changed store books", "store", "set", "books", "--model", "",
	    "--inactive", "--members-only");
	EXPECT(0, "members  inactive  -  Books & more", "store", "list");
	EXPECT(1, "no store shoes", "store", "set", "shoes", "--open");
	EXPECT(1, "--prompt-template: there is no shop", "store", "set",
	    "books", "--prompt-template", "shop");
	EXPECT(1, "--prompt-template: there is no passages", "store", "add",
	    "shoes", "--prompt-template", "passages");
	EXPECT_VALUE("SELECT count(*) FROM chat.stores"
		     " WHERE settings <> '{}'",
	    "0");
	EXPECT(0, "Changed store books", "store", "set", "books",
	    "--prompt-template", "default");
	EXPECT_VALUE(
	    "SELECT settings->>'prompt_template' FROM chat.stores", "default");
	EXPECT(0, "Changed store books", "store", "set", "books",
	    "--prompt-template", "");
	EXPECT_VALUE("SELECT settings FROM chat.stores", "{}");
	EXPECT(
	    0, "kim is a member of books.", "store", "member", "books", "KIM");
	EXPECT(0, "kim is a manager of books.", "store", "member", "books",
	    "kim", "--role", "manager");
	EXPECT(2, "--role", "store", "member", "books", "kim", "--role", "x");
	EXPECT(1, "no user lee", "store", "member", "books", "lee");
	EXPECT(0, "no member of books any more", "store", "member", "books",
	    "kim", "--remove");
	EXPECT(
	    1, "is no member", "store", "member", "books", "kim", "--remove");
	EXPECT(2, "--yes", "store", "remove", "books");
	EXPECT(0, "Deleted store books", "store", "remove", "books", "--yes");
	EXPECT(1, "no store books", "store", "remove", "books", "--yes");
}

Test(natterctl, unlocks_and_deletes_a_user)
{
	migrate();
	EXPECT(0, "Made the user kim.", "user", "add", "kim", "--generate");
	EXPECT(0, "Forgot 0 failed sign-ins of kim.", "user", "unlock", "KIM");
	admin_sql("INSERT INTO auth.login_throttle (key, user_id, kind,"
		  " failures, expires_at) SELECT uuid_send(id), id, 'account',"
		  " 100, 'infinity' FROM auth.users");
	EXPECT(0, "Forgot 100 failed sign-ins of kim, which had stopped",
	    "user", "unlock", "kim");
	EXPECT_VALUE("SELECT count(*) FROM auth.login_throttle", "0");
	EXPECT(1, "there is no user tom", "user", "unlock", "tom");
	EXPECT(1, "there is no user tom", "user", "delete", "tom", "--yes");
	EXPECT_FED("", 2, "say --yes", "user", "delete", "kim");
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "1");
	EXPECT(0, "Deleted kim", "user", "delete", "Kim", "--yes");
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "0");
}

Test(natterctl, invites_and_takes_an_invitation_back)
{
	char *id;

	migrate();
	EXPECT(0, "Code (not shown again): ", "user", "invite");
	EXPECT(0, "good for 3 accounts until", "user", "invite", "--uses", "3",
	    "--days", "30", "--note", "the choir");
	EXPECT(0, "0/3", "user", "invites");
	EXPECT(0, "the choir", "user", "invites");
	EXPECT_VALUE("SELECT count(*) FROM auth.invites WHERE expires_at >"
		     " now() + interval '29 days'",
	    "1");
	EXPECT(2, "1 to 100000 accounts", "user", "invite", "--uses", "0");
	EXPECT(2, "1 to 3650 days", "user", "invite", "--days", "4000");
	id = admin_value("SELECT id FROM auth.invites WHERE uses_max = 3");
	EXPECT(0, "Took the invitation", "user", "uninvite", id);
	EXPECT(1, "there is no invitation", "user", "uninvite", id);
	EXPECT(2, "is no invitation's id", "user", "uninvite", "k3v9p");
	EXPECT_VALUE("SELECT count(*) FROM auth.invites", "1");
	free(id);
}

Test(natterctl, imports_users_with_the_hashes_of_another_system)
{
	static const char file[] =
	    "# name, hash, display name\n"
	    "Zo\xc3\x8b\t$2y$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/"
	    "Mn4cvGaTcuTstEHTfJsdx6xN2\tZo\xc3\xab M.\r\n"
	    "kim\tpbkdf2_sha256$100000$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=\n"
	    "\n"
	    "lou\t$argon2id$v=19$m=256,t=3,p=1$S0poNGJvSjlrUVIybnZHSA$"
	    "OepwYbsHQrbmOJ+5qMC/pZUCvVyaD/iSjsmbFwqxsys\n"
	    "max\t5f4dcc3b5aa765d61d8327deb882cf99\n"
	    "a b\t$2y$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/"
	    "Mn4cvGaTcuTstEHTfJsdx6xN2\n"
	    "nohash\n"
	    "torn\t$argon2id$v=19$m=256\n";

	migrate();
	EXPECT_FED(file, 1, "3 made, 0 there already, 4 not usable.", "user",
	    "import", "-");
	EXPECT_FED(file, 1, "-:7: the name cannot be a username", "user",
	    "import", "-");
	EXPECT_FED(file, 1, "-:6: not a hash that can be verified", "user",
	    "import", "-");
	EXPECT_VALUE("SELECT string_agg(username || ':' ||"
		     " coalesce(display_name, ''), ' ' ORDER BY username)"
		     " FROM auth.users",
	    "kim: lou: zo\xc3\xab:Zo\xc3\xab M.");
	EXPECT(1, "cannot open", "user", "import", "/nonexistent/members");
}

Test(natterctl, a_long_list_comes_page_by_page_without_gaps)
{
	struct command_end e;
	size_t lines = 0;

	migrate();
	admin_sql("INSERT INTO auth.users (id, username) SELECT "
		  "gen_random_uuid(), 'u' || lpad(i::text, 5, '0') "
		  "FROM generate_series(1, 1001) i");
	e = RUN(admin_natterctl(), "user", "list");
	for (const char *p = e.out; *p != '\0'; p++)
		lines += *p == '\n';
	cr_expect_eq(lines, 1001, "%zu", lines);
	cr_expect_not_null(strstr(e.out, "u00500"));
	cr_expect_not_null(strstr(e.out, "u00501"));
	cr_expect_not_null(strstr(e.out, "u01001"));
	command_end_clear(&e);
}

Test(natterctl, seed_makes_three_users_once_and_prints_their_passwords)
{
	struct command_end e;
	char names[3][16], passwords[3][40];

	migrate();
	e = RUN(admin_natterctl(), "seed");
	cr_assert_eq(e.code, 0, "%s", e.err);
	cr_assert_eq(
	    sscanf(e.out, "%15s %39s %15s %39s %15s %39s", names[0],
		passwords[0], names[1], passwords[1], names[2], passwords[2]),
	    6, "%s", e.out);
	cr_expect_str_eq(names[0], "admin");
	cr_expect_str_eq(names[2], "user3");
	cr_expect_str_neq(passwords[0], passwords[1]);
	cr_expect_eq(strlen(passwords[0]), 23);
	command_end_clear(&e);
	EXPECT_VALUE("SELECT string_agg(username || ':' || role, ' ' ORDER BY "
		     "username) FROM auth.users",
	    "admin:admin user2:user user3:user");

	e = RUN(admin_natterctl(), "seed");
	cr_expect_eq(e.code, 0);
	cr_expect_str_eq(e.out, "");
	command_end_clear(&e);
	admin_sql("DELETE FROM auth.users WHERE username = 'user2'");
	e = RUN(admin_natterctl(), "seed");
	cr_expect_eq(strncmp(e.out, "user2 ", 6), 0, "%s", e.out);
	command_end_clear(&e);
}

/* Reads from the terminal until `phrase` has come. */
static void
await(int tty, char *seen, size_t size, const char *phrase)
{
	size_t n = strlen(seen);

	while (strstr(seen, phrase) == NULL && n + 1 < size) {
		struct pollfd p = {.fd = tty, .events = POLLIN};
		ssize_t got;

		cr_assert_eq(
		    poll(&p, 1, 20000), 1, "no \"%s\" in: %s", phrase, seen);
		got = read(tty, seen + n, size - n - 1);
		if (got <= 0)
			break;
		n += (size_t)got;
		seen[n] = '\0';
	}
	cr_assert_not_null(
	    strstr(seen, phrase), "no \"%s\" in: %s", phrase, seen);
}

static pid_t
on_a_terminal(int *out_tty)
{
	const char *argv[] = {admin_natterctl(), "user", "add", "kim", NULL};
	pid_t pid = forkpty(out_tty, NULL, NULL, NULL);

	if (pid == 0) {
		execvp(argv[0], (char *const *)(size_t)argv);
		_exit(127);
	}
	return pid;
}

static void
type(int tty, const char *text)
{
	cr_assert_eq(write(tty, text, strlen(text)), (ssize_t)strlen(text));
}

Test(natterctl, a_password_is_asked_for_twice_and_never_shown)
{
	char seen[4096] = "";
	pid_t pid;
	int tty;

	migrate();
	pid = on_a_terminal(&tty);
	await(tty, seen, sizeof(seen), "Password of kim: ");
	type(tty, "hunter2 met hunter9\n");
	await(tty, seen, sizeof(seen), "The same again: ");
	type(tty, "hunter2 met hunter8\n");
	await(tty, seen, sizeof(seen), "the two are not the same");
	cr_expect_eq(command_wait(pid), 1);
	cr_expect_null(strstr(seen, "hunter"));
	close(tty);

	seen[0] = '\0';
	pid = on_a_terminal(&tty);
	await(tty, seen, sizeof(seen), "Password of kim: ");
	type(tty, "hunter2 met hunter9\n");
	await(tty, seen, sizeof(seen), "The same again: ");
	type(tty, "hunter2 met hunter9\n");
	await(tty, seen, sizeof(seen), "Made the user kim.");
	cr_expect_eq(command_wait(pid), 0);
	cr_expect_null(strstr(seen, "hunter"));
	close(tty);
}

Test(natterctl, ctrl_c_at_the_password_changes_nothing)
{
	char seen[4096] = "";
	pid_t pid;
	int tty;

	migrate();
	pid = on_a_terminal(&tty);
	await(tty, seen, sizeof(seen), "Password of kim: ");
	type(tty, "hunter2 met hunter9\003\n");
	await(tty, seen, sizeof(seen), "nothing was changed");
	cr_expect_eq(command_wait(pid), 1);
	close(tty);
	EXPECT_VALUE("SELECT count(*) FROM auth.users", "0");
}

Test(natterctl, keys_init_makes_a_private_file_and_never_replaces_one)
{
	struct stat st;
	char path[128];

	snprintf(path, sizeof(path), "%s/keys", folder);
	EXPECT(0, "JWT_KEYS_FILE=", "keys", "init", path);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0400);
	EXPECT(1, "never replaced", "keys", "init", path);
}

Test(natterctl, config_prints_what_is_in_effect_and_refuses_what_is_wrong)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/env", folder);
	f = fopen(path, "w");
	fputs("CHAT_WORKERS=5\nOPENAI_API_KEY=sk-hidden\n", f);
	fclose(f);
	EXPECT(0, "CHAT_WORKERS=5  # ", "config", "--config", path);
	EXPECT(0, "OPENAI_API_KEY=(set)", "config", "--config", path);
	setenv("CHAT_WORKRES", "5", 1);
	EXPECT(78, "did you mean CHAT_WORKERS?", "config");
	unsetenv("CHAT_WORKRES");
	EXPECT(78, "cannot be opened", "config", "--config", "/nonexistent");
	EXPECT(
	    0, "| `CHAT_WORKERS` | `2` | 1 to 256 |", "config", "--markdown");
	EXPECT(0, ".It Ev CHAT_WORKERS", "config", "--mdoc");
	EXPECT(2, "give one of them", "config", "--mdoc", "--markdown");
}

Test(natterctl, being_called_wrongly_is_answered_with_how_to)
{
	EXPECT(0, "natterctl ", "--version");
	EXPECT(0, "migrate verify", "--help");
	EXPECT(0, "--dry-run", "migrate", "up", "--help");
	EXPECT(0, "migrate down", "migrate", "--help");
	EXPECT(2, "migrate status", "migrate");
	EXPECT(2, "there is no command \"migrate sideways\"", "migrate",
	    "sideways");
	EXPECT(2, "there is no command \"frobnicate\"", "frobnicate");
	EXPECT(2, "usage: natterctl migrate up", "migrate", "up", "--too", "3");
	EXPECT(2, "takes a whole number", "migrate", "up", "--to", "x");
	EXPECT(2, "usage: natterctl migrate up", "migrate", "up", "extra");
	EXPECT(2, "usage: natterctl user add", "user", "add");
}
