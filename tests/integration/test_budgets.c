/*
 * Token budgets against a real Postgres: what a turn reserves, what it is
 * refused, what its end counts, and that the sums are those of the rows however
 * many begin, end, die and are deleted at once.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/arena.h"
#include "chat/conversation.h"
#include "chat/turn.h"
#include "http/request.h"
#include "limit/quotas.h"
#include "model/model.h"
#include "store/pg.h"
#include "support/world.h"

#define CROWD  50
#define EIGHT  "12345678" /* with the system prompt 17 bytes: 5 tokens */
#define PROMPT 5

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1; /* for the connections of the crowds */
	if (!world_provide("natter_test_budgets"))
		abort();
}

static struct world w;

/* Other tests' sweeps leave this worker's replies alone. */
static void
live(const struct world *by)
{
	world_sql("INSERT INTO chat.workers (id, host, pid, seen_at)"
		  " VALUES ('%s', 'h', 1, now() + interval '1 hour')",
	    by->worker);
}

static void
open_world(void)
{
	world_open(&w, NULL);
	live(&w);
}

static void
close_world(void)
{
	world_close(&w);
}

TestSuite(budgets, .init = open_world, .fini = close_world, .timeout = 240);

/* The user's row of today, or of this month; all stores. */
static int64_t
budget(const char *column, const char *period)
{
	return world_number(
	    "SELECT coalesce(max(%s), 0) FROM chat.token_budgets"
	    " WHERE user_id = '%s' AND store_id IS NULL"
	    " AND period = '%s' AND starts_on >= date_trunc("
	    "'month', now() AT TIME ZONE 'UTC')::date",
	    column, w.user, period);
}

static int64_t
amiss_of(const char *user)
{
	return world_number(
	    "SELECT count(*) FROM chat.budgets_amiss(date_trunc("
	    "'month', now() AT TIME ZONE 'UTC' - interval '1"
	    " day')::date) WHERE user_id = '%s'",
	    user);
}

static int64_t
amiss(void)
{
	return amiss_of(w.user);
}

static enum err
begin(struct world *by, const char *conversation, int64_t max_tokens,
    struct turn **out)
{
	const struct turn_ask ask = {.conversation_id = conversation,
	    .content = EIGHT,
	    .max_tokens = max_tokens};

	return turn_begin(world_request(by), &ask, out);
}

/* The same where many wait for one lock. */
static enum err
begin_late(struct world *by, const char *conversation, int64_t max_tokens,
    struct turn **out)
{
	enum err e;

	do
		e = begin(by, conversation, max_tokens, out);
	while (world_was_late(by, e));
	return e;
}

static bool
sends(const struct turn *t, const char *text)
{
	return memmem(t->prompt.p, t->prompt.n, text, strlen(text)) != NULL;
}

/* As if their worker had died long ago. */
static void
sweep(void)
{
	world_sql("UPDATE chat.running_replies SET started_at = now()"
		  " - interval '1 hour', worker_id = gen_random_uuid()"
		  " WHERE user_id = '%s'",
	    w.user);
	world_sql("SELECT chat.end_taken_reply(t.user_id, t.message_id, NULL)"
		  " FROM chat.take_lost_replies(gen_random_uuid(),"
		  " '10 seconds', 1000) t");
}

static const struct limit_line *
line(const char *name)
{
	for (size_t i = 0; i < w.req.limits.n; i++)
		if (strcmp(w.req.limits.lines[i].name, name) == 0)
			return &w.req.limits.lines[i];
	return NULL;
}

/* A limit that overrides the settings: `column` says for whom. */
static void
override(const char *column, const char *id, const char *name, int64_t value)
{
	world_sql("INSERT INTO auth.limits (id, %s, name, value)"
		  " VALUES (natter.uuid_v7(), '%s', '%s', %lld)"
		  " ON CONFLICT ON CONSTRAINT limits_subject_key"
		  " DO UPDATE SET value = EXCLUDED.value",
	    column, id, name, (long long)value);
}

static void
make_store(char id[static ID_TEXT])
{
	id_make(id);
	world_sql("INSERT INTO chat.stores (id, slug, name)"
		  " VALUES ('%s', 's-%s', 'A store')",
	    id, id + 24);
}

/* Many at once, each with a connection and a conversation of its own. */
struct beginner {
	pthread_t thread;
	pthread_barrier_t *gate;
	struct world world;
	char conversation[ID_TEXT];
	int64_t max_tokens;
	struct turn *turn;
	enum err e;
};

static void *
beginner_run(void *arg)
{
	struct beginner *b = arg;

	pthread_barrier_wait(b->gate);
	b->e = begin_late(&b->world, b->conversation, b->max_tokens, &b->turn);
	return NULL;
}

/* How many of them were let in; the others got `refusal`. */
static int
begin_all(struct beginner b[static CROWD], int64_t max_tokens, enum err refusal)
{
	pthread_barrier_t gate;
	int granted = 0;

	pthread_barrier_init(&gate, NULL, CROWD);
	for (int i = 0; i < CROWD; i++) {
		b[i] =
		    (struct beginner){.gate = &gate, .max_tokens = max_tokens};
		world_open(&b[i].world, w.user);
		b[i].world.config = w.config;
		live(&b[i].world);
		world_conversation(&b[i].world, b[i].conversation);
	}
	for (int i = 0; i < CROWD; i++)
		pthread_create(&b[i].thread, NULL, beginner_run, &b[i]);
	for (int i = 0; i < CROWD; i++) {
		pthread_join(b[i].thread, NULL);
		granted += b[i].e == OK;
		if (b[i].e != OK)
			cr_expect_eq(b[i].e, refusal, "%s: %s",
			    err_code(b[i].e), pg_why(b[i].world.services.pg));
	}
	pthread_barrier_destroy(&gate);
	return granted;
}

static void
free_all(struct beginner b[static CROWD])
{
	for (int i = 0; i < CROWD; i++) {
		turn_free(b[i].turn);
		world_close(&b[i].world);
	}
}

Test(budgets, n30_of_fifty_at_once_ten_are_granted_and_all_is_given_back)
{
	static struct beginner b[CROWD];
	int64_t expected = 0;
	int n = 0;

	w.config.max_tokens_per_day = 10000;
	cr_assert_eq(begin_all(b, 1000 - PROMPT, ERR_QUOTA_EXCEEDED), 10);
	cr_expect_eq(budget("tokens_reserved", "day"), 10000);
	cr_expect_eq(budget("tokens_reserved", "month"), 10000);
	cr_expect_eq(budget("turns", "day"), 10);
	cr_expect_eq(amiss(), 0);
	for (int i = 0; i < CROWD; i++) {
		if (b[i].e != OK)
			continue;
		struct turn *t = b[i].turn;

		switch (n++ % 5) {
		case 0: /* the model counts */
			t->usage = (struct model_usage){11, 7, 0};
			cr_expect_eq(world_finish(&w, t, "Hello there."), OK);
			expected += 18;
			break;
		case 1: /* nobody counts, and it is settled twice */
			cr_expect_eq(world_finish(&w, t, "123456789"), OK);
			(void)!world_finish(&w, t, "123456789");
			expected += PROMPT + 3;
			break;
		case 2: /* the conversation goes away meanwhile */
			cr_expect_eq(conversation_delete(
					 world_request(&w), b[i].conversation),
			    OK);
			cr_expect_eq(
			    world_finish(&w, t, "1234"), ERR_NOT_FOUND);
			expected += PROMPT + 1;
			break;
		case 3: /* the model failed without a word */
			turn_abandon(world_request(&w), t, ERR_MODEL_FAILED);
			break;
		default: /* its worker dies: the sweep finds it */
			expected += PROMPT;
		}
		cr_expect_eq(amiss(), 0);
	}
	cr_expect_eq(budget("tokens_reserved", "day"), 2000);
	sweep();
	cr_expect_eq(budget("tokens_reserved", "day"), 0);
	cr_expect_eq(budget("tokens_reserved", "month"), 0);
	cr_expect_eq(budget("tokens_used", "day"), expected);
	cr_expect_eq(budget("tokens_used", "month"), expected);
	/* A ledger that comes after the sweep counts nothing twice. */
	for (int i = 0; i < CROWD; i++)
		if (b[i].e == OK)
			(void)!world_finish(&b[i].world, b[i].turn, "Late.");
	cr_expect_eq(budget("tokens_used", "day"), expected);
	cr_expect_eq(amiss(), 0);
	free_all(b);
}

Test(budgets, n31_the_cap_shrinks_and_is_what_the_model_is_told)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.max_tokens_per_day = 100;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect(sends(t, "\"max_tokens\":95"));
	cr_expect_eq(budget("tokens_reserved", "day"), 100);
	cr_assert_not_null(line("tokens_per_day"));
	cr_expect_eq(line("tokens_per_day")->limit, 100);
	cr_expect_eq(line("tokens_per_day")->remaining, 0);
	cr_expect_not(line("tokens_per_day")->is_violated);
	cr_assert_eq(world_finish(&w, t, "1234"), OK);
	turn_free(t);

	/* 94 are left; what is asked for is larger. */
	cr_assert_eq(begin(&w, c, 100000, &t), OK);
	cr_expect_eq(budget("tokens_reserved", "day"), 94);
	cr_assert_eq(world_finish(&w, t, "1234"), OK);
	turn_free(t);
	cr_expect_eq(amiss(), 0);
}

Test(budgets, a_budget_that_is_large_holds_back_2048_of_a_reply)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.max_tokens_per_day = 1000000;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect(sends(t, "\"max_tokens\":2048"));
	cr_expect_eq(budget("tokens_reserved", "day"), 2048 + PROMPT);
	turn_free(t);
	sweep();

	/* Without one the model's own limit holds, as ever. */
	w.config.max_tokens_per_day = 0;
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect_not(sends(t, "max_tokens"));
	cr_expect_eq(w.req.limits.n, 0);
	turn_free(t);
	sweep();

	w.config.reply_max_tokens = 77;
	w.config.model_tokens_field = (char *)"max_completion_tokens";
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect(sends(t, "\"max_completion_tokens\":77"));
	turn_free(t);
}

Test(budgets, a_refusal_says_which_limit_and_stores_nothing)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	/* The question and 16 tokens do not fit any more. */
	w.config.max_tokens_per_day = PROMPT + 15;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 0, &t), ERR_QUOTA_EXCEEDED);
	cr_assert_not_null(line("tokens_per_day"));
	cr_expect(line("tokens_per_day")->is_violated);
	cr_expect_eq(line("tokens_per_day")->remaining, PROMPT + 15);
	cr_expect_gt(w.req.retry_after_s, 0);
	cr_expect_leq(w.req.retry_after_s, 24 * 60 * 60);
	cr_expect_eq(world_number("SELECT message_count"
				  " + (SELECT count(*) FROM chat.messages"
				  " WHERE user_id = '%s')"
				  " FROM chat.conversations WHERE id = '%s'",
			 w.user, c),
	    0);
	cr_expect_eq(budget("turns", "day"), 0);

	/* Who wants less than that gets it. */
	cr_assert_eq(begin(&w, c, 15, &t), OK);
	turn_free(t);
	sweep();
	cr_expect_eq(amiss(), 0);
}

Test(budgets, a_busy_branch_reserves_nothing)
{
	char c[ID_TEXT];
	struct turn *t = NULL, *other = NULL;

	w.config.max_tokens_per_day = 10000;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 95, &t), OK);
	cr_expect_eq(begin(&w, c, 95, &other), ERR_REPLY_IN_PROGRESS);
	cr_expect_eq(budget("tokens_reserved", "day"), 100);
	cr_expect_eq(budget("turns", "day"), 1);
	turn_free(t);
}

Test(budgets, a_small_budget_still_answers_with_the_newest_of_the_context)
{
	char c[ID_TEXT], reply[ID_TEXT];
	struct turn *t = NULL;

	world_conversation(&w, c);
	for (int i = 0; i < 6; i++) {
		char question[512];

		memset(question, '.', 399);
		snprintf(question + 399, 20, "Q%d", i);
		world_turn(&w, c, NULL, question, reply);
	}
	/* 400 are left: half for the reply; two turns of 103 do not fit. */
	w.config.max_tokens_per_day = 400 + budget("tokens_used", "day");
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect(sends(t, "Q5"));
	cr_expect_not(sends(t, "Q4"));
	cr_expect(sends(t, EIGHT));
	/* 9 + 8 + 401 + 2 * 10 bytes: Q5, its answer, and that of Q4 */
	cr_expect_eq(t->prompt_estimate, 110);
	cr_expect_eq(t->budget.cap, 290);
	cr_expect_eq(budget("tokens_reserved", "day"), 400);
	turn_free(t);
	sweep();

	/* With little more than the question, it goes alone. */
	w.config.max_tokens_per_day =
	    PROMPT + 17 + budget("tokens_used", "day");
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect_not(sends(t, "An answer."));
	cr_expect_eq(t->prompt_estimate, PROMPT);
	cr_expect_eq(t->budget.cap, 17);
	turn_free(t);
	sweep();
	cr_expect_eq(amiss(), 0);
}

Test(budgets, so_many_replies_at_once_and_no_more)
{
	static struct beginner b[CROWD];

	w.config.streams_per_user = 3;
	cr_expect_eq(begin_all(b, 0, ERR_RATE_LIMITED), 3);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    3);
	/* What is refused was not begun: it has not counted to the day. */
	cr_expect_eq(budget("turns", "day"), 3);
	for (int i = 0; i < CROWD; i++)
		if (b[i].e != OK) {
			cr_expect_eq(b[i].world.req.retry_after_s, 2);
			break;
		}
	/* Those of a dead worker hold their places until the sweep. */
	sweep();
	free_all(b);
	cr_expect_eq(begin_all(b, 0, ERR_RATE_LIMITED), 3);
	free_all(b);
}

Test(budgets, so_many_turns_a_day_and_no_more)
{
	static struct beginner b[CROWD];

	w.config.rate_per_day = 7;
	cr_expect_eq(begin_all(b, 0, ERR_RATE_LIMITED), 7);
	cr_expect_eq(budget("turns", "day"), 7);
	sweep();
	/* A turn that has ended has been one. */
	struct turn *t = NULL;
	cr_expect_eq(begin(&w, b[0].conversation, 0, &t), ERR_RATE_LIMITED);
	cr_assert_not_null(line("turns_per_day"));
	cr_expect(line("turns_per_day")->is_violated);
	cr_expect_eq(line("turns_per_day")->remaining, 0);
	free_all(b);
}

Test(budgets, overrides_hold_at_once)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.max_tokens_per_day = 10;
	world_conversation(&w, c);
	cr_expect_eq(begin(&w, c, 0, &t), ERR_QUOTA_EXCEEDED);
	override("user_id", w.user, "tokens_per_day", 500);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect_eq(budget("tokens_reserved", "day"), 500);
	turn_free(t);
	sweep();
	override("user_id", w.user, "tokens_per_day", 10);
	cr_expect_eq(begin(&w, c, 0, &t), ERR_QUOTA_EXCEEDED);
	override("user_id", w.user, "tokens_per_day", 0);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect_eq(w.req.limits.n, 0);
	turn_free(t);
	sweep();
	override("user_id", w.user, "streams", 1);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	turn_free(t);
	world_conversation(&w, c);
	cr_expect_eq(begin(&w, c, 0, &t), ERR_RATE_LIMITED);
	cr_expect_eq(amiss(), 0);
}

Test(budgets, a_month_has_a_budget_of_its_own)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	t->usage = (struct model_usage){600, 300, 0};
	cr_assert_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
	/* A limit that comes later knows what was used before. */
	w.config.max_tokens_per_day = 5000;
	w.config.max_tokens_per_month = 1000;
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect_eq(t->budget.cap + t->prompt_estimate, 100);
	cr_expect_eq(line("tokens_per_month")->remaining, 0);
	cr_expect_eq(line("tokens_per_day")->remaining, 4000);
	cr_expect_eq(line("tokens_per_month")->window_s,
	    world_number("SELECT extract(epoch FROM date_trunc('month',"
			 " now(), 'UTC') + interval '1 month'"
			 " - date_trunc('month', now(), 'UTC'))::int8"));
	t->usage = (struct model_usage){60, 40, 0};
	cr_assert_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
	cr_assert_eq(begin(&w, c, 0, &t), ERR_QUOTA_EXCEEDED);
	cr_expect(line("tokens_per_month")->is_violated);
	cr_expect_not(line("tokens_per_day")->is_violated);
	cr_expect_eq(w.req.retry_after_s, line("tokens_per_month")->reset_s);
}

Test(budgets, money_is_a_limit_too)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	/* A token sent costs 0.0001, one received 0.001: a cent buys 10. */
	world_sql("INSERT INTO chat.model_prices (model, input, output)"
		  " VALUES ('test-model', 100, 1000) ON CONFLICT DO NOTHING");
	w.config.max_cost_per_day = 10;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	/* 0.1 less 5 tokens sent */
	cr_expect_eq(t->budget.cap, 99);
	cr_expect_eq(budget("cost_reserved * 10000", "day"), 995);
	t->usage = (struct model_usage){100, 50, 0};
	strcpy(t->answered_by, "test-model-2026");
	cr_assert_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
	cr_expect_eq(budget("cost_reserved * 10000", "day"), 0);
	cr_expect_eq(budget("cost_used * 10000", "day"), 600);
	cr_expect_eq(world_number("SELECT cost * 10000 FROM chat.usage_tracking"
				  " WHERE user_id = '%s'",
			 w.user),
	    600);
	cr_assert_eq(begin(&w, c, 1000, &t), OK);
	cr_expect_lt(t->budget.cap, 40);
	cr_expect_gt(t->budget.cap, 30);
	cr_assert_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
	w.config.max_cost_per_day = 7;
	w.config.max_cost_per_month = 100;
	cr_assert_eq(begin(&w, c, 0, &t), ERR_QUOTA_EXCEEDED);
	cr_expect(line("cost_per_day")->is_violated);

	/* What nobody knows the price of cannot be counted. */
	w.config.model = (char *)"priceless";
	cr_expect_eq(begin(&w, c, 0, &t), ERR_INVALID_FIELD);
	cr_expect_str_eq(w.req.bad_field, "model");
	w.config.max_cost_per_day = 0;
	w.config.max_cost_per_month = 0;
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	turn_free(t);
	sweep();
	cr_expect_eq(amiss(), 0);
}

/*
 * A tenth and a bit with the model asked for, four tenths with the dear one;
 * another takes more than there is, one has no price, and one is cheaper.
 */
Test(budgets, what_is_reserved_is_enough_for_who_may_stand_in)
{
	static const struct {
		int64_t reserved; /* in all, ten thousandths */
		uint32_t standins;
	} rows[] = {{4010, 0xa}, {8020, 0xa}, {9025, 0x8}};
	struct turn *t[3] = {NULL};
	char c[ID_TEXT];

	world_sql(
	    "INSERT INTO chat.model_prices (model, input, output)"
	    " VALUES ('test-model', 100, 1000), ('budget-dear', 200, 4000),"
	    " ('budget-dearer', 100000, 100000), ('budget-cheap', 1, 1)"
	    " ON CONFLICT DO NOTHING");
	w.config.fallback_models =
	    (char *)"budget-dearer budget-dear priceless budget-cheap";
	w.config.max_cost_per_day = 100;
	for (size_t i = 0; i < 3; i++) {
		world_conversation(&w, c);
		cr_assert_eq(begin(&w, c, 100, &t[i]), OK);
		cr_expect_eq(t[i]->budget.cap, 100);
		cr_expect_eq(t[i]->budget.standins, rows[i].standins, "%zu: %x",
		    i, t[i]->budget.standins);
		cr_expect_eq(budget("cost_reserved * 10000", "day"),
		    rows[i].reserved, "%zu: %" PRId64, i,
		    budget("cost_reserved * 10000", "day"));
	}
	for (size_t i = 0; i < 3; i++) {
		cr_expect_eq(world_finish(&w, t[i], "x"), OK);
		turn_free(t[i]);
	}
	cr_expect_eq(budget("cost_reserved", "day"), 0);
	/* Where money is not limited, anybody may. */
	w.config.max_cost_per_day = 0;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 100, &t[0]), OK);
	cr_expect_eq(t[0]->budget.standins, UINT32_MAX);
	cr_expect_eq(world_finish(&w, t[0], "x"), OK);
	turn_free(t[0]);
	cr_expect_eq(amiss(), 0);
}

/* Tools may turn what is kept for the reply into prompts. */
Test(budgets, what_is_reserved_is_enough_for_later_rounds)
{
	struct turn *t = NULL;
	char c[ID_TEXT];

	world_sql("INSERT INTO chat.model_prices (model, input, output)"
		  " VALUES ('budget-wordy', 1000, 10) ON CONFLICT DO NOTHING");
	w.config.model = (char *)"budget-wordy";
	w.config.max_cost_per_day = 100;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 100, &t), OK);
	cr_expect_eq(t->budget.cap, 100);
	cr_expect_eq(budget("cost_reserved * 10000", "day"), 1050);
	cr_expect_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
}

Test(budgets, a_store_has_budgets_for_each_user)
{
	char store[ID_TEXT], here[ID_TEXT], elsewhere[ID_TEXT];
	struct turn *t = NULL, *other = NULL;

	make_store(store);
	world_conversation(&w, here);
	world_conversation(&w, elsewhere);
	world_sql("UPDATE chat.conversations SET store_id = '%s'"
		  " WHERE id = '%s'",
	    store, here);
	override("store_id", store, "tokens_per_day", 100);
	override("store_id", store, "streams", 1);
	w.config.max_tokens_per_day = 1000;
	cr_assert_eq(begin(&w, here, 0, &t), OK);
	cr_expect_str_eq(t->budget.store_id, store);
	cr_expect_eq(t->budget.cap, 95);
	/* The closer limit is told. */
	cr_expect_eq(line("tokens_per_day")->limit, 100);
	cr_expect_eq(line("tokens_per_day")->remaining, 0);
	cr_expect_eq(amiss(), 0);
	cr_assert_eq(begin(&w, elsewhere, 200, &other), OK);
	cr_expect_eq(budget("tokens_reserved", "day"), 305);
	t->usage = (struct model_usage){50, 50, 0};
	cr_assert_eq(world_finish(&w, t, "x"), OK);
	cr_assert_eq(world_finish(&w, other, "x"), OK);
	turn_free(t);
	turn_free(other);
	cr_expect_eq(begin(&w, here, 0, &t), ERR_QUOTA_EXCEEDED);
	cr_expect_eq(
	    world_number("SELECT sum(tokens_used) FROM chat.token_budgets"
			 " WHERE store_id = '%s' AND period = 'month'",
		store),
	    100);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE store_id = '%s'",
			 store),
	    1);
	/* A store that goes away while a reply is written in it. */
	override("store_id", store, "tokens_per_day", 0);
	cr_assert_eq(begin(&w, here, 0, &t), OK);
	world_sql("DELETE FROM chat.stores WHERE id = '%s'", store);
	cr_expect_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
	cr_expect_eq(amiss(), 0);
}

Test(budgets, natter_local_is_free)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.openai_base_url = NULL;
	w.config.max_tokens_per_day = 1;
	w.config.max_cost_per_day = 1;
	w.config.rate_per_day = 2;
	world_conversation(&w, c);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(begin(&w, c, 0, &t), OK);
		cr_expect(t->is_local);
		cr_expect_eq(budget("tokens_reserved", "day"), 0);
		cr_assert_eq(world_finish(&w, t, "A word."), OK);
		turn_free(t);
	}
	cr_expect_eq(budget("tokens_used", "day"), 0);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE user_id = '%s' AND NOT is_billed"
				  " AND cost = 0 AND prompt_tokens > 0",
			 w.user),
	    2);
	cr_expect_eq(begin(&w, c, 0, &t), ERR_RATE_LIMITED);
	cr_expect_eq(amiss(), 0);
}

Test(budgets, a_lost_reply_is_settled_when_its_branch_is_wanted)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.max_tokens_per_day = 1000;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 100, &t), OK);
	world_sql("UPDATE chat.running_replies SET started_at = now()"
		  " - interval '2 hours' WHERE user_id = '%s'",
	    w.user);
	turn_free(t);
	cr_assert_eq(begin(&w, c, 100, &t), OK);
	/* The question that was lost goes along with this one. */
	cr_expect_eq(budget("tokens_used", "day"), PROMPT);
	cr_expect_eq(budget("tokens_reserved", "day"), 100 + PROMPT + 2);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE user_id = '%s' AND is_estimated",
			 w.user),
	    1);
	turn_free(t);
	cr_expect_eq(amiss(), 0);
}

Test(budgets, a_reply_counts_to_the_day_that_it_began)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.max_tokens_per_day = 1000;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 100, &t), OK);
	/* It is midnight now. */
	world_sql("UPDATE chat.running_replies SET counted_on = counted_on - 1"
		  " WHERE user_id = '%s'",
	    w.user);
	world_sql("UPDATE chat.token_budgets SET starts_on = CASE period"
		  " WHEN 'day' THEN starts_on - 1 ELSE date_trunc('month',"
		  " now() AT TIME ZONE 'UTC' - interval '1 day')::date END"
		  " WHERE user_id = '%s'",
	    w.user);
	(void)snprintf(
	    t->budget.counted_on, sizeof(t->budget.counted_on), "yesterday");
	t->usage = (struct model_usage){10, 10, 0};
	cr_assert_eq(world_finish(&w, t, "x"), OK);
	turn_free(t);
	cr_expect_eq(
	    world_number("SELECT tokens_used + tokens_reserved"
			 " FROM chat.token_budgets WHERE user_id = '%s'"
			 " AND period = 'day'",
		w.user),
	    20);
	cr_expect_eq(amiss(), 0);
	cr_assert_eq(begin(&w, c, 0, &t), OK);
	cr_expect_eq(budget("tokens_reserved", "day"), 1000);
	turn_free(t);
	cr_expect_eq(amiss(), 0);
}

Test(budgets, a_user_goes_away_with_all_that_is_counted)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	w.config.max_tokens_per_day = 1000;
	world_conversation(&w, c);
	cr_assert_eq(begin(&w, c, 100, &t), OK);
	world_sql("DELETE FROM auth.users WHERE id = '%s'", w.user);
	cr_expect_eq(world_finish(&w, t, "Nobody reads it."), ERR_NOT_FOUND);
	turn_free(t);
	cr_expect_eq(
	    world_number("SELECT (SELECT count(*)"
			 " FROM chat.token_budgets WHERE user_id = '%s')"
			 " + (SELECT count(*) FROM chat.usage_tracking"
			 " WHERE user_id = '%s')",
		w.user, w.user),
	    0);
	cr_expect_eq(amiss(), 0);
}

/*
 * Ledgers whose batches have all users in common, beside whoever deletes and
 * sweeps: no one waits for another in a ring, and nothing is lost.
 */
#define USERS   8
#define LEDGERS 4
#define ROUNDS  12

static char users[USERS][ID_TEXT];
static _Atomic bool is_over;

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

struct ledger_thread {
	pthread_t thread;
	struct world world[USERS];
	struct pg *pg;
	int failures;
	char why[256];
};

static enum err
settle(struct ledger_thread *l, struct turn *const *turns)
{
	struct pg_call calls[USERS * TURN_FINISH_CALLS];
	const char *whose[USERS * TURN_FINISH_CALLS];
	size_t n = 0;
	enum err e;

	memset(calls, 0, sizeof(calls));
	for (int i = 0; i < USERS; i++) {
		turns[i]->status = TURN_COMPLETE;
		buf_clear(&turns[i]->text);
		buf_puts(&turns[i]->text, "Some words.");
		whose[n] = users[i];
		n += turn_finish(turns[i], l->world[i].req.arena, &calls[n]);
	}
	e = pg_run_many(l->pg, whose, calls, n);
	if (e != OK)
		snprintf(l->why, sizeof(l->why), "%s", pg_why(l->pg));
	pg_calls_clear(calls, n);
	return e;
}

static void *
ledger_run_rounds(void *arg)
{
	struct ledger_thread *l = arg;

	for (int r = 0; r < ROUNDS; r++) {
		struct turn *turns[USERS];
		enum err e;
		char c[USERS][ID_TEXT];

		for (int i = 0; i < USERS; i++) {
			world_conversation(&l->world[i], c[i]);
			turns[i] = NULL;
			if (begin_late(&l->world[i], c[i], 50, &turns[i]) != OK)
				abort();
		}
		do
			e = settle(l, turns);
		while (world_was_late(&l->world[0], e));
		l->failures += e != OK;
		for (int i = 0; i < USERS; i++)
			turn_free(turns[i]);
	}
	return NULL;
}

static void *
delete_some(void *arg)
{
	struct world *by = arg;

	for (int i = 0; !atomic_load(&is_over); i++) {
		struct turn *t = NULL;
		enum err e;
		char c[ID_TEXT];

		world_conversation(by, c);
		if (begin_late(by, c, 50, &t) != OK)
			abort();
		do
			e = conversation_delete(world_request(by), c);
		while (world_was_late(by, e));
		if (e != OK)
			abort();
		turn_free(t);
	}
	return NULL;
}

Test(budgets, many_ledgers_and_users_never_wait_in_a_ring)
{
	static struct ledger_thread l[LEDGERS];
	struct world deleter;
	pthread_t deleting;

	for (int i = 0; i < USERS; i++) {
		struct world made;

		world_open(&made, NULL);
		memcpy(users[i], made.user, ID_TEXT);
		world_close(&made);
	}
	qsort(users, USERS, ID_TEXT, compare_ids);
	for (int i = 0; i < LEDGERS; i++) {
		for (int u = 0; u < USERS; u++) {
			world_open(&l[i].world[u], users[u]);
			l[i].world[u].config.max_tokens_per_day = 1000000;
		}
		l[i].pg = l[i].world[0].services.pg;
	}
	world_open(&deleter, users[USERS / 2]);
	pthread_create(&deleting, NULL, delete_some, &deleter);
	for (int i = 0; i < LEDGERS; i++)
		pthread_create(&l[i].thread, NULL, ledger_run_rounds, &l[i]);
	for (int i = 0; i < LEDGERS; i++) {
		pthread_join(l[i].thread, NULL);
		cr_expect_eq(l[i].failures, 0, "%s", l[i].why);
	}
	atomic_store(&is_over, true);
	pthread_join(deleting, NULL);
	for (int i = 0; i < USERS; i++)
		cr_expect_eq(amiss_of(users[i]), 0);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE user_id = '%s'",
			 users[0]),
	    (int64_t)LEDGERS * ROUNDS);
	for (int i = 0; i < LEDGERS; i++)
		for (int u = 0; u < USERS; u++)
			world_close(&l[i].world[u]);
	world_close(&deleter);
}
