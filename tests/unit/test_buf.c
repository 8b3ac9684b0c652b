/*
 * The buffer: growth, the cap, the sticky failure and taking.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* AddressSanitizer ends the process for a huge size unless told otherwise. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static bool
holds(const struct buf *b, const char *want)
{
	size_t n = strlen(want);
	return b->n == n && (n == 0 || memcmp(b->p, want, n) == 0);
}

Test(buf, a_zeroed_struct_is_an_empty_buffer)
{
	struct buf b = {0};
	cr_expect(holds(&b, ""));
	buf_clear(&b);
	buf_drop(&b, 0);
	buf_free(&b);
	cr_expect_null(b.p);
}

Test(buf, one_that_was_wiped_is_empty)
{
	struct buf b = {.cap = 5};
	buf_wipe(&b);
	buf_puts(&b, "secret");
	cr_expect(b.failed);
	buf_wipe(&b);
	buf_puts(&b, "key");
	buf_wipe(&b);
	cr_expect_null(b.p);
	cr_expect_eq(b.room, 0);
	buf_puts(&b, "again");
	cr_expect(holds(&b, "again"));
	cr_expect_eq(b.cap, 5);
	buf_free(&b);
}

Test(buf, room_that_is_not_used_is_given_back)
{
	struct buf b = {0};
	buf_fit(&b);
	cr_expect_null(b.p);
	buf_puts(&b, "abc");
	buf_fit(&b);
	cr_expect(holds(&b, "abc"));
	cr_expect_eq(b.room, 3);
	buf_puts(&b, "d");
	cr_expect(holds(&b, "abcd"));
	buf_clear(&b);
	buf_fit(&b);
	cr_expect_null(b.p);
	cr_expect_eq(b.room, 0);
	buf_free(&b);
}

Test(buf, appends_of_every_kind_join)
{
	struct buf b = {0};
	buf_add(&b, "ab", 2);
	buf_add(&b, NULL, 0);
	buf_puts(&b, "");
	buf_puts(&b, "cd");
	buf_putc(&b, 'e');
	buf_printf(&b, "%d%s", 12, "x");
	cr_expect(holds(&b, "abcde12x"));
	buf_free(&b);
}

Test(buf, formats_text_longer_than_its_scratch)
{
	static const int lengths[] = {0, 1, 254, 255, 256, 257, 5000};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct buf b = {0};
		buf_printf(&b, "%*s", lengths[i], "");
		cr_expect_eq(b.n, (size_t)lengths[i]);
		buf_free(&b);
	}
}

Test(buf, fills_up_to_the_cap_and_not_beyond)
{
	static const size_t caps[] = {1, 2, 255, 256, 257, 1000};
	for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		struct buf b = {.cap = caps[i]};
		for (size_t k = 0; k < caps[i]; k++)
			buf_putc(&b, 'x');
		cr_expect_not(b.failed);
		cr_expect_eq(b.n, caps[i]);
		cr_expect_leq(b.room, caps[i]);
		buf_putc(&b, 'y');
		cr_expect(b.failed);
		cr_expect_eq(b.n, caps[i]);
		buf_free(&b);
		cr_expect_eq(b.cap, caps[i]);
		cr_expect_not(b.failed);
	}
}

Test(buf, after_a_failure_appends_do_nothing)
{
	struct buf b = {.cap = 4};
	buf_puts(&b, "abc");
	buf_puts(&b, "de");
	buf_putc(&b, 'f'); /* would fit, but what precedes it is missing */
	buf_printf(&b, "g");
	cr_expect(b.failed);
	cr_expect(holds(&b, "abc"));
	cr_expect_not(buf_reserve(&b, 0));
	cr_expect_null(buf_take(&b));
	cr_expect_not(b.failed);
	cr_expect(holds(&b, ""));
}

Test(buf, clear_makes_it_usable_again)
{
	struct buf b = {.cap = 4};
	buf_puts(&b, "abcde");
	cr_assert(b.failed);
	buf_clear(&b);
	buf_puts(&b, "abcd");
	cr_expect(holds(&b, "abcd"));
	buf_free(&b);
}

Test(buf, refuses_lengths_that_overflow)
{
	struct buf b = {0};
	buf_puts(&b, "abc");
	cr_expect_not(buf_reserve(&b, SIZE_MAX));
	cr_expect(b.failed);
	buf_free(&b);
	cr_expect_not(buf_reserve(&b, SIZE_MAX / 2), "no such memory");
	buf_free(&b);
}

Test(buf, drops_from_the_front)
{
	static const struct {
		size_t n;
		const char *want;
	} rows[] = {{0, "abcdef"}, {1, "bcdef"}, {5, "f"}, {6, ""}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b = {0};
		buf_puts(&b, "abcdef");
		buf_drop(&b, rows[i].n);
		cr_expect(holds(&b, rows[i].want), "%zu", rows[i].n);
		buf_free(&b);
	}
}

Test(buf, take_gives_a_string_and_leaves_an_empty_buffer)
{
	struct buf b = {.cap = 256};
	char *s = buf_take(&b);
	cr_expect_str_eq(s, "");
	free(s);
	buf_printf(&b, "%0*d", 256, 1); /* the NUL does not count */
	s = buf_take(&b);
	cr_expect_eq(strlen(s), 256);
	cr_expect_null(b.p);
	cr_expect_eq(b.room, 0);
	buf_puts(&b, "again");
	cr_expect(holds(&b, "again"));
	free(s);
	buf_free(&b);
}

Test(buf, bytes_may_be_nul)
{
	struct buf b = {0};
	buf_add(&b, "a\0b", 3);
	cr_expect_eq(b.n, 3);
	cr_expect_eq(memcmp(b.p, "a\0b", 3), 0);
	buf_free(&b);
}
