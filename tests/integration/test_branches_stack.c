/*
 * Branches over HTTP: two workers, a model, several clients of one user who
 * edit, ask again, fork and send at the same time. What they were told is
 * compared with what is stored.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/calls.h"
#include "support/stack_shared.h"
#include "support/tree.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	static const struct stack_options options = {
	    .settings = {"CHAT_WORKERS=2", "CHAT_REGISTRATION=open",
		"CHAT_RATE_LIMIT_PER_MINUTE=0", "CHAT_RATE_LIMIT_PER_DAY=0",
		"CHAT_API_RATE_PER_MINUTE=0", "CHAT_MAX_TOKENS_PER_DAY=0",
		"CHAT_STREAMS_PER_USER=0", "CHAT_ADDRESS_RATE_PER_MINUTE=0"},
	    .has_model = true,
	};
	(void)tests;
	stack_share(&options);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static struct stack s;
static struct person p;

static void
open_stack(void)
{
	stack_take(&s);
	person_make(&s, &p);
}

TestSuite(branches_stack, .init = open_stack, .timeout = 240);

/* Any thread. The caller clears the answer. */
static void
call(const char *token, const char *method, const char *path, const char *json,
    struct answer *a)
{
	char whole[512];
	(void)snprintf(whole, sizeof(whole), "/api/v1%s", path);
	const struct ask ask = {
	    .method = method,
	    .base = s.base,
	    .path = whole,
	    .token = token,
	    .json = json,
	};
	http_ask(&ask, a);
}

/* A turn: POST /{what}/{id}/{verb}. */
static void
turn(const char *what, const char *id, const char *verb, const char *json,
    struct answer *a)
{
	char path[256];
	(void)snprintf(path, sizeof(path), "/%s/%s/%s", what, id, verb);
	do
		call(p.token, "POST", path, json, a);
	while (call_was_late(a));
}

static void
read_tree(const char *token, const char *conversation, struct tree *out)
{
	char cursor[1024] = "";
	out->n = 0;
	do {
		struct answer a;
		char path[2048];
		(void)snprintf(path, sizeof(path),
		    "/api/v1/conversations/%s/messages?limit=200%s%s",
		    conversation, *cursor ? "&cursor=" : "", cursor);
		const struct ask ask = {
		    .base = s.base, .path = path, .token = token};
		http_ask(&ask, &a);
		cr_assert_eq(a.status, 200);
		struct json_object *o = json_tokener_parse(a.body.p);
		struct json_object *data = json_object_object_get(o, "data");
		for (size_t i = 0; i < json_object_array_length(data); i++)
			tree_add_shown(out, json_object_array_get_idx(data, i));
		(void)snprintf(cursor, sizeof(cursor), "%s",
		    answer_text(&a, "next_cursor"));
		json_object_put(o);
		answer_clear(&a);
	} while (*cursor);
}

Test(branches_stack, a_streamed_edit_and_a_streamed_retry)
{
	struct answer a;
	char question[40], reply[40];
	person_say(&s, &p, "[[text=20]] first", &a);
	(void)snprintf(question, sizeof(question), "%s",
	    answer_event_text(&a, "start", "user_message_id"));
	(void)snprintf(reply, sizeof(reply), "%s",
	    answer_event_text(&a, "start", "message_id"));
	answer_clear(&a);

	turn("messages", reply, "regenerate", "{\"stream\":true}", &a);
	cr_assert(answer_ends_with(&a, "done"));
	cr_expect_str_eq(
	    answer_event_text(&a, "start", "user_message_id"), question);
	cr_expect_str_neq(answer_event_text(&a, "start", "message_id"), reply);
	cr_expect_str_eq(answer_event_text(&a, "done", "parent_id"), question);
	answer_clear(&a);

	turn("messages", question, "edit",
	    "{\"content\":\"[[text=30]] second\",\"stream\":true}", &a);
	cr_assert(answer_ends_with(&a, "done"));
	cr_expect_str_neq(
	    answer_event_text(&a, "start", "user_message_id"), question);
	cr_expect_eq(a.text.n, 30);
	answer_clear(&a);
}

Test(branches_stack, a_failed_reply_is_retried_in_one_request)
{
	struct answer a;
	char reply[40];
	person_say(&s, &p, "[[fail=4,id=retried,text=12]] hello", &a);
	cr_assert(answer_ends_with(&a, "error"));
	(void)snprintf(reply, sizeof(reply), "%s",
	    answer_event_text(&a, "start", "message_id"));
	answer_clear(&a);
	/* The model has failed as often as it was told to, or goes on to. */
	for (int i = 0; i < 4; i++) {
		turn("messages", reply, "regenerate", "{}", &a);
		bool is_well = a.status == 201;
		if (is_well) {
			cr_expect_str_eq(answer_text(&a, "status"), "complete");
			answer_clear(&a);
			return;
		}
		answer_clear(&a);
	}
	cr_assert_fail("never answered");
}

struct racer {
	char id[40];
	const char *verb;
	long status;
	char running[40];
};

static _Atomic int n_answered;

static void *
race(void *arg)
{
	struct racer *r = arg;
	struct answer a;
	turn("messages", r->id, r->verb,
	    strcmp(r->verb, "edit") == 0 ? "{\"content\":\"[[gate=100]] x\"}"
					 : "{}",
	    &a);
	r->status = a.status;
	(void)snprintf(r->running, sizeof(r->running), "%s",
	    answer_text(&a, a.status == 409 ? "message_id" : "id"));
	answer_clear(&a);
	atomic_fetch_add(&n_answered, 1);
	return NULL;
}

/* All on one branch: one wins, the others are told which. */
Test(branches_stack, of_twenty_retries_at_once_one_runs)
{
	enum { N = 20 };
	static struct racer racers[N];
	pthread_t threads[N];
	struct answer a;
	char question[40], reply[40];
	stack_model_open(&s);
	person_say(&s, &p, "[[gate=100]] hello", &a);
	stack_model_reset(&s);
	(void)snprintf(question, sizeof(question), "%s",
	    answer_event_text(&a, "start", "user_message_id"));
	(void)snprintf(reply, sizeof(reply), "%s",
	    answer_event_text(&a, "start", "message_id"));
	answer_clear(&a);
	for (int i = 0; i < N; i++) {
		racers[i].verb = i % 3 == 0 ? "edit" : "regenerate";
		strcpy(
		    racers[i].id, i % 3 == 0 || i % 2 == 0 ? question : reply);
		cr_assert_eq(
		    pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	/* Who won is answered when all others were. */
	cr_expect(wait_for_count(&n_answered, N - 1, 60000));
	stack_model_open(&s);
	int won = 0;
	const char *winner = "";
	for (int i = 0; i < N; i++) {
		pthread_join(threads[i], NULL);
		if (racers[i].status == 201) {
			won++;
			winner = racers[i].running;
		} else {
			cr_expect_eq(racers[i].status, 409);
		}
	}
	cr_assert_eq(won, 1);
	for (int i = 0; i < N; i++)
		cr_expect_str_eq(racers[i].running, winner);
}

/* One client: what it did, as it was told. */
struct client {
	pthread_t thread;
	unsigned seed;
	struct tree made; /* questions and replies of its own */
	int forks, refused, others;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tree known; /* what all of them may go on from */

static struct tree_node
pick(unsigned *seed)
{
	pthread_mutex_lock(&lock);
	struct tree_node node = known.nodes[(size_t)rand_r(seed) % known.n];
	pthread_mutex_unlock(&lock);
	return node;
}

static void
note(struct client *c, const char *id, const char *parent, bool is_reply,
    const char *content)
{
	tree_add(&c->made, id, parent, is_reply, content);
	pthread_mutex_lock(&lock);
	tree_add(&known, id, parent, is_reply, content);
	pthread_mutex_unlock(&lock);
}

/* The reply shows its own text; its question is what was asked, or was there.
 */
static void
took(struct client *c, const struct answer *a, const char *parent,
    const char *content)
{
	if (content)
		note(c, answer_text(a, "parent_id"), parent, false, content);
	char question[ID_TEXT];
	(void)snprintf(
	    question, sizeof(question), "%s", answer_text(a, "parent_id"));
	note(
	    c, answer_text(a, "id"), question, true, answer_text(a, "content"));
}

static void
step(struct client *c, int i)
{
	struct answer a;
	char body[256], content[64];
	struct tree_node at = pick(&c->seed);
	int what = rand_r(&c->seed) % 10;
	(void)snprintf(
	    content, sizeof(content), "[[text=9]] %u-%d", c->seed, i);
	if (what == 0) {
		(void)snprintf(
		    body, sizeof(body), "{\"message_id\":\"%s\"}", at.id);
		turn("conversations", p.conversation, "fork", body, &a);
		c->forks += a.status == 201;
		c->others += a.status != 201 && a.status != 409;
		answer_clear(&a);
		return;
	}
	if (!at.is_reply && what < 6) {
		(void)snprintf(
		    body, sizeof(body), "{\"content\":\"%s\"}", content);
		turn("messages", at.id, "edit", body, &a);
		if (a.status == 201)
			took(c, &a, at.parent, content);
	} else if (!at.is_reply || what < 5) {
		turn("messages", at.id, "regenerate", "{}", &a);
		if (a.status == 201)
			took(c, &a, NULL, NULL);
	} else {
		(void)snprintf(body, sizeof(body),
		    "{\"content\":\"%s\",\"parent_id\":\"%s\"}", content,
		    at.id);
		turn("conversations", p.conversation, "messages", body, &a);
		if (a.status == 201)
			took(c, &a, at.id, content);
	}
	c->refused += a.status == 409;
	c->others += a.status != 201 && a.status != 409;
	answer_clear(&a);
}

static void *
work(void *arg)
{
	struct client *c = arg;
	for (int i = 0; i < 40; i++)
		step(c, i);
	return NULL;
}

Test(branches_stack, clients_at_once_lose_and_invent_nothing)
{
	enum { N = 6 };
	static struct client clients[N];
	static struct tree stored;
	static struct client first;
	struct answer a;
	char conversations[64];
	turn("conversations", p.conversation, "messages",
	    "{\"content\":\"[[text=9]] first\"}", &a);
	cr_assert_eq(a.status, 201);
	took(&first, &a, NULL, "[[text=9]] first");
	answer_clear(&a);
	for (unsigned i = 0; i < N; i++) {
		clients[i].seed = i + 1;
		cr_assert_eq(
		    pthread_create(&clients[i].thread, NULL, work, &clients[i]),
		    0);
	}
	int forks = 0, refused = 0;
	for (unsigned i = 0; i < N; i++) {
		pthread_join(clients[i].thread, NULL);
		cr_expect_eq(clients[i].others, 0);
		forks += clients[i].forks;
		refused += clients[i].refused;
	}
	/* Each message that somebody was told of is there as they were told,
	 * and no other. */
	read_tree(p.token, p.conversation, &stored);
	cr_assert_eq(stored.n, known.n);
	for (size_t i = 0; i < known.n; i++) {
		int at = tree_find(&stored, known.nodes[i].id);
		cr_assert_geq(at, 0);
		const struct tree_node *got = &stored.nodes[at];
		cr_expect_str_eq(got->parent, known.nodes[i].parent);
		cr_expect_str_eq(got->content, known.nodes[i].content);
		cr_expect_eq(got->is_reply, known.nodes[i].is_reply);
	}
	char path[128];
	(void)snprintf(path, sizeof(path), "/conversations/%s", p.conversation);
	call(p.token, "GET", path, NULL, &a);
	cr_expect_eq(atol(answer_text(&a, "message_count")), (long)stored.n);
	cr_expect_geq(tree_find(&stored, answer_text(&a, "leaf_id")), 0);
	answer_clear(&a);
	db_value("SELECT count(*) FROM chat.conversations WHERE user_id = $1"
		 " AND (metadata ? 'forked_from' OR id = $1)",
	    p.user_id, conversations, sizeof(conversations));
	cr_expect_eq(atoi(conversations), forks);
	fprintf(stderr, "%zu messages, %d forks, %d refused\n", stored.n, forks,
	    refused);
}

Test(branches_stack, an_import_of_an_export_has_the_same_tree)
{
	static struct tree mine, theirs;
	struct answer a;
	struct person other;
	char path[128];
	known.n = 0;
	static struct client c = {.seed = 3};
	turn("conversations", p.conversation, "messages",
	    "{\"content\":\"[[text=9]] first\"}", &a);
	took(&c, &a, NULL, "[[text=9]] first");
	answer_clear(&a);
	for (int i = 0; i < 30; i++)
		step(&c, i);
	read_tree(p.token, p.conversation, &mine);
	(void)snprintf(
	    path, sizeof(path), "/conversations/%s/export", p.conversation);
	struct answer export;
	call(p.token, "GET", path, NULL, &export);
	cr_assert_eq(export.status, 200);
	person_make(&s, &other);
	call(other.token, "POST", "/conversations/import", export.body.p, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	cr_expect_eq(atol(answer_text(&a, "messages")), (long)mine.n);
	answer_clear(&a);
	answer_clear(&export);
	char id[64];
	db_value("SELECT id FROM chat.conversations WHERE user_id = $1"
		 " AND message_count > 0",
	    other.user_id, id, sizeof(id));
	read_tree(other.token, id, &theirs);
	const char *why = tree_differs(&mine, &theirs, TREE_OTHER_IDS);
	cr_expect_null(why, "%s", why);
	/* The leaf is the same message. */
	char leaf[64], position[2][32];
	const char *const ids[] = {p.conversation, id};
	for (int i = 0; i < 2; i++) {
		db_value("SELECT leaf_id FROM chat.conversations WHERE id = $1",
		    ids[i], leaf, sizeof(leaf));
		db_value("SELECT position FROM chat.messages WHERE id = $1",
		    leaf, position[i], sizeof(position[i]));
	}
	cr_expect_str_eq(position[0], position[1]);
}

/* A store that keeps answers gives the same question the same answer; who asks
 * for another one gets another one. */
Test(branches_stack, another_reply_is_none_that_was_kept)
{
	struct answer a;
	char reply[40];
	static const char body[] =
	    "{\"content\":\"[[text=40]] the same\",\"cache\":true}";
	turn("conversations", p.conversation, "messages", body, &a);
	cr_assert_eq(a.status, 201);
	char first[40];
	(void)snprintf(
	    first, sizeof(first), "%s", answer_text(&a, "parent_id"));
	answer_clear(&a);
	/* A worker in doubt about its Redis takes none for a while. */
	bool was_kept = false;
	for (int i = 0; i < 100 && !was_kept; i++) {
		turn("messages", first, "edit", body, &a);
		cr_assert_eq(a.status, 201);
		was_kept = !strcmp(answer_text(&a, "metadata.cached"), "true");
		(void)snprintf(
		    reply, sizeof(reply), "%s", answer_text(&a, "id"));
		answer_clear(&a);
		if (!was_kept)
			usleep(100000);
	}
	cr_assert(was_kept);
	turn("messages", reply, "regenerate", "{}", &a);
	cr_assert_eq(a.status, 201);
	cr_expect_str_eq(answer_text(&a, "metadata.cached"), "");
	answer_clear(&a);
}
