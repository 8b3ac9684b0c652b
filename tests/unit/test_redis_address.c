/*
 * redis_address.c: what is a Redis URL and what is refused.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "store/redis.h"

static const struct {
	const char *url;
	struct redis_address want;
} good[] = {
    {"redis://localhost", {.host = "localhost", .port = 6379}},
    {"redis://localhost/", {.host = "localhost", .port = 6379}},
    {"redis://10.0.0.1:7000", {.host = "10.0.0.1", .port = 7000}},
    {"redis://h:1/15", {.host = "h", .port = 1, .db = 15}},
    {"redis://h:65535", {.host = "h", .port = 65535}},
    {"redis://[::1]", {.host = "::1", .port = 6379}},
    {"redis://[fd00::1]:7000/2", {.host = "fd00::1", .port = 7000, .db = 2}},
    {"redis://app:s3cret@h",
	{.host = "h", .port = 6379, .user = "app", .password = "s3cret"}},
    {"redis://:s3cret@h", {.host = "h", .port = 6379, .password = "s3cret"}},
    {"redis://s3cret@h", {.host = "h", .port = 6379, .password = "s3cret"}},
    {"redis://a%40b:p%2Fw%3a%25@h:6380/1", {.host = "h",
					       .port = 6380,
					       .db = 1,
					       .user = "a@b",
					       .password = "p/w:%"}},
    {"redis://app:with:colon@h",
	{.host = "h", .port = 6379, .user = "app", .password = "with:colon"}},
    {"unix:///run/redis.sock", {.path = "/run/redis.sock", .port = 6379}},
    {"unix:///run/redis.sock?db=3",
	{.path = "/run/redis.sock", .port = 6379, .db = 3}},
    {"unix:///a%20b/s", {.path = "/a b/s", .port = 6379}},
    {"unix:///odd@name:1", {.path = "/odd@name:1", .port = 6379}},
    {"unix://app:pw@/run/r.sock?db=1", {.path = "/run/r.sock",
					   .port = 6379,
					   .db = 1,
					   .user = "app",
					   .password = "pw"}},
};

static void
expect_text(const char *got, const char *want, const char *url)
{
	if (want == NULL)
		cr_expect_null(got, "%s: %s", url, got);
	else
		cr_expect(got != NULL && strcmp(got, want) == 0,
		    "%s: %s is not %s", url, got, want);
}

Test(redis_address, reads_every_part)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		const char *url = good[i].url;
		const struct redis_address *want = &good[i].want;
		struct redis_address got = {0};

		cr_assert_eq(redis_address_parse(url, &got), OK, "%s", url);
		expect_text(got.path, want->path, url);
		expect_text(got.host, want->host, url);
		expect_text(got.user, want->user, url);
		expect_text(got.password, want->password, url);
		cr_expect_eq(got.port, want->port, "%s", url);
		cr_expect_eq(got.db, want->db, "%s", url);
		redis_address_clear(&got);
	}
}

static const char *const bad[] = {
    "",
    "localhost",
    "localhost:6379",
    "REDIS://h",
    "rediss://h",
    "http://h",
    "redis:",
    "redis://",
    "redis:///0",
    "redis://:6379",
    "redis://h:",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:6379x",
    "redis://h:-1",
    "redis://h: 1",
    "redis://h:99999999999999999999",
    "redis://h/x",
    "redis://h/1/2",
    "redis://h/-1",
    "redis://h/99999999999999999999",
    "redis://h?db=1",
    "redis://h#1",
    "redis://@h",
    "redis://user:@h",
    "redis://u:p@",
    "redis://u:p@x@h",
    "redis://u:%@h",
    "redis://u:%4@h",
    "redis://u:%zz@h",
    "redis://u:%00@h",
    "redis://h%00",
    "redis://[::1",
    "redis://[]",
    "redis://[::1]6379",
    "redis://[::1]:",
    "redis://::1",
    "unix://",
    "unix:///",
    "unix://run/redis.sock",
    "unix:///s?db=",
    "unix:///s?db=x",
    "unix:///s?db=1&x=2",
    "unix:///s?x=1",
    "unix:///s%2",
    "unix://u:p@run/s",
};

Test(redis_address, refuses_everything_else_and_writes_nothing)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct redis_address got = {.port = -7};

		cr_expect_eq(redis_address_parse(bad[i], &got),
		    ERR_INVALID_FIELD, "%s", bad[i]);
		cr_expect_eq(got.port, -7, "%s", bad[i]);
		cr_expect_null(got.host, "%s", bad[i]);
	}
}

Test(redis_address, a_bad_url_makes_no_connection_object)
{
	cr_expect_null(redis_new("rediss://h", 100));
}
