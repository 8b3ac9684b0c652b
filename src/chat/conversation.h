/*
 * Conversations: making, showing, listing, changing and deleting them. Each
 * function is one round trip and sees the caller's own conversations only: a
 * conversation of somebody else is ERR_NOT_FOUND.
 *
 * A conversation is named by its UUID or its short id. What is read is
 * appended to a buffer as JSON (see base/json_write.h). Thread: front.
 */
#ifndef CHAT_CONVERSATION_H
#define CHAT_CONVERSATION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct buf;
struct request;

#define CONVERSATION_TITLE_MAX    200 /* characters */
#define CONVERSATION_METADATA_MAX (16 * 1024)
#define CONVERSATION_PROMPT_MAX   (32 * 1024) /* bytes */
#define CONVERSATION_TAGS_MAX     20
#define CONVERSATION_TAG_MAX      64  /* characters */
#define CONVERSATION_LIMIT_MAX    100 /* rows of a page */
#define CONVERSATION_WORDS_MAX    8   /* of a search in titles */
#define CONVERSATION_LIFE_MAX     366 /* days of a temporary one */
#define MODEL_NAME_MAX            128 /* characters, printable ASCII */

/* What to set; NULL leaves it (or, at creation, takes the default). */
struct conversation_change {
	const char *title;
	const char *metadata; /* a JSON object; a change is merged (RFC 7396) */
	const char *tags;     /* a JSON array of strings */
	const char *is_archived; /* "t" or "f" */
	const char *is_active;
	const char *model;
	const char *system_prompt;
	const char *store_id;
	const char *expires_at;
	const char *expires_in; /* seconds, instead; at creation only */
	const char *documents;  /* "t" or "f" */
	/* A change alone: a message; the newest that hangs below it becomes
	 * the current leaf. */
	const char *leaf_id;
	/* Where NULL counts. */
	bool has_model;         /* the server's default model */
	bool has_system_prompt; /* the server's */
	bool has_store;         /* none */
	bool has_end;           /* it is kept */
	bool has_documents;     /* as the store says */
};

enum conversation_archived {
	CONVERSATIONS_CURRENT,
	CONVERSATIONS_ARCHIVED,
	CONVERSATIONS_ALL,
};

enum conversation_active {
	CONVERSATIONS_OPEN,
	CONVERSATIONS_CLOSED,
	CONVERSATIONS_OPEN_OR_NOT,
};

struct conversations_ask {
	enum conversation_archived archived;
	enum conversation_active active;
	const char *store_id; /* NULL, as all below: any */
	const char *tags;     /* a JSON array: all of them */
	const char *metadata; /* a JSON object that theirs contains */
	const char *words;    /* a JSON array: each like one of the title's */
	const char *since;    /* the last message's time */
	const char *until;
	bool is_ascending;    /* the longest untouched first */
	long limit;           /* 1..CONVERSATION_LIMIT_MAX */
	const char *after[3]; /* last_message_at and id of the row before */
};

/*
 * The two parameters by which statements name a conversation: its UUID, its
 * short id, one of them NULL. ERR_NOT_FOUND when `name` is neither.
 */
enum err
conversation_key(const char *name, const char *out_key[static 2]) MUST_CHECK;

/* Appends a row of CONVERSATION_COLUMNS. */
void conversation_write(struct buf *out, const PGresult *r, int row);

/* Is that a UUID or a short id? */
bool conversation_is_named(const char *name);

/*
 * What a refusal by the database comes to: one that grew metadata beyond their
 * cap names the field. Any other stays as it is.
 */
enum err conversation_refusal(struct request *req, enum err e);

/* Makes one; model and system_prompt are taken whatever the has_ flags say. */
enum err conversation_create(struct request *req,
    const struct conversation_change *c, struct buf *out,
    char out_id[static ID_TEXT]) MUST_CHECK;

enum err conversation_get(
    struct request *req, const char *name, struct buf *out) MUST_CHECK;

/*
 * Appends a page as a JSON array; temporary conversations are not in it.
 * Without any filter it is the hot path: one index, one prepared plan.
 * out_next: the last row's keys, where more rows follow, else NULL.
 */
enum err conversations_list(struct request *req,
    const struct conversations_ask *ask, struct buf *out,
    const char *out_next[static 2]) MUST_CHECK;

/*
 * ERR_INVALID_FIELD also for a store that the user may not talk in and for a
 * message that is none of the conversation's.
 */
enum err conversation_update(struct request *req, const char *name,
    const struct conversation_change *c, struct buf *out) MUST_CHECK;

/* Its messages and running replies go with it. */
enum err conversation_delete(struct request *req, const char *name) MUST_CHECK;

/* Puts it in front of the list, as a new message does. */
enum err conversation_touch(
    struct request *req, const char *name, struct buf *out) MUST_CHECK;

/* The most conversations that conversations_delete_old deletes at once. */
#define CONVERSATIONS_DELETE_MAX 100

/* Deletes those that nobody went on with for `days` days, the oldest first. */
enum err conversations_delete_old(
    struct request *req, long days, int *out_deleted) MUST_CHECK;

/*
 * A title out of a message: its first 60 characters on one line, white space
 * and control characters folded into single spaces. NULL beyond the arena.
 */
const char *conversation_title(struct arena *a, const char *content);

/* May this be a model's name: printable ASCII without spaces, not too long? */
bool model_name_is_fit(const char *name);

#endif
