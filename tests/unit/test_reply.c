/*
 * Replies: problem documents, their headers, and the CGI head.
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
#include "http/reply.h"
#include "http/request.h"

static struct arena *arena;
static struct request req;
static struct reply rep;

static void
set_up(void)
{
	arena = arena_new(65536);
	req = (struct request){.arena = arena, .request_id = "r-1"};
	rep = (struct reply){0};
}

static void
tear_down(void)
{
	arena_free(arena);
}

TestSuite(reply, .init = set_up, .fini = tear_down);

static const char *
header(const char *name)
{
	const char *found = NULL;
	for (size_t i = 0; i < rep.n_headers; i++) {
		if (strcmp(rep.headers[i].name, name) == 0) {
			cr_expect_null(found, "%s is there twice", name);
			found = rep.headers[i].value;
		}
	}
	return found;
}

static const char *
member(struct json_object *o, const char *key)
{
	const char *s = json_object_get_string(json_object_object_get(o, key));
	return s ? s : "(none)";
}

static struct json_object *
body(void)
{
	struct json_object *o = NULL;
	cr_assert_eq(
	    json_parse_object(rep.body, rep.body_len, &o), OK, "%s", rep.body);
	return o;
}

/* The head as a string that the caller frees. */
static char *
head(const char *request_id)
{
	struct buf b = {0};
	reply_head(&b, &rep, request_id);
	return buf_take(&b);
}

Test(reply, every_error_becomes_a_problem)
{
	for (int e = OK + 1; e < ERR__MAX; e++) {
		char type[128];
		rep = (struct reply){0};
		reply_error(&req, &rep, (enum err)e);
		cr_expect_eq(rep.status, err_status((enum err)e));
		cr_expect_str_eq(rep.content_type, "application/problem+json");
		AUTO_JSON struct json_object *o = body();
		(void)snprintf(type, sizeof(type), "urn:natter:problem:%s",
		    err_code((enum err)e));
		cr_expect_str_eq(member(o, "type"), type);
		cr_expect_str_eq(member(o, "code"), err_code((enum err)e));
		cr_expect_eq(atoi(member(o, "status")), rep.status);
		cr_expect_str_eq(member(o, "title"), err_sentence((enum err)e));
		cr_expect_str_eq(
		    member(o, "detail"), err_sentence((enum err)e));
		cr_expect_str_eq(member(o, "request_id"), "r-1");
		cr_expect_eq(json_object_object_length(o), 6);
	}
}

Test(reply, a_problem_is_made_even_when_the_arena_is_full)
{
	arena_reset(arena, 8);
	for (int e = OK + 1; e < ERR__MAX; e++) {
		rep = (struct reply){0};
		req.retry_after_s = 1234567;
		reply_error(&req, &rep, (enum err)e);
		cr_expect_eq(rep.status, err_status((enum err)e));
		AUTO_JSON struct json_object *o = body();
		cr_expect_str_eq(member(o, "code"), err_code((enum err)e));
		cr_expect_eq(atoi(member(o, "status")), rep.status);
		cr_expect_str_eq(
		    member(o, "detail"), err_sentence((enum err)e));
		cr_expect_eq(json_object_object_length(o), 5);
	}
}

Test(reply, the_detail_adds_to_the_sentence)
{
	req.detail = "title may have at most 200 bytes. \"quoted\"";
	req.bad_field = "title";
	reply_error(&req, &rep, ERR_INVALID_FIELD);
	AUTO_JSON struct json_object *o = body();
	cr_expect_str_eq(member(o, "detail"),
	    "A field has a value that cannot be used. title may have at most "
	    "200 bytes. \"quoted\"");
	cr_expect_str_eq(member(o, "title"), err_sentence(ERR_INVALID_FIELD));
	cr_expect_str_eq(member(o, "field"), "title");
}

Test(reply, tells_the_field_where_it_belongs_and_the_message_it_is_about)
{
	static const struct {
		enum err e;
		const char *field, *message;
	} rows[] = {
	    {ERR_INVALID_FIELD, "f", NULL},
	    {ERR_REPLY_IN_PROGRESS, "(none)", "m"},
	    {ERR_UNAVAILABLE, "(none)", "m"},
	    {ERR_NOT_FOUND, "(none)", NULL},
	};
	req.bad_field = "f";
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		rep = (struct reply){0};
		req.running_message = rows[i].message;
		reply_error(&req, &rep, rows[i].e);
		AUTO_JSON struct json_object *o = body();
		cr_expect_str_eq(member(o, "field"), rows[i].field);
		cr_expect_str_eq(member(o, "message_id"),
		    rows[i].message ? rows[i].message : "(none)");
	}
}

Test(reply, every_429_and_503_says_when_to_come_back)
{
	bool seen[4] = {false};
	for (int round = 0; round < 200; round++) {
		for (int e = OK + 1; e < ERR__MAX; e++) {
			rep = (struct reply){0};
			reply_error(&req, &rep, (enum err)e);
			const char *s = header("Retry-After");
			bool want = rep.status == 429 || rep.status == 503;
			cr_assert_eq(s != NULL, want);
			if (s) {
				cr_assert(atoi(s) >= 1 && atoi(s) <= 3);
				seen[atoi(s)] = true;
			}
		}
		arena_reset(arena, 65536);
	}
	cr_expect(seen[1] && seen[2] && seen[3], "it is jittered");

	req.retry_after_s = 42;
	rep = (struct reply){0};
	reply_error(&req, &rep, ERR_RATE_LIMITED);
	cr_expect_str_eq(header("Retry-After"), "42");
	rep = (struct reply){0};
	reply_header(&rep, "retry-after", "7");
	reply_error(&req, &rep, ERR_RATE_LIMITED);
	cr_expect_null(header("Retry-After"), "it is there already");
}

Test(reply, only_matters_of_the_access_token_challenge)
{
	static const struct {
		enum err e;
		const char *want;
	} rows[] = {
	    {ERR_TOKEN_MISSING, "Bearer"},
	    {ERR_TOKEN_EXPIRED, "Bearer error=\"invalid_token\""},
	    {ERR_TOKEN_INVALID, "Bearer error=\"invalid_token\""},
	    {ERR_SESSION_REVOKED, "Bearer error=\"invalid_token\""},
	    {ERR_INVALID_CREDENTIALS, NULL},
	    {ERR_REFRESH_INVALID, NULL},
	    {ERR_REFRESH_EXPIRED, NULL},
	    {ERR_REFRESH_REUSED, NULL},
	    {ERR_FORBIDDEN, NULL},
	    {ERR_NOT_FOUND, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		rep = (struct reply){0};
		reply_error(&req, &rep, rows[i].e);
		const char *got = header("WWW-Authenticate");
		cr_expect_str_eq(got ? got : "(none)",
		    rows[i].want ? rows[i].want : "(none)");
	}
}

Test(reply, an_error_keeps_the_headers_that_are_there)
{
	reply_header(&rep, "Allow", "GET");
	reply_error(&req, &rep, ERR_METHOD_NOT_ALLOWED);
	cr_expect_str_eq(header("Allow"), "GET");
}

static int n_closed;

static void
note_closed(struct reply_source *source)
{
	(void)source;
	n_closed++;
}

/* One that fails after its body was promised. */
Test(reply, an_error_sends_nothing_of_a_body_that_was_to_follow)
{
	struct reply_source source = {.close = note_closed};

	rep.source = &source;
	reply_error(&req, &rep, ERR_UNAVAILABLE);
	cr_expect_null(rep.source);
	cr_expect_eq(n_closed, 1);
	AUTO_JSON struct json_object *o = body();
	cr_expect_str_eq(member(o, "code"), "unavailable");
}

Test(reply, answers_with_an_object)
{
	struct json_object *o = json_object_new_object();
	json_put_text(o, "a", "/x");
	cr_expect_eq(reply_json(&req, &rep, 201, o), OK);
	cr_expect_eq(rep.status, 201);
	cr_expect_str_eq(rep.content_type, "application/json");
	cr_expect_str_eq(rep.body, "{\"a\":\"/x\"}");
	cr_expect_eq(rep.body_len, 10);
}

Test(reply, an_object_beyond_the_arena_is_our_fault)
{
	struct json_object *o = json_object_new_object();
	json_put_text(o, "a", "0123456789");
	arena_reset(arena, 10);
	cr_expect_eq(reply_json(&req, &rep, 200, o), ERR_INTERNAL);
	cr_expect_eq(rep.status, 0);
	cr_expect_null(rep.body);
}

Test(reply, answers_empty)
{
	rep.content_type = "x";
	rep.body_len = 7;
	cr_expect_eq(reply_empty(&rep, 204), OK);
	cr_expect_eq(rep.status, 204);
	cr_expect_null(rep.content_type);
	cr_expect_eq(rep.body_len, 0);
}

Test(reply, the_head_has_everything_in_order)
{
	rep = (struct reply){.status = 200,
	    .content_type = "application/json",
	    .body = "{}",
	    .body_len = 2};
	reply_header(&rep, "Location", "/x");
	char *s = head("abc");
	cr_expect_str_eq(s, "Status: 200 OK\r\n"
			    "Content-Type: application/json\r\n"
			    "Content-Length: 2\r\n"
			    "Location: /x\r\n"
			    "X-Request-Id: abc\r\n"
			    "Cache-Control: no-store\r\n"
			    "X-Content-Type-Options: nosniff\r\n"
			    "\r\n");
	free(s);
}

Test(reply, a_204_has_no_length_and_an_empty_200_has)
{
	static const struct {
		int status;
		bool has_length;
	} rows[] = {{204, false}, {304, false}, {200, true}, {401, true}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cr_expect_eq(reply_empty(&rep, rows[i].status), OK);
		char *s = head("abc");
		cr_expect_eq(strstr(s, "Content-Length: 0\r\n") != NULL,
		    rows[i].has_length, "%s", s);
		cr_expect_null(strstr(s, "Content-Type:"));
		free(s);
	}
}

Test(reply, a_turn_has_no_length)
{
	rep = (struct reply){.status = 200,
	    .content_type = "text/event-stream",
	    .turn = (struct turn *)&rep};
	char *s = head("abc");
	cr_expect_null(strstr(s, "Content-Length"));
	cr_expect_not_null(strstr(s, "Content-Type: text/event-stream\r\n"));
	free(s);
}

Test(reply, headers_that_are_set_are_not_doubled)
{
	rep.status = 200;
	reply_header(&rep, "cache-control", "private");
	reply_header(&rep, "X-Content-Type-Options", "nosniff");
	char *s = head("abc");
	cr_expect_null(strstr(s, "no-store"));
	cr_expect_not_null(strstr(s, "cache-control: private\r\n"));
	cr_expect_eq(strstr(strstr(s, "nosniff") + 1, "nosniff"), NULL);
	free(s);
}

Test(reply, a_header_value_cannot_break_out_of_its_line)
{
	rep.status = 200;
	reply_header(&rep, "Location", "/x\r\nSet-Cookie: a=b\r\n\r\n<b>\x7f");
	reply_header(&rep, "X-Tab", "a\tb\x01\x0b\xc3\xa9");
	char *s = head("id\r\nEvil: 1");
	cr_expect_not_null(strstr(s, "Location: /xSet-Cookie: a=b<b>\r\n"));
	cr_expect_not_null(strstr(s, "X-Tab: a\tb\xc3\xa9\r\n"));
	cr_expect_not_null(strstr(s, "X-Request-Id: idEvil: 1\r\n"));
	cr_expect_eq(strstr(s, "\r\n\r\n"), s + strlen(s) - 4);
	free(s);
}

Test(reply, a_problem_as_text_is_one_line)
{
	struct buf b = {0};
	reply_problem(&b, ERR_MODEL_TIMEOUT, "Two\nlines.", "r-2");
	AUTO_JSON struct json_object *o = NULL;
	cr_assert_eq(json_parse_object(b.p, b.n, &o), OK);
	cr_expect_null(memchr(b.p, '\n', b.n));
	cr_expect_str_eq(member(o, "code"), "model_timeout");
	cr_expect_str_eq(member(o, "detail"),
	    "The model did not answer in time. Two\nlines.");
	cr_expect_str_eq(member(o, "request_id"), "r-2");
	buf_free(&b);
	reply_problem(&b, ERR_INTERNAL, NULL, "r-3");
	cr_expect_gt(b.n, 0);
	buf_free(&b);
}

Test(reply, every_status_in_use_has_a_reason)
{
	for (int e = OK; e < ERR__MAX; e++)
		cr_expect_str_neq(reply_reason(err_status((enum err)e)),
		    "Unknown", "%d", err_status((enum err)e));
	cr_expect_str_eq(reply_reason(404), "Not Found");
	cr_expect_str_eq(reply_reason(204), "No Content");
	cr_expect_str_eq(reply_reason(299), "Unknown");
}

Test(reply, codes_are_read_back)
{
	for (int e = OK + 1; e < ERR__MAX; e++)
		cr_expect_eq(err_from_code(err_code((enum err)e), OK), e);
	cr_expect_eq(err_from_code("ok", ERR_INTERNAL), ERR_INTERNAL);
	cr_expect_eq(err_from_code("", ERR_INTERNAL), ERR_INTERNAL);
	cr_expect_eq(err_from_code(NULL, ERR_BUSY), ERR_BUSY);
}
