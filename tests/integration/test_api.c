/*
 * Paths, methods and headers through a real nginx: what is refused, with which
 * status and code, and that every refusal has the same form and tells nothing.
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

TestSuite(api, .init = setup, .fini = teardown, .timeout = 120);

Test(api, a_path_is_taken_as_it_is_sent)
{
#define NO_ROUTE(line) ROW(line, NULL, 404, .code = "no_route")
	static const struct api_row rows[] = {
	    NO_ROUTE("GET " API "/nope"),
	    NO_ROUTE("GET " API "/"),
	    NO_ROUTE("GET " API "/me/"),
	    NO_ROUTE("GET " API "/ME"),
	    NO_ROUTE("GET " API "//me"),
	    NO_ROUTE("GET /" API "/me"),
	    NO_ROUTE("GET /x/.." API "/me"),
	    NO_ROUTE("GET " API "/x/../me"),
	    NO_ROUTE("GET " API "/./me"),
	    NO_ROUTE("GET " API "/%2e/me"),
	    NO_ROUTE("GET " API "/me;x=1"),
	    NO_ROUTE("GET " API "/conversations/"),
	    NO_ROUTE("GET " API "/conversations//messages"),
	    NO_ROUTE("GET " API "/conversations/{c}/"),
	    ROW("GET " API "/conversations/{c}%2fmessages", NULL, 400,
		.code = "bad_request"),
	    ROW("GET " API "/conversations/%ff", NULL, 400,
		.code = "bad_request"),
	    ROW("GET " API "/conversations/%c0%af", NULL, 400,
		.code = "bad_request"),
	    ROW("GET " API "/conversations/%0d%0aX:1", NULL, 404,
		.code = "not_found"),
	    ROW("GET " API "/conversations/%00", NULL, 400),
	    ROW("GET " API "/conversations/%zz", NULL, 400),
	    ROW("GET " API "/conversations/%4", NULL, 400),
	    ROW("GET " API "/me%", NULL, 400),
	    ROW("GET " API "/%6de", NULL, 200),
	    ROW("GET " API "/me?", NULL, 200),
	    ROW("GET " API "/me?any=thing", NULL, 422, .field = "any"),
	    ROW("GET http://localhost" API "/me", NULL, 200),
	};

	API_ROWS_RUN(&caller, rows);
}

Test(api, an_id_that_cannot_be_one_is_not_found)
{
	static const char *const ids[] = {"x", "0", "-1", "null", "..%2e",
	    "00000000-0000-0000-0000-000000000000",
	    "ffffffff-ffff-ffff-ffff-ffffffffffff", "%27%20OR%201=1--",
	    "01a202fd-d1cc-7518-a0d5-c4dc7c639c1", "%7B%7D",
	    "01a202fd-d1cc-7518-a0d5-c4dc7c639c19a", "%F0%9F%A6%86"};
	static const char *const lines[] = {"GET " API "/conversations/%s",
	    "PATCH " API "/conversations/%s", "DELETE " API "/conversations/%s",
	    "GET " API "/conversations/%s/messages",
	    "POST " API "/conversations/%s/messages", "GET " API "/messages/%s",
	    "GET " API "/conversations/%s/messages?limit=5"};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		for (size_t k = 0; k < sizeof(lines) / sizeof(lines[0]); k++) {
			const char *gap = strstr(lines[k], "%s");
			char line[256];
			struct api_row r =
			    ROW(line, NULL, 404, .code = "not_found");

			snprintf(line, sizeof(line), "%.*s%s%s",
			    (int)(gap - lines[k]), lines[k], ids[i], gap + 2);
			if (line[0] == 'P')
				r.body = line[1] == 'A'
					     ? "{\"title\":\"mine\"}"
					     : "{\"content\":\"mine\"}";
			api_row_run(&caller, &r);
		}
	}
}

/* The methods of a path, as its routes have them. */
static void
allowed_on(const char *pattern, char out[static 64])
{
	static const char *const names[] = {
	    "GET", "POST", "PATCH", "PUT", "DELETE"};

	out[0] = '\0';
	for (size_t m = 0; m < HTTP_METHOD__MAX; m++)
		for (size_t i = 0; i < api_routes.n; i++)
			if (strcmp(api_routes.routes[i].pattern, pattern) ==
				0 &&
			    api_routes.routes[i].method == m)
				snprintf(out + strlen(out), 64 - strlen(out),
				    "%s%s", out[0] == '\0' ? "" : ", ",
				    names[m]);
}

static void
check_methods(const char *pattern)
{
	static const char *const methods[] = {"GET", "POST", "PATCH", "PUT",
	    "DELETE", "OPTIONS", "BREW", "PROPFIND"};
	char allowed[64];

	allowed_on(pattern, allowed);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		char line[256];
		struct api_row r =
		    ROW(line, NULL, 405, .code = "method_not_allowed");
		struct answer a;

		if (strstr(allowed, methods[i]) != NULL)
			continue;
		/* Said in OpenAI's words there. */
		if (strncmp(pattern, "/openai/", strlen("/openai/")) == 0)
			r.code = NULL;
		snprintf(line, sizeof(line), "%s %s", methods[i], pattern);
		api_row_send(&caller, &r, &a);
		api_row_check(&caller, &r, &a);
		cr_expect_str_eq(
		    answer_header(&a, "Allow"), allowed, "%s", line);
		answer_clear(&a);
	}
}

Test(api, each_route_says_which_methods_it_takes)
{
	static const struct api_row rows[] = {
	    ROW("HEAD " API "/me", NULL, 200),
	    ROW("HEAD " API "/nope", NULL, 404),
	    ROW("HEAD " API "/auth/login", NULL, 405),
	    ROW("get " API "/me", NULL, 400),   /* nginx */
	    ROW("Get " API "/me", NULL, 400),   /* nginx */
	    ROW("TRACE " API "/me", NULL, 405), /* nginx */
	    ROW("GET " API "/nope", NULL, 404, .code = "no_route"),
	};

	for (size_t i = 0; i < api_routes.n; i++)
		check_methods(api_routes.routes[i].pattern);
	API_ROWS_RUN(&caller, rows);
}

/* A header of `n` letters. */
static void
run_header(const char *name, size_t n, long status, const char *code)
{
	struct buf b = {0};
	struct api_row r = ROW("GET " API "/me", NULL, status, .code = code);

	buf_printf(&b, "%s: ", name);
	for (size_t i = 0; i < n; i++)
		buf_putc(&b, 'x');
	buf_puts(&b, "\r\n");
	buf_putc(&b, '\0');
	r.headers = b.p;
	api_row_run(&caller, &r);
	buf_free(&b);
}

Test(api, headers_are_bounded)
{
	static const struct {
		const char *name;
		size_t max;
	} rows[] = {
	    {"Cookie", 8192},
	    {"Origin", 512},
	    {"Idempotency-Key", 512},
	    {"X-Natter-Device", 256},
	    {"Content-Type", 256},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		run_header(rows[i].name, rows[i].max, 200, NULL);
		run_header(
		    rows[i].name, rows[i].max + 1, 431, "headers_too_large");
	}
	/* What nobody looks at may be as long as nginx lets it. */
	run_header("User-Agent", 10000, 200, NULL);
	run_header("X-Anything", 15000, 200, NULL);
	run_header("X-Anything", 20000, 400, NULL);
}

Test(api, many_headers_and_long_queries_cost_no_worker)
{
	struct api_row r = ROW("GET " API "/me", NULL, 200);
	struct api_row query = {.status = 431, .code = "headers_too_large"};
	struct buf b = {0}, line = {0};

	for (int i = 0; i < 500; i++)
		buf_printf(&b, "X-%d: %0100d\r\n", i, i);
	buf_putc(&b, '\0');
	r.headers = b.p;
	api_row_run(&caller, &r);
	buf_puts(&line, "GET " API "/me?");
	for (int i = 0; i < 4097; i++)
		buf_putc(&line, 'q');
	buf_putc(&line, '\0');
	query.line = line.p;
	api_row_run(&caller, &query);
	buf_free(&b);
	buf_free(&line);
}

Test(api, odd_headers_change_nothing)
{
	static const struct api_row rows[] = {
#define WITH(text) ROW("GET " API "/me", NULL, 200, .headers = text "\r\n")
	    WITH("User-Agent: \xff\xfe\x80"),
	    WITH("User-Agent:"),
	    WITH("Proxy: http://127.0.0.1:1/"),
	    WITH("X-Forwarded-For: 10.0.0.1"),
	    WITH("Remote-Addr: 10.0.0.1"),
	    WITH("Request-Id: 1"),
	    WITH("Last-Event-ID: -1"),
	    WITH("Content-Length: 0"),
	    WITH("X-User-Id: 00000000-0000-0000-0000-000000000000"),
	    WITH("Accept: image/png"),
	    WITH("Range: bytes=0-3"),
	    WITH("If-None-Match: *"),
	    WITH("Expect: 100-continue"),
#undef WITH
	    ROW("GET " API "/me", NULL, 400,
		.headers = "Content-Length: -1\r\n"),
	    ROW("GET " API "/me", NULL, 400,
		.headers = "Authorization: Bearer x\r\n"),
	    ROW(LOGIN, "{\"username\":\"a\",\"password\":\"b\"}", 401,
		.code = "invalid_credentials",
		.headers = "User-Agent: \xff\xc3(\xe2\x82\r\n"
			   "X-Natter-Device: \xff\x01\r\n"),
	};

	API_ROWS_RUN(&caller, rows);
}

Test(api, the_request_id_is_nginxs_own)
{
	static const char *const headers[] = {
	    "X-Request-Id: chosen-by-the-client\r\n",
	    "Request-Id: 1234567890\r\n",
	    "REQUEST_ID: chosen-by-the-client\r\n"};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct api_row r = {.line = "GET " API "/me",
		    .status = 200,
		    .headers = headers[i]};
		char command[256];
		struct answer a;

		api_row_send(&caller, &r, &a);
		api_row_check(&caller, &r, &a);
		snprintf(command, sizeof(command),
		    "grep -q '\"%s\"' %s/log/access.log",
		    answer_header(&a, "X-Request-Id"), caller.stack.dir);
		cr_expect_eq(system(command), 0, "%s", command);
		answer_clear(&a);
	}
}
