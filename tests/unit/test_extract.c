/*
 * Texts of uploaded files: what is kept of each format, what is refused and
 * how it is said, and files made to take a reader's time, memory or stack.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/text.h"
#include "knowledge/child.h"
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
	    {"<pre>x\n  y</pre>", "x\ny"},
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
	    {"text/csv", "\"", EXTRACT_EMPTY},
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
			 " set -- /proc/self/fd/*; echo $#; exit 7",
			 &end),
	    OK);
	/* 0, 1, 2 and the one that the glob itself opened. */
	cr_expect_str_eq(buf_text(&end.out), "input\n/\n4\n");
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
