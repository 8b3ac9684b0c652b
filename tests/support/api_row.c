/*
 * From a row to bytes and from an answer to a verdict. Knows no route.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "promises.h"
#include "raw_http.h"

void
api_caller_make(struct api_caller *c)
{
	struct ask ask = {.path = API "/conversations"};
	struct answer a;

	stack_take(&c->stack);
	person_make(&c->stack, &c->person);
	person_say(&c->stack, &c->person, "hello", &a);
	snprintf(c->message_id, sizeof(c->message_id), "%s",
	    answer_event_text(&a, "done", "id"));
	answer_clear(&a);
	ask.base = c->stack.base;
	ask.token = c->person.token;
	http_ask(&ask, &a);
	snprintf(c->short_id, sizeof(c->short_id), "%s",
	    answer_text(&a, "data.0.short_id"));
	answer_clear(&a);
}

static void
add_filled(const struct api_caller *c, const char *text, struct buf *out)
{
	const struct {
		const char *mark;
		const char *value;
	} rows[] = {
	    {"{c}", c->person.conversation},
	    {"{s}", c->short_id},
	    {"{m}", c->message_id},
	};

	while (*text != '\0') {
		size_t i = 0;

		while (i < 3 && strncmp(text, rows[i].mark, 3) != 0)
			i++;
		if (i < 3)
			buf_puts(out, rows[i].value);
		else
			buf_putc(out, *text);
		text += i < 3 ? 3 : 1;
	}
}

static void
compose(const struct api_caller *c, const struct api_row *r, struct buf *out)
{
	const char *headers = r->headers == NULL ? "" : r->headers;
	size_t n = 0;

	add_filled(c, r->line, out);
	buf_puts(out, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
	if (!r->is_nobody)
		buf_printf(
		    out, "Authorization: Bearer %s\r\n", c->person.token);
	if (r->body != NULL) {
		n = r->body_len > 0 ? r->body_len : strlen(r->body);
		if (strstr(headers, "Transfer-Encoding") == NULL)
			buf_printf(out, "Content-Length: %zu\r\n", n);
		if (strstr(headers, "Content-Type") == NULL)
			buf_puts(out, "Content-Type: application/json\r\n");
	}
	buf_puts(out, headers);
	buf_puts(out, "\r\n");
	buf_add(out, r->body, n);
}

void
api_row_send(
    const struct api_caller *c, const struct api_row *r, struct answer *a)
{
	struct buf request = {0};

	compose(c, r, &request);
	cr_assert(!request.failed);
	raw_ask(c->stack.port, request.p, request.n, a);
	buf_free(&request);
}

/* A stream has no length; anything else in one piece does. */
static bool
is_stream(const struct answer *a)
{
	const char *type = answer_header(a, "Content-Type");

	return type != NULL && strcmp(type, "text/event-stream") == 0;
}

void
api_row_check(
    const struct api_caller *c, const struct api_row *r, const struct answer *a)
{
	const char *const secrets[] = {c->person.token, c->person.refresh,
	    "correct horse", "natter_app", "postgres", NULL};
	const char *body = r->body == NULL ? "" : r->body, *fault = NULL;

	cr_expect_eq(a->status, r->status, "%s %.60s: %ld, wanted %ld: %.400s",
	    r->line, body, a->status, r->status, a->body.p);
	/* OpenAI's protocol has errors of its own. */
	if (r->code != NULL && strstr(r->line, " /openai/") != NULL)
		fault = answer_text(a, "error.code") == NULL ? "no error code"
							     : NULL;
	else if (r->code != NULL)
		fault = refusal_fault(a, r->status, r->code, r->field);
	else if (r->status < 400 && !is_stream(a))
		fault = reply_fault(a);
	cr_expect_null(fault, "%s %.60s: %s", r->line, body, fault);
	if (r->status >= 400)
		cr_expect_null(leak(a, secrets), "%s %.60s tells %s", r->line,
		    body, leak(a, secrets));
}

void
api_row_run(const struct api_caller *c, const struct api_row *r)
{
	struct answer a;

	api_row_send(c, r, &a);
	api_row_check(c, r, &a);
	answer_clear(&a);
}

void
api_check_workers(const struct api_caller *c)
{
	FILE *log = fopen(c->stack.log, "r");
	char line[8192];

	cr_assert_not_null(log);
	while (fgets(line, sizeof(line), log) != NULL) {
		cr_expect_null(strstr(line, "a worker was killed"), "%s", line);
		cr_expect_null(strstr(line, "a worker failed"), "%s", line);
	}
	fclose(log);
}
