/*
 * /me/facts, and what a reply's model was told: reads the request, calls
 * chat/fact.c and chat/context_show.c, writes the reply. Knows no SQL.
 */
#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/buf.h"
#include "chat/context_show.h"
#include "chat/fact.h"
#include "http/reply.h"
#include "http/request.h"

static enum err
read_content(struct request *req, bool is_new, const char **out)
{
	const struct field fields[] = {
	    {"content", FIELD_TEXT, .required = is_new, .min = 1,
		.max = FACT_CHARS_MAX},
	};
	struct field_value v[1] = {0};
	enum err e = fields_read(req, fields, 1, v);
	if (e == OK)
		*out = v[0].text;
	return e;
}

enum err
api_facts_list(struct request *req, struct reply *rep)
{
	const char *none[2] = {NULL};
	struct buf body = {0};
	page_open(&body);
	enum err e = facts_list(req, &body);
	if (e == OK)
		e = page_close(req, &body, "facts", none);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_fact_post(struct request *req, struct reply *rep)
{
	const char *content = NULL;
	struct buf body = {0};
	char id[ID_TEXT];
	enum err e = read_content(req, true, &content);
	if (e == OK)
		e = fact_create(req, content, &body, id);
	if (e == OK)
		fields_location(req, rep, "me/facts", id);
	return page_reply(req, rep, e, 201, &body);
}

enum err
api_fact_patch(struct request *req, struct reply *rep)
{
	const char *content = NULL;
	struct buf body = {0};
	enum err e = read_content(req, false, &content);
	if (e == OK)
		e = fact_update(req, req->ids[0], content, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_fact_delete(struct request *req, struct reply *rep)
{
	enum err e = fact_delete(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_message_context(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = context_show(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}
