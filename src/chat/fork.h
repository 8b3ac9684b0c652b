/*
 * Forking a conversation: the way to one of its messages, copied into a new
 * conversation, where it is the only branch. The original stays as it is, and
 * nobody who talks there waits.
 *
 * Thread: bulk.
 */
#ifndef CHAT_FORK_H
#define CHAT_FORK_H

#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct buf;
struct request;

struct fork_ask {
	const char *conversation_id; /* UUID or short id */
	const char *message_id;      /* the last to go along; NULL: the leaf */
	const char *title;           /* NULL: the same */
};

/*
 * Makes it and appends the new conversation: ids are new and in order,
 * created_at of the messages and all else of them stays, metadata get
 * `forked_from`. Store, end of a temporary one, model and prompt are kept; the
 * store only while it is open to the caller. What replies cost stays with the
 * original.
 *
 * ERR_NOT_FOUND; ERR_INVALID_FIELD: message_id is none of the conversation's,
 * or too much lies before it (as much as an import may bring is copied, in one
 * statement); ERR_REPLY_IN_PROGRESS: the last message is being written
 * (req->running_message). Two round trips.
 */
enum err fork_conversation(struct request *req, const struct fork_ask *ask,
    struct buf *out, char out_id[static ID_TEXT]) MUST_CHECK;

#endif
