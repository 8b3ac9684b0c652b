/*
 * The form of a copy: the leaf's id and a newline; the id of the summary that
 * it begins with, or as many hyphens, and a newline; then each message, the
 * oldest first, as its depth (1 is the leaf), its role, its bytes, a newline
 * and the content. Must not know Redis's keys.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/id.h"
#include "base/json_write.h"
#include "chat/context.h"
#include "chat/history.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "http/request.h"
#include "store/cache.h"
#include "store/pg.h"

enum column { ROLE, CONTENT, DEPTH, N_COLUMNS };

/* Before the messages; and what stands there for no summary. */
#define HEAD ((size_t)2 * ID_TEXT)
static const char no_summary[] = "------------------------------------";

/* A turn puts two messages on top of the others. */
#define DEEPER 2

/* A message of a copy. */
struct line {
	int depth;
	char role[16];
	const char *content;
	int bytes;
};

/* Takes the next message off *p; false at the end, or where it is none. */
static bool
next_line(const char **p, const char *end, struct line *out)
{
	char *at;
	if (*p >= end)
		return false;
	out->depth = (int)strtol(*p, &at, 10);
	size_t n = strcspn(++at, " ");
	if (n >= sizeof(out->role))
		return false;
	(void)snprintf(out->role, sizeof(out->role), "%.*s", (int)n, at);
	out->bytes = (int)strtol(at + n, &at, 10);
	if (*at != '\n' || out->bytes < 0 || end - at - 1 < out->bytes)
		return false;
	out->content = at + 1;
	*p = out->content + out->bytes;
	return true;
}

/* How many bytes of the oldest messages TURN_HISTORY would leave out. */
static int64_t
bytes_over(const char *p, const char *end)
{
	struct line line;
	int64_t all = 0;
	while (next_line(&p, end, &line))
		all += line.bytes;
	return all - CONTEXT_BYTES_MAX;
}

static PGresult *
empty_rows(void)
{
	PGresAttDesc columns[N_COLUMNS] = {
	    {.name = (char *)"role"},
	    {.name = (char *)"content"},
	    {.name = (char *)"depth"},
	};
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	if (r && PQsetResultAttrs(r, N_COLUMNS, columns))
		return r;
	PQclear(r);
	return NULL;
}

static bool
add_row(PGresult *r, const struct line *line)
{
	char depth[16];
	int row = PQntuples(r);
	int n = snprintf(depth, sizeof(depth), "%d", line->depth);
	return PQsetvalue(
		   r, row, ROLE, (char *)line->role, (int)strlen(line->role)) &&
	       PQsetvalue(
		   r, row, CONTENT, (char *)line->content, line->bytes) &&
	       PQsetvalue(r, row, DEPTH, depth, n);
}

/* As TURN_HISTORY would read them: at most so deep, and so many bytes. */
static PGresult *
read_rows(const char *p, const char *end, long depth_max)
{
	int64_t over = bytes_over(p, end);
	PGresult *r = empty_rows();
	struct line line = {0}; /* the last one, in the end */
	while (r && next_line(&p, end, &line)) {
		bool fits = over <= 0 && line.depth <= depth_max;
		over -= line.bytes;
		if (fits && !add_row(r, &line)) {
			PQclear(r);
			return NULL;
		}
	}
	if (r && p == end && line.depth > 0)
		return r;
	PQclear(r);
	return NULL;
}

void
history_find(
    struct request *req, const char *conversation, struct history_copy *out)
{
	struct cache_slot slot = {.kind = CACHE_CONTEXT};
	*out = (struct history_copy){0};
	if (!req->services->config->context_cache || !id_is_uuid(conversation))
		return;
	enum cache_found found = cache_context_look(req->services->cache,
	    req->arena, req->who.user_id, conversation, &slot);
	if (found == CACHE_PASS)
		return;
	out->stamp = slot.stamp;
	if (found != CACHE_HIT || slot.payload_len < HEAD ||
	    slot.payload[HEAD - 1] != '\n')
		return;
	out->rows =
	    read_rows(slot.payload + HEAD, slot.payload + slot.payload_len,
		req->services->config->context_messages);
	if (!out->rows)
		return;
	(void)snprintf(out->leaf, sizeof(out->leaf), "%.36s", slot.payload);
	if (slot.payload[ID_TEXT] != *no_summary)
		(void)snprintf(out->summary, sizeof(out->summary), "%.36s",
		    slot.payload + ID_TEXT);
}

void
history_clear(struct history_copy *copy)
{
	PQclear(copy->rows);
	copy->rows = NULL;
}

static void
add_line(struct buf *out, int64_t depth, const char *role, const char *content,
    size_t n)
{
	buf_printf(out, "%" PRId64 " %s %zu\n", depth, role, n);
	buf_add(out, content, n);
}

void
history_note(struct turn *t, const char *stamp, const PGresult *rows,
    const char *question)
{
	struct history_note *note = stamp ? calloc(1, sizeof(*note)) : NULL;
	if (!note)
		return;
	(void)snprintf(note->stamp, sizeof(note->stamp), "%s", stamp);
	for (int i = 0; i < pg_rows(rows); i++) {
		const char *content = pg_text(rows, i, CONTENT);
		add_line(&note->messages, pg_number(rows, i, DEPTH) + DEEPER,
		    pg_text(rows, i, ROLE), content, strlen(content));
	}
	add_line(&note->messages, DEEPER, "user", question, strlen(question));
	if (note->messages.failed || note->messages.n > CACHE_VALUE_MAX) {
		history_note_free(note);
		return;
	}
	t->history = note;
}

/* As TURN_HISTORY's row of the role `tools`. */
static void
keep_tools(const struct turn *t, struct buf *out)
{
	struct buf json = {0}, part = {0};
	if (!t->uses || t->uses->n == 0)
		return;
	json_write_open(&json, NULL, '{');
	tool_uses_write_calls(t->uses, &part);
	json_write_raw(&json, "calls", buf_text(&part));
	buf_clear(&part);
	tool_uses_write_responses(t->uses, &part);
	json_write_raw(&json, "responses", buf_text(&part));
	json_write_close(&json, '}');
	add_line(out, 1, "tools", json.p, json.n);
	out->failed |= json.failed || part.failed;
	buf_free(&json);
	buf_free(&part);
}

void
history_keep(struct cache *cache, struct arena *a, const struct turn *t)
{
	struct buf value = {0};
	/* What moderation refused is told to no model later. */
	if (!t->history || !t->is_stored || t->error == ERR_CONTENT_REFUSED)
		return;
	const struct cache_answer_place at = {.user_id = t->user_id,
	    .hash = t->conversation_id,
	    .stamp = t->history->stamp};
	buf_printf(&value, "%s\n%s\n", t->message_id,
	    *t->summary_id ? t->summary_id : no_summary);
	buf_add(&value, t->history->messages.p, t->history->messages.n);
	keep_tools(t, &value);
	if (t->text.n > 0)
		add_line(&value, 1, "assistant", t->text.p, t->text.n);
	if (!value.failed && value.n <= CACHE_VALUE_MAX)
		cache_context_keep(cache, a, &at, value.p, value.n);
	buf_free(&value);
}

void
history_note_free(struct history_note *note)
{
	if (!note)
		return;
	buf_free(&note->messages);
	free(note);
}
