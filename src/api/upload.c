/*
 * Files on their way to documents. Knows no SQL and no file format.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/upload.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/json.h"
#include "base/text.h"
#include "chat/document.h"
#include "http/multipart.h"
#include "http/request.h"
#include "http/route.h"
#include "knowledge/extract.h"

#define TYPE_MAX  128
#define PARTS_MAX 16

enum { TITLE, STORE, LANGUAGE, METADATA, FILENAME, N_FIELDS };

static const struct field fields_of_upload[N_FIELDS] = {
    [TITLE] = {"title", FIELD_TEXT, .min = 1, .max = DOCUMENT_TITLE_MAX},
    [STORE] = {"store_id", FIELD_UUID, .nullable = true},
    [LANGUAGE] = {"language", FIELD_LOWER, .min = 2, .max = 8,
	.nullable = true},
    [METADATA] = {"metadata", FIELD_OBJECT, .max = DOCUMENT_METADATA_MAX},
    [FILENAME] = {"filename", FIELD_TEXT, .min = 1,
	.max = DOCUMENT_FILENAME_MAX},
};

bool
upload_is_taken(const struct request *req)
{
	return req->route->handler == api_document_create ||
	       req->route->handler == api_document_upload;
}

/* The media type without its parameters, in lower case. */
static void
bare_type(const char *type, char out[static TYPE_MAX])
{
	size_t n = strcspn(type, "; \t");
	if (n >= TYPE_MAX)
		n = TYPE_MAX - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)(type[i] >= 'A' && type[i] <= 'Z' ? type[i] + 32
								 : type[i]);
	out[n] = '\0';
}

static const char *
charset_of(struct request *req, const char *type)
{
	const char *at = strcasestr(type, "charset=");
	if (!at)
		return NULL;
	at += strlen("charset=");
	at += *at == '"';
	return arena_strndup(req->arena, at, strcspn(at, "\"; \t"));
}

static bool
is_read(const char *type)
{
	size_t n = strlen(type);
	for (const char *at = EXTRACT_TYPES; n > 0 && *at;) {
		size_t len = strcspn(at, " ");
		if (len == n && memcmp(at, type, n) == 0)
			return true;
		at += len + (at[len] == ' ');
	}
	return false;
}

/* Which of the formats it is: what its name ends in, where nobody who knows
 * said so. */
static const char *
type_of(struct request *req, const char *type, const char *filename)
{
	char bare[TYPE_MAX];
	const char *named = extract_type_of(filename);

	bare_type(type, bare);
	if (!strcmp(bare, "text/x-markdown"))
		return "text/markdown";
	if (!strcmp(bare, "application/xhtml+xml"))
		return "text/html";
	/* Systems that do not know Markdown or CSV call them text. */
	if (named && (!strcmp(bare, "") || !strcmp(bare, "text/plain") ||
			 !strcmp(bare, "application/octet-stream") ||
			 !strcmp(bare, "application/vnd.ms-excel") ||
			 !strcmp(bare, "application/x-www-form-urlencoded")))
		return named;
	return is_read(bare) ? arena_strdup(req->arena, bare) : NULL;
}

static enum err
take_values(struct request *req, const struct field_value v[static N_FIELDS],
    const char *type, struct document_change *out)
{
	out->title = v[TITLE].text;
	out->store_id = v[STORE].text;
	out->language = v[LANGUAGE].text;
	out->metadata = v[METADATA].text;
	out->filename = v[FILENAME].text;
	out->mime_type = type_of(req, type, out->filename);
	out->charset = charset_of(req, type);
	return out->mime_type ? OK : ERR_MEDIA_TYPE;
}

/* Adds a form's member; an empty one was not filled in. */
static enum err
add_member(struct request *req, struct json_object *form,
    const struct multipart_part *part)
{
	struct json_object *o = NULL;

	if (part->n == 0)
		return OK;
	if (!text_is_clean(part->name, strlen(part->name)) ||
	    !text_is_clean(part->p, part->n))
		return request_refuse(req, "file",
		    "The form's texts must be valid UTF-8 without NUL.");
	if (strcmp(part->name, "metadata") == 0) {
		if (json_parse_object(part->p, part->n, &o) != OK)
			return request_refuse(
			    req, "metadata", "It must be a JSON object.");
	} else {
		o = json_object_new_string_len(part->p, (int)part->n);
	}
	json_object_object_add(form, part->name, o);
	return OK;
}

/* A path's last part, as some browsers send one. */
static const char *
base_name(const char *filename)
{
	const char *slash = strrchr(filename, '/');
	const char *back = strrchr(filename, '\\');
	if (back && (!slash || back > slash))
		slash = back;
	return slash ? slash + 1 : filename;
}

static enum err
read_parts(struct request *req, struct multipart *m, struct json_object *form,
    struct document_change *out, const char **out_type)
{
	struct multipart_part *part = arena_alloc(req->arena, sizeof(*part));
	enum err e = part ? OK : ERR_TOO_LARGE;

	for (int n = 0; e == OK && multipart_next(m, part); n++) {
		if (n == PARTS_MAX)
			return request_refuse(
			    req, "file", "The form has too many parts.");
		if (strcmp(part->name, "file") != 0) {
			e = add_member(req, form, part);
			continue;
		}
		if (out->raw)
			return request_refuse(
			    req, "file", "There may be one file only.");
		out->raw = part->p;
		out->raw_len = part->n;
		*out_type = arena_strdup(req->arena, part->type);
		if (!text_is_clean(part->filename, strlen(part->filename)))
			return request_refuse(req, "filename",
			    "It must be valid UTF-8 without NUL.");
		if (*base_name(part->filename))
			json_put_text(
			    form, "filename", base_name(part->filename));
	}
	if (e == OK && (m->has_failed || !out->raw))
		e = request_refuse(req, "file",
		    "A form with one file in the part \"file\" is needed.");
	return e == OK && !*out_type ? ERR_TOO_LARGE : e;
}

static enum err
read_form(struct request *req, struct multipart *m, struct document_change *out)
{
	AUTO_JSON struct json_object *form = json_object_new_object();
	struct field_value v[N_FIELDS] = {0};
	const char *type = "";
	enum err e = read_parts(req, m, form, out, &type);

	if (e == OK)
		e = fields_read_object(
		    req, form, fields_of_upload, N_FIELDS, v);
	return e == OK ? take_values(req, v, type, out) : e;
}

enum err
upload_read(struct request *req, struct document_change *out)
{
	struct field_value v[N_FIELDS];
	struct multipart form;
	enum err e;

	*out = (struct document_change){0};
	if (multipart_init(
		&form, req->content_type, req->body, req->body_len)) {
		e = read_form(req, &form, out);
	} else {
		out->raw = req->body;
		out->raw_len = req->body_len;
		e = fields_query(req, fields_of_upload, N_FIELDS, v);
		if (e == OK)
			e = take_values(req, v, req->content_type, out);
	}
	return e == OK ? upload_extract(req, out, "file") : e;
}

/* Its own title, where nobody gave it one. */
static void
take_title(
    struct request *req, const struct extracted *e, struct document_change *c)
{
	size_t n = text_prefix(e->title.p, e->title.n, DOCUMENT_TITLE_MAX);
	if (!c->title && n > 0)
		c->title = arena_strndup(req->arena, e->title.p, n);
}

enum err
upload_extract(
    struct request *req, struct document_change *c, const char *field)
{
	const struct config *config = req->services->config;
	const struct extract_ask ask = {
	    .p = c->raw,
	    .n = c->raw_len,
	    .mime_type = c->mime_type,
	    .charset = c->charset,
	    .pdftotext = config->pdftotext,
	    .seconds = config->extract_seconds,
	    .max_bytes = (size_t)config->document_max_bytes,
	};
	struct extracted text = {0};

	if (ask.n > ask.max_bytes)
		return request_refuse(
		    req, field, "It is longer than CHAT_DOCUMENT_MAX_BYTES.");
	enum extract_end end = extract(&ask, &text);
	enum err e = OK;
	if (end == EXTRACT_NO_ROOM)
		e = request_fail(req, ERR_BUSY, extract_why(end));
	else if (end != EXTRACT_OK)
		e = request_refuse(req, field, extract_why(end));
	if (e == OK) {
		c->content =
		    arena_strndup(req->arena, text.text.p, text.text.n);
		take_title(req, &text, c);
		e = c->content ? OK : ERR_TOO_LARGE;
	}
	extracted_free(&text);
	return e;
}
