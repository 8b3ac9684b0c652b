/*
 * What befalls conversations through a real nginx: counts that stay exact under
 * many at once, a conversation deleted in the middle of a reply, temporary
 * ones, and every field that is refused.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "promises.h"
#include "stack.h"

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_MODEL_RETRIES=0"}};

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

TestSuite(life, .init = setup, .fini = teardown, .timeout = 120);

static void
ask_as(const char *method, const char *path, const char *json, struct answer *a)
{
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = path,
	    .token = caller.person.token,
	    .json = json};

	http_ask(&ask, a);
}

/* One of several who talk in one conversation at the same time. */
struct talker {
	pthread_t thread;
	const char *conversation;
	int number;
	int answered;
};

/* Branches off the first answer, well or badly, or deletes one of its own. */
static void *
talk(void *arg)
{
	static const char *const says[] = {
	    "hello", "[[fail=1,status=500]] x", "[[cut=1 events=3]] x"};
	struct talker *t = arg;
	char path[128], json[256];
	struct answer a;

	snprintf(path, sizeof(path), API "/conversations/%s/messages",
	    t->conversation);
	for (int i = 0; i < 6; i++) {
		snprintf(json, sizeof(json),
		    "{\"content\":\"%s\",\"stream\":true}",
		    says[(t->number + i) % 3]);
		ask_as("POST", path, json, &a);
		t->answered += a.status == 200;
		answer_clear(&a);
	}
	return NULL;
}

Test(life, message_count_is_exact_however_many_talk_at_once)
{
	struct talker talkers[6] = {0};
	char extra[40], path[128], wrong[16];
	struct answer a;
	int answered = 0;

	person_converse(&caller.stack, &caller.person, extra);
	for (int i = 0; i < 6; i++) {
		talkers[i] = (struct talker){.number = i,
		    .conversation = i < 4 ? caller.person.conversation : extra};
		pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]);
	}
	/* One goes away while it is being talked in. */
	for (int i = 0; i < 5; i++) {
		ask_as("GET", API "/conversations", NULL, &a);
		answer_clear(&a);
	}
	snprintf(path, sizeof(path), API "/conversations/%s", extra);
	ask_as("DELETE", path, NULL, &a);
	answer_clear(&a);
	for (int i = 0; i < 6; i++) {
		pthread_join(talkers[i].thread, NULL);
		answered += talkers[i].answered;
	}
	cr_expect_gt(answered, 4);
	db_value("SELECT count(*) FROM chat.conversations c"
		 " WHERE c.user_id = $1 AND c.message_count <> (SELECT count(*)"
		 " FROM chat.messages m WHERE m.user_id = c.user_id"
		 " AND m.conversation_id = c.id)",
	    caller.person.user_id, wrong, sizeof(wrong));
	cr_expect_str_eq(wrong, "0");
	db_value("SELECT message_count FROM chat.conversations WHERE id = $1",
	    caller.person.conversation, wrong, sizeof(wrong));
	cr_expect_gt(atoi(wrong), 2);
}

static void
delete_at_third(void *arg, int n)
{
	char path[128];
	struct answer a;

	/* A piece after each event, and all of them when it is done. */
	stack_model_open(&caller.stack);
	if (n != 3)
		return;
	snprintf(path, sizeof(path), API "/conversations/%s",
	    caller.person.conversation);
	ask_as("DELETE", path, NULL, &a);
	cr_expect_eq(a.status, 204, "%s", a.body.p);
	answer_clear(&a);
	for (int i = 0; i < 10; i++)
		stack_model_open(&caller.stack);
	*(bool *)arg = true;
}

Test(life, a_reply_whose_conversation_goes_ends_with_an_error)
{
	char path[128], n[16];
	bool was_deleted = false;
	struct ask ask = {.method = "POST",
	    .base = caller.stack.base,
	    .path = path,
	    .token = caller.person.token,
	    .json = "{\"content\":\"[[events=10 gate=1]] x\","
		    "\"stream\":true}",
	    .on_event = delete_at_third,
	    .arg = &was_deleted};
	struct answer a;

	snprintf(path, sizeof(path), API "/conversations/%s/messages",
	    caller.person.conversation);
	http_ask(&ask, &a);
	cr_expect(answer_ends_with(&a, "error"), "%s", a.body.p);
	cr_expect_str_eq(answer_event_text(&a, "error", "code"), "not_found");
	cr_expect(was_deleted);
	answer_clear(&a);
	db_value("SELECT count(*) FROM chat.messages WHERE user_id = $1",
	    caller.person.user_id, n, sizeof(n));
	cr_expect_str_eq(n, "0");
	db_value("SELECT count(*) FROM chat.running_replies WHERE user_id = $1",
	    caller.person.user_id, n, sizeof(n));
	cr_expect_str_eq(n, "0");
}

Test(life, a_temporary_conversation_is_not_listed_and_says_its_end)
{
	char path[128];
	struct answer a;

	ask_as("POST", API "/conversations", "{\"temporary\":true}", &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	cr_expect_str_neq(answer_text(&a, "expires_at"), "");
	snprintf(
	    path, sizeof(path), API "/conversations/%s", answer_text(&a, "id"));
	answer_clear(&a);
	ask_as("GET", API "/conversations?archived=all&active=all", NULL, &a);
	cr_expect_str_eq(
	    answer_text(&a, "data.0.id"), caller.person.conversation);
	answer_clear(&a);
	ask_as("PATCH", path, "{\"expires_at\":null}", &a);
	cr_expect_eq(a.status, 200);
	cr_expect_str_eq(answer_text(&a, "expires_at"), "");
	answer_clear(&a);
}

#define REFUSED(l, b, f) ROW(l, b, 422, .code = "invalid_field", .field = f)
#define SEARCH           "GET " API "/messages/search"
#define FEEDBACK         "PUT " API "/messages/{m}/feedback"
#define NOBODYS          "01a20308-5f89-71b2-8279-197dc01db561"

Test(life, every_refusal_names_its_field)
{
	static const struct api_row rows[] = {
	    REFUSED(LIST "?active=maybe", NULL, "active"),
	    REFUSED(LIST "?store_id=x", NULL, "store_id"),
	    REFUSED(LIST "?tag=", NULL, "tag"),
	    REFUSED(LIST "?q=", NULL, "q"),
	    REFUSED(LIST "?q=a+b+c+d+e+f+g+h+i", NULL, "q"),
	    REFUSED(LIST "?metadata=%5B%5D", NULL, "metadata"),
	    REFUSED(LIST "?metadata=%7B%7D", NULL, "metadata"),
	    REFUSED(LIST "?metadata=%7B", NULL, "metadata"),
	    REFUSED(LIST "?since=today", NULL, "since"),
	    REFUSED(LIST "?until=2026-02-30T00:00:00Z", NULL, "until"),
	    REFUSED(LIST "?order=up", NULL, "order"),
	    REFUSED(CREATE, "{\"store_id\":\"x\"}", "store_id"),
	    REFUSED(CREATE, "{\"store_id\":\"" NOBODYS "\"}", "store_id"),
	    REFUSED(CREATE, "{\"temporary\":1}", "temporary"),
	    REFUSED(CREATE, "{\"expires_in\":0}", "expires_in"),
	    REFUSED(CREATE, "{\"expires_in\":\"1\"}", "expires_in"),
	    REFUSED(CREATE, "{\"expires_in\":99999999}", "expires_in"),
	    REFUSED(CREATE, "{\"expires_at\":\"soon\"}", "expires_at"),
	    REFUSED(CREATE, "{\"expires_at\":\"2020-01-01T00:00:00Z\"}",
		"expires_at"),
	    REFUSED(CREATE, "{\"expires_at\":\"2999-01-01T00:00:00Z\"}",
		"expires_at"),
	    REFUSED(PATCH, "{\"temporary\":true}", "temporary"),
	    REFUSED(PATCH, "{\"store_id\":\"" NOBODYS "\"}", "store_id"),
	    REFUSED("DELETE " API "/conversations", NULL, "older_than_days"),
	    REFUSED("DELETE " API "/conversations?older_than_days=0", NULL,
		"older_than_days"),
	    REFUSED(SEARCH, NULL, "q"),
	    REFUSED(SEARCH "?q=%20", NULL, "q"),
	    REFUSED(SEARCH "?q=x&role=king", NULL, "role"),
	    REFUSED(SEARCH "?q=x&conversation_id=x", NULL, "conversation_id"),
	    REFUSED(SEARCH "?q=x&since=x", NULL, "since"),
	    REFUSED(SEARCH "?q=x&limit=51", NULL, "limit"),
	    REFUSED("GET " API "/messages?limit=0", NULL, "limit"),
	    REFUSED(
		"PATCH " API "/messages/{m}", "{\"content\":\"x\"}", "content"),
	    REFUSED(
		"PATCH " API "/messages/{m}", "{\"metadata\":[]}", "metadata"),
	    REFUSED("GET " API "/conversations/{c}/export?format=pdf", NULL,
		"format"),
	    REFUSED(FEEDBACK, "{}", "rating"),
	    REFUSED(FEEDBACK, "{\"rating\":\"so-so\"}", "rating"),
	    REFUSED(
		FEEDBACK, "{\"rating\":\"up\",\"reasons\":[\"\"]}", "reasons"),
	    REFUSED(FEEDBACK, "{\"rating\":\"up\",\"comment\":1}", "comment"),
	    ROW("GET " API "/messages/" NOBODYS "/feedback", NULL, 404,
		.code = "not_found"),
	    ROW("GET " API "/conversations/" NOBODYS "/export", NULL, 404,
		.code = "not_found"),
	    ROW("GET " API "/conversations/" NOBODYS "/stats", NULL, 404,
		.code = "not_found"),
	    ROW("POST " API "/conversations/" NOBODYS "/touch", NULL, 404,
		.code = "not_found"),
	    ROW("PATCH " API "/messages/" NOBODYS, "{}", 404,
		.code = "not_found"),
	    ROW(SEARCH "?q=hello&cursor=x", NULL, 400, .code = "bad_cursor"),
	    ROW("GET " API "/messages?cursor=x", NULL, 400,
		.code = "bad_cursor"),
	    ROW(SEARCH "?q=hello", NULL, 200, .code = NULL),
	    ROW("GET " API "/messages", NULL, 200, .code = NULL),
	    ROW("GET " API "/me/stats", NULL, 200, .code = NULL),
	    ROW("GET " API "/auth/sessions", NULL, 200, .code = NULL),
	    ROW("GET " API "/auth/keys", NULL, 200, .code = NULL),
	    ROW("GET " API "/messages/{m}/siblings", NULL, 200, .code = NULL),
	    ROW("POST " API "/conversations/{c}/fork", NULL, 422,
		.code = "invalid_field", .field = "Idempotency-Key",
		.headers = "Idempotency-Key: a\r\n"),
	    ROW(SAY, "{\"content\":\"a\"}", 422, .code = "invalid_field",
		.field = "Idempotency-Key",
		.headers = "Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
	    ROW(SAY, "{\"content\":\"a\"}", 422, .code = "invalid_field",
		.field = "Idempotency-Key",
		.headers = "Idempotency-Key: \"a\"\r\n"
			   "Idempotency-Key: \"a\"\r\n"),
	    ROW("GET " API "/conversations/{s}/stats", NULL, 200, .code = NULL),
	    ROW("POST " API "/conversations/{s}/touch", NULL, 200,
		.code = NULL),
	    ROW(FEEDBACK, "{\"rating\":\"up\"}", 200, .code = NULL),
	    ROW("GET " API "/messages/{m}/feedback", NULL, 200, .code = NULL),
	    ROW("DELETE " API "/messages/{m}/feedback", NULL, 204,
		.code = NULL),
	    ROW("GET " API "/me/export", NULL, 401, .code = "token_missing",
		.is_nobody = true),
	};

	API_ROWS_RUN(&caller, rows);
}
