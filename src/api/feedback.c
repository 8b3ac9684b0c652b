/*
 * /messages/{id}/feedback: reads the request, calls chat/feedback.c, writes the
 * reply. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "chat/feedback.h"
#include "http/reply.h"
#include "http/request.h"

#define UTF8_MAX 4 /* most bytes of a character */

static enum err
read_rating(struct request *req, struct json_object *body, const char **out)
{
	static const struct field_rule rule = {
	    .name = "rating", .min = 1, .max = 16, .required = true};
	const char *word;
	enum err e = request_field(req, body, &rule, &word);
	if (e != OK)
		return e;
	if (strcmp(word, "up") != 0 && strcmp(word, "down") != 0)
		return request_refuse(req, "rating", "It takes up or down.");
	*out = !strcmp(word, "up") ? "1" : "-1";
	return OK;
}

static bool
is_reason(struct json_object *o)
{
	if (!json_object_is_type(o, json_type_string))
		return false;
	size_t bytes = (size_t)json_object_get_string_len(o);
	size_t n = text_length(json_object_get_string(o), bytes);
	return n >= 1 && n <= FEEDBACK_REASON_MAX;
}

static enum err
read_reasons(struct request *req, struct json_object *body, const char **out)
{
	static const char wrong[] =
	    "It must be an array of at most 10 strings of 1 to 64 characters.";
	struct json_object *reasons;
	if (!json_object_object_get_ex(body, "reasons", &reasons))
		return OK;
	if (!json_object_is_type(reasons, json_type_array) ||
	    json_object_array_length(reasons) > FEEDBACK_REASONS_MAX)
		return request_refuse(req, "reasons", wrong);
	for (size_t i = 0; i < json_object_array_length(reasons); i++) {
		if (!is_reason(json_object_array_get_idx(reasons, i)))
			return request_refuse(req, "reasons", wrong);
	}
	*out = arena_strdup(req->arena, json_text(reasons, NULL));
	return *out ? OK : ERR_TOO_LARGE;
}

static enum err
read_comment(struct request *req, struct json_object *body, const char **out)
{
	static const struct field_rule rule = {.name = "comment",
	    .max = (size_t)FEEDBACK_COMMENT_MAX * UTF8_MAX,
	    .nullable = true};
	enum err e = request_field(req, body, &rule, out);
	if (e == OK && *out &&
	    text_length(*out, strlen(*out)) > FEEDBACK_COMMENT_MAX)
		return request_refuse(
		    req, "comment", "It takes at most 4000 characters.");
	return e;
}

enum err
api_feedback_put(struct request *req, struct reply *rep)
{
	static const char *const known[] = {
	    "rating", "reasons", "comment", NULL};
	AUTO_JSON struct json_object *body = NULL;
	struct feedback f = {0};
	struct buf out = {0};
	enum err e = request_json(req, &body);
	if (e == OK)
		e = request_known_fields(req, body, known);
	if (e == OK)
		e = read_rating(req, body, &f.rating);
	if (e == OK)
		e = read_reasons(req, body, &f.reasons);
	if (e == OK)
		e = read_comment(req, body, &f.comment);
	if (e == OK)
		e = feedback_put(req, req->ids[0], &f, &out);
	return page_reply(req, rep, e, 200, &out);
}

enum err
api_feedback_get(struct request *req, struct reply *rep)
{
	struct buf out = {0};
	enum err e = feedback_get(req, req->ids[0], &out);
	return page_reply(req, rep, e, 200, &out);
}

enum err
api_feedback_delete(struct request *req, struct reply *rep)
{
	enum err e = feedback_delete(req, req->ids[0]);
	return e == OK ? reply_empty(rep, 204) : e;
}
