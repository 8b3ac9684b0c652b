/*
 * A small HTTP client for end-to-end tests: libcurl, blocking, one handle a
 * call. What cannot happen in a healthy test (no memory, a bad URL) aborts.
 *
 * Thread: any, one call at a time per struct.
 */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <curl/curl.h>
#include <json-c/json.h>

#include "base/buf.h"

/* What to ask. Zeroed members are left out. */
struct ask {
	const char *method;      /* GET when NULL */
	const char *base;        /* "http://127.0.0.1:8080" */
	const char *path;        /* "/api/v1/…" */
	const char *token;       /* for Authorization: Bearer */
	const char *json;        /* the body, sent as application/json */
	const char *type;        /* another Content-Type for the body */
	const char *headers[8];  /* further "Name: value" lines */
	const char *unix_socket; /* instead of the base's host and port */
	const char *jar;   /* a file that keeps cookies as a browser does */
	long timeout_ms;   /* 20,000 when 0 */
	int hang_up_after; /* SSE: hang up after so many events; 0 = never */
	void (*on_event)(void *arg, int n); /* SSE: after each event */
	void *arg;
};

/* One server-sent event. */
struct event {
	char *id; /* of this very event, "" for none; set at the answer's end */
	char *name;
	char *data;
};

struct answer {
	CURLcode code; /* libcurl's verdict; CURLE_WRITE_ERROR after hang-up */
	long status;
	struct buf head;      /* NUL-terminated headers */
	struct buf body;      /* NUL-terminated body */
	struct event *events; /* when the body was an event stream */
	size_t n_events;
	struct buf text; /* NUL-terminated: the deltas' texts joined */
};

/* Asks and fills `a`, which the caller clears. */
void http_ask(const struct ask *ask, struct answer *a);
void answer_clear(struct answer *a);

/* The value of a response header, NULL when absent; valid until the next call.
 */
const char *answer_header(const struct answer *a, const char *name);

/* A member of the body as text ("a.b" goes down), "" when absent. */
const char *answer_text(const struct answer *a, const char *path);

/* The same of the data of the last event named `event`. */
const char *
answer_event_text(const struct answer *a, const char *event, const char *path);

/* Does the stream end with this event? */
bool answer_ends_with(const struct answer *a, const char *event);

#endif
