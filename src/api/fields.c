/*
 * Checks values by their rules and says which one is wrong. Owns no state.
 * Must not know what the values are for.
 */
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "api/fields.h"
#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/text.h"
#include "chat/message.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"

#define LIMIT_DEFAULT 20
#define LIMIT_MAX     100
#define TAGS_MAX      20
#define TAG_MAX       64 /* characters */

static enum err
refuse(struct request *req, const struct field *f, const char *why)
{
	return request_refuse(req, f->name, why);
}

static bool
is_word(const char *words, const char *text)
{
	size_t n = strlen(text);
	while (n > 0 && *words) {
		size_t len = strcspn(words, " ");
		if (len == n && memcmp(words, text, n) == 0)
			return true;
		words += len;
		words += strspn(words, " ");
	}
	return false;
}

/* "Z", "+02:00"; what else ends a time is none. */
static bool
is_zone(const char *s)
{
	if (strcmp(s, "Z") == 0 || strcmp(s, "z") == 0)
		return true;
	if ((*s != '+' && *s != '-') || strnlen(s, 7) != 6 || s[3] != ':')
		return false;
	int hours = text_digits(s + 1, 2);
	int minutes = text_digits(s + 4, 2);
	return hours >= 0 && hours <= 15 && minutes >= 0 && minutes < 60;
}

static bool
is_time(const char *s)
{
	char date[11] = "";
	strncat(date, s, 10);
	if (!text_is_day(date) || strnlen(s, 20) < 20 ||
	    (s[10] != 'T' && s[10] != 't') || s[13] != ':' || s[16] != ':')
		return false;
	int hour = text_digits(s + 11, 2);
	int minute = text_digits(s + 14, 2);
	int second = text_digits(s + 17, 2);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
	    second > 59)
		return false;
	const char *day = s;
	s += 19;
	if (*s == '.') {
		size_t n = strspn(s + 1, "0123456789");
		if (n < 1 || n > 9)
			return false;
		s += 1 + n;
	}
	/* In UTC it must still have a year of four digits. */
	if ((memcmp(day, "0001", 4) == 0 || memcmp(day, "9999", 4) == 0) &&
	    *s != 'Z' && *s != 'z')
		return false;
	return is_zone(s);
}

static enum err
check_length(struct request *req, const struct field *f, const char *text)
{
	size_t n = text_length(text, strlen(text));
	if (n >= f->min && n <= f->max)
		return OK;
	const char *why =
	    f->min ? arena_printf(req->arena, "It takes %zu to %zu characters.",
			 f->min, f->max)
		   : arena_printf(req->arena,
			 "It takes at most %zu characters.", f->max);
	return refuse(req, f, why);
}

static enum err
check_text(struct request *req, const struct field *f, const char *text)
{
	switch (f->kind) {
	case FIELD_TEXT:
		return check_length(req, f, text);
	case FIELD_BYTES:
		if (strlen(text) <= f->max)
			return OK;
		return refuse(req, f,
		    arena_printf(
			req->arena, "It takes at most %zu bytes.", f->max));
	case FIELD_LOWER:
		if (strspn(text, "abcdefghijklmnopqrstuvwxyz") == strlen(text))
			return check_length(req, f, text);
		return refuse(req, f, "It takes the letters a to z alone.");
	case FIELD_WORD:
		if (is_word(f->words, text))
			return OK;
		return refuse(req, f,
		    arena_printf(req->arena, "It takes one of: %s.", f->words));
	case FIELD_TIME:
		if (is_time(text))
			return OK;
		return refuse(
		    req, f, "It must be a time such as 2026-01-31T23:59:59Z.");
	case FIELD_DATE:
		if (text_is_day(text))
			return OK;
		return refuse(req, f, "It must be a day such as 2026-01-31.");
	case FIELD_UUID:
		if (id_is_uuid(text))
			return OK;
		return refuse(req, f, "It must be a UUID.");
	default:
		return ERR_INTERNAL;
	}
}

static enum err
check_tags(struct request *req, const struct field *f, struct json_object *v)
{
	if (!json_object_is_type(v, json_type_array) ||
	    json_object_array_length(v) > TAGS_MAX)
		return refuse(req, f,
		    "It must be an array of at most 20 "
		    "strings.");
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		struct json_object *tag = json_object_array_get_idx(v, i);
		size_t n = 0;
		if (json_object_is_type(tag, json_type_string))
			n = text_length(json_object_get_string(tag),
			    (size_t)json_object_get_string_len(tag));
		if (n < 1 || n > TAG_MAX)
			return refuse(req, f,
			    "Each must be a string of 1 to 64 characters.");
	}
	return OK;
}

/* Checks what is not a string in JSON. */
static enum err
check_value(struct request *req, const struct field *f, struct json_object *v)
{
	size_t n = 0;
	switch (f->kind) {
	case FIELD_FLAG:
		if (json_object_is_type(v, json_type_boolean))
			return OK;
		return refuse(req, f, "It must be true or false.");
	case FIELD_NUMBER:
		if (json_object_is_type(v, json_type_int) ||
		    json_object_is_type(v, json_type_double))
			return OK;
		return refuse(req, f, "It must be a number.");
	case FIELD_TAGS:
		return check_tags(req, f, v);
	default:
		if (!json_object_is_type(v, json_type_object))
			return refuse(req, f, "It must be an object.");
		(void)json_text(v, &n);
		if (n <= f->max)
			return OK;
		return refuse(req, f,
		    arena_printf(req->arena,
			"It may have at most %zu bytes of JSON.", f->max));
	}
}

static bool
is_string(enum field_kind kind)
{
	return kind != FIELD_FLAG && kind != FIELD_NUMBER &&
	       kind != FIELD_OBJECT && kind != FIELD_TAGS;
}

static enum err
read_member(struct request *req, const struct field *f, struct json_object *v,
    const char **out_text)
{
	const char *text = NULL;
	enum err e;
	if (is_string(f->kind)) {
		if (!json_object_is_type(v, json_type_string))
			return refuse(req, f, "It must be a string.");
		text = arena_strdup(req->arena, json_object_get_string(v));
		e = text ? check_text(req, f, text) : ERR_TOO_LARGE;
	} else {
		e = check_value(req, f, v);
		if (e == OK && f->kind == FIELD_FLAG)
			text = json_object_get_boolean(v) ? "t" : "f";
		else if (e == OK)
			text = arena_strdup(req->arena, json_text(v, NULL));
		if (e == OK && !text)
			e = ERR_TOO_LARGE;
	}
	if (e == OK)
		*out_text = text;
	return e;
}

static enum err
check_known(struct request *req, struct json_object *body,
    const struct field *fields, size_t n)
{
	const char **known = arena_array(req->arena, n + 1, sizeof(*known));
	if (!known)
		return ERR_TOO_LARGE;
	for (size_t i = 0; i < n; i++)
		known[i] = fields[i].name;
	return request_known_fields(req, body, known);
}

enum err
fields_read_object(struct request *req, struct json_object *body,
    const struct field *fields, size_t n, struct field_value *out_values)
{
	enum err e = check_known(req, body, fields, n);
	for (size_t i = 0; e == OK && i < n; i++) {
		struct json_object *v = NULL;
		struct field_value value = {0};
		value.is_given =
		    json_object_object_get_ex(body, fields[i].name, &v);
		if (v)
			e = read_member(req, &fields[i], v, &value.text);
		else if (value.is_given && !fields[i].nullable)
			e = refuse(req, &fields[i], "It must not be null.");
		else if (!value.is_given && fields[i].required)
			e = refuse(req, &fields[i], "It is required.");
		if (e == OK)
			out_values[i] = value;
	}
	return e;
}

enum err
fields_read(struct request *req, const struct field *fields, size_t n,
    struct field_value *out_values)
{
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	return e ? e : fields_read_object(req, body, fields, n, out_values);
}

/* A filter by an object is JSON text in the query. */
static enum err
query_object(struct request *req, const struct field *f, const char *text)
{
	AUTO_JSON struct json_object *o = NULL;
	if (json_parse_object(text, strlen(text), &o) != OK)
		return refuse(req, f, "It must be a JSON object.");
	return check_value(req, f, o);
}

enum err
fields_query(struct request *req, const struct field *fields, size_t n,
    struct field_value *out_values)
{
	enum err e = OK;
	for (size_t i = 0; e == OK && i < n; i++) {
		const struct field *f = &fields[i];
		const char *text = NULL;
		int flag = -1;
		if (f->kind == FIELD_FLAG) {
			e = request_query_flag(req, f->name, &flag);
			text = flag < 0 ? NULL : flag ? "t" : "f";
		} else {
			e = request_query(req, f->name, &text);
		}
		if (e == OK && text && f->kind == FIELD_OBJECT)
			e = query_object(req, f, text);
		else if (e == OK && text && f->kind != FIELD_FLAG)
			e = check_text(req, f, text);
		else if (e == OK && !text && f->required)
			e = refuse(req, f, "It is required.");
		out_values[i] = (struct field_value){text != NULL, text};
	}
	return e;
}

const char *
fields_list_name(struct request *req, const char *list,
    const struct field_value *values, size_t n)
{
	/* Lengths keep two filters from reading as another two. */
	for (size_t i = 0; list && i < n; i++)
		if (values[i].text)
			list = arena_printf(req->arena, "%s %zu:%zu:%s", list,
			    i, strlen(values[i].text), values[i].text);
	return list;
}

enum err
fields_list(struct request *req, const char *list,
    const struct field_value *values, size_t n, struct list_ask *out_ask)
{
	struct list_ask ask = {
	    .list = fields_list_name(req, list, values, n),
	};
	enum err e = ask.list ? OK : ERR_TOO_LARGE;
	if (e == OK)
		e = request_query_number(
		    req, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX, &ask.limit);
	if (e == OK)
		e = cursor_read(req, ask.list, ask.after);
	if (e != OK)
		return e;
	ask.limit_text = arena_printf(req->arena, "%ld", ask.limit + 1);
	if (!ask.limit_text)
		return ERR_TOO_LARGE;
	*out_ask = ask;
	return OK;
}

/* The day `days` before today, UTC; NULL beyond the arena. */
static const char *
day_before(struct request *req, int days)
{
	time_t t = time(NULL) - (time_t)days * 86400;
	struct tm tm;
	if (!gmtime_r(&t, &tm))
		return NULL;
	return arena_printf(req->arena, "%04d-%02d-%02d", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday);
}

enum err
fields_message_metadata(
    struct request *req, struct json_object *body, const char **out_json)
{
	static const char *const own[] = {
	    "cached", "fallback_from", "natter_local"};
	struct json_object *metadata = NULL;
	enum err e = request_field_object(
	    req, body, "metadata", MESSAGE_METADATA_MAX, out_json);
	json_object_object_get_ex(body, "metadata", &metadata);
	for (size_t i = 0; e == OK && *out_json && i < 3; i++)
		if (json_object_object_get_ex(metadata, own[i], NULL))
			e = request_refuse(req, "metadata",
			    "`cached`, `fallback_from` and `natter_local` are "
			    "not for clients to set.");
	return e;
}

enum err
fields_span(
    struct request *req, struct field_value *from, struct field_value *to)
{
	if (!from->text)
		from->text = day_before(req, 30);
	if (!to->text)
		to->text = day_before(req, 0);
	if (!from->text || !to->text)
		return ERR_TOO_LARGE;
	if (strcmp(from->text, to->text) > 0)
		return request_refuse(req, "to", "It must not be before from.");
	return OK;
}

void
fields_location(
    struct request *req, struct reply *rep, const char *path, const char *id)
{
	const char *location =
	    arena_printf(req->arena, "/api/v1/%s/%s", path, id);
	if (location)
		reply_header(rep, "Location", location);
}
