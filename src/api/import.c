/*
 * POST /conversations/import: reads the file, calls chat/import.h, says what
 * came of it. Knows neither form nor SQL.
 */
#include "api/api.h"
#include "api/page.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"
#include "chat/import.h"
#include "http/reply.h"
#include "http/request.h"

#define DEPTH_MAX 32

enum err
api_conversations_import(struct request *req, struct reply *rep)
{
	AUTO_JSON struct json_object *file = NULL;
	struct import_result result = {0};
	struct buf body = {0};
	enum err e = json_parse_any(req->body, req->body_len, DEPTH_MAX, &file);
	if (e == OK)
		e = import_conversations(req, file, &result);
	json_write_open(&body, NULL, '{');
	json_write_number(&body, "conversations", result.conversations);
	json_write_number(&body, "messages", result.messages);
	json_write_number(&body, "already_there", result.known);
	json_write_number(&body, "left_out", result.left_out);
	json_write_close(&body, '}');
	return page_reply(req, rep, e, 200, &body);
}
