/*
 * OpenAI's words for our errors.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json_write.h"
#include "http/openai_error.h"
#include "http/reply.h"
#include "http/request.h"

#define PREFIX "/openai/"

/*
 * By what their libraries throw, from the status alone: 400 BadRequestError,
 * 401 AuthenticationError, 403 PermissionDeniedError, 404 NotFoundError, 429
 * RateLimitError, all above InternalServerError. Where a row says no code, it
 * is ours.
 */
static const struct words {
	enum err e;
	int status; /* 0: as in errors.def */
	const char *type;
	const char *code;
} words[] = {
    {ERR_TOKEN_MISSING, 0, "invalid_request_error", "missing_api_key"},
    {ERR_TOKEN_EXPIRED, 0, "invalid_request_error", "token_expired"},
    {ERR_TOKEN_INVALID, 0, "invalid_request_error", "invalid_api_key"},
    {ERR_KEY_INVALID, 0, "invalid_request_error", "invalid_api_key"},
    {ERR_NO_ROUTE, 0, "invalid_request_error", "unknown_url"},
    {ERR_NOT_FOUND, 0, "invalid_request_error", "model_not_found"},
    {ERR_METHOD_NOT_ALLOWED, 0, "invalid_request_error",
	"method_not_supported"},
    {ERR_BAD_JSON, 0, "invalid_request_error", "invalid_json"},
    {ERR_INVALID_FIELD, 400, "invalid_request_error", "invalid_value"},
    {ERR_RATE_LIMITED, 0, "requests", "rate_limit_exceeded"},
    {ERR_CONTENT_REFUSED, 400, "invalid_request_error", "content_filter"},
    {ERR_QUOTA_EXCEEDED, 0, "insufficient_quota", "insufficient_quota"},
};

static struct words
words_of(enum err e)
{
	bool is_ours = err_status(e) >= 500;
	struct words w = {
	    .e = e,
	    .type = is_ours ? "server_error" : "invalid_request_error",
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (words[i].e == e)
			w = words[i];
	if (w.status == 0)
		w.status = err_status(e);
	if (!w.code)
		w.code = err_code(e);
	return w;
}

bool
openai_is_asked(const struct request *req)
{
	return req->path && !strncmp(req->path, PREFIX, strlen(PREFIX));
}

void
openai_headers(struct request *req, struct reply *rep)
{
	uint64_t us = clock_mono_us() - req->phases.accepted_us;
	const char *ms = arena_printf(req->arena, "%" PRIu64, us / 1000);
	reply_header(rep, "openai-version", OPENAI_VERSION);
	if (ms)
		reply_header(rep, "openai-processing-ms", ms);
}

int
openai_error_status(enum err e)
{
	return words_of(e).status;
}

void
openai_error_write(struct buf *out, const struct openai_error *error)
{
	struct words w = words_of(error->e);
	struct buf text = {0};
	buf_puts(
	    &text, error->message ? error->message : err_sentence(error->e));
	if (error->detail && *error->detail)
		buf_printf(&text, " %s", error->detail);
	json_write_open(out, NULL, '{');
	json_write_open(out, "error", '{');
	json_write_bytes(out, "message", text.p ? text.p : "", text.n);
	json_write_text(out, "type", error->type ? error->type : w.type);
	json_write_text(out, "param", error->param);
	json_write_text(out, "code", error->code ? error->code : w.code);
	json_write_close(out, '}');
	json_write_close(out, '}');
	buf_free(&text);
}

bool
openai_error_reply(struct request *req, struct reply *rep, enum err e)
{
	struct openai_error error = {.e = e, .detail = req->detail};
	struct buf out = {0};
	if (e == ERR_INVALID_FIELD || e == ERR_NOT_FOUND)
		error.param = req->bad_field;
	openai_error_write(&out, &error);
	rep->status = openai_error_status(e);
	rep->content_type = "application/json";
	rep->body = out.failed ? NULL : arena_strndup(req->arena, out.p, out.n);
	rep->body_len = out.n;
	buf_free(&out);
	openai_headers(req, rep);
	/* Their libraries would try again at once. */
	if (e == ERR_QUOTA_EXCEEDED)
		reply_header(rep, "x-should-retry", "false");
	return rep->body != NULL;
}
