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
setup(void)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_FALLBACK_MODELS=spare-model",
		"CHAT_MODEL_RETRIES=0", "CHAT_WORKERS=1"}};

	stack_start(&stack, &o);
	person_make(&stack, &someone);
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
