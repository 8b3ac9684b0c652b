/*
 * /conversations: reads the request, calls chat/conversation.c, writes the
 * reply. The fields' limits are the domain's; how a refusal reads is decided
 * here. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/conversation.h"
#include "http/reply.h"
#include "http/request.h"

#define DAY_MS         86400000
#define OLDER_THAN_MAX 36500 /* days */

/* Most bytes that one character takes. */
#define UTF8_MAX 4

static const char *const fields_of_new[] = {
    "title",
    "metadata",
    "tags",
    "model",
    "system_prompt",
    "store_id",
    "temporary",
    "expires_at",
    "expires_in",
    "documents",
    NULL,
};

static const char *const fields_of_change[] = {
    "title",
    "metadata",
    "tags",
    "model",
    "system_prompt",
    "is_archived",
    "is_active",
    "store_id",
    "expires_at",
    "leaf_id",
    "documents",
    NULL,
};

static enum err
read_title(struct request *req, struct json_object *body, const char **out)
{
	static const struct field_rule rule = {
	    .name = "title",
	    .max = CONVERSATION_TITLE_MAX * UTF8_MAX,
	};
	enum err e = request_field(req, body, &rule, out);
	if (e != OK || !*out)
		return e;
	if (text_length(*out, strlen(*out)) > CONVERSATION_TITLE_MAX)
		return request_refuse(
		    req, "title", "It takes at most 200 characters.");
	return OK;
}

static enum err
check_tag(struct request *req, struct json_object *tag)
{
	if (json_object_is_type(tag, json_type_string)) {
		size_t bytes = (size_t)json_object_get_string_len(tag);
		size_t n = text_length(json_object_get_string(tag), bytes);
		if (n >= 1 && n <= CONVERSATION_TAG_MAX)
			return OK;
	}
	return request_refuse(
	    req, "tags", "Each must be a string of 1 to 64 characters.");
}

/* The tags as JSON text. */
static enum err
read_tags(struct request *req, struct json_object *body, const char **out)
{
	struct json_object *tags;
	if (!json_object_object_get_ex(body, "tags", &tags))
		return OK;
	if (!json_object_is_type(tags, json_type_array) ||
	    json_object_array_length(tags) > CONVERSATION_TAGS_MAX)
		return request_refuse(
		    req, "tags", "It must be an array of at most 20 strings.");
	for (size_t i = 0; i < json_object_array_length(tags); i++) {
		enum err e = check_tag(req, json_object_array_get_idx(tags, i));
		if (e != OK)
			return e;
	}
	*out = arena_strdup(req->arena, json_text(tags, NULL));
	return *out ? OK : ERR_TOO_LARGE;
}

/* Reads the model and the system prompt: null clears them. */
static enum err
read_model(struct request *req, struct json_object *body,
    struct conversation_change *c)
{
	static const struct field_rule model = {
	    .name = "model",
	    .min = 1,
	    .max = MODEL_NAME_MAX,
	    .nullable = true,
	};
	static const struct field_rule prompt = {
	    .name = "system_prompt",
	    .max = CONVERSATION_PROMPT_MAX,
	    .nullable = true,
	};
	enum err e = request_field(req, body, &model, &c->model);
	if (e == OK && c->model && !model_name_is_fit(c->model))
		e = request_refuse(req, "model", "It must be a model's name.");
	if (e == OK)
		e = request_field(req, body, &prompt, &c->system_prompt);
	c->has_model = json_object_object_get_ex(body, "model", NULL);
	c->has_system_prompt =
	    json_object_object_get_ex(body, "system_prompt", NULL);
	return e;
}

static enum err
read_flag(struct request *req, struct json_object *body, const char *name,
    const char **out)
{
	bool flag = false;
	if (!json_object_object_get_ex(body, name, NULL))
		return OK;
	enum err e = request_field_flag(req, body, name, &flag);
	if (e == OK)
		*out = flag ? "t" : "f";
	return e;
}

/* Reads the store: null is none. */
static enum err
read_store(struct request *req, struct json_object *body,
    struct conversation_change *c)
{
	static const struct field_rule rule = {
	    .name = "store_id",
	    .min = 1,
	    .max = 64,
	    .nullable = true,
	};
	enum err e = request_field(req, body, &rule, &c->store_id);
	if (e == OK && c->store_id && !id_is_uuid(c->store_id))
		e = request_refuse(req, "store_id", "It must be a UUID.");
	c->has_store = json_object_object_get_ex(body, "store_id", NULL);
	return e;
}

/* Reads whether documents are looked through: null is as the store says. */
static enum err
read_documents(struct request *req, struct json_object *body,
    struct conversation_change *c)
{
	struct json_object *value = NULL;
	c->has_documents = json_object_object_get_ex(body, "documents", &value);
	return value ? read_flag(req, body, "documents", &c->documents) : OK;
}

/* Reads the time of its end: null is never. */
static enum err
read_end(struct request *req, struct json_object *body,
    struct conversation_change *c)
{
	int64_t end_ms = 0;
	int64_t now_ms = (int64_t)clock_wall_ms();
	int64_t most_ms = (int64_t)CONVERSATION_LIFE_MAX * DAY_MS;
	enum err e =
	    request_field_time(req, body, "expires_at", &c->expires_at);
	if (e != OK)
		return e;
	c->has_end = json_object_object_get_ex(body, "expires_at", NULL);
	if (c->expires_at && clock_parse(c->expires_at, &end_ms) &&
	    (end_ms <= now_ms || end_ms > now_ms + most_ms))
		return request_refuse(req, "expires_at",
		    "It must be a time to come, within 366 days.");
	return OK;
}

static enum err
read_leaf(struct request *req, struct json_object *body, const char **out)
{
	static const struct field_rule rule = {
	    .name = "leaf_id", .min = 1, .max = 64};
	enum err e = request_field(req, body, &rule, out);
	if (e == OK && *out && !id_is_uuid(*out))
		e = request_refuse(req, "leaf_id", "It must be a UUID.");
	return e;
}

/* Reads how long a new one is to live, in whichever way that is said. */
static enum err
read_life(struct request *req, struct json_object *body,
    struct conversation_change *c)
{
	struct json_object *seconds = NULL;
	bool is_temporary = false;
	enum err e = request_field_flag(req, body, "temporary", &is_temporary);
	if (e != OK)
		return e;
	if (json_object_object_get_ex(body, "expires_in", &seconds)) {
		int64_t n = json_object_get_int64(seconds);
		if (!json_object_is_type(seconds, json_type_int) || n < 1 ||
		    n > (int64_t)CONVERSATION_LIFE_MAX * DAY_MS / 1000)
			return request_refuse(req, "expires_in",
			    "It must be a number of seconds, at most those "
			    "of 366 days.");
		if (c->expires_at)
			return request_refuse(req, "expires_in",
			    "It cannot stand beside expires_at.");
		c->expires_in = arena_printf(req->arena, "%lld", (long long)n);
	} else if (is_temporary && !c->expires_at) {
		c->expires_in = arena_printf(req->arena, "%ld",
		    req->services->config->temporary_hours * 3600);
	}
	return OK;
}

/* Reads what a body sets, of the fields in `known`. */
static enum err
read_change(struct request *req, const char *const *known,
    struct conversation_change *out)
{
	AUTO_JSON struct json_object *body = NULL;
	struct conversation_change c = {0};
	enum err e = request_json(req, &body);
	if (e == OK)
		e = request_known_fields(req, body, known);
	if (e == OK)
		e = read_title(req, body, &c.title);
	if (e == OK)
		e = request_field_object(req, body, "metadata",
		    CONVERSATION_METADATA_MAX, &c.metadata);
	if (e == OK)
		e = read_tags(req, body, &c.tags);
	if (e == OK)
		e = read_model(req, body, &c);
	if (e == OK)
		e = read_flag(req, body, "is_archived", &c.is_archived);
	if (e == OK)
		e = read_flag(req, body, "is_active", &c.is_active);
	if (e == OK)
		e = read_store(req, body, &c);
	if (e == OK)
		e = read_end(req, body, &c);
	if (e == OK)
		e = read_life(req, body, &c);
	if (e == OK)
		e = read_leaf(req, body, &c.leaf_id);
	if (e == OK)
		e = read_documents(req, body, &c);
	if (e == OK)
		*out = c;
	return e;
}

enum err
api_conversation_create(struct request *req, struct reply *rep)
{
	struct conversation_change c;
	struct buf body = {0};
	char id[ID_TEXT];
	enum err e = read_change(req, fields_of_new, &c);
	if (e == OK)
		e = conversation_create(req, &c, &body, id);
	if (e == OK) {
		const char *location =
		    arena_printf(req->arena, "/api/v1/conversations/%s", id);
		if (location)
			reply_header(rep, "Location", location);
	}
	return page_reply(req, rep, e, 201, &body);
}

enum err
api_conversation_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = conversation_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_conversation_patch(struct request *req, struct reply *rep)
{
	struct conversation_change c;
	struct buf body = {0};
	enum err e = read_change(req, fields_of_change, &c);
	if (e == OK)
		e = conversation_update(req, req->ids[0], &c, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_conversation_delete(struct request *req, struct reply *rep)
{
	enum err e = conversation_delete(req, req->ids[0]);
	if (e != OK)
		return e;
	return reply_empty(rep, 204);
}

enum err
api_conversation_touch(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = conversation_touch(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

/* Never all of them: how old must be said. */
enum err
api_conversations_delete(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	long days;
	int n = 0;
	enum err e = request_query_number(
	    req, "older_than_days", 0, 1, OLDER_THAN_MAX, &days);
	if (e == OK && days == 0)
		e = request_refuse(req, "older_than_days", "It is required.");
	if (e == OK)
		e = conversations_delete_old(req, days, &n);
	json_write_open(&body, NULL, '{');
	json_write_number(&body, "deleted", n);
	json_write_flag(&body, "has_more", n == CONVERSATIONS_DELETE_MAX);
	json_write_close(&body, '}');
	return page_reply(req, rep, e, 200, &body);
}
