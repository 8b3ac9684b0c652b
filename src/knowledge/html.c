/*
 * HTML as text, by libxml2's HTML parser in its SAX form: it takes any tag
 * soup, calls back in order and builds no tree, so that memory is the text's
 * and depth is a counter. Scripts, styles and what is not shown are dropped;
 * headings, paragraphs, list items and table cells are kept apart.
 */
#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>
#include <string.h>

#include "knowledge/extract.h"
#include "knowledge/marked.h"

enum kind {
	KIND_OTHER, /* inline: nothing happens */
	KIND_HIDDEN,
	KIND_BLOCK,
	KIND_LINE,
	KIND_HEADING,
	KIND_ITEM,
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
    {"br", KIND_LINE},
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
    {"table", KIND_BLOCK},
    {"td", KIND_CELL},
    {"template", KIND_HIDDEN},
    {"th", KIND_CELL},
    {"title", KIND_TITLE},
    {"tr", KIND_LINE},
    {"ul", KIND_BLOCK},
};

struct page {
	htmlParserCtxt *parser;
	struct marked text, title;
	int hidden; /* elements around that are not shown */
	bool is_in_title;
	bool is_deep;
};

static enum kind
kind_of(const xmlChar *name)
{
	for (size_t i = 0; i < sizeof(elements) / sizeof(*elements); i++)
		if (!strcmp((const char *)name, elements[i].name))
			return elements[i].kind;
	return KIND_OTHER;
}

static void
begin_cell(struct marked *m)
{
	if (m->is_inside && m->newlines == 0)
		marked_string(m, " |");
	m->has_space = true;
}

static void
begin_element(void *arg, const xmlChar *name, const xmlChar **attributes)
{
	struct page *page = arg;
	struct marked *m = &page->text;
	enum kind kind = kind_of(name);

	(void)attributes;
	if (page->parser->nameNr > EXTRACT_HTML_DEPTH) {
		page->is_deep = true;
		xmlStopParser(page->parser);
	}
	page->hidden += kind == KIND_HIDDEN;
	if (page->hidden > 0)
		return;
	if (kind == KIND_HEADING)
		marked_heading(m, name[1] - '0');
	else if (kind == KIND_BLOCK || kind == KIND_EXACT)
		marked_paragraph(m);
	else if (kind == KIND_LINE || kind == KIND_ITEM)
		marked_line(m);
	else if (kind == KIND_CELL)
		begin_cell(m);
	if (kind == KIND_ITEM)
		marked_string(m, "- ");
	if (kind == KIND_EXACT)
		m->is_exact = true;
	page->is_in_title = page->is_in_title || kind == KIND_TITLE;
}

static void
end_element(void *arg, const xmlChar *name)
{
	struct page *page = arg;
	enum kind kind = kind_of(name);

	if (kind == KIND_HIDDEN && page->hidden > 0)
		page->hidden--;
	if (page->hidden > 0)
		return;
	if (kind == KIND_HEADING || kind == KIND_BLOCK || kind == KIND_EXACT)
		marked_paragraph(&page->text);
	else if (kind == KIND_LINE || kind == KIND_ITEM)
		marked_line(&page->text);
	if (kind == KIND_EXACT)
		page->text.is_exact = false;
	if (kind == KIND_TITLE)
		page->is_in_title = false;
}

static void
take_text(void *arg, const xmlChar *p, int n)
{
	struct page *page = arg;

	if (page->hidden == 0)
		marked_text(page->is_in_title ? &page->title : &page->text,
		    (const char *)p, (size_t)n);
}

enum extract_end
html_extract(const char *p, size_t n, struct extracted *out)
{
	const htmlSAXHandler calls = {
	    .startElement = begin_element,
	    .endElement = end_element,
	    .characters = take_text,
	    .ignorableWhitespace = take_text,
	};
	struct page page = {.text.out = &out->text, .title.out = &out->title};

	if (n == 0)
		return EXTRACT_EMPTY;
	page.parser = htmlCreateMemoryParserCtxt(p, (int)n);
	if (!page.parser)
		return EXTRACT_NO_ROOM;
	*page.parser->sax = calls;
	page.parser->userData = &page;
	htmlCtxtUseOptions(page.parser,
	    HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
		HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
	xmlSwitchEncoding(page.parser, XML_CHAR_ENCODING_UTF8);
	htmlParseDocument(page.parser);
	htmlFreeParserCtxt(page.parser);
	return page.is_deep ? EXTRACT_HTML_DEEP : EXTRACT_OK;
}
