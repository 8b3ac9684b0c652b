/*
 * A model's server on a Unix socket, as those that run on the same machine
 * offer: replies, moderation, titles and vectors come through there, and it may
 * be started again.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "library.h"

static struct library lib;

static void
setup(void)
{
	struct stack_options o = {.has_model = true,
	    .is_on_socket = true,
	    .has_moderation = true,
	    .settings = {"CHAT_TITLES=on", "CHAT_WORKERS=1",
		"CHAT_EMBEDDING_MODEL=" LIBRARY_MODEL}};

	stack_start(&lib.stack, &o);
	person_make(&lib.stack, &lib.reader);
	person_converse(&lib.stack, &lib.reader, lib.reader.conversation);
}

static void
teardown(void)
{
	library_close(&lib);
}

TestSuite(model_socket, .init = setup, .fini = teardown, .timeout = 180);

static void
say(const char *content, const char *end)
{
	struct answer a;

	person_say(&lib.stack, &lib.reader, content, &a);
	cr_expect(answer_ends_with(&a, end), "%s: %s", content, a.body.p);
	answer_clear(&a);
}

static bool
has_title(void *arg)
{
	char title[256];

	(void)arg;
	db_value("SELECT title FROM chat.conversations WHERE user_id = $1"
		 " AND title LIKE 'You said:%'",
	    lib.reader.user_id, title, sizeof(title));
	return title[0] != '\0';
}

Test(model_socket, replies_and_what_belongs_to_them_come_through)
{
	char reply[256];

	say("hello there", "done");
	db_value("SELECT content FROM chat.messages WHERE user_id = $1"
		 " AND role = 'assistant'",
	    lib.reader.user_id, reply, sizeof(reply));
	cr_expect_str_eq(reply, "You said: hello there");
	cr_expect_geq(stack_model_count(&lib.stack, "moderation_requests"), 1);
	cr_expect(wait_until(has_title, NULL, 20000));
}

Test(model_socket, vectors_come_through)
{
	struct answer a;

	library_bring(&lib, &lib.reader,
	    "{\"language\":\"en\",\"title\":\"T\","
	    "\"content\":\"The car stands in the garage.\"}",
	    NULL);
	library_wait(&lib.reader, LIBRARY_MODEL);
	library_search(&lib, &lib.reader, "q=automobile", &a);
	cr_expect_str_eq(answer_text(&a, "embedding"), "used", "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "data.0.match"), "meaning");
	answer_clear(&a);
}

Test(model_socket, a_server_that_went_may_come_again)
{
	say("one", "done");
	stack_model_end(&lib.stack);
	say("two", "error");
	stack_model_again(&lib.stack);
	say("three", "done");
}
