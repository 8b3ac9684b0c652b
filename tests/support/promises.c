/*
 * Owns the sentences. Knows the form of problem documents (RFC 9457) and of
 * nginx's request ids.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promises.h"

#define REQUEST_ID 32 /* hexadecimal digits */

static const char *fault(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static const char *
fault(const char *fmt, ...)
{
	static _Thread_local char sentence[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return sentence;
}

static void
copy_header(const struct answer *a, const char *name, char out[static 256])
{
	const char *value = answer_header(a, name);

	snprintf(out, 256, "%s", value == NULL ? "" : value);
}

static bool
is_request_id(const char *id)
{
	return strlen(id) == REQUEST_ID &&
	       strspn(id, "0123456789abcdef") == REQUEST_ID;
}

/* 204 has no length, HEAD a length and no body. */
static const char *
length_fault(const struct answer *a)
{
	char length[256];

	copy_header(a, "Content-Length", length);
	if (a->status == 204)
		return length[0] != '\0' || a->body.n > 0
			   ? fault("204 with a body or a length")
			   : NULL;
	if (length[0] == '\0')
		return fault("no Content-Length");
	if (a->body.n > 0 && strtoul(length, NULL, 10) != a->body.n)
		return fault(
		    "Content-Length %s of %zu bytes", length, a->body.n);
	return NULL;
}

/* The name of a header that came before in the same head. */
static const char *
repeated_header(const struct answer *a)
{
	for (const char *line = strstr(a->head.p, "\r\n"); line != NULL;
	     line = strstr(line, "\r\n")) {
		size_t n;

		line += 2;
		n = strcspn(line, ":\r");
		/* From the line feed before it to its colon. */
		if (line[n] == ':' &&
		    memmem(a->head.p, (size_t)(line - a->head.p) - 1, line - 1,
			n + 2) != NULL)
			return line;
	}
	return NULL;
}

const char *
reply_fault(const struct answer *a)
{
	char id[256], cache[256], sniff[256];

	if (a->code != CURLE_OK || a->status == 0)
		return fault(
		    "no answer (libcurl says %d): %s", a->code, a->head.p);
	if (length_fault(a) != NULL)
		return length_fault(a);
	if (repeated_header(a) != NULL)
		return fault("twice in one head: %.40s", repeated_header(a));
	copy_header(a, "X-Request-Id", id);
	copy_header(a, "Cache-Control", cache);
	copy_header(a, "X-Content-Type-Options", sniff);
	if (!is_request_id(id))
		return fault("X-Request-Id is %s", id);
	if (strcmp(cache, "no-store") != 0)
		return fault("Cache-Control is %s", cache);
	if (strcmp(sniff, "nosniff") != 0)
		return fault("X-Content-Type-Options is %s", sniff);
	return NULL;
}

/* What else has to be in the head, by the code's beginning. A wrong password
 * is no matter of bearer tokens and challenges nobody. */
static const char *
head_fault(const struct answer *a, long status, const char *code)
{
	static const struct {
		long status;
		const char *code;
		const char *header;
	} rows[] = {
	    {401, "token_", "WWW-Authenticate"},
	    {401, "session_", "WWW-Authenticate"},
	    {405, "", "Allow"},
	    {429, "", "Retry-After"},
	    {503, "", "Retry-After"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].status == status &&
		    strncmp(rows[i].code, code, strlen(rows[i].code)) == 0 &&
		    answer_header(a, rows[i].header) == NULL)
			return fault("%s without %s", code, rows[i].header);
	return NULL;
}

const char *
refusal_fault(
    const struct answer *a, long status, const char *code, const char *field)
{
	char type[256], id[256], number[16];

	if (a->status != status || strcmp(answer_text(a, "code"), code) != 0)
		return fault("wanted %ld %s, got %ld %s", status, code,
		    a->status, a->body.n > 0 ? a->body.p : "without a body");
	if (reply_fault(a) != NULL)
		return reply_fault(a);
	if (head_fault(a, status, code) != NULL)
		return head_fault(a, status, code);
	copy_header(a, "Content-Type", type);
	copy_header(a, "X-Request-Id", id);
	snprintf(number, sizeof(number), "%ld", status);
	if (strcmp(type, "application/problem+json") != 0)
		return fault("a problem of type %s", type);
	if (strcmp(answer_text(a, "status"), number) != 0 ||
	    strcmp(answer_text(a, "request_id"), id) != 0 ||
	    answer_text(a, "type")[0] == '\0' ||
	    answer_text(a, "title")[0] == '\0' ||
	    answer_text(a, "detail")[0] == '\0')
		return fault(
		    "not the problem that it should be: %s", a->body.p);
	if (strcmp(answer_text(a, "field"), field == NULL ? "" : field) != 0)
		return fault("wanted field %s: %s", field, a->body.p);
	return NULL;
}

const char *
leak(const struct answer *a, const char *const *words)
{
	for (; *words != NULL; words++)
		if (memmem(a->body.p, a->body.n, *words, strlen(*words)) ||
		    memmem(a->head.p, a->head.n, *words, strlen(*words)))
			return *words;
	return NULL;
}
