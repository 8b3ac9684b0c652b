/*
 * A completion: a reply to a client that speaks OpenAI's protocol and brings
 * all that was said before along. It begins, reserves, runs and is settled as a
 * turn (chat/turn.h); what the model is asked is what the client asked, but for
 * a few members that are ours.
 *
 * As a rule nothing of it is kept: then there is no conversation and no
 * message. Its row in running_replies has no conversation, its usage no
 * message; both have its id, and are all there is in Postgres. Its log in Redis
 * says how much text there is, and none of it. With `store` the messages become
 * a conversation, and the reply is one like any other.
 */
#ifndef CHAT_COMPLETION_H
#define CHAT_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"

struct arena;
struct json_object;
struct pg_call;
struct request;
struct turn;

/* Bounds of a request; the body's own is CHAT_COMPLETION_MAX_BYTES. */
#define COMPLETION_MESSAGES_MAX 2048
#define COMPLETION_TOOLS_MAX    128

/* What a turn is more that is a completion; owned by it. */
struct completion {
	bool is_kept;      /* as a conversation */
	bool wants_usage;  /* a stream ends with its usage */
	int64_t created_s; /* wall clock */
	size_t n_beside;   /* bytes that came and are no text (the relay's) */
	struct buf calls; /* what the model called, JSON; of one that is kept */
};

/* What a request asks for. Strings are the request's arena's. */
struct completion_ask {
	const char *model;   /* never NULL */
	const char *members; /* JSON: what goes to the model as it came, the
			      * messages first; an object's inside */
	const char *stream_options; /* likewise, the inside of that member */
	const char *question;       /* the last text of a user; "": none */
	const char *words;    /* all that no model said; NULL: nobody asks */
	int64_t prompt_bytes; /* of what is sent, estimated */
	int64_t max_tokens;   /* of the reply; 0: nothing was said */
	const char *tokens_fields[2]; /* how the client called them, or NULL */
	bool wants_stream;
	bool wants_usage;

	/* Of one that is kept; else NULL. */
	const char *messages;  /* JSON rows for COMPLETION_BEGIN */
	const char *metadata;  /* JSON, or NULL */
	const char *title;     /* of the conversation */
	const char *last_id;   /* the last message's */
	const char *branch_id; /* the one before it, or NULL */
	size_t n_messages;
};

/* Reads the body. ERR_INVALID_FIELD names what is wrong, as in
 * "messages[2].role". */
enum err
completion_read(struct request *req, struct completion_ask *out) MUST_CHECK;

/* The part of that which makes rows of the messages. */
enum err completion_keep(struct request *req, struct json_object *body,
    struct completion_ask *ask) MUST_CHECK;

/* Of a message's content: its texts, joined; in the arena. */
const char *completion_text(struct arena *a, struct json_object *content);

/*
 * Begins it: reserves, stores what is to be kept, writes the model's request.
 * Errors of turn_begin but for those of conversations; nothing was reserved
 * then. Thread: front.
 */
enum err completion_begin(struct request *req, const struct completion_ask *ask,
    struct turn **out_turn) MUST_CHECK;

/* Is the turn a completion that nobody keeps? */
bool completion_is_unkept(const struct turn *t);

/* The turn's name in OpenAI's protocol: "chatcmpl-" and its id. */
#define COMPLETION_ID (ID_TEXT + 9)
void completion_id(const struct turn *t, char out[static COMPLETION_ID]);

void completion_free(struct completion *c);

#endif
