/*
 * What a request for a completion must look like. Checked is what Natter acts
 * upon, and what would reach the model in a form that no server takes; members
 * that nobody here knows go along as they are. What goes along is written anew
 * from what was parsed: a member that came twice, or under an escaped name,
 * goes once, and is the one that was checked.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "base/text.h"
#include "chat/completion.h"
#include "chat/conversation.h"
#include "http/request.h"
#include "model/model_server.h"
#include "model/model.h"

#define MAX_TOKENS_MAX 1000000

/* Metadata as OpenAI bounds them. */
#define PAIRS_MAX 16
#define KEY_MAX   64
#define VALUE_MAX 512

/*
 * A text of so many bytes without anything but what base64 is made of is a
 * picture or a sound. Models count those by other rules: as a text of this
 * length.
 */
#define BLOB_MIN   2048
#define BLOB_BYTES 4096
#define BASE64                                               \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx" \
	"yz0123456789+/_-="

/* Arrays and objects that wait to be looked at; the parser's depth is 32. */
#define WAITING_MAX 512

/* Members that are Natter's to set, or to act upon. */
static const char *const own_members[] = {"model", "stream", "stream_options",
    "n", "store", "metadata", "user", "max_tokens", "max_completion_tokens"};

#define REFUSE(req, field, ...) \
	request_refuse((req), (field), arena_printf((req)->arena, __VA_ARGS__))

/* A member that is not null; NULL otherwise. */
static struct json_object *
member(struct json_object *o, const char *name)
{
	struct json_object *value = NULL;
	(void)json_object_object_get_ex(o, name, &value);
	return value;
}

static enum err
read_flag(struct request *req, struct json_object *body, const char *name,
    bool *out_flag)
{
	return member(body, name)
		   ? request_field_flag(req, body, name, out_flag)
		   : OK;
}

/* Without a model's server every name means natter-local. */
static enum err
read_model(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	static const struct field_rule rule = {
	    .name = "model", .min = 1, .max = MODEL_NAME_MAX, .nullable = true};
	const struct config *config = req->services->config;
	enum err e = request_field(req, body, &rule, &ask->model);
	if (e != OK)
		return e;
	if (ask->model && !model_name_is_fit(ask->model))
		return request_refuse(
		    req, "model", "It must be a model's name.");
	if (!model_is_configured(config))
		ask->model = LOCAL_MODEL;
	else if (!ask->model)
		ask->model = config->model;
	return OK;
}

static enum err
check_n(struct request *req, struct json_object *body)
{
	struct json_object *n = member(body, "n");
	if (n && (!json_object_is_type(n, json_type_int) ||
		     json_object_get_int64(n) != 1))
		return request_refuse(req, "n", "Only 1 is supported.");
	return OK;
}

/* In either name: the larger one counts. */
static enum err
read_max_tokens(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	static const char *const names[2] = {
	    "max_tokens", "max_completion_tokens"};
	for (size_t i = 0; i < 2; i++) {
		struct json_object *value = member(body, names[i]);
		if (!value)
			continue;
		int64_t n = json_object_get_int64(value);
		if (!json_object_is_type(value, json_type_int) || n < 1 ||
		    n > MAX_TOKENS_MAX)
			return request_refuse(req, names[i],
			    "It must be a whole number from 1 to 1000000.");
		if (n > ask->max_tokens)
			ask->max_tokens = n;
		ask->tokens_fields[i] = names[i];
	}
	return OK;
}

/* The inside of an object, without the members that `own` (NULL-ended) names;
 * in the arena. */
static const char *
write_inside(struct arena *a, struct json_object *o, const char *first,
    bool (*is_own)(const char *name))
{
	struct buf out = {0};
	json_object_object_foreach(o, name, value)
	{
		struct json_object *key;
		if (is_own(name) || (first && !strcmp(name, first)))
			continue;
		key = json_object_new_string(name);
		if (out.n > 0)
			buf_putc(&out, ',');
		json_append(&out, key);
		buf_putc(&out, ':');
		json_append(&out, value);
		json_object_put(key);
	}
	const char *text =
	    out.failed ? NULL : arena_strndup(a, out.p ? out.p : "", out.n);
	buf_free(&out);
	return text;
}

static bool
is_include_usage(const char *name)
{
	return !strcmp(name, "include_usage");
}

static enum err
read_stream(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	struct json_object *options = member(body, "stream_options");
	ask->stream_options = "";
	enum err e = read_flag(req, body, "stream", &ask->wants_stream);
	if (e != OK || !options)
		return e;
	if (!json_object_is_type(options, json_type_object))
		return request_refuse(
		    req, "stream_options", "It must be an object.");
	if (!ask->wants_stream)
		return request_refuse(req, "stream_options",
		    "It is only for requests with stream: true.");
	struct json_object *usage = member(options, "include_usage");
	if (usage && !json_object_is_type(usage, json_type_boolean))
		return request_refuse(req, "stream_options.include_usage",
		    "It must be true or false.");
	ask->wants_usage = usage && json_object_get_boolean(usage);
	ask->stream_options =
	    write_inside(req->arena, options, NULL, is_include_usage);
	return ask->stream_options ? OK : ERR_TOO_LARGE;
}

static enum err
check_pair(struct request *req, const char *name, struct json_object *value)
{
	const char *shown = arena_strndup(
	    req->arena, name, text_prefix(name, strlen(name), KEY_MAX));
	const char *field = arena_printf(req->arena, "metadata.%s", shown);
	if (text_length(name, strlen(name)) > KEY_MAX)
		return REFUSE(req, "metadata",
		    "A key may have at most %d characters.", KEY_MAX);
	if (!json_object_is_type(value, json_type_string))
		return request_refuse(req, field, "It must be a string.");
	if (text_length(json_object_get_string(value),
		(size_t)json_object_get_string_len(value)) > VALUE_MAX)
		return REFUSE(req, field, "It may have at most %d characters.",
		    VALUE_MAX);
	return OK;
}

static enum err
read_metadata(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	struct json_object *metadata = member(body, "metadata");
	enum err e = OK;
	if (!metadata)
		return OK;
	if (!json_object_is_type(metadata, json_type_object))
		return request_refuse(req, "metadata", "It must be an object.");
	if (json_object_object_length(metadata) > PAIRS_MAX)
		return REFUSE(
		    req, "metadata", "At most %d pairs are kept.", PAIRS_MAX);
	json_object_object_foreach(metadata, name, value)
	{
		if (e == OK)
			e = check_pair(req, name, value);
	}
	ask->metadata = arena_strdup(req->arena, json_text(metadata, NULL));
	return e != OK || ask->metadata ? e : ERR_TOO_LARGE;
}

/* "messages[3].content" */
static const char *
place(struct request *req, size_t i, const char *name)
{
	return arena_printf(
	    req->arena, "messages[%zu]%s%s", i, *name ? "." : "", name);
}

/* A part of a content: what it is, its type says. */
static enum err
check_parts(struct request *req, struct json_object *parts, size_t at)
{
	size_t n = json_object_array_length(parts);
	if (n == 0)
		return request_refuse(req, place(req, at, "content"),
		    "It must have a part at least.");
	for (size_t i = 0; i < n; i++) {
		struct json_object *part = json_object_array_get_idx(parts, i);
		const char *type = json_object_is_type(part, json_type_object)
				       ? json_member_text(part, "type")
				       : NULL;
		if (!type)
			return REFUSE(req,
			    arena_printf(req->arena,
				"messages[%zu].content[%zu]", at, i),
			    "It must be an object with a type.");
		if (!strcmp(type, "text") && !json_member_text(part, "text"))
			return REFUSE(req,
			    arena_printf(req->arena,
				"messages[%zu].content[%zu].text", at, i),
			    "It must be a string.");
	}
	return OK;
}

/* An assistant that called tools may have said nothing besides. */
static enum err
check_content(struct request *req, struct json_object *message, size_t at)
{
	const char *role = json_member_text(message, "role");
	struct json_object *content = member(message, "content");
	if (!content && !strcmp(role, "assistant"))
		return OK;
	if (json_object_is_type(content, json_type_array))
		return check_parts(req, content, at);
	if (!json_object_is_type(content, json_type_string))
		return request_refuse(req, place(req, at, "content"),
		    "It must be a string or an array of parts.");
	return OK;
}

static enum err
check_message(struct request *req, struct json_object *message, size_t at)
{
	static const char *const roles[] = {"system", "developer", "user",
	    "assistant", "tool", "function", NULL};
	size_t i = 0;
	if (!json_object_is_type(message, json_type_object))
		return request_refuse(
		    req, place(req, at, ""), "It must be an object.");
	const char *role = json_member_text(message, "role");
	while (roles[i] && (!role || strcmp(roles[i], role) != 0))
		i++;
	if (!roles[i])
		return request_refuse(req, place(req, at, "role"),
		    "It must be system, developer, user, assistant, tool or "
		    "function.");
	if (!strcmp(role, "tool") && !json_member_text(message, "tool_call_id"))
		return request_refuse(req, place(req, at, "tool_call_id"),
		    "It must name the call that is answered.");
	struct json_object *calls = member(message, "tool_calls");
	if (calls && !json_object_is_type(calls, json_type_array))
		return request_refuse(
		    req, place(req, at, "tool_calls"), "It must be an array.");
	return check_content(req, message, at);
}

const char *
completion_text(struct arena *a, struct json_object *content)
{
	struct buf out = {0};
	if (json_object_is_type(content, json_type_string))
		return arena_strdup(a, json_object_get_string(content));
	size_t n = json_object_is_type(content, json_type_array)
		       ? json_object_array_length(content)
		       : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *part =
		    json_object_array_get_idx(content, i);
		const char *text = json_member_text(part, "text");
		if (text && out.n > 0)
			buf_putc(&out, '\n');
		if (text)
			buf_puts(&out, text);
	}
	const char *text =
	    out.failed ? NULL : arena_strndup(a, out.p ? out.p : "", out.n);
	buf_free(&out);
	return text;
}

/* All that is said but by the model, for moderation: the client may put what it
 * wants into any message. */
static const char *
all_words(struct arena *a, struct json_object *messages)
{
	struct buf out = {0};
	for (size_t i = 0; i < json_object_array_length(messages); i++) {
		struct json_object *m = json_object_array_get_idx(messages, i);
		if (!strcmp(json_member_text(m, "role"), "assistant"))
			continue;
		const char *said = completion_text(a, member(m, "content"));
		out.failed |= !said;
		if (!said)
			break;
		buf_puts(&out, said);
		buf_puts(&out, "\n\n");
	}
	const char *text =
	    out.failed ? NULL : arena_strndup(a, out.p ? out.p : "", out.n);
	buf_free(&out);
	return text;
}

static enum err
read_messages(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	struct json_object *messages = member(body, "messages");
	struct json_object *asked = NULL;
	enum err e = OK;
	if (!json_object_is_type(messages, json_type_array))
		return request_refuse(
		    req, "messages", "It must be an array of messages.");
	ask->n_messages = json_object_array_length(messages);
	if (ask->n_messages < 1 || ask->n_messages > COMPLETION_MESSAGES_MAX)
		return REFUSE(req, "messages",
		    "There must be from 1 to %d of them.",
		    COMPLETION_MESSAGES_MAX);
	for (size_t i = 0; i < ask->n_messages && e == OK; i++) {
		struct json_object *m = json_object_array_get_idx(messages, i);
		e = check_message(req, m, i);
		if (e == OK && !strcmp(json_member_text(m, "role"), "user"))
			asked = member(m, "content");
	}
	if (e != OK)
		return e;
	ask->question = completion_text(req->arena, asked);
	if (*req->services->config->moderation_url)
		ask->words = all_words(req->arena, messages);
	return ask->question ? OK : ERR_TOO_LARGE;
}

static enum err
check_tools(struct request *req, struct json_object *body)
{
	struct json_object *tools = member(body, "tools");
	size_t n = 0;
	if (tools && !json_object_is_type(tools, json_type_array))
		return request_refuse(req, "tools", "It must be an array.");
	if (tools)
		n = json_object_array_length(tools);
	if (n > COMPLETION_TOOLS_MAX)
		return REFUSE(req, "tools", "There may be at most %d of them.",
		    COMPLETION_TOOLS_MAX);
	for (size_t i = 0; i < n; i++)
		if (!json_object_is_type(
			json_object_array_get_idx(tools, i), json_type_object))
			return REFUSE(req,
			    arena_printf(req->arena, "tools[%zu]", i),
			    "It must be an object.");
	struct json_object *format = member(body, "response_format");
	if (format && !json_object_is_type(format, json_type_object))
		return request_refuse(
		    req, "response_format", "It must be an object.");
	return OK;
}

/* Its bytes as JSON. */
static size_t
length_of(struct json_object *value)
{
	size_t n;
	(void)json_text(value, &n);
	return n;
}

/* An image or a sound counts for little of its bytes. */
static size_t
weigh_blob(struct json_object *o)
{
	const char *p = json_object_get_string(o);
	size_t n = (size_t)json_object_get_string_len(o);
	if (n > BLOB_BYTES &&
	    (!strncmp(p, "data:", 5) || strspn(p, BASE64) >= BLOB_MIN))
		return BLOB_BYTES;
	return n;
}

/* Of a part of a content, which may be no text. */
static size_t
weigh_part(struct json_object *part)
{
	struct json_object *waiting[WAITING_MAX] = {part};
	size_t n = 1, sum = 0;
	if (!strcmp(json_member_text(part, "type"), "text"))
		return length_of(part);
	while (n > 0) {
		struct json_object *o = waiting[--n];
		if (json_object_is_type(o, json_type_string))
			sum += weigh_blob(o);
		else if (!json_object_is_type(o, json_type_object))
			sum += length_of(o);
		if (!json_object_is_type(o, json_type_object))
			continue;
		json_object_object_foreach(o, name, inside)
		{
			if (n < WAITING_MAX && strcmp(name, "text") != 0)
				waiting[n++] = inside;
			else
				sum += length_of(inside);
		}
	}
	return sum;
}

static size_t
weigh_message(struct json_object *message)
{
	size_t sum = 0;
	json_object_object_foreach(message, name, inside)
	{
		bool has_parts = !strcmp(name, "content") &&
				 json_object_is_type(inside, json_type_array);
		if (!has_parts)
			sum += length_of(inside);
		for (size_t i = 0;
		     has_parts && i < json_object_array_length(inside); i++)
			sum += weigh_part(json_object_array_get_idx(inside, i));
	}
	return sum;
}

/* All that is sent, as the model will count it. */
static int64_t
weigh_body(struct json_object *body)
{
	static const char *const others[] = {
	    "tools", "functions", "response_format", "prediction"};
	struct json_object *messages = member(body, "messages");
	size_t sum = 0;
	for (size_t i = 0; i < json_object_array_length(messages); i++)
		sum += weigh_message(json_object_array_get_idx(messages, i));
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (member(body, others[i]))
			sum += length_of(member(body, others[i]));
	}
	return (int64_t)sum;
}

static bool
is_own(const char *name)
{
	for (size_t i = 0; i < sizeof(own_members) / sizeof(*own_members); i++)
		if (!strcmp(name, own_members[i]))
			return true;
	return false;
}

/* What goes to the model: the messages, then all others as they came. */
static enum err
write_members(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	struct arena *a = req->arena;
	const char *others = write_inside(a, body, "messages", is_own);
	const char *messages = json_text(member(body, "messages"), NULL);
	if (!others)
		return ERR_TOO_LARGE;
	ask->members = arena_printf(
	    a, "\"messages\":%s%s%s", messages, *others ? "," : "", others);
	return ask->members ? OK : ERR_TOO_LARGE;
}

enum err
completion_read(struct request *req, struct completion_ask *out)
{
	AUTO_JSON struct json_object *body = NULL;
	struct completion_ask ask = {0};
	bool is_kept = false;
	if (req->body_len > (size_t)req->services->config->completion_max_bytes)
		return ERR_TOO_LARGE;
	enum err e = request_json(req, &body);
	if (e == OK)
		e = read_model(req, body, &ask);
	if (e == OK)
		e = read_messages(req, body, &ask);
	if (e == OK)
		e = check_n(req, body);
	if (e == OK)
		e = check_tools(req, body);
	if (e == OK)
		e = read_stream(req, body, &ask);
	if (e == OK)
		e = read_max_tokens(req, body, &ask);
	if (e == OK)
		e = read_flag(req, body, "store", &is_kept);
	if (e == OK)
		e = read_metadata(req, body, &ask);
	if (e == OK)
		e = write_members(req, body, &ask);
	if (e == OK && is_kept)
		e = completion_keep(req, body, &ask);
	if (e != OK)
		return e;
	ask.prompt_bytes = weigh_body(body);
	*out = ask;
	return OK;
}
