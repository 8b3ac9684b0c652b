/*
 * Reading a request: query parameters and the members of a JSON body, each
 * checked where it is read and refused by name. Knows no route and no store.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "http/percent.h"
#include "http/request.h"

/* A field's name is told to the caller; an unknown one may be of any length. */
#define NAME_SHOWN 64

/* One `name=value` of a query, still encoded. */
struct parameter {
	const char *name, *name_end;
	const char *value, *value_end;
};

/* Takes the next parameter off `*query`; false at its end. */
static bool
next_parameter(const char **query, struct parameter *out)
{
	const char *p = *query;
	if (!*p)
		return false;
	const char *end = p + strcspn(p, "&");
	const char *equals = memchr(p, '=', (size_t)(end - p));
	out->name = p;
	out->name_end = equals ? equals : end;
	out->value = equals ? equals + 1 : end;
	out->value_end = end;
	*query = *end ? end + 1 : end;
	return true;
}

/* As percent_next, and `+` is a space, as forms write it. */
static int
next_byte(const char **p, const char *end)
{
	if (**p == '+') {
		++*p;
		return ' ';
	}
	return percent_next(p, end);
}

/* Is its name the `n` bytes at `name`? */
static bool
is_called(const struct parameter *param, const char *name, size_t n)
{
	const char *p = param->name, *end = name + n;
	while (p < param->name_end) {
		int c = next_byte(&p, param->name_end);
		if (name == end || c != (unsigned char)*name++)
			return false;
	}
	return name == end;
}

static bool
is_named(const struct parameter *param, const char *name)
{
	return is_called(param, name, strlen(name));
}

/* Decodes a parameter's value; ERR_INVALID_FIELD when it is bad. */
static enum err
decode(struct arena *a, const struct parameter *param, const char **out_value)
{
	size_t n = 0;
	const char *p = param->value;
	char *s = arena_strndup(a, p, (size_t)(param->value_end - p));
	if (!s)
		return ERR_TOO_LARGE;
	while (p < param->value_end) {
		int c = next_byte(&p, param->value_end);
		if (c < 0)
			return ERR_INVALID_FIELD;
		s[n++] = (char)c;
	}
	s[n] = '\0';
	if (!text_is_clean(s, n))
		return ERR_INVALID_FIELD;
	*out_value = s;
	return OK;
}

/* Refuses `field` with a formatted sentence. */
#define REFUSE(req, field, ...) \
	request_refuse((req), (field), arena_printf((req)->arena, __VA_ARGS__))

/*
 * Finds a member. `*out_value` is NULL when it is absent, or null where that
 * counts as absent.
 */
static enum err
find_member(struct request *req, struct json_object *body,
    const struct field_rule *rule, struct json_object **out_value)
{
	struct json_object *value = NULL;
	bool is_there = json_object_object_get_ex(body, rule->name, &value);
	if (is_there && !value && !rule->nullable)
		return REFUSE(
		    req, rule->name, "%s may not be null.", rule->name);
	if (!value && rule->required)
		return REFUSE(req, rule->name, "%s is required.", rule->name);
	*out_value = value;
	return OK;
}

/* Checks both bounds of a text of `n` bytes. */
static enum err
check_length(
    struct request *req, const struct field_rule *rule, const char *s, size_t n)
{
	if (n > rule->max)
		return REFUSE(req, rule->name, "%s may have at most %zu bytes.",
		    rule->name, rule->max);
	if (rule->min && text_length(s, n) < rule->min)
		return rule->min == 1
			   ? REFUSE(req, rule->name, "%s may not be empty.",
				 rule->name)
			   : REFUSE(req, rule->name,
				 "%s must have at least %zu characters.",
				 rule->name, rule->min);
	return OK;
}

enum err
request_refuse(struct request *req, const char *field, const char *detail)
{
	req->bad_field = field;
	req->detail = detail;
	return ERR_INVALID_FIELD;
}

enum err
request_fail(struct request *req, enum err e, const char *why)
{
	req->why = arena_strdup(req->arena, why);
	return e;
}

enum err
request_query(struct request *req, const char *name, const char **out_value)
{
	const char *rest = req->query;
	const char *value = NULL;
	struct parameter param;
	while (next_parameter(&rest, &param)) {
		if (!is_named(&param, name))
			continue;
		if (value)
			return REFUSE(
			    req, name, "%s may be given only once.", name);
		enum err e = decode(req->arena, &param, &value);
		if (e == ERR_INVALID_FIELD)
			return REFUSE(req, name,
			    "%s is not percent-encoded UTF-8.", name);
		if (e)
			return e;
	}
	*out_value = value;
	return OK;
}

enum err
request_query_each(
    struct request *req, const char *name, size_t max, const char **out_values)
{
	const char *rest = req->query;
	struct parameter param;
	size_t n = 0;
	out_values[0] = NULL;
	while (next_parameter(&rest, &param)) {
		if (!is_named(&param, name))
			continue;
		if (n == max)
			return REFUSE(req, name,
			    "%s may be given at most %zu times.", name, max);
		enum err e = decode(req->arena, &param, &out_values[n]);
		if (e == ERR_INVALID_FIELD)
			return REFUSE(req, name,
			    "%s is not percent-encoded UTF-8.", name);
		if (e)
			return e;
		out_values[++n] = NULL;
	}
	return OK;
}

static bool
is_among(const struct parameter *param, const char *known)
{
	for (const char *p = known; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		if (is_called(param, p, n))
			return true;
		p += n;
	}
	return false;
}

enum err
request_known_parameters(struct request *req, const char *known)
{
	const char *rest = req->query;
	struct parameter param;
	while (next_parameter(&rest, &param)) {
		if (param.name == param.value_end || is_among(&param, known))
			continue;
		const struct parameter name = {
		    .value = param.name, .value_end = param.name_end};
		const char *shown = "";
		enum err e = decode(req->arena, &name, &shown);
		if (e && e != ERR_INVALID_FIELD)
			return e;
		size_t n = text_prefix(shown, strlen(shown), NAME_SHOWN);
		return request_refuse(req, arena_strndup(req->arena, shown, n),
		    "This parameter is not known here.");
	}
	return OK;
}

static enum err
check_time(struct request *req, const char *name, const char *time)
{
	int64_t ms;
	if (time && !clock_parse(time, &ms))
		return REFUSE(req, name,
		    "%s must be a time such as 2026-01-31T23:59:59Z.", name);
	return OK;
}

enum err
request_query_time(struct request *req, const char *name, const char **out_time)
{
	const char *time;
	enum err e = request_query(req, name, &time);
	if (!e)
		e = check_time(req, name, time);
	if (!e)
		*out_time = time;
	return e;
}

enum err
request_query_number(struct request *req, const char *name, long def, long min,
    long max, long *out_number)
{
	const char *s;
	char *end;
	enum err e = request_query(req, name, &s);
	if (e)
		return e;
	if (!s) {
		*out_number = def;
		return OK;
	}
	size_t sign = *s == '-';
	errno = 0;
	long number = strtol(s, &end, 10);
	if (strspn(s + sign, "0123456789") == 0 || *end || errno ||
	    number < min || number > max)
		return REFUSE(req, name,
		    "%s must be a whole number from %ld to %ld.", name, min,
		    max);
	*out_number = number;
	return OK;
}

enum err
request_query_flag(struct request *req, const char *name, int *out_flag)
{
	const char *s;
	enum err e = request_query(req, name, &s);
	if (e)
		return e;
	int flag = -1;
	if (s && (strcmp(s, "true") == 0 || strcmp(s, "1") == 0))
		flag = 1;
	else if (s && (strcmp(s, "false") == 0 || strcmp(s, "0") == 0))
		flag = 0;
	else if (s)
		return REFUSE(req, name, "%s must be true or false.", name);
	*out_flag = flag;
	return OK;
}

bool
request_is_json(const struct request *req)
{
	static const char want[] = "application/json";
	size_t n = sizeof(want) - 1;
	const char *type = req->content_type;
	return strncasecmp(type, want, n) == 0 &&
	       (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

enum err
request_json(struct request *req, struct json_object **out_body)
{
	return json_parse_object(req->body, req->body_len, out_body);
}

enum err
request_field(struct request *req, struct json_object *body,
    const struct field_rule *rule, const char **out_text)
{
	struct json_object *value;
	enum err e = find_member(req, body, rule, &value);
	if (e)
		return e;
	if (!value) {
		*out_text = NULL;
		return OK;
	}
	if (!json_object_is_type(value, json_type_string))
		return REFUSE(
		    req, rule->name, "%s must be a string.", rule->name);
	const char *s = json_object_get_string(value);
	size_t n = (size_t)json_object_get_string_len(value);
	e = check_length(req, rule, s, n);
	if (e)
		return e;
	const char *copy = arena_strndup(req->arena, s, n);
	if (!copy)
		return ERR_TOO_LARGE;
	*out_text = copy;
	return OK;
}

enum err
request_field_time(struct request *req, struct json_object *body,
    const char *name, const char **out_time)
{
	const struct field_rule rule = {
	    .name = name, .min = 1, .max = 64, .nullable = true};
	const char *time;
	enum err e = request_field(req, body, &rule, &time);
	if (!e)
		e = check_time(req, name, time);
	if (!e)
		*out_time = time;
	return e;
}

enum err
request_field_flag(struct request *req, struct json_object *body,
    const char *name, bool *out_flag)
{
	struct json_object *value;
	if (!json_object_object_get_ex(body, name, &value))
		return OK;
	if (!json_object_is_type(value, json_type_boolean))
		return REFUSE(req, name, "%s must be true or false.", name);
	*out_flag = json_object_get_boolean(value);
	return OK;
}

enum err
request_field_object(struct request *req, struct json_object *body,
    const char *name, size_t max, const char **out_json)
{
	struct json_object *value;
	if (!json_object_object_get_ex(body, name, &value)) {
		*out_json = NULL;
		return OK;
	}
	if (!json_object_is_type(value, json_type_object))
		return REFUSE(req, name, "%s must be an object.", name);
	size_t n;
	const char *text = json_text(value, &n);
	if (n > max)
		return REFUSE(req, name,
		    "%s may have at most %zu bytes of JSON.", name, max);
	const char *copy = arena_strndup(req->arena, text, n);
	if (!copy)
		return ERR_TOO_LARGE;
	*out_json = copy;
	return OK;
}

enum err
request_known_fields(
    struct request *req, struct json_object *body, const char *const *known)
{
	json_object_object_foreach(body, name, value)
	{
		(void)value;
		size_t i = 0;
		while (known[i] && strcmp(known[i], name) != 0)
			i++;
		if (known[i])
			continue;
		size_t n = text_prefix(name, strlen(name), NAME_SHOWN);
		const char *shown = arena_strndup(req->arena, name, n);
		return request_refuse(
		    req, shown, "This field is not known here.");
	}
	return OK;
}
