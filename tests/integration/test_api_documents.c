/*
 * Documents through a real nginx: stored once, cut into passages that cover
 * them, found by their words, changed, deleted; a store's read by its members
 * and written by its managers; nobody else's business.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "base/id.h"
#include "base/json_write.h"
#include "stack.h"

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_DOCUMENT_MAX_BYTES=300000"}};

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

TestSuite(documents, .init = setup, .fini = teardown, .timeout = 120);

#define ALL API "/documents"

/* Asks as `p`; fails unless the status is the wanted one. */
static void
call(const struct person *p, const char *method, const char *path,
    const char *json, long status, struct answer *a)
{
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json};

	http_ask(&ask, a);
	cr_assert_eq(a->status, status, "%s %s: %ld %s", method, path,
	    a->status, a->body.p);
}

/* The path of a document, or of what is below it. */
static const char *
path_of(const char *id, const char *below)
{
	static char path[4][512];
	static int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), ALL "/%s%s", id, below);
	return p;
}

static void
bring(const struct person *p, const char *json, long status, char out_id[40])
{
	struct answer a;

	call(p, "POST", ALL, json, status, &a);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

static void
expect(const struct person *p, const char *method, const char *path,
    const char *json, long status)
{
	struct answer a;

	call(p, method, path, json, status, &a);
	answer_clear(&a);
}

/* A store with these members; writes its id. */
static void
make_store(const struct person *manager, const struct person *member,
    char out_id[40], char out_slug[40])
{
	char sql[512], ignored[64];

	id_make(out_id);
	snprintf(out_slug, 40, "s%.8s%.4s", out_id + 24, out_id + 9);
	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.stores (id, slug, name) VALUES ('%s', '%s', "
	    "'Shop') RETURNING id",
	    out_id, out_slug);
	db_value(sql, NULL, ignored, sizeof(ignored));
	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.store_members (user_id, store_id, role) VALUES "
	    "('%s', '%s', 'manager'), ('%s', '%s', 'member') RETURNING 1",
	    manager->user_id, out_id, member->user_id, out_id);
	db_value(sql, NULL, ignored, sizeof(ignored));
	cr_assert_str_eq(ignored, "1");
}

Test(documents, one_is_stored_cut_and_read_again)
{
	struct answer a;
	char id[40];

	call(&caller.person, "POST", ALL,
	    "{\"title\":\"Manual\",\"mime_type\":\"text/markdown\","
	    "\"language\":\"en\",\"metadata\":{\"a\":1},"
	    "\"content\":\"# Start\\nPress the gr\\u00fcn button.\\n"
	    "## Stop\\nPull the plug.\\n\"}",
	    201, &a);
	snprintf(id, sizeof(id), "%s", answer_text(&a, "id"));
	cr_expect(id_is_uuid(id));
	cr_expect_str_eq(answer_text(&a, "title"), "Manual");
	cr_expect_str_eq(answer_text(&a, "chunk_count"), "2");
	cr_expect_str_eq(answer_text(&a, "status"), "ready");
	cr_expect_str_eq(answer_text(&a, "size_bytes"), "55");
	cr_expect_eq(strlen(answer_text(&a, "sha256")), 64u);
	cr_expect_str_eq(answer_text(&a, "content"), "");
	cr_expect(strstr(answer_header(&a, "Location"), id) != NULL);
	answer_clear(&a);

	call(&caller.person, "GET", path_of(id, ""), NULL, 200, &a);
	cr_expect(strstr(answer_text(&a, "content"), "Pull the plug.\n"));
	answer_clear(&a);
	call(&caller.person, "GET", path_of(id, "/chunks"), NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.heading"), "Start");
	cr_expect_str_eq(answer_text(&a, "data.1.heading"), "Start > Stop");
	cr_expect_str_eq(answer_text(&a, "data.0.start_offset"), "0");
	cr_expect_str_eq(answer_text(&a, "data.0.end_offset"), "32");
	cr_expect_str_eq(answer_text(&a, "data.1.start_offset"), "32");
	cr_expect_str_eq(answer_text(&a, "data.1.end_offset"), "55");
	cr_expect_str_eq(
	    answer_text(&a, "data.1.content"), "## Stop\nPull the plug.\n");
	answer_clear(&a);
}

Test(documents, the_same_content_is_the_same_document)
{
	char first[40], again[40], other[40];

	bring(&caller.person, "{\"title\":\"One\",\"content\":\"Same.\"}", 201,
	    first);
	bring(&caller.person, "{\"title\":\"Two\",\"content\":\"Same.\"}", 200,
	    again);
	cr_expect_str_eq(first, again);
	bring(&caller.person, "{\"content\":\"Same!\"}", 201, other);
	cr_expect_str_neq(first, other);
}

Test(documents, a_title_is_made_where_none_is_given)
{
	struct answer a;

	call(&caller.person, "POST", ALL,
	    "{\"content\":\"  The first\\nline of it.\"}", 201, &a);
	cr_expect_str_eq(answer_text(&a, "title"), "The first line of it.");
	answer_clear(&a);
	call(&caller.person, "POST", ALL,
	    "{\"content\":\"x\",\"filename\":\"notes.txt\"}", 201, &a);
	cr_expect_str_eq(answer_text(&a, "title"), "notes.txt");
	answer_clear(&a);
}

/* A text of many passages, as a JSON body. */
static char *
long_body(size_t bytes)
{
	struct buf text = {0}, body = {0};
	for (unsigned i = 0; text.n < bytes; i++)
		buf_printf(&text, "Sentence number %u says so \xc3\xa9. ", i);
	json_write_open(&body, NULL, '{');
	json_write_text(&body, "content", buf_text(&text));
	json_write_close(&body, '}');
	buf_free(&text);
	return buf_take(&body);
}

Test(documents, the_passages_cover_a_long_text)
{
	char *body = long_body(200000);
	char id[40], value[64], sql[1024];

	bring(&caller.person, body, 201, id);
	free(body);
	/* Bytes that no passage has, and passages that are not as cut. */
	snprintf(sql, sizeof(sql),
	    "SELECT count(*) FILTER (WHERE c.start_offset > c.reached)"
	    " || ' ' || count(*) FILTER (WHERE c.content <> convert_from("
	    "substring(convert_to(d.content, 'UTF8') FROM c.start_offset::int"
	    " + 1 FOR (c.end_offset - c.start_offset)::int), 'UTF8'))"
	    " || ' ' || (max(c.end_offset) = d.size_bytes)"
	    " || ' ' || (count(*) = d.chunk_count AND count(*) > 120)"
	    " FROM (SELECT *, coalesce(lag(end_offset) OVER (ORDER BY"
	    " position), 0) AS reached FROM chat.document_chunks"
	    " WHERE document_id = '%s') c, chat.documents d"
	    " WHERE d.id = '%s' GROUP BY d.id, d.size_bytes, d.chunk_count",
	    id, id);
	db_value(sql, NULL, value, sizeof(value));
	cr_expect_str_eq(value, "0 0 true true", "%s", value);

	char cursor[512] = "", path[1024];
	int n = 0, pages = 0;
	do {
		struct answer a;
		char member[32];
		snprintf(path, sizeof(path), "%s?limit=100%s%s",
		    path_of(id, "/chunks"), *cursor ? "&cursor=" : "", cursor);
		call(&caller.person, "GET", path, NULL, 200, &a);
		for (int i = 0;; i++) {
			snprintf(member, sizeof(member), "data.%d.position", i);
			if (!*answer_text(&a, member))
				break;
			cr_assert_eq(atoi(answer_text(&a, member)), ++n);
		}
		snprintf(cursor, sizeof(cursor), "%s",
		    answer_text(&a, "next_cursor"));
		answer_clear(&a);
		pages++;
	} while (*cursor && pages < 10);
	cr_expect_eq(pages, 2);
	cr_expect_gt(n, 120);
}

Test(documents, one_too_long_is_refused)
{
	char *body = long_body(310000);
	struct answer a;

	call(&caller.person, "POST", ALL, body, 422, &a);
	cr_expect_str_eq(answer_text(&a, "field"), "content");
	answer_clear(&a);
	free(body);
}

Test(documents, a_change_is_a_merge_and_cuts_anew)
{
	char id[40], other[40], value[64];
	struct answer a;

	bring(&caller.person,
	    "{\"title\":\"T\",\"content\":\"Alpha beta.\","
	    "\"metadata\":{\"a\":1,\"b\":{\"c\":2,\"d\":3}}}",
	    201, id);
	bring(&caller.person, "{\"content\":\"Other.\"}", 201, other);
	call(&caller.person, "PATCH", path_of(id, ""),
	    "{\"title\":\"U\",\"metadata\":{\"a\":null,\"b\":{\"c\":4},"
	    "\"e\":[1]}}",
	    200, &a);
	cr_expect_str_eq(answer_text(&a, "title"), "U");
	cr_expect_str_eq(answer_text(&a, "metadata"),
	    "{ \"b\": { \"c\": 4, \"d\": 3 }, \"e\": [ 1 ] }");
	answer_clear(&a);
	call(&caller.person, "PATCH", path_of(id, ""),
	    "{\"content\":\"Gamma delta.\"}", 200, &a);
	cr_expect_str_eq(answer_text(&a, "size_bytes"), "12");
	answer_clear(&a);
	db_value("SELECT string_agg(content, '|') FROM chat.document_chunks"
		 " WHERE document_id = $1::text::uuid",
	    id, value, sizeof(value));
	cr_expect_str_eq(value, "Gamma delta.");
	/* What it was can be brought anew; what it is, is there. */
	bring(&caller.person, "{\"content\":\"Gamma delta.\"}", 200, other);
	cr_expect_str_eq(other, id);
	bring(&caller.person, "{\"content\":\"Alpha beta.\"}", 201, other);
	expect(&caller.person, "PATCH", path_of(id, ""),
	    "{\"content\":\"Other.\"}", 409);
	call(&caller.person, "PATCH", path_of(id, ""), "{\"language\":\"de\"}",
	    200, &a);
	cr_expect_str_eq(answer_text(&a, "language"), "de");
	answer_clear(&a);
	db_value("SELECT language::text FROM chat.document_chunks"
		 " WHERE document_id = $1::text::uuid",
	    id, value, sizeof(value));
	cr_expect_str_eq(value, "german");
}

Test(documents, metadata_does_not_grow_for_ever)
{
	char id[40], json[16500];
	struct answer a;
	int n = 0;

	bring(&caller.person, "{\"content\":\"Grows.\"}", 201, id);
	for (int i = 0; i < 3; i++) {
		snprintf(json, sizeof(json), "{\"metadata\":{\"%d\":\"", i);
		n = (int)strlen(json);
		memset(json + n, 'x', 15000);
		strcpy(json + n + 15000, "\"}}");
		call(&caller.person, "PATCH", path_of(id, ""), json,
		    i < 2 ? 200 : 422, &a);
		if (i == 2)
			cr_expect_str_eq(answer_text(&a, "field"), "metadata");
		answer_clear(&a);
	}
}

Test(documents, a_list_is_paged_and_filtered)
{
	char id[40], body[128], cursor[512] = "", path[1024];
	struct answer a;
	int n = 0;

	for (int i = 0; i < 25; i++) {
		snprintf(body, sizeof(body),
		    "{\"title\":\"Paper %d\",\"content\":\"Text %d\","
		    "\"metadata\":{\"even\":%s}}",
		    i, i, i % 2 ? "false" : "true");
		bring(&caller.person, body, 201, id);
	}
	do {
		snprintf(path, sizeof(path), ALL "?limit=10%s%s",
		    *cursor ? "&cursor=" : "", cursor);
		call(&caller.person, "GET", path, NULL, 200, &a);
		for (int i = 0; i < 10; i++) {
			char member[32], want[32];
			snprintf(member, sizeof(member), "data.%d.title", i);
			if (!*answer_text(&a, member))
				break;
			snprintf(want, sizeof(want), "Paper %d", 24 - n++);
			cr_expect_str_eq(answer_text(&a, member), want);
		}
		snprintf(cursor, sizeof(cursor), "%s",
		    answer_text(&a, "next_cursor"));
		answer_clear(&a);
	} while (*cursor);
	cr_expect_eq(n, 25);

	call(&caller.person, "GET", ALL "?q=APER%2013", NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.title"), "Paper 13");
	cr_expect_str_eq(answer_text(&a, "data.1.title"), "");
	answer_clear(&a);
	call(&caller.person, "GET", ALL "?q=%25", NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.title"), "");
	answer_clear(&a);
	call(&caller.person, "GET",
	    ALL "?metadata=%7B%22even%22:true%7D&limit=100", NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.12.title"), "Paper 0");
	cr_expect_str_eq(answer_text(&a, "data.13.title"), "");
	answer_clear(&a);
}

/* The heading or content of the best passage, and how it was found. */
static void
expect_found(const struct person *p, const char *query, const char *content,
    const char *match)
{
	char path[512];
	struct answer a;

	snprintf(path, sizeof(path), ALL "/search?%s", query);
	call(p, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"), content, "%s: %s",
	    query, a.body.p);
	cr_expect_str_eq(answer_text(&a, "data.0.match"), match, "%s", query);
	answer_clear(&a);
}

Test(documents, a_search_finds_words_stems_and_misspellings)
{
	static const struct {
		const char *query, *content, *match;
	} rows[] = {
	    {"q=invoice", "Invoices are due in thirty days.", "all"},
	    {"q=DAYS+thirty", "Invoices are due in thirty days.", "all"},
	    {"q=%22thirty+days%22", "Invoices are due in thirty days.", "all"},
	    {"q=When+must+the+invoices+be+paid%3F",
		"Invoices are due in thirty days.", "any"},
	    {"q=invioces", "Invoices are due in thirty days.", "similar"},
	    {"q=parsels+abroad", "Parcels go abroad by ship.", "any"},
	    {"q=parsels", "Parcels go abroad by ship.", "similar"},
	    {"q=Haus&language=de", "Viele H\xc3\xa4user stehen leer.", "all"},
	    {"q=zebra", "", ""},
	    {"q=thirty+-days", "", ""},
	    {"q=%27%27+%7C+%26+%21", "", ""},
	};
	char id[40];

	bring(&caller.person,
	    "{\"content\":\"Invoices are due in thirty days.\"}", 201, id);
	bring(&caller.person, "{\"content\":\"Parcels go abroad by ship.\"}",
	    201, id);
	bring(&caller.person,
	    "{\"language\":\"de\","
	    "\"content\":\"Viele H\\u00e4user stehen leer.\"}",
	    201, id);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect_found(&caller.person, rows[i].query, rows[i].content,
		    rows[i].match);
}

Test(documents, a_heading_weighs_more)
{
	char id[40];

	bring(&caller.person,
	    "{\"mime_type\":\"text/markdown\",\"content\":\"# Refunds\\n"
	    "Money comes back.\\n# Other\\nA word on refunds here.\\n\"}",
	    201, id);
	expect_found(&caller.person, "q=refunds",
	    "# Refunds\nMoney comes back.\n", "all");
}

/* Rows that the functions give `p` by themselves, before row level security
 * looks at them again: of search by words, by likeness, and of the list. */
static void
expect_functions(const struct person *p, const char *store, const char *want)
{
	char sql[1024], value[64];

	snprintf(sql, sizeof(sql),
	    "SELECT (SELECT count(*) FROM chat.documents_search("
	    "'opening' || left(s.v, 0), NULL, NULL, 10)) || ' ' ||"
	    " (SELECT count(*) FROM chat.documents_search("
	    "'openinng' || left(s.v, 0), NULL, NULL, 10)) || ' ' ||"
	    " (SELECT count(*) FROM chat.documents_search("
	    "'opening' || left(s.v, 0), '%s', NULL, 10)) || ' ' ||"
	    " (SELECT count(*) FROM chat.documents_find('%s' || left(s.v, 0),"
	    " NULL, NULL, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff',"
	    " 10)) FROM (SELECT set_config('app.user_id', $1, false) AS v"
	    " OFFSET 0) s",
	    store, store);
	db_value(sql, p->user_id, value, sizeof(value));
	cr_expect_str_eq(value, want, "%s gave %s", p->username, value);
}

Test(documents, a_store_is_read_by_members_and_written_by_managers)
{
	struct person member, stranger;
	char store[40], slug[40], id[40], body[256], path[256];
	struct answer a;

	person_make(&caller.stack, &member);
	person_make(&caller.stack, &stranger);
	make_store(&caller.person, &member, store, slug);
	snprintf(body, sizeof(body),
	    "{\"store_id\":\"%s\",\"title\":\"Rules\","
	    "\"content\":\"Opening hours: nine to five.\"}",
	    store);
	bring(&caller.person, body, 201, id);

	/* A member reads it, everywhere, and writes it nowhere. */
	expect(&member, "GET", path_of(id, ""), NULL, 200);
	expect(&member, "GET", path_of(id, "/chunks"), NULL, 200);
	expect_found(
	    &member, "q=opening", "Opening hours: nine to five.", "all");
	expect_found(
	    &member, "q=openinng", "Opening hours: nine to five.", "similar");
	snprintf(path, sizeof(path), "q=opening&store=%s", slug);
	expect_found(&member, path, "Opening hours: nine to five.", "all");
	snprintf(path, sizeof(path), ALL "?store=%s", store);
	call(&member, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), id);
	answer_clear(&a);
	call(&member, "GET", ALL, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), "");
	answer_clear(&a);
	expect(&member, "POST", ALL, body, 403);
	expect(&member, "PATCH", path_of(id, ""), "{\"title\":\"x\"}", 403);
	expect(&member, "PATCH", path_of(id, ""), "{\"content\":\"x\"}", 403);
	expect(&member, "DELETE", path_of(id, ""), NULL, 403);

	expect_functions(&member, slug, "1 1 1 1");

	/* A stranger does not know of it. */
	expect_functions(&stranger, slug, "0 0 0 0");
	expect(&stranger, "GET", path_of(id, ""), NULL, 404);
	expect(&stranger, "GET", path_of(id, "/chunks"), NULL, 404);
	expect(&stranger, "PATCH", path_of(id, ""), "{\"title\":\"x\"}", 404);
	expect(&stranger, "PATCH", path_of(id, ""), "{\"content\":\"x\"}", 404);
	expect(&stranger, "DELETE", path_of(id, ""), NULL, 404);
	expect(&stranger, "POST", ALL, body, 422);
	expect_found(&stranger, "q=opening", "", "");
	snprintf(path, sizeof(path), "q=opening&store=%s", slug);
	expect_found(&stranger, path, "", "");

	/* Another manager writes it; one who is none any more does not. */
	db_value("UPDATE chat.store_members SET role = CASE role WHEN 'member'"
		 " THEN 'manager' ELSE 'member' END"
		 " WHERE store_id = $1::text::uuid RETURNING 1",
	    store, body, sizeof(body));
	call(&member, "PATCH", path_of(id, ""),
	    "{\"content\":\"Closed for ever.\"}", 200, &a);
	answer_clear(&a);
	expect_found(&caller.person, "q=closed", "Closed for ever.", "all");
	expect_found(&caller.person, "q=opening", "", "");
	expect(
	    &caller.person, "PATCH", path_of(id, ""), "{\"title\":\"x\"}", 403);
	expect(&member, "DELETE", path_of(id, ""), NULL, 204);
	expect(&caller.person, "GET", path_of(id, ""), NULL, 404);
}

/* A store's manager A, manager B and a member, and a price list of A's. */
struct shop {
	const struct person *a;
	struct person b, member;
	char store[40], slug[40], body[256], id[40];
};

static void
make_shop(struct shop *s, bool has_other_manager)
{
	char sql[512], ignored[64];

	s->a = &caller.person;
	person_make(&caller.stack, &s->b);
	person_make(&caller.stack, &s->member);
	make_store(s->a, &s->member, s->store, s->slug);
	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.store_members (user_id, store_id, role)"
	    " VALUES ('%s', '%s', '%s') RETURNING 1",
	    s->b.user_id, s->store, has_other_manager ? "manager" : "member");
	db_value(sql, NULL, ignored, sizeof(ignored));
	snprintf(s->body, sizeof(s->body),
	    "{\"store_id\":\"%s\",\"title\":\"Prices\","
	    "\"content\":\"Opening offer: apples for two.\"}",
	    s->store);
	bring(s->a, s->body, 201, s->id);
}

/* Ends A's membership, or A altogether. */
static void
take_away(const struct shop *s, const char *sql)
{
	const char *gap = strstr(sql, "{store}");
	char text[512], value[64];

	if (gap == NULL)
		snprintf(text, sizeof(text), "%s", sql);
	else
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(gap - sql), sql,
		    s->store, gap + strlen("{store}"));
	db_value(text, s->a->user_id, value, sizeof(value));
	cr_assert_str_eq(value, "1", "%s", text);
}

#define REMOVE_MEMBER                                                    \
	"DELETE FROM chat.store_members WHERE store_id = '{store}' AND " \
	"user_id ="                                                      \
	" $1::text::uuid RETURNING 1"
#define REMOVE_ROLE                                                      \
	"UPDATE chat.store_members SET role = 'member' WHERE store_id =" \
	" '{store}' AND user_id = $1::text::uuid RETURNING 1"
#define REMOVE_USER                                             \
	"DELETE FROM auth.users WHERE '{store}' <> '' AND id =" \
	" $1::text::uuid RETURNING 1"

/* What somebody who reads the shop's price list is given. */
static void
expect_read(const struct shop *s, const struct person *p)
{
	static const char offer[] = "Opening offer: apples for two.";
	char path[256];

	expect(p, "GET", path_of(s->id, ""), NULL, 200);
	expect(p, "GET", path_of(s->id, "/chunks"), NULL, 200);
	expect_found(p, "q=apples", offer, "all");
	snprintf(path, sizeof(path), "q=apples&store=%s", s->slug);
	expect_found(p, path, offer, "all");
}

static void
expect_hidden(const struct shop *s, const struct person *p)
{
	struct answer a;

	expect(p, "GET", path_of(s->id, ""), NULL, 404);
	expect(p, "GET", path_of(s->id, "/chunks"), NULL, 404);
	expect(p, "PATCH", path_of(s->id, ""), "{\"title\":\"x\"}", 404);
	expect(p, "PATCH", path_of(s->id, ""), "{\"content\":\"x\"}", 404);
	expect(p, "DELETE", path_of(s->id, ""), NULL, 404);
	expect_found(p, "q=apples", "", "");
	expect_found(p, "q=appels", "", "");
	call(p, "GET", ALL, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), "");
	answer_clear(&a);
	expect_functions(p, s->slug, "0 0 0 0");
}

/* Whose the price list is, and its passages; what the audit log says of it. */
static void
expect_passed(const struct shop *s, const struct person *to, const char *count)
{
	char sql[1024], value[128], want[128];

	snprintf(sql, sizeof(sql),
	    "SELECT d.user_id || ' ' || (SELECT count(*) FROM"
	    " chat.document_chunks c WHERE c.document_id = d.id AND"
	    " c.user_id = d.user_id) || ' ' || (SELECT count(*) FROM audit.log"
	    " l WHERE l.action = 'document.pass' AND l.user_id = d.user_id"
	    " AND l.details ->> 'store_id' = '%s'"
	    " AND l.details -> 'ids' ? d.id::text)"
	    " FROM chat.documents d WHERE d.id = $1::text::uuid",
	    s->store);
	db_value(sql, s->id, value, sizeof(value));
	snprintf(want, sizeof(want), "%s 1 %s", to->user_id, count);
	cr_expect_str_eq(value, want, "%s", value);
}

Test(documents, a_stores_outlive_who_brought_them)
{
	struct shop s;

	make_shop(&s, true);
	take_away(&s, REMOVE_USER);
	expect_passed(&s, &s.b, "1");
	expect_read(&s, &s.b);
	expect_read(&s, &s.member);
	expect_found(
	    &s.member, "q=appels", "Opening offer: apples for two.", "similar");
	expect(&s.b, "PATCH", path_of(s.id, ""), "{\"content\":\"New.\"}", 200);
	person_make(&caller.stack, &caller.person);
}

Test(documents, who_left_a_store_has_nothing_of_it)
{
	struct shop s;
	char own[40];

	make_shop(&s, true);
	take_away(&s, REMOVE_MEMBER);
	expect_passed(&s, &s.b, "1");
	expect_hidden(&s, s.a);
	expect_read(&s, &s.member);
	expect(&s.b, "PATCH", path_of(s.id, ""), "{\"title\":\"New\"}", 200);
	bring(s.a, "{\"content\":\"My apples.\"}", 201, own);
	expect_found(s.a, "q=apples", "My apples.", "all");
	expect(&s.b, "DELETE", path_of(s.id, ""), NULL, 204);
}

Test(documents, who_is_no_manager_any_more_reads_what_they_brought)
{
	struct shop s;

	make_shop(&s, true);
	take_away(&s, REMOVE_ROLE);
	expect_passed(&s, &s.b, "1");
	expect_read(&s, s.a);
	expect(s.a, "PATCH", path_of(s.id, ""), "{\"title\":\"x\"}", 403);
	expect(s.a, "DELETE", path_of(s.id, ""), NULL, 403);
}

Test(documents, without_another_manager_members_alone_read)
{
	struct shop s;

	make_shop(&s, false);
	take_away(&s, REMOVE_MEMBER);
	expect_passed(&s, s.a, "0");
	expect_hidden(&s, s.a);
	expect_read(&s, &s.member);
	expect_read(&s, &s.b);
	expect(&s.b, "PATCH", path_of(s.id, ""), "{\"title\":\"x\"}", 403);
	/* A manager who came later inherits when the user goes. */
	db_value("UPDATE chat.store_members SET role = 'manager'"
		 " WHERE user_id = $1::text::uuid RETURNING 1",
	    s.b.user_id, s.body, sizeof(s.body));
	take_away(&s, REMOVE_USER);
	expect_passed(&s, &s.b, "1");
	expect_read(&s, &s.member);
	person_make(&caller.stack, &caller.person);
}

Test(documents, the_same_of_two_managers_is_one_document_of_the_heir)
{
	struct shop s;
	char again[40], value[64];

	make_shop(&s, true);
	bring(&s.b, s.body, 201, again);
	take_away(&s, REMOVE_MEMBER);
	expect_hidden(&s, s.a);
	expect(&s.b, "GET", path_of(s.id, ""), NULL, 404);
	memcpy(s.id, again, sizeof(again));
	expect_read(&s, &s.b);
	expect_read(&s, &s.member);
	db_value("SELECT details ->> 'passed' || ' ' || (details ->> 'dropped')"
		 " FROM audit.log WHERE action = 'document.pass'"
		 " AND user_id = $1::text::uuid",
	    s.b.user_id, value, sizeof(value));
	cr_expect_str_eq(value, "0 1", "%s", value);
}

Test(documents, a_stores_go_with_it)
{
	struct shop s;
	char value[64];

	make_shop(&s, true);
	db_value(
	    "DELETE FROM chat.stores WHERE id = $1::text::uuid RETURNING 1",
	    s.store, value, sizeof(value));
	expect_hidden(&s, s.a);
	expect_hidden(&s, &s.b);
	db_value("SELECT count(*) FROM audit.log WHERE action = 'document.pass'"
		 " AND details ->> 'store_id' = $1",
	    s.store, value, sizeof(value));
	cr_expect_str_eq(value, "0");
}

Test(documents, another_users_is_not_there)
{
	struct person other;
	char id[40];

	person_make(&caller.stack, &other);
	bring(&caller.person, "{\"content\":\"Secret plans.\"}", 201, id);
	expect(&other, "GET", path_of(id, ""), NULL, 404);
	expect(&other, "GET", path_of(id, "/chunks"), NULL, 404);
	expect(&other, "PATCH", path_of(id, ""), "{\"title\":\"x\"}", 404);
	expect(&other, "DELETE", path_of(id, ""), NULL, 404);
	expect_found(&other, "q=secret", "", "");
	expect_found(&other, "q=sekret", "", "");
	expect(&caller.person, "DELETE", path_of(id, ""), NULL, 204);
	expect(&caller.person, "DELETE", path_of(id, ""), NULL, 404);
	expect_found(&caller.person, "q=secret", "", "");
}

/* It would take longer than the database gives a statement, each time anew. */
Test(documents, too_many_passages_are_refused)
{
	struct buf body = {0};

	buf_puts(&body, "{\"mime_type\":\"text/markdown\",\"content\":\"");
	for (int i = 0; i <= 20000; i++)
		buf_puts(&body, "# a\\nb\\n");
	buf_puts(&body, "\"}");
	expect(&caller.person, "POST", ALL, buf_text(&body), 422);
	buf_free(&body);
}

Test(documents, a_wrong_field_is_named)
{
#define FIELD(l, b, f) ROW(l, b, 422, .code = "invalid_field", .field = f)
#define NEW            "POST " ALL
	static const struct api_row rows[] = {
	    FIELD(NEW, "{}", "content"),
	    FIELD(NEW, "{\"content\":null}", "content"),
	    FIELD(NEW, "{\"content\":7}", "content"),
	    FIELD(NEW, "{\"content\":\" \\n\\t \"}", "content"),
	    FIELD(NEW, "{\"content\":\"\"}", "content"),
	    FIELD(NEW, "{\"content\":\"a\",\"title\":\"\"}", "title"),
	    FIELD(NEW, "{\"content\":\"a\",\"title\":[]}", "title"),
	    FIELD(NEW, "{\"content\":\"a\",\"mime_type\":\"image/png\"}",
		"mime_type"),
	    FIELD(NEW, "{\"content\":\"a\",\"mime_type\":\"\"}", "mime_type"),
	    FIELD(NEW,
		"{\"content\":\"a\",\"mime_type\":\"text/plain text/csv\"}",
		"mime_type"),
	    FIELD(NEW, "{\"content\":\"a\",\"language\":\"EN\"}", "language"),
	    FIELD(NEW, "{\"content\":\"a\",\"language\":\"e\"}", "language"),
	    FIELD(NEW, "{\"content\":\"a\",\"metadata\":[]}", "metadata"),
	    FIELD(NEW, "{\"content\":\"a\",\"metadata\":null}", "metadata"),
	    FIELD(NEW, "{\"content\":\"a\",\"store_id\":\"x\"}", "store_id"),
	    FIELD(NEW,
		"{\"content\":\"a\",\"store_id\":"
		"\"01a202fd-d1cc-7518-a0d5-c4dc7c639c19\"}",
		"store_id"),
	    FIELD(NEW, "{\"content\":\"a\",\"user_id\":\"x\"}", "user_id"),
	    FIELD(NEW, "{\"content\":\"a\",\"status\":\"x\"}", "status"),
	    FIELD("PATCH " ALL "/01a202fd-d1cc-7518-a0d5-c4dc7c639c19",
		"{\"mime_type\":\"text/plain\"}", "mime_type"),
	    FIELD("PATCH " ALL "/01a202fd-d1cc-7518-a0d5-c4dc7c639c19",
		"{\"content\":\" \"}", "content"),
	    FIELD("GET " ALL "?limit=0", NULL, "limit"),
	    FIELD("GET " ALL "?q=", NULL, "q"),
	    FIELD("GET " ALL "?metadata=1", NULL, "metadata"),
	    FIELD("GET " ALL "?metadata=%5B%5D", NULL, "metadata"),
	    FIELD("GET " ALL "?store=", NULL, "store"),
	    FIELD("GET " ALL "/search", NULL, "q"),
	    FIELD("GET " ALL "/search?q=", NULL, "q"),
	    FIELD("GET " ALL "/search?q=a&limit=51", NULL, "limit"),
	    FIELD("GET " ALL "/search?q=a&language=1", NULL, "language"),
	    ROW("GET " ALL "?cursor=x", NULL, 400, .code = "bad_cursor"),
	    ROW("GET " ALL "/x", NULL, 404, .code = "not_found"),
	    ROW("PATCH " ALL "/x", "{}", 404, .code = "not_found"),
	    ROW("DELETE " ALL "/x", NULL, 404, .code = "not_found"),
	    ROW("GET " ALL "/x/chunks", NULL, 404, .code = "not_found"),
	    ROW("PUT " ALL "/search", "{}", 405, .code = "method_not_allowed"),
	    ROW("GET " ALL, NULL, 401, .code = "token_missing",
		.is_nobody = true),
	    ROW("GET " ALL "/search?q=a", NULL, 401, .code = "token_missing",
		.is_nobody = true),
	};
#undef FIELD

	API_ROWS_RUN(&caller, rows);
}
