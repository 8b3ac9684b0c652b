/*
 * What the fuzz drivers share. A driver is one LLVMFuzzerTestOneInput: linked
 * with libFuzzer it searches (make fuzz), linked with replay.c it runs over its
 * corpus (make check). A promise that does not hold ends the process.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_PROMISE(holds)                                                    \
	do {                                                                   \
		if (!(holds)) {                                                \
			(void)fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, \
			    __LINE__, #holds);                                 \
			abort();                                               \
		}                                                              \
	} while (0)

/* The length of the next piece of `left` bytes, from a seed that moves on. */
static inline size_t
fuzz_piece(uint32_t *seed, size_t left)
{
	size_t n;

	*seed = *seed * 1664525u + 1013904223u;
	n = 1 + (*seed >> 24) % ((*seed >> 20 & 1) != 0 ? 3 : 40);
	return n < left ? n : left;
}

#endif
