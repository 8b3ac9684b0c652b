/*
 * The context of a turn: what the model is told, in this order: the system
 * message, made by a template of the system prompt, the user's facts and the
 * summary of what no longer fits; one more system message with the passages
 * found for the question; the finished messages on the way from the
 * conversation's beginning to the question, the newest kept; the question.
 * Each part has its share of the model's window (context_parts.def), and all of
 * them what the budgets leave. The same rows give the same bytes.
 *
 * Thread: front; context_replace_passages: whoever has the turn. No I/O: the
 * rows were read by the turn's pipeline.
 */
#ifndef CHAT_CONTEXT_H
#define CHAT_CONTEXT_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct arena;
struct buf;
struct passages_found;
struct turn;

/*
 * The history's contents, in bytes: what even a large model takes. Without it
 * 1,000 messages of 1 MiB could be asked for.
 */
#define CONTEXT_BYTES_MAX (1024L * 1024)

enum context_part {
#define PART(name, word, share, most) CONTEXT_##name,
#include "chat/context_parts.def"
#undef PART
	CONTEXT__MAX
};

/* Borrowed strings. */
struct context {
	const char *model;
	const char *system_prompt; /* NULL or "": none is sent */
	/* What to show of the documents, the best first; NULL: nothing. Those
	 * that do not fit are left out, from the first such on: n says then how
	 * many are shown. */
	struct passages_found *passages;
	int64_t passages_bytes;  /* of them, at most */
	const PGresult *history; /* role and content, oldest first; or NULL */
	const char *question;
	int64_t history_bytes;    /* older messages than fit are left out */
	int64_t max_tokens;       /* 0 = the model's own limit */
	const char *tokens_field; /* how the server calls them */
};

/*
 * Makes the model request's JSON body, t->prompt, estimates its tokens,
 * t->prompt_estimate, and says where in it the passages are, t->passages_at
 * and t->passages_n. ERR_TOO_LARGE when it fits neither arena nor memory.
 */
enum err context_request(
    struct arena *a, const struct context *c, struct turn *t) MUST_CHECK;

/*
 * Puts other passages into a body that nobody was sent yet; `found` is the
 * turn's then, t->passages, which forgets those it had. NULL: none. Those that
 * exceed t->passages_room are left out. ERR_BUSY without memory: the turn is as
 * it was, and `found` is freed.
 */
enum err context_replace_passages(
    struct turn *t, struct passages_found *found) MUST_CHECK;

/* Tokens of `bytes` of text where no model counted them: four bytes each. */
int64_t context_tokens(size_t bytes);

#endif
