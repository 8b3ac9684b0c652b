/*
 * What a model is asked for a title, and what of its answer is one.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/text.h"
#include "chat/afterwork.h"
#include "chat/context.h"
#include "chat/conversation.h"
#include "chat/queries.h"
#include "chat/title.h"
#include "chat/turn.h"
#include "store/pg.h"

/* Bytes of the question and of the reply that are shown. */
#define SHOWN_MAX 2000

/* Of the answer: a title takes ten, thinking aloud before it some more. */
#define TITLE_TOKENS 64

static const char wish[] =
    "Write a title for the conversation that follows: at most six words, in "
    "its language, without quotation marks. Answer with the title alone.";

void
title_plan(struct turn *t, const struct config *config, const char *cut,
    const char *limits)
{
	struct afterwork *w = afterwork_add(t, AFTERWORK_TITLE, limits);
	if (!w)
		return;
	(void)snprintf(w->model, sizeof(w->model), "%s", config->title_model);
	w->tokens_field = config->model_tokens_field;
	w->max_tokens = TITLE_TOKENS;
	buf_puts(&w->note, cut);
	if (w->note.failed)
		afterwork_remove(t, w);
}

static void
add_cut(struct buf *out, const char *p, size_t n)
{
	buf_add(out, p, text_prefix(p, n, SHOWN_MAX));
}

bool
title_compose(struct afterwork *w, const struct turn *t)
{
	struct buf talk = {0};
	if (!t->question || t->text.n == 0)
		return false;
	add_cut(&talk, t->question, strlen(t->question));
	buf_puts(&talk, "\n\n");
	add_cut(&talk, t->text.p, t->text.n);
	if (!talk.failed) {
		const struct model_message messages[] = {
		    {.role = "system", .content = wish},
		    {.role = "user", .content = buf_text(&talk)}};
		const struct model_request request = {
		    .model = w->model,
		    .messages = messages,
		    .n_messages = 2,
		    .mask = w->mask,
		    .max_tokens = w->max_tokens,
		    .tokens_field = w->tokens_field,
		};
		openai_request_body(&w->body, &request);
	}
	w->prompt_tokens = context_tokens(strlen(wish) + talk.n);
	buf_free(&talk);
	return !w->body.failed;
}

/* Marks around a title: quotation marks, emphasis, a heading's. */
static const char *const marks[] = {"\"", "'", "`", "*", "#", "_", " ", "\t",
    "\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x9e", "\xe2\x80\x98",
    "\xe2\x80\x99", "\xc2\xab", "\xc2\xbb"};

static size_t
mark_at_start(const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		size_t m = strlen(marks[i]);
		if (n >= m && !memcmp(p, marks[i], m))
			return m;
	}
	return 0;
}

static size_t
mark_at_end(const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		size_t m = strlen(marks[i]);
		if (n >= m && !memcmp(p + n - m, marks[i], m))
			return m;
	}
	return n > 0 && p[n - 1] == '.';
}

/* Some say what it is, though they were asked not to. */
static size_t
label_at_start(const char *p, size_t n)
{
	static const char label[] = "title:";
	return n >= strlen(label) && !strncasecmp(p, label, strlen(label))
		   ? strlen(label)
		   : 0;
}

const char *
title_clean(struct arena *a, const char *text)
{
	size_t n, m;
	text += strspn(text, " \t\r\n");
	n = strcspn(text, "\r\n");
	while ((m = mark_at_start(text, n)) > 0 ||
	       (m = label_at_start(text, n)) > 0) {
		text += m;
		n -= m;
	}
	while ((m = mark_at_end(text, n)) > 0)
		n -= m;
	const char *line = arena_strndup(a, text, n);
	return line ? conversation_title(a, line) : NULL;
}

bool
title_keep(struct afterwork *w, struct arena *a, struct pg_call *out_call)
{
	const char *title = title_clean(a, buf_text(&w->text));
	if (!title || !*title)
		return false;
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_TITLE_SET),
	    .params = {w->user_id, w->conversation_id, title,
		buf_text(&w->note)},
	};
	return true;
}
