/*
 * /conversations/{id}/export and /me/export: says what the file is and leaves
 * its contents to chat/export.h. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "auth/audit.h"
#include "base/arena.h"
#include "chat/export.h"
#include "http/reply.h"
#include "http/request.h"

/* A file to be kept, not shown. */
static enum err
attach(struct request *req, struct reply *rep, const char *type,
    const char *name, const char *ending)
{
	const char *value = arena_printf(
	    req->arena, "attachment; filename=\"%s.%s\"", name, ending);
	if (!value)
		return ERR_TOO_LARGE;
	rep->status = 200;
	rep->content_type = type;
	reply_header(rep, "Content-Disposition", value);
	return OK;
}

enum err
api_conversation_export(struct request *req, struct reply *rep)
{
	const char *format;
	const char *ids[2];
	enum err e = request_query(req, "format", &format);
	if (e != OK)
		return e;
	bool is_markdown = format && !strcmp(format, "markdown");
	if (format && !is_markdown && strcmp(format, "json") != 0)
		return request_refuse(
		    req, "format", "It takes json or markdown.");
	e = is_markdown
		? export_markdown(req, req->ids[0], &rep->source, ids)
		: export_conversation(req, req->ids[0], &rep->source, ids);
	if (e == OK)
		e = audit_note_export(req, "conversation", ids[0]);
	if (e != OK)
		return e;
	const char *name = arena_printf(req->arena, "conversation-%s", ids[1]);
	return attach(req, rep,
	    is_markdown ? "text/markdown; charset=utf-8" : "application/json",
	    name ? name : "conversation", is_markdown ? "md" : "json");
}

enum err
api_me_export(struct request *req, struct reply *rep)
{
	enum err e = export_me(req, &rep->source);
	if (e == OK)
		e = audit_note_export(req, "user", req->who.user_id);
	if (e != OK)
		return e;
	return attach(req, rep, "application/json", "natter-export", "json");
}
