/*
 * Conversations through a real nginx: made, renamed, archived, deleted, paged
 * through while others come and go, and nobody else's business.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "promises.h"
#include "stack.h"

#define ROWS     25
#define PAGE     10
#define SEEN_MAX 400

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	api_caller_make(&caller);
}

static void
teardown(void)
{
	api_check_workers(&caller);
}

TestSuite(talks, .init = setup, .fini = teardown, .timeout = 120);

/* Asks as `p`; the path's %s is `id`. */
static void
call(const struct person *p, const char *method, const char *path,
    const char *id, const char *json, struct answer *a)
{
	const char *gap = strstr(path, "%s");
	char filled[512];
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = filled,
	    .token = p->token,
	    .json = json};

	if (gap == NULL)
		snprintf(filled, sizeof(filled), "%s", path);
	else
		snprintf(filled, sizeof(filled), "%.*s%s%s", (int)(gap - path),
		    path, id, gap + 2);
	http_ask(&ask, a);
}

#define ONE  API "/conversations/%s"
#define SAID API "/conversations/%s/messages"
#define ALL  API "/conversations"

static void
make_titled(const struct person *p, int number, char out_id[static 40])
{
	char json[64];
	struct answer a;

	snprintf(json, sizeof(json), "{\"title\":\"number %d\"}", number);
	call(p, "POST", ALL, NULL, json, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

/* The ids that a walk through all pages showed, in order. */
struct walk {
	char ids[SEEN_MAX][40];
	size_t n;
	size_t pages;
};

/* Takes one page; returns whether another follows. */
static bool
step(const struct person *p, const char *path, struct walk *w,
    char cursor[static 512])
{
	char paged[1024], member[32];
	const char *id;
	struct answer a;

	snprintf(paged, sizeof(paged), "%s%s%s", path,
	    cursor[0] != '\0' ? "&cursor=" : "", cursor);
	call(p, "GET", paged, NULL, NULL, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	for (size_t i = 0;; i++) {
		snprintf(member, sizeof(member), "data.%zu.id", i);
		id = answer_text(&a, member);
		if (id[0] == '\0')
			break;
		cr_assert_lt(w->n, SEEN_MAX);
		snprintf(w->ids[w->n++], 40, "%s", id);
	}
	snprintf(cursor, 512, "%s", answer_text(&a, "next_cursor"));
	answer_clear(&a);
	w->pages++;
	return cursor[0] != '\0';
}

static void
walk(const struct person *p, const char *path, struct walk *w)
{
	char cursor[512] = "";

	*w = (struct walk){0};
	while (step(p, path, w, cursor))
		cr_assert_lt(w->pages, 100);
}

static size_t
times_seen(const struct walk *w, const char *id)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += strcmp(w->ids[i], id) == 0;
	return n;
}

Test(talks, pages_show_every_row_once_the_newest_first)
{
	static char ids[ROWS][40];
	static struct walk w;

	for (int i = 0; i < ROWS; i++)
		make_titled(&caller.person, i, ids[i]);
	walk(&caller.person, ALL "?limit=10", &w);
	cr_expect_eq(w.pages, 3);
	cr_assert_eq(w.n, ROWS + 1); /* and the caller's first one */
	for (int i = 0; i < ROWS; i++)
		cr_expect_str_eq(w.ids[i], ids[ROWS - 1 - i]);
	cr_expect_str_eq(w.ids[ROWS], caller.person.conversation);
	/* A page that ends with the last row says so. */
	walk(&caller.person, ALL "?limit=26", &w);
	cr_expect_eq(w.pages, 1);
	walk(&caller.person, ALL "?limit=1", &w);
	cr_expect_eq(w.pages, ROWS + 1);
	cr_expect_eq(w.n, ROWS + 1);
}

Test(talks, what_is_made_or_deleted_between_pages_disturbs_no_other)
{
	static char ids[ROWS][40], late[40];
	static struct walk w;
	char cursor[512] = "";
	struct answer a;

	for (int i = 0; i < ROWS; i++)
		make_titled(&caller.person, i, ids[i]);
	cr_assert(step(&caller.person, ALL "?limit=10", &w, cursor));
	/* Seen (24), the cursor's own row (15), and unseen (10). */
	for (int i = 0; i < 3; i++) {
		static const int gone[] = {24, 15, 10};

		call(&caller.person, "DELETE", ONE, ids[gone[i]], NULL, &a);
		cr_assert_eq(a.status, 204, "%s", a.body.p);
		answer_clear(&a);
		make_titled(&caller.person, 100 + i, late);
	}
	while (step(&caller.person, ALL "?limit=10", &w, cursor))
		;
	for (int i = 0; i < ROWS; i++)
		cr_expect_eq(
		    times_seen(&w, ids[i]), i == 10 ? 0 : 1, "number %d", i);
	cr_expect_eq(times_seen(&w, late), 0);
	cr_expect_eq(times_seen(&w, caller.person.conversation), 1);
}

/* Makes and deletes conversations until told to stop. */
struct churn {
	pthread_t thread;
	_Atomic bool stops;
	int rounds;
};

static void *
churn_run(void *arg)
{
	struct churn *c = arg;

	while (!atomic_load(&c->stops)) {
		char id[40];
		struct answer a;

		person_converse(&caller.stack, &caller.person, id);
		call(&caller.person, "DELETE", ONE, id, NULL, &a);
		answer_clear(&a);
		c->rounds++;
	}
	return NULL;
}

Test(talks, pages_are_stable_under_others_coming_and_going)
{
	static char ids[ROWS][40];
	static struct churn churns[3];
	static struct walk w;

	for (int i = 0; i < ROWS; i++)
		make_titled(&caller.person, i, ids[i]);
	for (int i = 0; i < 3; i++)
		pthread_create(&churns[i].thread, NULL, churn_run, &churns[i]);
	for (int round = 0; round < 20; round++) {
		walk(&caller.person, ALL "?limit=4", &w);
		for (int i = 0; i < ROWS; i++)
			cr_expect_eq(times_seen(&w, ids[i]), 1,
			    "round %d, number %d", round, i);
	}
	for (int i = 0; i < 3; i++) {
		atomic_store(&churns[i].stops, true);
		pthread_join(churns[i].thread, NULL);
		cr_expect_gt(churns[i].rounds, 5);
	}
}

Test(talks, a_cursor_is_of_one_list_and_one_user)
{
	char id[40], cursor[512] = "", path[1024];
	static struct walk w;
	struct person other;
	struct answer a;

	make_titled(&caller.person, 1, id);
	cr_assert(step(&caller.person, ALL "?limit=1", &w, cursor));
	person_make(&caller.stack, &other);
	snprintf(path, sizeof(path), ALL "?cursor=%s", cursor);
	call(&other, "GET", path, NULL, NULL, &a);
	cr_expect_null(refusal_fault(&a, 400, "bad_cursor", NULL));
	answer_clear(&a);
	snprintf(path, sizeof(path), ALL "?archived=true&cursor=%s", cursor);
	call(&caller.person, "GET", path, NULL, NULL, &a);
	cr_expect_null(refusal_fault(&a, 400, "bad_cursor", NULL));
	answer_clear(&a);
	for (size_t i = 0; i < strlen(cursor); i += 5) {
		char keep = cursor[i];

		cursor[i] = keep == 'A' ? 'B' : 'A';
		snprintf(path, sizeof(path), ALL "?cursor=%s", cursor);
		call(&caller.person, "GET", path, NULL, NULL, &a);
		cr_expect_null(refusal_fault(&a, 400, "bad_cursor", NULL));
		answer_clear(&a);
		cursor[i] = keep;
	}
}

Test(talks, a_new_title_and_the_archive)
{
	static struct walk w;
	struct answer a;

	call(&caller.person, "PATCH", ONE, caller.person.conversation,
	    "{\"title\":\"Zo\\u00eb's \\ud83e\\udd86\"}", &a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(
	    answer_text(&a, "title"), "Zo\xc3\xab's \xf0\x9f\xa6\x86");
	answer_clear(&a);
	call(&caller.person, "PATCH", ONE, caller.short_id,
	    "{\"is_archived\":true}", &a);
	cr_expect_str_eq(answer_text(&a, "is_archived"), "true");
	cr_expect_str_eq(
	    answer_text(&a, "title"), "Zo\xc3\xab's \xf0\x9f\xa6\x86");
	answer_clear(&a);
	walk(&caller.person, ALL "?limit=10", &w);
	cr_expect_eq(times_seen(&w, caller.person.conversation), 0);
	walk(&caller.person, ALL "?limit=10&archived=true", &w);
	cr_expect_eq(times_seen(&w, caller.person.conversation), 1);
	walk(&caller.person, ALL "?limit=10&archived=all", &w);
	cr_expect_eq(times_seen(&w, caller.person.conversation), 1);
	call(&caller.person, "PATCH", ONE, caller.person.conversation,
	    "{\"is_archived\":false}", &a);
	answer_clear(&a);
	walk(&caller.person, ALL "?limit=10", &w);
	cr_expect_eq(times_seen(&w, caller.person.conversation), 1);
}

Test(talks, a_short_id_does_for_every_route)
{
	static const char *const rows[][3] = {
	    {"GET", ONE, NULL},
	    {"PATCH", ONE, "{\"title\":\"short\"}"},
	    {"GET", SAID, NULL},
	    {"POST", SAID, "{\"content\":\"hello\"}"},
	    {"DELETE", ONE, NULL},
	};
	struct answer a;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		call(&caller.person, rows[i][0], rows[i][1], caller.short_id,
		    rows[i][2], &a);
		cr_expect_eq(a.status / 100, 2, "%s %s: %ld %s", rows[i][0],
		    rows[i][1], a.status, a.body.p);
		cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
		answer_clear(&a);
	}
}

Test(talks, deleting_takes_the_messages_along)
{
	static const char *const rows[][3] = {
	    {"GET", ONE, NULL},
	    {"PATCH", ONE, "{\"title\":\"x\"}"},
	    {"DELETE", ONE, NULL},
	    {"GET", SAID, NULL},
	    {"POST", SAID, "{\"content\":\"hello\"}"},
	};
	char n[16];
	struct answer a;

	call(&caller.person, "DELETE", ONE, caller.person.conversation, NULL,
	    &a);
	cr_expect_eq(a.status, 204);
	cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
	answer_clear(&a);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		call(&caller.person, rows[i][0], rows[i][1],
		    caller.person.conversation, rows[i][2], &a);
		cr_expect_null(refusal_fault(&a, 404, "not_found", NULL),
		    "%s %s: %s", rows[i][0], rows[i][1], a.body.p);
		answer_clear(&a);
	}
	call(&caller.person, "GET", API "/messages/%s", caller.message_id, NULL,
	    &a);
	cr_expect_null(refusal_fault(&a, 404, "not_found", NULL));
	answer_clear(&a);
	db_value("SELECT count(*) FROM chat.messages WHERE user_id = $1",
	    caller.person.user_id, n, sizeof(n));
	cr_expect_str_eq(n, "0");
}

Test(talks, what_is_somebody_elses_is_not_there)
{
	const char *const rows[][4] = {
	    {"GET", ONE, caller.person.conversation, NULL},
	    {"GET", ONE, caller.short_id, NULL},
	    {"PATCH", ONE, caller.person.conversation,
		"{\"title\":\"mine now\"}"},
	    {"PATCH", ONE, caller.short_id, "{\"is_archived\":true}"},
	    {"DELETE", ONE, caller.person.conversation, NULL},
	    {"DELETE", ONE, caller.short_id, NULL},
	    {"GET", SAID, caller.person.conversation, NULL},
	    {"GET", SAID, caller.short_id, NULL},
	    {"POST", SAID, caller.person.conversation,
		"{\"content\":\"mine now\"}"},
	    {"POST", SAID, caller.person.conversation,
		"{\"content\":\"mine now\",\"stream\":true}"},
	    {"POST", SAID, caller.short_id, "{\"content\":\"mine now\"}"},
	    {"GET", API "/messages/%s", caller.message_id, NULL},
	};
	char before[256], after[256], json[256];
	struct person other;
	struct answer a;

	person_make(&caller.stack, &other);
	db_value("SELECT c::text FROM chat.conversations c WHERE id = $1",
	    caller.person.conversation, before, sizeof(before));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *fault;

		call(
		    &other, rows[i][0], rows[i][1], rows[i][2], rows[i][3], &a);
		fault = refusal_fault(&a, 404, "not_found", NULL);
		cr_expect_null(
		    fault, "%s %s: %s", rows[i][0], rows[i][1], fault);
		answer_clear(&a);
	}
	/* Nor can an answer there be the parent of a question here. */
	snprintf(json, sizeof(json), "{\"content\":\"x\",\"parent_id\":\"%s\"}",
	    caller.message_id);
	call(&other, "POST", SAID, other.conversation, json, &a);
	cr_expect_null(refusal_fault(&a, 422, "invalid_field", "parent_id"));
	answer_clear(&a);
	db_value("SELECT c::text FROM chat.conversations c WHERE id = $1",
	    caller.person.conversation, after, sizeof(after));
	cr_expect_str_eq(after, before);
}
