/*
 * /me/usage and /admin/usage: what replies used and cost, summed up. Knows no
 * SQL. Round trips: one; as CSV, one for each page.
 */
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "chat/usage.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"

#define BY_MAX    16
#define MODEL_MAX 200

typedef enum err (*list_fn)(struct request *req, const struct usage_ask *ask,
    struct buf *out, const char **out_next);

/* Reads limit and cursor of the list so named, and answers with a page. */
static enum err
reply_page(struct request *req, struct reply *rep, struct usage_ask *ask,
    const struct list_ask *list, list_fn read)
{
	struct buf body = {0};
	const char *next[CURSOR_KEYS_MAX + 1] = {NULL}; /* ended with NULL */
	ask->limit = list->limit;
	ask->limit_text = list->limit_text;
	for (size_t i = 0; i < USAGE_KEYS; i++)
		ask->after[i] = list->after[i];
	page_open(&body);
	enum err e = read(req, ask, &body, next);
	if (e == OK)
		e = page_close(req, &body, list->list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum { BY, FROM, TO, USER, STORE, MODEL, FORMAT, N_FILTERS };
enum { N_OWN = USER };

enum err
api_me_usage(struct request *req, struct reply *rep)
{
	static const struct field filters[N_OWN] = {
	    [BY] = {.name = "by", .kind = FIELD_WORD, .words = USAGE_BY_OWN},
	    [FROM] = {.name = "from", .kind = FIELD_DATE},
	    [TO] = {.name = "to", .kind = FIELD_DATE},
	};
	struct field_value v[N_OWN];
	struct list_ask list;
	enum err e = fields_query(req, filters, N_OWN, v);
	if (e == OK)
		e = fields_list(req, "usage", v, N_OWN, &list);
	if (e == OK)
		e = fields_span(req, &v[FROM], &v[TO]);
	if (e != OK)
		return e;
	struct usage_ask ask = {
	    .by = v[BY].text ? v[BY].text : "day",
	    .from = v[FROM].text,
	    .to = v[TO].text,
	};
	return reply_page(req, rep, &ask, &list, usage_own);
}

/* What `format` says, else what the client accepts. */
static bool
wants_csv(const struct request *req, const struct field_value *format)
{
	if (format->text)
		return strcmp(format->text, "csv") == 0;
	return strstr(req->accept, "text/csv") != NULL;
}

static enum err
reply_csv(struct request *req, struct reply *rep, const struct usage_ask *ask)
{
	const char *name = arena_printf(req->arena,
	    "attachment; filename=\"usage-%s-%s.csv\"", ask->from, ask->to);
	if (!name)
		return ERR_TOO_LARGE;
	enum err e = usage_csv(req, ask, &rep->source);
	if (e != OK)
		return e;
	rep->status = 200;
	rep->content_type = "text/csv; charset=utf-8; header=present";
	reply_header(rep, "Content-Disposition", name);
	reply_header(rep, "Vary", "Accept");
	return OK;
}

enum err
api_admin_usage(struct request *req, struct reply *rep)
{
	static const struct field filters[N_FILTERS] = {
	    [BY] = {.name = "by", .kind = FIELD_TEXT, .min = 1, .max = BY_MAX},
	    [FROM] = {.name = "from", .kind = FIELD_DATE},
	    [TO] = {.name = "to", .kind = FIELD_DATE},
	    [USER] = {.name = "user", .kind = FIELD_UUID},
	    [STORE] = {.name = "store", .kind = FIELD_UUID},
	    [MODEL] = {.name = "model",
		.kind = FIELD_TEXT,
		.min = 1,
		.max = MODEL_MAX},
	    [FORMAT] = {.name = "format",
		.kind = FIELD_WORD,
		.words = "json csv"},
	};
	struct field_value v[N_FILTERS];
	struct list_ask list;
	enum err e = fields_query(req, filters, N_FILTERS, v);
	if (e == OK && v[BY].text && !usage_by_is_known(v[BY].text))
		e = request_refuse(req, "by",
		    "It takes one of " USAGE_BY_ALL ", or two with a comma.");
	if (e == OK)
		e = fields_list(req, "admin usage", v, FORMAT, &list);
	if (e == OK)
		e = fields_span(req, &v[FROM], &v[TO]);
	if (e != OK)
		return e;
	struct usage_ask ask = {
	    .by = v[BY].text ? v[BY].text : "day",
	    .from = v[FROM].text,
	    .to = v[TO].text,
	    .user = v[USER].text,
	    .store = v[STORE].text,
	    .model = v[MODEL].text,
	};
	if (wants_csv(req, &v[FORMAT]))
		return reply_csv(req, rep, &ask);
	return reply_page(req, rep, &ask, &list, usage_all);
}
