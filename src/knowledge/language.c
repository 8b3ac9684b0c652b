/*
 * Counts common words. Must not know what the language is for.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "knowledge/language.h"

#define WORDS_MAX  2000
#define LETTERS    16 /* no word of the table is longer, in bytes */
#define LEAST_HITS 2
#define ONE_IN     10 /* words that must be hits */

enum {
	EN = 1 << 0,
	DE = 1 << 1,
	FR = 1 << 2,
	ES = 1 << 3,
	IT = 1 << 4,
	PT = 1 << 5,
	NL = 1 << 6,
	SV = 1 << 7,
	DA = 1 << 8,
	FI = 1 << 9,
	LANGUAGES = 10
};

static const char *const codes[LANGUAGES] = {
    "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "fi"};

struct word {
	const char *text;
	unsigned languages;
};

static const struct word words[] = {
#define WORD(text, languages) {text, languages},
#include "knowledge/stopwords.def"
#undef WORD
};

static int
compare(const void *key, const void *row)
{
	return strcmp(key, ((const struct word *)row)->text);
}

static bool
is_letter(unsigned char c)
{
	return c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Signs of Latin-1 and of general punctuation at `p`, in bytes; 0: none. */
static size_t
sign_at(const char *p, size_t n)
{
	if (n > 1 && !memcmp(p, "\xc2", 1))
		return 2;
	return n > 2 && !memcmp(p, "\xe2\x80", 2) ? 3 : 0;
}

static bool
begins_letter(const char *p, size_t n)
{
	return is_letter((unsigned char)*p) && sign_at(p, n) == 0;
}

/* A capital of ASCII or Latin-1 (C3 80 to C3 9E) in lower case. */
static char
lower(const char *p, size_t i)
{
	unsigned char c = (unsigned char)p[i];
	if (c >= 'A' && c <= 'Z')
		return (char)(c + 32);
	if (i > 0 && (unsigned char)p[i - 1] == 0xc3 && c >= 0x80 && c <= 0x9e)
		return (char)(c + 32);
	return (char)c;
}

/* The languages that have this word among their commonest. */
static unsigned
look_up(const char *p, size_t n)
{
	char text[LETTERS + 1];
	if (n > LETTERS)
		return 0;
	for (size_t i = 0; i < n; i++)
		text[i] = lower(p, i);
	text[n] = '\0';
	const struct word *found = bsearch(text, words,
	    sizeof(words) / sizeof(*words), sizeof(*words), compare);
	return found ? found->languages : 0;
}

/* The language with most hits, if it has enough of them and more than any. */
static const char *
judge(const size_t hits[static LANGUAGES], size_t total)
{
	size_t best = 0, second = 0;
	for (size_t i = 1; i < LANGUAGES; i++)
		if (hits[i] > hits[best])
			best = i;
	for (size_t i = 0; i < LANGUAGES; i++)
		if (i != best && hits[i] > second)
			second = hits[i];
	if (hits[best] < LEAST_HITS || hits[best] == second ||
	    hits[best] * ONE_IN < total)
		return NULL;
	return codes[best];
}

const char *
language_guess(const char *p, size_t n)
{
	size_t hits[LANGUAGES] = {0}, total = 0;
	size_t at = 0;

	while (at < n && total < WORDS_MAX) {
		size_t begin = at;
		while (at < n && begins_letter(p + at, n - at))
			at++;
		if (at == begin) {
			size_t sign = sign_at(p + at, n - at);
			at += sign > 0 ? sign : 1;
			continue;
		}
		unsigned languages = look_up(p + begin, at - begin);
		for (size_t i = 0; i < LANGUAGES; i++)
			hits[i] += languages >> i & 1;
		total++;
	}
	return judge(hits, total);
}
