/*
 * Runs the statements about a store's tools. The only file that knows the
 * order of their columns.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "chat/store_tool.h"
#include "chat/tool.h"
#include "chat/turn.h"
#include "http/request.h"

static const struct row_column columns[] = {STORE_TOOL_ROW};
static const struct row_shape shape = ROW_SHAPE(columns, -1, -1);

/* What TURN_TOOLS gives. */
enum {
	TOOL_ID,
	TOOL_NAME,
	TOOL_DESCRIPTION,
	TOOL_SCHEMA,
	TOOL_URL,
	TOOL_METHOD,
	TOOL_TIMEOUT,
	TOOL_SECRET,
	TOOL_SECRET_BEFORE,
	TOOL_ISSUER,
	TOOL_EXTERNAL_ID,
	TOOL_USERNAME
};

static bool
is_key(const struct store_tool_key *key)
{
	return id_is_uuid(key->store) && id_is_uuid(key->id);
}

enum err
store_tool_get(
    struct request *req, const struct store_tool_key *key, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORE_TOOLS),
	    .params = {key->store, key->id, "", "1"},
	};

	return is_key(key) ? rows_one(req, &shape, &call, out) : ERR_NOT_FOUND;
}

enum err
store_tool_put(struct request *req, const struct store_tool_key *key,
    const char *secret, const char *fields, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORE_TOOL_PUT),
	    .params = {key->store, key->id, secret, fields},
	};
	const char *limit;
	enum err e;

	if (!is_key(key))
		return ERR_NOT_FOUND;
	e = rows_one(req, &shape, &call, out);
	if (e != ERR_INVALID_FIELD)
		return e;
	limit = pg_constraint(req->services->pg);
	if (strcmp(limit, "store_tools_count") == 0)
		return request_refuse(
		    req, "name", "A store has at most 32 tools.");
	if (strcmp(limit, "store_tools_size") == 0)
		return request_refuse(req, "parameters",
		    "What models are told of all tools of a store has at most "
		    "64 KiB.");
	return request_refuse(req, "parameters", "This does not fit.");
}

enum err
store_tool_rotate(struct request *req, const struct store_tool_key *key,
    const char *secret, const char *overlap_s, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORE_TOOL_SECRET),
	    .params = {key->store, key->id, secret, overlap_s},
	};

	return is_key(key) ? rows_one(req, &shape, &call, out) : ERR_NOT_FOUND;
}

enum err
store_tool_delete(struct request *req, const struct store_tool_key *key)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORE_TOOL_DELETE),
	    .params = {key->store, key->id},
	};

	return is_key(key) ? rows_change(req, &call) : ERR_NOT_FOUND;
}

void
store_tools_call(const struct turn *t, struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_TURN_TOOLS),
	    .params = {t->user_id, t->message_id},
	};
}

static void
wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void
store_tool_free(void *p)
{
	struct store_tool *s = p;

	if (s == NULL)
		return;
	free(s->name);
	free(s->description);
	free(s->schema);
	free(s->url);
	free(s->method);
	wipe(s->secret);
	wipe(s->secret_before);
	free(s->issuer);
	free(s->external_id);
	free(s->username);
	free(s);
}

/* A copy; NULL stays so. False: no memory. */
static bool
copy(char **out, const PGresult *r, int row, int column)
{
	const char *text = pg_text(r, row, column);

	*out = text == NULL ? NULL : strdup(text);
	return text == NULL || *out != NULL;
}

static struct store_tool *
read_row(const PGresult *r, int row)
{
	struct store_tool *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->timeout_ms = pg_number(r, row, TOOL_TIMEOUT);
	memcpy(s->id, pg_text(r, row, TOOL_ID), ID_TEXT);
	if (copy(&s->name, r, row, TOOL_NAME) &&
	    copy(&s->description, r, row, TOOL_DESCRIPTION) &&
	    copy(&s->schema, r, row, TOOL_SCHEMA) &&
	    copy(&s->url, r, row, TOOL_URL) &&
	    copy(&s->method, r, row, TOOL_METHOD) &&
	    copy(&s->secret, r, row, TOOL_SECRET) &&
	    copy(&s->secret_before, r, row, TOOL_SECRET_BEFORE) &&
	    copy(&s->issuer, r, row, TOOL_ISSUER) &&
	    copy(&s->external_id, r, row, TOOL_EXTERNAL_ID) &&
	    copy(&s->username, r, row, TOOL_USERNAME))
		return s;
	store_tool_free(s);
	return NULL;
}

enum err
store_tools_take(struct turn *t, const struct pg_call *call)
{
	for (int i = 0; i < pg_rows(call->result); i++) {
		struct store_tool *s;

		if (t->tools == NULL && (t->tools = tools_new()) == NULL)
			return ERR_INTERNAL;
		s = read_row(call->result, i);
		if (s == NULL)
			return ERR_INTERNAL;
		if (!tools_add(t->tools, &(struct tool){.name = s->name,
					     .description = s->description,
					     .schema = s->schema,
					     .kind = TOOL_SITE,
					     .site = s,
					     .site_free = store_tool_free}))
			store_tool_free(s);
	}
	return OK;
}
