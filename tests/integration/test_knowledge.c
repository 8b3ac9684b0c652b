/*
 * Files brought as they are and in forms, and replies that rest on them,
 * through a real nginx: what is cited as the stream runs is what the log has,
 * and what is stored; whose documents count; who wants none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "base/id.h"
#include "calls.h"
#include "stack.h"

#define ALL API "/documents"

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_TOOLS=on",
		"CHAT_DOCUMENT_MAX_BYTES=300000"}};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	api_caller_make(&caller);
}

static void
teardown(void)
{
	api_check_workers(&caller);
}

TestSuite(knowledge, .init = setup, .fini = teardown, .timeout = 300);

static void
call(const struct person *p, struct ask ask, long status, struct answer *a)
{
	ask.base = caller.stack.base;
	ask.token = p->token;
	http_ask(&ask, a);
	cr_assert_eq(
	    a->status, status, "%s: %ld %s", ask.path, a->status, a->body.p);
}

/* Brings a file as it is. */
static void
put(const char *query, const char *type, const char *body, long status,
    struct answer *a)
{
	char path[256];

	snprintf(path, sizeof(path), ALL "%s", query);
	call(&caller.person,
	    (struct ask){
		.method = "PUT", .path = path, .type = type, .json = body},
	    status, a);
}

static void
expect_content(const char *id, const char *want)
{
	char path[128];
	struct answer a;

	snprintf(path, sizeof(path), ALL "/%s", id);
	call(&caller.person, (struct ask){.path = path}, 200, &a);
	cr_expect_str_eq(answer_text(&a, "content"), want);
	answer_clear(&a);
}

static const char pdf[] =
    "%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n"
    "2 0 obj\n<</Type/Pages/Count 1/Kids[4 0 R]>>\nendobj\n"
    "3 0 obj\n<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>\nendobj\n"
    "4 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R"
    "/Resources<</Font<</F 3 0 R>>>>>>\nendobj\n"
    "5 0 obj\n<</Length 56>>stream\n"
    "BT /F 12 Tf 72 700 Td (The warranty lasts two years.) Tj ET\n"
    "endstream\nendobj\n"
    "trailer\n<</Size 6 /Root 1 0 R>>\n%%EOF\n";

Test(knowledge, files_of_each_kind_become_text)
{
	static const struct {
		const char *query, *type, *body, *mime_type, *title, *content;
	} rows[] = {
	    {"?filename=a.txt", "text/plain", "Plain # text", "text/plain",
		"a.txt", "Plain # text"},
	    {"?filename=b.md", "application/octet-stream", "# Head\n\nText",
		"text/markdown", "b.md", "# Head\n\nText"},
	    {"?filename=c.html", "text/html; charset=utf-8",
		"<title>A page</title><h1>Head</h1><p>Text", "text/html",
		"A page", "# Head\n\nText"},
	    {"?title=Prices", "text/csv", "Name,Price\nTea,3\n", "text/csv",
		"Prices", "Name: Tea; Price: 3"},
	    {"?filename=e.json", "application/json", "{\"tea\":{\"price\":3}}",
		"application/json", "e.json", "tea.price: 3"},
	    {"?filename=f.pdf", "application/pdf", pdf, "application/pdf",
		"f.pdf", "# Page 1\n\nThe warranty lasts two years."},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct answer a, again;
		put(rows[i].query, rows[i].type, rows[i].body, 201, &a);
		cr_expect_str_eq(
		    answer_text(&a, "mime_type"), rows[i].mime_type);
		cr_expect_str_eq(answer_text(&a, "title"), rows[i].title);
		cr_expect_eq(atol(answer_text(&a, "size_bytes")),
		    (long)strlen(rows[i].body));
		expect_content(answer_text(&a, "id"), rows[i].content);
		/* The same file again is the same document. */
		put(rows[i].query, rows[i].type, rows[i].body, 200, &again);
		cr_expect_str_eq(
		    answer_text(&again, "id"), answer_text(&a, "id"));
		answer_clear(&again);
		answer_clear(&a);
	}
}

Test(knowledge, a_page_of_a_pdf_is_found_by_its_number)
{
	struct answer a;

	put("?filename=f.pdf", "application/pdf", pdf, 201, &a);
	answer_clear(&a);
	call(&caller.person, (struct ask){.path = ALL "/search?q=warranty"},
	    200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.heading"), "Page 1");
	answer_clear(&a);
}

#define EDGE "----edge"
#define FORM "multipart/form-data; boundary=" EDGE
#define PART(head, body)                                                      \
	"--" EDGE "\r\nContent-Disposition: form-data; " head "\r\n\r\n" body \
	"\r\n"

Test(knowledge, a_form_brings_a_file_with_its_fields)
{
	struct answer a;

	call(&caller.person,
	    (struct ask){.method = "POST",
		.path = ALL,
		.type = FORM,
		.json = PART("name=\"title\"", "My list") PART(
		    "name=\"metadata\"", "{\"a\":1}") PART("name=\"language\"",
		    "") PART("name=\"file\"; filename=\"C:\\\\x\\\\list.csv\"",
		    "Name,Price\r\nTea,3\r\n") "--" EDGE "--\r\n"},
	    201, &a);
	cr_expect_str_eq(answer_text(&a, "title"), "My list");
	cr_expect_str_eq(answer_text(&a, "filename"), "list.csv");
	cr_expect_str_eq(answer_text(&a, "mime_type"), "text/csv");
	cr_expect_str_eq(answer_text(&a, "metadata.a"), "1");
	expect_content(answer_text(&a, "id"), "Name: Tea; Price: 3");
	answer_clear(&a);
}

Test(knowledge, what_cannot_be_read_is_refused_by_name)
{
	static const struct {
		const char *query, *type, *body;
		long status;
		const char *field;
	} rows[] = {
	    {"", "application/pdf", "no pdf", 422, "file"},
	    {"", "application/json", "{\"a\":", 422, "file"},
	    {"", "text/html", "<p> </p>", 422, "file"},
	    {"", "text/csv", "a\n\"x", 422, "file"},
	    {"", "image/png", "x", 415, ""},
	    {"?filename=x.docx", "application/octet-stream", "x", 415, ""},
	    {"?store_id=x", "text/plain", "x", 422, "store_id"},
	    {"?language=E", "text/plain", "x", 422, "language"},
	    {"?metadata=1", "text/plain", "x", 422, "metadata"},
	    {"", FORM, "--" EDGE "--\r\n", 422, "file"},
	    {"", FORM, "nonsense", 422, "file"},
	    {"", FORM, PART("name=\"file\"", "x"), 422, "file"},
	    {"", FORM,
		PART("name=\"file\"; filename=\"a.txt\"", "x")
		    PART("name=\"other\"", "x") "--" EDGE "--\r\n",
		422, "other"},
	    {"", FORM,
		PART("name=\"file\"; filename=\"\xe9.txt\"", "x") "--" EDGE
								  "--\r\n",
		422, "filename"},
	    {"", FORM,
		PART("name=\"file\"; filename=\"a.txt\"", "x")
		    PART("name=\"\xe9\"", "x") "--" EDGE "--\r\n",
		422, "file"},
	    {"", "text/plain; charset=klingon", "x", 422, "file"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct answer a;
		put(rows[i].query, rows[i].type, rows[i].body, rows[i].status,
		    &a);
		cr_expect_str_eq(answer_text(&a, "field"), rows[i].field,
		    "%zu: %s", i, a.body.p);
		answer_clear(&a);
	}
}

/* Says the JSON and reads the reply as a stream. */
static void
say(const struct person *p, const char *json, struct answer *a)
{
	const struct send send = {
	    .conversation = p->conversation, .json = json};

	call_send(&caller.stack, p, &send, a);
	cr_assert_eq(a->status, 200, "%s", a->body.p);
}

static size_t
count(const struct answer *a, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_events; i++)
		n += strcmp(a->events[i].name, name) == 0;
	return n;
}

static void
bring_two(void)
{
	struct answer a;

	put("?title=Warranty", "text/plain",
	    "The warranty lasts two years from the day of purchase.", 201, &a);
	answer_clear(&a);
	put("?title=Returns", "text/plain",
	    "Whoever returns a kettle under warranty pays nothing.", 201, &a);
	answer_clear(&a);
}

/* The stand-in says the question again, marks and all. */
#define ASKED \
	"How long is the warranty of a kettle? As [1] says, x[2], not [9]."

Test(knowledge, what_a_reply_cites_is_said_logged_and_stored)
{
	struct answer live, log, stored;
	char path[128], data[8192] = "";

	bring_two();
	say(&caller.person,
	    "{\"stream\":true,\"content\":\"[[chunk=1]]" ASKED "\"}", &live);
	cr_expect(answer_ends_with(&live, "done"));
	cr_expect_eq(count(&live, "citation"), 1, "%s", live.body.p);
	cr_expect_str_eq(answer_event_text(&live, "citation", "number"), "1");
	size_t at =
	    (size_t)atol(answer_event_text(&live, "citation", "position"));
	cr_expect_eq(strncmp(live.text.p + at, "[1]", 3), 0);
	for (size_t i = 0; i < live.n_events; i++)
		if (!strcmp(live.events[i].name, "citation"))
			snprintf(data, sizeof(data), "%s", live.events[i].data);
	cr_expect_str_eq(
	    answer_event_text(&live, "done", "used_documents.0.cited"), "true");
	cr_expect_str_eq(
	    answer_event_text(&live, "done", "used_documents.1.cited"),
	    "false");
	const char *id = answer_event_text(&live, "done", "id");
	/* Who reads it later sees the same. */
	snprintf(path, sizeof(path), API "/messages/%s/stream", id);
	call(&caller.person, (struct ask){.path = path}, 200, &log);
	cr_expect_eq(count(&log, "citation"), 1, "%s", log.body.p);
	for (size_t i = 0; i < log.n_events; i++)
		if (!strcmp(log.events[i].name, "citation"))
			cr_expect_str_eq(log.events[i].data, data);
	snprintf(path, sizeof(path), API "/messages/%s", id);
	call(&caller.person, (struct ask){.path = path}, 200, &stored);
	cr_expect_str_eq(
	    answer_text(&stored, "used_documents.0.citations.0.position"),
	    answer_event_text(&live, "citation", "position"));
	cr_expect_str_eq(answer_text(&stored, "used_documents.0.chunk_id"),
	    answer_event_text(&live, "citation", "chunk_id"));
	answer_clear(&live);
	answer_clear(&log);
	answer_clear(&stored);
}

Test(knowledge, who_wants_no_documents_is_given_none)
{
	struct answer a;

	bring_two();
	say(&caller.person,
	    "{\"stream\":true,\"documents\":false,\"content\":\"" ASKED "\"}",
	    &a);
	cr_expect_eq(count(&a, "citation"), 0);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "used_documents.0.number"), "");
	answer_clear(&a);
}

/* Says it of the caller's conversation. */
static void
set(const char *method, const char *path, const char *json)
{
	struct answer a;

	call(&caller.person,
	    (struct ask){.method = method, .path = path, .json = json}, 200,
	    &a);
	answer_clear(&a);
}

/* Asks; is anything looked for, and may the model look? */
static void
expect_documents(const char *said, bool are_wanted)
{
	static const char tool[] = "[[tool=search_documents "
				   "args={\\\"query\\\":\\\"kettle\\\"}]] ";
	char json[512];
	struct answer a;

	snprintf(json, sizeof(json),
	    "{\"stream\":true,%s\"content\":\"" ASKED "\"}", said);
	say(&caller.person, json, &a);
	cr_expect_eq(count(&a, "citation"), are_wanted, "%s", said);
	answer_clear(&a);
	snprintf(json, sizeof(json),
	    "{\"stream\":true,%s\"content\":\"%sDoes it hiss?\"}", said, tool);
	say(&caller.person, json, &a);
	cr_expect_eq(strstr(a.body.p, "unknown_tool") == NULL, are_wanted,
	    "%s: %s", said, a.body.p);
	answer_clear(&a);
}

/* The request's word, then the conversation's, then the store's. */
Test(knowledge, the_nearest_word_on_documents_counts)
{
	char path[128], sql[512], store[40], ignored[64], body[128];

	bring_two();
	snprintf(path, sizeof(path), API "/conversations/%s",
	    caller.person.conversation);
	expect_documents("", true);
	set("PATCH", path, "{\"documents\":false}");
	expect_documents("", false);
	expect_documents("\"documents\":true,", true);

	id_make(store);
	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.stores (id, slug, name, is_open, settings) VALUES"
	    " ('%s', 'n%.8s%.4s', 'Shop', true, '{\"documents\": false}')"
	    " RETURNING id",
	    store, store + 24, store + 9);
	db_value(sql, NULL, ignored, sizeof(ignored));
	snprintf(body, sizeof(body), "{\"documents\":null,\"store_id\":\"%s\"}",
	    store);
	set("PATCH", path, body);
	expect_documents("", false);
	expect_documents("\"documents\":true,", true);
	set("PATCH", path, "{\"documents\":true}");
	expect_documents("", true);
	expect_documents("\"documents\":false,", false);
}

Test(knowledge, who_left_a_store_is_shown_nothing_more_of_it)
{
	struct person member;
	char sql[512], ignored[64], store[40], body[512];
	struct answer a;

	person_make(&caller.stack, &member);
	id_make(store);
	snprintf(sql, sizeof(sql),
	    "WITH s AS (INSERT INTO chat.stores (id, slug, name) VALUES ('%s',"
	    " 'k%.8s%.4s', 'Shop') RETURNING id) SELECT id FROM s",
	    store, store + 24, store + 9);
	db_value(sql, NULL, ignored, sizeof(ignored));
	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.store_members (user_id, store_id, role) VALUES"
	    " ('%s', '%s', 'manager'), ('%s', '%s', 'member') RETURNING 1",
	    caller.person.user_id, store, member.user_id, store);
	db_value(sql, NULL, ignored, sizeof(ignored));
	snprintf(body, sizeof(body), "?store_id=%s", store);
	put(body, "text/plain", "The warranty of kettles lasts nine years.",
	    201, &a);
	answer_clear(&a);
	say(&member, "{\"stream\":true,\"content\":\"" ASKED "\"}", &a);
	cr_expect_eq(count(&a, "citation"), 1, "%s", a.body.p);
	answer_clear(&a);
	snprintf(sql, sizeof(sql),
	    "DELETE FROM chat.store_members WHERE user_id = '%s' RETURNING 1",
	    member.user_id);
	db_value(sql, NULL, ignored, sizeof(ignored));
	say(&member, "{\"stream\":true,\"content\":\"" ASKED "\"}", &a);
	cr_expect_eq(count(&a, "citation"), 0, "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "used_documents.0.number"), "");
	answer_clear(&a);
}

/* Reads a file of the benchmark, NUL-terminated. */
static char *
slurp(const char *name)
{
	const char *src = getenv("srcdir");
	char path[512];
	long n;

	snprintf(path, sizeof(path), "%s/tests/bench/retrieval/%s",
	    src ? src : ".", name);
	FILE *f = fopen(path, "r");
	cr_assert(f, "%s", path);
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	char *text = calloc(1, (size_t)n + 1);
	cr_assert(text);
	cr_assert_eq(fread(text, 1, (size_t)n, f), (size_t)n);
	fclose(f);
	return text;
}

/* White space as one space, in place. */
static void
squeeze(char *text)
{
	char *to = text;

	for (char *p = text; *p; p++) {
		bool is_space = strchr(" \n\t", *p) != NULL;
		if (!is_space)
			*to++ = *p;
		else if (to > text && to[-1] != ' ')
			*to++ = ' ';
	}
	*to = '\0';
}

/* Is one of the known texts ("a | b") in one of the first five? */
static bool
is_answered(const struct answer *a, char *known)
{
	for (int i = 0; i < 5; i++) {
		char path[32], *rest = known, *one;
		snprintf(path, sizeof(path), "data.%d.content", i);
		char *content = strdup(answer_text(a, path));
		char *copy = strdup(rest), *next = copy;
		bool is_found = false;
		squeeze(content);
		while (next && !is_found) {
			one = next;
			next = strstr(one, " | ");
			if (next) {
				*next = '\0';
				next += 3;
			}
			is_found = strstr(content, one) != NULL;
		}
		free(copy);
		free(content);
		if (is_found)
			return true;
	}
	return false;
}

Test(knowledge, questions_find_the_passages_that_answer_them)
{
	static const char *const texts[] = {
	    "constitution.md", "declaration.md", "jargon.md"};
	char *questions = slurp("questions.tsv"), *save = NULL;
	int asked = 0, answered = 0;
	struct answer a;

	for (size_t i = 0; i < 3; i++) {
		char *text = slurp(texts[i]);
		put("", "text/markdown", text, 201, &a);
		answer_clear(&a);
		free(text);
	}
	for (char *line = strtok_r(questions, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char path[1024], *known = strchr(line, '\t');
		CURL *curl = curl_easy_init();
		cr_assert(known && curl);
		*known++ = '\0';
		char *q = curl_easy_escape(curl, line, 0);
		snprintf(path, sizeof(path), ALL "/search?limit=5&q=%s", q);
		curl_free(q);
		curl_easy_cleanup(curl);
		call(&caller.person, (struct ask){.path = path}, 200, &a);
		asked++;
		answered += is_answered(&a, known);
		answer_clear(&a);
	}
	free(questions);
	cr_expect_eq(asked, 100);
	cr_expect_geq(answered, 80, "%d of %d", answered, asked);
}
