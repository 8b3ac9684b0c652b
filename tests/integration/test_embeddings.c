/*
 * Vectors through a real nginx: passages get theirs after an upload and anew
 * after a change or with another model; a question finds by meaning, in a
 * search and in what a model is told; nobody finds what they may not read; and
 * nothing of it happens where no model is set. The stand-in's vectors are bags
 * of words, to which "automobile" is "car".
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "admin.h"
#include "command.h"
#include "library.h"

#define CAR   "The car stands in the garage."
#define BREAD "Bread is baked in the oven."

static struct library lib;

static void
teardown(void)
{
	if (lib.stack.base[0] != '\0')
		library_close(&lib);
}

TestSuite(embeddings, .fini = teardown, .timeout = 240);

static void
bring(const struct person *p, const char *content, char out_id[40])
{
	char json[1024];

	snprintf(json, sizeof(json),
	    "{\"language\":\"en\",\"title\":\"T\",\"content\":\"%s\"}",
	    content);
	library_bring(&lib, p, json, out_id);
}

static void
open_with(const char *first, const char *second)
{
	const char *const settings[] = {first, second, NULL};

	library_open(&lib, settings);
	bring(&lib.reader, CAR, NULL);
	bring(&lib.reader, BREAD, NULL);
	library_wait(&lib.reader, LIBRARY_MODEL);
}

/* The best passage of a search, how it was found, and what became of the
 * question's vector; "" for none. */
static void
expect_found(const struct person *p, const char *query, const char *content,
    const char *match, const char *embedding)
{
	struct answer a;

	library_search(&lib, p, query, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"), content, "%s: %s",
	    query, a.body.p);
	cr_expect_str_eq(answer_text(&a, "data.0.match"), match, "%s", query);
	cr_expect_str_eq(answer_text(&a, "embedding"), embedding, "%s", query);
	answer_clear(&a);
}

Test(embeddings, a_search_finds_by_meaning_and_shows_each_part)
{
	struct answer a;

	open_with(NULL, NULL);
	library_search(&lib, &lib.reader, "q=automobile", &a);
	cr_expect_str_eq(
	    answer_text(&a, "data.0.content"), CAR, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "data.1.content"), "");
	cr_expect_str_eq(answer_text(&a, "data.0.match"), "meaning");
	cr_expect_str_eq(answer_text(&a, "embedding"), "used");
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.full_text"), "");
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.embedding.rank"), "1");
	cr_expect_float_eq(
	    atof(answer_text(&a, "data.0.score")), 1.0 / 61, 1e-6);
	/* One of six words that count alike, and the title. */
	cr_expect_float_eq(
	    atof(answer_text(&a, "data.0.ranking.embedding.score")), 0.33, 0.1,
	    "%s", a.body.p);
	answer_clear(&a);

	/* Both parts agree on the bread, and the car is not like it. */
	library_search(&lib, &lib.reader, "q=bread+oven", &a);
	cr_expect_str_eq(
	    answer_text(&a, "data.0.content"), BREAD, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "data.0.match"), "all");
	cr_expect_float_eq(
	    atof(answer_text(&a, "data.0.score")), 2.0 / 61, 1e-6);
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.full_text.rank"), "1");
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.words.rank"), "1");
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.stems.rank"), "1");
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.trigrams"), "");
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.headings"), "");
	answer_clear(&a);
	library_search(&lib, &lib.reader, "q=garaeg", &a);
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.trigrams.rank"), "1",
	    "%s", a.body.p);
	answer_clear(&a);
}

Test(embeddings, a_model_is_told_what_is_near)
{
	char path[128];
	const struct ask shown = {.path = path};
	struct answer a, context;

	open_with(NULL, NULL);
	person_say(&lib.stack, &lib.reader, "automobile?", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect(library_sent(&lib, "/_last", CAR));
	cr_expect_not(library_sent(&lib, "/_last", BREAD));
	snprintf(path, sizeof(path), "/api/v1/messages/%s/context",
	    answer_event_text(&a, "done", "id"));
	library_ask(&lib, &lib.reader, &shown, 200, &context);
	cr_expect_str_eq(
	    answer_text(&context, "exact"), "true", "%s", context.body.p);
	cr_expect(strstr(context.body.p, CAR) != NULL);
	answer_clear(&context);
	answer_clear(&a);

	/* Words and meaning together: the better of both comes first. */
	person_say(&lib.stack, &lib.reader, "bread automobile", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect(library_sent(&lib, "/_last", BREAD));
	cr_expect(library_sent(&lib, "/_last", CAR));
	answer_clear(&a);

	/* Like nothing: no passage is told for its own sake. */
	person_say(&lib.stack, &lib.reader, "zebra", &a);
	cr_expect(answer_ends_with(&a, "done"));
	cr_expect_not(library_sent(&lib, "/_last", CAR));
	cr_expect_not(library_sent(&lib, "/_last", BREAD));
	answer_clear(&a);
	cr_expect_str_eq(
	    library_value(&lib.reader,
		"SELECT jsonb_array_length(used_documents) FROM chat.messages"
		" WHERE user_id = $1::text::uuid AND role = 'assistant'"
		" ORDER BY position DESC LIMIT 1"),
	    "0");
}

Test(embeddings, without_a_model_nothing_is_asked)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=1"}};
	struct answer a;

	stack_start(&lib.stack, &o);
	person_make(&lib.stack, &lib.reader);
	bring(&lib.reader, CAR, NULL);
	expect_found(&lib.reader, "q=automobile", "", "", "off");
	expect_found(&lib.reader, "q=car", CAR, "all", "off");
	person_say(&lib.stack, &lib.reader, "the car", &a);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	/* Other tests' hosts, which have a model, share the database. */
	cr_expect_eq(stack_model_count(&lib.stack, "embedding_requests"), 0);
}

Test(embeddings, who_has_no_documents_costs_no_request)
{
	/* A request with the question; passages of other tests' people, whose
	 * host has no model, may get their vectors here meanwhile. */
	static const char request[] = "\"input\":[\"automobile\"]";
	struct person other;
	struct answer a;

	open_with(NULL, NULL);
	person_make(&lib.stack, &other);
	expect_found(&other, "q=automobile", "", "", "none");
	person_say(&lib.stack, &other, "automobile", &a);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	cr_expect_not(library_sent(&lib, "/_last", CAR));
	cr_expect_not(library_sent(&lib, "/_bodies", request));
	bring(&other, "Nothing of that kind.", NULL);
	library_wait(&other, LIBRARY_MODEL);
	expect_found(&other, "q=automobile", "", "", "used");
	cr_expect(library_sent(&lib, "/_bodies", request));
}

#define MAKE_STORE                                                        \
	"WITH s AS (INSERT INTO chat.stores (id, slug, name) VALUES ("    \
	"gen_random_uuid(), 's' || left(replace($1::text, '-', ''), 30)," \
	" 'Shop') RETURNING id) INSERT INTO chat.store_members (user_id," \
	" store_id, role) SELECT $1::text::uuid, s.id, 'manager' FROM s"  \
	" RETURNING store_id"

Test(embeddings, a_stores_passages_are_its_members)
{
	struct person member;
	char json[256], sql[256], store[40];

	open_with(NULL, NULL);
	person_make(&lib.stack, &member);
	snprintf(
	    store, sizeof(store), "%s", library_value(&lib.reader, MAKE_STORE));
	snprintf(json, sizeof(json),
	    "{\"store_id\":\"%s\",\"title\":\"T\",\"content\":\"The dog "
	    "barks.\"}",
	    store);
	library_bring(&lib, &lib.reader, json, NULL);
	library_wait(&lib.reader, LIBRARY_MODEL);
	expect_found(&member, "q=canine", "", "", "none");
	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.store_members (user_id, store_id, role) VALUES"
	    " ($1::text::uuid, '%s', 'member') RETURNING 1",
	    store);
	cr_assert_str_eq(library_value(&member, sql), "1");
	expect_found(&member, "q=canine", "The dog barks.", "meaning", "used");
	/* The manager's own are not the member's. */
	expect_found(&member, "q=automobile", "", "", "used");
	snprintf(json, sizeof(json), "q=automobile&store=%s", store);
	expect_found(&lib.reader, json, "", "", "used");
	snprintf(sql, sizeof(sql),
	    "DELETE FROM chat.store_members WHERE user_id = $1::text::uuid"
	    " AND store_id = '%s' RETURNING 1",
	    store);
	cr_assert_str_eq(library_value(&member, sql), "1");
	expect_found(&member, "q=canine", "", "", "none");
}

static bool
is_cached_reply(const struct person *p, const char *json)
{
	char path[128];
	const struct ask say = {.method = "POST", .path = path, .json = json};
	struct answer a;
	bool is_cached;

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p->conversation);
	library_ask(&lib, p, &say, 201, &a);
	is_cached = strcmp(answer_text(&a, "metadata.cached"), "true") == 0;
	answer_clear(&a);
	return is_cached;
}

/* Moves a person into a new conversation of a store. */
static void
enter(struct person *p, const char *store)
{
	const struct ask make = {
	    .method = "POST", .path = "/api/v1/conversations", .json = store};
	struct answer a;

	library_ask(&lib, p, &make, 201, &a);
	snprintf(p->conversation, sizeof(p->conversation), "%s",
	    answer_text(&a, "id"));
	answer_clear(&a);
}

/* The request of the words is everybody's; what the vector finds is not. */
Test(embeddings, an_answer_from_ones_own_passages_is_nobody_elses)
{
	static const char question[] = "{\"content\":\"automobile?\"}";
	struct person other;
	char store[64];

	open_with(NULL, NULL);
	person_make(&lib.stack, &other);
	snprintf(store, sizeof(store), "{\"store_id\":\"%s\"}",
	    library_value(&lib.reader,
		"INSERT INTO chat.stores (id, slug, name, is_open, settings)"
		" VALUES (gen_random_uuid(), 's' || left(replace($1::text,"
		" '-', ''), 30), 'Shop', true, '{\"answer_cache\": true}')"
		" RETURNING id"));
	for (int i = 0; i < 5; i++) {
		enter(&lib.reader, store);
		cr_expect_not(is_cached_reply(&lib.reader, question));
		cr_expect(library_sent(&lib, "/_last", CAR));
		(void)poll(NULL, 0, 100);
	}
	enter(&other, store);
	cr_expect_not(is_cached_reply(&other, question));
	cr_expect_not(library_sent(&lib, "/_last", CAR));
}

Test(embeddings, what_belongs_to_a_person_is_masked)
{
	struct answer a;

	open_with("CHAT_PII_MASK=on", NULL);
	bring(&lib.reader, "Mail anna@example.com about the cat.", NULL);
	library_wait(&lib.reader, LIBRARY_MODEL);
	person_say(&lib.stack, &lib.reader,
	    "Is bob@example.com the automobile's owner?", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
	library_search(&lib, &lib.reader, "q=feline+bob%40example.com", &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"),
	    "Mail anna@example.com about the cat.", "%s", a.body.p);
	answer_clear(&a);
	cr_expect(library_sent(&lib, "/_bodies", "[EMAIL_1]"));
	cr_expect_not(library_sent(&lib, "/_bodies", "anna@example.com"));
	cr_expect_not(library_sent(&lib, "/_bodies", "bob@example.com"));
	cr_expect(library_sent(&lib, "/_last", CAR));
}

Test(embeddings, a_change_and_a_deletion_take_their_vectors_along)
{
	struct answer a;
	char id[40], path[96];
	const struct ask change = {.method = "PATCH",
	    .path = path,
	    .json = "{\"content\":\"The cat sleeps.\"}"};
	const struct ask delete = {.method = "DELETE", .path = path};

	open_with(NULL, NULL);
	bring(&lib.reader, "The dog barks.", id);
	library_wait(&lib.reader, LIBRARY_MODEL);
	expect_found(
	    &lib.reader, "q=canine", "The dog barks.", "meaning", "used");
	snprintf(path, sizeof(path), "/api/v1/documents/%s", id);
	library_ask(&lib, &lib.reader, &change, 200, &a);
	answer_clear(&a);
	library_wait(&lib.reader, LIBRARY_MODEL);
	expect_found(&lib.reader, "q=canine", "", "", "used");
	expect_found(
	    &lib.reader, "q=feline", "The cat sleeps.", "meaning", "used");
	library_ask(&lib, &lib.reader, &delete, 204, &a);
	answer_clear(&a);
	expect_found(&lib.reader, "q=feline", "", "", "used");
	cr_expect_str_eq(
	    library_value(&lib.reader,
		"SELECT (SELECT count(*) FROM chat.chunk_embeddings WHERE"
		" user_id = $1::text::uuid) || ' ' || (SELECT count(*) FROM"
		" chat.document_embeddings WHERE user_id = $1::text::uuid)"),
	    "2 2");
}

Test(embeddings, another_model_makes_them_anew)
{
	open_with(NULL, NULL);
	stack_set(&lib.stack, "CHAT_EMBEDDING_MODEL=embed-2");
	stack_set(&lib.stack, "CHAT_EMBEDDING_DIMENSIONS=64");
	kill(lib.stack.natterd, SIGHUP);
	library_wait(&lib.reader, "embed-2@64");
	cr_expect_str_eq(
	    library_value(&lib.reader,
		"SELECT string_agg(DISTINCT model || ' ' || dimensions || ' '"
		" || cardinality(vector) || ' ' || length(signs), ',')"
		" FROM chat.chunk_embeddings WHERE user_id = $1::text::uuid"),
	    "embed-2@64 64 64 64");
	expect_found(&lib.reader, "q=automobile", CAR, "meaning", "used");
}

Test(embeddings, many_passages_take_many_requests)
{
	struct buf json = {0};
	long before;

	open_with("CHAT_EMBEDDING_BATCH=4", NULL);
	before = stack_model_count(&lib.stack, "embedding_requests");
	buf_puts(&json, "{\"title\":\"Long\",\"mime_type\":\"text/markdown\","
			"\"content\":\"");
	for (int i = 0; i < 18; i++)
		buf_printf(&json, "# Part %d\\nIt is about number%d.\\n", i, i);
	buf_puts(&json, "\"}");
	library_bring(&lib, &lib.reader, buf_text(&json), NULL);
	buf_free(&json);
	library_wait(&lib.reader, LIBRARY_MODEL);
	cr_expect_geq(
	    stack_model_count(&lib.stack, "embedding_requests") - before, 5);
	expect_found(&lib.reader, "q=number7",
	    "# Part 7\nIt is about number7.\n", "all", "used");
}

Test(embeddings, natterctl_tells_what_is_done)
{
	struct command_end end;

	open_with(NULL, NULL);
	setenv("CHAT_EMBEDDING_MODEL", LIBRARY_MODEL, 1);
	end = RUN(admin_natterctl(), "embeddings");
	cr_expect_eq(end.code, 0, "%s", end.err);
	cr_expect(strstr(end.out, LIBRARY_MODEL " ") != NULL, "%s", end.out);
	cr_expect(strstr(end.out, "pending for " LIBRARY_MODEL) != NULL, "%s",
	    end.out);
	command_end_clear(&end);
	setenv("CHAT_EMBEDDING_MODEL", "", 1);
	end = RUN(admin_natterctl(), "embeddings");
	cr_expect(strstr(end.out, "not set") != NULL, "%s", end.out);
	command_end_clear(&end);
}
