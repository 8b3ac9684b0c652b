/*
 * Bodies through a real nginx: what is no JSON, what is too large, too deep or
 * too long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "base/buf.h"
#include "chat/import.h"
#include "stack.h"

#define KIB ((size_t)1024)

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	/* 10,000 messages are taken however busy the machine is. */
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_PG_TIMEOUT=60000"}};

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

TestSuite(bodies, .init = setup, .fini = teardown, .timeout = 120);

Test(bodies, a_body_has_to_be_json_and_to_say_so)
{
#define BAD(line, body) ROW(line, body, 400, .code = "bad_json")
#define NOT_JSON(line, body, ...) \
	ROW(line, body, 415, .code = "unsupported_media_type", __VA_ARGS__)
	static const struct api_row rows[] = {
#define TYPED(type) .headers = "Content-Type: " type "\r\n"
	    NOT_JSON(CREATE, "{}", TYPED("text/plain")),
	    NOT_JSON(CREATE, "{}", TYPED("")),
	    NOT_JSON(CREATE, "a=b", TYPED("application/x-www-form-urlencoded")),
	    NOT_JSON(CREATE, "{}", TYPED("multipart/form-data; boundary=x")),
	    NOT_JSON(CREATE, "{}", TYPED("application/jsonp")),
	    NOT_JSON(CREATE, "{}", TYPED("text/plain, application/json")),
	    NOT_JSON(CREATE, "{}",
		.headers = "Content-Type: text/plain\r\n"
			   "Content-Type: application/json\r\n"),
	    NOT_JSON(SAY, "{}", TYPED("text/json")),
	    NOT_JSON(REGISTER, "{}", TYPED("text/xml")),
	    ROW(CREATE, "{}", 201, TYPED("application/json")),
	    ROW(CREATE, "{}", 201, TYPED("Application/JSON; charset=UTF-8")),
#undef TYPED
	    BAD(CREATE, ""),
	    BAD(CREATE, NULL),
	    BAD(CREATE, "[]"),
	    BAD(CREATE, "null"),
	    BAD(CREATE, "\"{}\""),
	    BAD(CREATE, "{"),
	    BAD(CREATE, "{} {}"),
	    BAD(CREATE, "{\"title\":\"a\",}"),
	    BAD(CREATE, "{'title':'a'}"),
	    BAD(CREATE, "{\"metadata\":{\"a\":NaN}}"),
	    BAD(CREATE, "{\"metadata\":{\"a\":1e9999}}"),
	    BAD(CREATE, "{} // end"),
	    BAD(CREATE, "\xef\xbb\xbf{}"),
	    BAD(CREATE, "{\"title\":\"\\u0000\"}"),
	    BAD(CREATE, "{\"a\\u0000b\":1}"),
	    BAD(CREATE, "{\"title\":\"a\nb\"}"),
	    BAD(CREATE, "{\"title\":\"\xff\"}"),
	    BAD(CREATE, "{\"title\":\"\xc0\x80\"}"),
	    BAD(CREATE, "{\"title\":\"\xed\xa0\x80\"}"),
	    BAD(CREATE, "{\"\xfe\":1}"),
	    {.line = CREATE,
		.status = 400,
		.code = "bad_json",
		BYTES("{\"title\":\"a\0b\"}")},
	    {.line = CREATE, .status = 400, .code = "bad_json", BYTES("{}\0")},
	    {.line = CREATE,
		.status = 400,
		.code = "bad_json",
		BYTES("\xff\xfe{\0}\0")},
	    BAD(SAY, "{\"content\":\"\xc3\"}"),
	    BAD(REGISTER, "{\"username\":"),
	    BAD("POST " API "/auth/login", "[1]"),
	    BAD("POST " API "/auth/refresh", "nonsense"),
	    BAD("POST " API "/auth/logout", "nonsense"),
	    ROW(CREATE, "2\r\n{}\r\n0\r\n\r\n", 201,
		.headers = "Transfer-Encoding: chunked\r\n"),
	    ROW(CREATE, "1\r\n{\r\n0\r\n\r\n", 400, .code = "bad_json",
		.headers = "Transfer-Encoding: chunked\r\n"),
	};

	API_ROWS_RUN(&caller, rows);
}

/* `n` times `piece` between the ends. */
static char *
repeated(const char *head, size_t n, const char *piece, const char *tail)
{
	struct buf b = {0};

	buf_puts(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_puts(&b, piece);
	buf_puts(&b, tail);
	return buf_take(&b);
}

static char *
nested(size_t n, const char *open, const char *middle, const char *close)
{
	char *tail = repeated(middle, n, close, "");
	char *all = repeated("", n, open, tail);

	free(tail);
	return all;
}

static void
run_with(const struct api_row *r, char *body)
{
	struct api_row row = *r;

	row.body = body;
	api_row_run(&caller, &row);
	free(body);
}

Test(bodies, depth_is_bounded)
{
	const struct api_row bad = ROW(CREATE, NULL, 400, .code = "bad_json");
	const struct api_row good = ROW(CREATE, NULL, 201);

	run_with(&bad, nested(33, "{\"metadata\":", "{}", "}"));
	run_with(&bad, nested(30000, "[", "", "]"));
	run_with(&bad, nested(60000, "[", "", ""));
	run_with(&bad, nested(7000, "{\"a\":", "1", "}"));
	run_with(&bad, nested(60000, "{", "", ""));
	run_with(&good, strdup("{\"metadata\":{\"a\":[[[[{\"b\":1}]]]]}}"));
}

/* A JSON text of exactly `n` bytes: {"<name>":"aaa…"}. */
static char *
sized(const char *name, size_t n)
{
	char *text = malloc(n + 1);
	size_t head = strlen(name) + 5; /* {"":" */

	cr_assert(text != NULL && n > head + 2);
	memset(text, 'a', n);
	snprintf(text, head + 1, "{\"%s\":\"", name);
	text[head] = 'a';
	memcpy(text + n - 2, "\"}", 3);
	return text;
}

Test(bodies, each_route_bounds_its_body)
{
	static const struct {
		const char *line;
		const char *name; /* of a field */
		size_t max;       /* bytes of the body */
		long within;      /* the status of a body of `max` bytes */
	} rows[] = {
	    {REGISTER, "username", 4 * KIB, 422},
	    {LOGIN, "username", 4 * KIB, 422},
	    {"POST " API "/auth/refresh", "refresh_token", 4 * KIB, 401},
	    {"POST " API "/auth/logout", "scope", 4 * KIB, 422},
	    {CREATE, "title", 64 * KIB, 422},
	    {PATCH, "title", 64 * KIB, 422},
	    {SAY, "content", 2048 * KIB, 422},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct api_row r = {.line = rows[i].line};
		struct answer a;

		r.status = 413;
		r.code = "too_large";
		run_with(&r, sized(rows[i].name, rows[i].max + 1));
		if (rows[i].max < 2048 * KIB)
			run_with(&r, sized(rows[i].name, 2048 * KIB));
		/* Above nginx's own limit: the same answer, made by nginx. */
		run_with(&r, sized(rows[i].name, 2048 * KIB + 1));
		r.body = sized(rows[i].name, rows[i].max);
		api_row_send(&caller, &r, &a);
		cr_expect_eq(a.status, rows[i].within, "%s: %ld %.200s", r.line,
		    a.status, a.body.p);
		answer_clear(&a);
		free((char *)(uintptr_t)r.body);
	}
}

Test(bodies, routes_without_a_body_take_none)
{
#define REFUSED(line) ROW(line, "{}", 413, .code = "too_large")
	static const struct api_row rows[] = {
	    REFUSED("GET " API "/me"),
	    REFUSED(LIST),
	    REFUSED(MESSAGES),
	    REFUSED("GET " API "/messages/{m}"),
	    REFUSED("DELETE " API "/conversations/{c}"),
	    REFUSED("GET " API "/auth/verify"),
	    REFUSED("GET /livez"),
	    ROW("GET " API "/conversations/{c}", NULL, 200),
	};

	API_ROWS_RUN(&caller, rows);
}

Test(bodies, texts_are_bounded_in_characters_or_bytes)
{
#define LONG(l, f) ROW(l, NULL, 422, .code = "invalid_field", .field = f)
	const struct api_row made = ROW(CREATE, NULL, 201);
	const struct api_row title = LONG(CREATE, "title");
	const struct api_row content = LONG(SAY, "content");
	const struct api_row tags = LONG(CREATE, "tags");
	const struct api_row metadata = LONG(CREATE, "metadata");
#undef LONG

	run_with(&made, sized("title", 12 + 200));
	run_with(&title, sized("title", 12 + 201));
	run_with(&content, sized("content", 14 + 64 * KIB + 1));
	run_with(&made, repeated("{\"tags\":[\"a\"", 19, ",\"a\"", "]}"));
	run_with(&tags, repeated("{\"tags\":[\"a\"", 20, ",\"a\"", "]}"));
	run_with(&made,
	    repeated("{\"metadata\":{\"a\":\"", 16 * KIB - 8, "a", "\"}}"));
	run_with(&metadata,
	    repeated("{\"metadata\":{\"a\":\"", 16 * KIB - 7, "a", "\"}}"));
}

/* A file of so many conversations, of which the last has `n_messages`
 * and `more` bytes of text. */
static void
write_talks(struct buf *out, bool is_ours, int n, int n_messages, size_t more)
{
	const char *end = is_ours ? "}" : "";

	buf_clear(out);
	buf_puts(out,
	    is_ours ? "{\"format\":\"natter-export\",\"conversations\":" : "");
	for (int i = 0; i < n; i++) {
		int have = i == n - 1 ? n_messages : 0;

		buf_printf(out, "%c{\"id\":\"talk %d\",\"%s\":%c",
		    i > 0 ? ',' : '[', i, is_ours ? "messages" : "mapping",
		    is_ours ? '[' : '{');
		for (int m = 0; m < have && is_ours; m++)
			buf_printf(out,
			    "%s{\"id\":\"%d\",\"role\":\"user\","
			    "\"content\":\"word%d\"}",
			    m > 0 ? "," : "", m, m);
		for (int m = 0; m < have && !is_ours; m++)
			buf_printf(out,
			    "%s\"%d\":{\"message\":{\"author\":{\"role\":"
			    "\"user\"},\"content\":{\"parts\":[\"w\"]}}}",
			    m > 0 ? "," : "", m);
		for (size_t m = 0; i == n - 1 && more > 0 && m <= more; m++)
			buf_puts(out, m == more ? "\""
				      : m > 0   ? "x"
				      : is_ours
					  ? "{\"id\":\"m\",\"role\":\"user\","
					    "\"content\":\"x"
					  : "\"m\":{\"message\":{\"author\":{"
					    "\"role\":\"user\"},\"content\":{"
					    "\"text\":\"x");
		if (i == n - 1 && more > 0)
			buf_puts(out, is_ours ? "}" : "}}}");
		buf_puts(out, is_ours ? "]}" : "}}");
	}
	buf_printf(out, "]%s", end);
}

Test(bodies, what_is_too_much_to_import_is_named_and_the_most_fits)
{
	static const struct {
		bool is_ours;
		int n, n_messages;
		size_t more;
		const char *field; /* NULL: it is brought */
	} rows[] = {
	    {true, IMPORT_CONVERSATIONS_MAX + 1, 0, 0, "conversations"},
	    {false, IMPORT_CONVERSATIONS_MAX + 1, 0, 0, "conversations"},
	    {true, 2, IMPORT_MESSAGES_MAX + 1, 0, "conversations[1].messages"},
	    {false, 2, IMPORT_MESSAGES_MAX + 1, 0, "[1].mapping"},
	    {true, 1, 0, IMPORT_TEXT_MAX + 1, "conversations[0].messages"},
	    {false, 1, 0, IMPORT_TEXT_MAX + 1, "[0].mapping"},
	    {true, 1, 0, IMPORT_TEXT_MAX, NULL},
	    {true, IMPORT_CONVERSATIONS_MAX, IMPORT_MESSAGES_MAX, 0, NULL},
	    {false, 1, IMPORT_MESSAGES_MAX, 0, NULL},
	};
	struct buf file = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ask ask = {.method = "POST",
		    .base = caller.stack.base,
		    .path = API "/conversations/import",
		    .token = caller.person.token,
		    .timeout_ms = 120000};
		struct answer a;

		write_talks(&file, rows[i].is_ours, rows[i].n,
		    rows[i].n_messages, rows[i].more);
		ask.json = buf_text(&file);
		http_ask(&ask, &a);
		cr_expect_eq(a.status, rows[i].field ? 422 : 200,
		    "%zu: %ld %.200s", i, a.status, a.body.p);
		cr_expect_str_eq(answer_text(&a, "field"),
		    rows[i].field ? rows[i].field : "", "%.200s", a.body.p);
		cr_expect_str_eq(answer_text(&a, "messages"),
		    rows[i].field  ? ""
		    : rows[i].more ? "1"
				   : "10000",
		    "%.200s", a.body.p);
		answer_clear(&a);
	}
	buf_free(&file);
}
