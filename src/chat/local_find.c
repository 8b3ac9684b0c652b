/*
 * Which task is meant, from what natter-local noted and from the user's tasks;
 * of several it asks which, and notes that.
 */
#include <json-c/json.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"
#include "chat/local_inside.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "http/request.h"

/* What LOCAL_TASKS gives. */
enum { ID, TITLE, STATUS, PRIORITY, DUE_AT, IS_EXACT };

/* Of several tasks that fit, so many are shown. */
#define CHOICES_MAX 10

void
local_note_open(const struct local_doing *d, const char *key)
{
	json_write_open(d->note, NULL, '{');
	json_write_open(d->note, key, '[');
}

/* What is asked: the tool and its arguments, but for the task of a choice. */
void
local_note_close(const struct local_doing *d, bool asks)
{
	json_write_close(d->note, ']');
	if (asks) {
		json_write_open(d->note, "asks", '{');
		json_write_text(d->note, "tool", tool_native(d->tool)->name);
		json_write_raw(
		    d->note, "arguments", json_text(d->arguments, NULL));
		json_write_close(d->note, '}');
	}
	json_write_close(d->note, '}');
}

/* The task that "it" is from now on; numbers stay those of the last list. */
void
local_note_one(const struct local_doing *d, const char *id, bool asks)
{
	struct json_object *listed = NULL;

	local_note_open(d, "it");
	if (id)
		json_write_text(d->note, NULL, id);
	if (d->l->note &&
	    json_object_object_get_ex(d->l->note, "listed", &listed) &&
	    json_object_is_type(listed, json_type_array)) {
		json_write_close(d->note, ']');
		json_write_open(d->note, "listed", '[');
		for (size_t i = 0; i < json_object_array_length(listed); i++)
			json_write_text(d->note, NULL,
			    json_object_get_string(
				json_object_array_get_idx(listed, i)));
	}
	local_note_close(d, asks);
}

/* The nth of the note's list of ids; NULL: it has none such. */
static const char *
noted(const struct local_turn *l, const char *key, size_t n, size_t *out_count)
{
	struct json_object *list = NULL;

	*out_count = 0;
	if (!l->note || !json_object_object_get_ex(l->note, key, &list) ||
	    !json_object_is_type(list, json_type_array))
		return NULL;
	*out_count = json_object_array_length(list);
	struct json_object *id =
	    n > 0 ? json_object_array_get_idx(list, n - 1) : NULL;
	const char *text = id ? json_object_get_string(id) : NULL;
	return text && id_is_uuid(text) ? text : NULL;
}

/* "it": the task that was spoken of last, or the only one of the list. */
static const char *
task_spoken_of(const struct local_doing *d)
{
	size_t count;
	const char *id = noted(d->l, "it", 1, &count);

	if (!id)
		id = noted(d->l, "listed", 1, &count);
	if (id && count == 1)
		return id;
	buf_puts(d->out,
	    count > 1 ? "Which one? Name it by its number or its words."
		      : "I do not know which task that is. Name it by its "
			"words, or say “show my tasks” first.");
	return NULL;
}

/* By its number in what was listed last. */
const char *
local_task_by_number(const struct local_doing *d, int number)
{
	size_t count;
	const char *id = noted(d->l, "listed", (size_t)number, &count);

	if (id)
		return id;
	if (count == 0)
		buf_puts(d->out,
		    "I have shown you no list that this could be a number of. "
		    "Say “show my tasks” first.");
	else
		buf_printf(d->out, "What I listed last has only %zu %s.", count,
		    count == 1 ? "task" : "tasks");
	return NULL;
}

static struct local_task
task_of_row(const PGresult *r, int row)
{
	return (struct local_task){
	    .title = pg_text(r, row, TITLE),
	    .status = pg_text(r, row, STATUS),
	    .priority = pg_text(r, row, PRIORITY),
	    .due_at = pg_text(r, row, DUE_AT),
	};
}

static void
ask_which(const struct local_doing *d, const PGresult *r)
{
	int n = pg_rows(r) < CHOICES_MAX ? pg_rows(r) : CHOICES_MAX;

	local_note_open(d, "listed");
	buf_puts(d->out, "Which one do you mean?\n");
	for (int i = 0; i < n; i++) {
		struct local_task t = task_of_row(r, i);
		say_item(d->out, (size_t)i + 1, &t, &d->l->clock);
		json_write_text(d->note, NULL, pg_text(r, i, ID));
	}
	local_note_close(d, true);
	buf_puts(d->out, pg_rows(r) > n
			     ? "\n\nThere are more. Answer with a number, or "
			       "with more of its words."
			     : "\n\nAnswer with its number.");
}

/* By its words: the only one that has them, or whose title they are. */
static const char *
task_by_words(const struct local_doing *d, const char *words)
{
	const struct command *c = &d->l->words->command;
	bool is_reopened = c->status && !strcmp(c->status, "open");
	bool takes_all = is_reopened || d->tool == TOOL_DELETE_TASK;
	const char *id = NULL;
	struct pg_call call = {
	    .query = chat_query(CHAT_LOCAL_TASKS),
	    .params = {d->l->turn->user_id, words, takes_all ? "t" : "f"},
	};

	if (chat_run(d->l->req, &call, 1) != OK) {
		buf_puts(d->out,
		    "The database did not answer, so I did nothing. Please try "
		    "again in a moment.");
		return NULL;
	}
	const PGresult *r = call.result;
	int n = pg_rows(r);
	bool is_only = n == 1 || (n > 1 && pg_flag(r, 0, IS_EXACT) &&
				     !pg_flag(r, 1, IS_EXACT));
	if (is_only) {
		id = arena_strdup(d->l->req->arena, pg_text(r, 0, ID));
	} else if (n == 0) {
		buf_puts(d->out, "I found no task of yours that fits ");
		say_title(d->out, words);
		buf_puts(d->out, ". Say “show my tasks” to see what there is.");
	} else {
		ask_which(d, r);
	}
	pg_calls_clear(&call, 1);
	return id;
}

/* Which task; NULL: it has said that it does not know. */
const char *
local_task_find(const struct local_doing *d, const struct command *c)
{
	if (c->number == COMMAND_LAST)
		return task_spoken_of(d);
	if (c->number > 0)
		return local_task_by_number(d, c->number);
	return task_by_words(d, c->target);
}
