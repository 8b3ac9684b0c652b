/*
 * A conversation as Markdown: every message in order, and where one does not
 * answer the one before it, which one it does answer. A source like
 * export.c's, a page at a time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "chat/conversation.h"
#include "chat/export.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "http/reply.h"
#include "http/request.h"

#define ROWS       "200"
#define PAGE_BYTES "1048576"

struct markdown {
	struct reply_source source; /* first: it is what others hold */
	char id[ID_TEXT];
	const char *title;
	char before[ID_TEXT]; /* the message written last */
	char position[24];
	int64_t n;
	bool has_begun;
	bool has_ended;
};

static void
write_message(struct markdown *x, struct buf *out, const struct message *m)
{
	static const struct {
		const char *role;
		const char *name;
	} names[] = {{"user", "User"}, {"assistant", "Assistant"},
	    {"system", "System"}, {"tool", "Tool"}};
	const char *name = m->role;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(m->role, names[i].role))
			name = names[i].name;
	}
	buf_printf(out, "\n## %s\n\n*%s UTC", name, m->created_at);
	if (m->model)
		buf_printf(out, ", %s", m->model);
	if (strcmp(m->status, "complete") != 0)
		buf_printf(out, ", %s", m->status);
	buf_puts(out, "*\n\n");
	if (m->parent_id && strcmp(m->parent_id, x->before) != 0)
		buf_printf(out, "*(follows message %s: another branch)*\n\n",
		    m->parent_id);
	buf_add(out, m->content, m->content_len);
	buf_putc(out, '\n');
	(void)snprintf(x->before, sizeof(x->before), "%s", m->id);
	(void)snprintf(
	    x->position, sizeof(x->position), "%" PRId64, m->position);
	x->n++;
}

static enum err
read_more(struct reply_source *source, struct request *req, struct buf *out)
{
	struct markdown *x = (struct markdown *)source;
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGES_LIST),
	    .params = {req->who.user_id, x->id, NULL, x->position, ROWS,
		PAGE_BYTES},
	};
	if (x->has_ended)
		return OK;
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (!x->has_begun)
		buf_printf(
		    out, "# %s\n", *x->title ? x->title : "Conversation");
	x->has_begun = true;
	int n = pg_rows(call.result);
	for (int i = 0; i < n; i++) {
		struct message m;
		message_read(call.result, i, &m);
		write_message(x, out, &m);
	}
	if (n == 0) {
		buf_printf(
		    out, "\n---\n\n*End: %" PRId64 " messages.*\n", x->n);
		x->has_ended = true;
	}
	pg_calls_clear(&call, 1);
	return out->failed ? ERR_BUSY : OK;
}

static void
close_markdown(struct reply_source *source)
{
	(void)source;
}

enum err
export_markdown(struct request *req, const char *name,
    struct reply_source **out_source, const char *out_ids[static 2])
{
	const char *key[2];
	enum err e = conversation_key(name, key);
	struct markdown *x = arena_alloc(req->arena, sizeof(*x));
	if (e != OK || !x)
		return e != OK ? e : ERR_TOO_LARGE;
	struct pg_call call = {
	    .query = chat_query(CHAT_EXPORT_CONVERSATION),
	    .params = {req->who.user_id, key[0], key[1]},
	};
	e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0) {
		e = ERR_NOT_FOUND;
	} else {
		const PGresult *r = call.result;
		(void)snprintf(x->id, sizeof(x->id), "%s", pg_text(r, 0, 0));
		strcpy(x->position, "0");
		x->title = arena_strdup(req->arena, pg_text(r, 0, 2));
		out_ids[0] = arena_strdup(req->arena, pg_text(r, 0, 0));
		out_ids[1] = arena_strdup(req->arena, pg_text(r, 0, 3));
		e = x->title && out_ids[0] && out_ids[1] ? OK : ERR_TOO_LARGE;
	}
	pg_calls_clear(&call, 1);
	x->source = (struct reply_source){read_more, close_markdown};
	*out_source = &x->source;
	return e;
}
