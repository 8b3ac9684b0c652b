/*
 * What a reply cites of the passages it was given: a `citation` event for each
 * mark in its text, as soon as it is whole, and `used_documents` of the stored
 * message: all that the model was given, cited or not.
 *
 * Thread: relay, while the turn is its; cited_write any.
 */
#ifndef CHAT_CITED_H
#define CHAT_CITED_H

#include <stdbool.h>
#include <stddef.h>

#include "chat/citation.h"

struct buf;
struct turn;

/* A turn's part in it. */
struct cited {
	struct citation_scan scan;
	size_t n; /* marks found */
	struct cited_mark {
		size_t number;  /* the passage's, from 1 */
		size_t at, end; /* in the reply's text, bytes */
	} * marks;
};

/* Looks at the text that came; is_over: none follows. Costs nothing without
 * passages. */
void cited_look(struct turn *t);
void cited_end(struct turn *t);

/* Appends used_documents: a JSON array, [] where nothing was used. */
void cited_write(const struct turn *t, struct buf *out);

void cited_free(struct cited *c);

#endif
