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
#include "http/route.h"

#define BY_MAX    16
#define MODEL_MAX 200

enum { BY, FROM, TO, USER, STORE, MODEL, FORMAT, N_FILTERS };
enum { N_OWN = USER };

/* What the query asks for. */
struct asked {
	struct field_value v[N_FILTERS];
	struct list_ask list;
	struct usage_ask ask;
};

/* Reads `n` filters, the span of days and the place in the list. */
static enum err
read_query(struct request *req, const struct field *filters, size_t n,
    struct asked *out)
{
	struct field_value *v = out->v;
	enum err e = fields_query(req, filters, n, v);
	if (e == OK)
		e = fields_list(req, req->route->pattern, v,
		    n < FORMAT ? n : FORMAT, &out->list);
	if (e == OK)
		e = fields_span(req, &v[FROM], &v[TO]);
	if (e != OK)
		return e;
	out->ask = (struct usage_ask){
	    .by = v[BY].text ? v[BY].text : "day",
	    .from = v[FROM].text,
	    .to = v[TO].text,
	    .user = v[USER].text,
	    .store = v[STORE].text,
	    .model = v[MODEL].text,
	    .after = {out->list.after[0], out->list.after[1]},
	    .limit = out->list.limit,
	    .limit_text = out->list.limit_text,
	};
	return OK;
}

typedef enum err (*list_fn)(struct request *req, const struct usage_ask *ask,
    struct buf *out, const char **out_next);

static enum err
reply_page(struct request *req, struct reply *rep, const struct asked *asked,
    list_fn read)
{
	struct buf body = {0};
	const char *next[CURSOR_KEYS_MAX + 1] = {NULL}; /* ended with NULL */
	page_open(&body);
	enum err e = read(req, &asked->ask, &body, next);
	if (e == OK)
		e = page_close(req, &body, asked->list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_me_usage(struct request *req, struct reply *rep)
{
	static const struct field filters[N_OWN] = {
	    [BY] = {.name = "by", .kind = FIELD_WORD, .words = USAGE_BY_OWN},
	    [FROM] = {.name = "from", .kind = FIELD_DATE},
	    [TO] = {.name = "to", .kind = FIELD_DATE},
	};
	struct asked asked = {0};
	enum err e = read_query(req, filters, N_OWN, &asked);
	return e ? e : reply_page(req, rep, &asked, usage_own);
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
	struct asked asked = {0};
	enum err e = read_query(req, filters, N_FILTERS, &asked);
	if (e != OK)
		return e;
	if (!usage_by_is_known(asked.ask.by))
		return request_refuse(req, "by",
		    "It takes one of " USAGE_BY_ALL ", or two with a comma.");
	if (wants_csv(req, &asked.v[FORMAT]))
		return reply_csv(req, rep, &asked.ask);
	return reply_page(req, rep, &asked, usage_all);
}
