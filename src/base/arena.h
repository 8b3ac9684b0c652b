/*
 * Memory that lives as long as one request: allocate, never free, reset once.
 * The first block (8 KiB) is kept over resets, so that a short request costs
 * no malloc. A hard cap turns a hostile request into ERR_TOO_LARGE instead of
 * an out-of-memory: arena_alloc returns NULL beyond it, and every maker of
 * strings here passes the NULL on.
 *
 * Ownership: whoever made the arena frees it; pointers into it die with
 * arena_reset. Thread: one at a time; an arena may change threads whole.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/errors.h"

struct arena;

/* A new arena that will hand out at most `cap` bytes; NULL without memory. */
struct arena *arena_new(size_t cap);

/* Frees the arena and all that it handed out. NULL is fine. */
void arena_free(struct arena *a);

/* Takes everything back and sets a new cap; keeps the first block. */
void arena_reset(struct arena *a, size_t cap);

/* Sets a new cap without taking anything back. */
void arena_set_cap(struct arena *a, size_t cap);

/* `n` bytes, zeroed, aligned for any type; NULL beyond the cap. */
void *arena_alloc(struct arena *a, size_t n);

/* `count` objects of `size` bytes, zeroed; NULL on overflow or the cap. */
void *arena_array(struct arena *a, size_t count, size_t size);

/* A NUL-terminated copy of the `n` bytes at `p`; NULL beyond the cap. */
char *arena_strndup(struct arena *a, const char *p, size_t n);

/* A copy of the string `s`; NULL for NULL or beyond the cap. */
char *arena_strdup(struct arena *a, const char *s);

/* A formatted string; NULL beyond the cap. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *a);

#endif
