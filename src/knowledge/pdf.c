/*
 * PDF as text, by poppler's pdftotext in a child of its own (child.h). Each
 * page becomes a section with a heading of its own, "Page 7", so that what is
 * cited says where it stood.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "knowledge/child.h"
#include "knowledge/extract.h"
#include "knowledge/marked.h"

/* Poppler takes some 60 MiB for an ordinary file. */
#define MEMORY_MAX ((size_t)768 << 20)

/* What pdftotext ends with (its manual page). */
enum { PDF_FINE = 0, PDF_UNOPENED = 1, PDF_FORBIDDEN = 3 };

static void
write_page(struct marked *m, long number, const char *p, size_t n)
{
	char heading[32];
	const char *end = p + n;

	snprintf(heading, sizeof(heading), "Page %ld", number);
	marked_heading(m, 1);
	marked_string(m, heading);
	marked_paragraph(m);
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *stop = lf ? lf : end;
		if (stop == p)
			marked_paragraph(m);
		marked_text(m, p, (size_t)(stop - p));
		marked_line(m);
		p = lf ? lf + 1 : end;
	}
}

static bool
is_blank(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr(" \t\r\n\v", p[i]) || !p[i])
			return false;
	return true;
}

enum extract_end
pdf_pages(const char *p, size_t n, struct extracted *out)
{
	struct marked m = {.out = &out->text};
	const char *end = p + n;

	for (long number = 1; p < end; number++) {
		const char *feed = memchr(p, '\f', (size_t)(end - p));
		const char *stop = feed ? feed : end;
		if (!is_blank(p, (size_t)(stop - p)))
			write_page(&m, number, p, (size_t)(stop - p));
		p = feed ? feed + 1 : end;
	}
	return out->text.n > 0 || out->text.failed ? EXTRACT_OK
						   : EXTRACT_PDF_SCANNED;
}

static bool
complains_of(const struct child_end *end, const char *words)
{
	return end->complaint.n > 0 &&
	       memmem(end->complaint.p, end->complaint.n, words,
		   strlen(words)) != NULL;
}

static enum extract_end
judge(const struct child_end *end)
{
	if (end->is_late)
		return EXTRACT_PDF_SLOW;
	if (end->is_too_large)
		return EXTRACT_TOO_LARGE;
	if (end->exit_code == CHILD_UNSTARTED)
		return EXTRACT_PDF_OFF;
	if (end->exit_code == PDF_FORBIDDEN ||
	    complains_of(end, "Incorrect password"))
		return EXTRACT_PDF_ENCRYPTED;
	if (complains_of(end, "ut of memory") ||
	    complains_of(end, "bad_alloc") || complains_of(end, "bogus memory"))
		return EXTRACT_PDF_HUGE;
	return end->exit_code == PDF_FINE ? EXTRACT_OK : EXTRACT_PDF_BROKEN;
}

enum extract_end
pdf_extract(const struct extract_ask *ask, struct extracted *out)
{
	const char *const argv[] = {
	    ask->pdftotext, "-enc", "UTF-8", "-eol", "unix", "-", "-", NULL};
	const struct child_ask child = {
	    .argv = argv,
	    .in = ask->p,
	    .n = ask->n,
	    .max_out = ask->max_bytes,
	    .seconds = ask->seconds,
	    .max_bytes = MEMORY_MAX,
	};
	struct child_end end = {0};
	struct buf clean = {0};
	enum extract_end e = EXTRACT_PDF_OFF;

	if (!ask->pdftotext || !*ask->pdftotext)
		return e;
	e = child_run(&child, &end) == OK ? judge(&end) : EXTRACT_NO_ROOM;
	if (e == EXTRACT_OK) {
		text_append_clean(&clean, end.out.p, end.out.n);
		e = clean.failed ? EXTRACT_NO_ROOM
				 : pdf_pages(clean.p, clean.n, out);
	}
	buf_free(&clean);
	child_end_free(&end);
	return e;
}
