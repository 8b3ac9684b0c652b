/*
 * /documents: reads the request, calls chat/document.c, writes the reply.
 * Knows no SQL. Round trips: one; a change of the content two; a refusal for
 * who may only read, one more.
 */
#include <assert.h>
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "api/upload.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/json_write.h"
#include "chat/document.h"
#include "http/reply.h"
#include "http/request.h"
#include "knowledge/extract.h"

/* What may come as text within JSON. */
#define TYPES "text/plain text/markdown text/html text/csv application/json"

enum {
	TITLE,
	CONTENT,
	METADATA,
	LANGUAGE,
	STORE,
	FILENAME,
	MIME_TYPE,
	N_FIELDS
};
#define N_CHANGED STORE /* a change takes those before it */

/* The content's limit is a setting. */
static const struct field fields_of_document[N_FIELDS] = {
    [TITLE] = {"title", FIELD_TEXT, .min = 1, .max = DOCUMENT_TITLE_MAX},
    [CONTENT] = {"content", FIELD_BYTES},
    [METADATA] = {"metadata", FIELD_OBJECT, .max = DOCUMENT_METADATA_MAX},
    [LANGUAGE] = {"language", FIELD_LOWER, .min = 2, .max = 8,
	.nullable = true},
    [STORE] = {"store_id", FIELD_UUID, .nullable = true},
    [FILENAME] = {"filename", FIELD_TEXT, .min = 1,
	.max = DOCUMENT_FILENAME_MAX, .nullable = true},
    [MIME_TYPE] = {"mime_type", FIELD_WORD, .words = TYPES},
};

static bool
is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n\f\v")] == '\0';
}

/* Reads the first `n` fields of a body. */
static enum err
read_document(
    struct request *req, size_t n, bool is_new, struct document_change *out)
{
	struct field_value v[N_FIELDS] = {0};
	struct field fields[N_FIELDS];
	memcpy(fields, fields_of_document, sizeof(fields));
	fields[CONTENT].max = (size_t)req->services->config->document_max_bytes;
	fields[CONTENT].required = is_new;
	enum err e = fields_read(req, fields, n, v);
	if (e == OK && v[CONTENT].text && is_blank(v[CONTENT].text))
		e = request_refuse(req, "content", "There is nothing in it.");
	if (e != OK)
		return e;
	*out = (struct document_change){
	    .store_id = v[STORE].text,
	    .filename = v[FILENAME].text,
	    .mime_type = v[MIME_TYPE].text ? v[MIME_TYPE].text : "text/plain",
	    .title = v[TITLE].text,
	    .content = v[CONTENT].text,
	    .metadata = v[METADATA].text,
	    .language = v[LANGUAGE].text,
	    .has_language = v[LANGUAGE].is_given,
	};
	return OK;
}

/* Text within JSON. */
static enum err
read_json(struct request *req, struct document_change *out)
{
	enum err e = read_document(req, N_FIELDS, true, out);
	if (e != OK)
		return e;
	assert(out->content != NULL); /* it is required */
	out->raw = out->content;
	out->raw_len = strlen(out->content);
	out->charset = "utf-8";
	return upload_extract(req, out, "content");
}

static enum err
create(struct request *req, struct reply *rep,
    enum err (*read)(struct request *, struct document_change *))
{
	struct document_change c;
	struct buf body = {0};
	char id[ID_TEXT];
	bool is_new = false;
	enum err e = read(req, &c);
	if (e == OK)
		e = document_create(req, &c, &body, id, &is_new);
	if (e == OK)
		fields_location(req, rep, "documents", id);
	return page_reply(req, rep, e, is_new ? 201 : 200, &body);
}

enum err
api_document_create(struct request *req, struct reply *rep)
{
	return create(req, rep, request_is_json(req) ? read_json : upload_read);
}

/* A file as it is, a JSON file among them. */
enum err
api_document_upload(struct request *req, struct reply *rep)
{
	return create(req, rep, upload_read);
}

enum err
api_document_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = document_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_document_patch(struct request *req, struct reply *rep)
{
	struct document_change c;
	struct buf body = {0};
	enum err e = read_document(req, N_CHANGED, false, &c);
	if (e == OK)
		e = document_update(req, req->ids[0], &c, &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_document_delete(struct request *req, struct reply *rep)
{
	enum err e = document_delete(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_documents_list(struct request *req, struct reply *rep)
{
	static const struct field filters[] = {
	    {"store", FIELD_TEXT, .min = 1, .max = 64},
	    {"q", FIELD_TEXT, .min = 1, .max = 200},
	    {"metadata", FIELD_OBJECT, .max = 4096},
	};
	struct field_value v[3];
	struct list_ask list;
	struct buf body = {0};
	const char *next[3] = {NULL}; /* ended with NULL */
	enum err e = fields_query(req, filters, 3, v);
	if (e == OK)
		e = fields_list(req, "documents", v, 3, &list);
	page_open(&body);
	if (e == OK) {
		const struct documents_ask ask = {
		    .store = v[0].text,
		    .q = v[1].text,
		    .metadata = v[2].text,
		    .limit = list.limit,
		    .limit_text = list.limit_text,
		    .after = {list.after[0], list.after[1]},
		};
		e = documents_list(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_document_chunks(struct request *req, struct reply *rep)
{
	struct list_ask list;
	struct buf body = {0};
	const char *next[3] = {NULL};
	const char *name = arena_printf(req->arena, "chunks %s", req->ids[0]);
	enum err e = fields_list(req, name, NULL, 0, &list);
	page_open(&body);
	if (e == OK)
		e = document_chunks(req, req->ids[0],
		    list.after[0] ? list.after[0] : "0", list.limit, &body,
		    next);
	/* No document is without a chunk. */
	if (e == OK && !list.after[0] && body.n == strlen("{\"data\":[]"))
		e = ERR_NOT_FOUND;
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_documents_search(struct request *req, struct reply *rep)
{
	static const struct field filters[] = {
	    {"q", FIELD_TEXT, .min = 1, .max = DOCUMENT_QUESTION_MAX,
		.required = true},
	    {"store", FIELD_TEXT, .min = 1, .max = 64},
	    {"language", FIELD_LOWER, .min = 2, .max = 8},
	};
	static const char *const none[] = {NULL};
	struct field_value v[3];
	struct buf body = {0};
	const char *embedding = NULL;
	long limit = 0;
	enum err e = fields_query(req, filters, 3, v);
	if (e == OK)
		e = request_query_number(req, "limit", 10, 1, 50, &limit);
	page_open(&body);
	if (e == OK) {
		const struct documents_question ask = {
		    .q = v[0].text,
		    .store = v[1].text,
		    .language = v[2].text,
		    .limit = arena_printf(req->arena, "%ld", limit),
		};
		e = documents_search(req, &ask, &body, &embedding);
	}
	if (e == OK) {
		json_write_text(&body, "embedding", embedding);
		e = page_close(req, &body, "found", none);
	}
	return page_reply(req, rep, e, 200, &body);
}
