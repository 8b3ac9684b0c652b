/*
 * /stores, and /admin/stores with their members: reads the request, calls
 * chat/store.c and chat/admin.c. Knows no SQL. Round trips: one.
 */
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "chat/admin.h"
#include "chat/conversation.h"
#include "chat/store.h"
#include "chat/store_setting.h"
#include "http/reply.h"
#include "http/request.h"

enum {
	SLUG,
	NAME,
	DESCRIPTION,
	IS_OPEN,
	IS_ACTIVE,
	MODEL,
	SYSTEM_PROMPT,
	SETTINGS,
	METADATA,
	N_FIELDS
};

static const struct field fields_of_store[N_FIELDS] = {
    [SLUG] = {"slug", FIELD_TEXT, .min = 1, .max = 64},
    [NAME] = {"name", FIELD_TEXT, .min = 1, .max = 200},
    [DESCRIPTION] = {"description", FIELD_TEXT, .max = 2000},
    [IS_OPEN] = {.name = "is_open", .kind = FIELD_FLAG},
    [IS_ACTIVE] = {.name = "is_active", .kind = FIELD_FLAG},
    [MODEL] = {"model", FIELD_TEXT, .min = 1, .max = MODEL_NAME_MAX,
	.nullable = true},
    [SYSTEM_PROMPT] = {"system_prompt", FIELD_TEXT, .max = 32000,
	.nullable = true},
    [SETTINGS] = {"settings", FIELD_OBJECT, .max = CONVERSATION_METADATA_MAX},
    [METADATA] = {"metadata", FIELD_OBJECT, .max = CONVERSATION_METADATA_MAX},
};

enum err
api_stores_list(struct request *req, struct reply *rep)
{
	struct list_ask list;
	struct buf body = {0};
	const char *next[3] = {NULL}; /* ended with NULL */
	enum err e = fields_list(req, "stores", NULL, 0, &list);
	page_open(&body);
	if (e == OK)
		e = stores_list(req, list.after[0] ? list.after[0] : "",
		    list.limit, list.limit_text, &body, next);
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_store_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = store_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

/* Checks the body; the function takes it as it is. */
static enum err
check_store(struct request *req, bool is_new)
{
	struct field_value v[N_FIELDS] = {0};
	struct field fields[N_FIELDS];
	memcpy(fields, fields_of_store, sizeof(fields));
	fields[SLUG].required = is_new;
	fields[NAME].required = is_new;
	enum err e = fields_read(req, fields, N_FIELDS, v);
	if (e == OK && v[MODEL].text && !model_name_is_fit(v[MODEL].text))
		e = request_refuse(req, "model", "It must be a model's name.");
	if (e == OK && v[SETTINGS].text)
		e = store_settings_check(req, v[SETTINGS].text);
	return e;
}

enum err
api_admin_store_post(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	char id[ID_TEXT];
	enum err e = check_store(req, true);
	if (e == OK)
		e = admin_store_put(req, NULL, req->body, &body, id);
	if (e == OK)
		fields_location(req, rep, "admin/stores", id);
	return page_reply(req, rep, e, 201, &body);
}

enum err
api_admin_store_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = admin_store_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_store_patch(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	char id[ID_TEXT];
	enum err e = check_store(req, false);
	if (e == OK)
		e = admin_store_put(req, req->ids[0], req->body, &body, id);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_store_delete(struct request *req, struct reply *rep)
{
	enum err e = admin_store_delete(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_admin_member_put(struct request *req, struct reply *rep)
{
	static const struct field fields[] = {
	    {"role", FIELD_WORD, .words = "member manager"},
	};
	struct field_value v[1] = {0};
	struct buf body = {0};
	enum err e = req->body_len ? fields_read(req, fields, 1, v) : OK;
	if (e == OK)
		e = admin_member_put(
		    req, req->ids[0], req->ids[1], v[0].text, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_member_delete(struct request *req, struct reply *rep)
{
	enum err e = admin_member_delete(req, req->ids[0], req->ids[1]);
	return e ? e : reply_empty(rep, 204);
}
