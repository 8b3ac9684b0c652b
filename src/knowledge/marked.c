/*
 * Lines, paragraphs, headings. Must not know where the text comes from.
 */
#include <string.h>

#include "base/buf.h"
#include "knowledge/marked.h"

#define TAB 8 /* columns */

/* White space at `p`, in bytes; 0: none. U+00A0 counts. */
static size_t
space_at(const char *p, const char *end)
{
	if (strchr(" \t\n\r\f\v", *p) && *p)
		return 1;
	return end - p > 1 && !memcmp(p, "\xc2\xa0", 2) ? 2 : 0;
}

/* What would be a mark of ours at the line's beginning. */
static bool
is_mark(char c)
{
	return c == '#' || c == '`' || c == '~';
}

/* Writes what is due before a character. */
static void
begin(struct marked *m, char c)
{
	if (m->newlines > 0) {
		if (m->out->n > 0)
			buf_add(m->out, "\n\n", (size_t)m->newlines);
		m->newlines = 0;
		m->is_inside = false;
	}
	for (; m->indent > 0 && m->is_exact && !m->is_inside; m->indent--)
		buf_putc(m->out, ' ');
	m->indent = 0;
	if (m->is_inside) {
		if (m->has_space)
			buf_putc(m->out, ' ');
	} else if (m->level > 0) {
		buf_add(m->out, "######", (size_t)m->level);
		buf_putc(m->out, ' ');
	} else if (is_mark(c)) {
		buf_putc(m->out, '\\');
	}
	m->has_space = false;
	m->is_inside = true;
}

/* White space that counts: that of <pre>. */
static void
take_space(struct marked *m, char c)
{
	m->has_space = true;
	if (!m->is_exact || m->level > 0)
		return;
	if (c == '\n') {
		m->newlines += m->newlines < 2;
		m->indent = 0;
	} else if (m->is_inside && m->newlines == 0) {
		buf_putc(m->out, ' ');
		m->has_space = false;
	} else {
		m->indent += c == '\t' ? TAB : 1;
	}
}

static bool
is_soft_hyphen(const char *p, const char *end)
{
	return end - p > 1 && !memcmp(p, "\xc2\xad", 2);
}

bool
marked_is_blank(const char *p, size_t n)
{
	const char *end = p + n;

	for (size_t space; p < end; p += space)
		if ((space = space_at(p, end)) == 0)
			return false;
	return true;
}

void
marked_text(struct marked *m, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end) {
		size_t space = space_at(p, end);
		const char *word = p;
		if (space > 0) {
			take_space(m, *p);
			p += space;
			continue;
		}
		if (is_soft_hyphen(p, end)) {
			p += 2;
			continue;
		}
		while (
		    p < end && space_at(p, end) == 0 && !is_soft_hyphen(p, end))
			p++;
		begin(m, *word);
		buf_add(m->out, word, (size_t)(p - word));
	}
}

void
marked_string(struct marked *m, const char *s)
{
	marked_text(m, s, strlen(s));
}

void
marked_line(struct marked *m)
{
	m->has_space = true; /* within a heading a line is a word's end */
	if (m->level == 0 && m->newlines < 1)
		m->newlines = 1;
}

void
marked_paragraph(struct marked *m)
{
	m->newlines = 2;
	m->level = 0;
	m->has_space = false;
}

void
marked_heading(struct marked *m, int level)
{
	marked_paragraph(m);
	m->level = level;
}
