/*
 * Fields and queries through a real nginx: which one is refused, by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api/api.h"
#include "api_row.h"
#include "stack.h"

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	api_caller_make(&caller);
}

static void
teardown(void)
{
	api_check_workers(&caller);
}

TestSuite(fields, .init = setup, .fini = teardown, .timeout = 120);

Test(fields, a_wrong_field_is_named)
{
#define FIELD(l, b, f) ROW(l, b, 422, .code = "invalid_field", .field = f)
	static const struct api_row rows[] = {
	    FIELD(REGISTER, "{}", "username"),
	    FIELD(
		REGISTER, "{\"username\":null,\"password\":\"x\"}", "username"),
	    FIELD(REGISTER, "{\"username\":7,\"password\":\"x\"}", "username"),
	    FIELD(
		REGISTER, "{\"username\":\"\",\"password\":\"x\"}", "username"),
	    FIELD(REGISTER, "{\"username\":\"fresh\"}", "password"),
	    FIELD(REGISTER, "{\"username\":\"fresh\",\"password\":\"short\"}",
		"password"),
	    FIELD(REGISTER, "{\"username\":\"fresh\",\"password\":[\"x\"]}",
		"password"),
	    FIELD(REGISTER,
		"{\"username\":\"two words\",\"password\":\"long enough now "
		"1\"}",
		"username"),
	    FIELD(REGISTER,
		"{\"username\":\"a\\u202eb\",\"password\":\"long enough now "
		"1\"}",
		"username"),
	    FIELD(REGISTER,
		"{\"username\":\"f\",\"password\":\"long enough now "
		"1\",\"role\":"
		"\"admin\"}",
		"role"),
	    FIELD(LOGIN, "{\"username\":\"fresh\"}", "password"),
	    FIELD(LOGIN, "{\"password\":\"x\"}", "username"),
	    FIELD(LOGIN,
		"{\"username\":\"a\",\"password\":\"b\",\"remember\":\"yes\"}",
		"remember"),
	    FIELD("POST " API "/auth/refresh", "{}", "refresh_token"),
	    FIELD("POST " API "/auth/refresh", "{\"refresh_token\":1}",
		"refresh_token"),
	    FIELD("POST " API "/auth/logout", "{\"scope\":\"any\"}", "scope"),
	    FIELD(CREATE, "{\"titel\":\"a\"}", "titel"),
	    FIELD(CREATE, "{\"\":1}", NULL),
	    FIELD(CREATE, "{\"title\":{}}", "title"),
	    FIELD(CREATE, "{\"title\":null}", "title"),
	    FIELD(CREATE, "{\"is_archived\":true}", "is_archived"),
	    FIELD(CREATE, "{\"user_id\":\"x\"}", "user_id"),
	    FIELD(CREATE, "{\"metadata\":[]}", "metadata"),
	    FIELD(CREATE, "{\"metadata\":\"{}\"}", "metadata"),
	    FIELD(CREATE, "{\"tags\":\"a\"}", "tags"),
	    FIELD(CREATE, "{\"tags\":[1]}", "tags"),
	    FIELD(CREATE, "{\"tags\":[\"\"]}", "tags"),
	    FIELD(CREATE, "{\"model\":\"a b\"}", "model"),
	    FIELD(PATCH, "{\"is_archived\":1}", "is_archived"),
	    FIELD(PATCH, "{\"is_archived\":null}", "is_archived"),
	    FIELD(PATCH, "{\"id\":\"x\"}", "id"),
	    FIELD(SAY, "{}", "content"),
	    FIELD(SAY, "{\"content\":null}", "content"),
	    FIELD(SAY, "{\"content\":[\"a\"]}", "content"),
	    FIELD(SAY, "{\"content\":\"\"}", "content"),
	    FIELD(SAY, "{\"content\":\" \\t\\n\\u3000\"}", "content"),
	    FIELD(SAY, "{\"content\":\"a\",\"stream\":\"true\"}", "stream"),
	    FIELD(SAY, "{\"content\":\"a\",\"parent_id\":\"x\"}", "parent_id"),
	    FIELD(SAY,
		"{\"content\":\"a\",\"parent_id\":"
		"\"01a202fd-d1cc-7518-a0d5-c4dc7c639c19\"}",
		"parent_id"),
	    FIELD(SAY, "{\"content\":\"a\",\"model\":\"\"}", "model"),
	    FIELD(SAY, "{\"content\":\"a\",\"metadata\":1}", "metadata"),
	    FIELD(SAY, "{\"content\":\"a\",\"role\":\"system\"}", "role"),
	};
#undef FIELD

	API_ROWS_RUN(&caller, rows);
}

Test(fields, a_query_is_checked_as_a_body_is)
{
#define FIELD(query, f) \
	ROW(LIST "?" query, NULL, 422, .code = "invalid_field", .field = f)
#define CURSOR(query) ROW(LIST "?" query, NULL, 400, .code = "bad_cursor")
	static const struct api_row rows[] = {
	    FIELD("limit=0", "limit"),
	    FIELD("limit=-1", "limit"),
	    FIELD("limit=101", "limit"),
	    FIELD("limit=99999999999999999999", "limit"),
	    FIELD("limit=", "limit"),
	    FIELD("limit=ten", "limit"),
	    FIELD("limit=1.5", "limit"),
	    FIELD("limit=0x10", "limit"),
	    FIELD("limit=+5", "limit"),
	    FIELD("limit=5%20", "limit"),
	    FIELD("limit=%", "limit"),
	    FIELD("limit=%zz", "limit"),
	    FIELD("limit=%ff", "limit"),
	    FIELD("limit=5%00", "limit"),
	    FIELD("limit=5&limit=5", "limit"),
	    FIELD("archived=maybe", "archived"),
	    FIELD("archived=", "archived"),
	    CURSOR("cursor="),
	    CURSOR("cursor=x"),
	    CURSOR("cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
	    CURSOR("cursor=%ff"),
	    CURSOR("cursor=%zz"),
	    CURSOR("cursor=a&cursor=a"),
	    CURSOR("cursor=2026-11-22T11%3A21%3A58Z"),
	    ROW(MESSAGES "?order=sideways", NULL, 422, .code = "invalid_field",
		.field = "order"),
	    ROW(MESSAGES "?limit=0", NULL, 422, .code = "invalid_field",
		.field = "limit"),
	    ROW(MESSAGES "?limit=201", NULL, 422, .code = "invalid_field",
		.field = "limit"),
	    ROW(MESSAGES "?cursor=AAAA", NULL, 400, .code = "bad_cursor"),
	    ROW(LIST "?limit=1", NULL, 200),
	    ROW(LIST "?limit=100", NULL, 200),
	    ROW(LIST "?lim%69t=100", NULL, 200),
	    ROW(MESSAGES "?limit=100&order=desc", NULL, 200),
	};
#undef FIELD
#undef CURSOR

	API_ROWS_RUN(&caller, rows);
}

/* Of all routes but those of administrators, who are refused before that. */
static bool
takes_no_other(const struct route *r)
{
	return r->access != ACCESS_ADMIN && strcmp(r->pattern, "/livez") != 0 &&
	       strcmp(r->pattern, "/readyz") != 0 &&
	       strcmp(r->pattern, "/metrics") != 0 &&
	       strcmp(r->pattern, API "/auth/verify") != 0 &&
	       /* They say so in other words: test_completions. */
	       strncmp(r->pattern, "/openai/", strlen("/openai/")) != 0;
}

Test(fields, an_unknown_parameter_is_refused_everywhere)
{
	static const char *const methods[] = {[HTTP_GET] = "GET",
	    [HTTP_POST] = "POST",
	    [HTTP_PUT] = "PUT",
	    [HTTP_PATCH] = "PATCH",
	    [HTTP_DELETE] = "DELETE"};
	int n = 0;

	for (size_t i = 0; i < api_routes.n; i++) {
		const struct route *r = &api_routes.routes[i];
		const char *brace = strstr(r->pattern, "{id}");
		char line[256];
		struct api_row row = {.line = line,
		    .body = r->body_max > 0 ? "{}" : NULL,
		    .status = 422,
		    .code = "invalid_field",
		    .field = "no_such"};

		if (!takes_no_other(r))
			continue;
		snprintf(line, sizeof(line), "%s %.*s%s%s?no_such=1",
		    methods[r->method],
		    brace ? (int)(brace - r->pattern) : (int)strlen(r->pattern),
		    r->pattern, brace ? "{c}" : "",
		    brace ? brace + strlen("{id}") : "");
		api_row_run(&caller, &row);
		n++;
	}
	cr_expect_gt(n, 40);
}

Test(fields, a_misspelt_parameter_is_named)
{
#define UNKNOWN(query, name)                                                   \
	ROW("GET " API "/me/usage?" query, NULL, 422, .code = "invalid_field", \
	    .field = name)
	static const struct api_row rows[] = {
	    UNKNOWN("form=2026-01-01", "form"),
	    UNKNOWN("by=day&form=2026-01-01", "form"),
	    UNKNOWN("by=day&&user=x", "user"),
	    UNKNOWN("b%79=day&BY=day", "BY"),
	    UNKNOWN("l%c3%a9on", "l\u00e9on"),
	    UNKNOWN("%ff=1", ""),
	    UNKNOWN("=1", ""),
	    UNKNOWN("by%20=day", "by "),
	    UNKNOWN("fro=1", "fro"),
	    ROW("GET " API "/me/usage?", NULL, 200),
	    ROW("GET " API "/me/usage?&", NULL, 200),
	    ROW("GET " API "/me/usage?b%79=day&&limit=5", NULL, 200),
	    ROW("GET /livez?at=1", NULL, 200),
	};
#undef UNKNOWN

	API_ROWS_RUN(&caller, rows);
}

Test(fields, nobody_marks_a_message_as_kept)
{
#define MARK(line, body) \
	ROW(line, body, 422, .code = "invalid_field", .field = "metadata")
#define MESSAGE "PATCH " API "/messages/{m}"
	static const struct api_row rows[] = {
	    MARK(SAY, "{\"content\":\"a\",\"metadata\":{\"cached\":true}}"),
	    MARK(MESSAGE, "{\"metadata\":{\"cached\":true}}"),
	    MARK(MESSAGE, "{\"metadata\":{\"a\":1,\"cached\":null}}"),
	    MARK(MESSAGE, "{\"metadata\":{\"fallback_from\":\"x\"}}"),
	    ROW(MESSAGE, "{\"metadata\":{\"Cached\":1,\"a\":{\"cached\":1}}}",
		200),
	};
#undef MARK
#undef MESSAGE

	API_ROWS_RUN(&caller, rows);
}
