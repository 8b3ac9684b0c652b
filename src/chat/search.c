/*
 * Pages of found messages. The only file that knows the order of
 * chat.search_messages' columns; what fits and how it is ranked is decided
 * there.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "chat/conversation.h"
#include "chat/queries.h"
#include "chat/search.h"
#include "http/request.h"

/* The order of MESSAGES_SEARCH's columns. */
enum column {
	ID,
	CONVERSATION_ID,
	ROLE,
	CREATED_AT,
	RANK,
	SNIPPET,
	HIGH,
	NEXT_HIGH,
};

#define ID_LAST "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* Stand around each word that was searched for. */
#define MATCH_BEGIN '\2'
#define MATCH_END   '\3'

static void
write_piece(
    struct buf *out, struct arena *a, const char *p, size_t n, bool is_match)
{
	const char *text = n > 0 ? arena_strndup(a, p, n) : NULL;
	if (n > 0 && !text)
		out->failed = true;
	if (!text)
		return;
	json_write_open(out, NULL, '{');
	json_write_text(out, "text", text);
	json_write_flag(out, "match", is_match);
	json_write_close(out, '}');
}

/* Cuts the passage at the marks. */
static void
write_snippet(struct buf *out, struct arena *a, const char *s)
{
	static const char marks[] = {MATCH_BEGIN, MATCH_END, '\0'};
	bool is_match = false;
	json_write_open(out, "snippet", '[');
	while (*s) {
		size_t n = strcspn(s, marks);
		write_piece(out, a, s, n, is_match);
		s += n;
		if (*s)
			is_match = *s++ == MATCH_BEGIN;
	}
	json_write_close(out, ']');
}

static void
write_row(struct buf *out, struct arena *a, const PGresult *r, int row)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", pg_text(r, row, ID));
	json_write_text(
	    out, "conversation_id", pg_text(r, row, CONVERSATION_ID));
	json_write_text(out, "role", pg_text(r, row, ROLE));
	json_write_time(out, "created_at", pg_text(r, row, CREATED_AT));
	json_write_raw(out, "rank", pg_text(r, row, RANK));
	write_snippet(out, a, pg_text(r, row, SNIPPET));
	json_write_close(out, '}');
}

/*
 * The keys of what follows row `n - 1`: more of the same ranked block, or the
 * next block from its beginning.
 */
static enum err
find_next(struct request *req, const PGresult *r, int n, bool has_more,
    const char *out_next[static 4])
{
	const char *next[4] = {NULL};
	if (has_more) {
		next[0] = pg_text(r, n - 1, HIGH);
		next[1] = pg_text(r, n - 1, RANK);
		next[2] = pg_text(r, n - 1, ID);
	} else if (n > 0) {
		next[0] = pg_text(r, n - 1, NEXT_HIGH);
	}
	for (int i = 0; next[i]; i++) {
		out_next[i] = arena_strdup(req->arena, next[i]);
		if (!out_next[i])
			return ERR_TOO_LARGE;
	}
	return OK;
}

static enum err
write_page(struct request *req, const PGresult *r, int limit, struct buf *out,
    const char *out_next[static 4])
{
	int n = pg_rows(r);
	bool has_more = n > limit;
	if (has_more)
		n = limit;
	json_write_open(out, NULL, '[');
	for (int i = 0; i < n; i++)
		write_row(out, req->arena, r, i);
	json_write_close(out, ']');
	return find_next(req, r, n, has_more, out_next);
}

enum err
messages_search(struct request *req, const struct search_ask *ask,
    struct buf *out, const char *out_next[static 4])
{
	const char *key[2] = {NULL, NULL};
	if (ask->conversation_id &&
	    conversation_key(ask->conversation_id, key) != OK)
		return request_refuse(req, "conversation_id",
		    "It must be a conversation's id or short id.");
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGES_SEARCH),
	    .params = {req->who.user_id, ask->words, key[0], key[1], ask->role,
		ask->intent, ask->since, ask->until,
		ask->after[0] ? ask->after[0] : ID_LAST, ask->after[1],
		ask->after[2], arena_printf(req->arena, "%ld", ask->limit + 1)},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = write_page(req, call.result, (int)ask->limit, out, out_next);
	pg_calls_clear(&call, 1);
	return e;
}
