/*
 * Holds words against a pattern of grammar.def, which says what is in one.
 * Hidden words are passed over, and so are marks where the pattern asks for a
 * word.
 *
 * Pure. Thread: any.
 */
#ifndef TASK_PATTERN_H
#define TASK_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct words;

enum pattern_part {
	PATTERN_TITLE,
	PATTERN_TARGET,
	PATTERN_QUERY,
	PATTERN_PRIORITY,
	PATTERN__MAX
};

/* Where what was captured stands: words [from, to). from == to: nowhere. */
struct pattern_fit {
	struct {
		size_t from, to;
	} parts[PATTERN__MAX];
};

/* Do the words [from, to) fit, all of them? */
bool pattern_fits(const char *pattern, const struct words *w, size_t from,
    size_t to, struct pattern_fit *out);

/* Where the pattern, which captures nothing, ends in the words from `from` on;
 * 0: they do not begin with it. */
size_t pattern_begins(
    const char *pattern, const struct words *w, size_t from, size_t to);

/* Do the words [from, *to) end with the pattern, which captures nothing? Then
 * *to is where it begins. */
bool pattern_ends(
    const char *pattern, const struct words *w, size_t from, size_t *to);

/* Where the class `name` ("@task") ends that begins at word i; 0: none does. */
size_t pattern_class(const char *name, const struct words *w, size_t i);

/* What the class "@task", `n` bytes, stands for; NULL: classes.def has none. */
const char *pattern_alternatives(const char *name, size_t n);

/* What a list of tasks may be called begins with one of these ("@list"). */
#define PATTERN_LISTS "my|our|the|to|todo|todos|task|tasks|reminder|reminders"

/* The priority that word i names, as the API calls it; NULL: none. */
const char *pattern_priority(const struct words *w, size_t i);

#endif
