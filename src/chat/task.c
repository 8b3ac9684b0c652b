/*
 * The rows of chat.tasks and of their log. The only file that knows the order
 * of their columns.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "chat/task.h"
#include "http/request.h"

/* The order of TASK_COLUMNS in records.def. */
enum { ID = 0, DUE_AT = 5, CREATED_AT = 11 };

static const struct row_column columns[] = {
    {"id", ROW_TEXT},
    {"title", ROW_TEXT},
    {"description", ROW_TEXT},
    {"status", ROW_TEXT},
    {"priority", ROW_TEXT},
    {"due_at", ROW_TIME},
    {"completed_at", ROW_TIME},
    {"tags", ROW_RAW},
    {"metadata", ROW_RAW},
    {"conversation_id", ROW_TEXT},
    {"message_id", ROW_TEXT},
    {"created_at", ROW_TIME},
    {"updated_at", ROW_TIME},
};
static const struct row_column columns_of_operation[] = {
    {"id", ROW_TEXT},
    {"task_id", ROW_TEXT},
    {"operation_type", ROW_TEXT},
    {"source", ROW_TEXT},
    {"original_command", ROW_TEXT},
    {"parameters", ROW_RAW},
    {"result", ROW_RAW},
    {"is_success", ROW_FLAG},
    {"error_code", ROW_TEXT},
    {"conversation_id", ROW_TEXT},
    {"message_id", ROW_TEXT},
    {"created_at", ROW_TIME},
};

static const struct row_shape shape = ROW_SHAPE(columns, CREATED_AT, ID);
static const struct row_shape shape_by_due = ROW_SHAPE(columns, DUE_AT, ID);
static const struct row_shape shape_of_operation =
    ROW_SHAPE(columns_of_operation, 11, 0);

/* The keys before the first row of what is due. */
#define DUE_FIRST "-infinity"
#define ID_FIRST  "00000000-0000-0000-0000-000000000000"

enum err
task_create(struct request *req, const struct task_change *c, struct buf *out,
    char out_id[static ID_TEXT])
{
	char id[ID_TEXT];
	char log[ID_TEXT];
	id_make(id);
	id_make(log);
	struct pg_call call = {
	    .query = chat_query(CHAT_TASK_CREATE),
	    .params = {req->who.user_id, id, c->title, c->description,
		c->status, c->priority, c->due_at, c->tags, c->metadata, log,
		c->asked},
	};
	enum err e = rows_one(req, &shape, &call, out);
	if (e == OK)
		memcpy(out_id, id, sizeof(id));
	return e;
}

enum err
task_get(struct request *req, const char *id, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_TASK_GET),
	    .params = {req->who.user_id, id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	return rows_one(req, &shape, &call, out);
}

enum err
tasks_list(struct request *req, const struct tasks_ask *ask, struct buf *out,
    const char *out_next[static 2])
{
	const char *time = ask->after[0];
	const char *id = ask->after[1];
	if (!time) {
		time = ask->is_by_due ? DUE_FIRST : ROWS_TIME_LAST;
		id = ask->is_by_due ? ID_FIRST : ROWS_ID_LAST;
	}
	struct pg_call call = {
	    .query = chat_query(CHAT_TASKS_LIST),
	    .params = {req->who.user_id, ask->status, ask->priority,
		ask->due_before, ask->due_after, ask->tag, ask->q,
		ask->metadata, ask->is_by_due ? "t" : "f", time, id,
		ask->limit_text},
	};
	return rows_page(req, ask->is_by_due ? &shape_by_due : &shape, &call,
	    ask->limit, out, out_next);
}

enum err
task_update(struct request *req, const char *id, const struct task_change *c,
    struct buf *out)
{
	char log[ID_TEXT];
	id_make(log);
	struct pg_call call = {
	    .query = chat_query(CHAT_TASK_PATCH),
	    .params = {req->who.user_id, id, c->title, c->description,
		c->status, c->priority, c->due_at, c->has_due_at ? "t" : "f",
		c->tags, c->metadata, log, c->asked},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = rows_one(req, &shape, &call, out);
	if (e == ERR_INVALID_FIELD)
		return request_refuse(
		    req, "metadata", "It would grow beyond 32 KiB with this.");
	return e;
}

enum err
task_delete(struct request *req, const char *id)
{
	char log[ID_TEXT];
	id_make(log);
	struct pg_call call = {
	    .query = chat_query(CHAT_TASK_DELETE),
	    .params = {req->who.user_id, id, log},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	return rows_change(req, &call);
}

static struct pg_call
operations_call(struct request *req, const struct operations_ask *ask)
{
	const char *user = req->who.user_id;
	bool is_first = !ask->after[0];
	const char *time = is_first ? ROWS_TIME_LAST : ask->after[0];
	const char *id = is_first ? ROWS_ID_LAST : ask->after[1];
	if (ask->task_id)
		return (struct pg_call){
		    .query = chat_query(CHAT_TASK_OPERATIONS_OF_TASK),
		    .params = {user, ask->task_id, id, ask->limit_text},
		};
	if (ask->type)
		return (struct pg_call){
		    .query = chat_query(CHAT_TASK_OPERATIONS_OF_TYPE),
		    .params = {user, ask->type, id, ask->limit_text},
		};
	return (struct pg_call){
	    .query = chat_query(CHAT_TASK_OPERATIONS),
	    .params = {user, time, id, ask->limit_text},
	};
}

enum err
task_operations(struct request *req, const struct operations_ask *ask,
    struct buf *out, const char *out_next[static 2])
{
	if (ask->task_id && !id_is_uuid(ask->task_id))
		return ERR_NOT_FOUND;
	struct pg_call call = operations_call(req, ask);
	size_t before = out->n;
	enum err e = rows_page(
	    req, &shape_of_operation, &call, ask->limit, out, out_next);
	if (e != OK || !ask->task_id || ask->after[0] ||
	    out->n > before + strlen("[]"))
		return e;
	struct buf task = {0};
	e = task_get(req, ask->task_id, &task);
	buf_free(&task);
	return e;
}
