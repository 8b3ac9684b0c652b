/*
 * A growing byte buffer for the test-support programs.  It owns its bytes;
 * running out of memory ends the program, because a test tool has no better
 * answer.  The bytes are always followed by a NUL that is not counted.
 */
#ifndef SUPPORT_BUF_H
#define SUPPORT_BUF_H

#include <stddef.h>

struct buf {
	char *p;    /* owned; NULL while nothing was ever added */
	size_t n;   /* bytes in use */
	size_t cap; /* bytes allocated */
};

/* Appends n bytes. */
void buf_add(struct buf *b, const void *bytes, size_t n);

/* Appends a NUL-terminated string. */
void buf_puts(struct buf *b, const char *string);

/* Appends formatted text. */
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends bytes escaped for the inside of a JSON string. */
void buf_json(struct buf *b, const char *bytes, size_t n);

/* Removes n bytes from the front; gives the memory back when none is left. */
void buf_drop(struct buf *b, size_t n);

/* Releases the bytes and empties the buffer. */
void buf_free(struct buf *b);

#endif
