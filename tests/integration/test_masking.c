/*
 * What belongs to a person is in nothing that leaves the host: not in a byte of
 * any request that the model and its moderation were sent. Replies have it
 * again, however the model cuts them, and Postgres has what the user wrote.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "promises.h"
#include "stack.h"

#define MAIL  "anna.smith@example.com"
#define PHONE "+49 30 1234567"
#define CARD  "4111 1111 1111 1111"

static struct stack stack;
static struct person person;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(masking, .fini = teardown, .timeout = 180);

static void
start(const char *mask, const char *first, const char *second)
{
	struct stack_options o = {.has_model = true,
	    .has_moderation = true,
	    .settings = {mask, "CHAT_MODERATION_REPLIES=mark", first, second}};

	stack_start(&stack, &o);
	person_make(&stack, &person);
}

/* Everything that the stand-in was sent; the caller clears. */
static void
read_bodies(struct answer *a)
{
	struct ask ask = {.base = stack.model, .path = "/_bodies"};

	http_ask(&ask, a);
}

static bool
was_sent(const char *text)
{
	struct answer a;
	bool was;

	read_bodies(&a);
	was = strstr(a.body.p, text) != NULL;
	answer_clear(&a);
	return was;
}

static void
expect_nothing_sent(void)
{
	static const char *const secrets[] = {
	    MAIL, "anna.smith", PHONE, "1234567", CARD, "1111 1111"};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		cr_expect_not(was_sent(secrets[i]), "%s", secrets[i]);
}

/* Says it, and the reply is the stand-in's: what it was told, again. */
static void
expect_echo(const char *directives, const char *content)
{
	char text[512], want[512];
	struct answer a;

	snprintf(text, sizeof(text), "%s%s", directives, content);
	snprintf(want, sizeof(want), "You said: %s", content);
	person_say(&stack, &person, text, &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(a.text.p, want);
	cr_expect_str_eq(answer_event_text(&a, "done", "content"), want);
	answer_clear(&a);
}

#define ALL "I am " MAIL ", " PHONE ", card " CARD "."

Test(masking, nothing_leaves_and_everything_comes_back)
{
	char *stored;

	start("CHAT_PII_MASK=on", NULL, NULL);
	expect_echo("", ALL);
	cr_expect(was_sent("I am [EMAIL_1], [PHONE_1], card [CARD_1]."));
	/* The history goes along, and the same values are the same again. */
	expect_echo("", "once more " PHONE " and " MAIL);
	cr_expect(was_sent("once more [PHONE_1] and [EMAIL_1]"));
	expect_nothing_sent();
	stored = db_text("SELECT string_agg(content, '|' ORDER BY position)"
			 " FROM chat.messages WHERE user_id = $1",
	    person.user_id);
	cr_expect_str_eq(stored,
	    ALL "|You said: " ALL "|once more " PHONE " and " MAIL
		"|You said: once more " PHONE " and " MAIL);
	free(stored);
}

Test(masking, however_the_model_cuts_its_answer)
{
	start("CHAT_PII_MASK=on", NULL, NULL);
	expect_echo("[[split=1]]", ALL);
	expect_echo("[[chunk=1]]", ALL);
	expect_echo("[[chunk=2]]", ALL);
	expect_echo("[[chunk=3]]", ALL);
	expect_echo("[[chunk=7]]", ALL);
	expect_echo("[[plain=1]]", ALL);
	expect_nothing_sent();
}

Test(masking, what_the_user_wrote_like_a_placeholder_stays)
{
	start("CHAT_PII_MASK=on", NULL, NULL);
	expect_echo("[[chunk=1]]", "[EMAIL_1] is not " MAIL " nor [EMAIL_7]");
	cr_expect(was_sent("[TEXT_1] is not [EMAIL_1] nor [TEXT_2]"));
	expect_nothing_sent();
}

Test(masking, a_prompt_of_the_conversation_is_masked_too)
{
	char path[96];

	start("CHAT_PII_MASK=on", NULL, NULL);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    person.conversation);
	cr_assert_eq(call_status(&stack, "PATCH", path, person.token,
			 "{\"system_prompt\":\"Ask " MAIL ".\"}"),
	    200);
	expect_echo("", "hello");
	cr_expect(was_sent("Ask [EMAIL_1]."));
	expect_nothing_sent();
}

/* A reply that is read again has the same text. */
Test(masking, who_reads_again_reads_the_same)
{
	struct answer a, again;
	char path[128];
	struct ask ask = {.base = stack.base, .path = path};

	start("CHAT_PII_MASK=on", NULL, NULL);
	ask.base = stack.base;
	ask.token = person.token;
	person_say(&stack, &person, "[[chunk=1]]" ALL, &a);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/stream",
	    answer_event_text(&a, "start", "message_id"));
	http_ask(&ask, &again);
	cr_expect(answer_ends_with(&again, "done"), "%s", again.body.p);
	cr_expect_str_eq(again.text.p, a.text.p);
	cr_expect_not_null(strstr(again.text.p, MAIL));
	answer_clear(&a);
	answer_clear(&again);
}

/* Two questions that look alike when they are masked. */
Test(masking, no_answer_is_shared_that_was_masked)
{
	struct person other;
	struct answer a;
	struct send send = {
	    .json = "{\"content\":\"I am " MAIL "\",\"cache\":true}"};

	start("CHAT_PII_MASK=on", NULL, NULL);
	person_make(&stack, &other);
	send.conversation = person.conversation;
	call_send(&stack, &person, &send, &a);
	cr_expect_str_eq(answer_text(&a, "content"), "You said: I am " MAIL);
	answer_clear(&a);
	send.conversation = other.conversation;
	send.json = "{\"content\":\"I am bob@example.org\",\"cache\":true}";
	call_send(&stack, &other, &send, &a);
	cr_expect_str_eq(
	    answer_text(&a, "content"), "You said: I am bob@example.org");
	answer_clear(&a);
}

Test(masking, off_nothing_is_masked)
{
	start("CHAT_PII_MASK=off", NULL, NULL);
	expect_echo("", ALL);
	cr_expect(was_sent(MAIL));
	cr_expect_not(was_sent("[EMAIL_1]"));
	expect_echo("", "[EMAIL_1]");
}

Test(masking, titles_are_made_of_masked_text_and_have_the_values)
{
	char title[256], conversation[40];
	int tries = 0;

	start("CHAT_PII_MASK=on", "CHAT_TITLES=on", NULL);
	person_converse(&stack, &person, conversation);
	memcpy(person.conversation, conversation, sizeof(conversation));
	expect_echo("", MAIL);
	do {
		usleep(100000);
		db_value("SELECT title FROM chat.conversations"
			 " WHERE id = $1::uuid",
		    person.conversation, title, sizeof(title));
	} while (strncmp(title, "You said", 8) != 0 && ++tries < 200);
	cr_expect_str_eq(title, "You said: " MAIL);
	expect_nothing_sent();
}

Test(masking, analytics_are_masked)
{
	char *stored;

	start("CHAT_PII_MASK=on", NULL, NULL);
	cr_assert_eq(
	    call_status(&stack, "POST", "/api/v1/analytics", person.token,
		"{\"events\":[{\"category\":\"shop\",\"name\":\"" MAIL
		"\",\"value\":1,\"properties\":"
		"{\"q\":\"mail\\n" MAIL "\"}}]}"),
	    204);
	stored = db_text("SELECT name || properties::text FROM chat.analytics"
			 " WHERE user_id = $1 AND category = 'shop'",
	    person.user_id);
	cr_expect_str_eq(stored, "[EMAIL_1]{\"q\": \"mail\\n[EMAIL_1]\"}");
	free(stored);
}
