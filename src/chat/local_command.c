/*
 * Runs commands with the tools that a model would have called, and says their
 * results. A task is found by its number in what was shown, or by words that
 * only one has; of several, it asks which.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"
#include "chat/local_command.h"
#include "chat/local_inside.h"
#include "chat/local_turn.h"
#include "chat/queries.h"
#include "chat/tool.h"
#include "chat/tool_run.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "http/request.h"

/* The most bytes of a tool's result: a list of 20 tasks. */
#define RESULT_MAX 32768

static const enum native_tool tools[] = {
    [INTENT_CREATE_TASK] = TOOL_CREATE_TASK,
    [INTENT_LIST_TASKS] = TOOL_LIST_TASKS,
    [INTENT_COMPLETE_TASK] = TOOL_COMPLETE_TASK,
    [INTENT_UPDATE_TASK] = TOOL_UPDATE_TASK,
    [INTENT_DELETE_TASK] = TOOL_DELETE_TASK,
};

/* Runs the tool. *out_result is owned by the caller; NULL: it said why not. */
static void
run_tool(struct local_doing *d, struct json_object **out_result)
{
	struct local_turn *l = d->l;
	const struct tool *tool = tool_native(d->tool);
	struct tool_use use = {.tool = tool};
	struct tool_place at = {
	    .source = "command",
	    .says_yes = d->says_yes,
	    .max_bytes = RESULT_MAX,
	};
	struct pg_call call;
	memcpy(at.user_id, l->turn->user_id, sizeof(at.user_id));
	memcpy(at.conversation_id, l->turn->conversation_id,
	    sizeof(at.conversation_id));
	memcpy(
	    at.question_id, l->turn->user_message_id, sizeof(at.question_id));
	id_make(use.log_id);
	(void)snprintf(use.name, sizeof(use.name), "%s", tool->name);
	buf_puts(&use.arguments, json_text(d->arguments, NULL));
	*out_result = NULL;
	enum err e = tool_fill(&at, &use, l->req->arena, &call);
	if (e == OK) {
		e = chat_run(l->req, &call, 1);
		if (e == OK) {
			tool_read(&at, &use, &call);
			pg_calls_clear(&call, 1);
		} else {
			tool_failed(&use, e);
		}
	} else if (!use.has_ended) {
		tool_failed(&use, e);
	}
	if (json_parse_object(
		buf_text(&use.result), use.result.n, out_result) != OK)
		*out_result = NULL;
	buf_free(&use.arguments);
	buf_free(&use.result);
}

static void
put_text(struct json_object *o, const char *key, const char *text)
{
	if (text && *text != '\0')
		json_put_text(o, key, text);
}

static void
put_time(struct json_object *o, const char *key, const struct command_time *t)
{
	char text[48];

	if (!t->is_set)
		return;
	struct civil c = civil_of_seconds(t->utc_s);
	(void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ",
	    c.year, c.month, c.day, c.hour, c.minute, c.second);
	json_put_text(o, key, text);
}

/* The tool's arguments, as far as the command says them. */
static void
put_arguments(struct local_doing *d, const struct command *c)
{
	struct json_object *o = d->arguments;

	put_text(o, "title", c->title);
	put_time(o, "due_at", &c->due);
	if (d->tool == TOOL_CREATE_TASK || d->tool == TOOL_UPDATE_TASK ||
	    d->tool == TOOL_LIST_TASKS)
		put_text(o, "priority", c->priority);
	if (d->tool == TOOL_UPDATE_TASK) {
		put_text(o, "status", c->status);
		if (c->clears_due)
			json_object_object_add(
			    o, "no_due_date", json_object_new_boolean(true));
	}
	if (d->tool != TOOL_LIST_TASKS)
		return;
	put_text(o, "title", c->target);
	put_time(o, "due_after", &c->from);
	put_time(o, "due_before", &c->until);
	if (!c->status || strcmp(c->status, "all") != 0)
		put_text(o, "status", c->status ? c->status : "unfinished");
}

static void
say_failure(struct buf *out, const char *code)
{
	if (code && !strcmp(code, "not_found"))
		buf_puts(out,
		    "That task is not there any more. Say “show my tasks” to "
		    "see what there is.");
	else if (code && !strcmp(code, "unavailable"))
		buf_puts(out,
		    "The database did not answer, so I do not know whether it "
		    "was done. Say “show my tasks” to see.");
	else
		buf_puts(out, "That could not be done.");
}

static void
say_list(struct local_doing *d, struct json_object *result)
{
	const struct command *c = &d->l->words->command;
	struct json_object *list = NULL;
	bool is_done = c->status && !strcmp(c->status, "done");
	bool is_begun = c->status && !strcmp(c->status, "in_progress");
	(void)json_object_object_get_ex(result, "tasks", &list);
	size_t n = list ? json_object_array_length(list) : 0;
	struct json_object *more = json_object_object_get(result, "has_more");

	local_note_open(d, "listed");
	buf_puts(d->out, "You have ");
	if (n == 0)
		buf_puts(d->out, "no");
	else
		buf_printf(d->out, "%s%zu",
		    json_object_get_boolean(more) ? "more than " : "", n);
	buf_printf(d->out, " %s%s%s", is_done ? "finished " : "",
	    n == 1 ? "task" : "tasks", is_begun ? " in progress" : "");
	if (*c->target) {
		buf_puts(d->out, " about ");
		say_title(d->out, c->target);
	}
	if (c->priority)
		buf_printf(d->out, " of %s priority", c->priority);
	say_range(d->out, c, &d->l->clock);
	buf_puts(d->out, n > 0 ? ":\n" : ".");
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct local_task t = local_task_of(o);
		say_item(d->out, i + 1, &t, &d->l->clock);
		json_write_text(d->note, NULL, json_member_text(o, "id"));
	}
	local_note_close(d, false);
}

static void
say_done(struct local_doing *d, struct json_object *result)
{
	static const char *const beginnings[NATIVE_TOOLS] = {
	    [TOOL_CREATE_TASK] = "Done, I noted ",
	    [TOOL_COMPLETE_TASK] = "Well done! I marked as done: ",
	    [TOOL_UPDATE_TASK] = "Changed: ",
	    [TOOL_DELETE_TASK] = "Deleted: ",
	};
	struct json_object *o = NULL;
	(void)json_object_object_get_ex(result, "task", &o);
	struct local_task t = local_task_of(o);
	const char *status = json_member_text(result, "status");

	if (status && !strcmp(status, "confirmation_required")) {
		buf_puts(d->out, "Delete ");
		say_title(d->out, t.title);
		say_details(d->out, &t, &d->l->clock);
		buf_puts(d->out, "? Say yes to confirm.");
		local_note_one(d, json_member_text(o, "id"), true);
		return;
	}
	buf_puts(d->out, beginnings[d->tool]);
	say_title(d->out, t.title);
	if (d->tool == TOOL_COMPLETE_TASK || d->tool == TOOL_DELETE_TASK)
		t = (struct local_task){0};
	say_details(d->out, &t, &d->l->clock);
	buf_putc(d->out, '.');
	local_note_one(d,
	    d->tool == TOOL_DELETE_TASK ? NULL : json_member_text(o, "id"),
	    false);
}

/* Does it, and says so. */
static void
carry_out(struct local_doing *d)
{
	struct json_object *result;

	run_tool(d, &result);
	const char *code = result ? json_member_text(result, "error") : NULL;
	if (!result || code)
		say_failure(d->out, code);
	else if (d->tool == TOOL_LIST_TASKS)
		say_list(d, result);
	else
		say_done(d, result);
	json_object_put(result);
}

void
local_command_run(struct local_turn *l, struct buf *out, struct buf *note)
{
	const struct command *c = &l->words->command;
	struct local_doing d = {
	    .l = l, .tool = tools[c->intent], .out = out, .note = note};
	bool is_new = d.tool == TOOL_CREATE_TASK;

	if (c->problem != COMMAND_IS_FIT) {
		say_problem(out, c->problem);
		return;
	}
	if (l->is_again && d.tool != TOOL_LIST_TASKS) {
		buf_puts(out,
		    "I carry a command out once, when it is sent, and not "
		    "again "
		    "for another answer. Send it as a new message to have it "
		    "done once more.");
		return;
	}
	d.arguments = json_object_new_object();
	put_arguments(&d, c);
	if (!is_new && d.tool != TOOL_LIST_TASKS) {
		const char *id = local_task_find(&d, c);
		if (!id) {
			json_object_put(d.arguments);
			return;
		}
		json_put_text(d.arguments, "id", id);
	}
	carry_out(&d);
	json_object_put(d.arguments);
}

/* The tool that was asked about; false: none that changes anything. */
static bool
read_asked(struct local_doing *d)
{
	struct json_object *asks = NULL, *arguments = NULL;
	(void)json_object_object_get_ex(d->l->note, "asks", &asks);
	const char *name = json_object_is_type(asks, json_type_object)
			       ? json_member_text(asks, "tool")
			       : NULL;

	if (!name ||
	    !json_object_object_get_ex(asks, "arguments", &arguments) ||
	    !json_object_is_type(arguments, json_type_object))
		return false;
	for (size_t i = INTENT_COMPLETE_TASK; i <= INTENT_DELETE_TASK; i++) {
		if (strcmp(tool_native(tools[i])->name, name) != 0)
			continue;
		d->tool = tools[i];
		d->arguments = json_object_get(arguments);
		return true;
	}
	return false;
}

void
local_command_answer(struct local_turn *l, struct buf *out, struct buf *note)
{
	const struct command *c = &l->words->command;
	struct local_doing d = {.l = l, .out = out, .note = note};

	if (c->intent == INTENT_CONFIRMATION_NO || !read_asked(&d)) {
		buf_puts(out, "All right, I changed nothing.");
		return;
	}
	if (l->is_again) {
		buf_puts(out,
		    "I carry a command out once and not again for another "
		    "answer. Send it as a new message to have it done.");
		json_object_put(d.arguments);
		return;
	}
	if (c->intent == INTENT_CHOICE) {
		const char *id = local_task_by_number(&d, c->number);
		if (id) {
			json_put_text(d.arguments, "id", id);
			carry_out(&d);
		}
	} else if (!json_object_object_get_ex(d.arguments, "id", NULL)) {
		/* A yes to "which one?" */
		buf_puts(out, "Which one? Answer with its number.");
	} else {
		d.says_yes = true;
		carry_out(&d);
	}
	json_object_put(d.arguments);
}
