/*
 * What a model's server received, byte for byte, is what
 * GET /messages/{id}/context shows: through nginx, natterd's threads and
 * libcurl, with facts, and of another model that stood in.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "stack.h"

static struct stack stack;
static struct person someone;

static void
start(const char *masking)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_FALLBACK_MODELS=spare-model",
		"CHAT_MODEL_RETRIES=0", "CHAT_TOOLS=on", "CHAT_TOOL_ROUNDS=3",
		masking, "CHAT_WORKERS=1"}};

	stack_start(&stack, &o);
	person_make(&stack, &someone);
}

static void
setup(void)
{
	start("CHAT_PII_MASK=off");
}

static void
setup_masked(void)
{
	start("CHAT_PII_MASK=on");
}

static void
teardown(void)
{
	if (stack.base[0] != '\0')
		stack_stop(&stack);
}

TestSuite(context_sent, .init = setup, .fini = teardown, .timeout = 120);

static void
ask(const char *base, const char *path, const char *json, struct answer *a)
{
	struct ask question = {.method = json != NULL ? "POST" : "GET",
	    .base = base,
	    .path = path,
	    .token = someone.token,
	    .json = json};

	http_ask(&question, a);
	cr_assert_eq(a->status / 100, 2, "%s: %ld", path, a->status);
}

/* Says it; the last body that a model received must be what is shown. */
static void
expect_sent(const char *content, const char *model)
{
	char path[128];
	struct answer said, bodies, shown;

	person_say(&stack, &someone, content, &said);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/context",
	    answer_event_text(&said, "done", "id"));
	ask(stack.model, "/_bodies", NULL, &bodies);
	ask(stack.base, path, NULL, &shown);
	while (bodies.body.n > 0 && bodies.body.p[bodies.body.n - 1] == '\n')
		bodies.body.p[--bodies.body.n] = '\0';
	const char *last = strrchr(bodies.body.p, '\n');
	last = last != NULL ? last + 1 : bodies.body.p;
	cr_expect_str_eq(answer_text(&shown, "exact"), "true");
	cr_expect_str_eq(answer_text(&shown, "model"), model);
	cr_expect_gt(strlen(last), 20);
	cr_expect_not_null(
	    strstr(shown.body.p, last), "%s\n%s", last, shown.body.p);
	answer_clear(&said);
	answer_clear(&bodies);
	answer_clear(&shown);
}

/* The same by any method; the answer is read. */
static void
change(const char *method, const char *path, const char *json, long status)
{
	struct answer a;
	struct ask question = {.method = method,
	    .base = stack.base,
	    .path = path,
	    .token = someone.token,
	    .json = json};

	http_ask(&question, &a);
	cr_expect_eq(a.status, status, "%s %s: %ld", method, path, a.status);
	answer_clear(&a);
}

Test(context_sent, facts_are_listed_changed_and_deleted)
{
	struct answer a;
	char path[128];

	ask(stack.base, "/api/v1/me/facts", "{\"content\":\"has a cat\"}", &a);
	snprintf(
	    path, sizeof(path), "/api/v1/me/facts/%s", answer_text(&a, "id"));
	answer_clear(&a);
	change("PATCH", path, "{\"content\":\"has two cats\"}", 200);
	ask(stack.base, "/api/v1/me/facts", NULL, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"), "has two cats");
	answer_clear(&a);
	ask(stack.base, "/api/v1/me/export", NULL, &a);
	cr_expect_not_null(strstr(a.body.p, "has two cats"));
	answer_clear(&a);
	change("DELETE", path, NULL, 204);
	change("DELETE", path, NULL, 404);
}

Test(context_sent, is_shown_byte_for_byte)
{
	struct answer a;

	expect_sent("What is \\\"tea\\\"?", "test-model");
	ask(stack.base, "/api/v1/me/facts",
	    "{\"content\":\"likes \\\"green\\\" tea\"}", &a);
	answer_clear(&a);
	expect_sent("Go on.", "test-model");
	expect_sent("[[only=test-model status=500]] And now?", "spare-model");
}

/* The nth of the bodies that the model received since; NUL-terminated. */
static char *
body_at(struct answer *bodies, size_t n)
{
	char *line = bodies->body.p;

	for (; n > 0 && line != NULL; n--) {
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}
	cr_assert_not_null(line);
	line[strcspn(line, "\n")] = '\0';
	cr_assert_neq(*line, '\0', "there is none");
	return line;
}

/* Says it, which takes so many requests; each must be shown as it was. */
static void
expect_rounds(const char *content, size_t n)
{
	char path[128], name[32];
	struct answer said, bodies, shown;

	stack_model_reset(&stack);
	person_say(&stack, &someone, content, &said);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/context",
	    answer_event_text(&said, "done", "id"));
	ask(stack.base, path, NULL, &shown);
	cr_expect_str_eq(answer_text(&shown, "exact"), "true");
	cr_expect_str_eq(answer_text(&shown, "changes.0.part"), "");
	for (size_t i = 0; i < n; i++) {
		ask(stack.model, "/_bodies", NULL, &bodies);
		const char *body = body_at(&bodies, i);
		cr_expect_not_null(strstr(shown.body.p, body), "%zu: %s\n%s", i,
		    body, shown.body.p);
		answer_clear(&bodies);
		if (i == 0)
			continue;
		snprintf(name, sizeof(name), "rounds.%zu.round", i - 1);
		cr_expect_eq((size_t)atol(answer_text(&shown, name)), i + 1);
		snprintf(name, sizeof(name), "rounds.%zu.exact", i - 1);
		cr_expect_str_eq(answer_text(&shown, name), "true", "%zu", i);
	}
	snprintf(name, sizeof(name), "rounds.%zu.round", n - 1);
	cr_expect_str_eq(answer_text(&shown, name), "");
	answer_clear(&said);
	answer_clear(&shown);
}

/* Whatever its author's spelling: jsonb would sort the names, and would write
 * the number otherwise. */
Test(context_sent, each_round_is_shown_byte_for_byte)
{
	expect_rounds("[[tool=list_tasks]] What is to do?", 2);
	expect_rounds("[[text=40 rounds=3 tool=create_task"
		      " args={\"title\":\"Mend\",\"tags\":[\"b\"],"
		      "\"no\":1.50e1}]] Go.",
	    4);
	/* Two at once, then others; what is no JSON; what nobody offered. */
	expect_rounds("[[calls=2 rounds=2 tool=create_task args={\"title\":"
		      "\"Sweep\"} then=complete_task"
		      " thenargs={\"id\":\"$id\"}]] Go.",
	    3);
	expect_rounds("[[tool=create_task args=not-json]] Go.", 2);
	expect_rounds("[[tool=nobodys]] Go.", 2);
	/* The last one may call no tool any more. */
	expect_rounds("[[rounds=9 tool=list_tasks]] Go.", 4);
	expect_rounds("No tools.", 1);
}

/* The spellings go with what they spell. */
Test(context_sent, a_round_that_has_changed_is_not_exact)
{
	char path[128], sql[256], ignored[8];
	struct answer said, shown;

	person_say(&stack, &someone,
	    "[[tool=create_task args={\"title\":\"Secret\"}]] Go.", &said);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/context",
	    answer_event_text(&said, "done", "id"));
	snprintf(sql, sizeof(sql),
	    "UPDATE chat.messages SET tool_calls = '[]', tool_responses = '[]',"
	    " content = '' WHERE id = '%s' RETURNING 1",
	    answer_event_text(&said, "done", "id"));
	db_value(sql, NULL, ignored, sizeof(ignored));
	ask(stack.base, path, NULL, &shown);
	cr_expect_str_eq(answer_text(&shown, "exact"), "true");
	cr_expect_str_eq(answer_text(&shown, "changes.0.part"), "tools");
	cr_expect_str_eq(answer_text(&shown, "rounds.0.exact"), "false");
	const char *rounds = strstr(shown.body.p, "\"rounds\":");
	cr_assert_not_null(rounds);
	cr_expect_null(strstr(rounds, "\"arguments\":"), "%s", rounds);
	answer_clear(&said);
	answer_clear(&shown);
}

/* What the model wrote in placeholders was done and stored with the values. */
Test(context_sent, each_round_is_shown_as_it_was_masked, .init = setup_masked)
{
	struct answer a;

	ask(stack.base, "/api/v1/me/facts",
	    "{\"content\":\"is carl@example.org\"}", &a);
	answer_clear(&a);
	expect_rounds("[[rounds=2 tool=create_task args={\"title\":"
		      "\"Mail-[EMAIL_2]\"}]] Write to anna@example.com.",
	    3);
	expect_rounds("[[tool=list_tasks]] And bob@example.com?", 2);
}
