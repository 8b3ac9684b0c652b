/*
 * Expectations about Redis commands. Owns nothing.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "redis_scratch.h"

/* The answer, of a type that is wanted; the caller frees it. */
static redisReply *
ask(struct redis *r, int type, int argc, const char **argv)
{
	redisReply *reply = NULL;
	enum err e = redis_command(r, argc, argv, NULL, &reply);

	cr_assert_eq(e, OK, "%s: %s: %s", argv[0], err_code(e), redis_why(r));
	cr_assert_eq(reply->type, type, "%s: type %d", argv[0], reply->type);
	return reply;
}

void
expect_status(struct redis *r, const char *want, int argc, const char **argv)
{
	AUTO_REPLY redisReply *reply = ask(r, REDIS_REPLY_STATUS, argc, argv);

	cr_expect_str_eq(reply->str, want);
}

void
expect_text(struct redis *r, const char *want, int argc, const char **argv)
{
	AUTO_REPLY redisReply *reply = ask(
	    r, want == NULL ? REDIS_REPLY_NIL : REDIS_REPLY_STRING, argc, argv);

	cr_expect(want == NULL || strcmp(reply->str, want) == 0,
	    "%s: not what was wanted", argv[0]);
}

void
expect_number(struct redis *r, long long want, int argc, const char **argv)
{
	cr_expect_eq(number_of(r, argc, argv), want);
}

long long
number_of(struct redis *r, int argc, const char **argv)
{
	AUTO_REPLY redisReply *reply = ask(r, REDIS_REPLY_INTEGER, argc, argv);

	return reply->integer;
}

void
expect_error(struct redis *r, enum err want, int argc, const char **argv)
{
	redisReply *reply = NULL;
	enum err e = redis_command(r, argc, argv, NULL, &reply);

	cr_expect_eq(e, want, "%s: %s", argv[0], err_code(e));
	cr_expect_null(reply);
}

void
redis_catches_up(struct redis *r)
{
	for (int i = 0; i < 3; i++)
		expect_status(r, "PONG", WORDS("PING"));
}
