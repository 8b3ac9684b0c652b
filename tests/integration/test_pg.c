/*
 * pg.c against a running Postgres: pipelines, identities, errors, start-up
 * checks. What happens when the server fails is in test_pg_faults.c.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/pg_inside.h"
#include "tests/support/pg_scratch.h"
#include "tests/support/servers.h"

#define ALICE "0190a0a0-0000-7000-8000-00000000000a"
#define BOB   "0190a0a0-0000-7000-8000-00000000000b"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!servers_provide_postgres())
		exit(1);
}

/* Whether statements are named or not must not be seen by anybody. */
static const bool modes[] = {true, false};

#define N_MODES (sizeof(modes) / sizeof(*modes))

Test(pg, runs_several_statements_in_one_round_trip)
{
	char *url = scratch_database("several");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 5000);
		struct pg_call calls[] = {
		    scratch_call(Q_ADD, m == 0 ? "1" : "2", "one"),
		    scratch_call(Q_ECHO, "h\xc3\xa4llo", NULL),
		    scratch_call(Q_ECHO, NULL, NULL),
		    scratch_call(Q_MANY, "3", NULL),
		};
		uint64_t before;

		cr_assert_eq(pg_connect(pg), OK, "%s", pg_why(pg));
		before = pg_round_trips(pg);
		cr_assert_eq(pg_run(pg, ALICE, calls, 4), OK, "%s", pg_why(pg));
		cr_expect_eq(pg_round_trips(pg) - before, 1);
		cr_expect_eq(pg_rows(calls[0].result), 1);
		cr_expect_str_eq(
		    pg_text(calls[1].result, 0, 0), "h\xc3\xa4llo");
		cr_expect_eq(pg_number(calls[1].result, 0, 1), 5);
		cr_expect_null(pg_text(calls[2].result, 0, 0));
		cr_expect_eq(pg_number(calls[2].result, 0, 0), 0);
		cr_expect(!pg_flag(calls[2].result, 0, 0));
		cr_expect_eq(pg_rows(calls[3].result), 3);
		pg_calls_clear(calls, 4);
		cr_expect_null(calls[0].result);
		pg_free(pg);
	}
	free(url);
}

Test(pg, connects_by_itself_when_first_used)
{
	char *url = scratch_database("lazy");
	struct pg *pg = scratch_pg(url, true, 5000);

	cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
	pg_free(pg);
	free(url);
}

Test(pg, running_nothing_is_no_round_trip)
{
	struct pg *pg = scratch_pg("host=/nowhere", true, 5000);

	cr_expect_eq(pg_run(pg, NULL, NULL, 0), OK);
	cr_expect_eq(pg_round_trips(pg), 0);
	pg_free(pg);
}

Test(pg, stores_nothing_when_one_of_five_fails)
{
	char *url = scratch_database("atomic");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 5000);
		struct pg_call calls[] = {
		    scratch_call(Q_ADD, "1", "one"),
		    scratch_call(Q_ADD, "2", "two"),
		    scratch_call(Q_DIVIDE, NULL, NULL),
		    scratch_call(Q_ADD, "4", "four"),
		    scratch_call(Q_ADD, "5", "five"),
		};
		int64_t pid = scratch_number(pg, Q_PID);

		cr_expect_eq(pg_run(pg, ALICE, calls, 5), ERR_INVALID_FIELD);
		cr_expect_str_eq(pg_sqlstate(pg), "22012");
		for (int i = 0; i < 5; i++)
			cr_expect_null(calls[i].result);
		cr_expect_eq(scratch_number(pg, Q_COUNT), 0);
		cr_expect_eq(scratch_number(pg, Q_PID), pid,
		    "the connection must survive a refusal");
		pg_free(pg);
	}
	free(url);
}

Test(pg, a_commit_that_fails_is_not_a_success)
{
	char *url = scratch_database("late");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 5000);
		struct pg_call calls[] = {
		    scratch_call(Q_ADD, "1", "one"),
		    scratch_call(Q_LATE, "1", NULL),
		};

		cr_expect_eq(pg_run(pg, NULL, calls, 2), ERR_INTERNAL);
		cr_expect_str_eq(pg_sqlstate(pg), "23503");
		cr_expect_str_eq(pg_constraint(pg), "late_parent_fkey");
		cr_expect_null(calls[0].result);
		cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
		pg_free(pg);
	}
	free(url);
}

Test(pg, identity_holds_within_the_pipeline_and_is_gone_after)
{
	char *url = scratch_database("identity");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 5000);
		struct pg_call calls[] = {
		    scratch_call(Q_WHO, NULL, NULL),
		    scratch_call(Q_ADD, m == 0 ? "1" : "2", "x"),
		    scratch_call(Q_WHO, NULL, NULL),
		};

		cr_assert_eq(pg_run(pg, ALICE, calls, 3), OK, "%s", pg_why(pg));
		cr_expect_str_eq(pg_text(calls[0].result, 0, 0), ALICE);
		cr_expect_str_eq(pg_text(calls[2].result, 0, 0), ALICE);
		pg_calls_clear(calls, 3);
		cr_assert_eq(pg_run(pg, NULL, calls, 1), OK);
		cr_expect_str_eq(pg_text(calls[0].result, 0, 0), "");
		pg_calls_clear(calls, 1);
		cr_assert_eq(pg_run(pg, BOB, calls, 1), OK);
		cr_expect_str_eq(pg_text(calls[0].result, 0, 0), BOB);
		pg_calls_clear(calls, 1);
		pg_free(pg);
	}
	free(url);
}

Test(pg, each_call_of_many_has_its_own_identity)
{
	static const char *const users[] = {ALICE, ALICE, BOB, NULL, ALICE};
	static const char *const want[] = {ALICE, ALICE, BOB, "", ALICE};
	char *url = scratch_database("many");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 5000);
		struct pg_call calls[5];
		uint64_t before;

		for (int i = 0; i < 5; i++)
			calls[i] = scratch_call(Q_WHO, NULL, NULL);
		cr_assert_eq(pg_connect(pg), OK);
		before = pg_round_trips(pg);
		cr_assert_eq(
		    pg_run_many(pg, users, calls, 5), OK, "%s", pg_why(pg));
		cr_expect_eq(pg_round_trips(pg) - before, 1);
		for (int i = 0; i < 5; i++)
			cr_expect_str_eq(
			    pg_text(calls[i].result, 0, 0), want[i]);
		pg_calls_clear(calls, 5);
		pg_free(pg);
	}
	free(url);
}

Test(pg, a_refusal_in_many_identities_stores_nobodys)
{
	static const char *const users[] = {ALICE, BOB, ALICE};
	char *url = scratch_database("many_refused");
	struct pg *pg = scratch_pg(url, true, 5000);
	struct pg_call calls[] = {
	    scratch_call(Q_ADD, "1", "one"),
	    scratch_call(Q_ADD, "1", "again"),
	    scratch_call(Q_ADD, "3", "three"),
	};

	cr_expect_eq(pg_run_many(pg, users, calls, 3), ERR_CONFLICT);
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0);
	pg_free(pg);
	free(url);
}

Test(pg, sessions_have_the_settings_in_both_modes)
{
	static const struct {
		const char *name, *want;
	} rows[] = {
	    {"statement_timeout", "3600ms"},
	    {"lock_timeout", "2s"},
	    {"idle_in_transaction_session_timeout", "10s"},
	    {"TimeZone", "UTC"},
	    {"jit", "off"},
	    {"DateStyle", "ISO, YMD"},
	    {"client_encoding", "UTF8"},
	    {"application_name", "natter test"},
	};
	char *url = scratch_database("settings");

	server_sql(url, "ALTER DATABASE settings SET TimeZone = 'Asia/Tokyo';"
			"ALTER DATABASE settings SET DateStyle = 'German'");
	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 4000);

		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
			struct pg_call call =
			    scratch_call(Q_SETTING, rows[i].name, NULL);

			cr_assert_eq(
			    pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
			cr_expect_str_eq(pg_text(call.result, 0, 0),
			    rows[i].want, "%s is %s", rows[i].name,
			    pg_text(call.result, 0, 0));
			pg_calls_clear(&call, 1);
		}
		pg_free(pg);
	}
	free(url);
}

/* What a setting is in the next pipeline. */
static void
expect_setting(struct pg *pg, const char *name, const char *want)
{
	struct pg_call call = scratch_call(Q_SETTING, name, NULL);

	cr_assert_eq(pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
	cr_expect_str_eq(pg_text(call.result, 0, 0), want, "%s", name);
	pg_calls_clear(&call, 1);
}

Test(pg, pipelines_say_which_request_they_are_for_in_both_modes)
{
	static const char too_long[] =
	    "0123456789012345678901234567890123456789"
	    "0123456789012345678901234567890123456789";
	char *url = scratch_database("caller");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 4000);
		char id[] = "16b07d0663e0157e", cut[65];

		expect_setting(pg, "app.request_id", "");
		pg_set_caller(pg, id, "192.0.2.7");
		id[0] = 'x'; /* it was copied */
		expect_setting(pg, "app.request_id", "16b07d0663e0157e");
		expect_setting(pg, "app.ip", "192.0.2.7");
		snprintf(cut, sizeof(cut), "%s", too_long);
		pg_set_caller(pg, too_long, NULL);
		expect_setting(pg, "app.request_id", cut);
		expect_setting(pg, "app.ip", "");
		pg_set_caller(pg, NULL, NULL);
		expect_setting(pg, "app.request_id", "");
		pg_free(pg);
	}
	free(url);
}

/* A pooler gives the session to others after each transaction. */
Test(pg, unnamed_statements_leave_nothing_in_the_session)
{
	static const char sql[] =
	    "SELECT current_setting('statement_timeout'),"
	    " current_setting('app.user_id', true),"
	    " (SELECT count(*) FROM pg_prepared_statements)";
	char *url = scratch_database("stateless");
	struct pg *pg = scratch_pg(url, false, 4000);
	struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);
	PGresult *r;

	cr_assert_eq(pg_run(pg, ALICE, &call, 1), OK, "%s", pg_why(pg));
	pg_calls_clear(&call, 1);
	cr_assert(PQexitPipelineMode(pg->conn));
	r = PQexec(pg->conn, sql);
	cr_assert_eq(PQresultStatus(r), PGRES_TUPLES_OK);
	cr_expect_str_eq(pg_text(r, 0, 0), "0");
	cr_expect_str_eq(pg_text(r, 0, 1), "");
	cr_expect_eq(pg_number(r, 0, 2), 0);
	PQclear(r);
	pg_free(pg);
	free(url);
}

Test(pg, the_url_may_name_the_application)
{
	char *url = scratch_database("named");
	char *plain = server_url_with(url, "application_name", "mine");
	struct pg *pg = scratch_pg(plain, true, 4000);
	struct pg_call call = scratch_call(Q_SETTING, "application_name", NULL);

	cr_assert_eq(pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
	cr_expect_str_eq(pg_text(call.result, 0, 0), "mine");
	pg_calls_clear(&call, 1);
	pg_free(pg);
	free(plain);
	free(url);
}

static const struct {
	const char *state;
	enum err want;
} states[] = {
    {"08006", ERR_UNAVAILABLE},
    {"22001", ERR_INVALID_FIELD},
    {"22P02", ERR_INVALID_FIELD},
    {"23502", ERR_INTERNAL},
    {"23503", ERR_INTERNAL},
    {"23505", ERR_CONFLICT},
    {"23514", ERR_INVALID_FIELD},
    {"23P01", ERR_CONFLICT},
    {"40001", ERR_UNAVAILABLE},
    {"40P01", ERR_UNAVAILABLE},
    {"42501", ERR_INTERNAL},
    {"53100", ERR_UNAVAILABLE},
    {"55P03", ERR_UNAVAILABLE},
    {"57014", ERR_UNAVAILABLE},
    {"P0001", ERR_INTERNAL},
    {"XX000", ERR_INTERNAL},
};

Test(pg, maps_each_sqlstate_to_its_error)
{
	char *url = scratch_database("sqlstates");
	struct pg *pg = scratch_pg(url, true, 5000);

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		struct pg_call call =
		    scratch_call(Q_RAISE, states[i].state, NULL);
		enum err got = pg_run(pg, NULL, &call, 1);

		cr_expect_eq(got, states[i].want, "%s gave %s", states[i].state,
		    err_code(got));
		cr_expect_str_eq(pg_sqlstate(pg), states[i].state);
	}
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0);
	pg_free(pg);
	free(url);
}

Test(pg, says_which_constraint_and_statement_but_not_the_values)
{
	char *url = scratch_database("why");
	struct pg *pg = scratch_pg(url, true, 5000);
	struct pg_call calls[] = {
	    scratch_call(Q_ADD, "4711", "secret"),
	    scratch_call(Q_ADD, "4711", "secret"),
	};
	struct pg_call bad = scratch_call(Q_ADD, "1", "bad");
	struct pg_call cast = scratch_call(Q_CAST, "secret", NULL);

	cr_expect_eq(pg_run(pg, NULL, calls, 2), ERR_CONFLICT);
	cr_expect_str_eq(pg_constraint(pg), "note_pkey");
	cr_expect_not_null(strstr(pg_why(pg), "scratch_add: 23505"));
	cr_expect_not_null(strstr(pg_why(pg), "note_pkey"));
	cr_expect_null(strstr(pg_why(pg), "4711"));
	cr_expect_null(strstr(pg_why(pg), "secret"));
	cr_expect_eq(pg_run(pg, NULL, &bad, 1), ERR_INVALID_FIELD);
	cr_expect_str_eq(pg_constraint(pg), "note_body_good");
	cr_expect_eq(pg_run(pg, NULL, &cast, 1), ERR_INVALID_FIELD);
	cr_expect_str_eq(pg_sqlstate(pg), "22P02");
	cr_expect_str_eq(pg_constraint(pg), "");
	cr_expect_null(strstr(pg_why(pg), "secret"), "%s", pg_why(pg));
	pg_free(pg);
	free(url);
}

/* 4,096 statements of 4 KB each way: 16 MB that nobody reads in between. */
Test(pg, the_largest_pipeline_does_not_deadlock, .timeout = 60)
{
	static char text[4097];
	char *url = scratch_database("huge");

	memset(text, 'x', sizeof(text) - 1);
	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 30000);
		struct pg_call *calls = calloc(PG_CALLS_MAX, sizeof(*calls));

		for (size_t i = 0; i < PG_CALLS_MAX; i++)
			calls[i] = scratch_call(Q_ECHO, text, NULL);
		cr_assert_eq(pg_connect(pg), OK, "%s", pg_why(pg));
		cr_assert_eq(pg_run(pg, ALICE, calls, PG_CALLS_MAX), OK, "%s",
		    pg_why(pg));
		for (size_t i = 0; i < PG_CALLS_MAX; i++)
			cr_assert_eq(pg_number(calls[i].result, 0, 1), 4096);
		pg_calls_clear(calls, PG_CALLS_MAX);
		cr_expect_eq(scratch_number(pg, Q_COUNT), 0);
		free(calls);
		pg_free(pg);
	}
	free(url);
}

Test(pg, one_answer_may_be_larger_than_every_buffer)
{
	char *url = scratch_database("wide");
	struct pg *pg = scratch_pg(url, true, 10000);
	struct pg_call call = scratch_call(Q_MANY, "100000", NULL);

	cr_assert_eq(pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
	cr_expect_eq(pg_rows(call.result), 100000);
	pg_calls_clear(&call, 1);
	pg_free(pg);
	free(url);
}

Test(pg, a_missing_table_is_named_and_recovered_from)
{
	char *url = server_database(getenv("TEST_DATABASE_URL"), "missing");

	for (size_t m = 0; m < N_MODES; m++) {
		struct pg *pg = scratch_pg(url, modes[m], 5000);
		struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);

		cr_expect_eq(pg_connect(pg), ERR_INTERNAL);
		cr_expect_not_null(
		    strstr(pg_why(pg), "scratch_add: 42P01"), "%s", pg_why(pg));
		cr_expect_str_eq(pg_sqlstate(pg), "42P01");
		cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_INTERNAL,
		    "the same answer until it is tried again");
		scratch_tables(url);
		cr_expect_eq(pg_connect(pg), OK, "%s", pg_why(pg));
		cr_expect_eq(scratch_number(pg, Q_COUNT), 0);
		server_sql(url, "DROP TABLE late, note;"
				"DROP FUNCTION raise(text)");
		pg_free(pg);
	}
	free(url);
}

Test(pg, a_changed_table_is_prepared_again)
{
	static const struct pg_query queries[] = {
	    {"star", "", "SELECT body FROM note"}};
	static const struct pg_domain domain = {queries, 1};
	char *url = scratch_database("changed");
	struct pg *pg = pg_new(&(struct pg_options){.url = url,
	    .application = "t",
	    .timeout_ms = 5000,
	    .prepare = true,
	    .domains = &domain,
	    .n_domains = 1});
	struct pg_call call = {.query = &queries[0]};

	cr_assert_eq(pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
	pg_calls_clear(&call, 1);
	server_sql(url,
	    "ALTER TABLE note DROP CONSTRAINT note_body_good;"
	    "ALTER TABLE note ALTER body TYPE bytea USING body::bytea");
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	cr_expect_str_eq(pg_sqlstate(pg), "0A000");
	cr_expect_eq(pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
	pg_calls_clear(&call, 1);
	pg_free(pg);
	free(url);
}

Test(pg, an_unknown_parameter_type_is_our_mistake)
{
	static const struct pg_query queries[] = {
	    {"odd", "int4 varchar", "SELECT $1, $2"}};
	static const struct pg_domain domain = {queries, 1};
	char *url = scratch_database("odd_type");
	struct pg *pg = pg_new(&(struct pg_options){.url = url,
	    .application = "t",
	    .timeout_ms = 5000,
	    .prepare = true,
	    .domains = &domain,
	    .n_domains = 1});

	cr_expect_eq(pg_connect(pg), ERR_INTERNAL);
	cr_expect_str_eq(
	    pg_why(pg), "odd: unknown parameter types: int4 varchar");
	pg_free(pg);
	free(url);
}

Test(pg, knows_the_oids_of_its_types)
{
	static const char names[] =
	    "bool bytea date float8 inet int2 int4 int8 interval json jsonb "
	    "numeric text timestamptz uuid bool[] bytea[] int4[] int8[] "
	    "jsonb[] numeric[] text[] timestamptz[]";
	static const struct pg_query queries[] = {{"oids", "text",
	    "SELECT n::regtype::oid FROM string_to_table($1, ' ') n"}};
	static const struct pg_domain domain = {queries, 1};
	char *url = scratch_database("oids");
	struct pg *pg = pg_new(&(struct pg_options){.url = url,
	    .application = "t",
	    .timeout_ms = 5000,
	    .domains = &domain,
	    .n_domains = 1});
	struct pg_call call = {.query = queries, .params = {names}};
	Oid oids[PG_PARAMS_MAX];
	int n = pg_types_parse(names, oids);

	cr_assert_eq(n, 23);
	cr_assert_eq(pg_run(pg, NULL, &call, 1), OK, "%s", pg_why(pg));
	cr_assert_eq(pg_rows(call.result), n);
	for (int i = 0; i < n; i++)
		cr_expect_eq(pg_number(call.result, i, 0), oids[i]);
	cr_expect_eq(pg_types_parse("uuid[]", oids), 1);
	cr_expect_eq(oids[0], 2951);
	cr_expect_eq(pg_types_parse("  int4   text ", oids), 2);
	cr_expect_eq(pg_types_parse("", oids), 0);
	cr_expect_eq(pg_types_parse("int4 int", oids), PG_TYPES_NONE);
	pg_calls_clear(&call, 1);
	pg_free(pg);
	free(url);
}

Test(pg, an_unreadable_url_is_refused_without_showing_it)
{
	static const char *const urls[] = {
	    "postgres://natter:hunter2@[::1/natter",
	    "hunter2",
	    "postgres://natter:%zz-hunter2@localhost/natter",
	    "password=hunter2 nonsense=1",
	};

	for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
		struct pg *pg = scratch_pg(urls[i], true, 1000);

		cr_expect_eq(pg_connect(pg), ERR_INTERNAL);
		cr_expect_null(strstr(pg_why(pg), "hunter2"));
		cr_expect_str_neq(pg_why(pg), "");
		pg_free(pg);
	}
}

static struct pg *
strict_pg(const char *url)
{
	return pg_new(&(struct pg_options){.url = url,
	    .application = "t",
	    .timeout_ms = 5000,
	    .prepare = true,
	    .demand_unprivileged = true});
}

static void
expect_role(const char *url, const char *role, const char *want)
{
	char *as = server_url_with(url, "user", role);
	struct pg *pg = strict_pg(as);
	enum err e = pg_connect(pg);

	if (want == NULL) {
		cr_expect_eq(e, OK, "%s: %s", role, pg_why(pg));
	} else {
		cr_expect_eq(e, ERR_INTERNAL, "%s", role);
		cr_expect_str_eq(pg_why(pg), want, "%s", pg_why(pg));
	}
	pg_free(pg);
	free(as);
}

Test(pg, refuses_a_role_that_row_level_security_does_not_bind)
{
	char *url = server_database(getenv("TEST_DATABASE_URL"), "roles");

	server_sql(url,
	    "DROP ROLE IF EXISTS rls_app, rls_owner, rls_heir, rls_free,"
	    " rls_freed, rls_super;"
	    "CREATE ROLE rls_app LOGIN; CREATE ROLE rls_owner LOGIN;"
	    "CREATE ROLE rls_heir LOGIN NOINHERIT IN ROLE rls_owner;"
	    "CREATE ROLE rls_free LOGIN BYPASSRLS;"
	    "CREATE ROLE rls_freed LOGIN IN ROLE rls_free;"
	    "CREATE ROLE rls_super LOGIN SUPERUSER;"
	    "CREATE SCHEMA chat; CREATE SCHEMA auth;"
	    "CREATE TABLE chat.notes (user_id uuid);"
	    "ALTER TABLE chat.notes OWNER TO rls_owner,"
	    " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
	    "CREATE TABLE chat.workers (id uuid);"
	    "CREATE TABLE public.other (user_id uuid)");
	expect_role(url, "rls_app", NULL);
	expect_role(url, "rls_owner", "the role rls_owner owns chat.notes");
	expect_role(url, "rls_heir", "the role rls_heir owns chat.notes");
	expect_role(url, "rls_free",
	    "the role rls_free is rls_free, which row level security does not"
	    " bind");
	expect_role(url, "rls_freed",
	    "the role rls_freed may become rls_free, which row level security"
	    " does not bind");
	expect_role(url, "rls_super",
	    "the role rls_super is rls_super, which row level security does"
	    " not bind");
	server_sql(url, "ALTER TABLE chat.notes NO FORCE ROW LEVEL SECURITY");
	expect_role(url, "rls_app",
	    "chat.notes holds what belongs to users, but row level security is"
	    " not forced");
	server_sql(url, "ALTER TABLE chat.notes FORCE ROW LEVEL SECURITY;"
			"CREATE TABLE auth.users (id uuid)");
	expect_role(url, "rls_app",
	    "auth.users holds what belongs to users, but row level security is"
	    " not forced");
	server_sql(url, "ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY,"
			" FORCE ROW LEVEL SECURITY");
	expect_role(url, "rls_app", NULL);
	free(url);
	server_sql(getenv("TEST_DATABASE_URL"), "DROP DATABASE roles");
	server_sql(getenv("TEST_DATABASE_URL"),
	    "DROP ROLE rls_app, rls_owner, rls_heir,"
	    " rls_free, rls_freed, rls_super");
}
