/*
 * /api/v1/auth/keys: personal API keys. Reads the request, calls the auth
 * domain, writes the reply. Round trips (Postgres, Redis), the session's own
 * check aside: list 1, 0; create 1, 0; revoke 1, 1.
 */
#include <json-c/json.h>
#include <string.h>

#include "api/api.h"
#include "auth/api_key.h"
#include "base/json.h"
#include "http/reply.h"
#include "http/request.h"

#define DAY_S     86400L
#define LIFE_S    (90 * DAY_S) /* of a key whose maker says nothing */
#define LIFE_MIN  60L
#define LIFE_MAX  (3650 * DAY_S)
#define NAME_ROOM ((size_t)4 * API_KEY_NAME_MAX)

static struct json_object *
scope_names(unsigned scopes)
{
	static const unsigned all[] = {SCOPE_READ, SCOPE_CHAT, SCOPE_ADMIN};
	struct json_object *names = json_object_new_array();
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (scopes & all[i])
			json_object_array_add(names,
			    json_object_new_string(api_key_scope_name(all[i])));
	}
	return names;
}

static struct json_object *
key_object(const struct api_key *key)
{
	struct json_object *o = json_object_new_object();
	json_put_text(o, "id", key->id);
	json_put_text(o, "name", key->name);
	json_put_text(o, "ending", key->ending);
	json_object_object_add(o, "scopes", scope_names(key->scopes));
	json_put_text(o, "created_at", key->created_at);
	json_put_text(o, "expires_at", key->expires_at);
	json_put_text(o, "last_used_at", key->last_used_at);
	json_put_text(o, "last_used_ip", key->last_ip);
	return o;
}

enum err
api_keys_get(struct request *req, struct reply *rep)
{
	struct api_key *keys = NULL;
	size_t n = 0;
	enum err e = api_keys_list(req, &keys, &n);
	if (e)
		return e;
	struct json_object *o = json_object_new_object();
	struct json_object *data = json_object_new_array();
	for (size_t i = 0; i < n; i++)
		json_object_array_add(data, key_object(&keys[i]));
	json_object_object_add(o, "data", data);
	return reply_json(req, rep, 200, o);
}

/* scopes?: a list of names, each once; without it, all but admin. */
static enum err
read_scopes(struct request *req, struct json_object *body, unsigned *out)
{
	static const char sentence[] =
	    "It is a list of read, chat and, for administrators, admin.";
	struct json_object *list = NULL;
	unsigned scopes = 0;
	if (!json_object_object_get_ex(body, "scopes", &list)) {
		*out = SCOPE_READ | SCOPE_CHAT;
		return OK;
	}
	if (!json_object_is_type(list, json_type_array))
		return request_refuse(req, "scopes", sentence);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *name = json_object_array_get_idx(list, i);
		unsigned scope =
		    json_object_is_type(name, json_type_string)
			? api_key_scope_named(json_object_get_string(name),
			      (size_t)json_object_get_string_len(name))
			: 0;
		if (scope == 0 || scopes & scope)
			return request_refuse(req, "scopes", sentence);
		scopes |= scope;
	}
	if (scopes == 0 ||
	    (scopes & SCOPE_ADMIN && strcmp(req->who.role, "admin") != 0))
		return request_refuse(req, "scopes", sentence);
	*out = scopes;
	return OK;
}

/* expires_in?: seconds; null: it does not expire; without it, 90 days. */
static enum err
read_life(struct request *req, struct json_object *body, long *out)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(body, "expires_in", &value)) {
		*out = LIFE_S;
		return OK;
	}
	if (!value) {
		*out = 0;
		return OK;
	}
	int64_t life = json_object_is_type(value, json_type_int)
			   ? json_object_get_int64(value)
			   : 0;
	if (life < LIFE_MIN || life > LIFE_MAX)
		return request_refuse(req, "expires_in",
		    "It is a number of seconds from 60 to 315360000, or null.");
	*out = (long)life;
	return OK;
}

static enum err
read_ask(struct request *req, struct api_key_ask *out)
{
	static const char *const known[] = {
	    "name", "scopes", "expires_in", NULL};
	const struct field_rule name = {
	    .name = "name", .min = 1, .max = NAME_ROOM, .required = true};
	struct api_key_ask ask = {0};
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = request_known_fields(req, body, known);
	if (!e)
		e = request_field(req, body, &name, &ask.name);
	if (!e && !api_key_is_name(ask.name))
		e = request_refuse(req, name.name,
		    "A name has at most 100 characters, none of them a "
		    "control.");
	if (!e)
		e = read_scopes(req, body, &ask.scopes);
	if (!e)
		e = read_life(req, body, &ask.life_s);
	if (!e)
		*out = ask;
	return e;
}

enum err
api_key_post(struct request *req, struct reply *rep)
{
	struct api_key_ask ask;
	struct api_key key;
	const char *text = NULL;
	enum err e = read_ask(req, &ask);
	if (!e)
		e = api_key_create(req, &ask, &key, &text);
	if (e)
		return e;
	struct json_object *o = key_object(&key);
	json_put_text(o, "key", text);
	return reply_json(req, rep, 201, o);
}

enum err
api_key_delete(struct request *req, struct reply *rep)
{
	enum err e = api_key_revoke(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}
