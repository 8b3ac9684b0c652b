/*
 * The growing byte buffer of the test-support programs, with the one JSON
 * string escaper they share.  Knows nothing of sockets or of any protocol.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_buf.h"

enum { BUF_FIRST_BYTES = 64 };

static void
reserve(struct buf *b, size_t more)
{
	size_t need, cap = b->cap ? b->cap : BUF_FIRST_BYTES;

	if (__builtin_add_overflow(b->n, more, &need) ||
	    __builtin_add_overflow(need, 1, &need))
		abort();
	if (need <= b->cap)
		return;
	while (cap < need && cap <= SIZE_MAX / 2)
		cap *= 2;
	b->p = realloc(b->p, cap);
	if (b->p == NULL || cap < need)
		abort();
	b->cap = cap;
}

void
buf_add(struct buf *b, const void *bytes, size_t n)
{
	reserve(b, n);
	if (n > 0)
		memcpy(b->p + b->n, bytes, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void
buf_puts(struct buf *b, const char *string)
{
	buf_add(b, string, strlen(string));
}

void
buf_printf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	int n;

	reserve(b, 0);
	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(b->p + b->n, b->cap - b->n, format, args);
	assert(n >= 0);
	if ((size_t)n >= b->cap - b->n) {
		reserve(b, (size_t)n);
		vsnprintf(b->p + b->n, b->cap - b->n, format, again);
	}
	b->n += (size_t)n;
	va_end(again);
	va_end(args);
}

static void
escape_byte(struct buf *b, unsigned char byte)
{
	if (byte == '\n')
		buf_puts(b, "\\n");
	else if (byte == '"' || byte == '\\')
		buf_add(b, (char[]){'\\', (char)byte}, 2);
	else
		buf_printf(b, "\\u%04x", byte);
}

void
buf_json(struct buf *b, const char *bytes, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte >= 0x20 && byte != '"' && byte != '\\')
			continue;
		buf_add(b, bytes + from, i - from);
		escape_byte(b, byte);
		from = i + 1;
	}
	buf_add(b, bytes + from, n - from);
}

void
buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (n == b->n) {
		buf_free(b);
		return;
	}
	memmove(b->p, b->p + n, b->n - n + 1);
	b->n -= n;
}

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}
