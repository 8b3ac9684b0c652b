/*
 * The part of beginning a turn that is about its context: what the pipeline is
 * told of windows and templates, and what becomes of what it gave.
 *
 * Thread: front.
 */
#ifndef CHAT_TURN_CONTEXT_H
#define CHAT_TURN_CONTEXT_H

#include <libpq-fe.h>

#include "base/errors.h"
#include "chat/answer.h"

struct arena;
struct config;
struct context;
struct request;
struct turn;
struct zone;

/* TURN_LOCK's columns. */
enum lock_column {
	LOCK_ID,
	LOCK_SYSTEM_PROMPT,
	LOCK_ANSWERS_OF,
	LOCK_IS_TEMPORARY,
	LOCK_IS_UNTITLED,
	LOCK_TEMPLATE,
	LOCK_STORE_NAME,
	LOCK_FACTS,
	LOCK_USER_NAME,
	LOCK_AT_MS,
	LOCK_NO_TOOLS,
	LOCK_TIME_ZONE,
	LOCK_DOCUMENTS,
};

/* Parameters of TURN_LOCK, TURN_BEGIN and TURN_HISTORY, as text. */
struct context_limits {
	const char *prompt_bytes; /* of the settings' system prompt */
	const char *window; /* of the model that is asked for, in tokens */
	const char *models, *windows;
	const char *templates, *template_bytes;
	const char *facts, *summary, *passages; /* the most bytes of them */
	const char *summaries;                  /* do they count? */
	const char *person; /* is the user's name or zone to be told? */
};

/* `model`: the one asked for; NULL: none. ERR_TOO_LARGE without memory. */
enum err context_limits(struct arena *a, const struct config *config,
    const char *model, struct context_limits *out) MUST_CHECK;

/* What the pipeline gave; borrowed. */
struct turn_context {
	struct turn *turn;
	const PGresult *lock; /* TURN_LOCK's */
	const PGresult *history;
	const char *question;
	const char *passages; /* context_limits' */
	const char *quotas;   /* as budget_limits says */
	enum answer_wish cache;
};

/* Builds the model's request and looks for a kept answer to it. */
enum err
turn_context(struct request *req, const struct turn_context *c) MUST_CHECK;

/* Facts as statements give them: [["id", "content"], …]; NULL: none. */
enum err context_read_facts(
    struct arena *a, const char *json, struct context *c) MUST_CHECK;

/* The short values of a template at a time, as a clock in a zone shows it:
 * date and the like. */
void context_time_values(struct arena *a, int64_t at_ms,
    const struct zone *zone, const char **values);

/* Had the conversation no title until now, and will it stay? Of TURN_LOCK's
 * row. */
bool turn_context_is_new(const PGresult *lock);

#endif
