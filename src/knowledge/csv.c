/*
 * CSV (RFC 4180, and with semicolons, tabs or bars instead of commas) as one
 * paragraph a row, in which every cell stands behind its column's name: a
 * passage cut out of the middle still says what its numbers are.
 *
 * The first row that is not empty names the columns, unless one of its cells is
 * a number (but for a year above what is none); where it does not, they are
 * called "Column 1" and so on. Excel's "sep=;" is obeyed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "knowledge/extract.h"
#include "knowledge/marked.h"

#define CELLS_MAX 1000
#define ROWS_SEEN 8 /* to guess the separator */

/* What may separate; of two that fit equally well the first. A comma stands in
 * texts and numbers, too. */
static const char marks[] = "\t;|,";
#define N_MARKS (sizeof(marks) - 1)

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
	size_t ends[CELLS_MAX]; /* to change names */
	bool has_names;
};

/* The end of the record at `p`, whose marks are counted (last: all else). A
 * quote begins only where a cell may. */
static const char *
count_marks(const char *p, const char *end, size_t counts[static N_MARKS + 1])
{
	bool is_quoted = false, is_begin = true;

	for (; p < end && (is_quoted || (*p != '\n' && *p != '\r')); p++) {
		const char *mark = strchr(marks, *p);
		if (*p == '"' && (is_quoted || is_begin)) {
			is_quoted = !is_quoted;
			is_begin = true; /* two of them are one within */
		} else if (!is_quoted) {
			counts[mark ? (size_t)(mark - marks) : N_MARKS]++;
			is_begin = mark || (is_begin && *p == ' ');
		}
	}
	return p < end ? p + 1 : p;
}

/* What stands equally often in the first rows, or at least in all of them. */
static char
guess_separator(const char *p, const char *end)
{
	size_t all[N_MARKS] = {0}, least[N_MARKS], best = 0;

	memset(least, 0xff, sizeof(least));
	for (int rows = 0; rows < ROWS_SEEN && p < end;) {
		size_t counts[N_MARKS + 1] = {0};
		const char *begin = p;
		p = count_marks(p, end, counts);
		if (p - begin < 2)
			continue; /* an empty line */
		rows++;
		for (size_t i = 0; i < N_MARKS; i++) {
			all[i] += counts[i];
			if (counts[i] < least[i])
				least[i] = counts[i];
		}
	}
	for (size_t i = 1; i < N_MARKS; i++)
		if (least[i] > least[best] ||
		    (least[i] == least[best] && all[i] > all[best]))
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
	size_t blank = 0;
	while (t->at + blank < t->end && t->at[blank] == ' ')
		blank++;
	if (t->at + blank < t->end && t->at[blank] == '"') {
		t->at += blank + 1;
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
	return n > 0;
}

static bool
is_year(const char *p, size_t n)
{
	return n == 4 && text_digits(p, 4) >= 1900 && text_digits(p, 4) < 2100;
}

/* Is the cell a year, and what stands below it none? */
static bool
is_year_above(const struct table *t, size_t i)
{
	size_t n, n_below;
	const char *p = cell(&t->names, i, &n), *below;

	if (!is_year(p, n))
		return false;
	if (i >= t->row.n)
		return true;
	below = cell(&t->row, i, &n_below);
	return !is_year(below, n_below);
}

/* Does the first row name the columns of the second? */
static bool
names_columns(const struct table *t)
{
	bool has_word = false;

	for (size_t i = 0; i < t->names.n; i++) {
		size_t n;
		const char *p = cell(&t->names, i, &n);
		if (is_number(p, n) && !is_year_above(t, i))
			return false;
		has_word = has_word || (n > 0 && !is_number(p, n));
	}
	return has_word;
}

static bool
is_empty(const struct row *row)
{
	return marked_is_blank(row->text.p, row->text.n);
}

/* The next row that is not empty; none: row->n is 0. */
static enum extract_end
next_row(struct table *t, struct row *row)
{
	enum extract_end e = EXTRACT_OK;

	row->n = 0;
	while (
	    e == EXTRACT_OK && t->at < t->end && (row->n == 0 || is_empty(row)))
		e = read_row(t, row);
	if (row->n > 0 && is_empty(row))
		row->n = 0;
	return e;
}

static void
write_row(const struct table *t, const struct row *row, struct marked *m)
{
	bool has_any = false;

	marked_paragraph(m);
	for (size_t i = 0; i < row->n; i++) {
		char number[32];
		size_t n, name_n = 0;
		const char *p = cell(row, i, &n), *name = NULL;
		if (n == 0)
			continue;
		if (has_any)
			marked_string(m, "; ");
		has_any = true;
		if (t->has_names && i < t->names.n)
			name = cell(&t->names, i, &name_n);
		if (name_n == 0) {
			name_n = (size_t)snprintf(
			    number, sizeof(number), "Column %zu", i + 1);
			name = number;
		}
		marked_text(m, name, name_n);
		marked_string(m, ": ");
		marked_text(m, p, n);
	}
}

/* The names as they are written, once: each row reads all of them, and white
 * space in them would cost its time without ever reaching the text's bound. */
static bool
write_names(struct table *t)
{
	struct row *names = &t->names;
	struct buf plain = {0};

	for (size_t i = 0; i < names->n; i++) {
		struct marked m = {.out = &plain, .is_inside = true};
		size_t n;
		const char *p = cell(names, i, &n);
		marked_text(&m, p, n);
		t->ends[i] = plain.n;
	}
	memcpy(names->ends, t->ends, names->n * sizeof(*names->ends));
	/* Room for a byte that cell() may look at. */
	bool ok = buf_reserve(&plain, 1);
	buf_free(&names->text);
	names->text = plain;
	return ok;
}

static enum extract_end
write_table(struct table *t, struct marked *m)
{
	enum extract_end e = next_row(t, &t->names);

	if (e == EXTRACT_OK)
		e = next_row(t, &t->row);
	if (e != EXTRACT_OK)
		return e;
	t->has_names = t->row.n > 0 && names_columns(t);
	if (!t->has_names)
		write_row(t, &t->names, m);
	else if (!write_names(t))
		return EXTRACT_NO_ROOM;
	while (e == EXTRACT_OK && t->row.n > 0 && !m->out->failed) {
		write_row(t, &t->row, m);
		e = next_row(t, &t->row);
	}
	return e;
}

/* "sep=;" on a line of its own. */
static void
take_separator(struct table *t)
{
	bool is_said = t->end - t->at > 5 && !strncasecmp(t->at, "sep=", 4) &&
		       strchr(marks, t->at[4]) &&
		       (t->at[5] == '\r' || t->at[5] == '\n');

	t->separator = guess_separator(t->at, t->end);
	if (is_said) {
		t->separator = t->at[4];
		t->at += 6;
	}
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
	take_separator(t);
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
