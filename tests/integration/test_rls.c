/*
 * Row level security over every table of users' rows that the catalogue knows,
 * so that a new table is covered without a word here: as natter_app, with no
 * identity, one's own and another's, no statement reaches a foreign row. Twice:
 * with the rights as shipped, and with all rights granted, when only the
 * policies stand in the way.
 *
 * Rows are made by column type in a database whose CHECK and foreign key
 * constraints were dropped.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"

#define ME    "00000000-0000-7000-8000-00000000000a"
#define OTHER "00000000-0000-7000-8000-00000000000b"

/* A table and the column that says whose a row is. */
struct table {
	char name[128];
	char owner[64];
	bool is_partition;
};
static struct table tables[256];
static int n_tables;

#define OURS                                               \
	" c.relnamespace IN (SELECT oid FROM pg_namespace" \
	" WHERE nspname IN ('auth', 'chat', 'audit', 'natter')) "

static const char tables_sql[] =
    "SELECT c.oid::regclass, CASE WHEN c.oid = 'auth.users'::regclass"
    " THEN 'id' ELSE 'user_id' END, c.relispartition FROM pg_class c"
    " WHERE" OURS "AND c.relkind IN ('r', 'p') AND (c.oid = "
    "'auth.users'::regclass OR EXISTS (SELECT FROM pg_attribute a WHERE "
    "a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped)) "
    "ORDER BY 1";

static const char drop_constraints_sql[] =
    "DO $$ DECLARE f record; BEGIN FOR f IN SELECT conrelid::regclass AS t,"
    " conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
    " WHERE" OURS "AND k.contype IN ('c', 'f', 'u') AND k.conparentid = 0"
    " AND k.coninhcount = 0 ORDER BY k.contype LOOP"
    " EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', f.t, f.conname);"
    " END LOOP; END $$";

/* An INSERT of one row of $2 into $1 (whose column $3 says so). */
static const char insert_sql[] =
    "SELECT format('INSERT INTO %s (%s) VALUES (%s)', $1::text,"
    " string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),"
    " string_agg(CASE WHEN a.attname = $3::name THEN quote_literal($2::text) "
    "ELSE"
    "  CASE format_type(a.atttypid, NULL)"
    "  WHEN 'uuid' THEN 'gen_random_uuid()'"
    "  WHEN 'text' THEN 'md5(random()::text)'"
    "  WHEN 'timestamp with time zone' THEN 'now()'"
    "  WHEN 'boolean' THEN 'false'"
    "  WHEN 'bytea' THEN 'sha256(random()::text::bytea)'"
    "  WHEN 'jsonb' THEN '''{}'''"
    "  WHEN 'text[]' THEN '''{}'''"
    "  WHEN 'inet' THEN '''::1'''"
    "  WHEN 'date' THEN 'current_date'"
    "  WHEN 'regconfig' THEN '''simple'''"
    "  WHEN 'bit varying' THEN 'B''1'''"
    "  WHEN 'smallint[]' THEN '''{}'''"
    "  ELSE '(random() * 1000)::' || format_type(a.atttypid, NULL) END END,"
    "  ', ' ORDER BY a.attnum))"
    " FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > "
    "0"
    " AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''"
    " AND (a.attname = $3::name OR (a.attnotnull AND NOT a.atthasdef))";

static PGconn *
connected(const char *role)
{
	PGconn *conn = PQconnectdb(admin_url(role));

	if (PQstatus(conn) != CONNECTION_OK) {
		fputs(PQerrorMessage(conn), stderr);
		abort();
	}
	return conn;
}

/* Fills `out` with the INSERT of a row that belongs to `user`. */
static void
insert_of(PGconn *super, const struct table *t, const char *user, char *out,
    size_t size)
{
	const char *values[] = {t->name, user, t->owner};
	PGresult *r =
	    PQexecParams(super, insert_sql, 3, NULL, values, NULL, NULL, 0);

	/* Also called outside of a test, where cr_assert would wait for ever.
	 */
	if (PQresultStatus(r) != PGRES_TUPLES_OK ||
	    strlen(PQgetvalue(r, 0, 0)) >= size) {
		fprintf(stderr, "%s: %s", t->name, PQerrorMessage(super));
		abort();
	}
	strcpy(out, PQgetvalue(r, 0, 0));
	PQclear(r);
}

static void
must(PGconn *conn, const char *sql)
{
	PGresult *r = PQexec(conn, sql);
	ExecStatusType s = PQresultStatus(r);

	if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(conn));
		abort();
	}
	PQclear(r);
}

static void
read_tables(PGconn *super)
{
	PGresult *r = PQexec(super, tables_sql);

	if (PQntuples(r) < 10 || PQntuples(r) > 256)
		abort();
	for (; n_tables < PQntuples(r); n_tables++) {
		struct table *t = &tables[n_tables];

		snprintf(
		    t->name, sizeof(t->name), "%s", PQgetvalue(r, n_tables, 0));
		snprintf(t->owner, sizeof(t->owner), "%s",
		    PQgetvalue(r, n_tables, 1));
		t->is_partition = PQgetvalue(r, n_tables, 2)[0] == 't';
	}
	PQclear(r);
}

/* One row of each of two users in each table; none by a trigger. */
static void
fill_tables(PGconn *super)
{
	must(super, "SET session_replication_role = replica");
	for (int i = 0; i < n_tables; i++) {
		const char *const users[] = {ME, OTHER};
		char sql[4096];

		if (tables[i].is_partition)
			continue;
		for (int u = 0; u < 2; u++) {
			insert_of(
			    super, &tables[i], users[u], sql, sizeof(sql));
			must(super, sql);
		}
	}
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	PGconn *super;

	(void)tests;
	admin_provide_schema();
	admin_schema("natter_rls");
	super = connected("postgres");
	must(super, drop_constraints_sql);
	read_tables(super);
	fill_tables(super);
	PQfinish(super);
}

/* A test's two connections: natter_app's may have all rights until it ends. */
static PGconn *super, *app;
static bool has_all_rights;

static void
begin(void)
{
	super = connected("postgres");
	app = connected("natter_app");
	read_tables(super);
}

static void
end(void)
{
	PQfinish(app);
	PQfinish(super);
}

TestSuite(rls, .init = begin, .fini = end, .timeout = 120);

/*
 * Runs `sql` as natter_app with the identity `user` (NULL: none) in a
 * transaction that comes to nothing. Returns the first value or the rows that
 * were changed; -1 when it is forbidden. In a second round natter_app is
 * granted everything for the length of that transaction.
 */
static long
reached(const char *user, const char *sql)
{
	char set[160];
	PGresult *r;
	long n = -1;

	must(app, "BEGIN");
	if (has_all_rights) {
		must(app, "RESET ROLE");
		must(app, "SET ROLE natter_owner");
		/* Tests run side by side: two such grants deadlock. */
		must(app, "SELECT pg_advisory_xact_lock(2)");
		must(app, "GRANT ALL ON ALL TABLES IN SCHEMA auth, chat, "
			  "natter, audit"
			  " TO natter_app");
		must(app, "SET ROLE natter_app");
	}
	snprintf(set, sizeof(set),
	    "SELECT set_config('app.user_id', '%s', true)",
	    user != NULL ? user : "");
	if (user != NULL)
		must(app, set);
	r = PQexec(app, sql);
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		n = atol(PQgetvalue(r, 0, 0));
	else if (PQresultStatus(r) == PGRES_COMMAND_OK)
		n = atol(PQcmdTuples(r));
	else
		cr_expect_str_eq(PQresultErrorField(r, PG_DIAG_SQLSTATE),
		    "42501", "%s: %s", sql, PQerrorMessage(app));
	PQclear(r);
	must(app, "ROLLBACK");
	return n;
}

/* As reached, of a text in which @t is the table and @o its owner's column. */
static long
reached_in(const char *user, const struct table *t, const char *text)
{
	char sql[1024];
	size_t n = 0;

	for (; *text != '\0' && n + 130 < sizeof(sql); text++) {
		const char *word = text[0] != '@'   ? NULL
				   : text[1] == 't' ? t->name
						    : t->owner;

		if (word == NULL)
			sql[n++] = *text;
		else {
			n += (size_t)snprintf(
			    sql + n, sizeof(sql) - n, "%s", word);
			text++;
		}
	}
	sql[n] = '\0';
	return reached(user, sql);
}

/* The first column of `t` that natter_app may update, or the owner's. */
static const char *
updatable(const struct table *t)
{
	static char column[64];
	const char *values[] = {t->name, t->owner};
	PGresult *r = PQexecParams(super,
	    "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass "
	    "AND attnum > 0 AND NOT attisdropped AND attname <> $2 AND "
	    "has_column_privilege('natter_app', $1::regclass, attname, "
	    "'UPDATE') "
	    "ORDER BY attnum LIMIT 1",
	    2, NULL, values, NULL, NULL, 0);

	snprintf(column, sizeof(column), "%s",
	    PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : t->owner);
	PQclear(r);
	return column;
}

/*
 * With all rights, the connection is the superuser's, who may grant and then
 * becomes natter_app by SET ROLE; row level security follows the role.
 */
static void
take_all_rights(void)
{
	PQfinish(app);
	app = connected("postgres");
	has_all_rights = true;
}

/* `body` for each table, with the rights as shipped and with all of them. */
#define FOR_EACH_TABLE(t, body)                                      \
	do {                                                         \
		for (int round_ = 0; round_ < 2; round_++) {         \
			for (int i_ = 0; i_ < n_tables; i_++) {      \
				const struct table *t = &tables[i_]; \
				body                                 \
			}                                            \
			take_all_rights();                           \
		}                                                    \
	} while (0)

/* 0 rows, or forbidden. */
#define EXPECT_NOTHING(t, n)                                               \
	do {                                                               \
		long n_ = (n);                                             \
		cr_expect(n_ <= 0, "%s: %ld foreign rows", (t)->name, n_); \
	} while (0)

/* Own rows only: exactly one with all rights, at most one otherwise. */
#define EXPECT_OWN(t, n)                                                    \
	do {                                                                \
		long n_ = (n);                                              \
		if (!(t)->is_partition && has_all_rights)                   \
			cr_expect_eq(n_, 1, "%s: %ld rows", (t)->name, n_); \
		else                                                        \
			cr_expect(n_ <= 1, "%s: %ld rows", (t)->name, n_);  \
	} while (0)

Test(rls, nobody_sees_no_row)
{
	FOR_EACH_TABLE(t, {
		EXPECT_NOTHING(
		    t, reached_in(NULL, t, "SELECT count(*) FROM @t"));
		EXPECT_NOTHING(t, reached_in("", t, "SELECT count(*) FROM @t"));
	});
}

Test(rls, a_user_sees_own_rows_only)
{
	FOR_EACH_TABLE(t, {
		EXPECT_OWN(t, reached_in(ME, t, "SELECT count(*) FROM @t"));
		EXPECT_NOTHING(
		    t, reached_in(ME, t,
			   "SELECT count(*) FROM @t WHERE @o = '" OTHER "'"));
	});
}

/* Only functions of natter_auth and natter_search reach these: the daemon not
 * even its user's. */
static bool
is_for_functions(const struct table *t)
{
	return strcmp(t->name, "auth.login_throttle") == 0 ||
	       strcmp(t->name, "auth.user_ends") == 0 ||
	       strcmp(t->name, "chat.chunk_embeddings") == 0 ||
	       strcmp(t->name, "chat.document_embeddings") == 0;
}

Test(rls, with_the_rights_as_shipped_own_rows_are_seen)
{
	for (int i = 0; i < n_tables; i++)
		if (!tables[i].is_partition)
			cr_expect_eq(reached_in(ME, &tables[i],
					 "SELECT count(@o) FROM @t"),
			    is_for_functions(&tables[i]) ? -1 : 1, "%s",
			    tables[i].name);
}

/* Of the audit log nobody changes a row, whatever rights they have. */
static bool
is_insert_only(const struct table *t)
{
	return strncmp(t->name, "audit.", 6) == 0;
}

Test(rls, nobody_and_others_change_no_row)
{
	FOR_EACH_TABLE(t, {
		char sql[512];

		snprintf(sql, sizeof(sql), "UPDATE %s SET %s = %s", t->name,
		    updatable(t), updatable(t));
		EXPECT_NOTHING(t, reached(NULL, sql));
		if (is_insert_only(t))
			cr_expect_eq(reached(ME, sql), -1, "%s", t->name);
		else
			EXPECT_OWN(t, reached(ME, sql));
		snprintf(sql, sizeof(sql),
		    "UPDATE %s SET %s = %s WHERE %s = '%s'", t->name,
		    updatable(t), updatable(t), t->owner, OTHER);
		EXPECT_NOTHING(t, reached(ME, sql));
	});
}

Test(rls, a_row_cannot_be_given_to_another_or_taken)
{
	FOR_EACH_TABLE(t, {
		EXPECT_NOTHING(
		    t, reached_in(ME, t, "UPDATE @t SET @o = '" OTHER "'"));
		EXPECT_NOTHING(t,
		    reached_in(ME, t,
			"UPDATE @t SET @o = '" ME "' WHERE @o = '" OTHER "'"));
	});
}

Test(rls, nobody_and_others_delete_no_row)
{
	FOR_EACH_TABLE(t, {
		EXPECT_NOTHING(t, reached_in(NULL, t, "DELETE FROM @t"));
		if (is_insert_only(t))
			cr_expect_eq(reached_in(ME, t, "DELETE FROM @t"), -1,
			    "%s", t->name);
		else
			EXPECT_OWN(t, reached_in(ME, t, "DELETE FROM @t"));
		EXPECT_NOTHING(t,
		    reached_in(ME, t, "DELETE FROM @t WHERE @o = '" OTHER "'"));
	});
}

Test(rls, nobody_and_others_insert_no_row)
{
	FOR_EACH_TABLE(t, {
		char sql[4096];

		insert_of(super, t, OTHER, sql, sizeof(sql));
		EXPECT_NOTHING(t, reached(NULL, sql));
		EXPECT_NOTHING(t, reached("", sql));
		EXPECT_NOTHING(t, reached(ME, sql));
		if (!t->is_partition && has_all_rights &&
		    strcmp(t->owner, "id") != 0)
			cr_expect_eq(reached(OTHER, sql), 1, "%s", t->name);
	});
}

Test(rls, partitions_are_out_of_reach_even_for_their_own_rows)
{
	FOR_EACH_TABLE(t, {
		if (t->is_partition)
			EXPECT_NOTHING(
			    t, reached_in(ME, t, "SELECT count(*) FROM @t"));
	});
}

Test(rls, an_identity_ends_with_its_transaction)
{
	PGresult *r;

	cr_expect_eq(reached(ME, "SELECT count(*) FROM chat.conversations"), 1);
	r = PQexec(app, "SELECT count(*) FROM chat.conversations");
	cr_assert_eq(
	    PQresultStatus(r), PGRES_TUPLES_OK, "%s", PQerrorMessage(app));
	cr_expect_str_eq(PQgetvalue(r, 0, 0), "0");
	PQclear(r);
}

Test(rls, the_matrix_is_not_blind)
{
	/* A table without a policy worth its name must be noticed. */
	must(super, "BEGIN");
	must(super, "SET ROLE natter_owner");
	must(super, "CREATE POLICY leak ON chat.conversations FOR SELECT "
		    "TO natter_app USING (true)");
	must(super, "SET ROLE natter_app");
	must(super, "SELECT set_config('app.user_id', '" ME "', true)");
	PGresult *r = PQexec(super, "SELECT count(*) FROM chat.conversations");
	cr_expect_str_eq(PQgetvalue(r, 0, 0), "2");
	PQclear(r);
	must(super, "ROLLBACK");
}

Test(rls, passwords_and_session_secrets_cannot_be_read_by_the_daemon)
{
	cr_expect_eq(reached(ME, "SELECT password_hash FROM auth.users"), -1);
	cr_expect_eq(reached(ME, "SELECT rt_secret FROM auth.sessions"), -1);
	cr_expect_eq(reached(ME, "UPDATE auth.users SET role = 'admin'"), -1);
	cr_expect_eq(
	    reached(ME, "UPDATE auth.users SET is_disabled = false"), -1);
	cr_expect_eq(
	    reached(ME, "INSERT INTO auth.users (id, username, role) VALUES "
			"('" ME "', 'x', 'admin')"),
	    -1);
	cr_expect_eq(reached(ME, "DELETE FROM natter.schema_migrations"), -1);
	cr_expect_eq(reached(ME, "CREATE TABLE chat.mine (a int)"), -1);
	cr_expect_eq(reached(ME, "CREATE TABLE public.mine (a int)"), -1);
	cr_expect_eq(reached(ME, "CREATE TEMP TABLE mine (a int)"), -1);
}
