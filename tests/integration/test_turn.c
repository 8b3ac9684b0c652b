/*
 * Turns against a real Postgres: what is stored when they begin and end, and
 * that at most one reply runs on a branch however many ask at once.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/json.h"
#include "chat/completion.h"
#include "chat/conversation.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "chat/recover.h"
#include "chat/turn.h"
#include "store/pg.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1; /* a sweep takes all that is lost */
	if (!world_provide("natter_test_turn"))
		abort();
}

static struct world w;

static void
open_world(void)
{
	world_open(&w, NULL);
}

static void
close_world(void)
{
	world_close(&w);
}

TestSuite(turn, .init = open_world, .fini = close_world, .timeout = 120);

static bool
holds(const struct buf *b, const char *needle)
{
	return memmem(b->p, b->n, needle, strlen(needle)) != NULL;
}

Test(turn, begin_stores_the_question_and_an_empty_reply_in_one_round_trip)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	uint64_t before = pg_round_trips(w.services.pg);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello there", &t), OK);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 1);
	cr_expect_str_eq(t->conversation_id, c);
	cr_expect_str_eq(t->model, "test-model");
	cr_expect_not(t->is_local);
	cr_expect(holds(&t->prompt, "Hello there"));
	cr_expect(holds(&t->prompt, "Be brief."));
	cr_expect_eq(
	    world_number("SELECT count(*) FROM chat.messages WHERE id = '%s'"
			 " AND role = 'user' AND content = 'Hello there'"
			 " AND status = 'complete' AND position = 1"
			 " AND parent_id IS NULL AND token_count = 3",
		t->user_message_id),
	    1);
	cr_expect_eq(
	    world_number("SELECT count(*) FROM chat.messages WHERE id = '%s'"
			 " AND role = 'assistant' AND content = ''"
			 " AND status = 'streaming' AND position = 2"
			 " AND parent_id = '%s' AND completed_at IS NULL",
		t->message_id, t->user_message_id),
	    1);
	cr_expect_eq(
	    world_number("SELECT count(*) FROM chat.running_replies"
			 " WHERE message_id = '%s' AND worker_id = '%s'"
			 " AND parent_id IS NULL",
		t->message_id, w.worker),
	    1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.conversations"
				  " WHERE id = '%s' AND next_position = 3"
				  " AND message_count = 2 AND leaf_id = '%s'"
				  " AND title = 'Hello there'",
			 c, t->message_id),
	    1);
	turn_free(t);
}

Test(turn, finish_stores_the_reply_and_its_usage_and_frees_the_branch)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	t->usage = (struct model_usage){11, 7, 4};
	strcpy(t->answered_by, "test-model-2026");
	cr_assert_eq(world_finish(&w, t, "Good day \xe2\x98\x80 \"you\""), OK);
	cr_expect(holds(&t->stored,
	    "\"content\":\"Good day \xe2\x98\x80 \\\"you\\\"\","
	    "\"status\":\"complete\",\"model\":\"test-model-2026\","
	    "\"finish_reason\":\"stop\",\"error_code\":null,"
	    "\"token_count\":7,\"metadata\":{}"));
	cr_expect(holds(&t->stored,
	    "\"usage\":{\"prompt_tokens\":11,\"cached_tokens\":4,"
	    "\"completion_tokens\":7,\"total_tokens\":18,\"cost\":null,"
	    "\"estimated\":false}"));
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE message_id = '%s' AND user_id = '%s'"
				  " AND conversation_id = '%s'"
				  " AND prompt_tokens = 11"
				  " AND completion_tokens = 7"
				  " AND cached_tokens = 4 AND NOT is_estimated",
			 t->message_id, w.user, c),
	    1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
	turn_free(t);
}

Test(turn, what_done_shows_is_what_a_read_shows)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	cr_assert_eq(world_finish(&w, t, "Hi."), OK);
	struct buf read = {0};
	cr_assert_eq(message_get(world_request(&w), t->message_id, &read), OK);
	cr_expect_eq(read.n, t->stored.n);
	cr_expect_arr_eq(read.p, t->stored.p, read.n);
	buf_free(&read);
	turn_free(t);
}

Test(turn, usage_is_estimated_from_bytes_where_the_model_gives_none)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "12345678", &t), OK);
	/* "Be brief." and the question: 17 bytes. */
	cr_expect_eq(t->prompt_estimate, 5);
	cr_assert_eq(world_finish(&w, t, "123456789"), OK);
	cr_expect(holds(&t->stored,
	    "\"usage\":{\"prompt_tokens\":5,\"cached_tokens\":0,"
	    "\"completion_tokens\":3,\"total_tokens\":8,\"cost\":null,"
	    "\"estimated\":true}"));
	turn_free(t);
}

Test(turn, finish_twice_changes_nothing_and_gives_the_same)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	cr_assert_eq(world_finish(&w, t, "Once."), OK);
	struct buf first = t->stored;
	t->stored = (struct buf){0};
	cr_expect_eq(world_finish(&w, t, "Once."), OK);
	cr_assert_eq(first.n, t->stored.n);
	cr_expect_arr_eq(first.p, t->stored.p, first.n);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE message_id = '%s'",
			 t->message_id),
	    1);
	/* With other words it is not this turn's doing. */
	cr_expect_eq(world_finish(&w, t, "Twice."), ERR_INTERRUPTED);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND content = 'Once.'",
			 t->message_id),
	    1);
	buf_free(&first);
	turn_free(t);
}

/* What its client's tools were called with is stored with its end, once. */
Test(turn, finish_twice_keeps_what_was_called_first)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	t->completion = calloc(1, sizeof(*t->completion));
	t->completion->is_kept = true;
	buf_puts(&t->completion->calls, "[{\"id\":\"first\"}]");
	cr_assert_eq(world_finish(&w, t, "Once."), OK);
	cr_expect(holds(&t->stored, "\"tool_calls\":[{\"id\": \"first\"}]"),
	    "%.*s", (int)t->stored.n, t->stored.p);
	buf_clear(&t->completion->calls);
	buf_puts(&t->completion->calls, "[{\"id\":\"second\"}]");
	cr_expect_eq(world_finish(&w, t, "Once."), OK);
	/* Nor does one that comes late, with other words. */
	cr_expect_eq(world_finish(&w, t, "Twice."), ERR_INTERRUPTED);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s'"
				  " AND tool_calls->0->>'id' = 'first'",
			 t->message_id),
	    1);
	turn_free(t);
}

Test(turn, every_way_to_end_keeps_the_text)
{
	static const struct {
		enum turn_status status;
		enum err error;
		const char *text;
		const char *shown;
	} rows[] = {
	    {TURN_COMPLETE, OK, "abc",
		"\"content\":\"abc\",\"status\":\"complete\""},
	    {TURN_CANCELLED, OK, "ab",
		"\"content\":\"ab\",\"status\":\"cancelled\""},
	    {TURN_INTERRUPTED, ERR_DRAINING, "a",
		"\"content\":\"a\",\"status\":\"interrupted\""},
	    {TURN_FAILED, ERR_MODEL_CUT, "a", "\"error_code\":\"model_cut\""},
	    {TURN_FAILED, ERR_MODEL_TIMEOUT, "",
		"\"content\":\"\",\"status\":\"failed\""},
	};
	char c[ID_TEXT];
	world_conversation(&w, c);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct turn *t = NULL;
		struct pg_call calls[TURN_FINISH_CALLS];
		cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
		buf_puts(&t->text, rows[i].text);
		t->status = rows[i].status;
		t->error = rows[i].error;
		struct request *req = world_request(&w);
		size_t n = turn_finish(t, req->arena, calls);
		cr_assert_eq(chat_run(req, calls, n), OK, "%s", req->why);
		cr_expect_eq(turn_stored(t, calls, n), OK);
		cr_expect(holds(&t->stored, rows[i].shown), "row %zu: %.*s", i,
		    (int)t->stored.n, t->stored.p);
		pg_calls_clear(calls, n);
		turn_free(t);
	}
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE user_id = '%s' AND prompt_tokens = 0",
			 w.user),
	    1, "a model that failed without a word charges nothing");
}

Test(turn, a_second_send_is_refused_with_the_running_reply)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	struct turn *other = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "First", &t), OK);
	uint64_t before = pg_round_trips(w.services.pg);
	cr_expect_eq(
	    world_begin(&w, c, NULL, "Second", &other), ERR_REPLY_IN_PROGRESS);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 2);
	cr_expect_str_eq(w.req.running_message, t->message_id);
	cr_expect_eq(world_begin(&w, c, t->message_id, "Third", &other),
	    ERR_REPLY_IN_PROGRESS);
	cr_expect_str_eq(w.req.running_message, t->message_id);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s'",
			 w.user),
	    2);
	cr_expect_eq(world_number("SELECT next_position + message_count"
				  " FROM chat.conversations WHERE id = '%s'",
			 c),
	    5);
	cr_assert_eq(world_finish(&w, t, "Done."), OK);
	turn_free(t);
	cr_expect_eq(world_begin(&w, c, NULL, "Fourth", &t), OK);
	turn_free(t);
}

Test(turn, other_branches_run_at_the_same_time)
{
	char c[ID_TEXT];
	char first[ID_TEXT];
	char second[ID_TEXT];
	struct turn *a = NULL;
	struct turn *b = NULL;
	struct turn *again = NULL;
	world_conversation(&w, c);
	world_turn(&w, c, NULL, "One", first);
	world_turn(&w, c, NULL, "Two", second);
	cr_assert_eq(world_begin(&w, c, first, "Two, edited", &a), OK);
	cr_assert_eq(world_begin(&w, c, second, "Three", &b), OK);
	cr_expect_eq(
	    world_begin(&w, c, first, "Again", &again), ERR_REPLY_IN_PROGRESS);
	cr_expect_str_eq(w.req.running_message, a->message_id);
	cr_expect_eq(world_finish(&w, a, "A."), OK);
	cr_expect_eq(world_finish(&w, b, "B."), OK);
	cr_expect_eq(world_number("SELECT count(DISTINCT position)"
				  " FROM chat.messages WHERE user_id = '%s'",
			 w.user),
	    8);
	turn_free(a);
	turn_free(b);
}

Test(turn, a_parent_must_be_an_answer_of_the_same_conversation)
{
	char c[ID_TEXT];
	char elsewhere[ID_TEXT];
	char reply[ID_TEXT];
	char other_reply[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	world_conversation(&w, elsewhere);
	world_turn(&w, c, NULL, "One", reply);
	world_turn(&w, elsewhere, NULL, "One", other_reply);
	cr_assert_eq(world_call(&w, api_message_get, reply, "", ""), OK);
	const char *question = world_text(&w, "parent_id");
	const char *const parents[] = {other_reply, question, w.user, "x"};
	for (size_t i = 0; i < sizeof(parents) / sizeof(*parents); i++) {
		cr_expect_eq(world_begin(&w, c, parents[i], "Two", &t),
		    ERR_INVALID_FIELD, "parent %zu", i);
		cr_expect_str_eq(w.req.bad_field, "parent_id");
	}
	cr_expect_eq(world_number("SELECT message_count"
				  " FROM chat.conversations WHERE id = '%s'",
			 c),
	    2);
}

Test(turn, a_question_must_hold_text_within_the_limit)
{
	static const struct {
		const char *content;
		enum err want;
	} rows[] = {
	    {" \t\r\n", ERR_INVALID_FIELD},
	    {"\xe2\x80\x83\xc2\xa0", ERR_INVALID_FIELD},
	    {"\xff", ERR_INVALID_FIELD},
	    {"123456789", ERR_INVALID_FIELD},
	    {"12345678", OK},
	};
	char c[ID_TEXT];
	w.config.message_max_bytes = 8;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct turn *t = NULL;
		world_conversation(&w, c);
		cr_expect_eq(world_begin(&w, c, NULL, rows[i].content, &t),
		    rows[i].want, "row %zu", i);
		turn_free(t);
	}
}

Test(turn, somebody_elses_conversation_is_not_there)
{
	static struct world other;
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	world_open(&other, NULL);
	cr_expect_eq(world_begin(&other, c, NULL, "Hello", &t), ERR_NOT_FOUND);
	cr_expect_eq(world_begin(&other, "no-such-id", NULL, "Hello", &t),
	    ERR_NOT_FOUND);
	cr_expect_eq(world_number("SELECT message_count"
				  " FROM chat.conversations WHERE id = '%s'",
			 c),
	    0);
	world_close(&other);
}

Test(turn, a_short_id_names_the_conversation_too)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_call(&w, api_conversation_get, c, "", ""), OK);
	const char *short_id = world_text(&w, "short_id");
	uint64_t before = pg_round_trips(w.services.pg);
	cr_assert_eq(world_begin(&w, short_id, NULL, "Hello", &t), OK);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 1);
	cr_expect_str_eq(t->conversation_id, c);
	turn_free(t);
}

Test(turn, the_model_is_the_asked_then_the_conversations_then_the_servers)
{
	static const struct {
		const char *asked, *conversation, *url, *want;
	} rows[] = {
	    {NULL, NULL, "http://x/v1", "test-model"},
	    {NULL, "own-model", "http://x/v1", "own-model"},
	    {"asked", "own-model", "http://x/v1", "asked"},
	    {"natter-local", "own-model", "http://x/v1", "natter-local"},
	    {NULL, "natter-local", "http://x/v1", "natter-local"},
	    {"asked", "own-model", "", "natter-local"},
	    {NULL, NULL, "", "natter-local"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct conversation_change change = {
		    .model = rows[i].conversation,
		};
		struct turn *t = NULL;
		struct buf shown = {0};
		char id[ID_TEXT];
		cr_assert_eq(
		    conversation_create(world_request(&w), &change, &shown, id),
		    OK);
		buf_free(&shown);
		w.config.openai_base_url = (char *)rows[i].url;
		struct turn_ask ask = {
		    .conversation_id = id,
		    .content = "What are you?",
		    .model = rows[i].asked,
		};
		cr_assert_eq(turn_begin(world_request(&w), &ask, &t), OK);
		bool is_local = !strcmp(rows[i].want, "natter-local");
		cr_expect_str_eq(t->model, rows[i].want, "row %zu", i);
		cr_expect_eq(t->is_local, is_local, "row %zu", i);
		cr_expect_eq(holds(&t->prompt, "\"messages\""), !is_local);
		cr_expect_eq(holds(&t->prompt, w.user), is_local,
		    "natter-local knows the username");
		turn_free(t);
	}
}

/* The contents of the prompt's messages, in order, joined with '|'. */
static char *
prompt_contents(const struct turn *t)
{
	static char out[4096];
	AUTO_JSON struct json_object *o = NULL;
	cr_assert_eq(json_parse_object(t->prompt.p, t->prompt.n, &o), OK);
	struct json_object *list = json_object_object_get(o, "messages");
	out[0] = '\0';
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *m = json_object_array_get_idx(list, i);
		strcat(out, i ? "|" : "");
		strcat(out, json_object_get_string(
				json_object_object_get(m, "content")));
	}
	return out;
}

Test(turn, the_context_is_the_way_up_the_branch)
{
	char c[ID_TEXT];
	char one[ID_TEXT];
	char two[ID_TEXT];
	char edited[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	world_turn(&w, c, NULL, "Q1", one);
	world_turn(&w, c, NULL, "Q2", two);
	world_turn(&w, c, one, "Q2b", edited);

	cr_assert_eq(world_begin(&w, c, two, "Q3", &t), OK);
	cr_expect_str_eq(
	    prompt_contents(t), "Be brief.|Q1|An answer.|Q2|An answer.|Q3");
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	turn_free(t);

	cr_assert_eq(world_begin(&w, c, edited, "Q3b", &t), OK);
	cr_expect_str_eq(
	    prompt_contents(t), "Be brief.|Q1|An answer.|Q2b|An answer.|Q3b");
	turn_free(t);
}

/* As retention leaves it when old months went. */
Test(turn, the_context_ends_where_messages_are_gone)
{
	char c[ID_TEXT];
	char one[ID_TEXT];
	char two[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	world_turn(&w, c, NULL, "Q1", one);
	world_turn(&w, c, NULL, "Q2", two);
	world_sql("DELETE FROM chat.messages WHERE user_id = '%s'"
		  " AND conversation_id = '%s' AND position <= 2",
	    w.user, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Q3", &t), OK);
	cr_expect_str_eq(prompt_contents(t), "Be brief.|Q2|An answer.|Q3");
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	turn_free(t);
	cr_expect_eq(world_begin(&w, c, one, "Q4", &t), ERR_INVALID_FIELD);

	/* All of them, and the leaf with them. */
	world_sql("DELETE FROM chat.messages WHERE user_id = '%s'", w.user);
	world_sql("UPDATE chat.conversations SET leaf_id = NULL,"
		  " message_count = 0 WHERE user_id = '%s'",
	    w.user);
	cr_assert_eq(world_begin(&w, c, NULL, "Q5", &t), OK);
	cr_expect_str_eq(prompt_contents(t), "Be brief.|Q5");
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	turn_free(t);
	cr_expect_eq(world_number("SELECT message_count FROM chat.conversations"
				  " WHERE user_id = '%s'",
			 w.user),
	    2);
}

Test(turn, the_context_leaves_out_what_failed_without_a_word)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Q1", &t), OK);
	turn_abandon(world_request(&w), t, ERR_MODEL_FAILED);
	turn_free(t);
	cr_assert_eq(world_begin(&w, c, NULL, "Q2", &t), OK);
	cr_expect_str_eq(prompt_contents(t), "Be brief.|Q1|Q2");
	turn_free(t);
}

Test(turn, the_context_keeps_the_newest_within_its_bounds)
{
	char c[ID_TEXT];
	char reply[ID_TEXT];
	struct turn *t = NULL;
	w.config.context_messages = 3;
	w.config.system_prompt = (char *)"";
	world_conversation(&w, c);
	world_turn(&w, c, NULL, "Q1", reply);
	world_turn(&w, c, NULL, "Q2", reply);
	cr_assert_eq(world_begin(&w, c, NULL, "Q3", &t), OK);
	cr_expect_str_eq(prompt_contents(t), "An answer.|Q2|An answer.|Q3");
	turn_free(t);
}

Test(turn, the_context_is_bounded_in_bytes)
{
	enum { BIG = 300 * 1024, TURNS = 5 };
	char c[ID_TEXT];
	struct turn *t = NULL;
	char *big = malloc(BIG + 1);
	w.config.model_window = (char *)"1000000 gpt-4o-mini=1000000";
	memset(big, 'x', BIG);
	big[BIG] = '\0';
	world_conversation(&w, c);
	for (int i = 0; i < TURNS; i++) {
		cr_assert_eq(world_begin(&w, c, NULL, "Q", &t), OK);
		cr_assert_eq(world_finish(&w, t, big), OK);
		turn_free(t);
	}
	cr_assert_eq(world_begin(&w, c, NULL, "Last", &t), OK);
	cr_expect_gt(t->prompt.n, 3 * BIG);
	cr_expect_lt(t->prompt.n, 4 * BIG);
	turn_free(t);
	free(big);
}

Test(turn, deleting_a_conversation_ends_its_running_reply)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	cr_assert_eq(conversation_delete(world_request(&w), c), OK);
	cr_expect_eq(world_finish(&w, t, "Too late."), ERR_NOT_FOUND);
	cr_expect_eq(
	    world_number("SELECT (SELECT count(*) FROM chat.messages"
			 " WHERE user_id = '%s')"
			 " + (SELECT count(*) FROM chat.running_replies"
			 " WHERE user_id = '%s')",
		w.user, w.user),
	    0);
	/* What the model was asked for has cost something all the same. */
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE user_id = '%s' AND id = '%s'"
				  " AND conversation_id = '%s'"
				  " AND completion_tokens = 3",
			 w.user, t->message_id, c),
	    1);
	turn_free(t);
}

Test(turn, a_worker_that_was_not_seen_loses_its_replies)
{
	char c[ID_TEXT];
	struct turn *t = NULL;
	struct pg_call calls[TURN_WORKER_CALLS];
	world_sql("DELETE FROM chat.running_replies");
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	world_sql("UPDATE chat.running_replies SET started_at = now()"
		  " - interval '1 minute' WHERE message_id = '%s'",
	    t->message_id);
	world_sql("INSERT INTO chat.workers (id, host, pid, seen_at)"
		  " VALUES ('%s', 'h', 1, now() - interval '1 minute')"
		  " ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
	    w.worker);
	char other[ID_TEXT];
	id_make(other);
	struct request *req = world_request(&w);
	size_t n = turn_worker_calls(other, NULL, req->arena, calls);
	cr_assert_eq(pg_run(w.services.pg, NULL, calls, n), OK, "%s",
	    pg_why(w.services.pg));
	pg_calls_clear(calls, n);
	/* Nobody has said that it died. */
	struct lost_reply lost[LOST_MAX];
	cr_assert_eq(
	    lost_take(w.services.pg, other, LOST_OF_DEAD, lost, LOST_MAX, &n),
	    OK);
	cr_expect_eq(n, 0);
	cr_assert_eq(
	    lost_take(w.services.pg, other, LOST_OF_SILENT, lost, LOST_MAX, &n),
	    OK);
	cr_assert_eq(n, 1);
	cr_expect_str_eq(lost[0].message_id, t->message_id);
	cr_assert_eq(lost_end(w.services.pg, lost, n), OK);
	cr_expect(lost[0].was_ended);
	lost_clear(lost, n);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND status = 'interrupted'",
			 t->message_id),
	    1);
	/* Its own worker comes back too late. */
	cr_expect_eq(world_finish(&w, t, "Late."), ERR_INTERRUPTED);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.workers"
				  " WHERE id = '%s' AND pid > 1",
			 other),
	    1);
	turn_free(t);
}

Test(turn, a_reply_that_nobody_can_be_writing_frees_its_branch)
{
	char c[ID_TEXT];
	struct turn *lost = NULL;
	struct turn *t = NULL;
	w.config.reply_max_seconds = 300;
	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &lost), OK);
	world_sql("UPDATE chat.running_replies SET started_at = now()"
		  " - interval '1190 seconds' WHERE message_id = '%s'",
	    lost->message_id);
	cr_expect_eq(
	    world_begin(&w, c, NULL, "Again", &t), ERR_REPLY_IN_PROGRESS);
	world_sql("UPDATE chat.running_replies SET started_at = now()"
		  " - interval '1201 seconds' WHERE message_id = '%s'",
	    lost->message_id);
	cr_assert_eq(world_begin(&w, c, NULL, "Again", &t), OK);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND status = 'interrupted'"
				  " AND completed_at IS NOT NULL",
			 lost->message_id),
	    1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    1);
	turn_free(lost);
	turn_free(t);
}

/* --- many at once --- */

struct sender {
	pthread_t thread;
	struct world world;
	pthread_barrier_t *start;
	const char *conversation;
	char parent[ID_TEXT]; /* "" none */
	int turns;
	int stored;
	int refused;
	int other;
	char reply[ID_TEXT];
	char running[ID_TEXT]; /* as the last refusal named it */
};

static enum err
begin(struct sender *s, struct turn **out)
{
	enum err e;
	do
		e = world_begin(&s->world, s->conversation,
		    *s->parent ? s->parent : NULL, "Hello", out);
	while (world_was_late(&s->world, e));
	return e;
}

static enum err
finish(struct world *by, struct turn *t)
{
	enum err e;
	do
		e = world_finish(by, t, "Hi.");
	while (world_was_late(by, e));
	return e;
}

/* Sends once and leaves the reply running. */
static void *
send_once(void *arg)
{
	struct sender *s = arg;
	struct turn *t = NULL;
	pthread_barrier_wait(s->start);
	enum err e = begin(s, &t);
	if (e == OK) {
		s->stored++;
		strcpy(s->reply, t->message_id);
	} else if (e == ERR_REPLY_IN_PROGRESS && s->world.req.running_message) {
		s->refused++;
		strcpy(s->running, s->world.req.running_message);
	} else {
		s->other++;
	}
	turn_free(t);
	return NULL;
}

/* Sends whole turns until `turns` of them are stored. */
static void *
send_many(void *arg)
{
	struct sender *s = arg;
	pthread_barrier_wait(s->start);
	while (s->stored < s->turns && s->other == 0) {
		struct turn *t = NULL;
		enum err e = begin(s, &t);
		if (e == OK && finish(&s->world, t) == OK)
			s->stored++;
		else if (e == ERR_REPLY_IN_PROGRESS)
			s->refused++;
		else
			s->other++;
		turn_free(t);
	}
	return NULL;
}

static void
run_senders(struct sender *senders, unsigned n, void *(*body)(void *))
{
	pthread_barrier_t start;
	pthread_barrier_init(&start, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		world_open(&senders[i].world, w.user);
		senders[i].start = &start;
	}
	for (unsigned i = 0; i < n; i++)
		pthread_create(&senders[i].thread, NULL, body, &senders[i]);
	for (unsigned i = 0; i < n; i++)
		pthread_join(senders[i].thread, NULL);
	for (unsigned i = 0; i < n; i++)
		world_close(&senders[i].world);
	pthread_barrier_destroy(&start);
}

/* One of `n` senders wins; the others are told whose reply runs. */
static void
expect_one_winner(const char *conversation, const char *parent, unsigned n)
{
	struct sender *senders = calloc(n, sizeof(*senders));
	const char *winner = NULL;
	for (unsigned i = 0; i < n; i++) {
		senders[i].conversation = conversation;
		strcpy(senders[i].parent, parent);
	}
	run_senders(senders, n, send_once);
	int stored = 0;
	for (unsigned i = 0; i < n; i++) {
		stored += senders[i].stored;
		cr_expect_eq(senders[i].other, 0);
		if (senders[i].stored)
			winner = senders[i].reply;
	}
	cr_assert_eq(stored, 1);
	for (unsigned i = 0; i < n; i++) {
		if (senders[i].refused)
			cr_expect_str_eq(senders[i].running, winner);
	}
	free(senders);
}

Test(turn, of_two_first_sends_one_wins)
{
	for (int i = 0; i < 20; i++) {
		char c[ID_TEXT];
		world_conversation(&w, c);
		expect_one_winner(c, "", 2);
		cr_expect_eq(world_number("SELECT message_count"
					  " FROM chat.conversations"
					  " WHERE id = '%s'",
				 c),
		    2);
	}
}

Test(turn, of_twenty_sends_on_one_branch_one_wins)
{
	char c[ID_TEXT];
	char first[ID_TEXT];
	char second[ID_TEXT];
	world_conversation(&w, c);
	world_turn(&w, c, NULL, "One", first);
	world_turn(&w, c, NULL, "Two", second);
	expect_one_winner(c, first, 20);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s'",
			 w.user),
	    6);
}

Test(turn, sends_on_different_branches_all_run)
{
	enum { BRANCHES = 8 };
	static struct sender senders[BRANCHES];
	char c[ID_TEXT];
	world_conversation(&w, c);
	for (int i = 0; i < BRANCHES; i++) {
		senders[i].conversation = c;
		world_turn(&w, c, NULL, "One", senders[i].parent);
	}
	run_senders(senders, BRANCHES, send_once);
	for (int i = 0; i < BRANCHES; i++)
		cr_expect_eq(senders[i].stored, 1, "branch %d", i);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    BRANCHES);
}

Test(turn, counts_and_positions_are_exact_under_eight_connections)
{
	enum { SENDERS = 8, TURNS = 50, ALL = 2 * SENDERS * TURNS };
	static struct sender senders[SENDERS];
	char c[ID_TEXT];
	world_conversation(&w, c);
	for (int i = 0; i < SENDERS; i++) {
		senders[i].conversation = c;
		senders[i].turns = TURNS;
	}
	run_senders(senders, SENDERS, send_many);
	for (int i = 0; i < SENDERS; i++)
		cr_expect_eq(senders[i].other, 0, "sender %d", i);
	cr_expect_eq(world_number("SELECT message_count"
				  " FROM chat.conversations WHERE id = '%s'"
				  " AND next_position = message_count + 1",
			 c),
	    ALL);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE conversation_id = '%s'",
			 c),
	    ALL);
	cr_expect_eq(world_number("SELECT count(DISTINCT position)"
				  " FROM chat.messages"
				  " WHERE conversation_id = '%s'"
				  " AND position BETWEEN 1 AND %d",
			 c, ALL),
	    ALL);
	/* One chain: nobody's question hangs on a reply that still ran. */
	cr_expect_eq(world_number("SELECT count(DISTINCT parent_id)"
				  " FROM chat.messages"
				  " WHERE conversation_id = '%s'",
			 c),
	    ALL - 1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE conversation_id = '%s'",
			 c),
	    ALL / 2);
}
