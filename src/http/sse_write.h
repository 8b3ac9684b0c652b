/*
 * Writing server-sent events (WHATWG HTML, 9.2) into a buffer.
 *
 * Thread: any; pure.
 */
#ifndef HTTP_SSE_WRITE_H
#define HTTP_SSE_WRITE_H

#include <stddef.h>

struct buf;

/* Appends one event; `data` is one line (JSON). id NULL writes no id line. */
void sse_write_event(struct buf *out, const char *id, const char *event,
    const char *data, size_t n);

/* The same for data that the caller writes itself: one line without a break,
 * up to sse_write_close. */
void sse_write_open(struct buf *out, const char *id, const char *event);
void sse_write_close(struct buf *out);

/* Appends one event that has data alone; nothing where there are none. */
void sse_write_data(struct buf *out, const char *data, size_t n);

/* Appends a comment line, which clients ignore: a heartbeat. */
void sse_write_comment(struct buf *out, const char *text);

#endif
