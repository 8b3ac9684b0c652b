/*
 * Growing bytes with a cap and a sticky error flag: the only place of the
 * project that calls realloc.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define ROOM_MIN 256

/* The room to ask for when `need` bytes must fit: half as much again as there
 * is. Thousands of replies wait while they grow: a fifth of them would be
 * empty, and with twice the room a third. */
static size_t
next_room(const struct buf *b, size_t need)
{
	size_t room;
	if (__builtin_add_overflow(b->room, b->room / 2, &room))
		room = need;
	if (room < ROOM_MIN)
		room = ROOM_MIN;
	if (room < need)
		room = need;
	if (b->cap && room > b->cap)
		room = b->cap;
	return room;
}

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){.cap = b->cap};
}

void
buf_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->room);
	buf_free(b);
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

bool
buf_reserve(struct buf *b, size_t n)
{
	size_t need;
	if (b->failed)
		return false;
	if (__builtin_add_overflow(b->n, n, &need) ||
	    (b->cap && need > b->cap)) {
		b->failed = true;
		return false;
	}
	if (need <= b->room)
		return true;
	size_t room = next_room(b, need);
	char *p = realloc(b->p, room);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->room = room;
	return true;
}

void
buf_fit(struct buf *b)
{
	char *p;
	if (b->n == 0) {
		free(b->p);
		b->p = NULL;
		b->room = 0;
	} else if (b->n < b->room && (p = realloc(b->p, b->n)) != NULL) {
		b->p = p;
		b->room = b->n;
	}
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !buf_reserve(b, n))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_putc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	char small[256];
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	assert(n >= 0);
	if ((size_t)n < sizeof(small)) {
		buf_add(b, small, (size_t)n);
	} else {
		/* vsnprintf needs room for a NUL that the buffer has not. */
		char *big = malloc((size_t)n + 1);
		if (big) {
			(void)vsnprintf(big, (size_t)n + 1, fmt, again);
			buf_add(b, big, (size_t)n);
			free(big);
		} else {
			b->failed = true;
		}
	}
	va_end(again);
}

const char *
buf_text(struct buf *b)
{
	if (!buf_reserve(b, 1))
		return "";
	b->p[b->n] = '\0';
	return b->p;
}

void
buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->n);
	b->n -= n;
	if (n && b->n)
		memmove(b->p, b->p + n, b->n);
}

char *
buf_take(struct buf *b)
{
	size_t size;
	char *s = NULL;
	if (!b->failed && !__builtin_add_overflow(b->n, 1, &size))
		s = realloc(b->p, size);
	if (!s) {
		buf_free(b);
		return NULL;
	}
	s[b->n] = '\0';
	b->p = NULL;
	buf_free(b);
	return s;
}
