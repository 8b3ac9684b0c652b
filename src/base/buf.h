/*
 * Growing bytes, the only place that reallocates. A zeroed struct is an empty
 * buffer. Growth that fails (no memory, or over `cap` when it is set) makes
 * the buffer `failed`: later appends do nothing and the caller checks once at
 * the end, as with a stream's error flag.
 *
 * Ownership: the buffer owns its bytes until buf_take. Thread: one at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct buf {
	char *p;     /* the bytes; not NUL-terminated, NULL while empty */
	size_t n;    /* bytes in use */
	size_t room; /* bytes allocated */
	size_t cap;  /* most bytes to hold; 0 = no limit */
	bool failed; /* an append did not fit */
};

/* Frees the bytes and leaves an empty buffer with the same cap. */
void buf_free(struct buf *b);

/* Likewise, for a secret: nothing of the bytes stays in memory. What an earlier
 * growth has left behind is out of reach: buf_reserve first. */
void buf_wipe(struct buf *b);

/* Forgets the bytes and a failure, keeps the room. */
void buf_clear(struct buf *b);

/* Makes room for `n` more bytes; false when it cannot. */
bool buf_reserve(struct buf *b, size_t n);

/* Gives back the room that is not used; for bytes that will wait a while. */
void buf_fit(struct buf *b);

/* Appends `n` bytes. */
void buf_add(struct buf *b, const void *p, size_t n);

/* Appends a NUL-terminated string without its NUL. */
void buf_puts(struct buf *b, const char *s);

/* Appends one byte. */
void buf_putc(struct buf *b, char c);

/* Appends formatted text. */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * The bytes as a NUL-terminated string, "" when there are none or no room for
 * the NUL; valid until the next append. The NUL is not counted.
 */
const char *buf_text(struct buf *b);

/* Drops the first `n` bytes (n <= b->n); the rest moves down. */
void buf_drop(struct buf *b, size_t n);

/*
 * The bytes as a NUL-terminated string that the caller frees; NULL when the
 * buffer failed. The buffer is empty afterwards.
 */
char *buf_take(struct buf *b);

#endif
