/*
 * Files as text, whatever they hold: clean UTF-8 within its bound, the same
 * each time, without a heading that nobody wrote; and a text that is wrapped in
 * each of the formats comes out of it again. The first three bytes of an input
 * choose the format, the character set and the bound.
 */
#include <string.h>

#include "base/json_write.h"
#include "base/text.h"
#include "fuzz.h"
#include "knowledge/extract.h"
#include "knowledge/marked.h"

#define CONTROL   3
#define TITLE_MAX 4096

static const char *const types[] = {"text/html", "text/csv", "application/json",
    "text/plain", "text/markdown", "application/pdf"};

static const char *const charsets[] = {NULL, NULL, "utf-8", "iso-8859-1",
    "windows-1258", "utf-16le", "utf-16", "iso-2022-jp", "gb18030", "shift_jis",
    "euc-kr", "big5", "us-ascii", "klingon", "", "UTF-8//IGNORE"};

static bool
is_blank(const struct buf *b)
{
	return strspn(buf_text((struct buf *)b), " \t\r\n\f\v") == b->n;
}

/* Lines that begin with what a heading or a fence begins with. */
static size_t
count_marks(const struct buf *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->n; i++)
		n += (i == 0 || text->p[i - 1] == '\n') &&
		     strchr("#`~", text->p[i]) != NULL;
	return n;
}

static size_t
count(const char *p, size_t n, const char *word)
{
	size_t found = 0, len = strlen(word);

	for (size_t i = 0; i + len <= n; i++)
		found += strncasecmp(p + i, word, len) == 0;
	return found;
}

static void
check_marks(const struct extract_ask *ask, const struct extracted *e)
{
	struct buf clean = {0};

	if (strcmp(ask->mime_type, "text/html") == 0) {
		FUZZ_PROMISE(charset_decode(ask, &clean) == EXTRACT_OK);
		FUZZ_PROMISE(
		    count_marks(&e->text) <= count(clean.p, clean.n, "<h"));
		buf_free(&clean);
	} else if (strncmp(ask->mime_type, "text/", 5) != 0 ||
		   strcmp(ask->mime_type, "text/csv") == 0) {
		FUZZ_PROMISE(count_marks(&e->text) == 0);
	}
}

static void
check_file(const struct extract_ask *ask)
{
	struct extracted a, b;
	enum extract_end end = extract(ask, &a);

	FUZZ_PROMISE(end >= EXTRACT_OK && end < EXTRACT__MAX);
	FUZZ_PROMISE(end == EXTRACT_OK || extract_why(end)[0] != '\0');
	FUZZ_PROMISE(end != EXTRACT_NO_ROOM);
	FUZZ_PROMISE(a.text.n <= ask->max_bytes);
	FUZZ_PROMISE(a.title.n <= TITLE_MAX);
	FUZZ_PROMISE(a.text.n == 0 || text_is_clean(a.text.p, a.text.n));
	FUZZ_PROMISE(a.title.n == 0 || text_is_clean(a.title.p, a.title.n));
	FUZZ_PROMISE(end != EXTRACT_OK || !is_blank(&a.text));
	if (end == EXTRACT_OK)
		check_marks(ask, &a);
	FUZZ_PROMISE(extract(ask, &b) == end && a.text.n == b.text.n);
	FUZZ_PROMISE(
	    a.text.n == 0 || memcmp(a.text.p, b.text.p, a.text.n) == 0);
	extracted_free(&a);
	extracted_free(&b);
}

/* Pages are numbered, and nothing in them can look like another page. */
static void
check_pages(const char *p, size_t n)
{
	struct extracted e = {0};
	struct buf clean = {0}, page = {0};
	size_t pages = 0;

	text_append_clean(&clean, p, n);
	if (clean.n == 0)
		return;
	for (size_t i = 0; i <= clean.n; i++) {
		if (i < clean.n && clean.p[i] != '\f') {
			buf_putc(&page, clean.p[i]);
			continue;
		}
		pages += !is_blank(&page);
		buf_clear(&page);
	}
	enum extract_end end = pdf_pages(clean.p, clean.n, &e);
	FUZZ_PROMISE((end == EXTRACT_OK) == (pages > 0));
	FUZZ_PROMISE(e.text.n == 0 || text_is_clean(e.text.p, e.text.n));
	FUZZ_PROMISE(count_marks(&e.text) == pages);
	extracted_free(&e);
	buf_free(&clean);
	buf_free(&page);
}

/* The text as a value called x. */
static void
write_wanted(struct buf *out, const struct buf *text)
{
	struct marked m = {.out = out};

	marked_string(&m, "x");
	marked_string(&m, ": ");
	marked_text(&m, text->p, text->n);
}

static void
compare(const char *type, const struct buf *file, const struct buf *want)
{
	const struct extract_ask ask = {.p = file->p,
	    .n = file->n,
	    .mime_type = type,
	    .charset = "utf-8",
	    .max_bytes = 1 << 20};
	struct extracted e;

	FUZZ_PROMISE(extract(&ask, &e) == EXTRACT_OK);
	FUZZ_PROMISE(e.text.n == want->n);
	FUZZ_PROMISE(memcmp(e.text.p, want->p, want->n) == 0);
	extracted_free(&e);
}

static void
check_csv(const struct buf *text)
{
	struct buf file = {0}, want = {0};

	buf_puts(&file, "x,y\r\n\"");
	for (size_t i = 0; i < text->n; i++) {
		if (text->p[i] == '"')
			buf_putc(&file, '"');
		buf_putc(&file, text->p[i]);
	}
	buf_puts(&file, "\",\r\n");
	write_wanted(&want, text);
	compare("text/csv", &file, &want);
	buf_free(&file);
	buf_free(&want);
}

static void
check_json(struct buf *text)
{
	struct buf file = {0}, want = {0};

	json_write_open(&file, NULL, '{');
	json_write_text(&file, "x", buf_text(text));
	json_write_close(&file, '}');
	write_wanted(&want, text);
	compare("application/json", &file, &want);
	buf_free(&file);
	buf_free(&want);
}

/* Controls, and what stands for Windows-1252 in pages, are no text of HTML. */
static bool
is_page_text(const struct buf *text)
{
	for (size_t i = 0; i < text->n; i++) {
		unsigned char c = (unsigned char)text->p[i];
		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			return false;
		if (c == 0xc2 && (unsigned char)text->p[i + 1] < 0xa0)
			return false;
		if (c == 0xef && (unsigned char)text->p[i + 1] == 0xbf)
			return false;
	}
	return true;
}

static void
check_page(const struct buf *text)
{
	struct buf file = {0}, want = {0};

	if (!is_page_text(text))
		return;
	buf_puts(&file, "<!DOCTYPE html><title>t</title><script>if (a<b) "
			"\"<p>\"</script><p hidden>h</p><p>x: ");
	for (size_t i = 0; i < text->n; i++) {
		if (strchr("<&>", text->p[i]) != NULL)
			buf_printf(&file, "&#%d;", text->p[i]);
		else
			buf_putc(&file, text->p[i]);
	}
	buf_puts(&file, "</p>");
	write_wanted(&want, text);
	compare("text/html", &file, &want);
	buf_free(&file);
	buf_free(&want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = {0};

	if (size < CONTROL)
		return 0;
	const char *p = (const char *)data + CONTROL;
	const struct extract_ask ask = {
	    .p = p,
	    .n = size - CONTROL,
	    .mime_type = types[data[0] % (sizeof(types) / sizeof(*types))],
	    .charset =
		charsets[data[1] % (sizeof(charsets) / sizeof(*charsets))],
	    .max_bytes = data[2] < 128 ? 1 << 20 : data[2],
	};
	check_file(&ask);
	check_pages(p, ask.n);
	text_append_clean(&text, p, ask.n);
	if (text.n > 0 && !marked_is_blank(text.p, text.n)) {
		check_csv(&text);
		check_json(&text);
		check_page(&text);
	}
	buf_free(&text);
	return 0;
}
