/*
 * Texts of uploaded files: what is kept of each format, what is refused and
 * how it is said, and files made to take a reader's time, memory or stack.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/text.h"
#include "knowledge/child.h"
#include "knowledge/child_walls.h"
#include "knowledge/extract.h"
#include "knowledge/language.h"

#define PDFTOTEXT "/usr/bin/pdftotext"

static enum extract_end
read_bytes(const char *type, const char *p, size_t n, struct extracted *out)
{
	const struct extract_ask ask = {
	    .p = p,
	    .n = n,
	    .mime_type = type,
	    .pdftotext = PDFTOTEXT,
	    .seconds = 20,
	    .max_bytes = 1 << 20,
	};
	return extract(&ask, out);
}

static void
expect(const char *type, const char *in, const char *want)
{
	struct extracted e;
	enum extract_end end = read_bytes(type, in, strlen(in), &e);
	cr_expect_eq(end, EXTRACT_OK, "%s: %s", in, extract_why(end));
	cr_expect_str_eq(buf_text(&e.text), want);
	cr_expect(text_is_clean(e.text.p, e.text.n));
	extracted_free(&e);
}

static void
expect_end(const char *type, const char *p, size_t n, enum extract_end want)
{
	struct extracted e;
	enum extract_end end = read_bytes(type, p, n, &e);
	cr_expect_eq(end, want, "%s is \"%s\"", type, extract_why(end));
	extracted_free(&e);
}

Test(extract, keeps_the_headings_and_paragraphs_of_a_page)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"<h1>A &amp; B</h1><p>One\n two.<p>Three",
		"# A & B\n\nOne two.\n\nThree"},
	    {"<title>T</title><script>x()</script><style>p{}</style><p>Seen",
		"Seen"},
	    {"<ul><li>a<li>b <b>c</b></ul>d", "- a\n- b c\n\nd"},
	    {"<table><tr><th>n<th>m<tr><td>1<td>2</table>", "n | m\n1 | 2"},
	    {"a<br>b&nbsp;&nbsp;c&#8364;", "a\nb c\xe2\x82\xac"},
	    {"<pre>x\n  y\n\tz</pre> w", "x\n  y\n        z\n\nw"},
	    {"<p># no heading</p><p>```</p>", "\\# no heading\n\n\\```"},
	    {"<h2>two\nlines</h2>x", "## two lines\n\nx"},
	    {"<p>open <a href=x>and <i>crossed</a> over</i>",
		"open and crossed over"},
	    {"<noscript>no</noscript><template>t</template><p>yes", "yes"},
	    {"<!-- <p>not this --><p>this", "this"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect("text/html", rows[i].in, rows[i].want);
}

Test(extract, keeps_what_a_page_shows_and_nothing_else)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"<p hidden>no</p><p HIDDEN=x><b>no</b></p>yes", "yes"},
	    {"<div style='color:red; DISPLAY : none !important'>no<p>no</div>"
	     "<div style='display:block'>yes</div>",
		"yes"},
	    {"<input hidden>a<br hidden>b", "ab"},
	    {"<body style=\"display:none\"><p>yes", "yes"},
	    {"<p title=\"a > b\" data-x='<p>no'>yes", "yes"},
	    {"<p class=x\"y>yes", "yes"},
	    {"a <3 b, 1 < 2 <- c &lt;p&gt;", "a <3 b, 1 < 2 <- c <p>"},
	    {"x <a href=\"never closed", "x <a href=\"never closed"},
	    {"x <never closed", "x <never closed"},
	    {"<script>if (a<b) \"</p>\"</script>yes", "yes"},
	    {"<SCRIPT>no</Script >yes", "yes"},
	    {"<style>a<b</style><iframe><p>no</p></iframe>yes", "yes"},
	    {"<!--><p>yes", "yes"},
	    {"<!-- a > b -- c --><?php no ?><![if x]>yes</1>", "yes"},
	    {"<svg><title>no</title><text>no</text></svg>yes", "yes"},
	    {"<o:p>a</o:p><anna@example.com>", "a"},
	    {"5&nbsp;&#8364; &euro; &#128; &#x96; &amp;lt; &apos;",
		"5 \xe2\x82\xac \xe2\x82\xac \xe2\x82\xac \xe2\x80\x93 "
		"&lt; '"},
	    {"Donau&shy;dampf\xc2\xad"
	     "schiff",
		"Donaudampfschiff"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect("text/html", rows[i].in, rows[i].want);
}

/* As word processors and mail programs write them: paragraphs in each. */
Test(extract, keeps_a_row_on_its_line)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"<table><tr><td><p>a</p></td><td><p>b</p></td></tr>"
	     "<tr><td><div>c</div></td><td>d</td></tr></table>e",
		"a | b\nc | d\n\ne"},
	    {"<table><tr><td></td><th>x</th><th>y</th></tr>"
	     "<tr><th>a</th><td>&nbsp;</td><td>2</td></tr></table>",
		"| x | y\na | | 2"},
	    {"<table><tr><td>a<td></td><td> </td><tr><td></td></tr>"
	     "<tr><td>b</table>",
		"a\nb"},
	    {"<table><tr><td>1<td>x<table><tr><td>y<td>z</table>"
	     "<td>2</table>",
		"1 | x\n\ny | z\n\n2"},
	    {"<table><tr><td><h2>T</h2></td><td>x</td></tr></table>",
		"## T\n\nx"},
	    {"<ul><li><p>a</p></li><li><p>b</p><p>c</p></li><li></li>"
	     "<li>d</li></ul>",
		"- a\n\n- b\n\nc\n\n- d"},
	    {"a<br>b<br><br>c<div><br></div>d", "a\nb\n\nc\n\nd"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect("text/html", rows[i].in, rows[i].want);
}

Test(extract, knows_a_page_s_title)
{
	static const char page[] = "<title> Our\n house </title><p>x";
	struct extracted e;
	cr_assert_eq(
	    read_bytes("text/html", page, strlen(page), &e), EXTRACT_OK);
	cr_expect_str_eq(buf_text(&e.title), "Our house");
	extracted_free(&e);
}

Test(extract, says_of_every_cell_which_column_it_is)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"Name,Price\nTea,3\nCoffee,4\n",
		"Name: Tea; Price: 3\n\nName: Coffee; Price: 4"},
	    {"a;b\r\n\"x;y\";\"say \"\"hi\"\"\"\r\n", "a: x;y; b: say \"hi\""},
	    {"1,2\n3,4",
		"Column 1: 1; Column 2: 2\n\nColumn 1: 3; Column 2: 4"},
	    {"a\tb\n\tz", "b: z"},
	    {"a,b\n1,2,3", "a: 1; b: 2; Column 3: 3"},
	    {"a,b\n\"two\nlines\",x", "a: two lines; b: x"},
	    {"\xef\xbb\xbfName;Preis, netto\r\nTee;3,50\r\n",
		"Name: Tee; Preis, netto: 3,50"},
	    {"Name;Price, net, EUR\nTea;3\n", "Name: Tea; Price, net, EUR: 3"},
	    {"sep=|\r\na,x|b\r\n1|2,3", "a,x: 1; b: 2,3"},
	    {",a,b\n0,1,2", "Column 1: 0; a: 1; b: 2"},
	    {"Name,2023,2024\nTea,5,\n", "Name: Tea; 2023: 5"},
	    {"Tea,2023\nCoffee,2024\n", "Column 1: Tea; Column 2: 2023\n\n"
					"Column 1: Coffee; Column 2: 2024"},
	    {"\n\r\na,b\n\n1,2\n,\n3\n\n", "a: 1; b: 2\n\na: 3"},
	    {"a, b\n\"1\", \"x, y\"", "a: 1; b: x, y"},
	    {"Size,Note\n5\" pipe,6\" too\n7,8",
		"Size: 5\" pipe; Note: 6\" too\n\nSize: 7; Note: 8"},
	    {"a\rb\rc", "a: b\n\na: c"},
	    {"only,one,row", "Column 1: only; Column 2: one; Column 3: row"},
	    {"# a,b\n~,`", "\\# a: ~; b: `"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect("text/csv", rows[i].in, rows[i].want);
	expect_end("text/csv", "a,b\n\"x", 6, EXTRACT_CSV_OPEN);
}

Test(extract, says_of_every_value_where_it_stood)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"{\"a\":{\"b\":1,\"c\":[true,null,\"x\"]}}",
		"a.b: 1\na.c: true\na.c: x"},
	    {"[{\"n\":\"Tea\"},{\"n\":\"Coffee\"}]", "n: Tea\n\nn: Coffee"},
	    {"\"just text\"", "just text"},
	    {"{\"id\":12345678901234567890123,\"p\":1.50,\"e\":1E400}",
		"id: 12345678901234567890123\np: 1.50\ne: 1E400"},
	    {"{\"a\\u0020 b\":\"x\\n\\ty\\u00e9\\ud83d\\ude00\\ud83d\"}",
		"a b: x y\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd"},
	    {"{\"a\":\"\",\"b\":[[1],[2]],\"c\":{},\"a\":2}",
		"a:\nb: 1\nb: 2\n\na: 2"},
	    {"\xef\xbb\xbf[1]", "1"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect("application/json", rows[i].in, rows[i].want);
	expect_end("application/json", "{\"a\":", 5, EXTRACT_JSON_BROKEN);
	expect_end("application/json", "{}", 2, EXTRACT_EMPTY);
}

Test(extract, reads_text_in_the_encodings_of_old)
{
	expect("text/plain",
	    "\xef\xbb\xbf"
	    "caf\xc3\xa9",
	    "caf\xc3\xa9");
	expect("text/plain", "caf\xe9 \x80", "caf\xc3\xa9 \xe2\x82\xac");
	expect("text/html", "<meta charset=\"iso-8859-15\"><p>5 \xa4",
	    "5 \xe2\x82\xac");
	struct extracted e;
	static const char wide[] = "\xff\xfeh\0i\0";
	cr_expect_eq(read_bytes("text/plain", wide, 6, &e), EXTRACT_OK);
	cr_expect_str_eq(buf_text(&e.text), "hi");
	extracted_free(&e);
	const struct extract_ask ask = {.p = "x",
	    .n = 1,
	    .mime_type = "text/plain",
	    .charset = "klingon",
	    .max_bytes = 9};
	cr_expect_eq(extract(&ask, &e), EXTRACT_CHARSET);
	extracted_free(&e);
}

static void
expect_named(const char *charset, const char *p, size_t n, const char *want)
{
	const struct extract_ask ask = {.p = p,
	    .n = n,
	    .mime_type = "text/plain",
	    .charset = charset,
	    .max_bytes = 999};
	struct extracted e;
	cr_expect_eq(extract(&ask, &e), EXTRACT_OK, "%s", charset);
	cr_expect_str_eq(buf_text(&e.text), want, "%s", charset);
	extracted_free(&e);
}

Test(extract, reads_encodings_by_the_web_s_names_alone)
{
	static const struct {
		const char *charset, *in, *want;
	} rows[] = {
	    {"ISO-8859-1", "5 \x80", "5 \xe2\x82\xac"},
	    {"Windows-1251", "\xcf\xf0", "\xd0\x9f\xd1\x80"},
	    {"shift_jis", "\x82\xb1", "\xe3\x81\x93"},
	    {"gb2312", "\xd6\xd0", "\xe4\xb8\xad"},
	    {"windows-1258", "Vi\xea\xf2t a", "Vi\xe1\xbb\x87t a"},
	    {"us-ascii", "caf\xc3\xa9", "caf\xc3\xa9"},
	    {"", "caf\xe9", "caf\xc3\xa9"},
	    {"UTF-8", "a\xff", "a\xef\xbf\xbd"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect_named(rows[i].charset, rows[i].in, strlen(rows[i].in),
		    rows[i].want);
	/* Half of a pair, and text behind it. */
	expect_named("utf-16", "\x3d\xd8h\0i\0", 6, "\xef\xbf\xbdhi");
	static const char *const unknown[] = {
	    "klingon", "UTF-8//IGNORE", "ISO-2022-CN-EXT", "utf-8 latin1", "1"};
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
		struct extracted e;
		const struct extract_ask ask = {.p = "x",
		    .n = 1,
		    .mime_type = "text/plain",
		    .charset = unknown[i],
		    .max_bytes = 9};
		cr_expect_eq(
		    extract(&ask, &e), EXTRACT_CHARSET, "%s", unknown[i]);
		extracted_free(&e);
	}
}

Test(extract, guesses_the_encoding_that_nobody_named)
{
	expect_named(NULL, "h\0i\0 \0t\0h\0e\0r\0e\0", 16, "hi there");
	expect_named(NULL, "\0h\0i\0 \0t\0h\0e\0r\0e", 16, "hi there");
	/* One broken byte does not make UTF-8 something else. */
	expect_named(NULL, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9\xc3", 11,
	    "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9\xef\xbf\xbd");
	expect("text/html",
	    "<?xml version='1.0' encoding='windows-1251'?><p>\xcf\xf0",
	    "\xd0\x9f\xd1\x80");
	expect("text/html",
	    "<META http-equiv=Content-Type content='text/html; charset = "
	    "iso-8859-15'><p>5 \xa4",
	    "5 \xe2\x82\xac");
	/* What says so in ASCII is no UTF-16. */
	expect(
	    "text/html", "<meta charset=utf-16><p>caf\xc3\xa9", "caf\xc3\xa9");
	expect("text/html", "<meta charset=klingon><p>caf\xe9", "caf\xc3\xa9");
	expect("text/html", "<meta charset=iso-2022-jp><p>\x1b$B$3\x1b(B",
	    "\xe3\x81\x93");
	/* Whoever says Latin-1 and means UTF-8 is understood. */
	expect("text/html", "<meta charset=iso-8859-1><p>caf\xc3\xa9",
	    "caf\xc3\xa9");
}

Test(extract, leaves_plain_text_and_markdown_as_they_are)
{
	expect("text/plain", "# not  a heading\n", "# not  a heading\n");
	expect("text/markdown", "# One\n\n```\nx  y\n```\n",
	    "# One\n\n```\nx  y\n```\n");
	expect_end("text/plain", " \n\t", 3, EXTRACT_EMPTY);
	expect_end("text/plain", "", 0, EXTRACT_EMPTY);
}

/* A text `n` times over. */
static char *
repeat(const char *text, size_t n, size_t *out_n)
{
	size_t len = strlen(text);
	char *p = malloc(len * n + 1);
	cr_assert(p);
	for (size_t i = 0; i < n; i++)
		memcpy(p + i * len, text, len);
	p[len * n] = '\0';
	*out_n = len * n;
	return p;
}

Test(extract, survives_what_is_nested_a_million_deep)
{
	static const struct {
		const char *type, *part;
		enum extract_end want;
	} rows[] = {
	    {"text/html", "<div>", EXTRACT_HTML_DEEP},
	    {"text/html", "<b><i>x", EXTRACT_HTML_DEEP},
	    {"text/html", "</p></i>", EXTRACT_EMPTY},
	    {"text/html", "<", EXTRACT_OK},
	    {"text/html", "<!", EXTRACT_EMPTY},
	    {"text/html", "<script>", EXTRACT_EMPTY},
	    {"application/json", "[", EXTRACT_JSON_BROKEN},
	    {"application/json", "{\"a\":", EXTRACT_JSON_BROKEN},
	    {"text/csv", "\"", EXTRACT_OK},
	    {"text/csv", ",", EXTRACT_CSV_WIDE},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t n;
		char *p = repeat(rows[i].part, 1000000, &n);
		struct extracted e;
		enum extract_end end = read_bytes(rows[i].type, p, n, &e);
		cr_expect(end == rows[i].want || end == EXTRACT_TOO_LARGE,
		    "%s of %s is \"%s\"", rows[i].part, rows[i].type,
		    extract_why(end));
		extracted_free(&e);
		free(p);
	}
}

/* Each takes minutes where something is looked at again for each byte. */
Test(extract, takes_time_in_proportion, .timeout = 60)
{
	static const struct {
		const char *type, *head, *part, *tail;
	} rows[] = {
	    {"text/html", "<p", " a", ">x"},
	    {"text/html", "", "<a<", ""},
	    {"text/html", "", "<1<", ">"},
	    {"text/html", "<a ", "<a x=\"", ">"},
	    {"text/html", "", "<a x=\">\" ", ""},
	    {"text/html", "", "<title>", ""},
	    {"text/html", "", "<p x='\">", ""},
	    {"text/html", "", "</", ">"},
	    {"text/html", "", "<!--", ">"},
	    {"text/html", "", "&", ""},
	    {"text/html", "", "<p hidden><br>", ""},
	    {"text/csv", "", "\"", ""},
	    {"text/csv", "a", "\",\"", "\n"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf page = {0};
		struct extracted e;
		size_t n;
		char *p = repeat(rows[i].part, 500000, &n);
		buf_puts(&page, rows[i].head);
		buf_add(&page, p, n);
		buf_puts(&page, rows[i].tail);
		cr_expect_neq(read_bytes(rows[i].type, page.p, page.n, &e),
		    EXTRACT_NO_ROOM);
		extracted_free(&e);
		buf_free(&page);
		free(p);
	}
	/* Attributes, each with a name of its own. */
	struct buf page = {0};
	buf_puts(&page, "<p");
	for (int i = 0; i < 300000; i++)
		buf_printf(&page, " a%d", i);
	buf_puts(&page, ">x");
	expect("text/html", buf_text(&page), "x");
	buf_free(&page);
}

/* White space in names costs each value its time, and no bytes of text. */
Test(extract, reads_long_names_once, .timeout = 60)
{
	size_t n;
	char *blank = repeat(" ", 500000, &n);
	struct buf csv = {0}, json = {0};
	buf_printf(&csv, "a%sb,c\n", blank);
	buf_printf(&json, "{\"a%.60000sb\":[1", blank);
	for (int i = 0; i < 100000; i++) {
		buf_puts(&csv, "x\n");
		buf_puts(&json, ",1");
	}
	buf_puts(&json, "]}");
	struct extracted e;
	cr_expect_eq(read_bytes("text/csv", csv.p, csv.n, &e), EXTRACT_OK);
	cr_expect(!strncmp(e.text.p, "a b: x\n\na b: x", 14));
	extracted_free(&e);
	cr_expect_eq(
	    read_bytes("application/json", json.p, json.n, &e), EXTRACT_OK);
	cr_expect(!strncmp(e.text.p, "a b: 1\na b: 1", 13));
	extracted_free(&e);
	buf_free(&csv);
	buf_free(&json);
	free(blank);
}

Test(extract, gives_no_more_text_than_it_may)
{
	size_t n;
	char *p = repeat("<p>some words", 200000, &n);
	expect_end("text/html", p, n, EXTRACT_TOO_LARGE);
	free(p);
	p = repeat("longcolumnname,", 900, &n);
	struct buf b = {0};
	buf_add(&b, p, n);
	for (int i = 0; i < 200; i++) {
		buf_putc(&b, '\n');
		for (int j = 0; j < 900; j++)
			buf_puts(&b, "1,");
	}
	expect_end("text/csv", b.p, b.n, EXTRACT_TOO_LARGE);
	buf_free(&b);
	free(p);
}

/* A PDF of these objects; the first is the catalogue. */
static void
write_pdf(struct buf *out, const char *const *objects, const char *trailer)
{
	size_t at[16], n = 0;
	buf_puts(out, "%PDF-1.4\n");
	for (; objects[n]; n++) {
		at[n] = out->n;
		buf_printf(out, "%zu 0 obj\n%s\nendobj\n", n + 1, objects[n]);
	}
	size_t xref = out->n;
	buf_printf(out, "xref\n0 %zu\n0000000000 65535 f \n", n + 1);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%010zu 00000 n \n", at[i]);
	buf_printf(out,
	    "trailer\n<</Size %zu /Root 1 0 R %s>>\nstartxref\n%zu\n%%%%EOF\n",
	    n + 1, trailer, xref);
}

#define FONT "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
#define PAGE(content)                                     \
	"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]" \
	"/Contents " content " 0 R/Resources<</Font<</F 3 0 R>>>>>>"
#define STREAM_OF(text, n) "<</Length " n ">>stream\n" text "\nendstream"

static const char *const two_pages[] = {"<</Type/Catalog/Pages 2 0 R>>",
    "<</Type/Pages/Count 2/Kids[4 0 R 5 0 R]>>", FONT, PAGE("6"), PAGE("7"),
    STREAM_OF("BT /F 12 Tf 72 700 Td (The first page.) Tj ET", "46"),
    STREAM_OF("BT /F 12 Tf 72 700 Td (# And a second.) Tj ET", "46"), NULL};

Test(extract, cites_a_pdf_by_its_pages)
{
	struct buf pdf = {0};
	struct extracted e;
	write_pdf(&pdf, two_pages, "");
	enum extract_end end = read_bytes("application/pdf", pdf.p, pdf.n, &e);
	cr_expect_eq(end, EXTRACT_OK, "%s", extract_why(end));
	cr_expect_str_eq(buf_text(&e.text),
	    "# Page 1\n\nThe first page.\n\n# Page 2\n\n\\# And a second.");
	extracted_free(&e);
	buf_free(&pdf);
}

Test(extract, says_what_is_wrong_with_a_pdf)
{
	static const char *const scan[] = {"<</Type/Catalog/Pages 2 0 R>>",
	    "<</Type/Pages/Count 1/Kids[4 0 R]>>", FONT, PAGE("5"),
	    STREAM_OF("0 0 m 10 10 l S", "15"), NULL};
	struct buf pdf = {0};
	write_pdf(&pdf, scan, "");
	expect_end("application/pdf", pdf.p, pdf.n, EXTRACT_PDF_SCANNED);
	buf_free(&pdf);
	write_pdf(&pdf, two_pages,
	    "/ID[<00112233445566778899aabbccddeeff>"
	    "<00112233445566778899aabbccddeeff>]/Encrypt<</Filter/Standard/V 1"
	    "/R 2/P -44/O<000102030405060708090a0b0c0d0e0f"
	    "101112131415161718191a1b1c1d1e1f>/U<000102030405060708090a0b0c0d"
	    "0e0f101112131415161718191a1b1c1d1e1f>>>");
	expect_end("application/pdf", pdf.p, pdf.n, EXTRACT_PDF_ENCRYPTED);
	buf_free(&pdf);
	expect_end("application/pdf", "no pdf at all", 13, EXTRACT_PDF_BROKEN);
	expect_end("application/pdf", "%PDF-1.4\n", 9, EXTRACT_PDF_BROKEN);
	struct extracted e;
	const struct extract_ask off = {.p = "%PDF",
	    .n = 4,
	    .mime_type = "application/pdf",
	    .seconds = 5,
	    .max_bytes = 99};
	cr_expect_eq(extract(&off, &e), EXTRACT_PDF_OFF);
	extracted_free(&e);
}

Test(extract, reads_no_page_tree_for_ever)
{
	static const char *const loop[] = {"<</Type/Catalog/Pages 2 0 R>>",
	    "<</Type/Pages/Count 9/Kids[2 0 R 2 0 R]>>", NULL};
	struct buf pdf = {0};
	struct extracted e;
	write_pdf(&pdf, loop, "");
	cr_expect_neq(
	    read_bytes("application/pdf", pdf.p, pdf.n, &e), EXTRACT_OK);
	extracted_free(&e);
	buf_free(&pdf);
}

/* Deflated a thousandfold: 40 MB of text in 40 kB. */
Test(extract, stops_a_pdf_that_unfolds_without_end)
{
	size_t n, at;
	char *text =
	    repeat("0 -1 Td (bombs away, bombs away) Tj\n", 1100000, &n);
	uLongf packed_n = compressBound(n);
	Bytef *packed = malloc(packed_n);
	cr_assert_eq(compress2(packed, &packed_n, (Bytef *)text, n, 6), Z_OK);
	struct buf pdf = {0};
	buf_puts(&pdf, "%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\n"
		       "endobj\n2 0 obj\n<</Type/Pages/Count 1/Kids[4 0 R]>>\n"
		       "endobj\n3 0 obj\n" FONT
		       "\nendobj\n4 0 obj\n" PAGE("5") "\nendobj\n5 0 obj\n");
	buf_printf(
	    &pdf, "<</Filter/FlateDecode/Length %lu>>stream\n", packed_n);
	buf_add(&pdf, packed, packed_n);
	at = pdf.n;
	buf_printf(&pdf,
	    "\nendstream\nendobj\ntrailer\n<</Size 6 /Root 1 0 R>>\n"
	    "startxref\n%zu\n%%%%EOF\n",
	    at);
	struct extracted e;
	const struct extract_ask ask = {.p = pdf.p,
	    .n = pdf.n,
	    .mime_type = "application/pdf",
	    .pdftotext = PDFTOTEXT,
	    .seconds = 3,
	    .max_bytes = 1 << 20};
	enum extract_end end = extract(&ask, &e);
	cr_expect(end == EXTRACT_TOO_LARGE || end == EXTRACT_PDF_SLOW ||
		      end == EXTRACT_PDF_HUGE || end == EXTRACT_PDF_BROKEN,
	    "it is \"%s\", %zu bytes", extract_why(end), e.text.n);
	extracted_free(&e);
	buf_free(&pdf);
	free(packed);
	free(text);
}

/* A program in pdftotext's place. */
static enum err
run(const char *script, struct child_end *end)
{
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	const struct child_ask ask = {.argv = argv,
	    .in = "input",
	    .n = 5,
	    .max_out = 1000,
	    .seconds = 2,
	    .max_bytes = (size_t)256 << 20};
	return child_run(&ask, end);
}

Test(child, gets_its_bytes_and_nothing_else)
{
	struct child_end end;
	cr_assert_eq(run("read -r x; echo \"$x\"; echo oh >&2; pwd;"
			 " exec 2>&-; for fd in 0 2 3 4 5 6 7 8 9;"
			 " do command eval \": <&$fd\" && echo $fd; done;"
			 " echo $HOME$DATABASE_URL; exit 7",
			 &end),
	    OK);
	cr_expect_str_eq(buf_text(&end.out), "input\n/\n0\n\n");
	cr_expect_str_eq(buf_text(&end.complaint), "oh\n");
	cr_expect_eq(end.exit_code, 7);
	child_end_free(&end);
}

Test(child, may_write_no_file_and_is_killed_when_it_says_too_much)
{
	struct child_end end;
	cr_assert_eq(run("while :; do echo yes yes yes yes; done", &end), OK);
	cr_expect(end.is_too_large);
	cr_expect_eq(end.out.n, 1000);
	child_end_free(&end);
	cr_assert_eq(
	    run("echo x >/tmp/natter-child-$$ && echo wrote", &end), OK);
	cr_expect_eq(end.out.n, 0, "it wrote a file");
	child_end_free(&end);
}

/* What a parser that has been taken over would try: whatever it says becomes a
 * document's text, which its attacker reads. */
Test(child, reaches_nothing_of_ours)
{
	static const struct {
		const char *script;
		bool is_path; /* Landlock's */
	} rows[] = {
	    {"kill -9 $PPID && echo killed", false},
	    {"/bin/true & wait && echo forked", false},
	    {"(echo sub)", false},
	    {": >/tmp/natter-child-made && echo made", false},
	    {"exec 3<>/dev/null && echo opened", false},
	    {"read -r x </etc/passwd && echo \"$x\"", true},
	    {"read -r x </proc/$PPID/stat && echo \"$x\"", true},
	    {"read -r x </proc/self/environ; echo \"$x\"", true},
	    {"cd /etc; set -- *; [ \"$*\" = '*' ] || echo $#", true},
	    {"ulimit -v unlimited && echo more", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct child_end end;
		if (rows[i].is_path && !child_walls_have_paths())
			continue;
		cr_assert_eq(run(rows[i].script, &end), OK);
		cr_expect(end.out.n == 0 || end.out.p[0] == '\n',
		    "%s says %.60s", rows[i].script, buf_text(&end.out));
		child_end_free(&end);
	}
	cr_expect_eq(access("/tmp/natter-child-made", F_OK), -1);
}

/* Of calls that do many things, the walls let through what such a program does.
 */
Test(child, may_ask_little_of_its_descriptors)
{
	static const char *const argv[] = {"/bin/sh", NULL};
	static const struct child_ask ask = {
	    .argv = argv, .seconds = 2, .max_bytes = (size_t)256 << 20};
	int status, fds[2], n = 0;
	cr_assert_eq(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (!child_walls(&ask))
			_exit(99);
		int copy = fcntl(fds[0], F_DUPFD_CLOEXEC, 10);
		if (copy < 10 || fcntl(copy, F_GETFD) != FD_CLOEXEC ||
		    fcntl(copy, F_SETFD, 0) != 0 || fcntl(copy, F_GETFL) < 0 ||
		    fcntl(copy, F_SETFL, O_NONBLOCK) != 0)
			_exit(98);
		if (isatty(fds[0]) || errno != ENOTTY)
			_exit(97);
		if (fcntl(fds[0], F_SETOWN, getppid()) != -1 ||
		    fcntl(fds[0], F_SETSIG, SIGKILL) != -1 ||
		    fcntl(fds[0], F_SETPIPE_SZ, 1 << 20) != -1)
			_exit(96);
		_exit(ioctl(fds[0], FIONREAD, &n) == -1 && errno == EPERM ? 0
									  : 95);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status));
	cr_expect_eq(WEXITSTATUS(status), 0, "%d", WEXITSTATUS(status));
	close(fds[0]);
	close(fds[1]);
}

Test(child, is_killed_at_its_deadline)
{
	struct child_end end;
	cr_assert_eq(run("while :; do :; done", &end), OK);
	cr_expect(end.is_late);
	child_end_free(&end);
	/* Silent, its pipes closed. */
	cr_assert_eq(run("exec >&- 2>&-; while :; do :; done", &end), OK);
	cr_expect_neq(end.exit_code, 0);
	child_end_free(&end);
}

Test(child, that_is_not_there_is_said_to_be_so)
{
	static const char *const argv[] = {"/nonexistent", NULL};
	const struct child_ask ask = {.argv = argv,
	    .in = "",
	    .max_out = 10,
	    .seconds = 2,
	    .max_bytes = (size_t)256 << 20};
	struct child_end end;
	cr_assert_eq(child_run(&ask, &end), OK);
	cr_expect_eq(end.exit_code, CHILD_UNSTARTED);
	child_end_free(&end);
}

Test(language, is_guessed_by_common_words)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
	    {"How do I return what I have bought?", "en"},
	    {"Wie kann ich die Ware zur\xc3\xbc"
	     "ckgeben?",
		"de"},
	    {"Comment est-ce que je peux rendre les articles ?", "fr"},
	    {"\xc2\xbf"
	     "C\xc3\xb3mo puedo devolver los art\xc3\xad"
	     "culos?",
		"es"},
	    {"Come posso restituire gli articoli che ho comprato?", "it"},
	    {"Como posso devolver os artigos que comprei?", "pt"},
	    {"Hoe kan ik de artikelen terugsturen?", "nl"},
	    {"Hur kan jag skicka tillbaka det som jag har k\xc3\xb6pt?", "sv"},
	    {"Miten voin palauttaa tuotteet, kun ne ovat rikki?", "fi"},
	    {"invoice 4711", NULL},
	    {"", NULL},
	    {"\xe8\xbf\x94\xe5\x93\x81", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *got =
		    language_guess(rows[i].text, strlen(rows[i].text));
		cr_expect(got ? rows[i].want && !strcmp(got, rows[i].want)
			      : !rows[i].want,
		    "%s is %s", rows[i].text, got ? got : "unknown");
	}
}

Test(extract, knows_types_by_their_endings)
{
	cr_expect_str_eq(extract_type_of("a.b.PDF"), "application/pdf");
	cr_expect_str_eq(extract_type_of("x.htm"), "text/html");
	cr_expect_str_eq(extract_type_of("x.md"), "text/markdown");
	cr_expect_null(extract_type_of("x.docx"));
	cr_expect_null(extract_type_of("pdf"));
	cr_expect_null(extract_type_of("x."));
	cr_expect_null(extract_type_of(NULL));
}
