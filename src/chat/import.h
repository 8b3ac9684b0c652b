/*
 * Imports: conversations out of our own export or out of ChatGPT's
 * (conversations.json), with their branches, times and order.
 *
 * Everything is checked before anything is stored; then each conversation is a
 * transaction of its own. What was brought before, or is still there, is left
 * alone: the same file again changes nothing. Ids are new and of today (a
 * message's id chooses its partition, so that retention counts from the
 * import); created_at stays what it was.
 *
 * Thread: chores (bulk).
 */
#ifndef CHAT_IMPORT_H
#define CHAT_IMPORT_H

#include "base/errors.h"

struct json_object;
struct request;

/* What a request may bring: a conversation is stored by one statement, for
 * which CHAT_PG_TIMEOUT must last. */
#define IMPORT_CONVERSATIONS_MAX 1000              /* of a file */
#define IMPORT_MESSAGES_MAX      10000             /* of a conversation */
#define IMPORT_TEXT_MAX          ((size_t)2 << 20) /* bytes, of these */

struct import_result {
	int conversations; /* brought */
	int known;         /* left alone */
	int messages;      /* brought */
	int left_out;      /* pieces that are no text */
};

/*
 * Brings what `file` holds. ERR_INVALID_FIELD names the place, such as
 * conversations[3].messages[0].role, or what there is too much of; nothing was
 * stored then. After
 * ERR_UNAVAILABLE some may be: do it again.
 */
enum err import_conversations(struct request *req, struct json_object *file,
    struct import_result *out) MUST_CHECK;

#endif
