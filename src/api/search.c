/*
 * /messages/search, and the statistics of conversations and users: reads the
 * request, calls chat/search.h, writes the reply. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/cached.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/conversation.h"
#include "chat/search.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"
#include "store/cache.h"

#define LIMIT_DEFAULT 20
#define INTENT_MAX    100 /* characters */

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t
count_words(const char *s)
{
	size_t n = 0;
	bool is_word = false;
	for (; *s; s++) {
		if (!is_space(*s) && !is_word)
			n++;
		is_word = !is_space(*s);
	}
	return n;
}

static enum err
read_words(struct request *req, const char **out)
{
	const char *q;
	enum err e = request_query(req, "q", &q);
	if (e != OK)
		return e;
	if (!q || count_words(q) == 0)
		return request_refuse(req, "q", "It is required.");
	if (text_length(q, strlen(q)) > SEARCH_QUERY_MAX)
		return request_refuse(
		    req, "q", "It takes at most 500 characters.");
	if (count_words(q) > SEARCH_WORDS_MAX)
		return request_refuse(req, "q", "It takes at most 32 words.");
	*out = q;
	return OK;
}

static enum err
read_role(struct request *req, const char **out)
{
	static const char *const roles[] = {
	    "user", "assistant", "system", "tool"};
	const char *role;
	enum err e = request_query(req, "role", &role);
	if (e != OK)
		return e;
	for (size_t i = 0; role && i < sizeof(roles) / sizeof(*roles); i++) {
		if (!strcmp(role, roles[i])) {
			*out = role;
			return OK;
		}
	}
	if (role)
		return request_refuse(
		    req, "role", "It takes user, assistant, system or tool.");
	return OK;
}

static enum err
read_ask(struct request *req, struct search_ask *ask)
{
	enum err e = read_words(req, &ask->words);
	if (e == OK)
		e = request_query(
		    req, "conversation_id", &ask->conversation_id);
	if (e == OK)
		e = read_role(req, &ask->role);
	if (e == OK)
		e = request_query(req, "intent", &ask->intent);
	if (e == OK && ask->intent &&
	    text_length(ask->intent, strlen(ask->intent)) > INTENT_MAX)
		e = request_refuse(
		    req, "intent", "It takes at most 100 characters.");
	if (e == OK)
		e = request_query_time(req, "since", &ask->since);
	if (e == OK)
		e = request_query_time(req, "until", &ask->until);
	if (e == OK)
		e = request_query_number(req, "limit", LIMIT_DEFAULT, 1,
		    SEARCH_LIMIT_MAX, &ask->limit);
	return e;
}

/* What its cursors are sealed with: everything but the page. */
static const char *
name_list(struct request *req, const struct search_ask *ask)
{
	struct buf b = {0};
	buf_puts(&b, "search ");
	json_write_open(&b, NULL, '{');
	json_write_text(&b, "q", ask->words);
	json_write_text(&b, "conversation_id", ask->conversation_id);
	json_write_text(&b, "role", ask->role);
	json_write_text(&b, "intent", ask->intent);
	json_write_text(&b, "since", ask->since);
	json_write_text(&b, "until", ask->until);
	const char *name = arena_strndup(req->arena, b.p, b.n);
	buf_free(&b);
	return name;
}

enum err
api_messages_search(struct request *req, struct reply *rep)
{
	struct search_ask ask = {0};
	struct buf body = {0};
	const char *next[4] = {NULL}; /* ended with NULL */
	const char *list = NULL;
	enum err e = read_ask(req, &ask);
	if (e == OK) {
		list = name_list(req, &ask);
		e = list ? cursor_read(req, list, ask.after) : ERR_TOO_LARGE;
	}
	page_open(&body);
	if (e == OK)
		e = messages_search(req, &ask, &body, next);
	if (e == OK)
		e = page_close(req, &body, list, next);
	return page_reply(req, rep, e, 200, &body);
}

static enum err
build_conversation(
    struct request *req, void *arg, struct buf *body, int64_t *out_life_ms)
{
	(void)arg;
	return conversation_stats(req, req->ids[0], body, out_life_ms);
}

enum err
api_conversation_stats(struct request *req, struct reply *rep)
{
	struct cache_slot slot = {
	    .kind = CACHE_STATS, .what = req->ids[0], .variant = "-"};
	if (!conversation_is_named(req->ids[0]))
		return ERR_NOT_FOUND;
	return cached_reply(req, rep, &slot, build_conversation, NULL);
}

static enum err
build_me(struct request *req, void *arg, struct buf *body, int64_t *out_life_ms)
{
	(void)arg;
	return me_stats(req, body, out_life_ms);
}

enum err
api_me_stats(struct request *req, struct reply *rep)
{
	struct cache_slot slot = {.kind = CACHE_STATS, .variant = "-"};
	return cached_reply(req, rep, &slot, build_me, NULL);
}
