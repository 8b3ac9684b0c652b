/*
 * Request memory: a chain of blocks with a bump offset. The first block is
 * part of the arena itself, so a short request never reaches malloc. Owns its
 * blocks; knows nothing of requests.
 *
 * Under AddressSanitizer what was not handed out is poisoned, so that a read
 * past an object or after arena_reset is found as with malloc.
 */
#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define FIRST_BLOCK 8192
#define BLOCK_MAX   ((size_t)256 * 1024)
#define ALIGNMENT   alignof(max_align_t)

struct block {
	struct block *older;
	size_t room;
	size_t used;
	alignas(max_align_t) unsigned char bytes[];
};

struct arena {
	struct block *newest; /* NULL while the first block suffices */
	size_t cap;
	size_t used; /* of the cap: bytes and their padding */
	size_t first_used;
	size_t next_room; /* of the next block */
	alignas(max_align_t) unsigned char first[FIRST_BLOCK];
};

static void
free_blocks(struct arena *a)
{
	while (a->newest) {
		struct block *b = a->newest;
		a->newest = b->older;
		ASAN_UNPOISON_MEMORY_REGION(b->bytes, b->room);
		free(b);
	}
}

static struct block *
add_block(struct arena *a, size_t n)
{
	size_t room = n > a->next_room ? n : a->next_room;
	size_t size;
	if (__builtin_add_overflow(sizeof(struct block), room, &size))
		return NULL;
	struct block *b = malloc(size);
	if (!b)
		return NULL;
	if (a->next_room < BLOCK_MAX)
		a->next_room *= 2;
	b->room = room;
	b->used = 0;
	b->older = a->newest;
	a->newest = b;
	ASAN_POISON_MEMORY_REGION(b->bytes, room);
	return b;
}

/*
 * `n` bytes at `align`. The padding is charged to the cap too, or a million
 * one-byte objects would weigh sixteen.
 */
static void *
take(struct arena *a, size_t n, size_t align)
{
	struct block *b = a->newest;
	unsigned char *bytes = b ? b->bytes : a->first;
	size_t room = b ? b->room : FIRST_BLOCK;
	size_t *used = b ? &b->used : &a->first_used;
	size_t pad = -*used & (align - 1);
	size_t need;
	if (__builtin_add_overflow(n, pad, &need) || need > a->cap - a->used)
		return NULL;
	if (need > room - *used) {
		b = add_block(a, n);
		if (!b)
			return NULL;
		bytes = b->bytes;
		used = &b->used;
		pad = 0;
		need = n;
	}
	void *p = bytes + *used + pad;
	*used += need;
	a->used += need;
	ASAN_UNPOISON_MEMORY_REGION(p, n);
	return p;
}

struct arena *
arena_new(size_t cap)
{
	struct arena *a = malloc(sizeof(*a));
	if (!a)
		return NULL;
	a->newest = NULL;
	arena_reset(a, cap);
	return a;
}

void
arena_free(struct arena *a)
{
	if (!a)
		return;
	free_blocks(a);
	ASAN_UNPOISON_MEMORY_REGION(a->first, FIRST_BLOCK);
	free(a);
}

void
arena_reset(struct arena *a, size_t cap)
{
	free_blocks(a);
	a->cap = cap;
	a->used = 0;
	a->first_used = 0;
	a->next_room = (size_t)FIRST_BLOCK * 2;
	ASAN_POISON_MEMORY_REGION(a->first, FIRST_BLOCK);
}

void
arena_set_cap(struct arena *a, size_t cap)
{
	a->cap = cap;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	void *p = take(a, n, ALIGNMENT);
	return p ? memset(p, 0, n) : NULL;
}

void *
arena_array(struct arena *a, size_t count, size_t size)
{
	size_t n;
	if (__builtin_mul_overflow(count, size, &n))
		return NULL;
	return arena_alloc(a, n);
}

char *
arena_strndup(struct arena *a, const char *p, size_t n)
{
	size_t size;
	if (__builtin_add_overflow(n, 1, &size))
		return NULL;
	char *copy = take(a, size, 1);
	if (!copy)
		return NULL;
	if (n)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	char *s = take(a, (size_t)n + 1, 1);
	if (s)
		(void)vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
