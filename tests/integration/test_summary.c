/*
 * The rolling summary of a long conversation, through nginx, natterd's threads
 * and the stand-in model: made after a reply and off its path, told to later
 * turns in the place of what it covers, followed by the next one, never in a
 * reply's way, and of no concern to a branch that leaves before it ends.
 *
 * The stand-in says again what it was asked, so that a summary is the talk that
 * it sums up; its first request for one fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "stack.h"

#define TASK                                             \
	"[[fail=1 id=sum]] Sum up.{{#summary}} Before: " \
	"{{summary}}{{/summary}}"

static struct stack stack;
static struct person person;
static char folder[] = "/tmp/natter-summary-XXXXXX";
static char file[64];

static void
setup(void)
{
	char setting[96];
	FILE *f;
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_SUMMARY=on", "CHAT_CONTEXT_MESSAGES=8",
		"CHAT_TOOLS=off", setting, "CHAT_WORKERS=2"}};

	cr_assert_not_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/summary.txt", folder);
	f = fopen(file, "w");
	cr_assert_not_null(f);
	fputs(TASK "\n", f);
	fclose(f);
	snprintf(setting, sizeof(setting), "CHAT_PROMPTS_DIR=%s", folder);
	stack_start(&stack, &o);
	person_make(&stack, &person);
}

static void
teardown(void)
{
	if (stack.base[0] != '\0')
		stack_stop(&stack);
	unlink(file);
	rmdir(folder);
}

TestSuite(summary, .init = setup, .fini = teardown, .timeout = 240);

static void
ask(const char *base, const char *path, struct answer *a)
{
	struct ask question = {
	    .base = base, .path = path, .token = person.token};

	http_ask(&question, a);
	cr_assert_eq(a->status, 200, "%s: %ld", path, a->status);
}

/* Posts a question; gives its reply's id. */
static void
post(const char *path, const char *json, char out_reply[40])
{
	struct ask question = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = person.token,
	    .json = json};
	struct answer a;

	http_ask(&question, &a);
	cr_assert_eq(a.status, 201, "%s: %ld %s", path, a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "status"), "complete");
	snprintf(out_reply, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

/* Says "Question <n>: …". */
static void
say(int n, char out_reply[40])
{
	char path[128], json[128];

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    person.conversation);
	snprintf(json, sizeof(json),
	    "{\"content\":\"Question %d: what of tea?\"}", n);
	post(path, json, out_reply);
}

/* The last body that the model received which has this, and was or was not a
 * request for a summary; to be freed. */
static char *
body_with(const char *text, bool is_task)
{
	struct answer a;
	char *found = NULL, *rest, *line;

	ask(stack.model, "/_bodies", &a);
	rest = a.body.p;
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, text) == NULL ||
		    (strstr(line, "Sum up.") != NULL) != is_task)
			continue;
		free(found);
		found = strdup(line);
	}
	answer_clear(&a);
	cr_assert_not_null(found, "%s", text);
	return found;
}

static bool
was_asked(void *text)
{
	struct answer a;
	bool is_there;

	ask(stack.model, "/_bodies", &a);
	is_there = strstr(a.body.p, text) != NULL;
	answer_clear(&a);
	return is_there;
}

static long
number(const char *sql)
{
	char value[64];

	db_value(sql, person.user_id, value, sizeof(value));
	return atol(value);
}

static bool
has_summaries(void *n)
{
	return number("SELECT count(*) FROM chat.context_summaries"
		      " WHERE user_id = $1::text::uuid") >= *(int *)n;
}

static void
wait_for_summary(int n)
{
	cr_assert(wait_until(has_summaries, &n, 60000), "%d", n);
}

/* Is it a message of its own in what the model was told? */
static bool
tells(const char *body, const char *question)
{
	char text[64];

	snprintf(text, sizeof(text), "\"user\",\"content\":\"%s:", question);
	return strstr(body, text) != NULL;
}

static bool
has_summary(const char *body)
{
	return strstr(body, "in this conversation, in short:") != NULL;
}

/* /context shows that very body; `items` summaries are in it. */
static void
expect_shown(const char *reply, const char *body, const char *items)
{
	char path[128];
	struct answer a;

	snprintf(path, sizeof(path), "/api/v1/messages/%s/context", reply);
	ask(stack.base, path, &a);
	cr_expect_str_eq(answer_text(&a, "exact"), "true");
	cr_expect_str_eq(answer_text(&a, "parts.2.part"), "summary");
	cr_expect_str_eq(answer_text(&a, "parts.2.items"), items);
	cr_expect_not_null(strstr(a.body.p, body), "%s\n%s", body, a.body.p);
	answer_clear(&a);
}

/* Up to the first summary, which the fifth reply brings: the fourth's fails. */
static void
talk(char replies[5][40])
{
	char *body;

	for (int i = 0; i < 4; i++)
		say(i, replies[i]);
	cr_assert(wait_until(was_asked, "Sum up.", 60000));
	say(4, replies[4]);
	/* Its failure was nobody's, and cost nobody anything. */
	body = body_with("Question 4:", false);
	cr_expect(tells(body, "Question 0"));
	cr_expect_not(has_summary(body));
	expect_shown(replies[4], body, "0");
	free(body);
	wait_for_summary(1);
}

Test(summary, is_made_after_a_reply_told_later_and_followed_by_the_next)
{
	char replies[5][40], reply[40];
	char *body;

	talk(replies);
	cr_expect_eq(number("SELECT count(*) FROM chat.context_summaries s"
			    " JOIN chat.messages m ON m.user_id = s.user_id"
			    " AND m.content LIKE '%Question 4%'"
			    " AND m.role = 'assistant'"
			    " WHERE s.user_id = $1::text::uuid"
			    " AND s.created_at > m.completed_at"),
	    1);
	cr_expect_eq(number("SELECT count(*) FROM chat.usage_tracking u"
			    " WHERE u.user_id = $1::text::uuid"
			    " AND u.message_id IS NULL"
			    " AND u.conversation_id IS NOT NULL"
			    " AND u.completion_tokens > 0"),
	    1);
	body = body_with("User: Question 0:", true);
	cr_expect_null(strstr(body, "Before:"));
	cr_expect_null(strstr(body, "Question 3"));
	free(body);

	/* It stands for what it covers. */
	say(5, reply);
	body = body_with("Question 5:", false);
	cr_expect(has_summary(body));
	cr_expect_not(tells(body, "Question 0"));
	cr_expect_not(tells(body, "Question 1"));
	cr_expect(tells(body, "Question 2"));
	cr_expect(tells(body, "Question 4"));
	expect_shown(reply, body, "1");
	free(body);

	/* The next one takes it in, and takes its place. */
	wait_for_summary(2);
	body = body_with("User: Question 2:", true);
	cr_expect_not_null(strstr(body, "Before: You said: "));
	cr_expect_null(strstr(body, "\"content\":\"User: Question 0"));
	free(body);
	say(6, reply);
	body = body_with("Question 6:", false);
	cr_expect(has_summary(body));
	cr_expect_null(strstr(body, "Question 0"), "%s", body);
	cr_expect_not(tells(body, "Question 2"));
	cr_expect(tells(body, "Question 3"));
	expect_shown(reply, body, "1");
	free(body);
	cr_expect_eq(number("SELECT count(*) FROM chat.budgets_amiss("
			    "date_trunc('month', now())::date)"
			    " WHERE $1::text <> ''"),
	    0);
}

Test(summary, is_none_of_a_branch_that_leaves_before_it_ends)
{
	char replies[5][40], reply[40], path[160], json[160];
	char *body;

	talk(replies);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    person.conversation);
	snprintf(json, sizeof(json),
	    "{\"content\":\"Question 70: elsewhere?\",\"parent_id\":\"%s\"}",
	    replies[0]);
	post(path, json, reply);
	body = body_with("Question 70:", false);
	cr_expect_not(has_summary(body));
	cr_expect(tells(body, "Question 0"));
	cr_expect_not(tells(body, "Question 1"));
	expect_shown(reply, body, "0");
	free(body);

	/* An edit of a question that it covers, and one of a later one. */
	snprintf(path, sizeof(path), "/api/v1/messages/%s", replies[1]);
	struct answer a;
	ask(stack.base, path, &a);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/edit",
	    answer_text(&a, "parent_id"));
	answer_clear(&a);
	post(path, "{\"content\":\"Question 71: once more?\"}", reply);
	body = body_with("Question 71:", false);
	cr_expect_not(has_summary(body));
	cr_expect(tells(body, "Question 0"));
	free(body);
	snprintf(json, sizeof(json),
	    "{\"content\":\"Question 72: and then?\",\"parent_id\":\"%s\"}",
	    replies[3]);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    person.conversation);
	post(path, json, reply);
	body = body_with("Question 72:", false);
	cr_expect(has_summary(body));
	cr_expect_not(tells(body, "Question 0"));
	cr_expect(tells(body, "Question 3"));
	expect_shown(reply, body, "1");
	free(body);
}
