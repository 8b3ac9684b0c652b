/*
 * Percent-decoding. Knows nothing of where the bytes stand: what `+`, a slash
 * or a NUL mean is the caller's business.
 */
#include "http/percent.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
percent_next(const char **p, const char *end)
{
	const char *s = *p;
	if (*s != '%') {
		*p = s + 1;
		return (unsigned char)*s;
	}
	if (end - s < 3)
		return -1;
	int high = hex_value(s[1]);
	int low = hex_value(s[2]);
	if (high < 0 || low < 0)
		return -1;
	*p = s + 3;
	return high << 4 | low;
}
