/*
 * redis.c against a running Redis: commands, scripts, databases, large and
 * binary values. What happens when it fails is in test_redis_faults.c.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis.h"
#include "tests/support/redis_scratch.h"
#include "tests/support/servers.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!servers_provide_redis())
		exit(1);
}

static struct redis *
fresh(void)
{
	struct redis *r = redis_new(getenv("TEST_REDIS_URL"), 2000);

	cr_assert_not_null(r);
	return r;
}

Test(redis, answers_each_kind_of_value)
{
	struct redis *r = fresh();

	expect_status(r, "OK", WORDS("SET", "kinds:a", "one"));
	expect_text(r, "one", WORDS("GET", "kinds:a"));
	expect_text(r, NULL, WORDS("GET", "kinds:none"));
	expect_number(r, 1, WORDS("DEL", "kinds:a"));
	expect_number(r, 2, WORDS("RPUSH", "kinds:l", "x", "y"));
	expect_number(r, 1, WORDS("DEL", "kinds:l"));
	redis_free(r);
}

Test(redis, values_may_hold_any_byte)
{
	static const char value[] = "a\0b\r\n$5\r\n";
	struct redis *r = fresh();
	const char *set[] = {"SET", "bytes", value};
	const size_t lens[] = {3, 5, sizeof(value)};
	const char *get[] = {"GET", "bytes"};
	AUTO_REPLY redisReply *a = NULL, *b = NULL;

	cr_assert_eq(redis_command(r, 3, set, lens, &a), OK);
	cr_assert_eq(redis_command(r, 2, get, NULL, &b), OK);
	cr_expect_eq(b->len, sizeof(value));
	cr_expect_arr_eq(b->str, value, sizeof(value));
	redis_reply_cleanup(&b);
	redis_reply_cleanup(&a);
	redis_free(r);
}

Test(redis, values_may_be_larger_than_every_buffer)
{
	size_t n = 20 * 1024 * 1024;
	char *value = malloc(n + 1);
	struct redis *r = fresh();

	memset(value, 'x', n);
	value[n] = '\0';
	expect_status(r, "OK", WORDS("SET", "large", value));
	expect_text(r, value, WORDS("GET", "large"));
	expect_number(r, 1, WORDS("DEL", "large"));
	redis_free(r);
	free(value);
}

Test(redis, an_error_reply_is_ours_and_leaves_the_connection_alone)
{
	struct redis *r = fresh();
	long long id = number_of(r, WORDS("CLIENT", "ID"));

	expect_status(r, "OK", WORDS("SET", "wrong", "text"));
	for (int i = 0; i < 5; i++)
		expect_error(r, ERR_INTERNAL, WORDS("LPUSH", "wrong", "x"));
	cr_expect_not_null(strstr(redis_why(r), "WRONGTYPE"));
	cr_expect(!redis_is_away(r), "our mistakes do not open the breaker");
	cr_expect_eq(number_of(r, WORDS("CLIENT", "ID")), id);
	redis_free(r);
}

Test(redis, what_redis_quotes_of_the_arguments_is_not_kept)
{
	struct redis *r = fresh();

	expect_error(r, ERR_INTERNAL, WORDS("NONSENSE", "s3cret"));
	cr_expect_not_null(strstr(redis_why(r), "unknown command"));
	cr_expect_null(strstr(redis_why(r), "s3cret"), "%s", redis_why(r));
	redis_free(r);
}

Test(redis, a_script_costs_one_round_trip_after_its_first_run)
{
	static struct redis_script script = {
	    .text = "return {KEYS[1], ARGV[1], ARGV[2]}"};
	struct redis *r = fresh();

	for (int i = 0; i < 12; i++) {
		const char *argv[] = {"k", "a", ""};
		AUTO_REPLY redisReply *reply = NULL;
		uint64_t before = redis_round_trips(r);

		cr_assert_eq(redis_script_run(r, &script, 1, 3, argv, &reply),
		    OK, "%s", redis_why(r));
		cr_expect_eq(redis_round_trips(r) - before, i == 0 ? 2 : 1);
		cr_assert_eq(reply->elements, 3);
		cr_expect_str_eq(reply->element[0]->str, "k");
		cr_expect_str_eq(reply->element[1]->str, "a");
		cr_expect_str_eq(reply->element[2]->str, "");
	}
	cr_expect_eq(strlen(script.sha), 40);
	redis_free(r);
}

/* On a server of its own: elsewhere the others' scripts would be gone too. */
Test(redis, a_script_survives_script_flush)
{
	static struct redis_script script = {.text = "return ARGV[1] * 2"};
	static struct server server;
	struct redis *r;

	cr_assert(server_start_redis(&server, NULL));
	r = redis_new(server.url, 2000);
	cr_assert_not_null(r);
	for (int i = 0; i < 3; i++) {
		const char *argv[] = {"21"};
		AUTO_REPLY redisReply *reply = NULL;

		cr_assert_eq(redis_script_run(r, &script, 0, 1, argv, &reply),
		    OK, "%s", redis_why(r));
		cr_expect_eq(reply->integer, 42);
		expect_status(r, "OK", WORDS("SCRIPT", "FLUSH"));
	}
	cr_expect(!redis_is_away(r));
	redis_free(r);
	server_remove(&server);
}

Test(redis, a_script_with_an_error_is_our_mistake)
{
	static struct redis_script wrong = {.text = "return nonsense("};
	static struct redis_script raises = {
	    .text = "return redis.call('LPUSH', KEYS[1], 'x')"};
	const char *argv[] = {"raises"};
	struct redis *r = fresh();
	redisReply *reply = NULL;

	expect_status(r, "OK", WORDS("SET", "raises", "text"));
	cr_expect_eq(
	    redis_script_run(r, &wrong, 0, 0, NULL, &reply), ERR_INTERNAL);
	cr_expect_eq(
	    redis_script_run(r, &raises, 1, 1, argv, &reply), ERR_INTERNAL);
	cr_expect_null(reply);
	redis_free(r);
}
