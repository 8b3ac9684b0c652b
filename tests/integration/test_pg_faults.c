/*
 * pg.c while Postgres fails: restarts, killed and stopped servers, lost
 * logins, hosts that hang. Each test has a server of its own to maltreat.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/pg.h"
#include "tests/support/pg_scratch.h"
#include "tests/support/servers.h"

static struct server server;

static void
start_server(void)
{
	static const char *const options[] = {
	    "-c", "log_min_messages=fatal", NULL};

	if (!server_start_postgres(&server, options))
		abort();
	scratch_tables(server.url);
}

static void
stop_server(void)
{
	server_remove(&server);
}

TestSuite(pg_faults, .init = start_server, .fini = stop_server, .timeout = 60);

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* A signal to a process, a little later, from another thread. */
struct later {
	pthread_t thread;
	pid_t pid;
	int signal_number;
};

static void *
send_later(void *arg)
{
	const struct later *l = arg;
	PGconn *c = PQconnectdb(server.url);
	char sql[128];
	bool sleeps = false;

	snprintf(sql, sizeof(sql),
	    "SELECT FROM pg_stat_activity"
	    " WHERE pid = %d AND wait_event = 'PgSleep'",
	    (int)l->pid);
	for (int i = 0; i < 3000 && !sleeps; i++) {
		PGresult *r = PQexec(c, sql);

		sleeps = PQntuples(r) > 0;
		PQclear(r);
		sleep_ms(20);
	}
	PQfinish(c);
	kill(l->pid, l->signal_number);
	return NULL;
}

static void
signal_later(struct later *l)
{
	cr_assert_eq(pthread_create(&l->thread, NULL, send_later, l), 0);
}

/* Tries until it works; gives the milliseconds it took. */
static uint64_t
recover(struct pg *pg)
{
	uint64_t start = clock_mono_ms();

	while (
	    scratch_number(pg, Q_COUNT) < 0 && clock_mono_ms() - start < 15000)
		sleep_ms(20);
	return clock_mono_ms() - start;
}

/* Its backend. A host that is slow to connect has none yet, and a signal to
 * process -1 would be one to all. */
static pid_t
backend_of(struct pg *pg)
{
	int64_t pid;

	(void)recover(pg);
	pid = scratch_number(pg, Q_PID);
	cr_assert_gt(pid, 1, "%s", pg_why(pg));
	return (pid_t)pid;
}

Test(pg_faults, a_restart_between_calls_is_not_seen)
{
	for (int mode = 0; mode < 2; mode++) {
		struct pg *pg = scratch_pg(server.url, mode == 0, 5000);

		cr_assert_eq(scratch_number(pg, Q_COUNT), 0);
		server_stop(&server, SIGINT);
		cr_assert(server_start_again(&server));
		cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
		pg_free(pg);
	}
}

Test(pg_faults, a_terminated_idle_backend_is_not_seen)
{
	char sql[64];
	struct pg *pg = scratch_pg(server.url, true, 5000);
	pid_t pid = backend_of(pg);

	snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d, 2000)",
	    (int)pid);
	server_sql(server.url, sql);
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
	cr_expect_neq(scratch_number(pg, Q_PID), pid);
	pg_free(pg);
}

static void
die_in_mid_pipeline(int signal_number, const char *want_state)
{
	struct pg *pg = scratch_pg(server.url, true, 60000);
	struct pg_call calls[] = {
	    scratch_call(Q_ADD, "1", "one"),
	    scratch_call(Q_SLEEP, "50", NULL),
	    scratch_call(Q_ADD, "2", "two"),
	};
	struct later l = {
	    .pid = backend_of(pg), .signal_number = signal_number};
	uint64_t start;

	/* Its commits do not wait for the disk: the tables are to survive. */
	server_sql(server.url, "CHECKPOINT");
	start = clock_mono_ms();
	signal_later(&l);
	cr_expect_eq(pg_run(pg, NULL, calls, 3), ERR_UNAVAILABLE);
	cr_expect_lt(clock_mono_ms() - start, 30000);
	cr_expect_str_eq(pg_sqlstate(pg), want_state, "%s", pg_why(pg));
	for (int i = 0; i < 3; i++)
		cr_expect_null(calls[i].result);
	pthread_join(l.thread, NULL);
	cr_expect_lt(recover(pg), 15000, "%s", pg_why(pg));
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0);
	pg_free(pg);
}

Test(pg_faults, a_killed_backend_is_unavailable_and_recovered_from)
{
	die_in_mid_pipeline(SIGKILL, "");
}

Test(pg_faults, a_terminated_backend_is_unavailable_with_its_reason)
{
	die_in_mid_pipeline(SIGTERM, "57P01");
}

Test(pg_faults, a_stopped_backend_costs_the_time_out_and_no_more)
{
	struct pg *pg = scratch_pg(server.url, true, 3000);
	struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);
	pid_t pid = backend_of(pg);
	uint64_t start, took;

	kill(pid, SIGSTOP);
	start = clock_mono_ms();
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	took = clock_mono_ms() - start;
	cr_expect(
	    took >= 3000 && took < 10000, "%llu ms", (unsigned long long)took);
	cr_expect_str_eq(pg_why(pg), "no answer within 3000 ms");
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0,
	    "another backend answers at once: %s", pg_why(pg));
	kill(pid, SIGCONT);
	pg_free(pg);
}

/* The stopped backend never sees the rest; 16 MB do not fit anywhere. */
Test(pg_faults, a_backend_stopped_while_we_send_costs_no_more_either)
{
	static char text[4097];
	struct pg *pg = scratch_pg(server.url, true, 700);
	struct pg_call *calls = calloc(PG_CALLS_MAX, sizeof(*calls));
	pid_t pid = backend_of(pg);
	uint64_t start, took;

	memset(text, 'x', sizeof(text) - 1);
	for (size_t i = 0; i < PG_CALLS_MAX; i++)
		calls[i] = scratch_call(Q_ECHO, text, NULL);
	kill(pid, SIGSTOP);
	start = clock_mono_ms();
	cr_expect_eq(pg_run(pg, NULL, calls, PG_CALLS_MAX), ERR_UNAVAILABLE);
	took = clock_mono_ms() - start;
	cr_expect(
	    took >= 700 && took < 10000, "%llu ms", (unsigned long long)took);
	kill(pid, SIGCONT);
	free(calls);
	pg_free(pg);
}

Test(pg_faults, a_stopped_server_is_not_waited_for_by_every_call)
{
	struct pg *pg = scratch_pg(server.url, true, 500);
	struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);
	uint64_t start;

	kill(server.pid, SIGSTOP);
	start = clock_mono_ms();
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	cr_expect_geq(clock_mono_ms() - start, 500);
	start = clock_mono_ms();
	for (int i = 0; i < 100; i++)
		cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	/* A hundred would wait for 50 s. */
	cr_expect_lt(clock_mono_ms() - start, 20000);
	cr_expect_not_null(strstr(pg_why(pg), "no connection in time"));
	kill(server.pid, SIGCONT);
	cr_expect_lt(recover(pg), 15000);
	pg_free(pg);
}

Test(pg_faults, while_away_connecting_is_tried_once_a_second)
{
	struct pg *pg = scratch_pg(server.url, true, 5000);
	struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);
	uint64_t start;

	server_stop(&server, SIGINT);
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	cr_assert(server_start_again(&server));
	start = clock_mono_ms();
	if (pg_run(pg, NULL, &call, 1) != OK)
		cr_expect_lt(clock_mono_ms() - start, 4000, "fails fast");
	pg_calls_clear(&call, 1);
	cr_expect_lt(recover(pg), 15000);
	pg_free(pg);
}

Test(pg_faults, a_slow_statement_is_refused_and_the_connection_lives)
{
	for (int mode = 0; mode < 2; mode++) {
		/* The server gives up a tenth of it before the client. */
		struct pg *pg = scratch_pg(server.url, mode == 0, 5000);
		struct pg_call call = scratch_call(Q_SLEEP, "50", NULL);
		pid_t pid = backend_of(pg);

		cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
		cr_expect_str_eq(pg_sqlstate(pg), "57014", "%s", pg_why(pg));
		cr_expect_eq(scratch_number(pg, Q_PID), pid);
		pg_free(pg);
	}
}

/* When the server that takes a connection now has read its settings. */
static void
loaded_at(char out[64])
{
	PGconn *c = PQconnectdb(server.url);
	PGresult *r = PQexec(c, "SELECT pg_conf_load_time()");

	snprintf(out, 64, "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	PQfinish(c);
}

/* Postgres tells its backends of new settings before it takes a connection that
 * knows of them. */
static void
reload_settings(void)
{
	char before[64], now[64];

	loaded_at(before);
	server_sql(server.url, "SELECT pg_reload_conf()");
	for (int i = 0; i < 600; i++) {
		loaded_at(now);
		if (strcmp(now, before) != 0)
			return;
		sleep_ms(100);
	}
	cr_assert_fail("the settings were never loaded");
}

Test(pg_faults, a_wrong_password_is_unavailable_and_says_so)
{
	char *as, *with;
	struct pg *pg;
	struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);
	char sql[256];

	server_sql(server.url, "CREATE ROLE guest LOGIN PASSWORD 'right'");
	server_sql(server.url, "GRANT SELECT, INSERT ON note, late TO guest");
	snprintf(sql, sizeof(sql),
	    "COPY (VALUES ('local all guest scram-sha-256'),"
	    " ('local all all trust')) TO '%s/data/pg_hba.conf'",
	    server.folder);
	server_sql(server.url, sql);
	reload_settings();
	as = server_url_with(server.url, "user", "guest");
	with = server_url_with(as, "password", "wr0ng-one");
	pg = scratch_pg(with, true, 5000);
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(pg_why(pg), "password authentication failed"),
	    "%s", pg_why(pg));
	cr_expect_null(strstr(pg_why(pg), "wr0ng-one"));
	server_sql(server.url, "ALTER ROLE guest PASSWORD 'wr0ng-one'");
	cr_expect_lt(recover(pg), 15000, "%s", pg_why(pg));
	pg_free(pg);
	free(with);
	free(as);
}

/* A listener that never accepts: what a stopped host looks like. */
static int
listen_silently(int *out_port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t n = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(fd, 8), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
	*out_port = ntohs(sa.sin_port);
	return fd;
}

Test(pg_faults, a_hanging_first_host_does_not_hide_the_second)
{
	char url[256];
	int port = 0, fd = listen_silently(&port), n;
	struct pg *pg;
	uint64_t start = clock_mono_ms(), took;

	/* As a URL, where the second host leaves its port out. */
	n = snprintf(
	    url, sizeof(url), "postgres://postgres@127.0.0.1:%d,", port);
	for (const char *at = server.folder; *at != '\0'; at++)
		n += sprintf(url + n, *at == '/' ? "%%2F" : "%c", *at);
	strcpy(url + n, "/postgres");
	pg = scratch_pg(url, true, 12000);
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
	took = clock_mono_ms() - start;
	cr_expect(
	    took >= 2000 && took < 12000, "%llu ms", (unsigned long long)took);
	pg_free(pg);
	snprintf(url, sizeof(url),
	    "host=127.0.0.1,%s port=%d,5432 user=postgres dbname=postgres"
	    " connect_timeout=9",
	    server.folder, port);
	pg = scratch_pg(url, true, 12000);
	start = clock_mono_ms();
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
	took = clock_mono_ms() - start;
	cr_expect(took >= 5500 && took < 9000, "a fair share: %llu ms",
	    (unsigned long long)took);
	pg_free(pg);
	close(fd);
}

static void *
go_on_after_3_s(void *arg)
{
	struct timespec t = {.tv_sec = 3};

	(void)arg;
	nanosleep(&t, NULL);
	kill(server.pid, SIGCONT);
	return NULL;
}

/* There is no other to try instead of one that takes longer than 2 s. */
Test(pg_faults, an_only_host_has_a_third_of_a_long_deadline)
{
	struct pg *pg = scratch_pg(server.url, true, 60000);
	pthread_t thread;

	kill(server.pid, SIGSTOP);
	cr_assert_eq(pthread_create(&thread, NULL, go_on_after_3_s, NULL), 0);
	cr_expect_eq(scratch_number(pg, Q_COUNT), 0, "%s", pg_why(pg));
	pthread_join(thread, NULL);
	pg_free(pg);
}

Test(pg_faults, a_server_that_became_read_only_is_left)
{
	struct pg *pg = scratch_pg(server.url, true, 5000);
	struct pg_call call = scratch_call(Q_ADD, "1", "one");

	cr_assert_eq(scratch_number(pg, Q_COUNT), 0);
	server_sql(
	    server.url, "ALTER SYSTEM SET default_transaction_read_only = on");
	reload_settings();
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	cr_expect_str_eq(pg_sqlstate(pg), "25006", "%s", pg_why(pg));
	cr_expect_eq(pg_run(pg, NULL, &call, 1), ERR_UNAVAILABLE);
	cr_expect_not_null(
	    strstr(pg_why(pg), "session is read-only"), "%s", pg_why(pg));
	server_sql(
	    server.url, "ALTER SYSTEM RESET default_transaction_read_only");
	server_sql(server.url, "SELECT pg_reload_conf()");
	cr_expect_lt(recover(pg), 15000, "%s", pg_why(pg));
	pg_free(pg);
}

Test(pg_faults, too_many_connections_is_unavailable)
{
	struct pg *pg[3];
	struct pg_call call = scratch_call(Q_COUNT, NULL, NULL);

	server_sql(server.url, "ALTER SYSTEM SET max_connections = 2");
	server_sql(
	    server.url, "ALTER SYSTEM SET superuser_reserved_connections = 0");
	server_stop(&server, SIGINT);
	cr_assert(server_start_again(&server));
	for (int i = 0; i < 3; i++)
		pg[i] = scratch_pg(server.url, true, 5000);
	cr_expect_lt(recover(pg[0]), 15000);
	cr_expect_lt(recover(pg[1]), 15000);
	cr_expect_eq(pg_run(pg[2], NULL, &call, 1), ERR_UNAVAILABLE);
	cr_expect_not_null(
	    strstr(pg_why(pg[2]), "too many clients"), "%s", pg_why(pg[2]));
	pg_free(pg[0]);
	cr_expect_lt(recover(pg[2]), 3000, "%s", pg_why(pg[2]));
	pg_free(pg[1]);
	pg_free(pg[2]);
}
