/*
 * What models are told, on a database: that what GET /messages/{id}/context
 * shows is byte for byte what was built, however the turn came about; what it
 * says when something has gone; facts, summaries, windows and templates.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/buf.h"
#include "chat/afterwork.h"
#include "chat/branch.h"
#include "chat/context_show.h"
#include "chat/fact.h"
#include "chat/prompts.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/turn.h"
#include "store/pg.h"
#include "world.h"

static struct world w;
static char talk[ID_TEXT];

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("test_context"))
		exit(1);
}

static void
set_up(void)
{
	world_open(&w, NULL);
	w.config.model_tokens_field = (char *)"max_tokens";
	world_conversation(&w, talk);
}

static void
tear_down(void)
{
	world_close(&w);
}

TestSuite(context, .init = set_up, .fini = tear_down, .timeout = 120);

/* What /context says of a reply; to be freed. */
static struct json_object *
show(const char *id, struct buf *bytes)
{
	buf_clear(bytes);
	enum err e = context_show(world_request(&w), id, bytes);
	cr_assert_eq(
	    e, OK, "%s: %d %s", id, (int)e, w.req.detail ? w.req.detail : "");
	struct json_object *o = json_tokener_parse(buf_text(bytes));
	cr_assert_not_null(o, "%s", buf_text(bytes));
	return o;
}

static bool
is_exact(struct json_object *o)
{
	return json_object_get_boolean(json_object_object_get(o, "exact"));
}

static const char *
text_of(struct json_object *o, const char *name)
{
	return json_object_get_string(json_object_object_get(o, name));
}

/* Ends the turn; what it sent must be what is shown. Gives the reply's id. */
static void
expect_shown(struct turn *t, char out[static ID_TEXT])
{
	struct buf sent = {0}, shown = {0};
	buf_add(&sent, t->prompt.p, t->prompt.n);
	memcpy(out, t->message_id, ID_TEXT);
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	turn_free(t);
	struct json_object *o = show(out, &shown);
	cr_expect(is_exact(o), "%s", text_of(o, "changes"));
	cr_expect_not_null(memmem(shown.p, shown.n, sent.p, sent.n), "%s\n%s",
	    buf_text(&sent), buf_text(&shown));
	cr_expect_str_eq(text_of(o, "changes"), "[ ]");
	json_object_put(o);
	buf_free(&sent);
	buf_free(&shown);
}

static struct turn *
begin(const char *parent, const char *content)
{
	struct turn *t = NULL;
	enum err e = world_begin(&w, talk, parent, content, &t);
	cr_assert_eq(e, OK, "%d %s", (int)e, w.req.detail ? w.req.detail : "");
	return t;
}

/* A turn of another kind about a message. */
static struct turn *
begin_at(enum turn_kind kind, const char *question, const char *parent,
    const char *content)
{
	struct turn *t = NULL;
	const struct turn_ask ask = {
	    .kind = kind,
	    .conversation_id = talk,
	    .content = content,
	    .parent_id = parent,
	    .question_id = question,
	};
	cr_assert_eq(turn_begin(world_request(&w), &ask, &t), OK);
	return t;
}

static void
add_fact(const char *content, char out[static ID_TEXT])
{
	struct buf body = {0};
	cr_assert_eq(fact_create(world_request(&w), content, &body, out), OK);
	buf_free(&body);
}

static bool
says(const struct turn *t, const char *text)
{
	return memmem(t->prompt.p, t->prompt.n, text, strlen(text)) != NULL;
}

Test(context, is_shown_as_it_was_sent_on_every_way)
{
	char first[ID_TEXT], second[ID_TEXT], reply[ID_TEXT], fact[ID_TEXT];
	char question[ID_TEXT];
	static const char asked[] = "What is \"tea\"?\n\tTell me. \xe2\x82\xac";
	struct turn *t = begin(NULL, asked);
	memcpy(question, t->user_message_id, sizeof(question));
	expect_shown(t, first);
	expect_shown(begin(NULL, "Go on."), second);
	add_fact("likes tea, \"green\"", fact);
	expect_shown(begin(NULL, "And now?"), reply);
	/* An edit of the second question, an answer anew, another branch. */
	expect_shown(begin_at(TURN_EDIT, NULL, first, "Edited."), reply);
	expect_shown(begin_at(TURN_AGAIN, question, NULL, asked), reply);
	expect_shown(begin(first, "Elsewhere."), reply);
	expect_shown(begin(second, "And there."), reply);
}

Test(context, of_a_small_budget_is_shown_as_it_was_sent)
{
	char reply[ID_TEXT], fact[ID_TEXT];
	w.config.max_tokens_per_day = 400;
	for (int i = 0; i < 6; i++)
		expect_shown(begin(NULL, "A question of a few words."), reply);
	add_fact("likes tea", fact);
	struct turn *t = begin(NULL, "A question of a few words.");
	cr_expect_leq(t->prompt_estimate + t->budget.cap, 400, "%" PRId64,
	    t->prompt_estimate);
	expect_shown(t, reply);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.budgets_amiss("
				  "date_trunc('month', now())::date)"),
	    0);
}

/* What is reserved is what is sent at the most. */
Test(context, is_reserved_with_its_facts)
{
	char fact[ID_TEXT];
	int64_t before, after;
	struct turn *t = begin(NULL, "Q");
	before = world_number("SELECT prompt_tokens FROM chat.running_replies"
			      " WHERE message_id = '%s'",
	    t->message_id);
	cr_expect_eq(before, t->prompt_estimate);
	cr_assert_eq(world_finish(&w, t, "A"), OK);
	turn_free(t);
	for (int i = 0; i < 10; i++)
		add_fact("a fact of a certain length about somebody", fact);
	world_conversation(&w, talk);
	t = begin(NULL, "Q");
	after = world_number("SELECT prompt_tokens FROM chat.running_replies"
			     " WHERE message_id = '%s'",
	    t->message_id);
	cr_expect(says(t, "What you know about the user"));
	cr_expect_gt(after, before + 90);
	cr_expect_leq(t->prompt_estimate, after);
	cr_expect_geq(t->prompt_estimate, after - 2);
	turn_free(t);
}

/* Where something has gone since, it says what. */
Test(context, that_has_changed_is_not_exact)
{
	char reply[ID_TEXT], fact[ID_TEXT], other[ID_TEXT], first[ID_TEXT];
	struct buf bytes = {0};
	struct json_object *o;
	add_fact("likes tea", fact);
	add_fact("likes cake", other);
	expect_shown(begin(NULL, "Q1"), first);
	expect_shown(begin(NULL, "Q2"), reply);

	cr_assert_eq(fact_delete(world_request(&w), other), OK);
	o = show(reply, &bytes);
	cr_expect_not(is_exact(o));
	cr_expect_not_null(strstr(buf_text(&bytes), "{\"part\":\"facts\","
						    "\"change\":\"deleted\""));
	cr_expect_not_null(strstr(text_of(o, "changes"), other));
	json_object_put(o);
	struct buf out = {0};
	cr_assert_eq(
	    fact_update(world_request(&w), fact, "loathes tea", &out), OK);
	buf_free(&out);

	world_sql("UPDATE chat.messages SET content = '', blanked_at = now()"
		  " WHERE id = '%s'",
	    first);
	world_sql("UPDATE chat.conversations SET system_prompt = 'Other.'"
		  " WHERE id = '%s'",
	    talk);
	o = show(reply, &bytes);
	cr_expect_not(is_exact(o));
	const char *changes = text_of(o, "changes");
	cr_expect_not_null(strstr(changes, "\"history\""), "%s", changes);
	cr_expect_not_null(strstr(changes, "\"system\""), "%s", changes);
	cr_expect_null(strstr(buf_text(&bytes), "likes cake"));
	json_object_put(o);
	buf_free(&bytes);
}

Test(context, is_its_owner_s_and_only_a_model_s)
{
	char reply[ID_TEXT], local[ID_TEXT];
	struct buf bytes = {0};
	struct world other;
	expect_shown(begin(NULL, "Q"), reply);
	world_open(&other, NULL);
	cr_expect_eq(
	    context_show(world_request(&other), reply, &bytes), ERR_NOT_FOUND);
	world_close(&other);
	cr_expect_eq(
	    context_show(world_request(&w), "x", &bytes), ERR_NOT_FOUND);
	struct turn *t = begin(NULL, "Q");
	cr_expect_eq(context_show(world_request(&w), t->message_id, &bytes),
	    ERR_NOT_FOUND);
	cr_expect_not_null(strstr(w.req.detail, "has ended"));
	cr_expect_eq(
	    context_show(world_request(&w), t->user_message_id, &bytes),
	    ERR_NOT_FOUND);
	turn_free(t);
	world_conversation(&w, talk);
	struct turn *mine = NULL;
	const struct turn_ask ask = {.kind = TURN_SEND,
	    .conversation_id = talk,
	    .content = "Q",
	    .model = "natter-local"};
	cr_assert_eq(turn_begin(world_request(&w), &ask, &mine), OK);
	memcpy(local, mine->message_id, sizeof(local));
	cr_assert_eq(world_finish(&w, mine, "A"), OK);
	turn_free(mine);
	cr_expect_eq(
	    context_show(world_request(&w), local, &bytes), ERR_NOT_FOUND);
	buf_free(&bytes);
}

Test(context, that_exceeds_the_window_is_refused_before_anything_is_stored)
{
	struct turn *t = NULL;
	char big[2001];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	w.config.model_window = (char *)"512";
	cr_expect_eq(world_begin(&w, talk, NULL, big, &t), ERR_INVALID_FIELD);
	cr_expect_str_eq(w.req.bad_field, "content");
	cr_expect_eq(world_number("SELECT count(*) FROM chat.messages"
				  " WHERE conversation_id = '%s'",
			 talk),
	    0);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.running_replies"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
	big[1400] = '\0';
	t = begin(NULL, big);
	turn_free(t);
	/* A conversation's own model has its own window. */
	world_conversation(&w, talk);
	world_sql("UPDATE chat.conversations SET model = 'small-1'"
		  " WHERE id = '%s'",
	    talk);
	w.config.model_window = (char *)"100000 small=300";
	cr_expect_eq(world_begin(&w, talk, NULL, big, &t), ERR_INVALID_FIELD);
	big[500] = '\0';
	t = begin(NULL, big);
	turn_free(t);
}

Test(context, of_a_window_keeps_its_shares)
{
	char reply[ID_TEXT];
	char long_text[301];
	memset(long_text, 'y', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	w.config.model_window = (char *)"1000"; /* 3000 bytes of a prompt */
	for (int i = 0; i < 14; i++)
		expect_shown(begin(NULL, long_text), reply);
	struct turn *t = begin(NULL, "Last");
	int64_t all = 0;
	for (int i = 0; i < CONTEXT__MAX; i++)
		all += t->used[i].bytes;
	cr_expect_leq(all, 3000);
	cr_expect_gt(all, 3000 - 700);
	expect_shown(t, reply);
}

/* Runs the work that a turn left, as if a model had answered. */
static void
summarise(struct turn *t, const char *text)
{
	struct arena *a = arena_new(65536);
	struct afterwork *work = t->works;
	while (work && work->kind != AFTERWORK_SUMMARY)
		work = work->next;
	cr_assert_not_null(work);
	buf_puts(&work->text, text);
	struct pg_call call;
	cr_assert(afterwork_row(work->kind)->keep(work, a, &call));
	cr_assert_eq(chat_run(world_request(&w), &call, 1), OK);
	pg_calls_clear(&call, 1);
	arena_free(a);
}

static bool
wants_summary(const struct turn *t)
{
	for (const struct afterwork *x = t->works; x; x = x->next)
		if (x->kind == AFTERWORK_SUMMARY)
			return true;
	return false;
}

Test(context, that_has_no_room_is_summed_up)
{
	char reply[ID_TEXT], early[ID_TEXT], next[ID_TEXT], question[16];
	struct buf bytes = {0};
	struct turn *t;
	int i;
	w.config.summary = true;
	w.config.context_messages = 8;
	for (i = 0;; i++) {
		cr_assert_lt(i, 8);
		snprintf(question, sizeof(question), "Q%d.", i);
		t = begin(NULL, question);
		if (wants_summary(t))
			break;
		expect_shown(t, i == 0 ? early : reply);
	}
	cr_expect_eq(i, 3);
	struct afterwork *work = t->works;
	cr_expect_not_null(memmem(work->body.p, work->body.n, "User: Q0.", 9));
	cr_expect_null(memmem(work->body.p, work->body.n, "User: Q2.", 9));
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	summarise(t, "They spoke of tea.");
	turn_free(t);

	/* From now on it stands for what it covers. */
	t = begin(NULL, "Next.");
	cr_expect(says(t, "in short:\\nThey spoke of tea."));
	cr_expect_not(says(t, "Q0."));
	cr_expect(says(t, "Q3."));
	cr_expect_eq(t->used[CONTEXT_SUMMARY].items, 1);
	cr_expect_not(wants_summary(t));
	expect_shown(t, next);
	/* Not on a branch that leaves before it ends, nor with it off. */
	t = begin(early, "Elsewhere.");
	cr_expect_not(says(t, "spoke of tea"));
	cr_expect(says(t, "Q0."));
	expect_shown(t, reply);
	w.config.summary = false;
	t = begin(next, "Off.");
	cr_expect_not(says(t, "spoke of tea"));
	cr_expect(says(t, "Q1."));
	expect_shown(t, reply);
	w.config.summary = true;
	world_sql("UPDATE chat.conversations SET leaf_id = '%s'"
		  " WHERE id = '%s'",
	    next, talk);

	/* The next one takes the last one in. */
	for (i = 0;; i++) {
		cr_assert_lt(i, 8);
		t = begin(NULL, "More.");
		if (wants_summary(t))
			break;
		expect_shown(t, reply);
	}
	work = t->works;
	cr_expect_not_null(
	    memmem(work->body.p, work->body.n, "They spoke of tea.", 18));
	cr_expect_null(memmem(work->body.p, work->body.n, "Q0.", 3));
	memcpy(reply, t->message_id, sizeof(reply));
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	turn_free(t);
	world_sql(
	    "DELETE FROM chat.context_summaries WHERE user_id = '%s'", w.user);
	struct json_object *o = show(reply, &bytes);
	cr_expect_not(is_exact(o));
	cr_expect_not_null(strstr(text_of(o, "changes"), "\"summary\""));
	json_object_put(o);
	buf_free(&bytes);
	/* A mark without its summary stops nobody. */
	t = begin(NULL, "After.");
	cr_expect(says(t, "More."));
	turn_free(t);
}

/* Nor may the request for a summary exceed the window: it takes in what it
 * can, a later one the rest. */
Test(context, a_summary_is_asked_for_within_the_window)
{
	char reply[ID_TEXT], question[700];
	struct turn *t;
	memset(question, 'x', sizeof(question) - 1);
	question[sizeof(question) - 1] = '\0';
	w.config.summary = true;
	/* The window was larger until now. */
	for (int i = 0; i < 12; i++) {
		memcpy(question, (char[]){'Q', (char)('A' + i), '.'}, 3);
		t = begin(NULL, question);
		expect_shown(t, reply);
	}
	w.config.model_window = (char *)"1000"; /* 3000 bytes of a prompt */
	t = begin(NULL, "Next.");
	cr_assert(wants_summary(t));
	struct afterwork *work = t->works;
	cr_expect_not_null(memmem(work->body.p, work->body.n, "QA.", 3));
	cr_expect_not_null(memmem(work->body.p, work->body.n, "QC.", 3));
	cr_expect_null(memmem(work->body.p, work->body.n, "QF.", 3));
	cr_expect_leq(work->prompt_tokens, 750);
	cr_expect_eq(work->max_tokens, 100); /* its share */
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	summarise(t, "They spoke of tea.");
	turn_free(t);
	/* It ends where the talk did that it was made of. */
	w.config.model_window = NULL;
	t = begin(NULL, "After.");
	cr_expect(says(t, "They spoke of tea."));
	cr_expect_not(says(t, "QC."));
	cr_expect(says(t, "QF."));
	expect_shown(t, reply);

	/* A message that is too long for it is cut. */
	world_conversation(&w, talk);
	char *big = malloc(40001);
	memset(big, 'y', 40000);
	big[40000] = '\0';
	for (int i = 0; i < 3; i++)
		expect_shown(begin(NULL, i == 0 ? big : "Short."), reply);
	free(big);
	w.config.model_window = (char *)"1000";
	t = begin(NULL, "Next.");
	cr_assert(wants_summary(t));
	cr_expect_leq(t->works->prompt_tokens, 760);
	cr_expect_gt(t->works->prompt_tokens, 200);
	turn_free(t);
}

/* A long message does not take the summary of what came before along. */
Test(context, a_summary_stays_beside_what_has_no_room)
{
	char reply[ID_TEXT];
	struct turn *t;
	char big[2201];
	memset(big, 'z', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	w.config.summary = true;
	w.config.context_messages = 8;
	for (int i = 0; i < 3; i++)
		expect_shown(begin(NULL, "Early."), reply);
	t = begin(NULL, "Fourth.");
	cr_assert(wants_summary(t));
	cr_assert_eq(world_finish(&w, t, "An answer."), OK);
	summarise(t, "They spoke of tea.");
	turn_free(t);
	w.config.context_messages = 40;
	expect_shown(begin(NULL, big), reply);
	w.config.model_window = (char *)"1000"; /* 3000 bytes of a prompt */
	expect_shown(begin(NULL, big + 1200), reply);
	t = begin(NULL, "Next.");
	cr_expect(says(t, "They spoke of tea."));
	cr_expect_not(says(t, big));
	cr_expect(says(t, big + 1200));
	cr_expect_leq(t->prompt_estimate,
	    world_number("SELECT prompt_tokens FROM chat.running_replies"
			 " WHERE message_id = '%s'",
		t->message_id));
	expect_shown(t, reply);
}

/* What a summary of a deleted conversation would be kept with is gone. */
Test(context, whose_conversation_has_gone_keeps_no_summary)
{
	struct turn *t = NULL;
	w.config.summary = true;
	w.config.context_messages = 6;
	for (int i = 0; i < 8; i++) {
		t = begin(NULL, "Q");
		cr_assert_eq(world_finish(&w, t, "An answer."), OK);
		if (wants_summary(t))
			break;
		turn_free(t);
		t = NULL;
	}
	cr_assert_not_null(t);
	world_sql("DELETE FROM chat.conversations WHERE id = '%s'", talk);
	summarise(t, "Gone.");
	cr_expect_eq(world_number("SELECT count(*) FROM chat.context_summaries"
				  " WHERE user_id = '%s'",
			 w.user),
	    0);
	turn_free(t);
}

static void
put_file(const char *folder, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

Test(context, of_a_store_has_the_store_s_template)
{
	char folder[] = "/tmp/natter-templates-XXXXXX";
	char path[128], why[PROMPTS_WHY], store[ID_TEXT], reply[ID_TEXT];
	char fact[ID_TEXT];
	struct buf bytes = {0};
	struct prompts *p = NULL;
	cr_assert_not_null(mkdtemp(folder));
	put_file(folder, "shop.txt",
	    "{{store.name}}, {{date}}, {{weekday}}, for {{user.name}}: "
	    "{{system_prompt}}{{#facts}} [{{facts}}]{{/facts}}\n");
	cr_assert_eq(prompts_load(folder, &p, why), OK, "%s", why);
	prompts_use(p);
	id_make(store);
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open, settings,"
		  " system_prompt) VALUES ('%s', 's-' || left('%s', 8) ||"
		  " right('%s', 8), 'Tea House', true,"
		  " '{\"prompt_template\":\"shop\"}', 'Sell.')",
	    store, store, store);
	world_sql("UPDATE chat.conversations SET store_id = '%s'"
		  " WHERE id = '%s'",
	    store, talk);
	add_fact("likes tea", fact);
	struct turn *t = begin(NULL, "Q");
	cr_expect(says(t, "\"content\":\"Tea House, 20"));
	cr_expect(says(t, ": Sell. [- likes tea]\"}"));
	int64_t reserved =
	    world_number("SELECT prompt_tokens FROM chat.running_replies"
			 " WHERE message_id = '%s'",
		t->message_id);
	cr_expect_leq(t->prompt_estimate, reserved);
	expect_shown(t, reply);
	struct json_object *o = show(reply, &bytes);
	cr_expect_str_eq(
	    text_of(json_object_object_get(o, "template"), "name"), "shop");
	json_object_put(o);

	/* Another text under that name: not what was sent. */
	put_file(folder, "shop.txt", "Other {{system_prompt}}");
	cr_assert_eq(prompts_load(folder, &p, why), OK, "%s", why);
	prompts_use(p);
	o = show(reply, &bytes);
	cr_expect_not(is_exact(o));
	cr_expect_not_null(strstr(text_of(o, "changes"), "template_changed"));
	json_object_put(o);
	/* A name that nobody knows is `default`. */
	world_sql("UPDATE chat.stores SET settings ="
		  " '{\"prompt_template\":\"nowhere\"}' WHERE id = '%s'",
	    store);
	expect_shown(begin(NULL, "Q"), reply);
	snprintf(path, sizeof(path), "%s/shop.txt", folder);
	unlink(path);
	rmdir(folder);
	buf_free(&bytes);
}

/* Makes `default` say that, until the test ends. */
static void
say_by_default(const char *text)
{
	char folder[] = "/tmp/natter-templates-XXXXXX";
	char path[128], why[PROMPTS_WHY];
	struct prompts *p = NULL;
	cr_assert_not_null(mkdtemp(folder));
	put_file(folder, "default.txt", text);
	cr_assert_eq(prompts_load(folder, &p, why), OK, "%s", why);
	prompts_use(p);
	snprintf(path, sizeof(path), "%s/default.txt", folder);
	unlink(path);
	rmdir(folder);
}

/* What `fmt` of the database's clock is there. */
static void
at(const char *zone, const char *fmt, char out[64])
{
	PGresult *r;
	char sql[256];
	PGconn *db = PQconnectdb(getenv("TEST_WORLD_URL"));
	snprintf(sql, sizeof(sql),
	    "SELECT to_char(now() AT TIME ZONE '%s', '%s')", zone, fmt);
	r = PQexec(db, sql);
	cr_assert_eq(
	    PQresultStatus(r), PGRES_TUPLES_OK, "%s", PQerrorMessage(db));
	snprintf(out, 64, "%s", PQgetvalue(r, 0, 0));
	PQclear(r);
	PQfinish(db);
}

/* Twenty-six hours lie between these two: their dates are never the same. */
Test(context, tells_the_date_where_its_user_is)
{
	static const struct {
		const char *own, *server, *told;
	} rows[] = {
	    {"Pacific/Kiritimati", "UTC", "Pacific/Kiritimati"},
	    {"Etc/GMT+12", "Pacific/Kiritimati", "Etc/GMT+12"},
	    {NULL, "Pacific/Kiritimati", "Pacific/Kiritimati"},
	    {NULL, "Etc/GMT+12", "Etc/GMT+12"},
	    /* One that the time zone database has lost. */
	    {"Nowhere/Atall", "Etc/GMT+12", "Etc/GMT+12"},
	};
	char reply[ID_TEXT], date[64], want[128];
	say_by_default("{{date}}, a {{weekday}} in {{time_zone}}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		w.config.time_zone = (char *)rows[i].server;
		world_sql("UPDATE auth.users SET time_zone = nullif('%s', '')"
			  " WHERE id = '%s'",
		    rows[i].own ? rows[i].own : "", w.user);
		at(rows[i].told, "YYYY-MM-DD, \"a\" FMDay \"in\"", date);
		struct turn *t = begin(NULL, "Q");
		snprintf(want, sizeof(want), "\"%s %s\"", date, rows[i].told);
		cr_expect(says(t, want), "%s: %.300s", want, t->prompt.p);
		/* It is shown as it was, wherever its user goes then. */
		world_sql("UPDATE auth.users SET time_zone = 'Asia/Tokyo'"
			  " WHERE id = '%s'",
		    w.user);
		expect_shown(t, reply);
	}
}

/* A template of nobody: counted, told, and the note says what was taken. */
Test(context, whose_template_has_gone_begins_with_another)
{
	char store[ID_TEXT], reply[ID_TEXT];
	struct buf bytes = {0};
	struct json_object *o;
	id_make(store);
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open, settings)"
		  " VALUES ('%s', 'g-' || right('%s', 8), 'Gone', true,"
		  " '{\"prompt_template\":\"gone\"}')",
	    store, store);
	world_sql("UPDATE chat.conversations SET store_id = '%s'"
		  " WHERE id = '%s'",
	    store, talk);
	expect_shown(begin(NULL, "Q"), reply);
	o = json_object_object_get(show(reply, &bytes), "template");
	cr_expect_str_eq(text_of(o, "name"), "default");
	cr_expect_str_eq(text_of(o, "asked_for"), "gone");
	cr_expect_not(prompts_miss("gone"));
	cr_expect(prompts_miss("another"));
	/* Nor is the template of something else one of a conversation. */
	world_sql("UPDATE chat.stores SET settings ="
		  " '{\"prompt_template\":\"summary\"}' WHERE id = '%s'",
	    store);
	struct turn *t = begin(NULL, "Q");
	cr_expect_not(says(t, "Summarise"));
	expect_shown(t, reply);
	o = json_object_object_get(show(reply, &bytes), "template");
	cr_expect_str_eq(text_of(o, "asked_for"), "summary");
	world_sql("UPDATE chat.stores SET settings ="
		  " '{\"prompt_template\":\"default\"}' WHERE id = '%s'",
	    store);
	expect_shown(begin(NULL, "Q"), reply);
	o = json_object_object_get(show(reply, &bytes), "template");
	cr_expect_null(text_of(o, "asked_for"));
	buf_free(&bytes);
}

/* Where documents are not wanted no tool for them is offered, and that is
 * shown as it was. */
Test(context, without_documents_offers_no_search)
{
	char reply[ID_TEXT];
	w.config.tools = true;
	struct turn *t = begin(NULL, "Q");
	cr_expect(says(t, "search_documents"));
	expect_shown(t, reply);
	world_sql("UPDATE chat.conversations SET documents = false"
		  " WHERE id = '%s'",
	    talk);
	t = begin(NULL, "Q");
	cr_expect_not(says(t, "search_documents"));
	cr_expect(says(t, "create_task"));
	expect_shown(t, reply);
}

Test(context, facts_are_lines_of_their_owner)
{
	char id[ID_TEXT];
	struct buf body = {0};
	static const char *const bad[] = {"two\nlines", "   ", "tab\there"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_eq(fact_create(world_request(&w), bad[i], &body, id),
		    ERR_INVALID_FIELD, "%s", bad[i]);
	add_fact("likes tea", id);
	struct world other;
	world_open(&other, NULL);
	cr_expect_eq(
	    fact_update(world_request(&other), id, "x", &body), ERR_NOT_FOUND);
	cr_expect_eq(fact_delete(world_request(&other), id), ERR_NOT_FOUND);
	buf_clear(&body);
	cr_assert_eq(facts_list(world_request(&other), &body), OK);
	cr_expect_str_eq(buf_text(&body), "[]");
	world_close(&other);
	buf_clear(&body);
	cr_assert_eq(facts_list(world_request(&w), &body), OK);
	cr_expect_not_null(strstr(buf_text(&body), "likes tea"));
	cr_assert_eq(fact_delete(world_request(&w), id), OK);
	cr_expect_eq(fact_delete(world_request(&w), id), ERR_NOT_FOUND);
	buf_free(&body);
}

#define WRITERS 4

static void *
write_facts(void *user)
{
	struct world mine;
	struct buf body = {0};
	char id[ID_TEXT];
	world_open(&mine, user);
	for (int i = 0; i < FACTS_MAX / 2; i++) {
		buf_clear(&body);
		(void)!fact_create(world_request(&mine), "a fact", &body, id);
	}
	buf_free(&body);
	world_close(&mine);
	return NULL;
}

Test(context, facts_are_never_more_than_they_may_be)
{
	pthread_t threads[WRITERS];
	char id[ID_TEXT];
	struct buf body = {0};
	for (int i = 0; i < WRITERS; i++)
		cr_assert_eq(
		    pthread_create(&threads[i], NULL, write_facts, w.user), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(world_number("SELECT count(*) FROM chat.user_facts"
				  " WHERE user_id = '%s'",
			 w.user),
	    FACTS_MAX);
	cr_expect_eq(fact_create(world_request(&w), "one more", &body, id),
	    ERR_INVALID_FIELD);
	buf_free(&body);
}
