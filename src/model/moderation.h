/*
 * What a moderation server is asked and says: OpenAI's POST /moderations, which
 * others speak too. Thread: any; pure.
 */
#ifndef MODEL_MODERATION_H
#define MODEL_MODERATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* More than any server has; those beyond are not named. */
#define MODERATION_CATEGORIES 16

/* Room for a category's name; longer ones, and those of other characters than
 * letters, digits, "/", "-", "_" and spaces, are not named. */
#define MODERATION_NAME 48

struct moderation {
	bool is_flagged;
	char categories[MODERATION_CATEGORIES][MODERATION_NAME];
	size_t n; /* of them; may be 0 although it is flagged */
};

/* Appends the request's body. */
void
moderation_body(struct buf *out, const char *model, const char *text, size_t n);

/* Reads the answer's body; false: it is none. */
bool moderation_read(const char *p, size_t n, struct moderation *out);

/* Appends the categories as a JSON array. */
void moderation_write(const struct moderation *m, struct buf *out);

#endif
