/*
 * The model's side of the relay: libcurl's multi interface on libuv. One
 * transfer is one request to the model's server, or an errand (errand.h); its
 * bytes and its end come back by callbacks, never from inside upstream_start.
 * The end is always delivered after libcurl returned, so that a callback may
 * start or stop any transfer (removing a handle inside libcurl's own callback
 * is forbidden).
 *
 * Ownership: the embedding object holds `struct transfer` from
 * upstream_start until on_end was called or upstream_stop returned. Thread:
 * relay.
 */
#ifndef SERVER_UPSTREAM_H
#define SERVER_UPSTREAM_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/errors.h"
#include "model/model_server.h"

struct config;
struct upstream;
struct upstream_lane;

/* What became of a transfer. */
struct transfer_end {
	CURLcode code;      /* libcurl's verdict */
	long status;        /* HTTP status; 0 when none came */
	long retry_after_s; /* the server's Retry-After; 0 when absent */
	bool was_sent;      /* a byte of the request may have gone out */
	const char *why;    /* libcurl's sentence, for the log */
};

struct transfer {
	enum model_place place; /* whom to ask; before upstream_start */

	/* Called once, when the status line and headers of the answer are in;
	 * content_type may be NULL. */
	void (*on_head)(void *arg, long status, const char *content_type);
	/* Called with each piece of the body. False: stop reading. */
	bool (*on_body)(void *arg, const char *p, size_t n);
	void (*on_end)(void *arg, const struct transfer_end *end);
	void *arg;

	/* Private. */
	CURL *easy;
	struct upstream_lane *lane;
	bool has_head;
	bool is_last;  /* its connection is closed after it */
	bool is_alone; /* and was made for it: set before upstream_go */
	char why[CURL_ERROR_SIZE];
};

/* Makes the machine; NULL without memory. curl_global_init came before. */
struct upstream *upstream_new(uv_loop_t *loop, const struct config *config);

/* All transfers must have ended. Frees after the loop ran once more. */
void upstream_free(struct upstream *u);

/*
 * Sends `body` (`n` bytes, borrowed until the end) to
 * {base URL of t->place}/chat/completions. ERR_INTERNAL without memory.
 */
enum err upstream_start(struct upstream *u, struct transfer *t,
    const char *body, size_t n) MUST_CHECK;

/*
 * The same in two halves, for requests to somebody else: prepare sets what all
 * requests have in common, the caller its URL and the rest in t->easy. False:
 * no memory.
 */
bool upstream_prepare(struct upstream *u, struct transfer *t) MUST_CHECK;
bool upstream_go(struct transfer *t) MUST_CHECK;

/* What libcurl is given for a socket; CURLOPT_OPENSOCKETDATA is the lane. */
curl_socket_t upstream_open_socket(
    void *lane, curlsocktype purpose, struct curl_sockaddr *at);

/* Has libcurl sent all `n` bytes of the request's body? Then it will not read
 * them again: an answer has begun. */
bool upstream_has_sent(const struct transfer *t, size_t n);

/* Breaks the transfer off; on_end will not be called. Not from on_body or
 * on_head. */
void upstream_stop(struct transfer *t);

#endif
