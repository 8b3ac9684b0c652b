/*
 * Replies as bytes, and errors as problem documents: the only place where an
 * `enum err` becomes something a client sees. Knows nothing of FastCGI.
 */
#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/metrics.h"
#include "http/limit_headers.h"
#include "http/openai_error.h"
#include "http/reply.h"
#include "http/request.h"

#define PROBLEM_TYPE  "application/problem+json"
#define RETRY_MAX_S   3
#define TYPE_OF(code) "urn:natter:problem:" code

/*
 * The documents of last resort, for when the arena is full: without the
 * request's id, which X-Request-Id still tells.
 */
static const struct {
	const char *type;
	const char *bare;
} problems[ERR__MAX] = {
    [OK] = {TYPE_OF("ok"), "{}"},
#define ERR(name, status, code, sentence)                                 \
	[ERR_##name] = {TYPE_OF(code),                                    \
	    "{\"type\":\"" TYPE_OF(                                       \
		code) "\",\"title\":\"" sentence "\",\"status\":" #status \
		      ",\"code\":\"" code "\",\"detail\":\"" sentence "\"}"},
#include "base/errors.def"
#undef ERR
};

static const struct {
	int status;
	const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
};

/* A wrong password or refresh token is no matter of a bearer token. */
const char *
reply_challenge(enum err e)
{
	switch (e) {
	case ERR_TOKEN_MISSING:
		return "Bearer";
	case ERR_TOKEN_EXPIRED:
	case ERR_TOKEN_INVALID:
	case ERR_SESSION_REVOKED:
	case ERR_KEY_INVALID:
		return "Bearer error=\"invalid_token\"";
	case ERR_INSUFFICIENT_SCOPE:
		return "Bearer error=\"insufficient_scope\"";
	default:
		return NULL;
	}
}

/*
 * Seconds as text: when all violated limits allow another try; jittered where
 * nobody chose, so that clients spread.
 */
static const char *
retry_after(struct request *req)
{
	static const char *const defaults[RETRY_MAX_S] = {"1", "2", "3"};
	const char *s = NULL;
	long long wait = limit_wait_s(&req->limits);
	if (wait < req->retry_after_s)
		wait = req->retry_after_s;
	if (wait > 0)
		s = arena_printf(req->arena, "%lld", wait);
	return s ? s : defaults[randombytes_uniform(RETRY_MAX_S)];
}

/* The members that every problem has. Every problem comes by here once. */
static struct json_object *
make_problem(enum err e, const char *detail, const char *request_id)
{
	struct json_object *o = json_object_new_object();
	struct buf text = {0};

	metrics_count(METRIC_ERROR_BAD_JSON + e - ERR_BAD_JSON);
	buf_puts(&text, err_sentence(e));
	if (detail && *detail) {
		buf_putc(&text, ' ');
		buf_puts(&text, detail);
	}
	buf_putc(&text, '\0');
	json_put_text(o, "type", problems[e].type);
	json_put_text(o, "title", err_sentence(e));
	json_put_number(o, "status", err_status(e));
	json_put_text(o, "code", err_code(e));
	json_put_text(o, "detail", text.failed ? err_sentence(e) : text.p);
	json_put_text(o, "request_id", request_id);
	buf_free(&text);
	return o;
}

/* Copies the object's text into the arena as the reply's body. */
static bool
set_body(struct request *req, struct reply *rep, struct json_object *o)
{
	size_t n;
	const char *text = json_text(o, &n);
	const char *body = arena_strndup(req->arena, text, n);
	if (!body)
		return false;
	rep->body = body;
	rep->body_len = n;
	return true;
}

static bool
has_header(const struct reply *rep, const char *name)
{
	for (size_t i = 0; i < rep->n_headers; i++) {
		if (strcasecmp(rep->headers[i].name, name) == 0)
			return true;
	}
	return false;
}

/*
 * Appends one header. Controls are left out of the value: a line break would
 * begin a header of somebody else's choosing.
 */
static void
append_header(struct buf *out, const char *name, const char *value)
{
	buf_puts(out, name);
	buf_puts(out, ": ");
	for (const char *p = value; *p; p++) {
		if (((unsigned char)*p >= 0x20 && *p != 0x7f) || *p == '\t')
			buf_putc(out, *p);
	}
	buf_puts(out, "\r\n");
}

enum err
reply_json(
    struct request *req, struct reply *rep, int status, struct json_object *o)
{
	bool fits = set_body(req, rep, o);
	json_object_put(o);
	if (!fits)
		return request_fail(req, ERR_INTERNAL,
		    "the reply does not fit the route's arena");
	rep->status = status;
	rep->content_type = "application/json";
	return OK;
}

enum err
reply_empty(struct reply *rep, int status)
{
	rep->status = status;
	rep->content_type = NULL;
	rep->body = NULL;
	rep->body_len = 0;
	return OK;
}

void
reply_header(struct reply *rep, const char *name, const char *value)
{
	assert(rep->n_headers < REPLY_HEADERS_MAX);
	rep->headers[rep->n_headers].name = name;
	rep->headers[rep->n_headers].value = value;
	rep->n_headers++;
}

/* A body that was to follow must not stand behind a problem. */
static void
drop_source(struct reply *rep)
{
	if (rep->source)
		rep->source->close(rep->source);
	rep->source = NULL;
}

void
reply_error(struct request *req, struct reply *rep, enum err e)
{
	AUTO_JSON struct json_object *o =
	    make_problem(e, req->detail, req->request_id);
	assert(e != OK && !rep->turn && !rep->follow);
	drop_source(rep);
	if (err_status(e) == 422 && req->bad_field)
		json_put_text(o, "field", req->bad_field);
	if (req->running_message)
		json_put_text(o, "message_id", req->running_message);
	if (err_status(e) == 429)
		limit_tell_problem(o, &req->limits);
	rep->status = err_status(e);
	rep->content_type = PROBLEM_TYPE;
	bool is_said = openai_is_asked(req) && openai_error_reply(req, rep, e);
	if (!is_said && !set_body(req, rep, o)) {
		rep->body = problems[e].bare;
		rep->body_len = strlen(problems[e].bare);
	}
	if ((rep->status == 429 || rep->status == 503) &&
	    !has_header(rep, "Retry-After"))
		reply_header(rep, "Retry-After", retry_after(req));
	if (reply_challenge(e) && !has_header(rep, "WWW-Authenticate"))
		reply_header(rep, "WWW-Authenticate", reply_challenge(e));
}

void
reply_problem(
    struct buf *out, enum err e, const char *detail, const char *request_id)
{
	AUTO_JSON struct json_object *o = make_problem(e, detail, request_id);
	json_append(out, o);
}

void
reply_lines(struct buf *out, const struct reply *rep)
{
	for (size_t i = 0; i < rep->n_headers; i++)
		append_header(out, rep->headers[i].name, rep->headers[i].value);
	if (rep->limits)
		buf_puts(out, rep->limits);
}

void
reply_head(struct buf *out, const struct reply *rep, const char *request_id)
{
	buf_printf(
	    out, "Status: %d %s\r\n", rep->status, reply_reason(rep->status));
	if (rep->content_type)
		append_header(out, "Content-Type", rep->content_type);
	/* What goes on has no length yet; 204 and 304 have none. */
	if (!rep->turn && !rep->follow && !rep->source && rep->status != 204 &&
	    rep->status != 304)
		buf_printf(out, "Content-Length: %zu\r\n", rep->body_len);
	reply_lines(out, rep);
	if (request_id)
		append_header(out, "X-Request-Id", request_id);
	if (!has_header(rep, "Cache-Control"))
		append_header(out, "Cache-Control", "no-store");
	if (!has_header(rep, "X-Content-Type-Options"))
		append_header(out, "X-Content-Type-Options", "nosniff");
	buf_puts(out, "\r\n");
}

const char *
reply_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Unknown";
}
