/*
 * From marks in a text to events and to what is stored of them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "chat/cited.h"
#include "chat/retrieve.h"
#include "chat/turn.h"

/* Of one reply; further marks stay text. */
#define MARKS_MAX 256

static void
write_passage(struct buf *out, const struct passage *p, size_t number)
{
	char score[32];

	(void)snprintf(score, sizeof(score), "%.6g", p->score);
	json_write_number(out, "number", (int64_t)number);
	json_write_text(out, "document_id", p->document_id);
	json_write_text(out, "chunk_id", p->chunk_id);
	json_write_text(out, "title", p->title);
	json_write_text(out, "heading", p->heading);
	json_write_number(out, "start_offset", p->start);
	json_write_number(out, "end_offset", p->end);
	json_write_raw(out, "score", score);
}

static void
say(struct turn *t, size_t index, const struct cited_mark *m)
{
	struct buf data = {0};

	json_write_open(&data, NULL, '{');
	json_write_number(&data, "index", (int64_t)index);
	json_write_number(&data, "position", (int64_t)m->at);
	json_write_number(&data, "position_end", (int64_t)m->end);
	write_passage(&data, &t->passages->passages[m->number - 1], m->number);
	json_write_close(&data, '}');
	(void)turn_events_add(&t->events, "citation", m->end, &data);
}

static void
add(struct turn *t, const struct cited_mark *m)
{
	struct cited *c = &t->cited;

	if (!c->marks)
		c->marks = calloc(MARKS_MAX, sizeof(*c->marks));
	if (!c->marks || c->n == MARKS_MAX)
		return;
	say(t, c->n, m);
	c->marks[c->n++] = *m;
}

static void
look(struct turn *t, bool is_over)
{
	struct citation_mark mark;

	if (!t->passages)
		return;
	const struct citation_text text = {
	    t->text.p, t->text.n, t->passages->n, is_over};
	while (citation_next(&t->cited.scan, &text, &mark))
		for (size_t i = 0; i < mark.n; i++)
			add(t, &(struct cited_mark){
				   mark.numbers[i], mark.at, mark.end});
}

void
cited_look(struct turn *t)
{
	look(t, false);
}

void
cited_end(struct turn *t)
{
	look(t, true);
}

/* The marks of one passage. */
static void
write_marks(struct buf *out, const struct cited *c, size_t number)
{
	json_write_open(out, "citations", '[');
	for (size_t i = 0; i < c->n; i++) {
		if (c->marks[i].number != number)
			continue;
		json_write_open(out, NULL, '{');
		json_write_number(out, "position", (int64_t)c->marks[i].at);
		json_write_number(
		    out, "position_end", (int64_t)c->marks[i].end);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

static bool
is_cited(const struct cited *c, size_t number)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->marks[i].number == number)
			return true;
	return false;
}

void
cited_write(const struct turn *t, struct buf *out)
{
	size_t n = t->passages ? t->passages->n : 0;

	json_write_open(out, NULL, '[');
	for (size_t i = 0; i < n; i++) {
		bool counts = is_cited(&t->cited, i + 1);
		/* natter-local was shown nothing but what it quotes. */
		if (t->is_local && !counts)
			continue;
		json_write_open(out, NULL, '{');
		write_passage(out, &t->passages->passages[i], i + 1);
		json_write_flag(out, "cited", counts);
		write_marks(out, &t->cited, i + 1);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

void
cited_free(struct cited *c)
{
	free(c->marks);
	*c = (struct cited){0};
}
