/*
 * Text from outside, made safe to store and compare. Owns nothing; Unicode is
 * libunistring's, base64 and constant time are libsodium's.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"

#define USERNAME_CHARS 64
/* More bytes than 64 characters can have, even when they come decomposed. */
#define USERNAME_RAW   1024
#define USERNAME_BYTES ((size_t)USERNAME_CHARS * 4)

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* How long the sequence that begins with `lead` is; 0 when none does. */
static size_t
sequence_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* May `c` be second after `lead`? (Unicode 15, table 3-7) */
static bool
is_second(unsigned char lead, unsigned char c)
{
	switch (lead) {
	case 0xe0:
		return c >= 0xa0 && c <= 0xbf; /* shorter forms exist below */
	case 0xed:
		return c >= 0x80 && c <= 0x9f; /* surrogates above */
	case 0xf0:
		return c >= 0x90 && c <= 0xbf; /* shorter forms exist below */
	case 0xf4:
		return c >= 0x80 && c <= 0x8f; /* beyond U+10FFFF above */
	default:
		return c >= 0x80 && c <= 0xbf;
	}
}

/*
 * How many of the `n` bytes at `p` belong to one sequence, whole or begun:
 * the "maximal subpart" of the Unicode standard, 3.9. At least 1.
 */
static size_t
subpart(const unsigned char *p, size_t n)
{
	size_t want = sequence_length(p[0]);
	size_t i = 1;
	if (i < want && i < n && is_second(p[0], p[i]))
		i++;
	else
		return 1;
	while (i < want && i < n && (p[i] & 0xc0) == 0x80)
		i++;
	return i;
}

/* Appends valid text without its NULs. */
static void
append_without_nul(struct buf *out, const char *p, size_t n)
{
	const char *end = p + n;
	while (p < end) {
		const char *nul = memchr(p, '\0', (size_t)(end - p));
		const char *stop = nul ? nul : end;
		buf_add(out, p, (size_t)(stop - p));
		p = nul ? nul + 1 : end;
	}
}

/* Narrows `*p` and `*n` to what is left without white space at both ends. */
static void
strip(const uint8_t **p, size_t *n)
{
	ucs4_t c;
	while (*n) {
		int took = u8_mbtouc(&c, *p, *n);
		if (!uc_is_property_white_space(c))
			break;
		*p += took;
		*n -= (size_t)took;
	}
	while (*n) {
		const uint8_t *last = u8_prev(&c, *p + *n, *p);
		if (!last || !uc_is_property_white_space(c))
			break;
		*n = (size_t)(last - *p);
	}
}

/* Is every character one that a name may hold? */
static bool
is_nameable(const uint8_t *p, size_t n)
{
	const uint32_t refused = UC_CATEGORY_MASK_C | UC_CATEGORY_MASK_Z;
	ucs4_t c;
	for (size_t i = 0; i < n;) {
		i += (size_t)u8_mbtouc(&c, p + i, n - i);
		if (uc_is_general_category_withtable(c, refused))
			return false;
	}
	return true;
}

bool
text_is_clean(const char *p, size_t n)
{
	return n == 0 ||
	       (!memchr(p, '\0', n) && !u8_check((const uint8_t *)p, n));
}

size_t
text_length(const char *p, size_t n)
{
	return n ? u8_mbsnlen((const uint8_t *)p, n) : 0;
}

void
text_append_clean(struct buf *out, const char *p, size_t n)
{
	while (n) {
		const uint8_t *bad = u8_check((const uint8_t *)p, n);
		size_t good = bad ? (size_t)((const char *)bad - p) : n;
		append_without_nul(out, p, good);
		p += good;
		n -= good;
		if (bad) {
			size_t skip = subpart(bad, n);
			buf_puts(out, replacement);
			p += skip;
			n -= skip;
		}
	}
}

void
text_mend(char *s)
{
	size_t left = strlen(s), kept = 0;

	for (const char *p = s; left > 0;) {
		size_t n = subpart((const unsigned char *)p, left);
		if (text_is_clean(p, n)) {
			memmove(s + kept, p, n);
			kept += n;
		}
		p += n;
		left -= n;
	}
	s[kept] = '\0';
}

size_t
text_prefix(const char *p, size_t n, size_t max)
{
	size_t cut = n < max ? n : max;
	return cut - text_incomplete_tail(p, cut);
}

size_t
text_incomplete_tail(const char *p, size_t n)
{
	const unsigned char *b = (const unsigned char *)p;
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = b[n - back];
		if ((c & 0xc0) == 0x80)
			continue;
		return sequence_length(c) > back &&
			       subpart(b + n - back, back) == back
			   ? back
			   : 0;
	}
	return 0;
}

enum err
text_username(struct arena *a, const char *s, const char **out_name)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t n = strnlen(s, USERNAME_RAW + 1);
	if (n > USERNAME_RAW || u8_check(p, n))
		return ERR_INVALID_FIELD;
	strip(&p, &n);
	if (n == 0)
		return ERR_INVALID_FIELD;

	/* A result that does not fit these comes back from malloc. */
	uint8_t composed[USERNAME_BYTES], folded[USERNAME_BYTES];
	enum err e = ERR_INVALID_FIELD;
	size_t nc = sizeof(composed), nf = sizeof(folded);
	uint8_t *f = NULL;
	uint8_t *c = u8_normalize(UNINORM_NFC, p, n, composed, &nc);
	if (!c)
		return ERR_INVALID_FIELD;
	f = u8_casefold(c, nc, NULL, UNINORM_NFC, folded, &nf);
	if (f && nf && u8_mbsnlen(f, nf) <= USERNAME_CHARS &&
	    is_nameable(f, nf)) {
		const char *name = arena_strndup(a, (const char *)f, nf);
		e = name ? OK : ERR_TOO_LARGE;
		if (name)
			*out_name = name;
	}
	if (f != folded)
		free(f);
	if (c != composed)
		free(c);
	return e;
}

char *
text_base64url(struct arena *a, const unsigned char *p, size_t n)
{
	const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
	size_t size;
	if (__builtin_mul_overflow(n, (size_t)2, &size)) /* it takes 4/3 */
		return NULL;
	size = sodium_base64_encoded_len(n, variant);
	char *out = arena_alloc(a, size);
	return out ? sodium_bin2base64(out, size, p, n, variant) : NULL;
}

bool
text_from_base64url(const char *s, size_t len, unsigned char *out, size_t n)
{
	/* libsodium refuses spare bits that are not zero and any character
	 * that is not of the alphabet: what is left is canonical. */
	size_t got = 0;
	if (sodium_base642bin(out, n, s, len, NULL, &got, NULL,
		sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
	    got == n)
		return true;
	sodium_memzero(out, n);
	return false;
}

int
text_digits(const char *s, int n)
{
	int number = 0;
	for (int i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		number = number * 10 + (s[i] - '0');
	}
	return number;
}

int
text_month_days(const char *s)
{
	static const int lengths[] = {
	    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	if (strnlen(s, 7) < 7 || s[4] != '-')
		return 0;
	int year = text_digits(s, 4);
	int month = text_digits(s + 5, 2);
	if (year < 1 || month < 1 || month > 12)
		return 0;
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return lengths[month - 1] + (month == 2 && is_leap);
}

bool
text_is_day(const char *s)
{
	if (strnlen(s, 11) != 10 || s[7] != '-')
		return false;
	int day = text_digits(s + 8, 2);
	return day >= 1 && day <= text_month_days(s);
}

int
text_compare_secret(const char *a, const char *b)
{
	size_t n = strlen(a);
	return strlen(b) == n ? sodium_memcmp(a, b, n) : -1;
}
