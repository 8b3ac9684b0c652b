/*
 * The rows of chat.user_facts.
 */
#include <string.h>

#include "base/buf.h"
#include "chat/fact.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "http/request.h"

#define TEXT_OF_(n) #n
#define TEXT_OF(n)  TEXT_OF_(n)

/* The order of FACT_COLUMNS in queries_context.def. */
static const struct row_column columns[] = {
    {"id", ROW_TEXT},
    {"content", ROW_TEXT},
    {"created_at", ROW_TIME},
    {"updated_at", ROW_TIME},
};
static const struct row_shape shape = ROW_SHAPE(columns, 0);

/* Facts are a list of lines; a blank one is none. */
static enum err
check(struct request *req, const char *content)
{
	for (const char *p = content; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return request_refuse(req, "content",
			    "It must be one line, without control characters.");
	if (content[strspn(content, " ")] == '\0')
		return request_refuse(
		    req, "content", "It must hold some text.");
	return OK;
}

enum err
facts_list(struct request *req, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_FACTS_LIST),
	    .params = {req->who.user_id, TEXT_OF(FACTS_MAX)},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	rows_write_all(out, &shape, call.result);
	pg_calls_clear(&call, 1);
	return OK;
}

enum err
fact_create(struct request *req, const char *content, struct buf *out,
    char out_id[static ID_TEXT])
{
	char id[ID_TEXT];
	id_make(id);
	struct pg_call calls[] = {
	    {.query = chat_query(CHAT_FACTS_LOCK),
		.params = {req->who.user_id}},
	    {.query = chat_query(CHAT_FACT_CREATE),
		.params = {req->who.user_id, id, content, TEXT_OF(FACTS_MAX)}},
	};
	enum err e = check(req, content);
	if (e == OK)
		e = chat_run(req, calls, 2);
	if (e != OK)
		return e;
	if (pg_rows(calls[1].result) == 0)
		e = request_refuse(req, "content",
		    "There are " TEXT_OF(FACTS_MAX) " facts already.");
	else
		rows_write(out, &shape, calls[1].result, 0);
	pg_calls_clear(calls, 2);
	if (e == OK)
		memcpy(out_id, id, sizeof(id));
	return e;
}

enum err
fact_update(
    struct request *req, const char *id, const char *content, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_FACT_PATCH),
	    .params = {req->who.user_id, id, content},
	};
	enum err e = content ? check(req, content) : OK;
	if (e != OK)
		return e;
	return id_is_uuid(id) ? rows_one(req, &shape, &call, out)
			      : ERR_NOT_FOUND;
}

enum err
fact_delete(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_FACT_DELETE),
	    .params = {req->who.user_id, id},
	};
	return id_is_uuid(id) ? rows_change(req, &call) : ERR_NOT_FOUND;
}
