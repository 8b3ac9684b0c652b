/*
 * Vectors whose server fails, hangs, lies or is away, and workers that are
 * killed over them: a question is answered by its words, in time, and no
 * passage stays without its vector.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "library.h"

#define CAR "The car stands in the garage."

static struct library lib;

static void
teardown(void)
{
	if (lib.stack.base[0] != '\0')
		library_close(&lib);
}

TestSuite(embeddings_faults, .fini = teardown, .timeout = 240);

static void
open_with(const char *first, const char *second)
{
	const char *const settings[] = {first, second, NULL};

	library_open(&lib, settings);
	library_bring(&lib, &lib.reader,
	    "{\"title\":\"T\",\"content\":\"" CAR "\"}", NULL);
	library_wait(&lib.reader, LIBRARY_MODEL);
}

static const char *const faults[] = {"500", "garbage", "short", "hang", "404"};

/* The words find it all the same. */
Test(embeddings_faults, a_question_is_answered_by_its_words)
{
	char content[64], query[64];
	struct answer a;

	open_with("CHAT_EMBEDDING_TIMEOUT=4000", "CHAT_WORKERS=1");
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		snprintf(
		    content, sizeof(content), "the car #embed=%s", faults[i]);
		person_say(&lib.stack, &lib.reader, content, &a);
		cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
		cr_expect(library_sent(&lib, "/_last", CAR), "%s", content);
		snprintf(
		    query, sizeof(query), "q=car+%%23embed%%3D%s", faults[i]);
		library_search(&lib, &lib.reader, query, &a);
		cr_expect_str_eq(
		    answer_text(&a, "embedding"), "failed", "%s", a.body.p);
		cr_expect_str_eq(answer_text(&a, "data.0.content"), CAR);
		cr_expect_str_eq(
		    answer_text(&a, "data.0.ranking.embedding"), "");
		answer_clear(&a);
		/* One that goes well ends the row of failures. */
		person_say(&lib.stack, &lib.reader, "automobile", &a);
		cr_expect(library_sent(&lib, "/_last", CAR), "%s", a.body.p);
		answer_clear(&a);
	}
	library_search(
	    &lib, &lib.reader, "q=car+automobile+%23embed%3Dnumbers", &a);
	cr_expect_str_eq(answer_text(&a, "embedding"), "used");
	cr_expect_str_eq(
	    answer_text(&a, "data.0.content"), CAR, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "data.0.ranking.embedding.rank"), "1");
	answer_clear(&a);
}

Test(embeddings_faults, a_server_that_keeps_failing_is_left_alone)
{
	struct answer a;

	open_with("CHAT_EMBEDDING_TIMEOUT=4000", "CHAT_WORKERS=1");
	for (int i = 0; i < 3; i++) {
		person_say(&lib.stack, &lib.reader, "car #embed=500", &a);
		cr_expect(answer_ends_with(&a, "done"));
		answer_clear(&a);
	}
	person_say(&lib.stack, &lib.reader, "the car", &a);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	cr_expect_not(
	    library_sent(&lib, "/_bodies", "\"input\":[\"the car\"]"));
	cr_expect(library_sent(&lib, "/_last", CAR));
}

static void
ask_with_fault(const char *fault, int times)
{
	struct answer a;
	char content[64];

	snprintf(content, sizeof(content), "car #embed=%s", fault);
	for (int i = 0; i < times; i++) {
		person_say(&lib.stack, &lib.reader, content, &a);
		cr_expect(answer_ends_with(&a, "done"));
		answer_clear(&a);
	}
}

/* Has the next question, which is new, a vector? */
static bool
is_asked(void)
{
	static int n;
	char question[64], request[96];
	struct answer a;

	snprintf(question, sizeof(question), "automobile %d", ++n);
	snprintf(request, sizeof(request), "\"input\":[\"%s\"]", question);
	person_say(&lib.stack, &lib.reader, question, &a);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	return library_sent(&lib, "/_bodies", request);
}

/* What is about the question, and what is about the server. */
Test(embeddings_faults, a_question_that_is_refused_is_no_failure_of_the_server)
{
	static const char *const about_it[] = {"400", "413", "422"};

	open_with("CHAT_EMBEDDING_TIMEOUT=500", "CHAT_WORKERS=1");
	for (size_t i = 0; i < sizeof(about_it) / sizeof(about_it[0]); i++) {
		ask_with_fault(about_it[i], 4);
		cr_expect(is_asked(), "%s", about_it[i]);
	}
	ask_with_fault("429", 2);
	ask_with_fault("400", 1);
	ask_with_fault("401", 1);
	cr_expect_not(is_asked());
}

Test(embeddings_faults, a_server_that_talks_nonsense_is_left_alone)
{
	open_with("CHAT_EMBEDDING_TIMEOUT=500", "CHAT_WORKERS=1");
	ask_with_fault("garbage", 3);
	cr_expect_not(is_asked());
}

/* What is refused holds up nobody, and is given up in the end. */
Test(embeddings_faults, a_document_that_is_refused_holds_up_no_other)
{
	open_with(NULL, NULL);
	library_bring(&lib, &lib.reader,
	    "{\"title\":\"Bad\",\"content\":\"It says #embed=400.\"}", NULL);
	library_bring(&lib, &lib.reader,
	    "{\"title\":\"Good\",\"content\":\"It says nothing.\"}", NULL);
	for (int i = 0; i < 600; i++) {
		struct timespec pause = {.tv_nsec = 100000000};

		if (strcmp(
			library_value(&lib.reader,
			    "SELECT string_agg(d.title || ' ' || (e.model <> "
			    "'')"
			    " || ' ' || (e.failures > 0) || ' ' || e.error, ','"
			    " ORDER BY d.title) FROM chat.documents d"
			    " JOIN chat.document_embeddings e ON e.document_id "
			    "="
			    " d.id WHERE d.user_id = $1::text::uuid"),
			"Bad false true the server answered 400,Good true false"
			" ,T true false ") == 0)
			break;
		cr_assert_lt(i, 599, "%s",
		    library_value(&lib.reader,
			"SELECT jsonb_agg(to_jsonb(e)) FROM "
			"chat.document_embeddings e WHERE "
			"e.user_id = $1::text::uuid"));
		nanosleep(&pause, NULL);
	}
	cr_expect_str_eq(
	    library_value(&lib.reader,
		"UPDATE chat.document_embeddings SET failures = 4, not_before ="
		" '-infinity' WHERE user_id = $1::text::uuid AND failures > 0"
		" RETURNING failures"),
	    "4");
	for (int i = 0; i < 600; i++) {
		struct timespec pause = {.tv_nsec = 100000000};

		if (strcmp(
			library_value(&lib.reader,
			    "SELECT failed_model FROM chat.document_embeddings"
			    " WHERE user_id = $1::text::uuid AND failures > 4"),
			LIBRARY_MODEL) == 0)
			break;
		cr_assert_lt(i, 599);
		nanosleep(&pause, NULL);
	}
}

Test(embeddings_faults, documents_wait_for_a_server_that_is_away)
{
	open_with(NULL, NULL);
	stack_model_end(&lib.stack);
	library_bring(&lib, &lib.reader,
	    "{\"title\":\"Later\",\"content\":\"The cat sleeps.\"}", NULL);
	cr_expect_str_eq(library_value(&lib.reader,
			     "SELECT count(*) FROM chat.chunk_embeddings"
			     " WHERE user_id = $1::text::uuid"),
	    "1");
	stack_model_again(&lib.stack);
	library_wait(&lib.reader, LIBRARY_MODEL);
}

static bool
is_leased(void *arg)
{
	snprintf(arg, 32, "%s",
	    library_value(&lib.reader,
		"SELECT w.pid FROM chat.document_embeddings e"
		" JOIN chat.workers w ON w.id = e.worker_id"
		" WHERE e.user_id = $1::text::uuid AND e.lease IS NOT NULL"));
	return ((const char *)arg)[0] != '\0';
}

/* In the middle of a batch, which another worker makes. */
Test(embeddings_faults, a_killed_worker_leaves_its_documents_to_others)
{
	char pid[32];

	open_with(NULL, NULL);
	kill(lib.stack.standin, SIGSTOP);
	library_bring(&lib, &lib.reader,
	    "{\"title\":\"Held\",\"content\":\"The dog barks.\"}", NULL);
	cr_assert(wait_until(is_leased, pid, 30000));
	cr_assert_gt(atoi(pid), 1);
	kill(atoi(pid), SIGKILL);
	kill(lib.stack.standin, SIGCONT);
	library_wait(&lib.reader, LIBRARY_MODEL);
}

/* As a proxy says it that waits no longer for four. */
Test(embeddings_faults, a_batch_that_is_too_late_is_asked_for_in_parts)
{
	const char *const settings[] = {
	    "CHAT_EMBEDDING_BATCH=4", "CHAT_WORKERS=1", NULL};
	struct buf json = {0};

	library_open(&lib, settings);
	buf_puts(&json, "{\"title\":\"Long\",\"content\":\"");
	for (int i = 0; i < 4; i++) {
		buf_printf(&json, "# Part %d\\n\\nIt says #embed=few.", i);
		for (int k = 0; k < 100; k++)
			buf_printf(&json, " And %d is not %d.", k, i);
		buf_puts(&json, "\\n\\n");
	}
	buf_puts(&json, "\"}");
	library_bring(&lib, &lib.reader, json.p, NULL);
	buf_free(&json);
	library_wait(&lib.reader, LIBRARY_MODEL);
	cr_expect_str_eq(library_value(&lib.reader,
			     "SELECT count(*) > 3 FROM chat.chunk_embeddings"
			     " WHERE user_id = $1::text::uuid"),
	    "t");
}

static bool
is_given_back(void *arg)
{
	(void)arg;
	return strcmp(library_value(&lib.reader,
			  "SELECT lease IS NULL AND failures = 0 AND error ="
			  " 'its worker was stopped'"
			  " FROM chat.document_embeddings e"
			  " JOIN chat.documents d ON d.id = e.document_id"
			  " WHERE d.title = 'Held'"
			  " AND e.user_id = $1::text::uuid"),
		   "t") == 0;
}

/* It was no try, and another worker need not wait. */
Test(embeddings_faults, draining_gives_a_batch_back)
{
	char pid[32];

	open_with("CHAT_WORKERS=1", NULL);
	library_bring(&lib, &lib.reader,
	    "{\"title\":\"Held\",\"content\":\"It says #embed=hang.\"}", NULL);
	cr_assert(wait_until(is_leased, pid, 30000));
	cr_expect_eq(stack_end_natterd(&lib.stack, SIGTERM), 0);
	cr_expect(is_given_back(NULL), "%s",
	    library_value(&lib.reader,
		"SELECT jsonb_agg(to_jsonb(e)) FROM chat.document_embeddings e"
		" WHERE e.user_id = $1::text::uuid"));
}

static bool
is_pending(void *arg)
{
	snprintf(arg, 40, "%s",
	    library_value(&lib.reader,
		"SELECT message_id FROM chat.running_replies"
		" WHERE user_id = $1::text::uuid"));
	return ((const char *)arg)[0] != '\0' &&
	       stack_model_count(&lib.stack, "embedding_requests") > 1;
}

static void *
ask_for_ever(void *arg)
{
	person_say(&lib.stack, &lib.reader, "car #embed=hang", arg);
	return NULL;
}

Test(embeddings_faults, a_reply_can_be_cancelled_while_it_waits)
{
	pthread_t thread;
	struct answer a;
	char id[40], path[96];

	open_with("CHAT_EMBEDDING_TIMEOUT=30000", "CHAT_WORKERS=1");
	pthread_create(&thread, NULL, ask_for_ever, &a);
	cr_assert(wait_until(is_pending, id, 20000));
	snprintf(path, sizeof(path), "/api/v1/messages/%s/cancel", id);
	cr_expect_eq(
	    call_status(&lib.stack, "POST", path, lib.reader.token, NULL), 202);
	pthread_join(thread, NULL);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(answer_event_text(&a, "done", "status"), "cancelled");
	answer_clear(&a);
	cr_expect_eq(stack_model_count(&lib.stack, "chat_requests"), 0);
}

Test(embeddings_faults, draining_ends_what_waits)
{
	pthread_t thread;
	struct answer a;
	char id[40];

	open_with("CHAT_EMBEDDING_TIMEOUT=30000", "CHAT_DRAIN_SECONDS=1");
	pthread_create(&thread, NULL, ask_for_ever, &a);
	cr_assert(wait_until(is_pending, id, 20000));
	cr_expect_eq(stack_end_natterd(&lib.stack, SIGTERM), 0);
	pthread_join(thread, NULL);
	cr_expect_str_eq(answer_event_text(&a, "error", "code"), "draining");
	answer_clear(&a);
}
