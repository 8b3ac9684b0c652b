/*
 * Quoting of CSV. Knows nothing of what is written.
 */
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"

/* What spreadsheets take for the beginning of a formula. */
static bool
is_formula(const char *text)
{
	return *text && strchr("=+-@\t\r", *text) != NULL;
}

void
csv_cell(struct buf *out, const char *text)
{
	if (!text)
		text = "";
	bool is_quoted = strpbrk(text, ",\"\r\n") != NULL;
	if (is_quoted)
		buf_putc(out, '"');
	if (is_formula(text))
		buf_putc(out, '\'');
	for (; *text; text++) {
		if (*text == '"')
			buf_putc(out, '"');
		buf_putc(out, *text);
	}
	if (is_quoted)
		buf_putc(out, '"');
	buf_putc(out, ',');
}

/* The last cell's comma becomes the end. */
void
csv_end(struct buf *out)
{
	if (out->n > 0)
		out->n--;
	buf_puts(out, "\r\n");
}
