/*
 * What natterd writes to its log: one JSON line for each request that it was
 * given, with the id that nginx gave it, and nothing that is no JSON.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "log_lines.h"
#include "raw_http.h"
#include "stack.h"

static struct stack stack;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(log, .fini = teardown, .timeout = 120);

/* Requests of every kind, and the line that each has to leave. */
static const struct row {
	const char *method;
	const char *path; /* with at most one %s: the conversation */
	const char *json;
	const char *route;
	long status;
	bool is_anonymous;
} rows[] = {
    {"GET", "/livez", NULL, "/livez", 200, true},
    {"GET", "/readyz", NULL, "/readyz", 200, true},
    {"GET", "/api/v1/me", NULL, "/api/v1/me", 200, false},
    {"GET", "/api/v1/me", NULL, "/api/v1/me", 401, true},
    {"HEAD", "/api/v1/me", NULL, "/api/v1/me", 200, false},
    {"GET", "/api/v1/nope", NULL, "", 404, false},
    {"PUT", "/api/v1/me", NULL, "", 405, false},
    {"POST", "/api/v1/conversations", "{", "/api/v1/conversations", 400, false},
    {"POST", "/api/v1/conversations", "{\"x\":1}", "/api/v1/conversations", 422,
	false},
    {"GET", "/api/v1/conversations/%s", NULL, "/api/v1/conversations/{id}", 200,
	false},
    {"GET", "/api/v1/conversations/x", NULL, "/api/v1/conversations/{id}", 404,
	false},
    {"GET", "/api/v1/conversations/%ff", NULL, "", 400, false},
    {"POST", "/api/v1/auth/login",
	"{\"username\":\"nobody\",\"password\":\""
	"long enough 1"
	"\"}",
	"/api/v1/auth/login", 401, true},
    {"POST", "/api/v1/conversations/%s/messages",
	"{\"content\":\"hello\",\"stream\":true}",
	"/api/v1/conversations/{id}/messages", 200, false},
    {"POST", "/api/v1/conversations/%s/messages", "{\"content\":\"hello\"}",
	"/api/v1/conversations/{id}/messages", 201, false},
    {"POST", "/api/v1/conversations/%s/messages",
	"{\"content\":\"[[status=401]] go\"}",
	"/api/v1/conversations/{id}/messages", 502, false},
    {"POST", "/api/v1/conversations/%s/messages", "{\"content\":\" \"}",
	"/api/v1/conversations/{id}/messages", 422, false},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void
fill_path(const char *path, const char *id, char out[static 256])
{
	const char *gap = strstr(path, "%s");

	if (gap == NULL)
		snprintf(out, 256, "%s", path);
	else
		snprintf(
		    out, 256, "%.*s%s%s", (int)(gap - path), path, id, gap + 2);
}

static void
ask_row(const struct row *r, const struct person *p, char id[static 64])
{
	char path[256];
	struct ask ask = {.method = r->method,
	    .base = stack.base,
	    .path = path,
	    .json = r->json,
	    .token = r->is_anonymous ? NULL : p->token};
	struct answer a;

	fill_path(r->path, p->conversation, path);
	http_ask(&ask, &a);
	cr_expect_eq(a.status, r->status, "%s %s: %ld %s", r->method, r->path,
	    a.status, a.body.p);
	cr_assert_not_null(answer_header(&a, "X-Request-Id"));
	snprintf(id, 64, "%s", answer_header(&a, "X-Request-Id"));
	answer_clear(&a);
}

static const char *const numbers[] = {
    "total_us", "auth_us", "handle_us", "bytes"};
static const char *const reply_numbers[] = {"first_us", "attempts"};

#define N_NUMBERS       (sizeof(numbers) / sizeof(numbers[0]))
#define N_REPLY_NUMBERS (sizeof(reply_numbers) / sizeof(reply_numbers[0]))

/* Did it come to asking a model? */
static bool
is_reply(const struct row *r)
{
	return strstr(r->path, "messages") != NULL && r->status != 422;
}

static void
check_line(struct json_object *line, const struct row *r)
{
	char status[16];

	snprintf(status, sizeof(status), "%ld", r->status);
	cr_expect_str_eq(log_line_text(line, "status"), status, "%s", r->path);
	cr_expect_str_eq(log_line_text(line, "method"), r->method);
	cr_expect_str_eq(log_line_text(line, "route"), r->route);
	for (size_t i = 0; i < N_NUMBERS; i++)
		cr_expect(log_line_has_number(line, numbers[i]), "%s: %s",
		    r->path, numbers[i]);
	for (size_t i = 0; is_reply(r) && i < N_REPLY_NUMBERS; i++)
		cr_expect(log_line_has_number(line, reply_numbers[i]), "%s: %s",
		    r->path, reply_numbers[i]);
	cr_expect_null(
	    strstr(json_object_to_json_string(line), "hello"), "%s", r->path);
}

/* nginx's ids of everything that it passed on; its own answers are others. */
static void
check_against_nginx(const struct log_lines *natterd)
{
	char path[128];
	struct log_lines nginx;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/log/access.log", stack.dir);
	log_lines_read(path, &nginx);
	for (size_t i = 0; i < nginx.n; i++) {
		if (log_line_text(nginx.items[i], "upstream_status")[0] == '\0')
			continue;
		n++;
		(void)log_lines_request(
		    natterd, log_line_text(nginx.items[i], "request_id"));
	}
	cr_expect_gt(n, N_ROWS);
	for (size_t i = 0, requests = 0; i <= natterd->n; i++) {
		if (i == natterd->n)
			cr_expect_eq(requests, n, "%zu lines, %zu requests",
			    requests, n);
		else if (strcmp(log_line_text(natterd->items[i], "msg"),
			     "request") == 0)
			requests++;
	}
	log_lines_clear(&nginx);
}

Test(log, each_request_leaves_one_line)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	char ids[N_ROWS][64];
	struct log_lines lines;
	struct person p;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	for (size_t i = 0; i < N_ROWS; i++)
		ask_row(&rows[i], &p, ids[i]);
	/* A drain writes what is still to be written. */
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	log_lines_read(stack.log, &lines);
	for (size_t i = 0; i < N_ROWS; i++) {
		struct json_object *line = log_lines_request(&lines, ids[i]);

		if (line != NULL)
			check_line(line, &rows[i]);
	}
	check_against_nginx(&lines);
	log_lines_clear(&lines);
}

/* Bytes that a log line must not be broken by. */
Test(log, hostile_bytes_stay_inside_a_line)
{
	static const char *const heads[] = {
	    "GET /api/v1/me?%0a%22}%0d HTTP/1.1\r\nUser-Agent: \xff\"}\\\r\n",
	    "GET /api/v1/conversations/%0a%22%7d HTTP/1.1\r\n",
	    "GET /api/v1/conversations/\xff\xfe\x01 HTTP/1.1\r\n",
	    "B-R_E HTTP/1.1\r\n",
	    "QUOTE /api/v1/me HTTP/1.1\r\n",
	    "GET /api/v1/me HTTP/1.1\r\nAuthorization: Bearer \x1b[2J\x07\r\n",
	};
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	struct log_lines lines;

	stack_start(&stack, &o);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		char request[512];
		struct answer a;
		int n = snprintf(request, sizeof(request),
		    "%sHost: localhost\r\nConnection: close\r\n\r\n", heads[i]);

		raw_ask(stack.port, request, (size_t)n, &a);
		cr_expect_geq(a.status, 400, "%s", heads[i]);
		answer_clear(&a);
	}
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	log_lines_read(stack.log, &lines);
	cr_expect_gt(lines.n, 4);
	log_lines_clear(&lines);
}
