/*
 * Stored messages: reading them, and the one JSON form that lists, single
 * reads, the `done` event and the answer to a post without a stream share.
 *
 * Ownership: a struct message borrows from the result that it was read from.
 * Thread: message_read and message_write any; the others the front's.
 */
#ifndef CHAT_MESSAGE_H
#define CHAT_MESSAGE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct buf;
struct request;

/* A row of MESSAGE_COLUMNS and USAGE_COLUMNS. NULL is SQL's NULL. */
struct message {
	const char *id;
	const char *conversation_id;
	const char *parent_id;
	int64_t position;
	const char *role;
	const char *content;
	size_t content_len; /* bytes */
	const char *status;
	const char *model;
	const char *finish_reason;
	const char *error_code;
	int64_t token_count;  /* -1 = not known */
	const char *metadata; /* JSON */
	const char *created_at;
	const char *used_documents; /* JSON */
	const char *completed_at;
	const char *tool_calls;     /* JSON */
	const char *tool_responses; /* JSON */
	const char *intent;         /* of a user's message; NULL: unknown */
	const char *entities;       /* JSON */
	bool has_usage;             /* a reply that has ended */
	bool is_estimated;
	int64_t prompt_tokens;
	int64_t completion_tokens;
	int64_t cached_tokens; /* of the prompt's */
	const char *cost;      /* a decimal; NULL: the model has no price */
	/* Its place among its siblings, from 1, and how many they are, itself
	 * among them; 0: nobody asked, and message_read leaves it so. */
	int64_t sibling_index;
	int64_t sibling_count;
};

/* The columns that message_read takes; what a query adds comes after them. */
#define MESSAGE_COLUMNS_N 24

/* Reads a row; everything in it is borrowed from `r`. */
void message_read(const PGresult *r, int row, struct message *out);

/* Appends the message as the API shows it (see base/json_write.h). */
void message_write(struct buf *out, const struct message *m);

/*
 * How many of the rows of a page that was cut at `limit` rows and at bytes
 * (MESSAGES_PAGE) are shown, and whether more follow.
 */
struct messages_shown {
	int n;
	bool has_more;
};
struct messages_shown messages_shown(const PGresult *r, long limit);

/* Appends such a page as an array; *out_next is the last row's position where
 * more follow. */
enum err messages_write_page(struct request *req, long limit, const PGresult *r,
    struct buf *out, const char **out_next) MUST_CHECK;

/* Appends one message of the caller's; ERR_NOT_FOUND. */
enum err
message_get(struct request *req, const char *id, struct buf *out) MUST_CHECK;

/*
 * Merges `patch` (RFC 7396) into the message's metadata and appends it.
 * ERR_NOT_FOUND; ERR_INVALID_FIELD when they would grow too large.
 */
enum err message_patch(struct request *req, const char *id, const char *patch,
    struct buf *out) MUST_CHECK;

/* The newest messages of all conversations: the page after the message with id
 * `after` (NULL: the first); *out_next as messages_list's, an id. */
enum err messages_recent(struct request *req, long limit, const char *after,
    struct buf *out, const char **out_next) MUST_CHECK;

#define MESSAGE_METADATA_MAX (16 * 1024)

/* The contents of one page end, at the latest, after this many bytes. */
#define MESSAGES_PAGE_BYTES (4L * 1024 * 1024)
#define MESSAGES_LIMIT_MAX  200

struct messages_ask {
	const char *conversation_id; /* UUID or short id */
	bool is_descending;          /* newest first */
	long limit;                  /* rows, 1..MESSAGES_LIMIT_MAX */
	const char *after; /* position of the row before; NULL: none */
};

/*
 * Appends a page of a conversation's messages by position, as a JSON array.
 * *out_next is the last row's position where more rows follow, NULL where
 * not; *out_life_ms: it changes after so long, though nobody writes; negative:
 * it does not; 0: at any moment, a reply is being written. ERR_NOT_FOUND.
 */
enum err messages_list(struct request *req, const struct messages_ask *ask,
    struct buf *out, const char **out_next, int64_t *out_life_ms) MUST_CHECK;

#endif
