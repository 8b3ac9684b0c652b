/*
 * The context of a turn: what the model is told, in this order: the system
 * message, made by a template of the system prompt, the user's facts and the
 * summary of what no longer fits; one more system message with the passages
 * found for the question; the finished messages on the way from the
 * conversation's beginning to the question, the newest kept; the question.
 * Each part has its share of the model's window (context_parts.def), and all of
 * them what the budgets leave. The same rows give the same bytes.
 *
 * Thread: front; context_replace_passages and context_seal: whoever has the
 * turn. No I/O: the rows were read by the turn's pipeline.
 */
#ifndef CHAT_CONTEXT_H
#define CHAT_CONTEXT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "chat/prompt.h"

struct arena;
struct buf;
struct passages_found;
struct tools;
struct turn;

/*
 * The history's contents, in bytes: what even a large model takes. Without it
 * 1,000 messages of 1 MiB could be asked for.
 */
#define CONTEXT_BYTES_MAX (1024L * 1024)

/* Facts, a summary and passages are never longer, in bytes. */
#define CONTEXT_FACTS_MAX    8192
#define CONTEXT_SUMMARY_MAX  8192
#define CONTEXT_PASSAGES_MAX 16384

/* The role of a row of TURN_HISTORY that is a summary. */
#define CONTEXT_SUMMARY_ROLE "summary"

enum context_part {
#define PART(name, word, share, most) CONTEXT_##name,
#include "chat/context_parts.def"
#undef PART
	CONTEXT__MAX
};

/* A part as it was sent. */
struct context_use {
	int64_t bytes;
	int items; /* facts, passages, messages */
};

/* What a user wrote down. Borrowed strings. */
struct context_fact {
	const char *id;
	const char *content;
};

/* All that may be sent. Borrowed strings. */
struct context {
	const char *model;
	const struct prompt *system; /* template of the system message */
	/* The one that its store names, where that is not there; or NULL. */
	const char *missing_template;
	const struct prompt *passages_prompt; /* of the passages' */
	/* For both. FACTS, SUMMARY and PASSAGES are the builder's. */
	const char *values[PROMPT__MAX];
	const struct context_fact *facts; /* the newest last */
	size_t n_facts;
	/* The best first; NULL: none. Those that do not fit are left out, from
	 * the first such on: n says then how many are shown. */
	struct passages_found *passages;
	const PGresult *history; /* TURN_HISTORY's rows, or NULL */
	const char *question;
	int64_t window;  /* the model's, in tokens; 0: no share is looked at */
	int64_t granted; /* bytes that facts, passages and history may take */
	int64_t passages_bytes;   /* of them kept for passages */
	int64_t max_tokens;       /* 0 = the model's own limit */
	const char *tokens_field; /* how the server calls them */
	/* Offered with the question; NULL: none, and what earlier replies did
	 * with tools is left out, which not every server understands. */
	const struct tools *tools;
};

/*
 * Makes the model request's JSON body, t->prompt; estimates its tokens,
 * t->prompt_estimate; says what each part is, t->used, and where in the body
 * the passages are, t->passages_at and t->passages_n. ERR_TOO_LARGE when it
 * fits neither arena nor memory.
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

/* Notes the hash of the body, unless it is known. Before it is sent. */
void context_seal(struct turn *t);

/* The SHA-256 of a body; false: there is none. */
#define CONTEXT_SHA256 32
bool context_sha256(const struct buf *body,
    unsigned char out[static CONTEXT_SHA256]) MUST_CHECK;

/* The most bytes of a part in a window of so many tokens; of all parts of the
 * prompt together for CONTEXT__MAX. */
int64_t context_most(enum context_part part, int64_t window);

/* Its word in the API, and its share of the window in percent. */
const char *context_part_name(enum context_part part);
int context_part_share(enum context_part part);

/* Tokens of `bytes` of text where no model counted them: four bytes each. */
int64_t context_tokens(size_t bytes);

#endif
