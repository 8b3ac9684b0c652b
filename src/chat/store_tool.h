/*
 * A store's tools: what administrators change of them, and how they come with
 * a turn in the store. What one must be like is store_tool_rule.h's, calling
 * it server/site_tool.h's. Their secrets leave the database with a turn alone.
 *
 * What is read is appended to a buffer as JSON, without secrets. Thread: front.
 */
#ifndef CHAT_STORE_TOOL_H
#define CHAT_STORE_TOOL_H

#include "base/errors.h"
#include "base/id.h"

struct buf;
struct pg_call;
struct request;
struct turn;

/* The columns of a row as administrators see it, for a table of chat/rows.h. */
#define STORE_TOOL_ROW                                                        \
	{"id", ROW_TEXT}, {"store_id", ROW_TEXT}, {"name", ROW_TEXT},         \
	    {"description", ROW_TEXT}, {"parameters", ROW_RAW},               \
	    {"url", ROW_TEXT}, {"method", ROW_TEXT}, {"timeout_ms", ROW_RAW}, \
	    {"is_active", ROW_FLAG}, {"secret_set_at", ROW_TIME},             \
	    {"secret_before_until", ROW_TIME}, {"created_at", ROW_TIME},      \
	{                                                                     \
		"updated_at", ROW_TIME                                        \
	}

/* Which one: both from the path. */
struct store_tool_key {
	const char *store;
	const char *id;
};

/* ERR_NOT_FOUND in all of them: no such store or tool. */
enum err store_tool_get(struct request *req, const struct store_tool_key *key,
    struct buf *out) MUST_CHECK;

/*
 * Registers a tool (with its secret, key->id is a new one) or changes what the
 * fields, a JSON object that was checked, name (secret NULL). ERR_CONFLICT:
 * the store has one of this name.
 */
enum err store_tool_put(struct request *req, const struct store_tool_key *key,
    const char *secret, const char *fields, struct buf *out) MUST_CHECK;

/* Gives it another secret; `overlap_s`, digits, is how long the one before
 * signs too. */
enum err store_tool_rotate(struct request *req,
    const struct store_tool_key *key, const char *secret, const char *overlap_s,
    struct buf *out) MUST_CHECK;

enum err store_tool_delete(
    struct request *req, const struct store_tool_key *key) MUST_CHECK;

/* One of them as a turn has it: what calling it takes. All owned. */
struct store_tool {
	char id[ID_TEXT];
	char *name;
	char *description;
	char *schema;
	char *url;
	char *method;
	long timeout_ms;
	char *secret;
	char *secret_before; /* NULL: none is good any more */
	/* Who the user is to the site; NULL: not the site's. */
	char *issuer;
	char *external_id;
	char *username;
};

/* The statement of a turn that may use tools: no rows without a store. */
void store_tools_call(const struct turn *t, struct pg_call *out_call);

/*
 * Adds what it gave to t->tools, which is made if need be. A name that one of
 * them has already is left out. ERR_INTERNAL without memory.
 */
enum err
store_tools_take(struct turn *t, const struct pg_call *call) MUST_CHECK;

#endif
