/*
 * Exports and imports through a real nginx: whole, bounded, the same again, and
 * what is refused.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "api_row.h"
#include "promises.h"
#include "servers.h"
#include "stack.h"

static struct api_caller caller;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=1"}};

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

TestSuite(carry, .init = setup, .fini = teardown, .timeout = 180);

static void
ask_as(const struct person *p, const char *method, const char *path,
    const char *json, struct answer *a)
{
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json,
	    .timeout_ms = 120000};

	http_ask(&ask, a);
}

static void
get(const char *path, struct answer *a)
{
	ask_as(&caller.person, "GET", path, NULL, a);
}

/* Is the export whole: its end's SHA-256 that of all before it? */
static bool
is_whole(const struct answer *a)
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	char hex[crypto_hash_sha256_BYTES * 2 + 1];
	const char *end = NULL, *p = a->body.p;

	while ((p = strstr(p, "\"end\":")) != NULL)
		end = p++;
	if (end == NULL)
		return false;
	crypto_hash_sha256(digest, (const unsigned char *)a->body.p,
	    (unsigned long long)(end - a->body.p));
	sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
	return strcmp(hex, answer_text(a, "end.sha256")) == 0;
}

static void
say(const char *content)
{
	struct answer a;

	person_say(&caller.stack, &caller.person, content, &a);
	answer_clear(&a);
}

Test(carry, a_conversation_is_exported_whole)
{
	char path[256];
	struct answer a;

	say("a \"quoted\" \\ question");
	snprintf(path, sizeof(path), API "/conversations/%s/export",
	    caller.short_id);
	get(path, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	cr_expect(is_whole(&a), "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "format"), "natter-export");
	cr_expect_str_eq(answer_text(&a, "end.messages"), "4");
	cr_expect_str_eq(answer_text(&a, "conversations.0.messages.2.content"),
	    "a \"quoted\" \\ question");
	cr_expect_not_null(
	    strstr(answer_header(&a, "Content-Disposition"), "attachment"));
	answer_clear(&a);
	snprintf(path, sizeof(path),
	    API "/conversations/%s/export?format=markdown", caller.short_id);
	get(path, &a);
	cr_assert_eq(a.status, 200);
	cr_expect_not_null(strstr(a.body.p, "## Assistant"));
	cr_expect_not_null(strstr(a.body.p, "*End: 4 messages.*"));
	answer_clear(&a);
}

Test(carry, an_account_is_exported_with_its_end)
{
	const char *const secrets[] = {caller.person.refresh, "argon2",
	    "password_hash", "rt_secret", NULL};
	struct answer a;
	char id[40];

	person_converse(&caller.stack, &caller.person, id);
	get(API "/me/export", &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	cr_expect(is_whole(&a), "%s", a.body.p);
	cr_expect_str_eq(
	    answer_text(&a, "account.0.username"), caller.person.username);
	cr_expect_str_eq(answer_text(&a, "end.conversations"), "2");
	cr_expect_str_eq(answer_text(&a, "conversations.0.id"), id);
	cr_expect_str_neq(answer_text(&a, "sessions.0.id"), "");
	cr_expect_str_neq(answer_text(&a, "usage.0.id"), "");
	cr_expect_null(leak(&a, secrets), "%s", leak(&a, secrets));
	answer_clear(&a);
}

/* Their own log and sums, page after page, and nobody else's. */
Test(carry, an_account_is_exported_with_its_log_and_its_sums)
{
	struct person other;
	struct answer a;
	char n[24], want[64];

	person_make(&caller.stack, &other);
	db_value("WITH m AS (INSERT INTO chat.analytics_daily (user_id, day,"
		 " category, name, events, total, least, greatest)"
		 " SELECT $1::uuid, date '2025-01-01' + d, 'page', 'tea' || k,"
		 " 2, 3, 1, 2 FROM generate_series(0, 149) d,"
		 " generate_series(1, 3) k RETURNING 1),"
		 " l AS (SELECT audit.note('user.read', 'user', $1::uuid,"
		 " $1::uuid) FROM generate_series(1, 500))"
		 " SELECT (SELECT count(*) FROM m), (SELECT count(l) FROM l)",
	    caller.person.user_id, n, sizeof(n));
	db_value("SELECT count(*) FROM audit.log WHERE user_id = $1",
	    caller.person.user_id, n, sizeof(n));
	get(API "/me/export", &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	cr_expect(is_whole(&a));
	cr_expect_str_eq(
	    answer_text(&a, "analytics_daily.449.day"), "2025-05-30");
	cr_expect_str_eq(answer_text(&a, "analytics_daily.449.events"), "2");
	cr_expect_str_eq(answer_text(&a, "analytics_daily.450.day"), "");
	cr_expect_str_eq(answer_text(&a, "audit.0.action"), "user.create");
	cr_expect_str_eq(answer_text(&a, "audit.0.actor"), "user");
	cr_expect_str_eq(answer_text(&a, "audit.0.ip"), "127.0.0.1");
	/* Its own row is written before the first byte. */
	snprintf(want, sizeof(want), "audit.%s.action", n);
	cr_expect_str_eq(answer_text(&a, want), "user.export", "%s", want);
	cr_expect_null(strstr(a.body.p, other.user_id));
	answer_clear(&a);
	/* Where an administrator sat is not told. */
	db_value("WITH l AS (INSERT INTO audit.log (id, at, action, actor_kind,"
		 " actor_id, user_id, object_kind, request_id, ip)"
		 " SELECT natter.uuid_v7(), now(), 'user.read', 'admin',"
		 " gen_random_uuid(), $1::uuid, 'user', 'theirs', '10.9.8.7'"
		 " RETURNING 1) SELECT count(*) FROM l",
	    caller.person.user_id, n, sizeof(n));
	get(API "/me/export", &a);
	cr_expect_not_null(strstr(a.body.p, "\"actor\":\"admin\""));
	cr_expect_null(strstr(a.body.p, "theirs"));
	cr_expect_null(strstr(a.body.p, "10.9.8.7"));
	answer_clear(&a);
}

static void
expect_no_export(const char *path)
{
	struct answer a;
	const char *fault;

	get(path, &a);
	fault = refusal_fault(&a, 503, "unavailable", NULL);
	cr_expect_null(fault, "%s: %s", path, fault);
	answer_clear(&a);
}

/* Nobody gets a byte of an export that the log does not know. */
Test(carry, an_export_that_cannot_be_noted_is_refused_whole)
{
	static const char *const queries[] = {"", "?format=markdown"};
	const char *super = getenv("SUPERUSER_DATABASE_URL");
	char sql[512], path[256];

	snprintf(sql, sizeof(sql),
	    "CREATE FUNCTION no_export() RETURNS trigger LANGUAGE plpgsql AS"
	    " $$ BEGIN IF NEW.user_id = '%s' AND NEW.action LIKE '%%.export'"
	    " THEN RAISE 'not now' USING ERRCODE = 'lock_not_available';"
	    " END IF; RETURN NEW; END $$;"
	    "CREATE TRIGGER no_export BEFORE INSERT ON audit.log"
	    " FOR EACH ROW EXECUTE FUNCTION no_export()",
	    caller.person.user_id);
	server_sql(super, sql);
	expect_no_export(API "/me/export");
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), API "/conversations/%s/export%s",
		    caller.short_id, queries[i]);
		expect_no_export(path);
	}
	server_sql(super, "DROP FUNCTION no_export CASCADE");
}

/* The most memory that the worker ever had, in KiB. */
static long
peak_of(pid_t pid)
{
	char path[64], line[256];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmHWM: %ld kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* AddressSanitizer keeps 256 MiB of what was freed: its peak says nothing. */
static bool
is_sanitized(pid_t pid)
{
	char path[64], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = strstr(line, "libasan") != NULL;
	fclose(f);
	return found;
}

static void
fill(int n)
{
	char sql[1024], none[8];

	snprintf(sql, sizeof(sql),
	    "WITH m AS (INSERT INTO chat.messages (user_id, id,"
	    " conversation_id, position, role, content, status)"
	    " SELECT c.user_id, gen_random_uuid(), c.id, n + 10, 'user',"
	    " repeat('word ', 40), 'complete'"
	    " FROM chat.conversations c, generate_series(1, %d) n"
	    " WHERE c.id = $1 RETURNING 1) SELECT count(*) FROM m",
	    n);
	db_value(sql, caller.person.conversation, none, sizeof(none));
}

Test(carry, a_hundred_thousand_messages_take_no_memory)
{
	pid_t worker;
	struct answer a;
	long before;

	/* Once before, so that what one page takes is there. */
	fill(2000);
	get(API "/me/export", &a);
	answer_clear(&a);
	cr_assert_eq(stack_workers(&caller.stack, &worker, 1), 1);
	before = peak_of(worker);
	fill(98000);
	get(API "/me/export", &a);
	cr_assert_eq(a.status, 200);
	cr_expect(is_whole(&a));
	cr_expect_str_eq(answer_text(&a, "end.messages"), "100002");
	answer_clear(&a);
	cr_expect(is_sanitized(worker) || peak_of(worker) < before + 8192,
	    "%ld KiB, then %ld", before, peak_of(worker));
}

Test(carry, an_export_comes_back_in_and_only_once)
{
	struct person other;
	struct answer file, a, again;
	char path[256];

	say("and one more");
	get(API "/me/export", &file);
	cr_assert_eq(file.status, 200);
	person_make(&caller.stack, &other);
	ask_as(&other, "POST", API "/conversations/import", file.body.p, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "conversations"), "1");
	cr_expect_str_eq(answer_text(&a, "messages"), "4");
	answer_clear(&a);
	ask_as(&other, "POST", API "/conversations/import", file.body.p, &a);
	cr_expect_str_eq(answer_text(&a, "conversations"), "0");
	cr_expect_str_eq(answer_text(&a, "already_there"), "1");
	answer_clear(&a);
	/* Its owner still has it. */
	ask_as(&caller.person, "POST", API "/conversations/import", file.body.p,
	    &a);
	cr_expect_str_eq(answer_text(&a, "already_there"), "1");
	answer_clear(&a);
	/* It is the same: texts, order, times, links. */
	ask_as(&other, "GET", API "/me/export", NULL, &again);
	for (int i = 0; i < 4; i++) {
		static const char *const same[] = {
		    "content", "role", "position", "created_at", "status"};

		for (size_t k = 0; k < 5; k++) {
			char want[8192];

			snprintf(path, sizeof(path),
			    "conversations.0.messages.%d.%s", i, same[k]);
			snprintf(
			    want, sizeof(want), "%s", answer_text(&file, path));
			/* The other's own is the older one. */
			cr_expect_str_eq(
			    answer_text(&again, path), want, "%s", path);
		}
	}
	cr_expect_str_eq(
	    answer_text(&again, "conversations.0.message_count"), "4");
	answer_clear(&again);
	answer_clear(&file);
}

static const char chatgpt[] =
    "[{\"title\":\"Trip to Rome\",\"create_time\":1700000000.123456,"
    "\"update_time\":1700000300.5,\"conversation_id\":\"c-1\","
    "\"current_node\":\"n3\",\"mapping\":{"
    "\"n3\":{\"id\":\"n3\",\"message\":{\"author\":{\"role\":\"assistant\"},"
    "\"create_time\":1700000020.5,\"content\":{\"content_type\":\"text\","
    "\"parts\":[\"Go in spring.\"]}},\"parent\":\"n2\",\"children\":[]},"
    "\"root\":{\"id\":\"root\",\"message\":null,\"parent\":null,"
    "\"children\":[\"s\"]},"
    "\"s\":{\"id\":\"s\",\"message\":{\"author\":{\"role\":\"system\"},"
    "\"create_time\":null,\"content\":{\"content_type\":\"text\","
    "\"parts\":[\"\"]}},\"parent\":\"root\",\"children\":[\"n2\"]},"
    "\"n2\":{\"id\":\"n2\",\"message\":{\"author\":{\"role\":\"user\"},"
    "\"create_time\":1700000010.25,\"content\":{"
    "\"content_type\":\"multimodal_text\",\"parts\":[{\"asset_pointer\":"
    "\"file-1\"},\"When?\"]}},\"parent\":\"s\",\"children\":[\"n3\",\"n4\"]},"
    "\"n4\":{\"id\":\"n4\",\"message\":{\"author\":{\"role\":\"assistant\"},"
    "\"create_time\":1700000030.0,\"content\":{\"content_type\":\"text\","
    "\"parts\":[\"In autumn.\"]}},\"parent\":\"n2\",\"children\":[]}}}]";

Test(carry, chatgpts_tree_comes_with_branches_and_times)
{
	static const struct {
		const char *path;
		const char *want;
	} rows[] = {
	    {"conversations.0.title", "Trip to Rome"},
	    {"conversations.0.message_count", "3"},
	    {"conversations.0.messages.0.content", "When?"},
	    {"conversations.0.messages.0.parent_id", ""},
	    {"conversations.0.messages.1.content", "Go in spring."},
	    {"conversations.0.messages.2.content", "In autumn."},
	    {"conversations.0.messages.2.created_at",
		"2023-11-14T22:13:50+00:00"},
	};
	struct answer a;
	char first[64], leaf[64];

	ask_as(
	    &caller.person, "POST", API "/conversations/import", chatgpt, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "conversations"), "1", "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "messages"), "3");
	cr_expect_str_eq(answer_text(&a, "left_out"), "1");
	answer_clear(&a);
	ask_as(
	    &caller.person, "POST", API "/conversations/import", chatgpt, &a);
	cr_expect_str_eq(answer_text(&a, "already_there"), "1");
	answer_clear(&a);
	get(API "/me/export", &a);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_str_eq(answer_text(&a, rows[i].path), rows[i].want,
		    "%s: %s", rows[i].path, answer_text(&a, rows[i].path));
	snprintf(first, sizeof(first), "%s",
	    answer_text(&a, "conversations.0.messages.0.id"));
	cr_expect_str_eq(
	    answer_text(&a, "conversations.0.messages.1.parent_id"), first);
	cr_expect_str_eq(
	    answer_text(&a, "conversations.0.messages.2.parent_id"), first);
	snprintf(leaf, sizeof(leaf), "%s",
	    answer_text(&a, "conversations.0.messages.1.id"));
	cr_expect_str_eq(answer_text(&a, "conversations.0.leaf_id"), leaf);
	answer_clear(&a);
	/* And it goes on. */
	get(API "/conversations?limit=100&q=Rome", &a);
	snprintf(
	    caller.person.conversation, 40, "%s", answer_text(&a, "data.0.id"));
	answer_clear(&a);
	person_say(&caller.stack, &caller.person, "And in winter?", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

#define IMPORT  "POST " API "/conversations/import"
#define OURS(c) "{\"format\":\"natter-export\",\"conversations\":[" c "]}"
#define WRONG(b, f)                                       \
	{                                                 \
		.line = IMPORT, .body = b, .status = 422, \
		.code = "invalid_field", .field = f       \
	}

Test(carry, what_cannot_be_imported_is_named)
{
	static const struct api_row rows[] = {
	    WRONG("{}", "format"),
	    WRONG("{\"format\":\"natter-export\"}", "conversations"),
	    WRONG("[1]", "[0]"),
	    WRONG("[{}]", "[0].id"),
	    WRONG("[{\"id\":\"x\",\"mapping\":{\"a\":1}}]", "[0].mapping"),
	    WRONG("[{\"id\":\"x\",\"mapping\":{\"a\":{\"parent\":\"b\"},"
		  "\"b\":{\"parent\":\"a\"}}}]",
		"[0].mapping"),
	    WRONG(OURS("{}"), "conversations[0].id"),
	    WRONG(OURS("{\"id\":\"1\"}"), "conversations[0].messages"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[{\"id\":\"m\","
		       "\"role\":\"king\",\"content\":\"\"}]}"),
		"conversations[0].messages[0].role"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[{\"id\":\"m\","
		       "\"role\":\"user\"}]}"),
		"conversations[0].messages[0].content"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[{\"id\":\"m\","
		       "\"parent_id\":\"z\",\"role\":\"user\","
		       "\"content\":\"\"}]}"),
		"conversations[0].messages[0].parent_id"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[{\"id\":\"m\","
		       "\"role\":\"user\",\"content\":null}]}"),
		"conversations[0].messages[0].content"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[],\"tags\":[\"\"]}"),
		"conversations[0].tags"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[],\"tags\":[1]}"),
		"conversations[0].tags"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[],"
		       "\"created_at\":\"yesterday\"}"),
		"conversations[0].created_at"),
	    WRONG(OURS("{\"id\":\"1\",\"messages\":[],"
		       "\"created_at\":\"9999-12-31T23:59:59-01:00\"}"),
		"conversations[0].created_at"),
	    {.line = IMPORT, .body = "[", .status = 400, .code = "bad_json"},
	};

	API_ROWS_RUN(&caller, rows);
}

/* Hangs up in the middle; the worker must not mind. */
Test(carry, a_hang_up_is_survived)
{
	struct ask ask = {.base = caller.stack.base,
	    .path = API "/me/export",
	    .token = caller.person.token,
	    .timeout_ms = 30};
	struct answer a;

	fill(20000);
	for (int i = 0; i < 5; i++) {
		http_ask(&ask, &a);
		answer_clear(&a);
	}
	get(API "/me/export", &a);
	cr_expect(is_whole(&a));
	answer_clear(&a);
}
