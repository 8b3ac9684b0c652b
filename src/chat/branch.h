/*
 * The tree of a conversation's messages: what asks again, where a branch ends,
 * a path from the beginning to a leaf, the siblings of a message.
 *
 * Messages hang below their parents; those of one parent are siblings, and so
 * are the first ones, which have none. All questions below one message are one
 * branch: at most one of them is being answered at a time.
 *
 * Thread: front. One round trip each.
 */
#ifndef CHAT_BRANCH_H
#define CHAT_BRANCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/errors.h"

struct buf;
struct request;
struct turn_ask;

/*
 * Fills what the message `id` decides of a turn of ask->kind: conversation,
 * parent and, of TURN_AGAIN, the question, of which `id` is the reply or
 * itself. ERR_NOT_FOUND; ERR_INVALID_FIELD, naming message_id: TURN_EDIT takes
 * a question, TURN_AGAIN what has one.
 */
enum err branch_target(
    struct request *req, const char *id, struct turn_ask *ask) MUST_CHECK;

/* From the end of a branch so many messages may be, and a path so long, to be
 * walked for one request: a third of a second of Postgres. */
#define BRANCH_STEPS_MAX 100000

/*
 * The leaf that one comes to from the message `id` of the conversation (as
 * conversation_key names it), always taking the newest. ERR_INVALID_FIELD,
 * naming leaf_id.
 */
enum err branch_end(struct request *req, const char *const key[static 2],
    const char *id, const char **out_leaf) MUST_CHECK;

struct path_ask {
	const char *conversation_id; /* UUID or short id */
	const char *leaf_id;         /* NULL: the current one */
	bool is_descending;          /* from the leaf to the beginning */
	bool with_siblings;          /* tell each message's place among its */
	long limit;                  /* rows, 1..MESSAGES_LIMIT_MAX */
	const char *after[2];        /* what the page before gave; NULL: none */
};

/*
 * Appends a page of the path to a leaf as a JSON array; out_next gets what the
 * next page begins after, where more follow. In descending order a page costs
 * its own messages; in ascending order the first one also the steps from the
 * leaf, the others a few pages at most. ERR_NOT_FOUND: no such conversation;
 * ERR_INVALID_FIELD: `leaf`, or `order` of a path that is too long for it.
 */
enum err path_list(struct request *req, const struct path_ask *ask,
    struct buf *out, const char *out_next[static 2]) MUST_CHECK;

struct siblings_ask {
	const char *message_id;
	long limit;        /* rows, 1..MESSAGES_LIMIT_MAX */
	const char *after; /* position of the row before; NULL: none */
};

/* A message's place among its siblings, from 1, and how many there are. */
struct siblings_place {
	int64_t index;
	int64_t count;
};

/* Appends a page of a message's siblings, itself among them, by position. */
enum err siblings_list(struct request *req, const struct siblings_ask *ask,
    struct buf *out, const char **out_next,
    struct siblings_place *out_place) MUST_CHECK;

#endif
