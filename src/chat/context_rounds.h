/*
 * The requests of a reply whose model called tools. The first is context.h's;
 * each of the others is the one before it with what its answer said, called and
 * was told. Their hashes are noted as they are sent, and what the reply's
 * columns do not keep: where in its text each answer is, what was left of its
 * tokens, and JSON in the spelling of its author, which jsonb has not.
 *
 * Ownership: the turn's. Thread: whoever has the turn.
 */
#ifndef CHAT_CONTEXT_ROUNDS_H
#define CHAT_CONTEXT_ROUNDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct buf;
struct context_rounds;
struct json_object;
struct mask;
struct openai_round;
struct turn;

/* What the answer before a request said, in the reply's text. */
struct context_round {
	size_t text_at, text_n;
};

/* Notes that t->prompt, which openai_next_body made, is asked now; without
 * memory nothing is known of any. */
void context_rounds_add(struct turn *t, const struct context_round *told,
    const struct openai_round *round);

/* The one that was noted last is not asked. */
void context_rounds_drop(struct turn *t);

void context_rounds_free(struct context_rounds *asked);

/* Appends the members of the note, if there are such requests. */
void context_rounds_note(const struct turn *t, struct buf *out);

/* What is left of a reply. Borrowed. */
struct rounds_left {
	struct json_object *note;
	const struct buf *first; /* its first request, built again */
	struct mask *mask;       /* that was built with; or NULL */
	const char *text;        /* the reply */
	const char *calls;       /* its columns, JSON */
	const char *responses;
};

/*
 * Appends [{"round", "exact", "sha256", "request"}, …], the first of them the
 * second; *out_is_exact: are all of them what was sent? ERR_TOO_LARGE without
 * memory.
 */
enum err context_rounds_show(const struct rounds_left *left, struct buf *out,
    bool *out_is_exact) MUST_CHECK;

#endif
