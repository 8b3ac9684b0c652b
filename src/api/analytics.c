/*
 * /analytics, /me/analytics, /admin/analytics: events in batches, sums by day.
 * Knows no SQL. Round trips: one.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/id.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/admin.h"
#include "chat/analytics.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"
#include "model/mask.h"

/* In characters. */
#define EVENT_NAME_MAX 64

enum { CATEGORY, NAME, VALUE, STORE, PROPERTIES, N_FIELDS };

static const struct field fields_of_event[N_FIELDS] = {
    [CATEGORY] = {"category", FIELD_TEXT, .min = 1, .max = 64,
	.required = true},
    [NAME] = {"name", FIELD_TEXT, .min = 1, .max = EVENT_NAME_MAX,
	.required = true},
    [VALUE] = {.name = "value", .kind = FIELD_NUMBER},
    [STORE] = {.name = "store_id", .kind = FIELD_UUID, .nullable = true},
    [PROPERTIES] = {"properties", FIELD_OBJECT,
	.max = ANALYTICS_PROPERTIES_MAX},
};

/*
 * Nobody's events may be such that their sums overflow, which would end the
 * daily sums of all, or stand among the sums that Natter makes of its own.
 */
static enum err
check_event(struct request *req, const struct field_value *v)
{
	static const char *const own[] = {
	    "reply", "tokens", "intent", "usage_tracking", "moderation"};
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (strcmp(v[CATEGORY].text, own[i]) == 0)
			return request_refuse(
			    req, "category", "It is one of Natter's own.");
	if (!v[VALUE].text)
		return OK;
	errno = 0;
	double value = strtod(v[VALUE].text, NULL);
	if (errno || fabs(value) > ANALYTICS_VALUE_MAX)
		return request_refuse(
		    req, "value", "It must be within -1e15 and 1e15.");
	return OK;
}

/* What it may be long it may be when it is masked. */
static enum err
mask_event(struct request *req, struct field_value *v)
{
	struct mask *mask = mask_new();
	struct buf name = {0};
	struct buf properties = {0};
	if (!mask)
		return ERR_BUSY;
	mask_add(mask, v[NAME].text, strlen(v[NAME].text), &name);
	if (v[PROPERTIES].text)
		mask_add_json(mask, v[PROPERTIES].text,
		    strlen(v[PROPERTIES].text), &properties);
	bool is_masked = mask_is_used(mask);
	if (is_masked) {
		v[NAME].text = arena_strndup(req->arena, name.p,
		    text_prefix(name.p, name.n, EVENT_NAME_MAX));
		if (v[PROPERTIES].text)
			v[PROPERTIES].text = arena_strndup(
			    req->arena, properties.p, properties.n);
	}
	enum err e = name.failed || properties.failed || !v[NAME].text
			 ? ERR_TOO_LARGE
			 : OK;
	if (e == OK && properties.n > ANALYTICS_PROPERTIES_MAX)
		e = request_refuse(req, "properties", "It is too long.");
	buf_free(&name);
	buf_free(&properties);
	mask_free(mask);
	return e;
}

static void
write_event(struct buf *out, const struct field_value *v)
{
	char id[ID_TEXT];
	id_make(id);
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", id);
	json_write_text(out, "category", v[CATEGORY].text);
	json_write_text(out, "name", v[NAME].text);
	json_write_raw(out, "value", v[VALUE].text);
	json_write_text(out, "store_id", v[STORE].text);
	json_write_raw(out, "properties", v[PROPERTIES].text);
	json_write_close(out, '}');
}

/* Checks the batch and writes it as it is stored. */
static enum err
read_events(struct request *req, struct buf *out)
{
	static const char *const known[] = {"events", NULL};
	AUTO_JSON struct json_object *body = NULL;
	struct json_object *events = NULL;
	enum err e = request_json(req, &body);
	if (e == OK)
		e = request_known_fields(req, body, known);
	if (e != OK)
		return e;
	size_t n = 0;
	if (json_object_object_get_ex(body, "events", &events) &&
	    json_object_is_type(events, json_type_array))
		n = json_object_array_length(events);
	if (n < 1 || n > ANALYTICS_EVENTS_MAX)
		return request_refuse(
		    req, "events", "It must be an array of 1 to 100 objects.");
	json_write_open(out, NULL, '[');
	for (size_t i = 0; e == OK && i < n; i++) {
		struct json_object *event =
		    json_object_array_get_idx(events, i);
		struct field_value v[N_FIELDS] = {0};
		if (!json_object_is_type(event, json_type_object))
			return request_refuse(
			    req, "events", "Each must be an object.");
		e = fields_read_object(
		    req, event, fields_of_event, N_FIELDS, v);
		if (e == OK)
			e = check_event(req, v);
		if (e == OK && req->services->config->pii_mask)
			e = mask_event(req, v);
		if (e == OK)
			write_event(out, v);
	}
	json_write_close(out, ']');
	return e;
}

enum err
api_analytics_post(struct request *req, struct reply *rep)
{
	struct buf events = {0};
	enum err e = read_events(req, &events);
	if (e == OK)
		e = analytics_add(req, buf_text(&events));
	buf_free(&events);
	return e ? e : reply_empty(rep, 204);
}

enum { OF, FROM, TO, N_FILTERS };

/* The filters and the place in the list. */
static enum err
read_span(struct request *req, const char *name, struct field_value *v,
    struct list_ask *out_list)
{
	static const struct field filters[N_FILTERS] = {
	    [OF] = {"category", FIELD_TEXT, .min = 1, .max = 64},
	    [FROM] = {.name = "from", .kind = FIELD_DATE},
	    [TO] = {.name = "to", .kind = FIELD_DATE},
	};
	enum err e = fields_query(req, filters, N_FILTERS, v);
	if (e == OK)
		e = fields_list(req, name, v, N_FILTERS, out_list);
	if (e != OK)
		return e;
	return fields_span(req, &v[FROM], &v[TO]);
}

enum err
api_me_analytics(struct request *req, struct reply *rep)
{
	struct field_value v[N_FILTERS];
	struct list_ask list;
	struct buf body = {0};
	const char *next[CURSOR_KEYS_MAX + 1] = {NULL}; /* ended with NULL */
	enum err e = read_span(req, "analytics", v, &list);
	page_open(&body);
	if (e == OK) {
		const struct analytics_ask ask = {
		    .category = v[OF].text,
		    .from = v[FROM].text,
		    .to = v[TO].text,
		    .after = {list.after[0], list.after[1], list.after[2]},
		    .limit = list.limit,
		    .limit_text = list.limit_text,
		};
		e = analytics_list(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_analytics(struct request *req, struct reply *rep)
{
	struct field_value v[N_FILTERS];
	struct list_ask list;
	struct buf body = {0};
	const char *next[CURSOR_KEYS_MAX + 1] = {NULL};
	enum err e = read_span(req, "admin analytics", v, &list);
	page_open(&body);
	if (e == OK) {
		const struct admin_ask ask = {
		    .list = ADMIN_LIST_ANALYTICS,
		    .filters = {v[OF].text, v[FROM].text, v[TO].text},
		    .limit = list.limit,
		    .limit_text = list.limit_text,
		    .after = {list.after[0], list.after[1], list.after[2]},
		};
		e = admin_page(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}
