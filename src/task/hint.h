/*
 * A cheap first test of a pattern (pattern.h): a message that has none of the
 * words with which it begins, or none of the words that it cannot do without,
 * does not fit it. Sets of words are bits that a hash of a word names; two
 * words may share one, so that the test lets pass what it need not, and never
 * keeps out what fits.
 *
 * Pure. Thread: any.
 */
#ifndef TASK_HINT_H
#define TASK_HINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "task/words.h"

#define HINT_BITS  1024
#define HINT_MUSTS 3 /* that are remembered of a pattern */

struct hint_set {
	uint64_t bits[HINT_BITS / 64];
};

/* Of a pattern. A set that is not known is let pass by all. */
struct hint {
	struct hint_set first; /* one of these is the first word */
	/* And one of each of these stands somewhere. */
	struct hint_set must[HINT_MUSTS];
	bool has_first;
	size_t n_musts;
};

void hint_make(const char *pattern, struct hint *out);

/* `all` passes what `one` passes, too; both must know their first words. */
void hint_widen(struct hint *all, const struct hint *one);

/* Of a message: each word's bit, and all of them. */
struct hint_words {
	uint16_t bit[WORDS_MAX];
	struct hint_set all;
};

void hint_read(const struct words *w, struct hint_words *out);

/* May the words from `from` on begin with the pattern; may a message of these
 * words end with it? */
bool hint_begins(
    const struct hint *h, const struct words *w, size_t from, size_t to);
bool hint_ends(const struct hint *h, const struct hint_words *words);

/* May the words [from, to), less what is hidden by now, fit the pattern? */
bool hint_passes(const struct hint *h, const struct words *w,
    const struct hint_words *words, size_t from, size_t to);

#endif
