/*
 * The scratch domain. Owns no state: every test has its own database.
 */
#include <stdlib.h>

#include "pg_scratch.h"
#include "servers.h"

const struct pg_query scratch_queries[Q__MAX] = {
    [Q_ADD] = {"scratch_add", "int4 text",
	"INSERT INTO note (id, body) VALUES ($1, $2)"},
    [Q_COUNT] = {"scratch_count", "", "SELECT count(*) FROM note"},
    [Q_WHO] = {"scratch_who", "",
	"SELECT current_setting('app.user_id', true)"},
    [Q_SETTING] = {"scratch_setting", "text", "SELECT current_setting($1)"},
    [Q_PID] = {"scratch_pid", "", "SELECT pg_backend_pid()"},
    [Q_SLEEP] = {"scratch_sleep", "float8", "SELECT pg_sleep($1)"},
    [Q_ECHO] = {"scratch_echo", "text", "SELECT $1, length($1)"},
    [Q_MANY] = {"scratch_many", "int4",
	"SELECT n, repeat('x', 100) FROM generate_series(1, $1) n"},
    [Q_CAST] = {"scratch_cast", "text", "SELECT $1::uuid"},
    [Q_DIVIDE] = {"scratch_divide", "", "SELECT 1 / (count(*) * 0) FROM note"},
    [Q_LATE] = {"scratch_late", "int4",
	"INSERT INTO late (id, parent) VALUES ($1, 4711)"},
    [Q_RAISE] = {"scratch_raise", "text", "SELECT raise($1)"},
};

const struct pg_domain scratch_domain = {scratch_queries, Q__MAX};

void
scratch_tables(const char *url)
{
	server_sql(url,
	    "CREATE TABLE note (id int4 PRIMARY KEY, body text NOT NULL,"
	    " CONSTRAINT note_body_good CHECK (body <> 'bad'));"
	    "CREATE TABLE late (id int4 PRIMARY KEY, parent int4"
	    " REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED);"
	    "CREATE FUNCTION raise(state text) RETURNS void LANGUAGE plpgsql"
	    " AS $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = state;"
	    " END $$");
}

char *
scratch_database(const char *name)
{
	char *url = server_database(getenv("TEST_DATABASE_URL"), name);

	scratch_tables(url);
	return url;
}

struct pg *
scratch_pg(const char *url, bool prepare, long timeout_ms)
{
	return pg_new(&(struct pg_options){
	    .url = url,
	    .application = "natter test",
	    .timeout_ms = timeout_ms,
	    .prepare = prepare,
	    .domains = &scratch_domain,
	    .n_domains = 1,
	});
}

struct pg_call
scratch_call(enum scratch_query query, const char *a, const char *b)
{
	return (struct pg_call){
	    .query = &scratch_queries[query],
	    .params = {a, b},
	};
}

int64_t
scratch_number(struct pg *pg, enum scratch_query query)
{
	struct pg_call call = scratch_call(query, NULL, NULL);
	int64_t number = -1;

	if (pg_run(pg, NULL, &call, 1) == OK)
		number = pg_number(call.result, 0, 0);
	pg_calls_clear(&call, 1);
	return number;
}
