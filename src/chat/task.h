/*
 * Tasks: what users want done. Whatever is made, changed or deleted, and what
 * was tried in vain on a task that is not there, leaves a row in the log of
 * operations, by the same statement.
 *
 * What is read is appended to a buffer as JSON. Thread: front.
 */
#ifndef CHAT_TASK_H
#define CHAT_TASK_H

#include <stdbool.h>

#include "base/errors.h"
#include "base/id.h"

struct buf;
struct request;

#define TASK_TITLE_MAX       500 /* characters */
#define TASK_DESCRIPTION_MAX 20000
#define TASK_METADATA_MAX    (16 * 1024)
#define TASK_STATUSES        "open in_progress done cancelled"
#define TASK_PRIORITIES      "low normal high urgent"

/* What to set; NULL leaves it or takes the default. */
struct task_change {
	const char *title;
	const char *description;
	const char *status;
	const char *priority;
	const char *due_at;   /* RFC 3339 */
	bool has_due_at;      /* NULL counts */
	const char *tags;     /* a JSON array of strings */
	const char *metadata; /* a JSON object; of a change, a merge patch */
	const char *asked;    /* the whole of it as JSON, for the log */
};

struct tasks_ask {
	const char *status;
	const char *priority;
	const char *due_before;
	const char *due_after;
	const char *tag;
	const char *q; /* part of the title */
	const char *metadata;
	bool is_by_due; /* what is to be done next first */
	long limit;
	const char *limit_text; /* of limit + 1 */
	const char
	    *after[2]; /* created_at, or due_at, and id of the row before */
};

enum err task_create(struct request *req, const struct task_change *c,
    struct buf *out, char out_id[static ID_TEXT]) MUST_CHECK;

enum err
task_get(struct request *req, const char *id, struct buf *out) MUST_CHECK;

enum err tasks_list(struct request *req, const struct tasks_ask *ask,
    struct buf *out, const char *out_next[static 2]) MUST_CHECK;

enum err task_update(struct request *req, const char *id,
    const struct task_change *c, struct buf *out) MUST_CHECK;

enum err task_delete(struct request *req, const char *id) MUST_CHECK;

struct operations_ask {
	const char *task_id; /* of this task, gone or not; else */
	const char *type;    /* of this type; NULL: all */
	long limit;
	const char *limit_text;
	const char *after[2]; /* created_at and id of the row before */
};

/* ERR_NOT_FOUND: a task without any that is not there. */
enum err task_operations(struct request *req, const struct operations_ask *ask,
    struct buf *out, const char *out_next[static 2]) MUST_CHECK;

#endif
