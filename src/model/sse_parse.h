/*
 * An incremental parser of server-sent events that survives any split of the
 * bytes, LF, CR and CRLF, comments, unknown fields, a BOM, several data lines,
 * and lines longer than a limit (skipped whole and counted). It allocates only
 * the event being read.
 *
 * Thread: any; pure. Fuzzed.
 */
#ifndef MODEL_SSE_PARSE_H
#define MODEL_SSE_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Called for each event with data; `event` is "" unless named. */
typedef void (*sse_event_fn)(
    void *arg, const char *event, const char *data, size_t n);

struct sse_parser {
	sse_event_fn on_event;
	void *arg;
	size_t line_max;  /* longest line taken, in bytes */
	size_t event_max; /* longest event taken, in bytes */
	struct buf line;  /* the unfinished line */
	struct buf data;  /* data lines so far, joined with LF */
	char event[64];   /* name of the event being read */
	bool has_data;    /* a data line was seen since the last dispatch */
	bool after_cr;    /* the last byte was CR: swallow an LF */
	bool is_skipping; /* inside an over-long line or event */
	bool has_begun;   /* the BOM was looked for */
	unsigned long skipped; /* over-long lines and events dropped */
};

void sse_parser_init(struct sse_parser *p, sse_event_fn fn, void *arg,
    size_t line_max, size_t event_max);
void sse_parser_feed(struct sse_parser *p, const char *bytes, size_t n);

/* The input ended: an event without its blank line is dispatched too. */
void sse_parser_end(struct sse_parser *p);
void sse_parser_free(struct sse_parser *p);

#endif
