/*
 * One call of a store's tool: its request, its second try, what becomes of its
 * answer. Knows neither the model nor who waits for the result.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "chat/store_tool.h"
#include "chat/tool.h"
#include "chat/tool_run.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "server/errand.h"
#include "server/relay_priv.h"
#include "server/site_sign.h"
#include "server/site_tool.h"

/* Before the second try: a server that is just being restarted. */
#define PAUSE_MS 250

/* What a site says of a request that it refuses is told up to here, in bytes.
 */
#define REFUSAL_MAX 1000

/* Less time than this is not worth another try, in ms. */
#define LEAST_MS 100

/* What came of a call; metrics.def has the same order. */
enum outcome {
	SITE_ANSWERED,
	SITE_REFUSED,  /* a status that is not 2xx */
	SITE_GARBLED,  /* an answer that is neither JSON nor text */
	SITE_TIMEOUT,  /* not in time */
	SITE_INSIDE,   /* its address is inside the network */
	SITE_FAILED,   /* not reached, or it broke off */
	SITE_UNCALLED, /* never begun */
};

struct site_call {
	struct stream *stream;
	struct site_call *prev, *next; /* of the stream */
	struct tool_use *use;
	const struct store_tool *tool;
	struct errand *errand; /* NULL: between the two tries */
	struct buf body;
	uv_timer_t timer; /* to the second try */
	bool is_second;
	uint64_t begun_ms;
	uint64_t end_ms;
};

static uint64_t
now_ms(const struct site_call *c)
{
	return uv_now(&c->stream->relay->loop);
}

static void
timer_closed(uv_handle_t *handle)
{
	struct site_call *c = handle->data;

	buf_free(&c->body);
	free(c);
}

static void
remember(struct site_call *c)
{
	struct stream *s = c->stream;

	c->next = s->tools.calls;
	if (c->next != NULL)
		c->next->prev = c;
	s->tools.calls = c;
}

/* The stream may be gone when the timer has closed. */
static void
let_go(struct site_call *c)
{
	struct stream *s = c->stream;

	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		s->tools.calls = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	uv_close((uv_handle_t *)&c->timer, timer_closed);
}

/* Ends a use that failed with a sentence for the model. */
static PRINTF_LIKE(3, 4) void fail(
    struct tool_use *use, const char *code, const char *fmt, ...)
{
	char text[200];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	tool_use_fail(use, code, text);
}

static bool
is_text(const struct errand_end *end)
{
	static const char json[] = "application/json";
	const char *type = end->type;
	size_t n = strcspn(type, "; ");

	if (n == 0 ||
	    (n == sizeof(json) - 1 && strncasecmp(type, json, n) == 0))
		return true;
	if (n > 5 && strncasecmp(type + n - 5, "+json", 5) == 0)
		return true;
	return strncasecmp(type, "text/", 5) == 0 &&
	       strncasecmp(type, "text/html", 9) != 0;
}

/* What says that it is JSON must be, unless it was cut. */
static bool
is_readable(const struct errand_end *end)
{
	AUTO_JSON struct json_object *v = NULL;

	if (!is_text(end))
		return false;
	if (end->is_too_large || end->n == 0 ||
	    strcasestr(end->type, "json") == NULL)
		return true;
	return json_parse_any(end->body, end->n, 32, &v) == OK;
}

/* 400, 404 and their kind are about the request: what the site says of it may
 * help. Others are about the site and the server. */
static bool
speaks_to_model(const struct errand_end *end)
{
	static const long statuses[] = {400, 404, 409, 410, 422};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (end->status == statuses[i])
			return end->n > 0 && is_readable(end);
	return false;
}

static enum outcome
take_refusal(struct tool_use *use, const struct errand_end *end)
{
	struct buf said = {0};

	if (!speaks_to_model(end)) {
		fail(use, "tool_failed",
		    "The site's server answered with status %ld. Tell the user "
		    "that this is not available at the moment.",
		    end->status);
		return SITE_REFUSED;
	}
	text_append_clean(
	    &said, end->body, text_prefix(end->body, end->n, REFUSAL_MAX));
	tool_use_fail(use, "tool_refused", buf_text(&said));
	buf_free(&said);
	return SITE_REFUSED;
}

static enum outcome
take_failure(struct tool_use *use, const struct errand_end *end, long ms)
{
	if (end->is_inside) {
		tool_use_fail(use, "tool_unavailable",
		    "This tool is not set up rightly on this server.");
		return SITE_INSIDE;
	}
	if (end->code == CURLE_OPERATION_TIMEDOUT) {
		fail(use, "tool_timeout",
		    "The site did not answer within %ld ms.", ms);
		return SITE_TIMEOUT;
	}
	tool_use_fail(use, "tool_unavailable",
	    "The site cannot be reached at the moment.");
	return SITE_FAILED;
}

/* Makes the use's result of what came. */
static enum outcome
take(const struct site_call *c, const struct errand_end *end)
{
	size_t max = (size_t)c->stream->relay->config->tool_result_bytes;
	struct tool_use *use = c->use;

	if (end->code != CURLE_OK && !(end->is_too_large && end->status != 0))
		return take_failure(use, end, c->tool->timeout_ms);
	if (end->status / 100 != 2)
		return take_refusal(use, end);
	if (!is_readable(end)) {
		tool_use_fail(use, "tool_failed",
		    "The site answered with something that is neither JSON nor "
		    "text.");
		return SITE_GARBLED;
	}
	if (end->n == 0)
		tool_use_end(use, "{}", 2, max);
	else
		tool_use_end(use, end->body, end->n, max);
	return SITE_ANSWERED;
}

static void
tell(const struct site_call *c, const struct errand_end *end, enum outcome what)
{
	const struct tool_use *use = c->use;

	metrics_count(METRIC_SITE_TOOLS_ANSWERED + what);
	metrics_observe(HISTOGRAM_SITE_TOOL, (uint64_t)use->ms * 1000);
	log_with(what == SITE_ANSWERED ? LOG_INFO : LOG_WARNING,
	    "tool of a store", LOG_TEXT("request_id", c->stream->request_id),
	    LOG_TEXT("message_id", c->stream->turn->message_id),
	    LOG_TEXT("tool", c->tool->name), LOG_TEXT("tool_id", c->tool->id),
	    LOG_TEXT("delivery", use->log_id),
	    LOG_NUMBER("status", end->status), LOG_NUMBER("ms", use->ms),
	    LOG_NUMBER("tries", c->is_second ? 2 : 1),
	    LOG_NUMBER("bytes", (int64_t)end->n),
	    LOG_TEXT("why", what == SITE_ANSWERED   ? ""
			    : end->code == CURLE_OK ? end->type
						    : end->why));
}

static void
end_call(struct site_call *c, const struct errand_end *end)
{
	struct tool_use *use = c->use;
	struct stream *s = c->stream;

	use->ms = (int64_t)(now_ms(c) - c->begun_ms);
	tell(c, end, take(c, end));
	let_go(c);
	stream_tools_ended(s, use);
}

static bool ask(struct site_call *c);

static void
try_again(uv_timer_t *timer)
{
	static const struct errand_end none = {.code = CURLE_OUT_OF_MEMORY,
	    .type = "",
	    .body = "",
	    .why = "no memory"};
	struct site_call *c = timer->data;

	c->is_second = true;
	if (!ask(c))
		end_call(c, &none);
}

/* Nothing of it can have come to the site: twice is not once too often. */
static bool
is_worth_another(const struct site_call *c, const struct errand_end *end)
{
	return !c->is_second && !end->was_sent && !end->is_inside &&
	       (end->code == CURLE_COULDNT_CONNECT ||
		   end->code == CURLE_COULDNT_RESOLVE_HOST) &&
	       now_ms(c) + PAUSE_MS + LEAST_MS < c->end_ms;
}

static void
ended(void *arg, const struct errand_end *end)
{
	struct site_call *c = arg;

	c->errand = NULL;
	if (is_worth_another(c, end))
		uv_timer_start(&c->timer, try_again, PAUSE_MS, 0);
	else
		end_call(c, end);
}

/* {"tool": …, "arguments": …, "user": {…}, …} */
static void
write_body(struct site_call *c, struct json_object *arguments)
{
	const struct turn *t = c->stream->turn;
	struct buf *b = &c->body;

	json_write_open(b, NULL, '{');
	json_write_text(b, "tool", c->tool->name);
	json_write_raw(b, "arguments", json_text(arguments, NULL));
	json_write_open(b, "user", '{');
	json_write_text(b, "id", t->user_id);
	json_write_text(b, "issuer", c->tool->issuer);
	json_write_text(b, "external_id", c->tool->external_id);
	json_write_text(b, "username", c->tool->username);
	json_write_close(b, '}');
	json_write_text(b, "conversation_id", t->conversation_id);
	json_write_text(b, "message_id", t->message_id);
	json_write_text(b, "call_id", c->use->log_id);
	json_write_close(b, '}');
}

/* Sends it; false when that cannot begin. Each try has a time of its own, and
 * so a signature. */
static bool
ask(struct site_call *c)
{
	const struct store_tool *tool = c->tool;
	const struct site_secrets secrets = {tool->secret, tool->secret_before};
	int64_t at_s = (int64_t)(clock_wall_ms() / 1000);
	uint64_t now = now_ms(c);
	char timestamp[48], user[64], delivery[64];
	char signature[20 + SITE_SIGNATURES] = "Natter-Signature: ";
	const char *const headers[] = {"Content-Type: application/json",
	    "Accept: application/json, text/plain", timestamp, signature, user,
	    delivery, NULL};
	const struct errand_ask a = {
	    .url = tool->url,
	    .method = tool->method,
	    .headers = headers,
	    .body = c->body.p,
	    .n = c->body.n,
	    /* 0 would be for ever. */
	    .timeout_ms = now < c->end_ms ? (long)(c->end_ms - now) : 1,
	    .max_bytes =
		(size_t)c->stream->relay->config->tool_result_bytes + 1,
	    .reach = ERRAND_OUTSIDE,
	};

	snprintf(
	    timestamp, sizeof(timestamp), "Natter-Timestamp: %" PRId64, at_s);
	site_sign(&secrets, at_s, c->body.p, c->body.n,
	    signature + strlen(signature));
	snprintf(
	    user, sizeof(user), "Natter-User: %s", c->stream->turn->user_id);
	snprintf(
	    delivery, sizeof(delivery), "Natter-Delivery: %s", c->use->log_id);
	c->errand = errand_start(c->stream->relay, &a, ended, c);
	return c->errand != NULL;
}

/* The tool's time, or what the reply has left of its own. */
static uint64_t
end_of(const struct stream *s, const struct store_tool *tool)
{
	uint64_t at = uv_now(&s->relay->loop) + (uint64_t)tool->timeout_ms;

	return at < s->end_ms ? at : s->end_ms;
}

static bool
begin(struct stream *s, struct tool_use *use, struct json_object *arguments)
{
	struct site_call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return false;
	c->stream = s;
	c->use = use;
	c->tool = use->tool->site;
	c->begun_ms = uv_now(&s->relay->loop);
	c->end_ms = end_of(s, c->tool);
	uv_timer_init(&s->relay->loop, &c->timer);
	c->timer.data = c;
	remember(c);
	write_body(c, arguments);
	if (!c->body.failed && ask(c))
		return true;
	let_go(c);
	return false;
}

void
site_tools_begin(struct stream *s, size_t from)
{
	struct tool_uses *uses = s->turn->uses;

	for (size_t i = from; i < uses->n; i++) {
		AUTO_JSON struct json_object *arguments = NULL;
		struct tool_use *use = &uses->list[i];

		if (use->tool == NULL || use->tool->kind != TOOL_SITE ||
		    tool_arguments(use, &arguments) == ERR_INVALID_FIELD)
			continue;
		if (arguments != NULL && begin(s, use, arguments))
			continue;
		metrics_count(METRIC_SITE_TOOLS_ANSWERED + SITE_UNCALLED);
		tool_use_fail(
		    use, "tool_unavailable", "The tool could not be called.");
	}
}

void
site_tools_stop(struct stream *s)
{
	struct site_call *c;

	while ((c = s->tools.calls) != NULL) {
		errand_stop(c->errand);
		let_go(c);
	}
}
