/*
 * CSV (RFC 4180, and with semicolons, tabs or bars instead of commas) as one
 * paragraph a row, in which every cell stands behind its column's name: a
 * passage cut out of the middle still says what its numbers are.
 *
 * The first row names the columns, unless one of its cells is empty or a
 * number; then they are called "Column 1" and so on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "knowledge/extract.h"
#include "knowledge/marked.h"

#define CELLS_MAX 1000

/* A record: its cells one after the other. */
struct row {
	struct buf text;
	size_t ends[CELLS_MAX]; /* of each cell, in text */
	size_t n;
};

struct table {
	const char *at, *end;
	char separator;
	struct row names, row;
	bool has_names;
};

static char
guess_separator(const char *p, const char *end)
{
	static const char marks[] = ",;\t|";
	size_t counts[sizeof(marks) - 1] = {0}, best = 0;
	bool is_quoted = false;

	for (; p < end && (is_quoted || *p != '\n'); p++) {
		const char *mark = *p ? strchr(marks, *p) : NULL;
		if (*p == '"')
			is_quoted = !is_quoted;
		else if (mark && !is_quoted)
			counts[mark - marks]++;
	}
	for (size_t i = 1; i < sizeof(marks) - 1; i++)
		if (counts[i] > counts[best])
			best = i;
	return marks[best];
}

/* Reads the inside of a quoted cell; false: it has no end. */
static bool
read_quoted(struct table *t, struct row *row)
{
	while (t->at < t->end) {
		char c = *t->at++;
		if (c != '"') {
			buf_putc(&row->text, c);
			continue;
		}
		if (t->at == t->end || *t->at != '"')
			return true;
		buf_putc(&row->text, *t->at++);
	}
	return false;
}

/* Reads one cell, up to its separator or the row's end. */
static enum extract_end
read_cell(struct table *t, struct row *row)
{
	if (row->n == CELLS_MAX)
		return EXTRACT_CSV_WIDE;
	if (t->at < t->end && *t->at == '"') {
		t->at++;
		if (!read_quoted(t, row))
			return EXTRACT_CSV_OPEN;
	}
	while (t->at < t->end && *t->at != t->separator && *t->at != '\n' &&
	       *t->at != '\r')
		buf_putc(&row->text, *t->at++);
	row->ends[row->n++] = row->text.n;
	return EXTRACT_OK;
}

static enum extract_end
read_row(struct table *t, struct row *row)
{
	enum extract_end e;

	buf_clear(&row->text);
	row->n = 0;
	while ((e = read_cell(t, row)) == EXTRACT_OK && t->at < t->end &&
	       *t->at == t->separator)
		t->at++;
	if (t->at < t->end && *t->at == '\r')
		t->at++;
	if (t->at < t->end && *t->at == '\n')
		t->at++;
	return row->text.failed ? EXTRACT_NO_ROOM : e;
}

/* A cell without the white space around it. */
static const char *
cell(const struct row *row, size_t i, size_t *out_n)
{
	size_t begin = i > 0 ? row->ends[i - 1] : 0, end = row->ends[i];

	while (begin < end && strchr(" \t\r\n", row->text.p[begin]))
		begin++;
	while (end > begin && strchr(" \t\r\n", row->text.p[end - 1]))
		end--;
	*out_n = end - begin;
	return row->text.p + begin;
}

static bool
is_number(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr("0123456789.,+-%", p[i]))
			return false;
	return true;
}

static bool
names_columns(const struct row *row)
{
	for (size_t i = 0; i < row->n; i++) {
		size_t n;
		const char *p = cell(row, i, &n);
		if (n == 0 || is_number(p, n))
			return false;
	}
	return true;
}

static void
write_row(const struct table *t, struct marked *m)
{
	bool has_any = false;

	marked_paragraph(m);
	for (size_t i = 0; i < t->row.n; i++) {
		char number[32];
		size_t n, name_n;
		const char *p = cell(&t->row, i, &n), *name;
		if (n == 0)
			continue;
		if (has_any)
			marked_string(m, "; ");
		has_any = true;
		if (t->has_names && i < t->names.n) {
			name = cell(&t->names, i, &name_n);
		} else {
			name_n = (size_t)snprintf(
			    number, sizeof(number), "Column %zu", i + 1);
			name = number;
		}
		marked_text(m, name, name_n);
		marked_string(m, ": ");
		marked_text(m, p, n);
	}
}

static enum extract_end
write_table(struct table *t, struct marked *m)
{
	enum extract_end e = read_row(t, &t->names);

	t->has_names = e == EXTRACT_OK && names_columns(&t->names);
	if (e == EXTRACT_OK && !t->has_names) {
		struct row first = t->row;
		t->row = t->names;
		t->names = first;
		write_row(t, m);
	}
	while (e == EXTRACT_OK && t->at < t->end && !m->out->failed) {
		e = read_row(t, &t->row);
		if (e == EXTRACT_OK)
			write_row(t, m);
	}
	return e;
}

enum extract_end
csv_extract(const char *p, size_t n, struct extracted *out)
{
	struct marked m = {.out = &out->text};
	struct table *t = calloc(1, sizeof(*t));
	enum extract_end e;

	if (!t)
		return EXTRACT_NO_ROOM;
	t->at = p;
	t->end = p + n;
	t->separator = guess_separator(p, p + n);
	/* A byte more than it can hold: cell() may look at an empty one. */
	e = buf_reserve(&t->row.text, n + 1) &&
		    buf_reserve(&t->names.text, n + 1)
		? write_table(t, &m)
		: EXTRACT_NO_ROOM;
	buf_free(&t->row.text);
	buf_free(&t->names.text);
	free(t);
	return e;
}
