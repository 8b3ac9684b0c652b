/*
 * Makes the stand-in's pseudo-random reply text.  Must not know anything else:
 * tests link this file by itself.
 */
#include <string.h>

#include "standin_text.h"

/* What a draw can give besides a letter: all that breaks escaping somewhere. */
static const char *const oddities[] = {
    " ",
    " ",
    " ",
    " ",
    " ",
    " ",
    " ",
    " ",
    "\n",
    "\"",
    "\\",
    "/",
    "<&>",
    "é",
    "ß",
    "€",
    "日本",
    "😀",
    "\\n",
    "'",
    "%s",
    "{}",
    ", ",
    ". ",
};

enum {
	ODDITIES = sizeof(oddities) / sizeof(oddities[0]),
	DRAWS = 96, /* of which ODDITIES are oddities, the others letters */
};

/* splitmix64: one step of a well-known generator that any seed suits. */
static uint64_t
draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void
standin_text(uint64_t seed, size_t n, char *out)
{
	size_t at = 0;

	while (at < n) {
		uint64_t value = draw(&seed), which = value % DRAWS;
		char letter = (char)('a' + (value >> 32) % 26);
		const char *piece = which < ODDITIES ? oddities[which] : "";
		size_t len = strlen(piece);

		/* The room after a piece always lets a letter come last. */
		if (len > 0 && at > 0 && len < n - at) {
			memcpy(out + at, piece, len);
			at += len;
		} else {
			out[at++] = letter;
		}
	}
}
