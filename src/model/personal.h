/*
 * Finds what belongs to a person in a text: e-mail addresses, phone numbers,
 * numbers of payment cards. Of numbers only what has the shape of one: a phone
 * number begins with + or 00 and a country, or is written as people write those
 * of their own country (a leading 0 and a separator; North America's 3-3-4);
 * a card's has a known beginning, a length that goes with it, and Luhn's digit.
 * Orders, dates, versions, addresses of hosts and prices look different, or a
 * word before them says so.
 *
 * What is found has no quotation mark, no backslash and no control character in
 * it: it can stand inside a JSON string as it is.
 *
 * Takes any bytes. Time grows with the text, whatever is in it. Thread: any;
 * pure.
 */
#ifndef MODEL_PERSONAL_H
#define MODEL_PERSONAL_H

#include <stdbool.h>
#include <stddef.h>

enum personal_kind {
	PERSONAL_EMAIL,
	PERSONAL_PHONE,
	PERSONAL_CARD,
};

/* Bytes [start, end) of the text. */
struct personal {
	enum personal_kind kind;
	size_t start, end;
};

struct personal_scan {
	const char *p; /* borrowed */
	size_t n;
	size_t at;            /* everything before it has been looked at */
	struct personal mail; /* the next address; start == n: none is left */
};

void personal_scan_init(struct personal_scan *s, const char *p, size_t n);

/* The next one; false: there is none. They do not overlap. */
bool personal_scan_next(struct personal_scan *s, struct personal *out);

/* personal_number.c: how long the number at `at` is that may not go beyond
 * `end`: 0 where there is none; *out_skip bytes of it need not be looked at
 * again then. */
size_t personal_number(const struct personal_scan *s, size_t at, size_t end,
    struct personal *out, size_t *out_skip);

#endif
