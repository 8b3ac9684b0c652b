/*
 * The last word about a reply for a client that asked for no stream: one JSON
 * document, the stored message or a problem; and the problem that streams end
 * with too. Thread: relay.
 */
#ifndef SERVER_LAST_WORD_H
#define SERVER_LAST_WORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct buf;
struct config;

struct last_word {
	const struct config *config;
	const char *origin; /* an allowed page's, or NULL */
	const char *limits; /* header lines, or NULL */
	const char *request_id;
	enum err error;   /* OK: the reply ended as it should */
	const char *data; /* the message, or the problem; JSON */
	size_t n;
};

struct last_problem {
	enum err error;
	const char *message_id; /* what it is about */
	const char *request_id;
	bool is_resumable; /* about this stream alone, not about the reply */
};

/* Appends it as JSON. */
void last_word_problem(struct buf *out, const struct last_problem *p);

/* Appends head and document; returns the HTTP status. */
int last_word_document(struct buf *out, const struct last_word *w);

#endif
