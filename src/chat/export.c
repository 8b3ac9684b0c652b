/*
 * The JSON export as a source that gives a page at a time. What a row looks
 * like is queries_carry.def's; this file puts rows together.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "chat/conversation.h"
#include "chat/export.h"
#include "chat/queries.h"
#include "http/reply.h"
#include "http/request.h"

#define ID_FIRST "00000000-0000-0000-0000-000000000000"
#define ID_LAST  "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* Rows of a page, conversations of a page, bytes of messages. */
#define ROWS          200
#define CONVERSATIONS 50
#define MESSAGES      500
#define MESSAGE_BYTES 1048576

#define TEXT_OF_(n) #n
#define TEXT_OF(n)  TEXT_OF_(n)

/* What an account's export holds before its conversations. */
static const struct section {
	const char *name;
	enum chat_query query;
} sections[] = {
    {"account", CHAT_EXPORT_ACCOUNT},
    {"sessions", CHAT_EXPORT_SESSIONS},
    {"notices", CHAT_EXPORT_NOTICES},
    {"api_keys", CHAT_EXPORT_API_KEYS},
    {"stores", CHAT_EXPORT_STORES},
    {"usage", CHAT_EXPORT_USAGE},
    {"budgets", CHAT_EXPORT_BUDGETS},
    {"documents", CHAT_EXPORT_DOCUMENTS},
    {"facts", CHAT_EXPORT_FACTS},
    {"summaries", CHAT_EXPORT_SUMMARIES},
    {"tasks", CHAT_EXPORT_TASKS},
    {"task_operations", CHAT_EXPORT_OPERATIONS},
    {"feedback", CHAT_EXPORT_FEEDBACK},
    {"events", CHAT_EXPORT_EVENTS},
    {"analytics_daily", CHAT_EXPORT_SUMS},
    {"audit", CHAT_EXPORT_AUDIT},
};

#define N_SECTIONS (sizeof(sections) / sizeof(*sections))

enum part { PART_HEAD, PART_SECTION, PART_CONVERSATIONS, PART_END, PART_NONE };

struct export
{
	struct reply_source source; /* first: it is what others hold */
	enum part part;
	size_t section;
	char key[ID_TEXT]; /* of the last row of the section or list */
	bool has_rows;     /* the array has one already */
	bool is_single;    /* one conversation, whose page is there already */

	PGresult *page;   /* conversations being written; NULL: none yet */
	int at;           /* the one */
	bool is_open;     /* its head is written */
	char of[ID_TEXT]; /* conversation and position of the last message */
	char position[24];
	bool has_messages; /* the open conversation's array has one */

	crypto_hash_sha256_state hash;
	int64_t n_conversations, n_messages;
};

static enum err
run(struct request *req, struct pg_call *call, PGresult **out)
{
	enum err e = chat_run(req, call, 1);
	if (e == OK)
		*out = call->result;
	return e;
}

static void
open_array(struct export *x, struct buf *out, const char *name)
{
	buf_printf(out, ",\"%s\":[", name);
	x->has_rows = false;
	strcpy(x->key, ID_FIRST);
}

static enum err
write_head(struct export *x, struct buf *out)
{
	char now[CLOCK_TEXT];
	clock_format(clock_wall_ms(), now);
	buf_printf(out,
	    "{\"format\":\"" EXPORT_FORMAT "\",\"version\":%d,"
	    "\"scope\":\"%s\",\"exported_at\":\"%s\"",
	    EXPORT_VERSION, x->is_single ? "conversation" : "account", now);
	x->part = x->is_single ? PART_CONVERSATIONS : PART_SECTION;
	if (x->is_single)
		buf_puts(out, ",\"conversations\":[");
	else
		open_array(x, out, sections[0].name);
	return OK;
}

static void
end_section(struct export *x, struct buf *out)
{
	buf_putc(out, ']');
	if (++x->section < N_SECTIONS) {
		open_array(x, out, sections[x->section].name);
		return;
	}
	open_array(x, out, "conversations");
	strcpy(x->key, ID_LAST);
	x->part = PART_CONVERSATIONS;
}

/* Writes one page of a section; an empty one ends it. */
static enum err
write_section(struct export *x, struct request *req, struct buf *out)
{
	PGresult *r = NULL;
	struct pg_call call = {
	    .query = chat_query(sections[x->section].query),
	    .params = {req->who.user_id, x->key, TEXT_OF(ROWS)},
	};
	enum err e = run(req, &call, &r);
	if (e != OK)
		return e;
	int n = pg_rows(r);
	for (int i = 0; i < n; i++) {
		if (x->has_rows)
			buf_putc(out, ',');
		buf_puts(out, pg_text(r, i, 1));
		x->has_rows = true;
	}
	if (n > 0)
		(void)snprintf(
		    x->key, sizeof(x->key), "%s", pg_text(r, n - 1, 0));
	else
		end_section(x, out);
	PQclear(r);
	return OK;
}

/* Begins the conversation in turn: its row without the closing bracket. */
static void
open_conversation(struct export *x, struct buf *out)
{
	const char *row = pg_text(x->page, x->at, 1);
	if (x->is_open)
		return;
	if (x->has_rows)
		buf_putc(out, ',');
	buf_add(out, row, strlen(row) - 1);
	buf_puts(out, ",\"messages\":[");
	x->has_rows = true;
	x->is_open = true;
	x->has_messages = false;
	x->n_conversations++;
}

static void
close_conversation(struct export *x, struct buf *out)
{
	open_conversation(x, out);
	buf_puts(out, "]}");
	x->is_open = false;
	x->at++;
}

/* Closes those that stand before conversation `id` in the page's order. */
static void
close_before(struct export *x, struct buf *out, const char *id)
{
	while (x->at < pg_rows(x->page) &&
	       strcmp(pg_text(x->page, x->at, 0), id) > 0)
		close_conversation(x, out);
}

static void
write_message(struct export *x, struct buf *out, const PGresult *r, int row)
{
	const char *of = pg_text(r, row, 0);
	close_before(x, out, of);
	/* One that was made and deleted around the page has no head here. */
	if (x->at == pg_rows(x->page) ||
	    strcmp(pg_text(x->page, x->at, 0), of) != 0)
		return;
	open_conversation(x, out);
	if (x->has_messages)
		buf_putc(out, ',');
	buf_puts(out, pg_text(r, row, 2));
	x->has_messages = true;
	x->n_messages++;
}

static void
drop_page(struct export *x)
{
	PQclear(x->page);
	x->page = NULL;
	x->at = 0;
}

/* Makes ready for the messages of a page. */
static void
begin_page(struct export *x)
{
	x->at = 0;
	(void)snprintf(x->of, sizeof(x->of), "%s", pg_text(x->page, 0, 0));
	strcpy(x->position, "0");
}

static enum err
load_page(struct export *x, struct request *req)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_EXPORT_CONVERSATIONS),
	    .params = {req->who.user_id, x->key, TEXT_OF(CONVERSATIONS)},
	};
	enum err e = run(req, &call, &x->page);
	if (e != OK)
		return e;
	if (pg_rows(x->page) == 0) {
		drop_page(x);
		x->part = PART_END;
		return OK;
	}
	(void)snprintf(x->key, sizeof(x->key), "%s",
	    pg_text(x->page, pg_rows(x->page) - 1, 0));
	begin_page(x);
	return OK;
}

static void
end_page(struct export *x, struct buf *out)
{
	while (x->at < pg_rows(x->page))
		close_conversation(x, out);
	drop_page(x);
	if (x->is_single)
		x->part = PART_END;
}

static enum err
write_messages(struct export *x, struct request *req, struct buf *out)
{
	PGresult *r = NULL;
	struct pg_call call = {
	    .query = chat_query(CHAT_EXPORT_MESSAGES),
	    .params = {req->who.user_id, x->of, x->position,
		pg_text(x->page, pg_rows(x->page) - 1, 0), TEXT_OF(MESSAGES),
		TEXT_OF(MESSAGE_BYTES)},
	};
	enum err e = run(req, &call, &r);
	if (e != OK)
		return e;
	int n = pg_rows(r);
	for (int i = 0; i < n; i++)
		write_message(x, out, r, i);
	if (n > 0) {
		(void)snprintf(
		    x->of, sizeof(x->of), "%s", pg_text(r, n - 1, 0));
		(void)snprintf(x->position, sizeof(x->position), "%s",
		    pg_text(r, n - 1, 1));
	} else {
		end_page(x, out);
	}
	PQclear(r);
	return OK;
}

static enum err
write_conversations(struct export *x, struct request *req, struct buf *out)
{
	if (x->page)
		return write_messages(x, req, out);
	enum err e = load_page(x, req);
	if (x->part == PART_END)
		return e;
	return e == OK ? write_messages(x, req, out) : e;
}

static void
write_end(struct export *x, struct buf *out)
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	char hex[crypto_hash_sha256_BYTES * 2 + 1];
	(void)crypto_hash_sha256_final(&x->hash, digest);
	(void)sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
	buf_printf(out,
	    "\"end\":{\"conversations\":%" PRId64 ",\"messages\":%" PRId64
	    ",\"sha256\":\"%s\"}}\n",
	    x->n_conversations, x->n_messages, hex);
	x->part = PART_NONE;
}

static enum err
write_part(struct export *x, struct request *req, struct buf *out)
{
	switch (x->part) {
	case PART_HEAD:
		return write_head(x, out);
	case PART_SECTION:
		return write_section(x, req, out);
	case PART_CONVERSATIONS:
		return write_conversations(x, req, out);
	case PART_END:
	case PART_NONE:
		break;
	}
	return OK;
}

static enum err
read_more(struct reply_source *source, struct request *req, struct buf *out)
{
	struct export *x = (struct export *)source;
	enum err e = OK;
	if (x->part == PART_NONE)
		return OK;
	/* A page may be without a byte; only the end is. */
	while (e == OK && out->n == 0 && x->part != PART_END)
		e = write_part(x, req, out);
	if (e != OK)
		return e;
	if (x->part == PART_END)
		buf_puts(out, "],");
	(void)crypto_hash_sha256_update(
	    &x->hash, (const unsigned char *)out->p, out->n);
	if (x->part == PART_END)
		write_end(x, out);
	return out->failed ? ERR_BUSY : OK;
}

static void
close_export(struct reply_source *source)
{
	struct export *x = (struct export *)source;
	drop_page(x);
}

static struct export *
make_export(struct request *req)
{
	struct export *x = arena_alloc(req->arena, sizeof(*x));
	if (!x)
		return NULL;
	x->source = (struct reply_source){read_more, close_export};
	(void)crypto_hash_sha256_init(&x->hash);
	return x;
}

enum err
export_conversation(struct request *req, const char *name,
    struct reply_source **out_source, const char *out_ids[static 2])
{
	const char *key[2];
	enum err e = conversation_key(name, key);
	struct export *x = make_export(req);
	if (e != OK || !x)
		return e != OK ? e : ERR_TOO_LARGE;
	struct pg_call call = {
	    .query = chat_query(CHAT_EXPORT_CONVERSATION),
	    .params = {req->who.user_id, key[0], key[1]},
	};
	e = run(req, &call, &x->page);
	if (e != OK)
		return e;
	if (pg_rows(x->page) == 0) {
		drop_page(x);
		return ERR_NOT_FOUND;
	}
	x->is_single = true;
	begin_page(x);
	*out_source = &x->source;
	out_ids[0] = arena_strdup(req->arena, pg_text(x->page, 0, 0));
	out_ids[1] = arena_strdup(req->arena, pg_text(x->page, 0, 3));
	return out_ids[0] && out_ids[1] ? OK : ERR_TOO_LARGE;
}

enum err
export_me(struct request *req, struct reply_source **out_source)
{
	struct export *x = make_export(req);
	if (!x)
		return ERR_TOO_LARGE;
	*out_source = &x->source;
	return OK;
}
