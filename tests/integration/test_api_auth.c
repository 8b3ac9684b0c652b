/*
 * Accounts through a real nginx and two workers: registering, signing in,
 * rotating, leaving, and what nginx's auth_request is told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "promises.h"
#include "stack.h"

/* Enough for both workers to be asked. */
#define ROUNDS 12

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};

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

TestSuite(accounts, .init = setup, .fini = teardown, .timeout = 120);

/* POST /auth/<what> with a body, as nobody or by a token. */
static void
post(const char *what, const char *token, const char *json, struct answer *a)
{
	char path[64];
	struct ask ask = {.method = "POST",
	    .base = caller.stack.base,
	    .path = path,
	    .token = token,
	    .json = json};

	snprintf(path, sizeof(path), API "/auth/%s", what);
	http_ask(&ask, a);
}

static void
post_credentials(const char *what, const char *username, const char *password,
    struct answer *a)
{
	char json[512];

	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"%s\"}", username, password);
	post(what, NULL, json, a);
}

static void
post_refresh(const char *refresh, struct answer *a)
{
	char json[512];

	snprintf(json, sizeof(json), "{\"refresh_token\":\"%s\"}", refresh);
	post("refresh", NULL, json, a);
}

static void
expect_refused(
    struct answer *a, long status, const char *code, const char *what)
{
	const char *const secrets[] = {caller.person.token,
	    caller.person.refresh, "correct horse", "wrong horse", NULL};
	const char *fault = refusal_fault(a, status, code, NULL);

	cr_expect_null(fault, "%s: %s", what, fault);
	cr_expect_null(leak(a, secrets), "%s tells %s", what, leak(a, secrets));
	answer_clear(a);
}

/* The password that person_make chose. */
static void
password_of(const struct person *p, char out[static 64])
{
	snprintf(out, 64, "correct horse %s", p->username + strlen("person-"));
}

/* Each worker's verdict on a token; `code` NULL: it is let in. */
static void
expect_everywhere(const char *token, const char *code)
{
	struct ask ask = {
	    .base = caller.stack.base, .path = API "/me", .token = token};

	for (int i = 0; i < ROUNDS; i++) {
		struct answer a;

		http_ask(&ask, &a);
		if (code != NULL) {
			expect_refused(&a, 401, code, "/me");
			continue;
		}
		cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
		answer_clear(&a);
	}
}

static void
copy(char *out, size_t size, const struct answer *a, const char *member)
{
	cr_assert_neq(
	    answer_text(a, member)[0], '\0', "%s: %s", member, a->body.p);
	snprintf(out, size, "%s", answer_text(a, member));
}

Test(accounts, tokens_come_with_all_that_a_client_needs)
{
	static const char *const members[] = {"access_token", "refresh_token",
	    "session_id", "user.id", "user.username", "user.role",
	    "user.created_at", "expires_in", "refresh_in"};
	char password[64];
	struct answer a;

	password_of(&caller.person, password);
	post_credentials("login", caller.person.username, password, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		cr_expect_str_neq(
		    answer_text(&a, members[i]), "", "%s", members[i]);
	cr_expect_str_eq(answer_text(&a, "token_type"), "Bearer");
	cr_expect_str_eq(answer_text(&a, "user.role"), "user");
	cr_expect_lt(atoi(answer_text(&a, "refresh_in")),
	    atoi(answer_text(&a, "expires_in")));
	answer_clear(&a);
}

Test(accounts, a_name_is_taken_in_every_form)
{
	/* "Zoë" composed, decomposed, in capitals, padded, and in wide letters
	 * (which are others: NFC, not NFKC). */
	static const struct {
		const char *name;
		long status;
	} rows[] = {
	    {"Zo\xc3\xab-%s", 201},
	    {"Zo\xc3\xab-%s", 409},
	    {"zoe\xcc\x88-%s", 409},
	    {"ZO\xc3\x8b-%s", 409},
	    {" zo\xc3\xab-%s ", 409},
	    {"\xef\xbd\x9ao\xc3\xab-%s", 201},
	    {"zoe-%s", 201},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *gap = strstr(rows[i].name, "%s");
		char name[128];
		struct answer a;

		snprintf(name, sizeof(name), "%.*s%s%s",
		    (int)(gap - rows[i].name), rows[i].name,
		    caller.person.username, gap + 2);
		post_credentials("register", name, "correct horse 12", &a);
		if (rows[i].status == 409) {
			expect_refused(&a, 409, "username_taken", name);
			continue;
		}
		cr_expect_eq(a.status, 201, "%s: %ld", name, a.status);
		answer_clear(&a);
	}
}

Test(accounts, a_wrong_password_and_an_unknown_name_look_the_same)
{
	const char *const rows[][2] = {
	    {caller.person.username, "wrong horse 12"},
	    {caller.person.username, "x"},
	    {"nobody-of-that-name", "wrong horse 12"},
	    {"two words", "wrong horse 12"},
	    {"\\u0001", "wrong horse 12"},
	};
	char first[512] = "", *id;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer a;

		post_credentials("login", rows[i][0], rows[i][1], &a);
		id = strstr(a.body.p, "\"request_id\"");
		cr_assert_not_null(id, "%s", a.body.p);
		*id = '\0';
		if (i == 0)
			snprintf(first, sizeof(first), "%s", a.body.p);
		cr_expect_str_eq(a.body.p, first, "%s", rows[i][0]);
		*id = '"';
		expect_refused(&a, 401, "invalid_credentials", rows[i][0]);
	}
}

Test(accounts, signing_in_takes_the_name_in_any_form)
{
	char password[64], name[64];
	struct answer a;

	password_of(&caller.person, password);
	snprintf(name, sizeof(name), " PERSON-%s ",
	    caller.person.username + strlen("person-"));
	post_credentials("login", name, password, &a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(
	    answer_text(&a, "user.username"), caller.person.username);
	answer_clear(&a);
	/* The password is taken as it is. */
	password[0] = 'C';
	post_credentials("login", name, password, &a);
	expect_refused(&a, 401, "invalid_credentials", "another case");
}

Test(accounts, refreshing_rotates_and_a_token_used_twice_ends_the_session)
{
	char access[2048], second[256], third[256], repeated[256];
	struct answer a;

	post_refresh(caller.person.refresh, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	copy(second, sizeof(second), &a, "refresh_token");
	copy(access, sizeof(access), &a, "access_token");
	answer_clear(&a);
	cr_expect_str_neq(second, caller.person.refresh);
	expect_everywhere(access, NULL);
	expect_everywhere(caller.person.token, NULL);
	/* The answer may have got lost: asked again, it is the same. */
	post_refresh(caller.person.refresh, &a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	copy(repeated, sizeof(repeated), &a, "refresh_token");
	cr_expect_str_eq(repeated, second);
	answer_clear(&a);
	post_refresh(second, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	copy(third, sizeof(third), &a, "refresh_token");
	answer_clear(&a);
	/* The grandparent: somebody has a copy. */
	post_refresh(caller.person.refresh, &a);
	expect_refused(&a, 401, "refresh_reused", "the grandparent");
	post_refresh(third, &a);
	expect_refused(&a, 401, "session_revoked", "after the reuse");
	expect_everywhere(access, "session_revoked");
	expect_everywhere(caller.person.token, "session_revoked");
}

Test(accounts, what_is_no_refresh_token_is_refused_as_one)
{
	const char *const rows[] = {"x", "", caller.person.token,
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	    "AA"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer a;

		post_refresh(rows[i], &a);
		expect_refused(&a, 401, "refresh_invalid", rows[i]);
	}
	expect_everywhere(caller.person.token, NULL);
}

Test(accounts, leaving_reaches_every_worker_at_once)
{
	char password[64], other[2048], other_refresh[256];
	struct answer a;

	password_of(&caller.person, password);
	post_credentials("login", caller.person.username, password, &a);
	copy(other, sizeof(other), &a, "access_token");
	copy(other_refresh, sizeof(other_refresh), &a, "refresh_token");
	answer_clear(&a);
	/* Both workers, and Redis, know the session by now. */
	expect_everywhere(caller.person.token, NULL);
	post("logout", caller.person.token, NULL, &a);
	cr_expect_eq(a.status, 204, "%ld %s", a.status, a.body.p);
	cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
	answer_clear(&a);
	expect_everywhere(caller.person.token, "session_revoked");
	post_refresh(caller.person.refresh, &a);
	expect_refused(&a, 401, "session_revoked", "the refresh token");
	/* The user's other session goes on, until all are ended. */
	expect_everywhere(other, NULL);
	post("logout", other, "{\"scope\":\"all\"}", &a);
	cr_expect_eq(a.status, 204);
	answer_clear(&a);
	expect_everywhere(other, "session_revoked");
	post_refresh(other_refresh, &a);
	expect_refused(&a, 401, "session_revoked", "the other refresh token");
}

static void
expect_header(const struct answer *a, const char *name, const char *want)
{
	const char *got = answer_header(a, name);

	cr_expect(got != NULL && strcmp(got, want) == 0, "%s: %s, wanted %s",
	    name, got == NULL ? "nothing" : got, want);
}

Test(accounts, verify_tells_nginx_who_it_is)
{
	struct ask ask = {.base = caller.stack.base,
	    .path = API "/auth/verify",
	    .token = caller.person.token};
	struct answer a;

	for (int i = 0; i < ROUNDS; i++) {
		http_ask(&ask, &a);
		cr_expect_eq(a.status, 204);
		cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
		expect_header(&a, "X-Auth-User", caller.person.username);
		expect_header(&a, "X-Auth-User-Id", caller.person.user_id);
		expect_header(&a, "X-Auth-Role", "user");
		answer_clear(&a);
	}
	ask.token = NULL;
	http_ask(&ask, &a);
	cr_expect_null(answer_header(&a, "X-Auth-User"));
	expect_refused(&a, 401, "token_missing", "verify");
}

Test(accounts, me_is_who_asks)
{
	struct ask ask = {.base = caller.stack.base,
	    .path = API "/me",
	    .token = caller.person.token};
	struct answer a;

	http_ask(&ask, &a);
	cr_expect_null(reply_fault(&a), "%s", reply_fault(&a));
	cr_expect_str_eq(answer_text(&a, "id"), caller.person.user_id);
	cr_expect_str_eq(answer_text(&a, "username"), caller.person.username);
	cr_expect_str_eq(answer_text(&a, "password_hash"), "");
	answer_clear(&a);
}

Test(accounts, a_closed_server_registers_nobody)
{
	struct stack_options o = {.settings = {"CHAT_REGISTRATION=closed"}};
	struct api_caller shared = caller;
	struct answer a;

	stack_start(&caller.stack, &o);
	post_credentials("register", "late", "correct horse 12", &a);
	expect_refused(&a, 403, "registration_closed", "register");
	stack_stop(&caller.stack);
	caller = shared;
}
