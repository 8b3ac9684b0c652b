/*
 * An errand is a transfer of upstream.c with an address of its own. Where it
 * must not end up inside the network, the socket's own address is looked at
 * just before it connects: whatever the name was, however often it changed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/config.h"
#include "server/errand.h"
#include "server/relay_priv.h"

/* Of an answer's head, in bytes; libcurl itself knows no end. */
#define HEAD_MAX 65536

struct errand {
	struct relay *relay;
	struct errand *prev, *next;
	struct transfer transfer;
	struct curl_slist *headers;
	char *host; /* the URL's */
	char *type; /* the answer's Content-Type, or NULL */
	struct buf body;
	size_t max_bytes;
	size_t head_n;
	long status; /* of the answer; 0: none came */
	bool is_too_large;
	bool was_kept_out; /* of an address inside */
	bool has_socket;   /* to one that may be */
	errand_fn fn;
	void *arg;
};

static void
errand_free(struct errand *e)
{
	curl_slist_free_all(e->headers);
	curl_free(e->host);
	free(e->type);
	buf_free(&e->body);
	free(e);
}

static void
remember(struct errand *e)
{
	struct relay *r = e->relay;

	e->next = r->errands;
	if (r->errands != NULL)
		r->errands->prev = e;
	r->errands = e;
}

/* The loop may end with the last one: not from here, where libcurl stands. */
static void
forget(struct errand *e)
{
	struct relay *r = e->relay;

	if (e->prev != NULL)
		e->prev->next = e->next;
	else
		r->errands = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
	if (r->errands == NULL && r->is_draining)
		uv_async_send(&r->wake);
}

static curl_socket_t
open_outside(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
	struct errand *e = arg;
	const char *allowed = e->relay->config->tools_allow;

	if (!address_is_outside(&at->addr) &&
	    !address_list_has(allowed, e->host, &at->addr)) {
		e->was_kept_out = true;
		return CURL_SOCKET_BAD;
	}
	e->has_socket = true;
	return upstream_open_socket(e->transfer.lane, purpose, at);
}

static size_t
head_line_came(char *p, size_t size, size_t n, void *arg)
{
	struct errand *e = arg;

	(void)p;
	e->head_n += size * n;
	return e->head_n > HEAD_MAX ? 0 : n;
}

static void
head_came(void *arg, long status, const char *type)
{
	struct errand *e = arg;

	e->status = status;
	e->type = type == NULL ? NULL : strdup(type);
}

static bool
body_came(void *arg, const char *p, size_t n)
{
	struct errand *e = arg;
	size_t room = e->max_bytes - e->body.n;

	e->is_too_large = n > room;
	buf_add(&e->body, p, n > room ? room : n);
	return !e->is_too_large && !e->body.failed;
}

static bool
is_inside(const struct errand *e)
{
	return e->was_kept_out && !e->has_socket;
}

static const char *
why_of(const struct errand *e, const struct transfer_end *end)
{
	if (is_inside(e))
		return "its address is inside the network (CHAT_TOOLS_ALLOW)";
	if (e->is_too_large)
		return "the answer is too large";
	if (e->head_n > HEAD_MAX)
		return "the answer's head is too large";
	return end->why;
}

/* To whom it was for; the errand is on no list any more. */
static void
deliver(struct errand *e, const struct transfer_end *t)
{
	struct errand_end end = {
	    .code = t->code,
	    .status = t->status,
	    .retry_after_s = t->retry_after_s,
	    .type = e->type == NULL ? "" : e->type,
	    .body = buf_text(&e->body),
	    .n = e->body.n,
	    .why = why_of(e, t),
	    .is_too_large = e->is_too_large,
	    .is_inside = is_inside(e),
	    .was_sent = t->was_sent,
	};

	e->fn(e->arg, &end);
	errand_free(e);
}

static void
ended(void *arg, const struct transfer_end *t)
{
	struct errand *e = arg;

	forget(e);
	deliver(e, t);
}

/* NULL: it is no URL. */
static char *
host_of(const char *text)
{
	CURLU *url = curl_url();
	char *host = NULL;

	if (url != NULL &&
	    curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
		curl_url_get(url, CURLUPART_HOST, &host, 0);
	curl_url_cleanup(url);
	return host;
}

/* libcurl would wait for a leave to send the body. */
static bool
add_headers(struct errand *e, const char *const *lines)
{
	static const char *const none[] = {NULL};

	e->headers = curl_slist_append(NULL, "Expect:");
	if (e->headers == NULL)
		return false;
	for (lines = lines == NULL ? none : lines; *lines != NULL; lines++)
		if (curl_slist_append(e->headers, *lines) == NULL)
			return false;
	return true;
}

static bool
set_request(struct errand *e, const struct errand_ask *ask)
{
	CURL *easy = e->transfer.easy;
	bool ok = true;

#define SET(option, value) \
	(ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK)
	SET(CURLOPT_URL, ask->url);
	if (ask->socket != NULL && ask->socket[0] != '\0')
		SET(CURLOPT_UNIX_SOCKET_PATH, ask->socket);
	SET(CURLOPT_HTTPHEADER, e->headers);
	SET(CURLOPT_TIMEOUT_MS, ask->timeout_ms);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_PROXY, ""); /* whatever the environment says */
	SET(CURLOPT_HEADERFUNCTION, head_line_came);
	SET(CURLOPT_HEADERDATA, e);
	if (ask->body != NULL) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->n);
		SET(CURLOPT_COPYPOSTFIELDS, ask->body);
	}
	if (ask->method != NULL)
		SET(CURLOPT_CUSTOMREQUEST, ask->method);
	if (ask->reach == ERRAND_OUTSIDE) {
		/* A connection to the inside may be open already, to the
		 * model's server. */
		e->transfer.is_alone = true;
		SET(CURLOPT_OPENSOCKETFUNCTION, open_outside);
		SET(CURLOPT_OPENSOCKETDATA, e);
	}
#undef SET
	return ok;
}

struct errand *
errand_start(
    struct relay *r, const struct errand_ask *ask, errand_fn fn, void *arg)
{
	struct errand *e;

	if (r->is_past_errands || r->is_closing ||
	    (e = calloc(1, sizeof(*e))) == NULL)
		return NULL;
	e->relay = r;
	e->fn = fn;
	e->arg = arg;
	e->max_bytes = ask->max_bytes;
	e->transfer.on_head = head_came;
	e->transfer.on_body = body_came;
	e->transfer.on_end = ended;
	e->transfer.arg = e;
	e->host = host_of(ask->url);
	if (e->host == NULL || !add_headers(e, ask->headers) ||
	    !upstream_prepare(r->upstream, &e->transfer)) {
		errand_free(e);
		return NULL;
	}
	if (!set_request(e, ask)) {
		curl_easy_cleanup(e->transfer.easy);
		errand_free(e);
		return NULL;
	}
	if (!upstream_go(&e->transfer)) {
		errand_free(e);
		return NULL;
	}
	remember(e);
	return e;
}

void
errand_stop(struct errand *e)
{
	if (e == NULL)
		return;
	upstream_stop(&e->transfer);
	forget(e);
	errand_free(e);
}

void
errand_so_far(struct errand *e, struct errand_end *out)
{
	*out = (struct errand_end){
	    .code = CURLE_ABORTED_BY_CALLBACK,
	    .status = e->status,
	    .type = e->type == NULL ? "" : e->type,
	    .body = buf_text(&e->body),
	    .n = e->body.n,
	    .why = "the worker had to stop",
	    .is_too_large = e->is_too_large,
	    .was_sent = true,
	};
}

/* Takes the first one off the list. */
static struct errand *
take_first(struct relay *r)
{
	struct errand *e = r->errands;

	if (e == NULL)
		return NULL;
	r->errands = e->next;
	if (r->errands != NULL)
		r->errands->prev = NULL;
	e->next = NULL;
	return e;
}

void
errands_end(struct relay *r)
{
	const struct transfer_end end = {
	    .code = CURLE_ABORTED_BY_CALLBACK, .why = "the worker had to stop"};
	struct errand *e;

	r->is_past_errands = true;
	while ((e = take_first(r)) != NULL) {
		upstream_stop(&e->transfer);
		deliver(e, &end);
	}
}
