/*
 * /tasks: reads the request, calls chat/task.c, writes the reply. Knows no
 * SQL. Round trips: one.
 */
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "chat/task.h"
#include "http/reply.h"
#include "http/request.h"

enum { TITLE, DESCRIPTION, STATUS, PRIORITY, DUE_AT, TAGS, METADATA, N_FIELDS };

static const struct field fields_of_task[N_FIELDS] = {
    [TITLE] = {"title", FIELD_TEXT, .min = 1, .max = TASK_TITLE_MAX},
    [DESCRIPTION] = {"description", FIELD_TEXT, .max = TASK_DESCRIPTION_MAX},
    [STATUS] = {"status", FIELD_WORD, .words = TASK_STATUSES},
    [PRIORITY] = {"priority", FIELD_WORD, .words = TASK_PRIORITIES},
    [DUE_AT] = {"due_at", FIELD_TIME, .nullable = true},
    [TAGS] = {"tags", FIELD_TAGS},
    [METADATA] = {"metadata", FIELD_OBJECT, .max = TASK_METADATA_MAX},
};

static enum err
read_task(struct request *req, bool is_new, struct task_change *out)
{
	struct field_value v[N_FIELDS] = {0};
	struct field fields[N_FIELDS];
	memcpy(fields, fields_of_task, sizeof(fields));
	fields[TITLE].required = is_new;
	enum err e = fields_read(req, fields, N_FIELDS, v);
	if (e != OK)
		return e;
	*out = (struct task_change){
	    .title = v[TITLE].text,
	    .description = v[DESCRIPTION].text,
	    .status = v[STATUS].text,
	    .priority = v[PRIORITY].text,
	    .due_at = v[DUE_AT].text,
	    .has_due_at = v[DUE_AT].is_given,
	    .tags = v[TAGS].text,
	    .metadata = v[METADATA].text,
	    .asked = req->body,
	};
	return OK;
}

enum err
api_task_create(struct request *req, struct reply *rep)
{
	struct task_change c;
	struct buf body = {0};
	char id[ID_TEXT];
	enum err e = read_task(req, true, &c);
	if (e == OK)
		e = task_create(req, &c, &body, id);
	if (e == OK)
		fields_location(req, rep, "tasks", id);
	return page_reply(req, rep, e, 201, &body);
}

enum err
api_task_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = task_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_task_patch(struct request *req, struct reply *rep)
{
	struct task_change c;
	struct buf body = {0};
	enum err e = read_task(req, false, &c);
	if (e == OK)
		e = task_update(req, req->ids[0], &c, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_task_delete(struct request *req, struct reply *rep)
{
	enum err e = task_delete(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_tasks_list(struct request *req, struct reply *rep)
{
	static const struct field filters[] = {
	    {"status", FIELD_WORD, .words = TASK_STATUSES},
	    {"priority", FIELD_WORD, .words = TASK_PRIORITIES},
	    {.name = "due_before", .kind = FIELD_TIME},
	    {.name = "due_after", .kind = FIELD_TIME},
	    {"tag", FIELD_TEXT, .min = 1, .max = 64},
	    {"q", FIELD_TEXT, .min = 1, .max = 200},
	    {"metadata", FIELD_OBJECT, .max = 4096},
	    {"order", FIELD_WORD, .words = "created due"},
	};
	enum { N = sizeof(filters) / sizeof(*filters) };
	struct field_value v[N];
	struct list_ask list;
	struct buf body = {0};
	const char *next[3] = {NULL}; /* ended with NULL */
	enum err e = fields_query(req, filters, N, v);
	if (e == OK)
		e = fields_list(req, "tasks", v, N, &list);
	page_open(&body);
	if (e == OK) {
		const struct tasks_ask ask = {
		    .status = v[0].text,
		    .priority = v[1].text,
		    .due_before = v[2].text,
		    .due_after = v[3].text,
		    .tag = v[4].text,
		    .q = v[5].text,
		    .metadata = v[6].text,
		    .is_by_due = v[7].text && !strcmp(v[7].text, "due"),
		    .limit = list.limit,
		    .limit_text = list.limit_text,
		    .after = {list.after[0], list.after[1]},
		};
		e = tasks_list(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

/* Lists the operations on a task, or with NULL of the caller. */
static enum err
list_operations(struct request *req, struct reply *rep, const char *task_id)
{
	static const struct field filters[] = {
	    {"type", FIELD_WORD, .words = "create read update delete"},
	};
	struct field_value v[1] = {0};
	struct list_ask list;
	struct buf body = {0};
	const char *next[3] = {NULL};
	enum err e = task_id ? OK : fields_query(req, filters, 1, v);
	const char *name = arena_printf(
	    req->arena, "task operations %s", task_id ? task_id : "");
	if (e == OK)
		e = fields_list(req, name, v, 1, &list);
	page_open(&body);
	if (e == OK) {
		const struct operations_ask ask = {
		    .task_id = task_id,
		    .type = v[0].text,
		    .limit = list.limit,
		    .limit_text = list.limit_text,
		    .after = {list.after[0], list.after[1]},
		};
		e = task_operations(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_task_operations(struct request *req, struct reply *rep)
{
	return list_operations(req, rep, NULL);
}

enum err
api_task_operations_of(struct request *req, struct reply *rep)
{
	return list_operations(req, rep, req->ids[0]);
}
