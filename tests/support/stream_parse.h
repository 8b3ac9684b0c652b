/*
 * Reads one HTTP/1.1 response with an SSE body, in whatever pieces it comes.
 * Owns only the unfinished line and event; knows nothing of sockets.  Made
 * for ten thousand at a time: a whole line is never copied.
 */
#ifndef STREAM_PARSE_H
#define STREAM_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* The terminal ones are DONE and ERROR. */
enum event_kind {
	EVENT_OTHER,
	EVENT_START,
	EVENT_DELTA,
	EVENT_DONE,
	EVENT_ERROR
};

/* Data is NUL-terminated and belongs to the parser. */
typedef void (*event_fn)(
    void *context, enum event_kind kind, const struct buf *data);

enum response_state {
	AT_STATUS,
	AT_HEADER,
	AT_CHUNK_SIZE,
	AT_CHUNK,
	AT_CHUNK_END,
	AT_TRAILER,
	AT_REST, /* a sized body, or one that the close ends */
	AT_END,
};

struct response {
	enum response_state state;
	int status; /* 0 until the status line was read */
	bool is_sse, is_chunked;
	size_t left;     /* bytes of this chunk or of the sized body */
	struct buf line; /* unfinished head, chunk size or trailer line */
	struct buf sse;  /* unfinished SSE line */
	struct buf data; /* data of the event being read */
	enum event_kind kind;
	bool is_named; /* it had an event: line */
};

/* Reads on; calls event for every event that is complete. */
void response_feed(
    struct response *r, const char *p, size_t n, event_fn event, void *context);

/* Releases the buffers. */
void response_free(struct response *r);

#endif
