/*
 * What natter-local does for a turn besides talk: it carries out commands on
 * the user's tasks, and quotes the user's documents. It runs on the front,
 * after the turn was stored, with the tools that models have (chat/tool_run.h),
 * so that a turn which is not begun anew (a replay) does nothing.
 *
 * What it showed and what it asked goes into the reply's metadata, as
 * `natter_local`: {"listed": [ids of tasks], "it": [one], "asks": {"tool",
 * "arguments"}}. A number is about what was listed last, "it" about the task
 * spoken of last, a yes about what the reply right before asked.
 *
 * Thread: front.
 */
#ifndef CHAT_LOCAL_TURN_H
#define CHAT_LOCAL_TURN_H

#include <stdbool.h>

#include "chat/local_say.h"
#include "chat/turn_words.h"

struct buf;
struct json_object;
struct passages_found;
struct request;
struct turn;

struct local_turn {
	struct request *req;
	struct turn *turn;
	const struct turn_words *words;
	const char *question;
	bool is_again; /* an answer is wanted once more: nothing is done */
	const char *documents; /* as turn_ask has it */
	bool has_searched;     /* the documents: those found are the turn's */

	/* Filled on the way. */
	struct local_clock clock;
	struct json_object *note; /* of the nearest reply; or NULL */
	bool is_asked; /* the reply right before asked, minutes ago */
	struct passages_found *found;
};

/*
 * Appends the answer to `out`, and the note for its metadata to `note`. False:
 * there is nothing to do, or only to talk. It appended nothing then.
 */
bool local_turn_answer(struct local_turn *l, struct buf *out, struct buf *note);

#endif
