/*
 * Sentences in which natter-local speaks of tasks and documents: plain English,
 * lists in Markdown, dates as the user's clock shows them.
 *
 * Thread: front; pure.
 */
#ifndef CHAT_LOCAL_SAY_H
#define CHAT_LOCAL_SAY_H

#include <stddef.h>
#include <stdint.h>

#include "task/command.h"

struct buf;
struct json_object;
struct passages_found;
struct zone;

/* A task, as a tool's result or a row has it. Borrowed; NULL: not known. */
struct local_task {
	const char *title;
	const char *status;
	const char *priority;
	const char *due_at;
};

/* By what dates are told. */
struct local_clock {
	const struct zone *zone;
	int64_t now_s;
};

/* The member of a tool's result. */
struct local_task local_task_of(struct json_object *o);

/* “Buy milk”: what stands in it is no Markdown. */
void say_title(struct buf *out, const char *title);

/* ", due Friday, 13 March, 15:00, high priority" */
void say_details(struct buf *out, const struct local_task *t,
    const struct local_clock *clock);

/* A list's line: "1. Buy milk, due …" */
void say_item(struct buf *out, size_t number, const struct local_task *t,
    const struct local_clock *clock);

/* "due today", "due until Friday, 13 March": what a list was asked for. */
void say_range(
    struct buf *out, const struct command *c, const struct local_clock *clock);

/* Why a command cannot be carried out. */
void say_problem(struct buf *out, enum command_problem problem);

/* Quotes the best passages, each with its number and where it is from; n says
 * then how many. */
void say_passages(struct buf *out, struct passages_found *found);

#endif
