/*
 * What local_command.c and local_find.c share: a command at work, which task it
 * is about, and the note that it leaves.
 *
 * Thread: front.
 */
#ifndef CHAT_LOCAL_INSIDE_H
#define CHAT_LOCAL_INSIDE_H

#include <stdbool.h>

#include "chat/local_turn.h"
#include "chat/tool.h"

/* One command, or the answer to one. */
struct local_doing {
	struct local_turn *l;
	enum native_tool tool;
	struct json_object *arguments; /* owned */
	bool says_yes;
	struct buf *out, *note;
};

/*
 * The id of the task that the command is about, by its number, its words or as
 * "it". NULL: it has said that it does not know, or asked which.
 */
const char *
local_task_find(const struct local_doing *d, const struct command *c);

/* The one of that number in what was listed last; NULL: it has said why not. */
const char *local_task_by_number(const struct local_doing *d, int number);

/* Begins the note with the list `key`, to which ids are written. */
void local_note_open(const struct local_doing *d, const char *key);

/* Ends it; with what is asked: the tool and its arguments. */
void local_note_close(const struct local_doing *d, bool asks);

/* The task that "it" is from now on (NULL: none); numbers stay those of the
 * last list. */
void local_note_one(const struct local_doing *d, const char *id, bool asks);

#endif
