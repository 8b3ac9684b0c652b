/*
 * The turn as an object: its names, its ids, what it took, the end of its text.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "chat/completion.h"
#include "chat/context.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "http/request.h"

Test(turn, one_of_a_session_and_one_of_a_key)
{
	struct request req = {
	    .who = {.user_id = "u", .session_id = "s"}, .request_id = "r"};
	struct turn *t = turn_new(&req);

	cr_assert_not_null(t);
	cr_expect_str_eq(t->user_id, "u");
	cr_expect_str_eq(t->grant_id, "s");
	cr_expect_str_eq(t->request_id, "r");
	cr_expect(!t->is_by_key);
	cr_expect_eq(t->usage.prompt_tokens, -1);
	cr_expect_neq(t->begun_us, 0);
	turn_free(t);
	req.who.key_id = "k";
	req.request_id = NULL;
	t = turn_new(&req);
	cr_assert_not_null(t);
	cr_expect_str_eq(t->grant_id, "k");
	cr_expect_str_eq(t->request_id, "");
	cr_expect(t->is_by_key);
	turn_free(t);
	turn_free(NULL);
}

Test(turn, has_words_for_how_it_began_and_ended)
{
	cr_expect_str_eq(turn_kind_name(TURN_SEND), "send");
	cr_expect_str_eq(turn_kind_name(TURN_EDIT), "edit");
	cr_expect_str_eq(turn_kind_name(TURN_AGAIN), "again");
	cr_expect_str_eq(turn_status_name(TURN_STREAMING), "streaming");
	cr_expect_str_eq(turn_status_name(TURN_FAILED), "failed");
}

Test(turn, start_names_the_three_ids)
{
	struct turn t = {
	    .conversation_id = "c", .user_message_id = "u", .message_id = "m"};
	struct buf out = {0};
	turn_start_json(&t, &out);
	buf_putc(&out, '\0');
	cr_expect_str_eq(out.p, "{\"message_id\":\"m\","
				"\"user_message_id\":\"u\","
				"\"conversation_id\":\"c\"}");
	buf_free(&out);
}

Test(turn, what_the_model_said_it_took_holds)
{
	struct turn t = {.status = TURN_COMPLETE,
	    .prompt_estimate = 100,
	    .usage = {7, 5, 2}};
	struct model_usage u;

	buf_puts(&t.text, "much more text than that");
	u = turn_usage(&t);
	cr_expect_eq(u.prompt_tokens, 7);
	cr_expect_eq(u.completion_tokens, 5);
	cr_expect_eq(u.cached_tokens, 2);
	t.is_cached = true;
	u = turn_usage(&t);
	cr_expect_eq(u.prompt_tokens + u.completion_tokens, 0);
	buf_free(&t.text);
}

Test(turn, what_no_model_said_is_estimated)
{
	struct completion c = {.n_beside = 300};
	struct turn t = {.status = TURN_COMPLETE,
	    .prompt_estimate = 100,
	    .usage = {-1, -1, -1}};

	buf_puts(&t.text, "a text of some words");
	cr_expect_eq(turn_usage(&t).prompt_tokens, 100);
	cr_expect_eq(
	    turn_usage(&t).completion_tokens, context_tokens(t.text.n));
	cr_expect_eq(turn_usage(&t).cached_tokens, 0);
	t.withheld = 200;
	t.completion = &c;
	cr_expect_eq(turn_usage(&t).completion_tokens,
	    context_tokens(t.text.n + 200 + 300));
	buf_free(&t.text);
}

Test(turn, a_model_that_said_nothing_has_charged_nothing)
{
	struct turn t = {.status = TURN_FAILED,
	    .prompt_estimate = 100,
	    .usage = {-1, -1, -1}};

	cr_expect_eq(turn_usage(&t).prompt_tokens, 0);
	t.status = TURN_CANCELLED;
	cr_expect_eq(turn_usage(&t).prompt_tokens, 100);
	t.is_unasked = true;
	cr_expect_eq(turn_usage(&t).prompt_tokens, 0);
	buf_puts(&t.text, "x");
	cr_expect_eq(turn_usage(&t).prompt_tokens, 100);
	buf_free(&t.text);
}

Test(turn, rounds_add_up)
{
	struct tool_use use = {.round = 2};
	struct tool_uses uses = {.list = &use, .n = 1};
	struct turn t = {.status = TURN_COMPLETE,
	    .prompt_estimate = 100,
	    .usage = {1, 2, 3},
	    .uses = &uses};

	buf_puts(&t.text, "first");
	turn_end_round(&t, &(struct model_usage){10, 20, 5});
	cr_expect_eq(t.rounds.n, 1);
	cr_expect(!t.rounds.is_estimated);
	cr_expect_eq(t.rounds.text_from, 5);
	cr_expect_eq(turn_tokens(&t), 30);
	buf_puts(&t.text, " second");
	buf_puts(&use.arguments, "{\"text\":\"of a call\"}");
	turn_end_round(&t, &(struct model_usage){-1, -1, -1});
	cr_expect(t.rounds.is_estimated);
	cr_expect_eq(t.rounds.said_from, 5);
	cr_expect_eq(t.rounds.text_from, 12);
	cr_expect_eq(turn_tokens(&t),
	    30 + 100 + context_tokens(7) + context_tokens(use.arguments.n));
	cr_expect_eq(turn_usage(&t).prompt_tokens, 10 + 100 + 1);
	cr_expect_eq(turn_usage(&t).cached_tokens, 5 + 3);
	buf_free(&use.arguments);
	buf_free(&t.text);
}

Test(turn, its_text_ends_in_place_even_full_to_its_cap)
{
	struct turn t = {.text = {.cap = 4}};

	cr_expect_not(turn_end_text(&t));
	buf_puts(&t.text, "abcd");
	buf_puts(&t.text, "e");
	cr_assert(t.text.failed);
	cr_expect(turn_end_text(&t));
	cr_expect_str_eq(t.text.p, "abcd");
	cr_expect_eq(t.text.n, 4);
	buf_free(&t.text);
}
