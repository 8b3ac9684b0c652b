/*
 * A message while command.c reads it: its words, what was found in them, and
 * the rule that it is held against. What trim.c and slots.c do for command.c.
 *
 * Thread: any.
 */
#ifndef TASK_READING_H
#define TASK_READING_H

#include "task/command.h"
#include "task/hint.h"
#include "task/pattern.h"
#include "task/when.h"
#include "task/words.h"

/* What grammar.def says of them. */
enum flag {
	PLAIN = 1 << 0,
	NAMED = 1 << 1,
	DEED = 1 << 2,
	WHEN = 1 << 3,
	TILL = 1 << 4,
	PRIO = 1 << 5,
	LOUD = 1 << 6,
	MINE = 1 << 7,
	OWN = 1 << 8,
	UNTITLED = 1 << 9,
	LATE = 1 << 10,
	LAST = 1 << 11,
	MANY = 1 << 12,
	BY = 1 << 13,
	SHORT = 1 << 14,
};

/* A row of grammar.def. */
struct rule {
	const char *pattern;
	const char *value;
	enum command_intent intent;
	unsigned flags;
};

/* One call of command_parse. */
struct reading {
	struct words w;
	struct hint_words hints; /* of the words */
	struct when_now now;
	struct when whens[WHENS_MAX];
	size_t n_whens;
	struct when *when; /* the one that the command is about; or NULL */
	bool repeats;
	size_t first, last; /* the words that are read: a sentence or all */
	size_t begin, end;  /* of them without politeness around them */
	struct command *out;
};

/* trim.c: what is said before and after the point, within [begin, end). */
size_t trim_openings(const struct words *w, size_t begin, size_t end);
size_t trim_closings(const struct reading *r);
void trim_make_hints(void); /* once, before all */

/* Where the sentences after the first begin that only tell of it; `last`:
 * there are none. */
size_t trim_aside(const struct words *w, size_t first, size_t last);

/* Behind the first mark that ends a sentence; 0: there is none. */
size_t trim_sentence(const struct words *w, size_t from, size_t to);

/* Takes the priority out of the words that are read. */
void trim_priority(struct reading *r);

/* slots.c: puts what was captured into the command; false: it is none after
 * all, and nothing is set but the priority. */
bool slots_fill(
    struct reading *r, const struct rule *rule, const struct pattern_fit *fit);

#endif
