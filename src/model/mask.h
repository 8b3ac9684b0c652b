/*
 * Keeps what belongs to a person (personal.h) from whoever answers: each value
 * becomes a placeholder, the same one wherever it stands, and what comes back
 * gets the values again. A table is that of one turn:
 *
 *	Mail anna@example.com or +49 30 1234567, not bob@example.com.
 *	Mail [EMAIL_1] or [PHONE_1], not [EMAIL_2].
 *
 * A text that has such a placeholder itself is masked there too ([TEXT_1]), so
 * that unmasking gives back what was masked, byte by byte, however the bytes
 * are cut. A placeholder that the table does not know stays as it is.
 *
 * Placeholders are ASCII without anything that JSON escapes, and so are values
 * (but for letters beyond ASCII, which JSON takes as they are): a JSON document
 * can be unmasked as a text.
 *
 * Ownership: the table owns its values. Thread: one at a time; changes hands
 * with its turn. Pure.
 */
#ifndef MODEL_MASK_H
#define MODEL_MASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* The longest placeholder, in bytes. */
#define MASK_PLACEHOLDER_MAX 16

struct mask;

/* NULL without memory. */
struct mask *mask_new(void);
void mask_free(struct mask *m);

/* Has anything been masked? */
bool mask_is_used(const struct mask *m);

/* Appends the text with its values masked; out->failed without memory, or where
 * there are more than a million of them. */
void mask_add(struct mask *m, const char *p, size_t n, struct buf *out);

/*
 * Appends a JSON document with the values in its strings masked, and in
 * documents that stand in strings, those of members' names and of base64
 * excepted. What is no JSON is masked as a text.
 */
void mask_add_json(struct mask *m, const char *p, size_t n, struct buf *out);

/* The same of an object's members with commas between them. */
void mask_add_members(struct mask *m, const char *p, size_t n, struct buf *out);

/* What undoes it, piece by piece. Zero is a fresh one, but for the table; a
 * table that is NULL lets everything pass. */
struct unmask {
	const struct mask *mask;         /* borrowed */
	char held[MASK_PLACEHOLDER_MAX]; /* the beginning of a placeholder */
	size_t n_held;
};

/* Appends what is known to be said; the rest waits for the next piece. */
void unmask_add(struct unmask *u, const char *p, size_t n, struct buf *out);

/* Nothing will come any more: appends what waits, as it is. */
void unmask_end(struct unmask *u, struct buf *out);

/* Unmasks a text that is all there, in its place; text->failed without memory.
 */
void unmask_whole(const struct mask *m, struct buf *text);

/* Masks JSON values with commas between them (the messages of a round) in
 * their place, as mask_add_json does; list->failed without memory. */
void mask_whole_json(struct mask *m, struct buf *list);

#endif
