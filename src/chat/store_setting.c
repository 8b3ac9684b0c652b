/*
 * The settings that statements and turns ask for by name.
 */
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "chat/prompts.h"
#include "chat/store_setting.h"
#include "http/request.h"

/* What is true or false. */
static const char *const switches[] = {"answer_cache", "documents", "tools"};

static enum err
refuse(struct request *req, const char *name, const char *why)
{
	const char *field = arena_printf(req->arena, "settings.%s", name);
	return field ? request_refuse(req, field, why) : ERR_TOO_LARGE;
}

static enum err
check_switch(struct request *req, struct json_object *o, const char *name)
{
	struct json_object *v = NULL;
	(void)json_object_object_get_ex(o, name, &v);
	if (!v || json_object_is_type(v, json_type_boolean))
		return OK;
	return refuse(req, name, "It must be true, false or null.");
}

static enum err
check_template(struct request *req, struct json_object *o)
{
	static const char name[] = "prompt_template";
	struct json_object *v = NULL;
	(void)json_object_object_get_ex(o, name, &v);
	const char *wanted = json_member_text(o, name);
	if (!v || (wanted && prompts_system(prompts_current(), wanted)))
		return OK;
	return refuse(req, name,
	    "It must name a prompt template that this server has read for "
	    "system messages (natterctl prompts list), or be null.");
}

enum err
store_settings_check(struct request *req, const char *json)
{
	AUTO_JSON struct json_object *o = NULL;
	enum err e = json_parse_object(json, strlen(json), &o);
	for (size_t i = 0; e == OK && i < sizeof(switches) / sizeof(*switches);
	     i++)
		e = check_switch(req, o, switches[i]);
	return e == OK ? check_template(req, o) : e;
}
