/*
 * Vectors and a Postgres that is away or takes none: no answer waits for it,
 * and what the server has made is not asked of it for ever.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <libpq-fe.h>

#include "admin.h"
#include "calls.h"
#include "command.h"
#include "follow_call.h"
#include "library.h"
#include "stores.h"

#define CAR "The car stands in the garage."

static struct library lib;
static struct stores stores;

static void
open_with(const char *first, const char *second)
{
	const char *const settings[] = {"CHAT_WORKERS=1", first, second, NULL};
	char *url;

	stores_start(&stores, NULL);
	url = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", url, 1);
	free(url);
	library_open(&lib, settings);
}

static void
teardown(void)
{
	server_thaw(&stores.postgres);
	kill(lib.stack.standin, SIGCONT);
	library_close(&lib);
	stores_stop(&stores);
}

TestSuite(embeddings_stores, .fini = teardown, .timeout = 240);

static void
bring(const char *content)
{
	char json[256];

	snprintf(json, sizeof(json), "{\"title\":\"T\",\"content\":\"%s\"}",
	    content);
	library_bring(&lib, &lib.reader, json, NULL);
}

static void
run(const char *sql)
{
	PGconn *c = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));
	PGresult *r = PQexec(c, sql);

	cr_assert(PQresultStatus(r) == PGRES_COMMAND_OK, "%s: %s", sql,
	    PQerrorMessage(c));
	PQclear(r);
	PQfinish(c);
}

static bool
is_begun(void *arg)
{
	(void)arg;
	return strcmp(library_value(&lib.reader,
			  "SELECT count(*) FROM chat.running_replies"
			  " WHERE user_id = $1::text::uuid"),
		   "1") == 0;
}

static bool
is_model_asked(void *arg)
{
	(void)arg;
	return stack_model_count(&lib.stack, "chat_requests") > 0;
}

/* It goes away between the question's vector and what is near to it. */
Test(embeddings_stores, a_model_is_asked_while_postgres_is_away)
{
	struct call c = {0};
	const struct answer *a;

	open_with("CHAT_PG_TIMEOUT=60000", "CHAT_EMBEDDING_TIMEOUT=5000");
	bring(CAR);
	library_wait(&lib.reader, LIBRARY_MODEL);
	kill(lib.stack.standin, SIGSTOP);
	call_say(&c, &lib.stack, &lib.reader, "the car", 0);
	cr_assert(wait_until(is_begun, NULL, 30000));
	server_freeze(&stores.postgres);
	kill(lib.stack.standin, SIGCONT);
	cr_expect(wait_until(is_model_asked, NULL, 40000));
	server_thaw(&stores.postgres);
	a = call_join(&c);
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	cr_expect(library_sent(&lib, "/_last", CAR), "its words find it");
	call_clear(&c);
}

static bool
is_being_made(void *arg)
{
	return stack_model_count(&lib.stack, "embedding_requests") >
	       *(int *)arg;
}

static bool
is_leased(void *arg)
{
	(void)arg;
	return strcmp(library_value(&lib.reader,
			  "SELECT count(lease) FROM chat.document_embeddings"
			  " WHERE user_id = $1::text::uuid"),
		   "1") == 0;
}

#define FAILURES "natter_store_failures_total{store=\"postgres\""

/* Several rounds of the ledger: a round asks for five things at most, and
 * stores what waits. */
static bool
has_tried_in_vain(void *before)
{
	return call_metric(&lib.stack, FAILURES) >= *(double *)before + 12;
}

Test(embeddings_stores, vectors_wait_for_a_postgres_that_is_away)
{
	int before = 0;
	double failures;

	open_with(NULL, NULL);
	kill(lib.stack.standin, SIGSTOP);
	bring(CAR);
	cr_assert(wait_until(is_leased, NULL, 30000));
	server_stop(&stores.postgres, SIGINT);
	kill(lib.stack.standin, SIGCONT);
	cr_assert(wait_until(is_being_made, &before, 30000));
	cr_assert(wait_until(stack_model_is_heard, &lib.stack, 30000));
	failures = call_metric(&lib.stack, FAILURES);
	cr_assert(wait_until(has_tried_in_vain, &failures, 30000));
	cr_assert(server_start_again(&stores.postgres));
	library_wait(&lib.reader, LIBRARY_MODEL);
	cr_expect_eq(stack_model_count(&lib.stack, "embedding_requests"), 1);
}

/* Its pause is over. */
static const char *
hasten(void)
{
	run("UPDATE chat.document_embeddings SET not_before = '-infinity'"
	    " WHERE lease IS NULL");
	return library_value(&lib.reader,
	    "SELECT failures || ' ' || failed_model || ' ' ||"
	    " (error LIKE '%only_small%') FROM chat.document_embeddings"
	    " WHERE user_id = $1::text::uuid");
}

static bool
is_given_up(void *arg)
{
	(void)arg;
	return strcmp(hasten(), "5 " LIBRARY_MODEL " true") == 0;
}

static bool
has_one_vector(void *arg)
{
	(void)arg;
	return strcmp(library_value(&lib.reader,
			  "SELECT count(*) FROM chat.chunk_embeddings"
			  " WHERE user_id = $1::text::uuid"),
		   "1") == 0;
}

Test(embeddings_stores, what_cannot_be_stored_is_given_up)
{
	struct command_end end;

	open_with(NULL, NULL);
	run("ALTER TABLE chat.chunk_embeddings ADD CONSTRAINT only_small"
	    " CHECK (dimensions = 1)");
	bring(CAR);
	cr_assert(wait_until(is_given_up, NULL, 60000), "%s", hasten());
	cr_expect_eq(stack_model_count(&lib.stack, "embedding_requests"), 5);
	setenv("CHAT_EMBEDDING_MODEL", LIBRARY_MODEL, 1);
	end = RUN(admin_natterctl(), "embeddings");
	cr_expect(strstr(end.out, "1 given up") != NULL, "%s", end.out);
	cr_expect(strstr(end.out, "only_small") != NULL, "%s", end.out);
	command_end_clear(&end);
	/* Others get theirs. */
	run("ALTER TABLE chat.chunk_embeddings DROP CONSTRAINT only_small");
	bring("The cat sleeps.");
	cr_assert(wait_until(has_one_vector, NULL, 30000));
	cr_expect_eq(stack_model_count(&lib.stack, "embedding_requests"), 6);
}
