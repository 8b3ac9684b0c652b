/*
 * Behind PgBouncer in transaction mode with one server connection: users take
 * turns on it and none sees a row of another; natterd, with
 * CHAT_PG_PREPARE=off, serves whole conversations through it.
 */
#include <criterion/criterion.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"
#include "servers.h"
#include "stack.h"
#include "stores.h"

static struct stores stores;
static char folder[64];
static pid_t pooler;

/* PgBouncer will not run as root. */
static void
become_postgres(void)
{
	const struct passwd *pw = getpwnam("postgres");

	if (geteuid() == 0 && pw != NULL &&
	    (setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 ||
		setuid(pw->pw_uid) != 0))
		_exit(126);
}

static void
write_config(const char *path)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		abort();
	fprintf(f,
	    "[databases]\nnatter = host=%s dbname=natter user=natter_app\n"
	    "[pgbouncer]\nlisten_port = 6432\nlisten_addr =\n"
	    "unix_socket_dir = %s\nauth_type = any\nauth_file =\n"
	    "pool_mode = transaction\ndefault_pool_size = 1\n"
	    "max_client_conn = 200\nlogfile = %s/log\npidfile =\n"
	    "ignore_startup_parameters = extra_float_digits\n",
	    stores.postgres.folder, folder, folder);
	fclose(f);
}

/*
 * auth_type any knows one user a pool: the database's line names it, and with
 * one pool there is one server connection.
 */
static const char *
pooled_url(void)
{
	static char url[160];

	snprintf(url, sizeof(url),
	    "host=%s port=6432 user=natter_app dbname=natter", folder);
	return url;
}

static void
start_pooler(void)
{
	char config[96];
	pid_t parent = getpid();

	snprintf(config, sizeof(config), "%s/pgbouncer.ini", folder);
	write_config(config);
	if (chmod(folder, 0777) != 0)
		abort();
	pooler = fork();
	if (pooler == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		become_postgres();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("pgbouncer", "pgbouncer", "-q", config, NULL);
		execl("/usr/sbin/pgbouncer", "pgbouncer", "-q", config, NULL);
		_exit(127);
	}
	for (int i = 0; i < 500; i++) {
		if (PQping(pooled_url()) == PQPING_OK)
			return;
		usleep(20000);
	}
	fprintf(stderr, "pgbouncer does not answer\n");
	abort();
}

static void
begin(void)
{
	strcpy(folder, "/tmp/natter-pooler-XXXXXX");
	if (mkdtemp(folder) == NULL)
		abort();
	stores_start(&stores, NULL);
	start_pooler();
}

static void
end(void)
{
	struct command_end e;

	kill(pooler, SIGKILL);
	waitpid(pooler, NULL, 0);
	e = RUN("rm", "-rf", folder);
	command_end_clear(&e);
	stores_stop(&stores);
}

TestSuite(pgbouncer, .init = begin, .fini = end, .timeout = 180);

static char *
value(PGconn *conn, const char *sql)
{
	PGresult *r = PQexec(conn, sql);
	char *text;

	cr_assert_eq(PQresultStatus(r), PGRES_TUPLES_OK, "%s: %s", sql,
	    PQerrorMessage(conn));
	text = strdup(PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return text;
}

static void
expect_value(PGconn *conn, const char *sql, const char *want)
{
	char *text = value(conn, sql);

	cr_expect_str_eq(text, want, "%s gave %s", sql, text);
	free(text);
}

static PGconn *
pooled(void)
{
	PGconn *conn = PQconnectdb(pooled_url());

	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	return conn;
}

#define IDENTITY "SELECT set_config('app.user_id', '%s', true)"

Test(pgbouncer, two_clients_share_one_server_connection)
{
	PGconn *a = pooled(), *b = pooled();
	char *pid = value(a, "SELECT pg_backend_pid()");

	expect_value(b, "SELECT pg_backend_pid()", pid);
	/* What a session SET would leave behind: the pool is no session. */
	PQclear(PQexec(a, "SET app.user_id = 'left behind'"));
	expect_value(b, "SELECT current_setting('app.user_id')", "left behind");
	free(pid);
	PQfinish(a);
	PQfinish(b);
}

/* Everything that one user's transaction reaches in `table`. */
static void
expect_reach(PGconn *conn, const char *user, const char *table,
    const char *owner, const char *want)
{
	char sql[512];

	PQclear(PQexec(conn, "BEGIN"));
	snprintf(sql, sizeof(sql), IDENTITY, user);
	PQclear(PQexec(conn, sql));
	snprintf(sql, sizeof(sql),
	    "SELECT coalesce(string_agg(DISTINCT %s::text, ' '), '') FROM %s",
	    owner, table);
	expect_value(conn, sql, want);
	PQclear(PQexec(conn, "COMMIT"));
}

/* Tables of users' rows that natter_app may read, and whose column says so. */
static const char tables_sql[] =
    "SELECT c.oid::regclass, CASE WHEN c.oid = 'auth.users'::regclass THEN "
    "'id' ELSE 'user_id' END FROM pg_class c WHERE c.relkind IN ('r', 'p') "
    "AND NOT c.relispartition AND c.relnamespace IN (SELECT oid FROM "
    "pg_namespace WHERE nspname IN ('auth', 'chat', 'audit')) AND (c.oid = "
    "'auth.users'::regclass OR EXISTS (SELECT FROM pg_attribute a WHERE "
    "a.attrelid = c.oid AND a.attname = 'user_id' AND "
    "has_column_privilege('natter_app', c.oid, a.attnum, 'SELECT')))";

/* Two people with a conversation and messages of their own. */
static void
make_two(struct stack *s, struct person p[2])
{
	struct answer a;

	for (int i = 0; i < 2; i++) {
		person_make(s, &p[i]);
		person_say(s, &p[i], i == 0 ? "canary-one" : "canary-two", &a);
		cr_assert_eq(a.status, 200, "%s", a.body.p);
		cr_expect(answer_ends_with(&a, "done"));
		answer_clear(&a);
	}
}

static void
start(struct stack *s)
{
	static struct stack_options options;

	options = (struct stack_options){
	    .database_url = pooled_url(),
	    .settings = {"CHAT_PG_PREPARE=off", "CHAT_WORKERS=2"},
	};
	stack_start(s, &options);
}

/* Asks for a path of the API as that person; the caller clears. */
static void
get(const struct stack *s, const struct person *p, const char *path,
    struct answer *a)
{
	http_ask(
	    &(struct ask){.base = s->base, .path = path, .token = p->token}, a);
}

Test(pgbouncer, the_matrix_of_tables_holds_for_alternating_identities)
{
	struct stack s;
	struct person p[2];
	PGconn *super = PQconnectdb(stores.postgres.url), *a = pooled(),
	       *b = pooled();
	PGresult *tables;
	char *url = server_url_with(stores.postgres.url, "dbname", "natter");

	PQfinish(super);
	super = PQconnectdb(url);
	free(url);
	start(&s);
	make_two(&s, p);
	stack_stop(&s);
	tables = PQexec(super, tables_sql);
	cr_assert_gt(PQntuples(tables), 10, "%s", PQerrorMessage(super));
	for (int i = 0; i < PQntuples(tables); i++) {
		const char *t = PQgetvalue(tables, i, 0);
		const char *owner = PQgetvalue(tables, i, 1);
		char sql[256], *has[2];

		for (int u = 0; u < 2; u++) {
			snprintf(sql, sizeof(sql),
			    "SELECT coalesce(max(%s::text), '') FROM %s "
			    "WHERE %s = '%s'",
			    owner, t, owner, p[u].user_id);
			has[u] = value(super, sql);
		}
		for (int round = 0; round < 2; round++) {
			expect_reach(a, p[0].user_id, t, owner, has[0]);
			expect_reach(b, p[1].user_id, t, owner, has[1]);
			expect_reach(a, "", t, owner, "");
			expect_reach(b, p[0].user_id, t, owner, has[0]);
		}
		free(has[0]);
		free(has[1]);
	}
	PQclear(tables);
	PQfinish(a);
	PQfinish(b);
	PQfinish(super);
}

/* What may be changed of a conversation: by whom, how many rows. */
Test(pgbouncer, nobody_changes_a_row_of_another)
{
	static const char *const verbs[] = {
	    "UPDATE chat.conversations SET title = 'x'",
	    "UPDATE chat.messages SET content = 'x'",
	    "DELETE FROM chat.messages", "DELETE FROM chat.conversations"};
	struct stack s;
	struct person p[2];
	PGconn *a = pooled(), *b = pooled();

	start(&s);
	make_two(&s, p);
	stack_stop(&s);
	for (size_t v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++)
		for (int who = 0; who < 3; who++) {
			PGconn *conn = who == 1 ? b : a;
			char sql[256];
			PGresult *r;

			PQclear(PQexec(conn, "BEGIN"));
			snprintf(sql, sizeof(sql), IDENTITY,
			    who == 2 ? "" : p[who].user_id);
			PQclear(PQexec(conn, sql));
			snprintf(sql, sizeof(sql), "%s WHERE user_id = '%s'",
			    verbs[v], p[who == 0 ? 1 : 0].user_id);
			r = PQexec(conn, sql);
			if (PQresultStatus(r) == PGRES_COMMAND_OK)
				cr_expect_str_eq(
				    PQcmdTuples(r), "0", "%s", sql);
			else
				cr_expect_str_eq(
				    PQresultErrorField(r, PG_DIAG_SQLSTATE),
				    "42501", "%s", PQerrorMessage(conn));
			PQclear(r);
			PQclear(PQexec(conn, "ROLLBACK"));
		}
	PQfinish(a);
	PQfinish(b);
}

Test(pgbouncer, natterd_serves_two_users_in_turns_on_one_connection)
{
	struct stack s;
	struct person p[2];
	struct answer a;
	char path[128], text[64];

	start(&s);
	make_two(&s, p);
	for (int i = 0; i < 20; i++) {
		int me = i % 2;

		snprintf(text, sizeof(text), "canary-%s turn %d",
		    me == 0 ? "one" : "two", i);
		person_say(&s, &p[me], text, &a);
		cr_expect_eq(a.status, 200, "%s", a.body.p);
		cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
		snprintf(path, sizeof(path),
		    "/api/v1/conversations/%s/messages?limit=100",
		    p[me].conversation);
		get(&s, &p[me], path, &a);
		cr_expect_eq(a.status, 200);
		cr_expect_not_null(strstr(a.body.p, text));
		cr_expect_null(
		    strstr(a.body.p, me == 0 ? "canary-two" : "canary-one"));
		answer_clear(&a);
		get(&s, &p[!me], path, &a);
		cr_expect_eq(a.status, 404, "%s", a.body.p);
		answer_clear(&a);
	}
	snprintf(text, sizeof(text), "/readyz");
	get(&s, &p[0], text, &a);
	cr_expect_not_null(
	    strstr(a.body.p, "\"status\":\"ok\""), "%s", a.body.p);
	answer_clear(&a);
	stack_stop(&s);
}
