/*
 * relay_redis.c on a loop of the test's own: answers in order, time-outs,
 * reconnecting, forgetting, subscriptions; with a Redis that is killed, stopped
 * and full, and with servers that break the protocol.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/config.h"
#include "server/relay_redis.h"
#include "tests/support/fake_redis.h"
#include "tests/support/redis_scratch.h"
#include "tests/support/servers.h"
#include "tests/support/stores.h"

#define SHORT_MS 1000 /* where Redis is stopped, or this process late */

static struct server server;
/* A Redis that gets no CPU for a while is not one that is away. */
static struct config config = {.redis_timeout_ms = 5000};
static uv_loop_t loop;
static struct relay_redis *redis;

/* What the callbacks saw. */
static struct {
	int answers, nothings, hints, looks, away, back;
	char order[64];
	char last[64];
	long long number;
	bool is_error;
} seen;

static void
start(void)
{
	if (!server_start_redis(&server, NULL))
		abort();
	config.redis_url = server.url;
}

static void
stop(void)
{
	server_thaw(&server);
	server_remove(&server);
}

TestSuite(relay_redis, .init = start, .fini = stop, .timeout = 120);

static void
changed(void *arg, bool is_away)
{
	(void)arg;
	if (is_away)
		seen.away++;
	else
		seen.back++;
}

static void
answered(void *arg, const redisReply *reply)
{
	size_t n = strlen(seen.order);

	if (reply == NULL) {
		seen.nothings++;
		return;
	}
	seen.answers++;
	seen.is_error = reply->type == REDIS_REPLY_ERROR;
	seen.number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
	if (reply->str != NULL)
		snprintf(seen.last, sizeof(seen.last), "%s", reply->str);
	if (arg != NULL && n + 1 < sizeof(seen.order))
		seen.order[n] = *(const char *)arg;
}

static void
hinted(void *arg, const char *payload)
{
	(void)arg;
	if (payload == NULL) {
		seen.looks++;
		return;
	}
	seen.hints++;
	snprintf(seen.last, sizeof(seen.last), "%s", payload);
}

static void
tick(uv_timer_t *timer)
{
	(void)timer;
}

static uv_timer_t ticker;

static void
open_redis(void)
{
	memset(&seen, 0, sizeof(seen));
	uv_loop_init(&loop);
	uv_timer_init(&loop, &ticker);
	uv_timer_start(&ticker, tick, 10, 10);
	redis = relay_redis_new(&loop, &config);
	cr_assert_not_null(redis);
	relay_redis_on_change(redis, changed, NULL);
}

static void
close_redis(void)
{
	relay_redis_close(redis);
	uv_close((uv_handle_t *)&ticker, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}

/* Runs the loop until the counter has got there. */
static void
run_until(const int *counter, int want)
{
	while (*counter < want)
		uv_run(&loop, UV_RUN_ONCE);
}

static bool
send_words(int argc, const char **argv, const char *arg)
{
	return relay_redis_send(
	    redis, argc, argv, NULL, answered, (void *)(uintptr_t)arg);
}

static bool
is_new(void)
{
	return !relay_redis_is_away(redis);
}

Test(relay_redis, answers_come_in_order_to_those_who_asked)
{
	static const char *const names = "abcdefgh";

	open_redis();
	cr_assert(is_new(), "nobody has tried to connect yet");
	for (int i = 0; i < 8; i++)
		cr_assert(send_words(WORDS("INCR", "n"), names + i));
	cr_expect_eq(seen.answers, 0, "not from inside the call");
	run_until(&seen.answers, 8);
	cr_expect_str_eq(seen.order, names);
	cr_expect_eq(seen.number, 8);
	cr_expect_eq(seen.away, 0);
	close_redis();
}

Test(relay_redis, words_may_hold_any_bytes)
{
	const char *argv[] = {"SET", "k", "a\0\r\nb"};
	const size_t lens[] = {3, 1, 5};

	open_redis();
	cr_assert(relay_redis_send(redis, 3, argv, lens, NULL, NULL));
	cr_assert(send_words(WORDS("STRLEN", "k"), NULL));
	run_until(&seen.answers, 1);
	cr_expect_eq(seen.number, 5);
	close_redis();
}

Test(relay_redis, thousands_of_commands_and_megabytes_go_through)
{
	static char text[1 << 20];

	config.redis_timeout_ms = 30000;
	open_redis();
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 20; i++)
		cr_assert(send_words(WORDS("APPEND", "k", text), NULL));
	for (int i = 0; i < 5000; i++)
		cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.answers, 5020);
	cr_expect_eq(seen.number, 5000);
	close_redis();
}

Test(relay_redis, an_error_of_the_command_is_its_answer)
{
	open_redis();
	cr_assert(send_words(WORDS("EVALSHA", "none", "0"), NULL));
	run_until(&seen.answers, 1);
	cr_expect(seen.is_error);
	cr_expect(strstr(seen.last, "NOSCRIPT") == seen.last);
	cr_expect(!relay_redis_is_away(redis));
	close_redis();
}

Test(relay_redis, who_is_forgotten_hears_nothing)
{
	static const char *const names = "ab";

	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), names));
	cr_assert(send_words(WORDS("INCR", "n"), names + 1));
	relay_redis_forget(redis, names);
	run_until(&seen.answers, 1);
	cr_expect_str_eq(seen.order, "b");
	cr_expect_eq(seen.number, 2, "but it was carried out");
	close_redis();
}

Test(relay_redis, a_stopped_redis_is_away_once_and_comes_back)
{
	config.redis_timeout_ms = SHORT_MS;
	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.answers, 1);
	server_freeze(&server);
	for (int i = 0; i < 10; i++)
		cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.away, 1);
	cr_expect_eq(seen.nothings, 10, "all of them, before on_change");
	cr_expect(relay_redis_is_away(redis));
	cr_expect(!send_words(WORDS("INCR", "n"), NULL));
	server_thaw(&server);
	run_until(&seen.back, 1);
	cr_assert(send_words(WORDS("GET", "n"), NULL));
	run_until(&seen.answers, 2);
	cr_expect_eq(seen.away, 1);
	cr_expect_str_eq(
	    seen.last, "11", "what was unknown may have been carried out");
	close_redis();
}

/* Lets the loop come late by so many time-outs. */
static void
be_late(int timeouts)
{
	long ms = config.redis_timeout_ms * timeouts;

	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void
ask_and_be_late(void *arg, const redisReply *reply)
{
	answered(arg, reply);
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	be_late(3);
}

/* What is asked before other callbacks take their time is not even written when
 * its time is up. */
Test(relay_redis, a_late_loop_does_not_take_redis_for_dead)
{
	const char *argv[] = {"INCR", "n"};

	config.redis_timeout_ms = SHORT_MS;
	open_redis();
	cr_assert(
	    relay_redis_send(redis, 2, argv, NULL, ask_and_be_late, NULL));
	run_until(&seen.answers, 2);
	cr_expect_eq(seen.number, 2);
	cr_expect_eq(seen.away, 0);
	close_redis();
}

static void
come_late(uv_timer_t *timer)
{
	(void)timer;
	be_late(4);
}

/* Thousands of streams ask in one iteration, and every iteration is late: what
 * has come is read before anybody is judged. */
Test(relay_redis, answers_to_thousands_are_found_by_a_loop_that_is_always_late)
{
	config.redis_timeout_ms = SHORT_MS;
	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.answers, 1);
	uv_timer_start(&ticker, come_late, 10, 10);
	for (int i = 0; i < 20000; i++)
		cr_assert(send_words(WORDS("INCR", "n"), NULL));
	while (seen.answers < 20001 && seen.away == 0)
		uv_run(&loop, UV_RUN_ONCE);
	cr_expect_eq(seen.answers, 20001);
	cr_expect_eq(seen.away, 0);
	close_redis();
}

Test(relay_redis, a_killed_redis_is_noticed_without_asking)
{
	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.answers, 1);
	server_stop(&server, SIGKILL);
	run_until(&seen.away, 1);
	cr_assert(server_start_again(&server));
	run_until(&seen.back, 1);
	close_redis();
}

Test(relay_redis, nobody_there_from_the_start)
{
	server_stop(&server, SIGKILL);
	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.nothings, 1);
	run_until(&seen.away, 1);
	cr_assert(server_start_again(&server));
	run_until(&seen.back, 1);
	close_redis();
}

Test(relay_redis, a_full_redis_is_away_until_it_has_room)
{
	open_redis();
	cr_assert(send_words(WORDS("CONFIG", "SET", "maxmemory", "1"), NULL));
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.nothings, 1);
	run_until(&seen.away, 1);
	for (int i = 0; i < 100; i++)
		uv_run(&loop, UV_RUN_ONCE);
	cr_expect_eq(seen.back, 0, "it answers, but takes no writes");
	{
		struct redis *r = redis_new(server.url, 1000);

		expect_status(
		    r, "OK", WORDS("CONFIG", "SET", "maxmemory", "0"));
		redis_free(r);
	}
	run_until(&seen.back, 1);
	close_redis();
}

/* What docs/operations.md asks for is enough. */
Test(relay_redis, a_redis_user_needs_what_is_documented)
{
	static const char script[] =
	    "redis.call('DEL', KEYS[1])\n"
	    "redis.call('XADD', KEYS[1], '1-0', 't', 'a')\n"
	    "redis.call('EXPIRE', KEYS[1], 60)\n"
	    "redis.call('PUBLISH', KEYS[1], '1')\n"
	    "return #redis.call('XREVRANGE', KEYS[1], '+', '-')";
	struct redis *r = redis_new(server.url, 1000);
	char url[SERVER_URL + 16];

	expect_status(r, "OK",
	    WORDS("ACL", "SETUSER", "app", "on", ">pw", "resetchannels",
		"&reply:*", "~*", "-@all", "+eval", "+xadd", "+xrange",
		"+xrevrange", "+xlen", "+expire", "+del", "+publish",
		"+subscribe", "+unsubscribe"));
	redis_free(r);
	snprintf(url, sizeof(url), "unix://app:pw@%s",
	    server.url + sizeof("unix://") - 1);
	config.redis_url = url;
	open_redis();
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, NULL));
	run_until(&seen.looks, 1);
	cr_assert(send_words(WORDS("EVAL", script, "1", "reply:1"), NULL));
	run_until(&seen.answers, 1);
	cr_expect_eq(seen.number, 1, "%s", seen.last);
	run_until(&seen.hints, 1);
	cr_expect_eq(seen.away, 0);
	close_redis();
}

Test(relay_redis, garbage_is_not_taken_for_an_answer)
{
	struct fake_redis fake;

	fake_redis_start(&fake, "!garbage\r\n", 0);
	config.redis_url = fake.url;
	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	run_until(&seen.nothings, 1);
	run_until(&seen.away, 1);
	close_redis();
	fake_redis_stop(&fake);
}

/* Proved, and then closed at once: no storm of connections. */
Test(relay_redis, a_server_that_hangs_up_is_not_stormed)
{
	struct fake_redis fake;
	uint64_t began, took;

	fake_redis_start(&fake, "$-1\r\n", 0);
	config.redis_url = fake.url;
	began = clock_mono_ms();
	open_redis();
	run_until(&seen.away, 1);
	for (int i = 0; i < 100; i++) /* a second; more on a busy machine */
		uv_run(&loop, UV_RUN_ONCE);
	took = clock_mono_ms() - began;
	/* It dials again after 375 ms at the earliest. */
	cr_expect_leq((uint64_t)seen.away, took / 375 + 2, "%d in %d ms",
	    seen.away, (int)took);
	close_redis();
	fake_redis_stop(&fake);
}

Test(relay_redis, closing_answers_everybody)
{
	open_redis();
	cr_assert(send_words(WORDS("INCR", "n"), NULL));
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, NULL));
	close_redis();
	cr_expect_eq(seen.nothings, 1);
	open_redis();
	run_until(&seen.back, 0);
	uv_run(&loop, UV_RUN_ONCE);
	close_redis(); /* while it connects */
}

Test(relay_redis, hints_come_to_all_who_listen)
{
	open_redis();
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, "a"));
	run_until(&seen.looks, 1);
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, "b"));
	run_until(&seen.looks, 2);
	cr_assert(relay_redis_listen(redis, "reply:2", hinted, "c"));
	run_until(&seen.looks, 3);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "17"), NULL));
	run_until(&seen.hints, 2);
	cr_expect_str_eq(seen.last, "17");
	cr_assert(send_words(WORDS("PUBLISH", "reply:2", "18"), NULL));
	run_until(&seen.hints, 3);
	cr_expect_eq(seen.looks, 3, "each was told once that it is subscribed");
	close_redis();
}

Test(relay_redis, who_does_not_listen_any_more_is_not_subscribed)
{
	static char a[] = "a", b[] = "b";

	open_redis();
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, a));
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, b));
	run_until(&seen.looks, 2);
	relay_redis_unlisten(redis, "reply:1", a);
	relay_redis_unlisten(redis, "reply:1", a);
	relay_redis_unlisten(redis, "reply:2", a);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "1"), NULL));
	run_until(&seen.hints, 1);
	relay_redis_unlisten(redis, "reply:1", b);
	/* A later listener's confirmation says that it was carried out. */
	cr_assert(relay_redis_listen(redis, "reply:2", hinted, b));
	run_until(&seen.looks, 3);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "2"), NULL));
	run_until(&seen.answers, 2);
	cr_expect_eq(seen.number, 0, "nobody is subscribed");
	close_redis();
}

/* Goes from inside its own call, and takes another along. */
static void
leave(void *arg, const char *payload)
{
	hinted(arg, payload);
	if (payload == NULL)
		return;
	relay_redis_unlisten(redis, "reply:1", "x");
	relay_redis_unlisten(redis, "reply:1", arg);
	(void)relay_redis_listen(redis, "reply:2", hinted, arg);
}

Test(relay_redis, listeners_may_go_and_come_while_they_are_called)
{
	static char a[] = "a", b[] = "b";

	open_redis();
	cr_assert(relay_redis_listen(redis, "reply:1", leave, a));
	cr_assert(relay_redis_listen(redis, "reply:1", leave, b));
	run_until(&seen.looks, 2);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "1"), NULL));
	run_until(&seen.looks, 4);
	cr_expect_eq(seen.hints, 2);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "1"), NULL));
	cr_assert(send_words(WORDS("PUBLISH", "reply:2", "1"), NULL));
	run_until(&seen.hints, 4);
	close_redis();
}

Test(relay_redis, after_a_loss_listeners_are_told_to_look)
{
	config.redis_timeout_ms = SHORT_MS;
	open_redis();
	cr_assert(relay_redis_listen(redis, "reply:1", hinted, NULL));
	run_until(&seen.looks, 1);
	server_stop(&server, SIGKILL);
	run_until(&seen.away, 1);
	cr_assert(relay_redis_listen(redis, "reply:2", hinted, NULL));
	cr_assert(server_start_again(&server));
	run_until(&seen.looks, 3);
	run_until(&seen.back, 1);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "5"), NULL));
	run_until(&seen.hints, 1);
	server_freeze(&server);
	cr_assert(send_words(WORDS("PUBLISH", "reply:1", "6"), NULL));
	run_until(&seen.away, 2);
	server_thaw(&server);
	run_until(&seen.looks, 5);
	close_redis();
}
