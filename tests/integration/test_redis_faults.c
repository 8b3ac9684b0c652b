/*
 * redis.c while Redis fails: killed, stopped, loading, read-only, full; and
 * servers that break the protocol. Each test has servers of its own.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis.h"
#include "store/redis_wire.h"
#include "tests/support/fake_redis.h"
#include "tests/support/redis_scratch.h"
#include "tests/support/servers.h"

#define TIMEOUT_MS 3000 /* a busy machine is not as late */
#define SHORT_MS   100  /* where it is to be */

static struct server server;

static void
start_server(void)
{
	static const char *const options[] = {"--enable-debug-command", "yes",
	    "--loading-process-events-interval-bytes", "1024", NULL};

	if (!server_start_redis(&server, options))
		abort();
}

static void
stop_server(void)
{
	server_remove(&server);
}

TestSuite(
    redis_faults, .init = start_server, .fini = stop_server, .timeout = 60);

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static struct redis *
fresh(void)
{
	return redis_new(server.url, TIMEOUT_MS);
}

static enum err
try(struct redis *r, int argc, const char **argv)
{
	AUTO_REPLY redisReply *reply = NULL;

	return redis_command(r, argc, argv, NULL, &reply);
}

/* Asks until it works; gives the milliseconds it took. */
static uint64_t
recover(struct redis *r)
{
	uint64_t start = clock_mono_ms();

	while (try(r, WORDS("PING")) != OK && clock_mono_ms() - start < 10000)
		sleep_ms(10);
	return clock_mono_ms() - start;
}

Test(redis_faults, a_restart_between_commands_is_not_seen)
{
	struct redis *r = fresh();

	for (int i = 0; i < 3; i++) {
		expect_status(r, "PONG", WORDS("PING"));
		server_stop(&server, i == 0 ? SIGTERM : SIGKILL);
		cr_assert(server_start_again(&server));
	}
	expect_status(r, "PONG", WORDS("PING"));
	redis_free(r);
}

/* Opens it and looks at it; false when its second was over before. */
static bool
breaker_was_seen_open(struct redis *r)
{
	uint64_t opened = 0;
	bool is_away, is_refused, is_in_time;

	expect_status(r, "PONG", WORDS("PING"));
	server_stop(&server, SIGKILL);
	for (int i = 0; i < 3; i++) {
		cr_expect(!redis_is_away(r));
		opened = clock_mono_ms();
		cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
	}
	is_away = redis_is_away(r);
	cr_assert(server_start_again(&server));
	is_refused = try(r, WORDS("PING")) == ERR_UNAVAILABLE;
	is_in_time = clock_mono_ms() - opened < 1000;
	if (is_in_time) {
		cr_expect(is_away);
		cr_expect(is_refused, "open even though Redis is back");
	}
	cr_expect_lt(recover(r), 10000);
	cr_expect(!redis_is_away(r));
	return is_in_time;
}

Test(redis_faults, three_failures_open_the_breaker_for_a_second)
{
	struct redis *r = fresh();
	int late = 0;

	while (!breaker_was_seen_open(r))
		cr_assert_lt(++late, 20);
	redis_free(r);
}

Test(redis_faults, two_failures_and_a_success_do_not_open_it)
{
	struct redis *r = fresh();

	for (int i = 0; i < 3; i++) {
		server_stop(&server, SIGKILL);
		cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
		cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
		cr_assert(server_start_again(&server));
		expect_status(r, "PONG", WORDS("PING"));
	}
	redis_free(r);
}

Test(redis_faults, a_stopped_server_costs_three_time_outs_then_one_a_second)
{
	struct redis *r = redis_new(server.url, SHORT_MS);
	uint64_t start;
	int slow = 0, late = 0;

	expect_status(r, "PONG", WORDS("PING"));
	kill(server.pid, SIGSTOP);
	start = clock_mono_ms();
	while (clock_mono_ms() - start < 3000) {
		uint64_t before = clock_mono_ms(), took;

		cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
		took = clock_mono_ms() - before;
		slow += took >= SHORT_MS / 2;
		late += took >= 2000;
		sleep_ms(2);
	}
	/* Where not the machine is late, but they. */
	cr_expect_leq(2 * late, slow, "%d of %d", late, slow);
	/* Six; thirty, if each waited. */
	cr_expect_leq(slow, 15);
	kill(server.pid, SIGCONT);
	cr_expect_lt(recover(r), 10000);
	redis_free(r);
}

static void *
continue_server(void *arg)
{
	(void)arg;
	sleep_ms(TIMEOUT_MS / 3);
	kill(server.pid, SIGCONT);
	return NULL;
}

/*
 * The answer to the slow command arrives in the end: before the next command
 * is sent, or while it waits for its own. Nobody may take it for theirs.
 */
Test(redis_faults, an_answer_that_comes_too_late_answers_nobody)
{
	struct redis *r = fresh();

	expect_status(r, "OK", WORDS("SET", "alice", "alice's"));
	expect_status(r, "OK", WORDS("SET", "bob", "bob's"));
	for (int i = 0; i < 6; i++) {
		pthread_t thread;

		kill(server.pid, SIGSTOP);
		cr_expect_eq(try(r, WORDS("GET", "alice")), ERR_UNAVAILABLE);
		pthread_create(&thread, NULL, continue_server, NULL);
		if (i % 2 == 0)
			sleep_ms(TIMEOUT_MS / 2);
		expect_text(r, "bob's", WORDS("GET", "bob"));
		pthread_join(thread, NULL);
	}
	cr_expect_eq(try(r, WORDS("DEBUG", "SLEEP", "4")), ERR_UNAVAILABLE);
	sleep_ms(1500);
	expect_text(r, "bob's", WORDS("GET", "bob"));
	redis_free(r);
}

Test(redis_faults, a_server_that_loads_is_unavailable_until_it_has)
{
	/* A busy host takes longer to save than a request would wait. */
	struct redis *r = fresh(), *patient = redis_new(server.url, 20000);
	uint64_t took;
	long long n;

	expect_status(patient, "OK", WORDS("DEBUG", "POPULATE", "30000"));
	expect_status(patient, "OK", WORDS("SAVE"));
	/* It loads for most of a minute, unless it is told not to. */
	server.options = (const char *const[]){"--key-load-delay", "1500",
	    "--loading-process-events-interval-bytes", "1024", NULL};
	server_stop(&server, SIGKILL);
	cr_assert(server_start_again(&server));
	cr_expect_eq(try(r, WORDS("GET", "key:1")), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(redis_why(r), "LOADING"), "%s", redis_why(r));
	cr_expect_eq(try(r, WORDS("GET", "key:1")), ERR_UNAVAILABLE);
	cr_expect_eq(try(r, WORDS("GET", "key:1")), ERR_UNAVAILABLE);
	cr_expect(redis_is_away(r), "loading counts as a failure");
	expect_status(
	    patient, "OK", WORDS("CONFIG", "SET", "key-load-delay", "0"));
	redis_free(patient);
	took = recover(r);
	n = number_of(r, WORDS("DBSIZE"));
	cr_expect_eq(n, 30000, "after %llu ms: %s", (unsigned long long)took,
	    redis_why(r));
	redis_free(r);
}

Test(redis_faults, a_replica_is_unavailable_for_writing)
{
	struct redis *r = fresh(), *admin = fresh();
	long long id = number_of(r, WORDS("CLIENT", "ID"));

	expect_status(admin, "OK", WORDS("REPLICAOF", "127.0.0.1", "1"));
	cr_expect_eq(try(r, WORDS("SET", "a", "1")), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(redis_why(r), "READONLY"));
	expect_status(admin, "OK", WORDS("REPLICAOF", "NO", "ONE"));
	cr_expect_neq(number_of(r, WORDS("CLIENT", "ID")), id,
	    "the address may lead to another server now");
	expect_status(r, "OK", WORDS("SET", "a", "1"));
	redis_free(admin);
	redis_free(r);
}

Test(redis_faults, a_full_server_is_unavailable_also_to_scripts)
{
	static struct redis_script script = {
	    .text = "return redis.call('SET', KEYS[1], ARGV[1])"};
	const char *argv[] = {"a", "1"};
	struct redis *r = fresh(), *admin = fresh();
	redisReply *reply = NULL;

	cr_assert_eq(redis_script_run(r, &script, 1, 2, argv, &reply), OK);
	redis_reply_cleanup(&reply);
	expect_status(admin, "OK", WORDS("CONFIG", "SET", "maxmemory", "1"));
	cr_expect_eq(try(r, WORDS("SET", "a", "1")), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(redis_why(r), "OOM"));
	cr_expect_eq(redis_script_run(r, &script, 1, 2, argv, &reply),
	    ERR_UNAVAILABLE, "%s", redis_why(r));
	cr_expect_not_null(strstr(redis_why(r), "OOM"));
	expect_status(admin, "OK", WORDS("CONFIG", "SET", "maxmemory", "0"));
	cr_assert_eq(redis_script_run(r, &script, 1, 2, argv, &reply), OK);
	redis_reply_cleanup(&reply);
	redis_free(admin);
	redis_free(r);
}

/* The URL of the server with a login and a database. */
static struct redis *
with_login(const char *login, const char *query)
{
	char url[SERVER_URL * 2];

	snprintf(url, sizeof(url), "unix://%s%s%s", login,
	    server.url + strlen("unix://"), query);
	return redis_new(url, TIMEOUT_MS);
}

Test(redis_faults, logs_in_and_selects_its_database)
{
	struct redis *admin = fresh();
	struct redis *r;
	AUTO_REPLY redisReply *info = NULL;

	expect_status(admin, "OK",
	    WORDS("ACL", "SETUSER", "app", "on", ">p@ss", "~*", "+@all"));
	expect_status(
	    admin, "OK", WORDS("CONFIG", "SET", "requirepass", "s3cret"));
	r = with_login("app:p%40ss@", "?db=3");
	cr_assert_eq(redis_command(r, WORDS("CLIENT", "INFO"), NULL, &info), OK,
	    "%s", redis_why(r));
	cr_expect_not_null(strstr(info->str, "db=3"));
	cr_expect_not_null(strstr(info->str, "user=app"));
	redis_free(r);
	r = with_login(":s3cret@", "");
	expect_status(r, "PONG", WORDS("PING"));
	redis_free(r);
	r = with_login(":wr0ng@", "");
	cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
	cr_expect_not_null(
	    strstr(redis_why(r), "WRONGPASS"), "%s", redis_why(r));
	redis_free(r);
	r = with_login("", "");
	cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(redis_why(r), "NOAUTH"), "%s", redis_why(r));
	redis_free(r);
	r = with_login(":s3cret@", "?db=999");
	cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(redis_why(r), "SELECT"), "%s", redis_why(r));
	redis_free(r);
	redis_free(admin);
}

static const struct {
	const char *what;
	const char *bytes;
	int every_ms;
	const char *why;
} breaches[] = {
    {"drips", "$40\r\n0123456789012345678901234567890123456789\r\n", 200,
	"timed out"},
    {"breaks off", "$40\r\n0123", 0, "closed"},
    {"says nothing and closes", "", 0, "closed"},
    {"speaks something else", "HTTP/1.1 400 Bad Request\r\n\r\n", 0,
	"protocol"},
    {"speaks RESP3", "%1\r\n+a\r\n+b\r\n", 0, "protocol"},
    {"answers twice", "+ONE\r\n+TWO\r\n", 0, "two answers"},
    {"nests too deep", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
	0, "protocol"},
    {"promises too much", "$-7\r\n", 0, "protocol"},
};

Test(redis_faults, a_server_that_breaks_the_protocol_is_left_in_time)
{
	for (size_t i = 0; i < sizeof(breaches) / sizeof(*breaches); i++) {
		struct fake_redis fake;
		struct redis *r;
		uint64_t start, took;

		fake_redis_start(
		    &fake, breaches[i].bytes, breaches[i].every_ms);
		r = redis_new(fake.url, TIMEOUT_MS);
		start = clock_mono_ms();
		cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE, "%s",
		    breaches[i].what);
		took = clock_mono_ms() - start;
		cr_expect_lt(took, 8000, "%s: %llu ms", breaches[i].what,
		    (unsigned long long)took);
		cr_expect(strcasestr(redis_why(r), breaches[i].why) != NULL,
		    "%s: %s", breaches[i].what, redis_why(r));
		redis_free(r);
		fake_redis_stop(&fake);
	}
}

Test(redis_faults, sockets_are_private_quick_and_watched)
{
	struct fake_redis fake;
	struct redis_wire w = {.fd = -1};
	struct redis_address a = {0};
	int no_delay = 0, keep_alive = 0;
	socklen_t n = sizeof(int);

	fake_redis_start(&fake, "+OK\r\n", 0);
	cr_assert_eq(redis_address_parse(fake.url, &a), OK);
	cr_assert_eq(redis_wire_open(&w, &a, clock_mono_ms() + 1000), OK);
	cr_expect(fcntl(w.fd, F_GETFD) & FD_CLOEXEC);
	getsockopt(w.fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &n);
	getsockopt(w.fd, SOL_SOCKET, SO_KEEPALIVE, &keep_alive, &n);
	cr_expect(no_delay);
	cr_expect(keep_alive);
	redis_wire_close(&w);
	redis_address_clear(&a);
	fake_redis_stop(&fake);
}

/* SIGPIPE would end the process here. */
Test(redis_faults, writing_to_a_closed_connection_is_only_an_error)
{
	struct fake_redis fake;
	struct redis_wire w = {.fd = -1};
	struct redis_address a = {0};
	redisReply *reply = NULL;
	const char *words[] = {"PING"};

	signal(SIGPIPE, SIG_DFL);
	fake_redis_start(&fake, "", 0);
	cr_assert_eq(redis_address_parse(fake.url, &a), OK);
	cr_assert_eq(redis_wire_open(&w, &a, clock_mono_ms() + 1000), OK);
	shutdown(w.fd, SHUT_WR);
	cr_expect_eq(redis_wire_ask(&w, (struct redis_words){1, words, NULL},
			 clock_mono_ms() + 1000, &reply),
	    ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(w.why, "Broken pipe"), "%s", w.why);
	cr_expect_eq(w.fd, -1);
	redis_address_clear(&a);
	fake_redis_stop(&fake);
}

Test(redis_faults, an_address_where_nobody_listens_says_so)
{
	struct redis *r = redis_new("unix:///nowhere/redis.sock", TIMEOUT_MS);

	cr_expect_eq(try(r, WORDS("PING")), ERR_UNAVAILABLE);
	cr_expect_str_eq(
	    redis_why(r), "/nowhere/redis.sock: No such file or directory");
	redis_free(r);
}
