/*
 * What dead workers left: ended once, with the text that the log holds, and the
 * log closed for its readers; whatever lies in the log, and whoever else is at
 * it. The sweep is called as the ledger calls it; its own time is
 * test_recovery's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "chat/recover.h"
#include "chat/turn.h"
#include "server/ledger_sweep.h"
#include "store/pg.h"
#include "store/redis.h"
#include "tests/support/redis_scratch.h"
#include "tests/support/servers.h"
#include "tests/support/world.h"

#define SEALED "4294967"

static struct world w;
static struct redis *redis;
static char sweeper[ID_TEXT];

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1; /* each sweep takes all that is lost */
	if (!world_provide("natter_test_sweep") || !servers_provide_redis())
		abort();
}

static void
open_world(void)
{
	world_open(&w, NULL);
	world_sql("DELETE FROM chat.running_replies");
	world_sql("DELETE FROM chat.workers");
	redis = redis_new(getenv("TEST_REDIS_URL"), 2000);
	id_make(sweeper);
}

static void
close_world(void)
{
	redis_free(redis);
	world_close(&w);
}

TestSuite(sweep, .init = open_world, .fini = close_world, .timeout = 120);

/* Begins a reply whose worker has died. */
static struct turn *
lose(void)
{
	char c[ID_TEXT];
	struct turn *t = NULL;

	world_conversation(&w, c);
	cr_assert_eq(world_begin(&w, c, NULL, "Hello", &t), OK);
	world_sql("INSERT INTO chat.workers (id, host, pid, died_at)"
		  " VALUES ('%s', 'h', 1, now()) ON CONFLICT (id) DO NOTHING",
	    w.worker);
	return t;
}

/* Adds an entry to the reply's log. */
static void
log_entry(const struct turn *t, const char *place, const char *field,
    const char *value, size_t n)
{
	char key[64];
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = {"XADD", key, place, field, value};
	const size_t lens[] = {4, 42, strlen(place), strlen(field), n};

	snprintf(key, sizeof(key), "reply:%s", t->message_id);
	cr_assert_eq(redis_command(redis, 5, words, lens, &reply), OK, "%s",
	    redis_why(redis));
}

static void
log_start(const struct turn *t)
{
	char key[64];
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = {"XADD", key, "1-0", "e", "start", "d", "{}"};

	snprintf(key, sizeof(key), "reply:%s", t->message_id);
	cr_assert_eq(redis_command(redis, 7, words, NULL, &reply), OK);
}

static enum err
sweep_by(const char *worker, struct redis *by, bool *out_has_more)
{
	const struct sweep s = {
	    .pg = w.services.pg,
	    .redis = by,
	    .worker_id = worker,
	    .whose = LOST_OF_SILENT,
	};

	*out_has_more = false;
	return ledger_sweep(&s, out_has_more);
}

static void
sweep(void)
{
	bool has_more;

	cr_assert_eq(sweep_by(sweeper, redis, &has_more), OK, "%s",
	    pg_why(w.services.pg));
	cr_expect_not(has_more);
}

static int64_t
is_stored(const struct turn *t, const char *status, const char *text)
{
	return world_number("SELECT count(*) FROM chat.messages"
			    " WHERE id = '%s' AND status = '%s'"
			    " AND content = '%s' AND completed_at IS NOT NULL",
	    t->message_id, status, text);
}

/* Billed once: the prompt and these bytes of text. */
static void
expect_settled(const struct turn *t, size_t bytes)
{
	cr_expect_eq(world_number("SELECT count(*) FROM chat.usage_tracking"
				  " WHERE id = '%s' AND is_estimated"
				  " AND prompt_tokens > 0"
				  " AND completion_tokens = %zu",
			 t->message_id, (bytes + 3) / 4),
	    1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE message_id = '%s'",
			 t->message_id),
	    0);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.budgets_amiss("
				  "date_trunc('month', now() AT TIME ZONE"
				  " 'UTC')::date) WHERE user_id = '%s'",
			 w.user),
	    0);
}

/* The last entry of the log. */
struct last {
	char place[64], event[16], data[4096];
};

static void
read_last(const struct turn *t, struct last *out)
{
	char key[64];
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = {"XREVRANGE", key, "+", "-", "COUNT", "1"};
	const redisReply *entry;

	*out = (struct last){0};
	snprintf(key, sizeof(key), "reply:%s", t->message_id);
	cr_assert_eq(redis_command(redis, 6, words, NULL, &reply), OK);
	if (reply->elements == 0)
		return;
	entry = reply->element[0];
	snprintf(out->place, sizeof(out->place), "%s", entry->element[0]->str);
	if (entry->element[1]->elements == 4) {
		snprintf(out->event, sizeof(out->event), "%s",
		    entry->element[1]->element[1]->str);
		snprintf(out->data, sizeof(out->data), "%s",
		    entry->element[1]->element[3]->str);
	}
}

Test(sweep, the_text_of_the_log_is_stored_and_the_log_ends)
{
	struct turn *t = lose();
	struct last last;
	char key[64];

	log_start(t);
	log_entry(t, "2-5", "t", "Hello", 5);
	log_entry(t, "3-11", "t", " there", 6);
	/* Entries may repeat, as a log that was made anew does. */
	log_entry(t, "4-13", "t", "there, ", 7);
	sweep();
	cr_expect_eq(is_stored(t, "interrupted", "Hello there, "), 1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND token_count = 4"
				  " AND error_code = 'interrupted'",
			 t->message_id),
	    1);
	expect_settled(t, 13);
	read_last(t, &last);
	cr_expect(
	    strncmp(last.place, SEALED, strlen(SEALED)) == 0, "%s", last.place);
	cr_expect(strstr(last.place, "-13") != NULL, "%s", last.place);
	cr_expect_str_eq(last.event, "error");
	cr_expect(
	    strstr(last.data, "\"interrupted\"") != NULL, "%s", last.data);
	cr_expect(strstr(last.data, t->message_id) != NULL, "%s", last.data);
	snprintf(key, sizeof(key), "reply:%s", t->message_id);
	cr_expect_leq(number_of(redis, WORDS("TTL", key)), 600);
	cr_expect_gt(number_of(redis, WORDS("TTL", key)), 0);
	/* The next sweep finds nothing. */
	sweep();
	turn_free(t);
}

Test(sweep, a_checkpoint_that_is_ahead_of_the_log_stays_and_is_told)
{
	struct turn *t = lose();
	struct last last;
	char key[64];

	log_start(t);
	log_entry(t, "2-5", "t", "Hello", 5);
	world_sql("UPDATE chat.messages SET content = 'Hello there.'"
		  " WHERE id = '%s'",
	    t->message_id);
	sweep();
	cr_expect_eq(is_stored(t, "interrupted", "Hello there."), 1);
	expect_settled(t, 12);
	read_last(t, &last);
	cr_expect_str_eq(last.event, "error");
	cr_expect(strstr(last.place, "-12") != NULL, "%s", last.place);
	snprintf(key, sizeof(key), "reply:%s", t->message_id);
	cr_expect_eq(number_of(redis, WORDS("XLEN", key)), 4);
	turn_free(t);
}

Test(sweep, a_log_of_another_text_changes_nothing)
{
	struct turn *t = lose();

	log_start(t);
	log_entry(t, "2-22", "t", "Something else at all.", 22);
	world_sql("UPDATE chat.messages SET content = 'Hello' WHERE id = '%s'",
	    t->message_id);
	sweep();
	cr_expect_eq(is_stored(t, "interrupted", "Hello"), 1);
	turn_free(t);
}

Test(sweep, a_cancelled_reply_ends_as_cancelled)
{
	struct turn *t = lose();
	struct last last;

	log_start(t);
	log_entry(t, "2-5", "t", "Hello", 5);
	world_sql("UPDATE chat.running_replies SET cancelled_at = now()"
		  " WHERE message_id = '%s'",
	    t->message_id);
	sweep();
	cr_expect_eq(is_stored(t, "cancelled", "Hello"), 1);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND error_code IS NULL",
			 t->message_id),
	    1);
	read_last(t, &last);
	cr_expect_str_eq(last.event, "done");
	cr_expect(strstr(last.data, "\"status\":\"cancelled\"") != NULL, "%s",
	    last.data);
	cr_expect(strstr(last.data, "\"content\":\"Hello\"") != NULL);
	turn_free(t);
}

Test(sweep, nothing_in_a_log_holds_it_up)
{
	static const struct {
		const char *place, *field, *value;
		size_t n;
		const char *want;
	} rows[] = {
	    {"2-3", "t", "a\0b", 3, "ab"},
	    {"2-3", "t",
		"a\xff"
		"b",
		3,
		"a\xef\xbf\xbd"
		"b"},
	    {"2-3", "t", "ab\xc3", 3, "ab"}, /* cut in a letter */
	    {"2-4", "t", "a\0\xff\xf0", 4, "a\xef\xbf\xbd"},
	    {"2-1", "t", "longer than it says", 19, ""},
	    {"2-9", "t", "gap", 3, ""},
	    {"2-3", "x", "abc", 3, ""},
	    {"7-18446744073709551615", "t", "abc", 3, ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct turn *t = lose();

		log_start(t);
		log_entry(
		    t, rows[i].place, rows[i].field, rows[i].value, rows[i].n);
		sweep();
		cr_expect_eq(
		    is_stored(t, "interrupted", rows[i].want), 1, "%zu", i);
		expect_settled(t, strlen(rows[i].want));
		turn_free(t);
	}
}

Test(sweep, a_key_that_is_no_log_and_none_at_all)
{
	struct turn *t = lose(), *none = lose();
	char key[64];

	snprintf(key, sizeof(key), "reply:%s", t->message_id);
	expect_status(redis, "OK", WORDS("SET", key, "x"));
	sweep();
	cr_expect_eq(is_stored(t, "interrupted", ""), 1);
	cr_expect_eq(is_stored(none, "interrupted", ""), 1);
	expect_settled(t, 0);
	expect_settled(none, 0);
	turn_free(t);
	turn_free(none);
}

Test(sweep, a_long_text_is_read_in_pieces)
{
	struct turn *t = lose();
	char place[64], piece[256];
	size_t bytes = 0;

	log_start(t);
	for (int n = 2; n < 1002; n++) {
		int len = snprintf(piece, sizeof(piece), "Piece %d of it. ", n);

		bytes += (size_t)len;
		snprintf(place, sizeof(place), "%d-%zu", n, bytes);
		log_entry(t, place, "t", piece, (size_t)len);
	}
	sweep();
	cr_expect_eq(world_number("SELECT octet_length(content) FROM"
				  " chat.messages WHERE id = '%s'"
				  " AND content LIKE '%%Piece 1001 of it. '",
			 t->message_id),
	    (int64_t)bytes);
	expect_settled(t, bytes);
	turn_free(t);
}

Test(sweep, a_log_that_has_ended_is_left_alone)
{
	struct turn *t = lose();
	struct last last;

	log_start(t);
	log_entry(t, "2-5", "t", "Hello", 5);
	{
		char key[64];
		AUTO_REPLY redisReply *reply = NULL;
		const char *words[] = {
		    "XADD", key, "3-5", "e", "done", "d", "{}"};

		snprintf(key, sizeof(key), "reply:%s", t->message_id);
		cr_assert_eq(redis_command(redis, 7, words, NULL, &reply), OK);
	}
	sweep();
	cr_expect_eq(is_stored(t, "interrupted", "Hello"), 1);
	read_last(t, &last);
	cr_expect_str_eq(last.place, "3-5");
	turn_free(t);
}

Test(sweep, a_message_that_was_deleted_is_billed_with_its_text)
{
	struct turn *t = lose();

	log_start(t);
	log_entry(t, "2-8", "t", "12345678", 8);
	world_sql("DELETE FROM chat.conversations WHERE id = '%s'",
	    t->conversation_id);
	sweep();
	expect_settled(t, 8);
	turn_free(t);
}

/* Stopped, not dead: it comes back after its reply was ended. */
Test(sweep, who_was_only_stopped_changes_nothing_any_more)
{
	struct turn *t = lose();

	log_start(t);
	log_entry(t, "2-5", "t", "Hello", 5);
	sweep();
	cr_expect_eq(world_finish(&w, t, "Hello there."), ERR_INTERRUPTED);
	cr_expect_eq(is_stored(t, "interrupted", "Hello"), 1);
	expect_settled(t, 5);
	turn_free(t);
}

/* … and one that comes back between being taken over and ended wins. */
Test(sweep, who_ends_its_reply_before_the_sweep_does_wins)
{
	struct turn *t = lose();
	struct lost_reply l[LOST_MAX];
	size_t n = 0;

	cr_assert_eq(
	    lost_take(w.services.pg, sweeper, LOST_OF_DEAD, l, LOST_MAX, &n),
	    OK);
	cr_assert_eq(n, 1);
	cr_expect_eq(world_finish(&w, t, "Hello there."), OK);
	cr_assert_eq(lost_end(w.services.pg, l, n), OK);
	cr_expect_not(l[0].was_ended);
	cr_expect_eq(is_stored(t, "complete", "Hello there."), 1);
	lost_clear(l, n);
	turn_free(t);
}

Test(sweep, two_sweepers_end_a_reply_once)
{
	struct turn *t = lose();
	struct lost_reply l[LOST_MAX];
	size_t n = 0;
	char second[ID_TEXT];
	bool has_more;

	id_make(second);
	cr_assert_eq(
	    lost_take(w.services.pg, sweeper, LOST_OF_SILENT, l, LOST_MAX, &n),
	    OK);
	cr_assert_eq(n, 1);
	/* The first has it, as long as it lives. */
	world_sql("INSERT INTO chat.workers (id, host, pid)"
		  " VALUES ('%s', 'h', 2)",
	    sweeper);
	cr_assert_eq(sweep_by(second, redis, &has_more), OK);
	cr_expect_eq(is_stored(t, "interrupted", ""), 0);
	/* It dies too. */
	world_sql(
	    "UPDATE chat.workers SET died_at = now() WHERE id = '%s'", sweeper);
	cr_assert_eq(sweep_by(second, redis, &has_more), OK);
	cr_expect_eq(is_stored(t, "interrupted", ""), 1);
	cr_assert_eq(lost_end(w.services.pg, l, n), OK);
	cr_expect_not(l[0].was_ended);
	expect_settled(t, 0);
	lost_clear(l, n);
	turn_free(t);
}

Test(sweep, while_redis_is_away_a_reply_waits_for_a_minute)
{
	struct turn *t = lose();
	struct redis *away = redis_new("redis://127.0.0.1:1", 200);
	bool has_more;

	log_start(t);
	log_entry(t, "2-5", "t", "Hello", 5);
	cr_assert_eq(sweep_by(sweeper, away, &has_more), OK);
	cr_expect_not(has_more);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE id = '%s' AND status = 'streaming'",
			 t->message_id),
	    1);
	/* It is back. */
	sweep();
	cr_expect_eq(is_stored(t, "interrupted", "Hello"), 1);
	turn_free(t);

	t = lose();
	world_sql("UPDATE chat.messages SET content = 'He' WHERE id = '%s'",
	    t->message_id);
	cr_assert_eq(sweep_by(sweeper, away, &has_more), OK);
	world_sql("UPDATE chat.running_replies SET lost_at = now()"
		  " - interval '61 seconds' WHERE message_id = '%s'",
	    t->message_id);
	cr_assert_eq(sweep_by(sweeper, away, &has_more), OK);
	cr_expect_eq(is_stored(t, "interrupted", "He"), 1);
	expect_settled(t, 2);
	redis_free(away);
	turn_free(t);
}

Test(sweep, many_are_ended_in_pieces)
{
	static struct turn *turns[100];
	bool has_more = true;
	int pieces = 0;

	for (size_t i = 0; i < 100; i++) {
		turns[i] = lose();
		log_start(turns[i]);
		log_entry(turns[i], "2-5", "t", "Hello", 5);
	}
	while (has_more && pieces++ < 100)
		cr_assert_eq(sweep_by(sweeper, redis, &has_more), OK);
	cr_expect_gt(pieces, 1);
	for (size_t i = 0; i < 100; i++) {
		cr_expect_eq(is_stored(turns[i], "interrupted", "Hello"), 1);
		turn_free(turns[i]);
	}
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
}
