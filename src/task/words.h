/*
 * A message as words: where they stand, and how they are spelled when nobody
 * looks closely (lower case, "don't" as "dont", "to-do" as "todo", the
 * commonest slips mended). What has been understood is hidden from who reads
 * next: a date in the middle of a sentence is no part of the sentence then.
 *
 * Pure. Thread: any.
 */
#ifndef TASK_WORDS_H
#define TASK_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define WORDS_MAX 160 /* what comes after them is not read */
#define WORD_MAX  24

enum word_kind {
	WORD_PLAIN,
	WORD_QUOTE, /* all between quotes; start and end are the outer ones */
	WORD_MARK,  /* one of . , ; : ! ? ) in `norm`, or a dash */
};

struct word {
	enum word_kind kind;
	bool is_hidden;
	bool is_possessive; /* "tomorrow's" and the like, "tomorrow" in norm */
	size_t start, end;  /* bytes of the text */
	char norm[WORD_MAX];
};

struct words {
	const char *text;
	size_t n;
	bool is_cut;                   /* there were more */
	struct word at[WORDS_MAX + 1]; /* the last one is empty */
};

void words_read(struct words *w, const char *text, size_t n);

/* Is word i the norm `s`? False beyond the end, and for quotes. */
static inline bool
words_is(const struct words *w, size_t i, const char *s)
{
	return i < w->n && w->at[i].norm[0] == s[0] &&
	       !strcmp(w->at[i].norm, s);
}

/* Is it one of those in `set`, which has spaces between them? */
bool words_is_in(const struct words *w, size_t i, const char *set);

/* Is `s` one of those in `set`? */
bool words_holds(const char *set, const char *s);

/* The number that it is, in digits or in words up to sixty-nine; -1: none. */
int words_number(const struct words *w, size_t i);

/* The number of "3rd" or "third" (to thirty-first in digits, twentieth in
 * words); -1: none. */
int words_ordinal(const struct words *w, size_t i);

void words_hide(struct words *w, size_t from, size_t to);

/* The first that is not hidden from i on, w->n without any. */
size_t words_visible(const struct words *w, size_t i);

/*
 * Copies the visible words of [from, to) as they are written, one space where
 * there was white space or something hidden, without marks at either end; one
 * quote alone without its quotes. False: it needs more than `room` bytes.
 */
bool words_copy(
    const struct words *w, size_t from, size_t to, char *out, size_t room);

#endif
