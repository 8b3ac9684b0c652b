/*
 * The rows of chat.documents and chat.document_chunks. The only file that
 * knows the order of their columns. Must not know how a text is cut.
 */
#include <sodium.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "chat/conversation.h"
#include "chat/document.h"
#include "chat/passages.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "http/request.h"
#include "knowledge/extract.h"
#include "knowledge/language.h"

/* SHA-256 as a bytea's text: "\x" and 64 digits. */
#define HASH_TEXT (2 + 64 + 1)

#define MARKDOWN "text/markdown"

/* The order of DOCUMENT_COLUMNS in records.def. */
enum { ID = 0, MIME_TYPE = 4, LANGUAGE = 5, CREATED_AT = 12, CONTENT = 14 };

#define COLUMNS                                                        \
	{"id", ROW_TEXT}, {"store_id", ROW_TEXT}, {"title", ROW_TEXT}, \
	    {"filename", ROW_TEXT}, {"mime_type", ROW_TEXT},           \
	    {"language", ROW_TEXT}, {"size_bytes", ROW_RAW},           \
	    {"sha256", ROW_TEXT}, {"status", ROW_TEXT},                \
	    {"error_code", ROW_TEXT}, {"chunk_count", ROW_RAW},        \
	    {"metadata", ROW_RAW}, {"created_at", ROW_TIME},           \
	{                                                              \
		"updated_at", ROW_TIME                                 \
	}

static const struct row_column columns[] = {COLUMNS};
static const struct row_column columns_whole[] = {
    COLUMNS, {"content", ROW_TEXT}};
static const struct row_column columns_of_chunk[] = {
    {"id", ROW_TEXT},
    {"document_id", ROW_TEXT},
    {"position", ROW_RAW},
    {"heading", ROW_TEXT},
    {"content", ROW_TEXT},
    {"start_offset", ROW_RAW},
    {"end_offset", ROW_RAW},
    {"token_count", ROW_RAW},
};
static const struct row_shape shape = ROW_SHAPE(columns, CREATED_AT, ID);
static const struct row_shape shape_whole = ROW_SHAPE(columns_whole, -1, -1);
static const struct row_shape shape_of_chunk =
    ROW_SHAPE(columns_of_chunk, 2, -1);

/* A text ready to be stored. */
struct cut {
	const char *chunks; /* as DOCUMENT_CUT takes them */
	const char *count;
	char hash[HASH_TEXT];
};

static void
write_hash(const char *p, size_t n, char out[static HASH_TEXT])
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256(hash, (const unsigned char *)p, n);
	out[0] = '\\';
	out[1] = 'x';
	sodium_bin2hex(out + 2, HASH_TEXT - 2, hash, sizeof(hash));
}

/* Cuts the content; ERR_TOO_LARGE beyond the arena. */
static enum err
cut(struct request *req, const char *content, const char *mime_type,
    struct cut *out)
{
	struct buf b = {0};
	size_t n = passages_write(&b, content, mime_type, DOCUMENT_CHUNKS_MAX);
	if (n > DOCUMENT_CHUNKS_MAX) {
		buf_free(&b);
		return request_refuse(
		    req, "content", "It falls into more than 20000 passages.");
	}
	out->chunks = b.failed ? NULL : arena_strndup(req->arena, b.p, b.n);
	out->count = arena_printf(req->arena, "%zu", n);
	buf_free(&b);
	write_hash(content, strlen(content), out->hash);
	return out->chunks && out->count ? OK : ERR_TOO_LARGE;
}

/* Why nothing was stored: what the caller is in that store. */
static enum err
judge_store(struct request *req, const PGresult *role)
{
	if (pg_rows(role) > 0)
		return request_fail(
		    req, ERR_FORBIDDEN, "a member brings a document");
	return request_refuse(
	    req, "store_id", "There is no such store of yours.");
}

enum err
document_create(struct request *req, const struct document_change *c,
    struct buf *out, char out_id[static ID_TEXT], bool *out_is_new)
{
	const char *user = req->who.user_id;
	const char *title = c->title;
	struct cut made;
	char id[ID_TEXT];
	enum err e = cut(req, c->content, c->mime_type, &made);
	if (e != OK)
		return e;
	if (c->raw)
		write_hash(c->raw, c->raw_len, made.hash);
	const char *size = arena_printf(
	    req->arena, "%zu", c->raw ? c->raw_len : strlen(c->content));
	const char *language = c->language;
	if (!language)
		language = language_guess(c->content, strlen(c->content));
	if (!title)
		title = c->filename
			    ? c->filename
			    : conversation_title(req->arena, c->content);
	id_make(id);
	struct pg_call calls[] = {
	    {.query = chat_query(CHAT_DOCUMENT_CREATE),
		.params = {user, id, c->store_id, title, c->filename,
		    c->mime_type, language, c->content, made.hash, c->metadata,
		    made.count, size}},
	    {.query = chat_query(CHAT_DOCUMENT_CUT),
		.params = {user, id, made.chunks}},
	    {.query = chat_query(CHAT_DOCUMENT_BY_CONTENT),
		.params = {user, c->store_id, made.hash}},
	    {.query = chat_query(CHAT_STORE_ROLE),
		.params = {user, c->store_id}},
	};
	e = chat_run(req, calls, 4);
	if (e != OK)
		return e;
	const PGresult *r = calls[2].result;
	if (pg_rows(r) == 0) {
		e = judge_store(req, calls[3].result);
	} else {
		rows_write(out, &shape, r, 0);
		memcpy(out_id, pg_text(r, 0, ID), ID_TEXT);
		*out_is_new = strcmp(out_id, id) == 0;
	}
	pg_calls_clear(calls, 4);
	return e;
}

enum err
document_get(struct request *req, const char *id, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_DOCUMENT_GET),
	    .params = {req->who.user_id, id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	return rows_one(req, &shape_whole, &call, out);
}

enum err
documents_list(struct request *req, const struct documents_ask *ask,
    struct buf *out, const char *out_next[static 2])
{
	bool is_first = !ask->after[0];
	struct pg_call call = {
	    .query = chat_query(CHAT_DOCUMENTS_LIST),
	    .params = {req->who.user_id, ask->store, ask->q, ask->metadata,
		is_first ? ROWS_TIME_LAST : ask->after[0],
		is_first ? ROWS_ID_LAST : ask->after[1], ask->limit_text},
	};
	return rows_page(req, &shape, &call, ask->limit, out, out_next);
}

/* What could not be changed is there to be read, or not at all. */
static enum err
judge_unchanged(struct request *req, const char *id)
{
	struct buf body = {0};
	enum err e = document_get(req, id, &body);
	buf_free(&body);
	return e == OK ? ERR_FORBIDDEN : e;
}

/*
 * Cuts what the document will hold: the new content, or the old one in another
 * language. *out_content is that.
 */
static enum err
cut_anew(struct request *req, const char *id, const struct document_change *c,
    struct cut *out, const char **out_content)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_DOCUMENT_GET),
	    .params = {req->who.user_id, id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0) {
		e = ERR_NOT_FOUND;
	} else {
		const char *content = c->content;
		if (!content)
			content = arena_strdup(
			    req->arena, pg_text(call.result, 0, CONTENT));
		*out_content = content;
		e = content ? cut(req, content,
				  pg_text(call.result, 0, MIME_TYPE), out)
			    : ERR_TOO_LARGE;
	}
	pg_calls_clear(&call, 1);
	return e;
}

enum err
document_update(struct request *req, const char *id,
    const struct document_change *c, struct buf *out)
{
	const char *user = req->who.user_id;
	const char *content = NULL;
	struct cut made = {0};
	bool is_cut = c->content || c->has_language;
	enum err e = id_is_uuid(id) ? OK : ERR_NOT_FOUND;
	if (e == OK && is_cut)
		e = cut_anew(req, id, c, &made, &content);
	if (e != OK)
		return e;
	struct pg_call calls[] = {
	    {.query = chat_query(CHAT_DOCUMENT_PATCH),
		.params = {user, id, c->title, c->metadata, c->language,
		    c->has_language ? "t" : "f", content,
		    is_cut ? made.hash : NULL, made.count}},
	    {.query = chat_query(CHAT_DOCUMENT_UNCUT), .params = {user, id}},
	    {.query = chat_query(CHAT_DOCUMENT_CUT),
		.params = {user, id, made.chunks}},
	};
	size_t n = is_cut ? 3 : 1;
	e = chat_run(req, calls, n);
	if (e == ERR_INVALID_FIELD)
		return request_refuse(
		    req, "metadata", "It would grow beyond 32 KiB with this.");
	if (e != OK)
		return e;
	bool is_changed = pg_rows(calls[0].result) > 0;
	if (is_changed)
		rows_write(out, &shape, calls[0].result, 0);
	pg_calls_clear(calls, n);
	return is_changed ? OK : judge_unchanged(req, id);
}

enum err
document_delete(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_DOCUMENT_DELETE),
	    .params = {req->who.user_id, id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = rows_change(req, &call);
	return e == ERR_NOT_FOUND ? judge_unchanged(req, id) : e;
}

enum err
document_chunks(struct request *req, const char *id, const char *after,
    long limit, struct buf *out, const char *out_next[static 2])
{
	const char *limit_text = arena_printf(req->arena, "%ld", limit + 1);
	struct pg_call call = {
	    .query = chat_query(CHAT_DOCUMENT_CHUNKS),
	    .params = {req->who.user_id, id, after, limit_text},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	return rows_page(req, &shape_of_chunk, &call, limit, out, out_next);
}
