/*
 * The context of a turn: what the model is told besides the new question. The
 * system prompt comes first, then the finished messages on the way from the
 * conversation's beginning to the question, at most CHAT_CONTEXT_MESSAGES and
 * CONTEXT_BYTES_MAX of them and what the budgets leave, the newest kept.
 *
 * Thread: front. No I/O: the rows were read by the turn's pipeline.
 */
#ifndef CHAT_CONTEXT_H
#define CHAT_CONTEXT_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct arena;
struct buf;
struct tools;

/*
 * The history's contents, in bytes: what even a large model takes. Without it
 * 1,000 messages of 1 MiB could be asked for.
 */
#define CONTEXT_BYTES_MAX (1024L * 1024)

/* Borrowed strings. */
struct context {
	const char *model;
	const char *system_prompt; /* NULL or "": none is sent */
	/* Role and content, oldest first (TURN_HISTORY); or NULL. */
	const PGresult *history;
	const char *question;
	int64_t history_bytes;    /* older messages than fit are left out */
	int64_t max_tokens;       /* 0 = the model's own limit */
	const char *tokens_field; /* how the server calls them */
	/* Offered with the question; NULL: none, and what earlier replies did
	 * with tools is left out, which not every server understands. */
	const struct tools *tools;
};

/*
 * Appends the model request's JSON body; *out_tokens estimates its prompt
 * tokens. ERR_TOO_LARGE when it fits neither arena nor memory.
 */
enum err context_request(struct arena *a, const struct context *c,
    struct buf *out, int64_t *out_tokens) MUST_CHECK;

/* Tokens of `bytes` of text where no model counted them: four bytes each. */
int64_t context_tokens(size_t bytes);

#endif
