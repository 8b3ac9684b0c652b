/*
 * Who makes which vectors, in SQL: what is given out in vain is given up, what
 * a living worker's model has begun is left to it, and of more passages than
 * are compared it is always the newest.
 */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "support/world.h"

#define WORKER "00000000-0000-7000-8000-0000000000c1"
#define OTHER  "00000000-0000-7000-8000-0000000000c2"
#define LEASE  "00000000-0000-7000-8000-0000000000d1"

/* The n-th id of a kind. */
#define MADE_ID(kind, n)                                         \
	"('00000000-0000-7000-" kind "-' || lpad((" n ")::text," \
	" 12, '0'))::uuid"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1; /* each has the database to itself */
	if (!world_provide("natter_test_vectors"))
		abort();
}

static struct world w;

/* A document of two passages. */
static void
setup(void)
{
	world_sql("DELETE FROM chat.workers");
	world_sql("DELETE FROM auth.users");
	world_open(&w, NULL);
	world_sql("INSERT INTO chat.documents (user_id, id, title, content,"
		  " content_sha256, size_bytes) SELECT '%s', " MADE_ID(
		      "8001", "1") ", 'T', 'x', sha256('x'), 1",
	    w.user);
	world_sql("INSERT INTO chat.document_chunks (user_id, id, document_id,"
		  " position, content, start_offset, end_offset, language)"
		  " SELECT '%s', " MADE_ID("8002", "n") ", " MADE_ID(
		      "8001", "1") ", n, 'x', 0, 1, 'english'"
				   " FROM generate_series(1, 2) n",
	    w.user);
}

static void
teardown(void)
{
	world_close(&w);
}

TestSuite(vectors, .init = setup, .fini = teardown, .timeout = 120);

/* A count of what is given out; a lease that is over at once. */
static int64_t
count_claimed(const char *what, const char *model, const char *is_steady)
{
	return world_number(
	    "SELECT count(%s) FROM chat.embeddings_claim('%s', '" WORKER
	    "', '" LEASE "', interval '-1 s', 32, %s)",
	    what, model, is_steady);
}

/* How many passages are given out. */
static int64_t
claim(const char *model)
{
	return count_claimed("chunk_id", model, "true");
}

static int64_t
fail(const char *model, const char *is_refused)
{
	return world_number("SELECT chat.embeddings_fail(e.user_id,"
			    " e.document_id, e.lease, '%s', 'why', %s)::int"
			    " FROM chat.document_embeddings e",
	    model, is_refused);
}

static int64_t
is(const char *what)
{
	return world_number(
	    "SELECT count(*) FROM chat.document_embeddings e WHERE %s", what);
}

static void
embed(const char *model, int n)
{
	world_sql("INSERT INTO chat.chunk_embeddings (user_id, chunk_id,"
		  " model, dimensions, signs, vector) SELECT '%s', " MADE_ID(
		      "8002", "%d") ", '%s', 2, B'11', '{23170,23170}'",
	    w.user, n, model);
}

Test(vectors, what_is_given_out_five_times_in_vain_is_given_up)
{
	for (int i = 0; i < 5; i++)
		cr_expect_eq(claim("m"), 2, "%d", i);
	cr_expect_eq(claim("m"), 0);
	cr_expect_eq(is("failed_model = 'm' AND lease IS NULL"
			" AND error = 'its vectors were never stored'"),
	    1);
	cr_expect_eq(claim("m"), 0);
	/* Another model begins anew, and so does the document. */
	for (int i = 0; i < 5; i++)
		cr_expect_eq(claim("n"), 2, "%d", i);
	cr_expect_eq(claim("n"), 0);
	world_sql("INSERT INTO chat.document_chunks (user_id, id, document_id,"
		  " position, content, start_offset, end_offset, language)"
		  " SELECT '%s', " MADE_ID("8002", "3") ", " MADE_ID(
		      "8001", "1") ", 3, 'x', 0, 1, 'english'",
	    w.user);
	cr_expect_eq(claim("n"), 3);
}

Test(vectors, who_claims_is_told_what_was_given_up)
{
	for (int i = 0; i < 5; i++)
		cr_expect_eq(count_claimed("*", "m", "true"), 2, "%d", i);
	cr_expect_eq(count_claimed("*", "m", "true"), 1);
	cr_expect_eq(count_claimed("*", "m", "true"), 0);
}

/* So that it is not told as a batch to workers of the version before. */
Test(vectors, workers_of_before_are_not_told)
{
	for (int i = 0; i <= 5; i++)
		cr_expect_eq(
		    world_number("SELECT count(*) FROM"
				 " chat.embeddings_claim('m', '" WORKER
				 "', '" LEASE "', interval '-1 s', 32)"),
		    i < 5 ? 2 : 0, "%d", i);
	cr_expect_eq(is("failed_model = 'm'"), 1);
}

Test(vectors, tries_with_one_model_are_not_anothers)
{
	for (int i = 0; i < 4; i++)
		cr_expect_eq(claim("m"), 2, "%d", i);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(claim("n"), 2, "%d", i);
	cr_expect_eq(claim("n"), 0);
}

Test(vectors, each_time_the_lease_is_longer)
{
	int64_t before = 0;

	for (int i = 0; i < 5; i++) {
		int64_t left;

		cr_expect_eq(
		    world_number("SELECT count(*) FROM chat.embeddings_claim("
				 "'m', '" WORKER "', '" LEASE
				 "', interval '90 s', 32, true)"),
		    2);
		left = world_number("SELECT extract(epoch FROM not_before -"
				    " now())::int FROM"
				    " chat.document_embeddings");
		cr_expect_geq(left, before + 80);
		before = left;
	}
}

Test(vectors, what_is_stored_begins_the_count_anew)
{
	for (int i = 0; i < 4; i++)
		cr_expect_eq(claim("m"), 2);
	cr_expect_eq(
	    world_number("SELECT chat.embeddings_store(e.user_id,"
			 " e.document_id, e.lease, 'm', ARRAY[" MADE_ID(
			     "8002", "1") "], '{23170,23170}')::int"
					  " FROM chat.document_embeddings e"),
	    1);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(claim("m"), 1, "%d", i);
	cr_expect_eq(claim("m"), 0);
}

Test(vectors, the_servers_own_failures_do_not_count)
{
	for (int i = 0; i < 12; i++) {
		cr_expect_eq(claim("m"), 2, "%d", i);
		cr_expect_eq(fail("m", "false"), 0);
	}
	cr_expect_eq(is("failures = 0 AND error = 'why'"), 1);
}

Test(vectors, the_fifth_refusal_is_the_last)
{
	for (int i = 1; i <= 5; i++) {
		cr_expect_eq(claim("m"), 2, "%d", i);
		cr_expect_eq(fail("m", "true"), i == 5, "%d", i);
		world_sql("UPDATE chat.document_embeddings"
			  " SET not_before = '-infinity'");
	}
	cr_expect_eq(claim("m"), 0);
	cr_expect_eq(is("failed_model = 'm' AND error = 'why'"), 1);
}

static void
live(const char *model)
{
	world_sql("INSERT INTO chat.workers (id, host, pid, embedding_model,"
		  " seen_at) VALUES ('" OTHER "', 'far', 1, '%s', now())",
	    model);
}

static void
die(void)
{
	world_sql("UPDATE chat.workers SET seen_at = now() - interval '1 min'"
		  " WHERE id = '" OTHER "'");
}

Test(vectors, what_a_living_workers_model_has_made_is_left_to_it)
{
	live("far");
	embed("far", 1);
	embed("far", 2);
	world_sql("UPDATE chat.document_embeddings SET model = 'far'");
	cr_expect_eq(claim("m"), 0);
	die();
	cr_expect_eq(claim("m"), 2);
}

/* Or both would make the same passages in turns. */
Test(vectors, what_a_living_workers_model_has_begun_is_left_to_it)
{
	live("far");
	embed("far", 1);
	cr_expect_eq(claim("m"), 0);
	cr_expect_eq(claim("far"), 1);
	die();
	cr_expect_eq(claim("m"), 2);
}

Test(vectors, what_a_living_workers_model_has_given_up_is_left_alone)
{
	live("far");
	world_sql("UPDATE chat.document_embeddings SET failed_model = 'far',"
		  " failures = 5");
	cr_expect_eq(claim("m"), 0);
	die();
	cr_expect_eq(claim("m"), 2);
}

/* Right after an outage everybody looks dead. */
Test(vectors, nothing_is_taken_over_before_the_others_can_be_heard)
{
	live("m");
	die();
	world_sql(
	    "UPDATE chat.document_embeddings SET worker_id = '" OTHER
	    "', lease = '" LEASE "', not_before = now() + interval '1 h'");
	cr_expect_eq(count_claimed("chunk_id", "m", "false"), 0);
	cr_expect_eq(claim("m"), 2);
}

Test(vectors, no_model_is_forgotten_before_its_workers_can_be_heard)
{
	live("far");
	embed("far", 1);
	die();
	cr_expect_eq(count_claimed("chunk_id", "m", "false"), 0);
	cr_expect_eq(claim("m"), 2);
}

/* Whoever comes first; so new ones are made wherever hosts differ. */
Test(vectors, what_nobody_has_begun_is_anybodys)
{
	live("far");
	cr_expect_eq(claim("m"), 2);
}

Test(vectors, who_claims_is_known_by_its_model)
{
	world_sql("INSERT INTO chat.workers (id, host, pid) VALUES ('" WORKER
		  "', 'here', 2)");
	(void)claim("m");
	cr_expect_eq(
	    world_number("SELECT count(*) FROM chat.workers"
			 " WHERE id = '" WORKER "' AND embedding_model = 'm'"),
	    1);
}

/* One more than are compared, of which the last is like the question. */
static void
fill(const char *store)
{
	world_sql("INSERT INTO chat.document_chunks (user_id, id, document_id,"
		  " store_id, position, content, start_offset, end_offset,"
		  " language) SELECT '%s', " MADE_ID("8003", "n") ", " MADE_ID(
		      "8001", "1") ", %s, 10 + n, 'x', 0, 1, 'english'"
				   " FROM generate_series(1, 20001) n",
	    w.user, store);
	world_sql("INSERT INTO chat.chunk_embeddings (user_id, chunk_id,"
		  " store_id, model, dimensions, signs, vector) SELECT '%s'"
		  ", " MADE_ID("8003",
		      "n") ", %s, 'm', 2, chat.vector_signs(x.v), x.v"
			   " FROM generate_series(1, 20001) n"
			   " CROSS JOIN LATERAL (SELECT CASE n WHEN 20001"
			   " THEN '{23170,23170}'::smallint[]"
			   " ELSE '{-23170,-23170}' END AS v) x",
	    w.user, store);
}

static int64_t
near(const char *own, const char *stores)
{
	return world_number("SELECT count(*) FROM chat.passages_near('%s', %s,"
			    " '%s', 'm', '{23170,23170}', 0.5, 50)",
	    w.user, own, stores);
}

Test(vectors, the_newest_of_ones_own_are_compared)
{
	fill("NULL");
	cr_expect_eq(near("true", "{}"), 1);
}

Test(vectors, the_newest_of_a_store_are_compared)
{
#define STORE "00000000-0000-7000-8000-0000000000b1"
	world_sql("INSERT INTO chat.stores (id, slug, name) VALUES ('" STORE
		  "', 'shop', 'Shop') ON CONFLICT DO NOTHING");
	fill("'" STORE "'");
	cr_expect_eq(near("false", "{" STORE "}"), 1);
}
