/*
 * The arena: alignment, the cap, overflow and what reset keeps.
 */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

#define MIB ((size_t)1024 * 1024)

Test(arena, hands_out_aligned_zeroed_memory_of_any_size)
{
	static const size_t sizes[] = {
	    0, 1, 7, 8, 15, 16, 17, 4096, 8191, 8192, 8193, 100000, 300000};
	struct arena *a = arena_new(4 * MIB);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			unsigned char *p = arena_alloc(a, sizes[i]);
			cr_assert_not_null(p, "%zu bytes", sizes[i]);
			cr_assert_eq((uintptr_t)p % alignof(max_align_t), 0);
			for (size_t k = 0; k < sizes[i]; k++)
				cr_assert_eq(p[k], 0);
			memset(p, 0xaa, sizes[i]);
			cr_assert_not_null(arena_strndup(a, "x", 1));
		}
		arena_reset(a, 4 * MIB);
	}
	arena_free(a);
}

Test(arena, objects_do_not_overlap)
{
	enum { N = 2000 };
	struct arena *a = arena_new(8 * MIB);
	unsigned char *p[N];
	for (size_t i = 0; i < N; i++) {
		p[i] = arena_alloc(a, 1 + i % 700);
		cr_assert_not_null(p[i]);
		memset(p[i], (int)(i % 251), 1 + i % 700);
	}
	for (size_t i = 0; i < N; i++) {
		for (size_t k = 0; k < 1 + i % 700; k++)
			cr_assert_eq(p[i][k], i % 251);
	}
	arena_free(a);
}

Test(arena, stops_exactly_at_the_cap)
{
	static const size_t caps[] = {0, 1, 16, 100, 8192, 8193, 70000};
	for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		struct arena *a = arena_new(caps[i]);
		cr_expect_null(arena_alloc(a, caps[i] + 1));
		cr_expect_not_null(arena_alloc(a, caps[i]));
		cr_expect_eq(arena_used(a), caps[i]);
		cr_expect_null(arena_alloc(a, 1));
		cr_expect_null(arena_strdup(a, ""));
		cr_expect_null(arena_printf(a, "%d", 1));
		arena_free(a);
	}
}

Test(arena, charges_padding_to_the_cap)
{
	struct arena *a = arena_new(1000);
	size_t n = 0;
	while (arena_alloc(a, 1))
		n++;
	cr_assert_leq(n, 1000 / alignof(max_align_t) + 1);
	arena_free(a);
}

Test(arena, refuses_sizes_that_overflow)
{
	static const struct {
		size_t count, size;
	} rows[] = {
	    {SIZE_MAX, 2},
	    {2, SIZE_MAX},
	    {SIZE_MAX / 8 + 1, 8},
	    {SIZE_MAX, 1},
	    {SIZE_MAX - 15, 1},
	    {(size_t)1 << 33, (size_t)1 << 33},
	};
	struct arena *a = arena_new(SIZE_MAX);
	cr_assert_not_null(arena_strndup(a, "x", 1)); /* so there is padding */
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_null(arena_array(a, rows[i].count, rows[i].size));
	cr_expect_null(arena_alloc(a, SIZE_MAX));
	cr_expect_null(arena_strndup(a, "x", SIZE_MAX));
	cr_expect_eq(arena_used(a), 2);
	cr_expect_not_null(arena_array(a, 0, SIZE_MAX));
	arena_free(a);
}

Test(arena, reset_takes_everything_back_and_keeps_the_first_block)
{
	struct arena *a = arena_new(MIB);
	void *first = arena_alloc(a, 100);
	cr_assert_not_null(arena_alloc(a, 50000));
	arena_reset(a, 200);
	cr_expect_eq(arena_used(a), 0);
	cr_expect_eq(arena_alloc(a, 100), first);
	cr_expect_null(arena_alloc(a, 150), "the new cap counts");
	arena_free(a);
}

Test(arena, copies_strings_with_their_end)
{
	struct arena *a = arena_new(MIB);
	char *s = arena_strndup(a, "abc\0def", 7);
	cr_expect_eq(memcmp(s, "abc\0def", 8), 0);
	cr_expect_str_eq(arena_strndup(a, NULL, 0), "");
	cr_expect_str_eq(arena_strdup(a, "xyz"), "xyz");
	cr_expect_null(arena_strdup(a, NULL));
	arena_free(a);
}

Test(arena, formats_text_of_any_length)
{
	struct arena *a = arena_new(MIB);
	cr_expect_str_eq(arena_printf(a, "%s-%d", "a", 7), "a-7");
	cr_expect_str_eq(arena_printf(a, "%s", ""), "");
	char *s = arena_printf(a, "%0*d", 20000, 5);
	cr_expect_eq(strlen(s), 20000);
	arena_free(a);
}

Test(arena, freeing_nothing_is_fine)
{
	arena_free(NULL);
}
