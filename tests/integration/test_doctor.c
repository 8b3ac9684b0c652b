/*
 * natterctl doctor: each finding of doctor.def is caused, seen, mended as its
 * remedy says, and gone. In servers of the test's own, whose settings change.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin.h"
#include "ctl/maintain.h"
#include "expect.h"
#include "servers.h"

static struct server pg, standby, redis;
static char folder[64];

/* What servers.h turns off for speed is on again. */
#define SOUND                                                          \
	"-c", "fsync=on", "-c", "full_page_writes=on", "-c",           \
	    "synchronous_commit=on", "-c", "max_connections=60", "-c", \
	    "shared_preload_libraries=pg_stat_statements", "-c",       \
	    "track_functions=none"
static const char *const sound[] = {
    SOUND, "-c", "autovacuum=on", "-c", "autovacuum_naptime=1h", NULL};

static const char *const debugging[] = {
    "--enable-debug-command", "local", NULL};

static void
begin(void)
{
	char path[128];

	unsetenv("CREDENTIALS_DIRECTORY");
	unsetenv("JWT_KEYS_FILE");
	unsetenv("DATABASE_URL");
	unsetenv("PGPASSWORD");
	strcpy(folder, "/tmp/natter-doctor-XXXXXX");
	if (mkdtemp(folder) == NULL ||
	    !admin_start_schema(&pg, sound, "natter") ||
	    !server_start_redis(&redis, debugging))
		abort();
	snprintf(path, sizeof(path), "%s/keys", folder);
	EXPECT(0, "", "keys", "init", path);
	setenv("JWT_KEYS_FILE", path, 1);
	setenv("REDIS_URL", redis.url, 1);
	setenv("DATABASE_URL", admin_url("natter_app"), 1);
}

static void
end(void)
{
	struct command_end e = RUN("rm", "-rf", folder);

	command_end_clear(&e);
	server_remove(&standby);
	server_remove(&redis);
	server_remove(&pg);
}

TestSuite(doctor, .init = begin, .fini = end, .timeout = 900);

/* The exit code, and in *out_has whether it made the finding. */
static int
examine(const char *id, bool *out_has, char **out_text)
{
	struct command_end e =
	    RUN(admin_natterctl(), "doctor", "--format", "json", "--slow", "1");
	struct json_object *o = json_tokener_parse(e.out), *list = NULL;
	int code = e.code;

	cr_assert_not_null(o, "%s%s", e.out, e.err);
	json_object_object_get_ex(o, "findings", &list);
	*out_has = false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *f = json_object_array_get_idx(list, i);

		*out_has |= strcmp(json_object_get_string(
				       json_object_object_get(f, "id")),
				id) == 0;
	}
	json_object_put(o);
	if (out_text != NULL)
		*out_text = e.out;
	else
		free(e.out);
	free(e.err);
	return code;
}

/* Statistics come a little late: waits until the finding is (not) made. */
static void
expect(const char *id, bool want)
{
	char *text = NULL;
	bool has = !want;

	for (int i = 0; i < 12 && has != want; i++) {
		if (i > 0)
			usleep(250000);
		free(text);
		(void)examine(id, &has, &text);
	}
	cr_expect_eq(has, want, "%s: %s\n%s", id,
	    want ? "not found" : "still there", has ? "" : text);
	free(text);
}

static void
redis_say(const char *format, const char *word)
{
	redisContext *c = redisConnectUnix(redis.url + strlen("unix://"));
	redisReply *r = redisCommand(c, format, word);

	cr_assert(r != NULL && r->type != REDIS_REPLY_ERROR, "%s: %s", format,
	    r != NULL ? r->str : c->errstr);
	freeReplyObject(r);
	redisFree(c);
}

/* One CONFIG SET, "name value" with the value up to the end. */
static void
redis_set(const char *setting)
{
	char name[64];
	redisContext *c = redisConnectUnix(redis.url + strlen("unix://"));
	size_t n = strcspn(setting, " ");
	redisReply *r;

	snprintf(name, sizeof(name), "%.*s", (int)n, setting);
	r = redisCommand(c, "CONFIG SET %s %s", name, setting + n + 1);
	cr_assert(r != NULL && r->type != REDIS_REPLY_ERROR, "%s: %s", setting,
	    r != NULL ? r->str : c->errstr);
	freeReplyObject(r);
	redisFree(c);
}

/* Connections that stay while a row is looked at. */
static PGconn *held[64];
static int n_held;

static PGconn *
hold(const char *role)
{
	PGconn *conn = PQconnectdb(admin_url(role));

	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	held[n_held++] = conn;
	return conn;
}

static void
hold_many(int n)
{
	while (n-- > 0)
		(void)hold("natter_app");
}

static void
let_go(void)
{
	while (n_held > 0)
		PQfinish(held[--n_held]);
}

static void
connections_90(void)
{
	hold_many(49);
}
static void
connections_all(void)
{
	hold_many(55);
}
static void
connections_of_role(void)
{
	hold_many(9);
}
static void
sleep_long(void)
{
	cr_assert(PQsendQuery(hold("postgres"), "SELECT pg_sleep(100)"));
	usleep(1100000);
}
static void
stay_open(void)
{
	PQclear(PQexec(hold("postgres"), "BEGIN; SELECT 1"));
	usleep(1100000);
}
static void
wait_for_lock(void)
{
	PQclear(PQexec(hold("postgres"), "BEGIN; LOCK chat.workers"));
	cr_assert(
	    PQsendQuery(hold("natter_app"), "SELECT id FROM chat.workers"));
	usleep(1100000);
}
static void
slow_statements(void)
{
	for (int i = 0; i < 3; i++)
		admin_sql("SELECT pg_sleep(0.6)");
}
static void
read_from_end_to_end(void)
{
	PGconn *conn = hold("natter_app");

	for (int i = 0; i < 120; i++)
		PQclear(PQexec(conn, "SELECT count(host) FROM chat.workers"));
	let_go(); /* which reports what was read */
}
static void
read_by_key(void)
{
	PGconn *conn = hold("postgres");

	PQclear(PQexec(conn, "SET enable_seqscan = off"));
	for (int i = 0; i < 1100; i++)
		PQclear(PQexec(conn, "SELECT FROM chat.workers WHERE id = "
				     "'00000000-0000-7000-8000-000000000001'"));
	let_go();
}
static void
fill_redis(void)
{
	redis_say("DEBUG POPULATE 20000 %s 100", "fill");
	redis_set("maxmemory 4mb");
}
static void
fragment_redis(void)
{
	redis_say("DEBUG POPULATE 400000 %s 250", "frag");
	redis_say("EVAL %s 0",
	    "for i = 0, 399999 do if i % 10 ~= 0 then "
	    "redis.call('DEL', 'frag:' .. i) end end return 1");
}
static void
fail_to_save(void)
{
	char path[128];

	redis_set("save 3600 1");
	/* A folder is in the file's place. */
	snprintf(path, sizeof(path), "%s/dump.rdb", redis.folder);
	mkdir(path, 0700);
	redis_say("BGSAVE%s", "");
	usleep(500000);
}
static void
save_again(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/dump.rdb", redis.folder);
	rmdir(path);
	redis_say("BGSAVE%s", "");
	usleep(500000);
	redis_set("save ");
}
static void
stop_redis(void)
{
	server_stop(&redis, SIGKILL);
}
static void
start_redis(void)
{
	cr_assert(server_start_again(&redis));
}

/* One address is here, the other nowhere. */
static void
open_redis(void)
{
	start_redis();
	redis_set("maxmemory 256mb");
	redis_set("bind 127.0.0.1 -192.0.2.1");
	redis_set("port 26495");
}
static void
migrate_up(void)
{
	EXPECT(0, "applied", "migrate", "up");
}

static void
append_hba(const char *line, const char *mode)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/data/pg_hba.conf", pg.folder);
	f = fopen(path, mode);
	cr_assert_not_null(f);
	fputs(line, f);
	fclose(f);
	admin_sql("SELECT pg_reload_conf()");
	usleep(300000);
}
static void
trust_others(void)
{
	append_hba("host all all 192.0.2.0/24 trust\n", "a");
}
static void
trust_nobody(void)
{
	admin_sql("ALTER ROLE postgres PASSWORD 'p'");
	setenv("PGPASSWORD", "p", 1);
	append_hba("local all all scram-sha-256\n", "w");
}
static void
trust_all(void)
{
	append_hba("local all all trust\n", "w");
}

static void
mode_of_keys(mode_t mode)
{
	const char *keys = getenv("JWT_KEYS_FILE");

	cr_assert(keys != NULL && chmod(keys, mode) == 0);
}
static void
open_keys(void)
{
	mode_of_keys(0444);
}
static void
close_keys(void)
{
	mode_of_keys(0400);
}

/* A row's ways to cause something: what is not needed is NULL. */
struct row {
	const char *id;
	const char *sql; /* as a superuser in the database */
	void (*act)(void);
	const char *options[8];       /* Postgres is started anew with these */
	const char *redis;            /* a CONFIG SET */
	const char *variable, *value; /* of natterctl */
	const char *mend_sql;
	void (*mend)(void);
	const char *mend_redis;
};

#define SYSTEM(setting) "ALTER SYSTEM SET " setting
#define RESET           "ALTER SYSTEM RESET ALL"

static const struct row rows[] = {
    {"sees_little", .variable = "SUPERUSER_DATABASE_URL", .value = "",
	.sql = "REVOKE pg_monitor FROM natter_migrate",
	.mend_sql = "GRANT pg_monitor TO natter_migrate"},
    {"connections_many", .act = connections_90},
    {"connections_exhausted", .act = connections_all},
    {"connections_of_a_role", .act = connections_of_role,
	.sql = "ALTER ROLE natter_app CONNECTION LIMIT 10",
	.mend_sql = "ALTER ROLE natter_app CONNECTION LIMIT -1"},
    {"connections_too_few", .variable = "CHAT_WORKERS", .value = "50"},
    {"ports_too_few", .variable = "CHAT_STREAMS_MAX", .value = "100000"},
    {"query_long", .act = sleep_long,
	.mend_sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
		    "WHERE query LIKE '%pg_sleep%' AND pid <> "
		    "pg_backend_pid()"},
    {"transaction_idle", .act = stay_open},
    {"lock_wait", .act = wait_for_lock,
	.mend_sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
		    "WHERE state LIKE 'idle in%'"},
    {"statement_slow", .sql = "CREATE EXTENSION pg_stat_statements",
	.act = slow_statements,
	.mend_sql = "SELECT pg_stat_statements_reset();"
		    "DROP EXTENSION pg_stat_statements"},
    {"table_stale",
	.sql = "INSERT INTO chat.workers (id, host, pid) SELECT "
	       "gen_random_uuid(), 'h', i FROM generate_series(1, 60000) i",
	.mend_sql = "ANALYZE chat.workers"},
    {"index_missing", .act = read_from_end_to_end, .mend = read_by_key},
    {"index_unused",
	.sql = "SET ROLE natter_owner; CREATE INDEX idx_mine ON chat.workers "
	       "(seen_at, id)",
	.act = read_by_key, .mend_sql = "DROP INDEX chat.idx_mine"},
    {"table_dead_rows", .sql = "DELETE FROM chat.workers WHERE pid > 100",
	.mend_sql = "VACUUM ANALYZE chat.workers"},
    {"index_bloated", .sql = "SELECT 1",
	.mend_sql = "REINDEX INDEX CONCURRENTLY chat.workers_pkey"},
    {"index_invalid",
	.sql = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
	       "'chat.idx_chat_conversations_store'::regclass",
	.mend_sql = "REINDEX INDEX CONCURRENTLY "
		    "chat.idx_chat_conversations_store"},
    {"foreign_key_unindexed",
	.sql = "SET ROLE natter_owner; CREATE TABLE chat.mine (a uuid "
	       "REFERENCES chat.workers (id))",
	.mend_sql = "CREATE INDEX ON chat.mine (a)"},
    {"partition_missing",
	.sql = "DROP TABLE chat.mine; DO $$ BEGIN EXECUTE 'DROP TABLE "
	       "chat.messages_' || to_char(now() AT TIME ZONE 'UTC' + "
	       "interval '1 month', 'YYYY_MM'); END $$",
	.mend_sql = "SELECT chat.create_partitions(3)"},
    {"partition_strays",
	.sql = "INSERT INTO auth.users (id, username) VALUES ("
	       "'00000000-0000-7000-8000-00000000000a', 'a');"
	       "INSERT INTO chat.usage_tracking (user_id, id, model) VALUES ("
	       "'00000000-0000-7000-8000-00000000000a', "
	       "natter.uuid_floor(now() - interval '2 months'), 'm')",
	.mend_sql = "SELECT chat.create_partitions(3, now() - interval "
		    "'3 months')"},
    {"model_unpriced",
	.sql = "INSERT INTO chat.usage_tracking (user_id, id, model, "
	       "prompt_tokens) VALUES ('00000000-0000-7000-8000-00000000000a', "
	       "natter.uuid_v7(), 'priceless', 1)",
	.mend_sql = "INSERT INTO chat.model_prices (model, input, output) "
		    "VALUES ('priceless', 0, 0)"},
    {"slot_idle",
	.sql = "SELECT pg_create_physical_replication_slot('s', "
	       "true)",
	.mend_sql = "SELECT pg_drop_replication_slot('s')"},
    {"redis_away", .act = stop_redis, .mend = start_redis},
    {"redis_memory_unlimited", .redis = "maxmemory 0",
	.mend_redis = "maxmemory 256mb"},
    {"redis_noeviction", .redis = "maxmemory-policy noeviction",
	.mend_redis = "maxmemory-policy volatile-ttl"},
    {"redis_memory_full", .act = fill_redis, .mend_redis = "maxmemory 256mb"},
    {"redis_persistent", .redis = "save 3600 1", .mend_redis = "save "},
    {"redis_writes_stopped", .act = fail_to_save, .mend = save_again},
    {"redis_fragmented", .act = fragment_redis, .mend = stop_redis},
    {"redis_open", .act = open_redis, .redis = "protected-mode no",
	.mend_redis = "protected-mode yes"},
    {"redis_remote_plain", .variable = "REDIS_URL",
	.value = "redis://192.0.2.1:1"},
    {"fsync_off", .options = {"-c", "fsync=off"}},
    {"full_page_writes_off", .options = {"-c", "full_page_writes=off"}},
    {"synchronous_commit_off", .options = {"-c", "synchronous_commit=off"}},
    {"synchronous_commit_off",
	.sql = "ALTER ROLE natter_app SET synchronous_commit = off",
	.mend_sql = "ALTER ROLE natter_app RESET synchronous_commit"},
    {"autovacuum_off", .options = {"-c", "autovacuum=off"}},
    {"wraparound_near",
	.sql = "UPDATE pg_database SET datfrozenxid = ((txid_current() - "
	       "1200000000 + 4294967296) % 4294967296)::text::xid WHERE "
	       "datname = 'postgres'",
	.mend_sql = "UPDATE pg_database SET datfrozenxid = (SELECT "
		    "datfrozenxid FROM pg_database WHERE datname = 'natter') "
		    "WHERE datname = 'postgres'"},
    {"ssl_off", .options = {"-c", "listen_addresses=127.0.0.77,192.0.2.1"}},
    {"password_md5", .sql = SYSTEM("password_encryption = 'md5'"),
	.mend_sql = RESET},
    {"password_md5_kept",
	.sql = "SET password_encryption = 'md5'; ALTER ROLE natter_app "
	       "PASSWORD 'x'",
	.mend_sql = "ALTER ROLE natter_app PASSWORD 'x'"},
    {"trust_remote", .act = trust_others, .mend = trust_all},
    {"trust_local", .mend = trust_nobody},
    {"app_privileged", .act = trust_all,
	.sql = "ALTER ROLE natter_app CREATEDB",
	.mend_sql = "ALTER ROLE natter_app NOCREATEDB"},
    {"statements_logged", .sql = SYSTEM("log_statement = 'all'"),
	.mend_sql = RESET},
    {"statements_logged", .sql = SYSTEM("log_min_duration_statement = 1000"),
	.mend_sql = SYSTEM("log_parameter_max_length = 0")},
    {"schema_drift",
	.sql = "UPDATE natter.schema_migrations SET sha256 = "
	       "encode(sha256(sha256::bytea), 'hex') WHERE version = 1",
	.mend_sql = "DELETE FROM natter.schema_migrations", .mend = migrate_up},
    {"schema", .sql = "COMMENT ON TABLE chat.workers IS NULL",
	.mend_sql = "COMMENT ON TABLE chat.workers IS 'x'"},
    {"prompt_templates_amiss", .variable = "CHAT_PROMPTS_DIR",
	.value = "/nonexistent"},
    {"prompt_template_missing",
	.sql = "INSERT INTO chat.stores (id, slug, name, settings) VALUES "
	       "(natter.uuid_v7(), 'nameless', 'Nameless', "
	       "'{\"prompt_template\": \"nowhere\"}')",
	.mend_sql = "UPDATE chat.stores SET settings = "
		    "'{\"prompt_template\": \"default\"}'"},
    {"embedding_models",
	.sql = "INSERT INTO chat.workers (id, host, pid, embedding_model, "
	       "seen_at) SELECT natter.uuid_v7(), v.h, 1, v.m, now() + "
	       "interval '1 hour' FROM (VALUES ('a', 'm-1'), ('b', 'm-2')) "
	       "v(h, m)",
	.mend_sql = "DELETE FROM chat.workers WHERE embedding_model = 'm-2'"},
    {"file_readable", .act = open_keys, .mend = close_keys},
    {"file_missing", .variable = "JWT_KEYS_FILE", .value = "/nonexistent"},
    {"database_role", .variable = "DATABASE_URL",
	.value = "postgresql://natter_migrate@/natter"},
    {"database_plain", .variable = "DATABASE_URL",
	.value = "postgresql://natter_app@db.example.com/natter"},
    {"budgets_amiss",
	.sql = "INSERT INTO auth.users (id, username) VALUES "
	       "(natter.uuid_v7(), 'miscounted'); INSERT INTO "
	       "chat.token_budgets (user_id, id, period, starts_on, "
	       "tokens_used) SELECT u.id, natter.uuid_v7(), 'day', "
	       "(now() AT TIME ZONE 'UTC')::date, 1 FROM auth.users u "
	       "WHERE u.username = 'miscounted'",
	.mend_sql = "DELETE FROM auth.users WHERE username = 'miscounted'"},
    {"registration_open", .variable = "CHAT_REGISTRATION", .value = "open"},
    {"login_unlimited", .variable = "CHAT_LOGIN_ADDRESS_RATE", .value = "0"},
    {"hash_weak", .variable = "CHAT_HASH_MEMORY", .value = "8192"},
    {"password_short", .variable = "CHAT_PASSWORD_MIN", .value = "8"},
    {"log_debug", .variable = "CHAT_LOG_LEVEL", .value = "debug"},
    {"model_plain", .variable = "OPENAI_BASE_URL",
	.value = "http://models.example.com/v1"},
    {"origin_plain", .variable = "CHAT_ORIGINS",
	.value = "https://a.example http://b.example"},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* Those of tests of their own, below. */
static const char *const elsewhere[] = {"standby_behind", "replay_paused",
    "clock_postgres", "clock_redis", "listens_everywhere"};

static void
start_postgres_with(const char *const *options)
{
	static const char *words[40];
	size_t n = 0;

	for (size_t i = 0; sound[i] != NULL; i++)
		words[n++] = sound[i];
	for (size_t i = 0; i < 8 && options != NULL && options[i] != NULL; i++)
		words[n++] = options[i];
	words[n] = NULL;
	server_stop(&pg, SIGINT);
	pg.options = words;
	cr_assert(server_start_again(&pg));
}

static void
sql_and_reload(const char *sql)
{
	if (sql == NULL)
		return;
	admin_sql(sql);
	if (strncmp(sql, "ALTER SYSTEM", 12) == 0)
		admin_sql("SELECT pg_reload_conf()");
}

static void
cause(const struct row *r)
{
	sql_and_reload(r->sql);
	if (r->options[0] != NULL)
		start_postgres_with(r->options);
	if (r->act != NULL)
		r->act();
	if (r->redis != NULL)
		redis_set(r->redis);
}

static void
mend(const struct row *r)
{
	if (r->options[0] != NULL)
		start_postgres_with(NULL);
	sql_and_reload(r->mend_sql);
	if (r->mend != NULL)
		r->mend();
	else if (r->mend_sql == NULL)
		let_go();
	if (r->mend_redis != NULL)
		redis_set(r->mend_redis);
}

/* Seen with the cause, gone after the remedy; so are all in order. */
Test(doctor, each_finding_is_made_and_goes_with_its_remedy)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct row *r = &rows[i];
		const char *old =
		    r->variable != NULL ? getenv(r->variable) : NULL;
		char *kept = old != NULL ? strdup(old) : NULL;
		cause(r);
		if (r->variable != NULL)
			setenv(r->variable, r->value, 1);
		expect(r->id, true);
		if (r->variable != NULL && kept != NULL)
			setenv(r->variable, kept, 1);
		else if (r->variable != NULL)
			unsetenv(r->variable);
		mend(r);
		expect(r->id, false);
		let_go();
		free(kept);
	}
}

Test(doctor, every_row_of_the_table_is_caused_by_a_test, .init = NULL,
    .fini = NULL)
{
	static const char *const ids[] = {
#define REPORT(...)
#define FINDING(id, ...) id,
#include "ctl/doctor.def"
#undef REPORT
#undef FINDING
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		bool is_tested = false;

		for (size_t j = 0; j < N_ROWS; j++)
			is_tested |= strcmp(rows[j].id, ids[i]) == 0;
		for (size_t j = 0; j < sizeof(elsewhere) / sizeof(*elsewhere);
		     j++)
			is_tested |= strcmp(elsewhere[j], ids[i]) == 0;
		cr_expect(is_tested, "%s", ids[i]);
	}
}

/* A standby of `pg`, made by pg_basebackup. */
static void
start_standby(void)
{
	char data[80], conninfo[160];
	struct command_end e;

	if (!server_start_postgres(&standby, NULL))
		abort();
	server_stop(&standby, SIGINT);
	snprintf(data, sizeof(data), "%s/data", standby.folder);
	e = RUN("rm", "-rf", data);
	command_end_clear(&e);
	append_hba("local replication all trust\n", "a");
	snprintf(
	    conninfo, sizeof(conninfo), "host=%s user=postgres", pg.folder);
	e = RUN(
	    "pg_basebackup", "-D", data, "-d", conninfo, "-R", "-c", "fast");
	cr_assert_eq(e.code, 0, "%s", e.err);
	command_end_clear(&e);
	if (geteuid() == 0) {
		e = RUN("chown", "-R", "postgres:", data);
		command_end_clear(&e);
	}
	standby.options = sound;
	cr_assert(server_start_again(&standby));
}

Test(doctor, a_standby_that_lags_is_seen_from_both_sides)
{
	char *there;

	start_standby();
	there = server_url_with(standby.url, "dbname", "natter");
	expect("standby_behind", false);
	server_sql(there, "SELECT pg_wal_replay_pause()");
	admin_sql("CREATE TABLE public.wal AS SELECT repeat('x', 100) FROM "
		  "generate_series(1, 300000)");
	expect("standby_behind", true);
	setenv("SUPERUSER_DATABASE_URL", there, 1);
	expect("replay_paused", true);
	server_sql(there, "SELECT pg_wal_replay_resume()");
	expect("replay_paused", false);
	there = server_url_with(pg.url, "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", there, 1);
	expect("standby_behind", false);
	free(there);
}

/* natterctl lives ten seconds ahead. libfaketime's wrapper would stumble over
 * what a killed process of its own number has left in /dev/shm. */
Test(doctor, clocks_that_differ_are_seen)
{
	char script[128];
	FILE *f;

	expect("clock_postgres", false);
	expect("clock_redis", false);
	snprintf(script, sizeof(script), "%s/ahead", folder);
	f = fopen(script, "w");
	fprintf(f,
	    "#!/bin/sh\nFAKETIME=+10s "
	    "LD_PRELOAD='/usr/$LIB/faketime/libfaketime.so.1' exec %s \"$@\"\n",
	    admin_natterctl());
	fclose(f);
	chmod(script, 0755);
	setenv("NATTERCTL", script, 1);
	expect("clock_postgres", true);
	expect("clock_redis", true);
}

/* Where nobody else hears it: in a network of its own. */
Test(doctor, a_postgres_that_listens_everywhere_is_seen)
{
	static const char *const all[] = {"-c", "listen_addresses=*", NULL};
	expect("listens_everywhere", false);
	if (unshare(CLONE_NEWNET) != 0) {
		cr_log_warn("only root can try this");
		return;
	}
	start_postgres_with(all);
	expect("listens_everywhere", true);
}

Test(doctor, exit_codes_say_how_bad_it_is)
{
	trust_nobody();
	redis_set("maxmemory 256mb");
	redis_set("maxmemory-policy volatile-ttl");
	EXPECT(0, "Nothing was found", "doctor");
	setenv("CHAT_REGISTRATION", "open", 1);
	EXPECT(0, "1 pieces of advice", "doctor");
	setenv("CHAT_HASH_MEMORY", "8192", 1);
	EXPECT(1, "1 warnings", "doctor");
	setenv("OPENAI_BASE_URL", "http://models.example.com/v1", 1);
	EXPECT(2, "1 critical", "doctor");
	EXPECT(78, "text or json", "doctor", "--format", "xml");
	setenv("CHAT_HASH_MEMORY", "much", 1);
	EXPECT(78, "CHAT_HASH_MEMORY", "doctor");
	setenv("CHAT_HASH_MEMORY", "65536", 1);
	unsetenv("OPENAI_BASE_URL");
	trust_all();
	setenv("SUPERUSER_DATABASE_URL", "host=/nonexistent", 1);
	EXPECT(2, "cannot reach Postgres", "doctor");
	/* As natter_migrate: what it may not ask is named, not hidden. */
	unsetenv("SUPERUSER_DATABASE_URL");
	EXPECT(0, "not looked at: trust_local (needs a superuser", "doctor");
}
