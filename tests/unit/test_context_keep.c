/*
 * What stays of a model's request while its answer comes: the next round begins
 * with the very bytes that were sent.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "chat/context.h"
#include "chat/context_keep.h"
#include "chat/prompts.h"
#include "chat/tool.h"
#include "chat/turn.h"
#include "model/model.h"

static struct arena *a;
static struct turn t;
static struct buf sent; /* a copy of the body */

static void
set_up(void)
{
	a = arena_new((size_t)1024 * 1024);
	t = (struct turn){0};
}

static void
tear_down(void)
{
	tools_free(t.tools);
	buf_free(&t.prompt);
	buf_free(&t.local);
	buf_free(&sent);
	arena_free(a);
}

TestSuite(context_keep, .init = set_up, .fini = tear_down);

static void
build(const char *question)
{
	const struct prompts *p = prompts_current();
	const struct context c = {
	    .model = "m",
	    .system = &p->list[0],
	    .passages_prompt = prompts_find(p, "passages"),
	    .question = question,
	    .tools = t.tools,
	    .granted = CONTEXT_BYTES_MAX,
	};
	cr_assert_eq(context_request(a, &c, &t), OK);
	buf_add(&sent, t.prompt.p, t.prompt.n);
}

static void
offer_tools(void)
{
	t.tools = tools_new();
	cr_assert_not_null(t.tools);
	tools_add_native(t.tools);
}

static void
expect_as_sent(void)
{
	cr_assert_eq(t.prompt.n, sent.n);
	cr_expect_eq(memcmp(t.prompt.p, sent.p, sent.n), 0);
}

Test(context_keep, without_tools_nothing_stays)
{
	build("Q");
	buf_puts(&t.local, "natter-local's answer");
	context_keep(&t);
	cr_expect_null(t.prompt.p);
	cr_expect_null(t.local.p);
	cr_expect(context_restore(&t));
	cr_expect_eq(t.prompt.n, 0);
}

Test(context_keep, with_tools_the_messages_stay_and_the_rest_comes_back)
{
	offer_tools();
	build("Where is my order, \"12345\"?");
	context_keep(&t);
	cr_expect_lt(t.prompt.n, 1000, "%zu of %zu bytes", t.prompt.n, sent.n);
	cr_expect_eq(t.prompt.room, t.prompt.n, "nothing is held beside it");
	context_keep(&t);
	cr_assert(context_restore(&t));
	expect_as_sent();
	cr_assert(context_restore(&t));
	expect_as_sent();
}

/* The next round's body is kept like the first one's. */
Test(context_keep, so_does_the_body_of_a_further_round)
{
	static const char more[] = "{\"role\":\"tool\",\"content\":\"R\"}";
	const struct openai_round round = {
	    .messages = more, .messages_len = sizeof(more) - 1};
	struct buf body = {0};

	offer_tools();
	build("Q");
	cr_assert(openai_next_body(&body, &t.prompt, &round));
	buf_free(&t.prompt);
	t.prompt = body;
	buf_clear(&sent);
	buf_add(&sent, body.p, body.n);
	context_keep(&t);
	cr_expect_lt(t.prompt.n, 1000);
	cr_assert(context_restore(&t));
	expect_as_sent();
}

/* What does not end with the turn's tools stays whole: a body that was changed
 * by somebody who did not know of this. */
Test(context_keep, a_body_that_ends_otherwise_stays_whole)
{
	offer_tools();
	build("Q");
	t.prompt.p[t.prompt.n - 1] = ' ';
	sent.p[sent.n - 1] = ' ';
	context_keep(&t);
	expect_as_sent();
	cr_assert(context_restore(&t));
	expect_as_sent();
}
