/*
 * One HTTP request of the relay to somebody who is not the model of a reply in
 * flight: a site's tool, a model asked on the side. It goes out on the relay's
 * own machine (upstream.h): one loop, nothing blocks. The answer is collected
 * up to a size and handed over whole.
 *
 * No redirect is followed, no proxy of the environment used, no answer
 * unpacked. Names are looked up on libcurl's own thread.
 *
 * Ownership: the errand is the relay's from errand_start until fn was called
 * or errand_stop returned; what `ask` points to is copied. Thread: relay.
 */
#ifndef SERVER_ERRAND_H
#define SERVER_ERRAND_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

struct errand;
struct relay;

/* Whose address it is. */
enum errand_reach {
	/* The administrator's, from the settings: wherever it lies. */
	ERRAND_TRUSTED,
	/* Somebody else's: never inside the network, unless CHAT_TOOLS_ALLOW
	 * says so. What counts is the address that is really connected to;
	 * each such errand has a connection of its own. */
	ERRAND_OUTSIDE,
};

struct errand_ask {
	const char *url;            /* http:// or https:// */
	const char *socket;         /* of a local server; NULL or "": by TCP */
	const char *method;         /* NULL: POST with a body, GET without */
	const char *const *headers; /* "Name: value" lines, NULL at the end */
	const char *body;           /* NULL: none */
	size_t n;                   /* its bytes */
	long timeout_ms;            /* for everything */
	size_t max_bytes;           /* of the answer's body */
	enum errand_reach reach;
};

/* What became of it. Gone when fn returns. */
struct errand_end {
	CURLcode code;      /* libcurl's verdict */
	long status;        /* HTTP status; 0 when none came */
	long retry_after_s; /* the server's Retry-After; 0 when absent */
	const char *type;   /* Content-Type; "" when absent */
	const char *body;   /* NUL-terminated, never NULL */
	size_t n;
	const char *why;   /* a sentence for the log */
	bool is_too_large; /* the answer was longer than max_bytes: cut */
	bool is_inside;    /* never connected: the address is inside */
	bool was_sent;     /* a byte of the request may have gone out */
};

/* May start and stop errands, this one excepted: it is gone. */
typedef void (*errand_fn)(void *arg, const struct errand_end *end);

/* NULL: no memory, or no URL that libcurl takes. fn is never called from
 * inside. */
struct errand *errand_start(
    struct relay *r, const struct errand_ask *ask, errand_fn fn, void *arg);

/* Breaks it off; fn will not be called. Not after fn was. NULL is fine. */
void errand_stop(struct errand *e);

/* What has come by now, valid until the errand goes on or ends; its code is
 * CURLE_ABORTED_BY_CALLBACK. For who breaks it off and wants to know. */
void errand_so_far(struct errand *e, struct errand_end *out);

/* Ends all that are left, with CURLE_ABORTED_BY_CALLBACK: the worker stops. */
void errands_end(struct relay *r);

#endif
