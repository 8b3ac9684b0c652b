/*
 * Numbers among words: "3", "thirty-five", "3rd", "third".
 */
#include <string.h>

#include "task/words.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits alone, up to 9999; -1: anything else. */
static int
digits(const char *s, const char **out_end)
{
	int n = 0, count = 0;

	for (; is_digit(*s); s++, count++) {
		if (count == 4)
			return -1;
		n = n * 10 + (*s - '0');
	}
	*out_end = s;
	return count > 0 ? n : -1;
}

int
words_number(const struct words *w, size_t i)
{
	static const char *const names[] = {"zero", "one", "two", "three",
	    "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
	    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
	    "eighteen", "nineteen", "twenty"};
	static const char *const tens[] = {
	    "twenty", "thirty", "forty", "fifty", "sixty"};
	const char *end;

	if (i >= w->n)
		return -1;
	int n = digits(w->at[i].norm, &end);
	if (n >= 0)
		return *end == '\0' ? n : -1;
	/* Asked many times for each word, and most begin otherwise. */
	if (w->at[i].norm[0] == '\0' || !strchr("zotfsen", w->at[i].norm[0]))
		return -1;
	for (size_t k = 0; k < COUNT(names); k++) {
		if (words_is(w, i, names[k]))
			return (int)k;
	}
	/* "thirty", "thirty-five" */
	for (size_t k = 0; k < COUNT(tens); k++) {
		size_t len = strlen(tens[k]);
		if (strncmp(w->at[i].norm, tens[k], len) != 0)
			continue;
		const char *rest = w->at[i].norm + len;
		for (size_t unit = 1; unit <= 9; unit++) {
			if (!strcmp(rest, names[unit]))
				return (int)(k * 10 + 20 + unit);
		}
		return *rest == '\0' ? (int)(k * 10 + 20) : -1;
	}
	return -1;
}

int
words_ordinal(const struct words *w, size_t i)
{
	static const char *const names[] = {"first", "second", "third",
	    "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
	    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth",
	    "sixteenth", "seventeenth", "eighteenth", "nineteenth",
	    "twentieth"};
	const char *end;

	if (i >= w->n)
		return -1;
	int n = digits(w->at[i].norm, &end);
	if (n >= 1 && n <= 31 &&
	    (!strcmp(end, "st") || !strcmp(end, "nd") || !strcmp(end, "rd") ||
		!strcmp(end, "th")))
		return n;
	for (size_t k = 0; k < COUNT(names); k++) {
		if (words_is(w, i, names[k]))
			return (int)k + 1;
	}
	return -1;
}
