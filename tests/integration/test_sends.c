/*
 * Idempotent sends against a real Postgres: one key is one turn, however often
 * and from wherever it is sent, and what was refused leaves nothing behind.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "chat/follow.h"
#include "chat/queries.h"
#include "chat/send_key.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "store/pg.h"
#include "support/world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_sends"))
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

TestSuite(sends, .init = open_world, .fini = close_world, .timeout = 120);

/* What a send gave; the ids are copies. */
struct sent {
	enum err err;
	struct turn *turn; /* NULL: refused, or a replay */
	char replayed[ID_TEXT];
	bool is_running;
};

static struct sent
send_as(struct world *world, const char *key, const struct turn_ask *wanted)
{
	struct request *req = world_request(world);
	struct turn_ask ask = *wanted;
	struct sent s = {0};
	req->idempotency_key = key;
	s.err = send_key_read(req, &ask, &ask.key);
	if (s.err == OK)
		s.err = turn_begin(req, &ask, &s.turn);
	if (s.err == OK && !s.turn && ask.key) {
		strcpy(s.replayed, ask.key->message_id);
		s.is_running = ask.key->is_running;
	}
	return s;
}

static struct sent
send(const char *key, const char *conversation, const char *content)
{
	const struct turn_ask ask = {
	    .conversation_id = conversation, .content = content};
	return send_as(&w, key, &ask);
}

#define COUNT(table)                                    \
	world_number("SELECT count(*) FROM chat." table \
		     " WHERE user_id = '%s'",           \
	    w.user)

/* Everything that a turn leaves, as one number each. */
static void
expect_counts(int64_t messages, int64_t running, int64_t keys)
{
	cr_expect_eq(COUNT("messages"), messages);
	cr_expect_eq(COUNT("running_replies"), running);
	cr_expect_eq(COUNT("idempotency_keys"), keys);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.budgets_amiss("
				  "date_trunc('month', now())::date)"),
	    0);
}

/* ---- what a key is ---- */

Test(sends, a_key_is_visible_ascii_bare_or_quoted)
{
	static char long_key[2 * SEND_KEY_MAX + 8];
	static const char *const good[] = {
	    "a",
	    "~!@#$%^&*()",
	    "8e03978e-40d5-43dd-bc93-6894a57f9324",
	    "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
	    "\"a\\\"b\\\\c\"",
	    "a\"b",
	    "a\\",
	};
	static const char *const bad[] = {
	    "a b",
	    " a",
	    "a\tb",
	    "\x7f",
	    "k\xc3\xa9y",
	    "\"\"",
	    "\"",
	    "\"a",
	    "\"a\"b",
	    "\"a\";p=1",
	    "\"a\\",
	    "\"a\\b\"",
	    "\"a b\"",
	    "a, b", /* two headers */
	    "\"a\", \"b\"",
	};
	const struct turn_ask ask = {.content = "x"};
	struct send_key *k;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct request *req = world_request(&w);
		req->idempotency_key = good[i];
		cr_expect_eq(send_key_read(req, &ask, &k), OK, "%s", good[i]);
		cr_expect_not_null(k);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct request *req = world_request(&w);
		req->idempotency_key = bad[i];
		cr_expect_eq(send_key_read(req, &ask, &k), ERR_INVALID_FIELD,
		    "%s", bad[i]);
		cr_expect_null(k);
		cr_expect_str_eq(req->bad_field, "Idempotency-Key");
	}
	memset(long_key, 'x', SEND_KEY_MAX);
	struct request *req = world_request(&w);
	req->idempotency_key = long_key;
	cr_expect_eq(send_key_read(req, &ask, &k), OK);
	long_key[SEND_KEY_MAX] = 'x';
	cr_expect_eq(send_key_read(req, &ask, &k), ERR_INVALID_FIELD);
	req->idempotency_key = "";
	cr_expect_eq(send_key_read(req, &ask, &k), OK);
	cr_expect_null(k);
}

Test(sends, a_quoted_key_is_the_same_as_a_bare_one)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent first = send("a\"b", c, "Hello");
	struct sent again = send("\"a\\\"b\"", c, "Hello");
	cr_assert_not_null(first.turn);
	cr_expect_eq(again.err, OK);
	cr_expect_str_eq(again.replayed, first.turn->message_id);
	turn_free(first.turn);
}

/* ---- one key is one turn ---- */

Test(sends, a_send_with_a_key_is_still_one_round_trip)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	uint64_t before = pg_round_trips(w.services.pg);
	struct sent s = send("k", c, "Hello");
	cr_assert_not_null(s.turn);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 1);
	before = pg_round_trips(w.services.pg);
	cr_expect_eq(send("k", c, "Hello").err, OK);
	cr_expect_eq(pg_round_trips(w.services.pg) - before, 2);
	turn_free(s.turn);
}

Test(sends, the_same_again_names_the_reply_while_it_runs_and_afterwards)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent first = send("k", c, "Hello");
	cr_assert_not_null(first.turn);
	struct sent again = send("k", c, "Hello");
	cr_expect_eq(again.err, OK);
	cr_expect_null(again.turn);
	cr_expect_str_eq(again.replayed, first.turn->message_id);
	cr_expect(again.is_running);
	expect_counts(2, 1, 1);
	cr_assert_eq(world_finish(&w, first.turn, "Hi."), OK);
	/* The newest message is another parent now: it is a replay still. */
	again = send("k", c, "Hello");
	cr_expect_eq(again.err, OK);
	cr_expect_str_eq(again.replayed, first.turn->message_id);
	cr_expect_not(again.is_running);
	expect_counts(2, 0, 1);
	turn_free(first.turn);
}

Test(sends, the_answer_again_is_the_stored_message)
{
	static const struct {
		enum turn_status status;
		enum err error;
		const char *shown;
	} rows[] = {
	    {TURN_COMPLETE, OK, "complete"},
	    {TURN_FAILED, ERR_MODEL_TIMEOUT, "failed"},
	    {TURN_INTERRUPTED, ERR_DRAINING, "interrupted"},
	    {TURN_CANCELLED, OK, "cancelled"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct reply rep = {0};
		struct pg_call calls[TURN_FINISH_CALLS];
		char c[ID_TEXT], key[8];
		world_conversation(&w, c);
		(void)snprintf(key, sizeof(key), "k%zu", i);
		for (int again = 0; again < 2; again++) {
			struct request *req = world_request(&w);
			rep = (struct reply){0};
			req->ids[0] = c;
			req->idempotency_key = key;
			req->body = "{\"content\":\"Hello\"}";
			req->body_len = strlen(req->body);
			cr_assert_eq(
			    api_message_post(req, &rep), OK, "%s", req->why);
			if (again)
				break;
			struct turn *t = rep.turn;
			cr_assert_not_null(t);
			t->status = rows[i].status;
			t->error = rows[i].error;
			req = world_request(&w);
			size_t n = turn_finish(t, req->arena, calls);
			cr_assert_eq(chat_run(req, calls, n), OK);
			pg_calls_clear(calls, n);
			turn_free(t);
		}
		cr_expect_null(rep.turn);
		cr_expect(w.req.is_replay);
		cr_expect_eq(rep.status, 201);
		cr_expect_str_eq(rep.headers[0].name, "Idempotent-Replayed");
		cr_expect(strstr(rep.body, rows[i].shown), "%s", rep.body);
	}
}

Test(sends, another_request_under_the_key_is_refused)
{
	char c[ID_TEXT], other[ID_TEXT], reply[ID_TEXT];
	world_conversation(&w, c);
	world_conversation(&w, other);
	world_turn(&w, c, NULL, "One", reply);
	struct sent first = send("k", c, "Hello");
	cr_assert_not_null(first.turn);
	const struct turn_ask asks[] = {
	    {.conversation_id = c, .content = "Hello!"},
	    {.conversation_id = other, .content = "Hello"},
	    {.conversation_id = c, .content = "Hello", .parent_id = reply},
	    {.conversation_id = c, .content = "Hello", .model = "gpt"},
	    {.conversation_id = c, .content = "Hello", .metadata = "{}"},
	    {.conversation_id = c, .content = "Hello", .max_tokens = 9},
	    {.conversation_id = c, .content = "Hello", .cache = ANSWER_FRESH},
	};
	for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
		struct sent s = send_as(&w, "k", &asks[i]);
		cr_expect_eq(s.err, ERR_KEY_REUSED, "row %zu", i);
		cr_expect_null(s.turn);
		cr_expect_str_eq(w.req.bad_field, "Idempotency-Key");
	}
	/* How it is to be answered is no part of it. */
	const struct turn_ask streamed = {
	    .conversation_id = c, .content = "Hello", .wants_stream = true};
	cr_expect_eq(send_as(&w, "k", &streamed).err, OK);
	expect_counts(4, 1, 1);
	turn_free(first.turn);
}

/* Posts to a handler with the key "k"; the reply's id, begun or replayed. */
static enum err
post(world_handler_fn handler, const char *id, const char *body,
    char out_reply[static ID_TEXT])
{
	struct request *req = world_request(&w);
	struct reply rep = {0};
	req->ids[0] = id;
	req->idempotency_key = "k";
	req->body = body;
	req->body_len = strlen(body);
	enum err e = handler(req, &rep);
	*out_reply = '\0';
	if (e == OK && rep.turn)
		strcpy(out_reply, rep.turn->message_id);
	else if (e == OK && rep.follow)
		strcpy(out_reply, rep.follow->message_id);
	turn_free(rep.turn);
	free(rep.follow);
	return e;
}

/* Edits and new replies take the key as sends do; each route its own. */
Test(sends, every_route_that_begins_a_turn_takes_a_key)
{
	static const struct {
		world_handler_fn handler;
		const char *body;
	} rows[] = {
	    {api_message_regenerate, ""},
	    {api_message_edit, "{\"content\":\"Edited\"}"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char c[ID_TEXT], reply[ID_TEXT], question[ID_TEXT];
		char first[ID_TEXT], again[ID_TEXT];
		world_conversation(&w, c);
		world_turn(&w, c, NULL, "One", reply);
		cr_assert_eq(
		    world_call(&w, api_message_get, reply, "", ""), OK);
		strcpy(question, world_text(&w, "parent_id"));
		world_sql("DELETE FROM chat.idempotency_keys"
			  " WHERE user_id = '%s'",
		    w.user);
		cr_assert_eq(
		    post(rows[i].handler, question, rows[i].body, first), OK,
		    "%s", w.req.why);
		cr_expect_eq(
		    post(rows[i].handler, question, rows[i].body, again), OK);
		cr_expect(w.req.is_replay);
		cr_expect_str_eq(again, first);
		/* The message that the path names counts. */
		if (rows[i].handler == api_message_regenerate)
			cr_expect_eq(post(rows[i].handler, reply, "", again),
			    ERR_KEY_REUSED);
		cr_expect_eq(post(api_message_post, c,
				 "{\"content\":\"Edited\"}", again),
		    ERR_KEY_REUSED);
	}
}

Test(sends, keys_of_different_users_are_different_keys)
{
	static struct world other;
	char c[ID_TEXT], theirs[ID_TEXT];
	world_open(&other, NULL);
	world_conversation(&w, c);
	world_conversation(&other, theirs);
	struct sent first = send("k", c, "Hello");
	const struct turn_ask ask = {
	    .conversation_id = theirs, .content = "Other"};
	struct sent second = send_as(&other, "k", &ask);
	cr_expect_not_null(first.turn);
	cr_expect_not_null(second.turn);
	/* Nobody learns of another's reply. */
	const struct turn_ask foreign = {
	    .conversation_id = c, .content = "Hello"};
	cr_expect_eq(send_as(&other, "k2", &foreign).err, ERR_NOT_FOUND);
	turn_free(first.turn);
	turn_free(second.turn);
	world_close(&other);
}

Test(sends, no_key_is_stored_in_clear)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	turn_free(send("a-very-secret-key", c, "Hello").turn);
	cr_expect_eq(
	    world_number("SELECT count(*) FROM chat.idempotency_keys k"
			 " WHERE k::text LIKE '%%secret%%' OR position("
			 "'secret'::bytea IN k.key) > 0"),
	    0);
}

/* ---- what was refused leaves nothing ---- */

Test(sends, a_refused_send_leaves_no_key)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent running = send(NULL, c, "First");
	cr_assert_not_null(running.turn);
	cr_expect_eq(send("k", c, "Second").err, ERR_REPLY_IN_PROGRESS);
	cr_expect_str_eq(w.req.running_message, running.turn->message_id);
	cr_expect_eq(send("k", w.user, "Second").err, ERR_NOT_FOUND);
	const struct turn_ask unfit = {
	    .conversation_id = c, .content = "x", .parent_id = w.user};
	cr_expect_eq(send_as(&w, "k", &unfit).err, ERR_INVALID_FIELD);
	expect_counts(2, 1, 0);
	cr_assert_eq(world_finish(&w, running.turn, "Done."), OK);
	turn_free(running.turn);
	w.config.max_tokens_per_day = 1;
	cr_expect_eq(send("k", c, "Second").err, ERR_QUOTA_EXCEEDED);
	expect_counts(2, 0, 0);
	w.config.max_tokens_per_day = 0;
	struct sent s = send("k", c, "Second");
	cr_expect_not_null(s.turn);
	expect_counts(4, 1, 1);
	turn_free(s.turn);
}

Test(sends, a_replay_needs_no_budget)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent first = send("k", c, "Hello");
	w.config.max_tokens_per_day = 1;
	w.config.streams_per_user = 1;
	struct sent again = send("k", c, "Hello");
	cr_expect_eq(again.err, OK);
	cr_expect_str_eq(again.replayed, first.turn->message_id);
	turn_free(first.turn);
}

/* ---- the end of a key ---- */

Test(sends, a_key_whose_time_is_over_is_taken_anew)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent first = send("k", c, "Hello");
	cr_assert_eq(world_finish(&w, first.turn, "Hi."), OK);
	turn_free(first.turn);
	cr_expect_eq(world_number("SELECT (extract(epoch FROM k.expires_at"
				  " - now()) / 3600)::int"
				  " FROM chat.idempotency_keys k"
				  " WHERE k.user_id = '%s'",
			 w.user),
	    24);
	world_sql("UPDATE chat.idempotency_keys SET expires_at = now()"
		  " WHERE user_id = '%s'",
	    w.user);
	struct sent next = send("k", c, "Something else");
	cr_assert_not_null(next.turn);
	expect_counts(4, 1, 1);
	struct sent again = send("k", c, "Something else");
	cr_expect_str_eq(again.replayed, next.turn->message_id);
	turn_free(next.turn);
}

Test(sends, a_reply_that_went_with_its_conversation_is_not_there)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent first = send("k", c, "Hello");
	cr_assert_eq(world_finish(&w, first.turn, "Hi."), OK);
	turn_free(first.turn);
	world_sql("UPDATE chat.conversations SET expires_at = now()"
		  " WHERE id = '%s'",
	    c);
	cr_expect_eq(send("k", c, "Hello").err, ERR_NOT_FOUND);
	world_sql("DELETE FROM chat.conversations WHERE id = '%s'", c);
	cr_expect_eq(send("k", c, "Hello").err, ERR_NOT_FOUND);
	cr_expect_eq(COUNT("idempotency_keys"), 1);
	world_sql("DELETE FROM auth.users WHERE id = '%s'", w.user);
	cr_expect_eq(COUNT("idempotency_keys"), 0);
}

/* ---- at the same time ---- */

#define CROWD 16

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	struct world world;
	char conversation[ID_TEXT];
	struct sent sent;
	char message[ID_TEXT]; /* of the turn that it began */
};

static void *
send_once(void *arg)
{
	struct member *m = arg;
	const struct turn_ask ask = {
	    .conversation_id = m->conversation, .content = "Hello"};
	pthread_barrier_wait(m->gate);
	do /* who waits for a lock too long comes again, as a client does */
		m->sent = send_as(&m->world, "k", &ask);
	while (m->sent.err == ERR_UNAVAILABLE);
	if (m->sent.turn)
		strcpy(m->message, m->sent.turn->message_id);
	return NULL;
}

/* Everybody sends at once; how many began a turn. */
static int
crowd(struct member m[static CROWD])
{
	pthread_barrier_t gate;
	int begun = 0;
	pthread_barrier_init(&gate, NULL, CROWD);
	for (int i = 0; i < CROWD; i++) {
		world_open(&m[i].world, w.user);
		m[i].gate = &gate;
		pthread_create(&m[i].thread, NULL, send_once, &m[i]);
	}
	for (int i = 0; i < CROWD; i++) {
		pthread_join(m[i].thread, NULL);
		begun += m[i].sent.turn != NULL;
	}
	pthread_barrier_destroy(&gate);
	return begun;
}

static void
clear(struct member m[static CROWD])
{
	for (int i = 0; i < CROWD; i++) {
		turn_free(m[i].sent.turn);
		world_close(&m[i].world);
	}
}

Test(sends, of_many_at_once_one_begins_and_all_name_it)
{
	static struct member m[CROWD];
	const char *message = NULL;
	char c[ID_TEXT];
	world_conversation(&w, c);
	for (int i = 0; i < CROWD; i++)
		strcpy(m[i].conversation, c);
	cr_expect_eq(crowd(m), 1);
	for (int i = 0; i < CROWD; i++)
		if (m[i].sent.turn)
			message = m[i].message;
	cr_assert_not_null(message);
	for (int i = 0; i < CROWD; i++) {
		cr_expect_eq(m[i].sent.err, OK);
		if (!m[i].sent.turn)
			cr_expect_str_eq(m[i].sent.replayed, message);
	}
	expect_counts(2, 1, 1);
	clear(m);
}

Test(sends, of_many_conversations_at_once_one_has_the_key)
{
	static struct member m[CROWD];
	for (int i = 0; i < CROWD; i++)
		world_conversation(&w, m[i].conversation);
	cr_expect_eq(crowd(m), 1);
	for (int i = 0; i < CROWD; i++)
		cr_expect_eq(
		    m[i].sent.err, m[i].sent.turn ? OK : ERR_KEY_REUSED);
	expect_counts(2, 1, 1);
	clear(m);
}

/* ---- replies of which nobody heard ---- */

static bool
end_unheard(const char *message)
{
	struct pg_call call;
	turn_unheard(w.user, message, &call);
	cr_assert_eq(pg_run(w.services.pg, w.user, &call, 1), OK, "%s",
	    pg_why(w.services.pg));
	bool was_there = pg_flag(call.result, 0, 0);
	pg_calls_clear(&call, 1);
	return was_there;
}

Test(sends, a_reply_of_which_nobody_heard_ends_and_costs_nothing)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	w.config.max_tokens_per_day = 10000;
	struct sent s = send("k", c, "Hello");
	cr_assert_not_null(s.turn);
	cr_expect(end_unheard(s.turn->message_id));
	cr_expect_not(end_unheard(s.turn->message_id));
	cr_expect_not(end_unheard(w.user));
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND status = 'failed'"
				  " AND error_code = 'unavailable'"
				  " AND completed_at IS NOT NULL",
			 s.turn->message_id),
	    1);
	cr_expect_eq(world_number("SELECT sum(tokens_used + tokens_reserved)"
				  " FROM chat.token_budgets"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
	expect_counts(2, 0, 1);
	struct sent again = send("k", c, "Hello");
	cr_expect_str_eq(again.replayed, s.turn->message_id);
	cr_expect_not(again.is_running);
	/* The branch is free. */
	struct sent next = send("k2", c, "Again");
	cr_expect_not_null(next.turn);
	turn_free(next.turn);
	turn_free(s.turn);
}

/* A reply that ended as it should is not touched. */
Test(sends, what_was_stored_is_not_unheard)
{
	char c[ID_TEXT];
	world_conversation(&w, c);
	struct sent s = send("k", c, "Hello");
	cr_assert_eq(world_finish(&w, s.turn, "Hi."), OK);
	cr_expect_not(end_unheard(s.turn->message_id));
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND status = 'complete'",
			 s.turn->message_id),
	    1);
	turn_free(s.turn);
}
