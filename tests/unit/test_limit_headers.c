/*
 * What is left, as headers and in problems: which lines, which numbers.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "http/limit_headers.h"
#include "http/reply.h"
#include "http/request.h"

#define MINUTE                                                            \
	{                                                                 \
		.name = "turns_per_minute", .limit = 20, .remaining = 12, \
		.window_s = 60, .reset_s = 24                             \
	}
#define DAY                                                              \
	{                                                                \
		.name = "turns_per_day", .limit = 200, .remaining = 100, \
		.window_s = 86400, .reset_s = 30                         \
	}
#define TOKENS                                                                 \
	{                                                                      \
		.name = "tokens_per_day", .unit = LIMIT_TOKENS, .limit = 5000, \
		.remaining = 0, .window_s = 86400, .reset_s = 3601             \
	}

/* The header lines, to be freed. */
static char *
written(const struct limit_lines *limits)
{
	struct buf b = {0};
	limit_headers_write(&b, limits);
	buf_putc(&b, '\0');
	return buf_take(&b);
}

/* The value of a header, "(none)" where it is not there; to be freed. */
static char *
value_of(const struct limit_lines *limits, const char *name)
{
	char *all = written(limits);
	char *found = NULL;
	size_t n = strlen(name);
	for (char *rest = all, *line; (line = strsep(&rest, "\r"));) {
		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && line[n] == ':')
			found = strdup(line + n + 2);
	}
	free(all);
	return found ? found : strdup("(none)");
}

static void
expect(const struct limit_lines *limits, const char *name, const char *want)
{
	char *got = value_of(limits, name);
	cr_expect_str_eq(got, want, "%s: %s, not %s", name, got, want);
	free(got);
}

Test(limit_headers, without_a_limit_there_is_nothing)
{
	struct limit_lines none = {0};
	char *got = written(&none);
	cr_expect_str_eq(got, "");
	free(got);
}

Test(limit_headers, every_line_is_told)
{
	struct limit_lines limits = {{MINUTE, DAY, TOKENS}, 3};
	char *got = written(&limits);
	cr_expect_str_eq(got,
	    "RateLimit-Policy: \"turns_per_minute\";q=20;w=60,"
	    " \"turns_per_day\";q=200;w=86400,"
	    " \"tokens_per_day\";q=5000;natter-unit=\"tokens\";w=86400\r\n"
	    "RateLimit: \"turns_per_minute\";r=12;t=3,"
	    " \"turns_per_day\";r=100;t=30,"
	    " \"tokens_per_day\";r=0;t=3601\r\n"
	    "x-ratelimit-limit-requests: 20\r\n"
	    "x-ratelimit-remaining-requests: 12\r\n"
	    "x-ratelimit-reset-requests: 24s\r\n"
	    "x-ratelimit-limit-tokens: 5000\r\n"
	    "x-ratelimit-remaining-tokens: 0\r\n"
	    "x-ratelimit-reset-tokens: 1h0m1s\r\n");
	free(got);
}

Test(limit_headers, units_are_told_apart)
{
	struct limit_lines limits = {{{.name = "streams",
					  .unit = LIMIT_STREAMS,
					  .limit = 4,
					  .remaining = 3},
					 {.name = "cost_per_day",
					     .unit = LIMIT_MONEY,
					     .limit = 500,
					     .remaining = 499,
					     .window_s = 86400,
					     .reset_s = 60}},
	    2};
	expect(&limits, "RateLimit-Policy",
	    "\"streams\";q=4;qu=\"concurrent-requests\","
	    " \"cost_per_day\";q=500;natter-unit=\"money\";w=86400");
	expect(&limits, "RateLimit",
	    "\"streams\";r=3, \"cost_per_day\";r=499;t=60");
	expect(&limits, "x-ratelimit-limit-requests", "(none)");
	expect(&limits, "x-ratelimit-limit-tokens", "(none)");
}

/* t is when more is there, not when all of it is. */
Test(limit_headers, a_minute_refills_one_by_one)
{
	static const struct {
		int64_t remaining, reset_s;
		const char *want;
	} rows[] = {
	    {20, 0, "\"m\";r=20;t=0"},
	    {19, 3, "\"m\";r=19;t=3"},
	    {18, 6, "\"m\";r=18;t=3"},
	    {10, 28, "\"m\";r=10;t=1"},
	    {0, 60, "\"m\";r=0;t=3"},
	    {0, 0, "\"m\";r=0;t=0"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct limit_lines limits = {{{.name = "m",
						 .limit = 20,
						 .remaining = rows[i].remaining,
						 .window_s = 60,
						 .reset_s = rows[i].reset_s}},
		    1};
		expect(&limits, "RateLimit", rows[i].want);
	}
}

Test(limit_headers, openai_has_room_for_the_tightest)
{
	struct limit_lines limits = {{DAY, MINUTE, TOKENS}, 3};
	expect(&limits, "x-ratelimit-limit-requests", "20");
	limits.lines[1].remaining = 101;
	expect(&limits, "x-ratelimit-limit-requests", "200");
	/* Of two with as much left, the one that takes longer. */
	limits.lines[1].remaining = 100;
	expect(&limits, "x-ratelimit-limit-requests", "200");
	/* What refused it stands before what has less left. */
	limits.lines[0].is_violated = true;
	limits.lines[0].retry_s = 5;
	limits.lines[1].remaining = 0;
	expect(&limits, "x-ratelimit-limit-requests", "200");
	limits.lines[1].is_violated = true;
	limits.lines[1].retry_s = 6;
	expect(&limits, "x-ratelimit-limit-requests", "20");
}

Test(limit_headers, durations_are_openais)
{
	static const struct {
		int64_t s;
		const char *want;
	} rows[] = {
	    {0, "0s"},
	    {1, "1s"},
	    {59, "59s"},
	    {60, "1m0s"},
	    {360, "6m0s"},
	    {3599, "59m59s"},
	    {3600, "1h0m0s"},
	    {86399, "23h59m59s"},
	    {2678400, "744h0m0s"},
	    {-1, "0s"},
	    {INT64_MAX, "277777777777h46m39s"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct limit_lines limits = {{DAY}, 1};
		limits.lines[0].reset_s = rows[i].s;
		expect(&limits, "x-ratelimit-reset-requests", rows[i].want);
	}
}

/* Structured fields hold fifteen digits, and none of ours is negative. */
Test(limit_headers, numbers_stay_within_what_the_fields_hold)
{
	struct limit_lines limits = {{{.name = "a",
					 .limit = INT64_MAX,
					 .remaining = INT64_MIN,
					 .window_s = 86400,
					 .reset_s = INT64_MAX}},
	    1};
	expect(&limits, "RateLimit-Policy", "\"a\";q=999999999999999;w=86400");
	expect(&limits, "RateLimit", "\"a\";r=0;t=999999999999999");
	limits.lines[0].window_s = 60;
	limits.lines[0].limit = 1000000000000;
	limits.lines[0].remaining = 0;
	limits.lines[0].reset_s = 60;
	expect(&limits, "RateLimit", "\"a\";r=0;t=1");
}

Test(limit_headers, a_name_cannot_break_out_of_its_string)
{
	struct limit_lines limits = {
	    {{.name = "a\"b\\c\r\nEvil: 1\x7f\xc3\xa9", .limit = 1}}, 1};
	expect(&limits, "RateLimit-Policy", "\"abcEvil: 1\";q=1");
	expect(&limits, "Evil", "(none)");
}

/* nginx's buffer for a head is one page. */
Test(limit_headers, as_many_lines_as_there_may_be_fit_a_head)
{
	struct limit_lines limits = {.n = LIMIT_LINES_MAX};
	for (size_t i = 0; i < LIMIT_LINES_MAX; i++)
		limits.lines[i] = (struct limit_line){
		    .name = "refresh_failures",
		    .unit = i % 2 ? LIMIT_TOKENS : LIMIT_REQUESTS,
		    .limit = INT64_MAX,
		    .remaining = INT64_MAX,
		    .window_s = INT64_MAX,
		    .reset_s = INT64_MAX,
		};
	char *got = written(&limits);
	cr_expect_lt(strlen(got), 3000);
	free(got);
}

static struct arena *arena;
static struct request req;
static struct reply rep;

static void
set_up(void)
{
	arena = arena_new(65536);
	req = (struct request){.arena = arena, .request_id = "r-1"};
	rep = (struct reply){0};
	req.limits = (struct limit_lines){{MINUTE, DAY, TOKENS}, 3};
}

static void
tear_down(void)
{
	arena_free(arena);
}

TestSuite(limit_problem, .init = set_up, .fini = tear_down);

static struct json_object *
refused(void)
{
	struct json_object *o = NULL;
	reply_error(&req, &rep, ERR_RATE_LIMITED);
	cr_assert_eq(
	    json_parse_object(rep.body, rep.body_len, &o), OK, "%s", rep.body);
	return o;
}

static const char *
text_of(struct json_object *o, const char *key)
{
	const char *s = json_object_get_string(json_object_object_get(o, key));
	return s ? s : "(none)";
}

Test(limit_problem, names_what_is_violated)
{
	req.limits.lines[0].is_violated = true;
	req.limits.lines[0].remaining = 0;
	req.limits.lines[0].retry_s = 3;
	AUTO_JSON struct json_object *o = refused();
	cr_expect_str_eq(text_of(o, "type"),
	    "https://iana.org/assignments/http-problem-types#quota-exceeded");
	cr_expect_str_eq(text_of(o, "title"), "Quota Exceeded");
	cr_expect_str_eq(text_of(o, "code"), "rate_limited");
	cr_expect_str_eq(text_of(o, "detail"), err_sentence(ERR_RATE_LIMITED));
	cr_expect_str_eq(
	    text_of(o, "violated-policies"), "[ \"turns_per_minute\" ]");
	cr_expect_str_eq(text_of(o, "limits"),
	    "[ { \"name\": \"turns_per_minute\", \"unit\": \"requests\","
	    " \"limit\": 20, \"remaining\": 0, \"window\": 60,"
	    " \"reset\": 24, \"retry_after\": 3 } ]");
	cr_expect_eq(json_object_object_length(o), 8);
}

Test(limit_problem, waits_for_all_that_are_violated)
{
	req.limits.lines[0].is_violated = true;
	req.limits.lines[0].retry_s = 3;
	req.limits.lines[2].is_violated = true;
	req.limits.lines[2].retry_s = 3601;
	req.retry_after_s = 3;
	AUTO_JSON struct json_object *o = refused();
	cr_expect_str_eq(text_of(o, "violated-policies"),
	    "[ \"turns_per_minute\", \"tokens_per_day\" ]");
	cr_assert_eq(rep.n_headers, 1);
	cr_expect_str_eq(rep.headers[0].name, "Retry-After");
	cr_expect_str_eq(rep.headers[0].value, "3601");
	/* No item says later than Retry-After. */
	char *left = value_of(&req.limits, "RateLimit");
	cr_expect_str_eq(left,
	    "\"turns_per_minute\";r=12;t=3, \"turns_per_day\";r=100;t=30,"
	    " \"tokens_per_day\";r=0;t=3601");
	free(left);
}

Test(limit_problem, says_nothing_of_limits_that_hold)
{
	AUTO_JSON struct json_object *o = refused();
	cr_expect_str_eq(text_of(o, "type"), "urn:natter:problem:rate_limited");
	cr_expect_str_eq(text_of(o, "violated-policies"), "(none)");
	cr_expect_str_eq(text_of(o, "limits"), "(none)");
}

Test(limit_problem, is_a_matter_of_429_alone)
{
	req.limits.lines[0].is_violated = true;
	for (int e = OK + 1; e < ERR__MAX; e++) {
		rep = (struct reply){0};
		reply_error(&req, &rep, (enum err)e);
		cr_expect_eq(strstr(rep.body, "violated-policies") != NULL,
		    err_status((enum err)e) == 429, "%s", rep.body);
	}
}

Test(limit_problem, the_head_has_the_lines_once)
{
	struct buf head = {0};
	rep.status = 200;
	rep.limits = limit_headers(&req);
	reply_header(&rep, "Location", "/x");
	reply_head(&head, &rep, "r-1");
	buf_putc(&head, '\0');
	char *s = buf_take(&head);
	cr_expect_not_null(strstr(s, "Location: /x\r\nRateLimit-Policy: \""));
	cr_expect_not_null(strstr(s, "1h0m1s\r\nX-Request-Id: r-1\r\n"));
	free(s);
}

Test(limit_problem, a_full_arena_costs_the_headers_alone)
{
	arena_reset(arena, 8);
	cr_expect_null(limit_headers(&req));
	req.limits.n = 0;
	cr_expect_null(limit_headers(&req));
}
