/*
 * Positions as text and back.
 */
#include <inttypes.h>
#include <stdio.h>

#include "chat/reply_position.h"

void
reply_position_print(
    struct reply_position at, char out_text[static REPLY_POSITION_TEXT])
{
	(void)snprintf(out_text, REPLY_POSITION_TEXT, "%" PRIu64 "-%" PRIu64,
	    at.n, at.bytes);
}

/* Digits without a zero before them, as printed; moves *p behind them. */
static bool
read_number(const char **p, const char *end, uint64_t *out_number)
{
	const char *begin = *p;
	uint64_t number = 0;

	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(
			number, (uint64_t)(**p - '0'), &number))
			return false;
	}
	if (*p == begin || (*begin == '0' && *p - begin > 1))
		return false;
	*out_number = number;
	return true;
}

bool
reply_position_parse(const char *text, size_t n, struct reply_position *out_at)
{
	const char *p = text, *end = text + n;
	struct reply_position at;

	if (!read_number(&p, end, &at.n) || p == end || *p++ != '-' ||
	    !read_number(&p, end, &at.bytes) || p != end)
		return false;
	*out_at = at;
	return true;
}
