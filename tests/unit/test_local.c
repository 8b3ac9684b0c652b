/*
 * natter-local answers honestly, a little differently to different questions,
 * and always the same to the same.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

/* The answer to a question of a user with 3 conversations, 12 messages. */
static char *
answer_to(const char *question)
{
	const struct local_facts facts = {.username = "user2",
	    .question = question,
	    .conversations = 3,
	    .messages = 12,
	    .first_ms = 1741000000000};
	struct buf out = {0};

	local_answer(&out, &facts);
	return buf_take(&out);
}

#define STORED                                                               \
	"user2, you have 3 conversations with 12 messages stored here, the " \
	"first of them from 3 March 2025."

Test(local, answers_by_what_is_asked)
{
	static const struct {
		const char *question, *begins;
	} rows[] = {
	    {"How many conversations do I have?", STORED},
	    {"how  many\nMESSAGES are there", STORED},
	    {"What can you do?", "I am natter-local"},
	    {"help", "I am natter-local"},
	    {"Who are you?", "I am natter-local"},
	    {"What are you", "I am natter-local"},
	    {"Are you ChatGPT?", "I am natter-local"},
	    {"How do I connect OpenAI?", "This is natter-local"},
	    {"where do i put my API key", "This is natter-local"},
	    {"Hello!", "Hello! I am natter-local"},
	    {"hi", "Hello! I am natter-local"},
	    {"Thank you.", "You are welcome!"},
	    {"What is the capital of France?", "I cannot answer that"},
	    {"How many planets are there?", "I cannot answer that"},
	    {"this shine", "I cannot answer that"},
	    {"helpful", "I cannot answer that"},
	    {"multitasking", "I cannot answer that"},
	    {"sort my tasks by colour", "I changed nothing"},
	    {"you forgot my to-do list", "I changed nothing"},
	    {"the reminders are nice", "I changed nothing"},
	    {"\xc3\xa9hi", "I cannot answer that"},
	    {"", "I cannot answer that"},
	    {"who are", "I cannot answer that"},
	    {"who are ", "I cannot answer that"},
	};
	char *text;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		text = answer_to(rows[i].question);
		cr_expect(
		    strncmp(text, rows[i].begins, strlen(rows[i].begins)) == 0,
		    "%s: %s", rows[i].question, text);
		free(text);
	}
}

Test(local, says_how_to_connect_a_model_and_what_is_stored)
{
	static const char *const questions[] = {
	    "who are you", "help", "hello", "tell me a story"};
	char *text;

	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		text = answer_to(questions[i]);
		cr_expect(strstr(text, "natter-local") != NULL);
		cr_expect(strstr(text, "no model is configured") != NULL);
		cr_expect(strstr(text, "OPENAI_API_KEY") != NULL);
		cr_expect(strstr(text, "OPENAI_BASE_URL") != NULL);
		cr_expect(strstr(text, STORED) != NULL);
		free(text);
	}
}

Test(local, answers_the_same_twice)
{
	char *first = answer_to("who are you"),
	     *second = answer_to("WHO are you?");

	cr_expect_str_eq(first, second);
	free(first);
	free(second);
}

Test(local, counts_in_plain_english)
{
	static const struct {
		struct local_facts facts;
		const char *want;
	} rows[] = {
	    {{"ann", "my stats", 0, 0, 0, false},
		"ann, you have nothing stored here yet."},
	    {{"ann", "my stats", 1, 0, 0, false},
		"ann, you have nothing stored here yet."},
	    {{"ann", "my stats", 1, 1, 0, false},
		"ann, you have 1 conversation with 1 message stored here."},
	    {{NULL, "my stats", 2, 5, 1, false},
		"You have 2 conversations with 5 messages stored here, the "
		"first of them from 1 January 1970."},
	    {{"", "my stats", 2, 5, -1, false},
		"You have 2 conversations with 5 messages stored here."},
	};
	struct buf out = {0};
	char *text;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		local_answer(&out, &rows[i].facts);
		text = buf_take(&out);
		cr_expect_str_eq(text, rows[i].want);
		free(text);
	}
}

Test(local, answers_without_a_question)
{
	const struct local_facts facts = {.messages = 1, .first_ms = INT64_MAX};
	struct buf out = {0};

	local_answer(&out, &facts);
	cr_expect_gt(out.n, 0);
	cr_expect_not(out.failed);
	buf_free(&out);
}

Test(local, says_where_it_looked_only_where_that_matters)
{
	static const struct {
		const char *question;
		bool is_known;
	} rows[] = {
	    {"Who are you?", true},
	    {"What is the meaning of life?", false},
	};
	for (size_t i = 0; i < 2; i++) {
		struct local_facts facts = {
		    .question = rows[i].question, .has_searched = true};
		struct buf out = {0};
		cr_expect_eq(local_knows(rows[i].question), rows[i].is_known);
		local_answer(&out, &facts);
		cr_expect_eq(
		    strstr(buf_text(&out), "in your documents too") == NULL,
		    rows[i].is_known, "%s", buf_text(&out));
		buf_free(&out);
	}
}

Test(local, does_nothing_where_it_stands_in)
{
	struct buf out = {0};
	local_cannot(&out);
	cr_expect_not_null(strstr(buf_text(&out), "do nothing in its place"));
	buf_free(&out);
}
