/*
 * /admin/stores/{id}/tools: reads the request, has it checked, calls
 * chat/store_tool.c, writes the reply. A secret is shown once, where Natter
 * made it. Knows no SQL. Round trips: one.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/json_write.h"
#include "chat/store_tool.h"
#include "chat/store_tool_rule.h"
#include "http/reply.h"
#include "http/request.h"

enum {
	NAME,
	DESCRIPTION,
	PARAMETERS,
	URL,
	METHOD,
	TIMEOUT_MS,
	IS_ACTIVE,
	SECRET,
	N_FIELDS
};

/* store_tool_check knows what they must be like. */
#define ANY_TEXT FIELD_BYTES, .max = 8192
static const struct field fields_of_tool[N_FIELDS] = {
    [NAME] = {"name", ANY_TEXT},
    [DESCRIPTION] = {"description", ANY_TEXT},
    [PARAMETERS] = {"parameters", FIELD_OBJECT, .max = STORE_TOOL_SCHEMA_MAX},
    [URL] = {"url", ANY_TEXT},
    [METHOD] = {"method", ANY_TEXT},
    [TIMEOUT_MS] = {.name = "timeout_ms", .kind = FIELD_NUMBER},
    [IS_ACTIVE] = {.name = "is_active", .kind = FIELD_FLAG},
    [SECRET] = {"secret", ANY_TEXT},
};
/* A change has its secret by a route of its own: nobody loses one by mistake.
 */
#define N_CHANGES SECRET

static enum err
check(struct request *req, const struct field_value *v)
{
	const struct store_tool_said said = {
	    .name = v[NAME].text,
	    .description = v[DESCRIPTION].text,
	    .parameters = v[PARAMETERS].text,
	    .url = v[URL].text,
	    .method = v[METHOD].text,
	    .timeout_ms = v[TIMEOUT_MS].text,
	    .secret = v[SECRET].text,
	    .allowed = req->services->config->tools_allow,
	};
	struct store_tool_fault fault;
	if (store_tool_check(&said, &fault) == OK)
		return OK;
	return request_refuse(
	    req, fault.field, arena_strdup(req->arena, fault.why));
}

/* Puts a secret that was made here into the object that `body` ends with. */
static void
show_secret(struct buf *body, const char *secret)
{
	assert(body->n > 0 && body->p[body->n - 1] == '}');
	body->n--;
	json_write_text(body, "secret", secret);
	buf_putc(body, '}');
}

enum err
api_admin_tool_post(struct request *req, struct reply *rep)
{
	struct field fields[N_FIELDS];
	struct field_value v[N_FIELDS] = {0};
	struct buf body = {0};
	char id[ID_TEXT], made[STORE_TOOL_SECRET] = "";
	const struct store_tool_key key = {req->ids[0], id};
	memcpy(fields, fields_of_tool, sizeof(fields));
	fields[NAME].required = fields[DESCRIPTION].required = true;
	fields[PARAMETERS].required = fields[URL].required = true;
	enum err e = fields_read(req, fields, N_FIELDS, v);
	if (e == OK)
		e = check(req, v);
	id_make(id);
	if (e == OK && !v[SECRET].text)
		store_tool_secret(made);
	if (e == OK)
		e = store_tool_put(req, &key,
		    v[SECRET].text ? v[SECRET].text : made, req->body, &body);
	if (e == OK && *made)
		show_secret(&body, made);
	if (e == OK)
		fields_location(req, rep,
		    arena_printf(
			req->arena, "admin/stores/%s/tools", req->ids[0]),
		    id);
	explicit_bzero(made, sizeof(made));
	return page_reply(req, rep, e, 201, &body);
}

enum err
api_admin_tool_get(struct request *req, struct reply *rep)
{
	const struct store_tool_key key = {req->ids[0], req->ids[1]};
	struct buf body = {0};
	enum err e = store_tool_get(req, &key, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_tool_patch(struct request *req, struct reply *rep)
{
	const struct store_tool_key key = {req->ids[0], req->ids[1]};
	struct field_value v[N_FIELDS] = {0};
	struct buf body = {0};
	enum err e = fields_read(req, fields_of_tool, N_CHANGES, v);
	if (e == OK)
		e = check(req, v);
	if (e == OK)
		e = store_tool_put(req, &key, NULL, req->body, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_tool_secret(struct request *req, struct reply *rep)
{
	static const struct field fields[] = {
	    {"secret", ANY_TEXT},
	    {.name = "overlap_seconds", .kind = FIELD_NUMBER},
	};
	const struct store_tool_key key = {req->ids[0], req->ids[1]};
	struct field_value v[2] = {0}, said[N_FIELDS] = {0};
	char made[STORE_TOOL_SECRET] = "", overlap[12];
	struct buf body = {0};
	long overlap_s = STORE_TOOL_OVERLAP_S;
	enum err e = req->body_len ? fields_read(req, fields, 2, v) : OK;
	said[SECRET] = v[0];
	if (e == OK)
		e = check(req, said);
	if (e == OK && v[1].text && !store_tool_overlap(v[1].text, &overlap_s))
		e = request_refuse(req, "overlap_seconds",
		    "It must be a whole number from 0 to 2592000.");
	if (e == OK && !v[0].text)
		store_tool_secret(made);
	(void)snprintf(overlap, sizeof(overlap), "%ld", overlap_s);
	if (e == OK)
		e = store_tool_rotate(
		    req, &key, v[0].text ? v[0].text : made, overlap, &body);
	if (e == OK && *made)
		show_secret(&body, made);
	explicit_bzero(made, sizeof(made));
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_tool_delete(struct request *req, struct reply *rep)
{
	const struct store_tool_key key = {req->ids[0], req->ids[1]};
	enum err e = store_tool_delete(req, &key);
	return e ? e : reply_empty(rep, 204);
}
