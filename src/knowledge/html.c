/*
 * HTML as text, by libxml2's HTML parser in its SAX form: it takes any tag
 * soup, calls back in order and builds no tree, so that memory is the text's
 * and depth is a counter. Scripts, styles and what is not shown are dropped;
 * headings, paragraphs, list items and table cells are kept apart, and a cell
 * stays on its row's line, with a bar before it, though it is a paragraph too.
 */
#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <string.h>

#include "knowledge/extract.h"
#include "knowledge/html_tags.h"
#include "knowledge/marked.h"

enum kind {
	KIND_OTHER, /* inline: nothing happens */
	KIND_HIDDEN,
	KIND_BLOCK,
	KIND_LINE,
	KIND_BREAK,
	KIND_HEADING,
	KIND_ITEM,
	KIND_TABLE,
	KIND_ROW,
	KIND_CELL,
	KIND_EXACT,
	KIND_TITLE,
};

static const struct element {
	const char *name;
	enum kind kind;
} elements[] = {
    {"address", KIND_BLOCK},
    {"article", KIND_BLOCK},
    {"aside", KIND_BLOCK},
    {"blockquote", KIND_BLOCK},
    {"br", KIND_BREAK},
    {"button", KIND_HIDDEN},
    {"canvas", KIND_HIDDEN},
    {"caption", KIND_BLOCK},
    {"dd", KIND_LINE},
    {"div", KIND_LINE},
    {"dl", KIND_BLOCK},
    {"dt", KIND_BLOCK},
    {"fieldset", KIND_BLOCK},
    {"figcaption", KIND_BLOCK},
    {"figure", KIND_BLOCK},
    {"footer", KIND_BLOCK},
    {"form", KIND_BLOCK},
    {"h1", KIND_HEADING},
    {"h2", KIND_HEADING},
    {"h3", KIND_HEADING},
    {"h4", KIND_HEADING},
    {"h5", KIND_HEADING},
    {"h6", KIND_HEADING},
    {"header", KIND_BLOCK},
    {"hr", KIND_BLOCK},
    {"iframe", KIND_HIDDEN},
    {"li", KIND_ITEM},
    {"main", KIND_BLOCK},
    {"noscript", KIND_HIDDEN},
    {"object", KIND_HIDDEN},
    {"ol", KIND_BLOCK},
    {"p", KIND_BLOCK},
    {"pre", KIND_EXACT},
    {"script", KIND_HIDDEN},
    {"section", KIND_BLOCK},
    {"select", KIND_HIDDEN},
    {"style", KIND_HIDDEN},
    {"svg", KIND_HIDDEN},
    {"table", KIND_TABLE},
    {"td", KIND_CELL},
    {"template", KIND_HIDDEN},
    {"th", KIND_CELL},
    {"title", KIND_TITLE},
    {"tr", KIND_ROW},
    {"ul", KIND_BLOCK},
};

struct page {
	htmlParserCtxt *parser;
	struct marked text, title;
	int hidden; /* depth of the element around that is not shown; 0: none */
	bool is_in_title;
	bool is_deep;

	/* In a table. Places are the text's length then. */
	bool is_first_cell;
	int bars; /* due before the row's next text */
	size_t row_at;
	size_t end_at; /* where a heading or a table ended last */

	/* An item or a cell has begun and is empty: what begins within it
	 * begins no new line. The item's mark comes with its text. */
	bool has_item;
	bool is_fresh;
	size_t fresh_at;
};

static enum kind
kind_of(const xmlChar *name)
{
	for (size_t i = 0; i < sizeof(elements) / sizeof(*elements); i++)
		if (!strcmp((const char *)name, elements[i].name))
			return elements[i].kind;
	return KIND_OTHER;
}

static size_t
length(const struct page *page)
{
	return page->text.out->n;
}

static bool
is_fresh(const struct page *page)
{
	return page->is_fresh && page->fresh_at == length(page);
}

static void
freshen(struct page *page)
{
	page->is_fresh = true;
	page->fresh_at = length(page);
}

static void
turn_row(struct page *page)
{
	page->bars = 0;
	if (!is_fresh(page))
		marked_line(&page->text);
}

static void
begin_row(struct page *page)
{
	turn_row(page);
	page->is_first_cell = true;
	page->row_at = length(page);
}

/* No bar stands behind a heading, of which it would be a part. */
static void
begin_cell(struct page *page)
{
	if (!page->is_first_cell &&
	    (page->text.newlines == 0 || page->row_at == length(page)))
		page->bars++;
	page->is_first_cell = false;
	page->text.has_space = true;
	freshen(page);
}

/* The row's line goes on, though a paragraph ended within the cell. */
static void
end_cell(struct page *page)
{
	bool is_empty = is_fresh(page);

	page->is_fresh = false;
	if (is_empty || page->end_at == length(page))
		return;
	page->text.newlines = 0;
	page->text.has_space = true;
}

static void
break_line(struct marked *m)
{
	if (m->newlines == 0)
		marked_line(m);
	else if (m->level == 0)
		m->newlines = 2;
}

/* What begins a line or a paragraph, and what ends one. */
static void
turn_line(struct page *page, enum kind kind)
{
	struct marked *m = &page->text;

	if (is_fresh(page))
		return;
	if (kind == KIND_BLOCK || kind == KIND_EXACT || kind == KIND_TABLE)
		marked_paragraph(m);
	else if (kind == KIND_LINE || kind == KIND_ITEM)
		marked_line(m);
	else if (kind == KIND_BREAK)
		break_line(m);
}

static bool
is_hidden(const struct page *page, enum kind kind, const xmlChar **attributes)
{
	/* html_tags leaves one attribute alone. */
	return page->hidden > 0 || kind == KIND_HIDDEN || attributes;
}

static void
begin_element(void *arg, const xmlChar *name, const xmlChar **attributes)
{
	struct page *page = arg;
	struct marked *m = &page->text;
	enum kind kind = kind_of(name);

	if (page->parser->nameNr > EXTRACT_HTML_DEPTH) {
		page->is_deep = true;
		xmlStopParser(page->parser);
	}
	if (is_hidden(page, kind, attributes)) {
		if (page->hidden == 0)
			page->hidden = page->parser->nameNr;
		return;
	}
	turn_line(page, kind);
	if (kind == KIND_HEADING) {
		marked_heading(m, name[1] - '0');
		page->bars = 0;
		page->has_item = false;
	} else if (kind == KIND_ROW) {
		begin_row(page);
	} else if (kind == KIND_CELL) {
		begin_cell(page);
	} else if (kind == KIND_ITEM) {
		page->has_item = true;
		freshen(page);
	} else if (kind == KIND_EXACT) {
		m->is_exact = true;
	}
	page->is_in_title = page->is_in_title || kind == KIND_TITLE;
}

static void
end_element(void *arg, const xmlChar *name)
{
	struct page *page = arg;
	enum kind kind = kind_of(name);

	if (page->hidden > 0) {
		if (page->parser->nameNr <= page->hidden)
			page->hidden = 0;
		return;
	}
	if (kind == KIND_ITEM)
		page->is_fresh = page->has_item = false;
	if (kind != KIND_BREAK)
		turn_line(page, kind);
	if (kind == KIND_HEADING)
		marked_paragraph(&page->text);
	if (kind == KIND_HEADING || kind == KIND_TABLE) {
		page->end_at = length(page);
	} else if (kind == KIND_CELL) {
		end_cell(page);
	} else if (kind == KIND_ROW) {
		turn_row(page);
	} else if (kind == KIND_EXACT) {
		page->text.is_exact = false;
	} else if (kind == KIND_TITLE) {
		page->is_in_title = false;
	}
}

/* What &#128; to &#159; mean in pages: Windows-1252. */
static const char *
western(unsigned char c)
{
	static const char *const chars[] = {"\u20ac", "", "\u201a", "\u0192",
	    "\u201e", "\u2026", "\u2020", "\u2021", "\u02c6", "\u2030",
	    "\u0160", "\u2039", "\u0152", "", "\u017d", "", "", "\u2018",
	    "\u2019", "\u201c", "\u201d", "\u2022", "\u2013", "\u2014",
	    "\u02dc", "\u2122", "\u0161", "\u203a", "\u0153", "", "\u017e",
	    "\u0178"};

	return chars[c - 0x80];
}

static void
put_text(struct marked *m, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end) {
		const char *at = p;
		while (end - at > 1 && ((unsigned char)at[0] != 0xc2 ||
					   (unsigned char)at[1] >= 0xa0))
			at++;
		if (end - at <= 1)
			at = end;
		marked_text(m, p, (size_t)(at - p));
		if (at < end)
			marked_string(m, western((unsigned char)at[1]));
		p = at < end ? at + 2 : end;
	}
}

/* What is due before text. */
static void
put_marks(struct page *page)
{
	for (; page->bars > 0; page->bars--)
		marked_string(&page->text, " | ");
	if (page->has_item)
		marked_string(&page->text, "- ");
	page->has_item = false;
}

static void
take_text(void *arg, const xmlChar *text, int count)
{
	struct page *page = arg;
	const char *p = (const char *)text;
	size_t n = (size_t)count;

	if (page->hidden > 0)
		return;
	if (page->is_in_title) {
		put_text(&page->title, p, n);
		return;
	}
	if (!marked_is_blank(p, n))
		put_marks(page);
	put_text(&page->text, p, n);
}

static enum extract_end
parse(const struct buf *tags, struct page *page)
{
	static const htmlSAXHandler calls = {
	    .startElement = begin_element,
	    .endElement = end_element,
	    .characters = take_text,
	    .ignorableWhitespace = take_text,
	};

	page->parser = htmlCreateMemoryParserCtxt(tags->p, (int)tags->n);
	if (!page->parser)
		return EXTRACT_NO_ROOM;
	*page->parser->sax = calls;
	page->parser->userData = page;
	htmlCtxtUseOptions(page->parser,
	    HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
		HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
	xmlSwitchEncoding(page->parser, XML_CHAR_ENCODING_UTF8);
	htmlParseDocument(page->parser);
	htmlFreeParserCtxt(page->parser);
	return page->is_deep ? EXTRACT_HTML_DEEP : EXTRACT_OK;
}

enum extract_end
html_extract(const char *p, size_t n, struct extracted *out)
{
	struct page page = {.text.out = &out->text,
	    .title.out = &out->title,
	    .is_first_cell = true};
	struct buf tags = {.cap = INT_MAX};
	enum extract_end e = EXTRACT_EMPTY;

	html_tags(p, n, &tags);
	if (tags.failed)
		e = EXTRACT_NO_ROOM;
	else if (tags.n > 0)
		e = parse(&tags, &page);
	buf_free(&tags);
	return e;
}
