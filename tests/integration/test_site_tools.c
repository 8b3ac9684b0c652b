/*
 * Calls of a store's tools in a reply, end to end: a model (a stand-in) asks
 * for one, a site (jwks_server: as ill-behaved as a test wants it) is called,
 * its answer goes back to the model. Signatures are checked by openssl.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "calls.h"
#include "command.h"
#include "jwks_server.h"
#include "log_lines.h"
#include "metrics_text.h"
#include "shop.h"

static struct stack stack;
static struct shop shop;
static struct jwks_server site;

static void
setup(void)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_TOOLS=on",
		"CHAT_TOOLS_ALLOW=127.0.0.1", "CHAT_TOOL_RESULT_BYTES=1000",
		"CHAT_REGISTRATION=open"}};

	stack_start(&stack, &o);
	jwks_server_start(&site, "{\"state\":\"sent\"}");
	shop_make(&stack, &shop);
	shop_add_tool(&shop, "order_status", site.url, 5000);
}

static void
teardown(void)
{
	jwks_server_stop(&site);
	stack_stop(&stack);
}

TestSuite(site_tools, .init = setup, .fini = teardown, .timeout = 180);

#define ARGS "{\"order\":\"12345\"}"

/* A header of the site's last request; valid until the next call. */
static const char *
site_header(const char *name)
{
	static char values[4][512];
	static int next;
	char *value = values[next++ % 4], line[64];
	const char *at;

	snprintf(line, sizeof(line), "\n%s: ", name);
	at = strcasestr(site.last, line);
	cr_assert_not_null(at, "%s", name);
	at += strlen(line);
	snprintf(value, sizeof(values[0]), "%.*s", (int)strcspn(at, "\r"), at);
	return value;
}

static const char *
site_body(void)
{
	return strstr(site.last, "\r\n\r\n") + 4;
}

static struct json_object *
site_json(void)
{
	struct json_object *o = json_tokener_parse(site_body());

	cr_assert_not_null(o, "%s", site_body());
	return o;
}

static const char *
member(struct json_object *o, const char *key)
{
	const char *text =
	    json_object_get_string(json_object_object_get(o, key));

	return text == NULL ? "" : text;
}

/* What openssl says that the signature must be. */
static void
openssl_sign(const char *secret, char out[68])
{
	char key[128], text[8192];
	struct command_end end;

	snprintf(key, sizeof(key), "key:%s", secret);
	snprintf(text, sizeof(text), "%s.%s", site_header("Natter-Timestamp"),
	    site_body());
	end = RUN_WITH(text, "openssl", "dgst", "-sha256", "-mac", "HMAC",
	    "-macopt", key, "-r");
	cr_assert_eq(end.code, 0, "%s", end.err);
	snprintf(out, 68, "v1=%.64s", end.out);
	command_end_clear(&end);
}

/* The reply is complete, whatever its tool did. */
static void
expect_reply(const struct answer *a)
{
	cr_expect_eq(a->status, 200);
	cr_expect(answer_ends_with(a, "done"), "%s", a->body.p);
	cr_expect_str_eq(answer_event_text(a, "done", "status"), "complete");
	cr_expect_gt(a->text.n, 0);
}

Test(site_tools, a_site_is_asked_signed_and_its_answer_told)
{
	char want[68], column[512];
	long long now = (long long)(clock_wall_ms() / 1000);
	struct json_object *o, *user;
	struct answer a;

	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_call", "name"), "order_status");
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_result", "result.state"), "sent");
	cr_expect_eq(site.hits, 1);
	cr_expect_eq(strncmp(site.last, "POST /jwks.json HTTP/1.1\r\n", 26), 0);
	cr_expect_str_eq(site_header("Content-Type"), "application/json");
	cr_expect_str_eq(site_header("Natter-User"), shop.user.user_id);
	cr_expect_eq(strncmp(site_header("User-Agent"), "natter/", 7), 0);
	cr_expect_lt(llabs(atoll(site_header("Natter-Timestamp")) - now), 60);
	openssl_sign(shop.secret, want);
	cr_expect_str_eq(site_header("Natter-Signature"), want);

	o = site_json();
	user = json_object_object_get(o, "user");
	cr_expect_str_eq(member(o, "tool"), "order_status");
	cr_expect_str_eq(
	    member(json_object_object_get(o, "arguments"), "order"), "12345");
	cr_expect_str_eq(member(o, "conversation_id"), shop.user.conversation);
	cr_expect_str_eq(
	    member(o, "message_id"), answer_event_text(&a, "done", "id"));
	cr_expect_str_eq(member(o, "call_id"), site_header("Natter-Delivery"));
	cr_expect_eq(strlen(member(o, "call_id")), 36);
	cr_expect_str_eq(member(user, "id"), shop.user.user_id);
	cr_expect_str_eq(member(user, "username"), shop.user.username);
	json_object_put(o);

	db_value("SELECT tool_responses::text FROM chat.messages"
		 " WHERE id = $1::text::uuid",
	    answer_event_text(&a, "done", "id"), column, sizeof(column));
	cr_expect_not_null(strstr(column, "\"sent\""), "%s", column);
	cr_expect_not(log_says(stack.log, shop.secret));
	answer_clear(&a);
}

Test(site_tools, who_the_user_is_to_the_site_is_said)
{
	char ignored[8];
	struct json_object *o, *user;
	struct answer a;

	db_value("UPDATE auth.users SET issuer = 'https://club.example',"
		 " external_id = 'm-' || id::text"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    shop.user.user_id, ignored, sizeof(ignored));
	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	o = site_json();
	user = json_object_object_get(o, "user");
	cr_expect_str_eq(member(user, "issuer"), "https://club.example");
	cr_expect_eq(strncmp(member(user, "external_id"), "m-", 2), 0);
	json_object_put(o);
	answer_clear(&a);
}

Test(site_tools, both_secrets_sign_while_one_is_changed)
{
	char want[68], path[128], fresh[64];
	const char *got;
	struct answer a;

	snprintf(path, sizeof(path), "/%s/secret", shop.tool);
	shop_call(&shop, "POST", shop_path(&shop, path), "{}", 200, &a);
	snprintf(fresh, sizeof(fresh), "%s", answer_text(&a, "secret"));
	answer_clear(&a);
	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	answer_clear(&a);
	got = site_header("Natter-Signature");
	cr_expect_eq(strlen(got), 2 * 67 + 1);
	openssl_sign(fresh, want);
	cr_expect_eq(strncmp(got, want, 67), 0);
	openssl_sign(shop.secret, want);
	cr_expect_str_eq(got + 68, want);

	db_value("UPDATE chat.store_tools SET secret_before_until = now()"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    shop.tool, want, sizeof(want));
	shop_ask(&shop, "order_status", ARGS, &a);
	answer_clear(&a);
	openssl_sign(fresh, want);
	cr_expect_str_eq(site_header("Natter-Signature"), want);
}

static double
count_of(const char *outcome)
{
	char series[96];
	struct ask ask = {
	    .base = stack.base, .path = "/metrics", .unix_socket = NULL};
	struct answer a;
	double n;

	snprintf(series, sizeof(series),
	    "natter_site_tool_calls_total{outcome=\"%s\"}", outcome);
	http_ask(&ask, &a);
	n = a.status == 200 ? metrics_value(a.body.p, series) : -1;
	answer_clear(&a);
	return n;
}

/* The model is told `code`, counted is `outcome`, and the reply goes on. */
static void
expect_failure(const char *code, const char *outcome)
{
	double before = count_of(outcome);
	struct answer a;

	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	cr_expect_str_eq(answer_event_text(&a, "tool_result", "result.error"),
	    code, "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_result", "is_error"), "true");
	if (before >= 0)
		cr_expect_eq(count_of(outcome), before + 1, "%s", outcome);
	answer_clear(&a);
}

static void
move_tool(const char *url)
{
	char sql[256], ignored[8];

	snprintf(sql, sizeof(sql),
	    "UPDATE chat.store_tools SET url = '%s' WHERE id = $1::text::uuid"
	    " RETURNING 1",
	    url);
	db_value(sql, shop.tool, ignored, sizeof(ignored));
}

static void
give_time(int timeout_ms)
{
	char json[64], path[64];
	struct answer a;

	snprintf(json, sizeof(json), "{\"timeout_ms\":%d}", timeout_ms);
	snprintf(path, sizeof(path), "/%s", shop.tool);
	shop_call(&shop, "PATCH", shop_path(&shop, path), json, 200, &a);
	answer_clear(&a);
}

Test(site_tools, a_site_that_fails_fails_no_reply)
{
	struct jwks_server other;
	char location[128];

	site.status = "500 Oops";
	expect_failure("tool_failed", "refused");
	site.status = "401 No";
	expect_failure("tool_failed", "refused");
	site.status = "404 None";
	expect_failure("tool_refused", "refused"); /* with what it says */
	site.status = NULL;
	site.hangs_up = true;
	expect_failure("tool_unavailable", "failed");
	site.hangs_up = false;
	site.body = "{\"state\":";
	expect_failure("tool_failed", "garbled");
	site.body = "\xff\xfe\x01";
	expect_failure("tool_failed", "garbled");
	site.body = "{}";

	jwks_server_start(&other, "{\"state\":\"stolen\"}");
	snprintf(location, sizeof(location), "Location: %s\r\n", other.url);
	site.status = "307 There";
	site.headers = location;
	expect_failure("tool_failed", "refused");
	cr_expect_eq(other.hits, 0);
	jwks_server_stop(&other);
	site.status = site.headers = NULL;
}

static bool
listens(void *url)
{
	struct ask ask = {.base = url, .path = "/", .timeout_ms = 2000};
	struct answer a;
	bool is_up;

	http_ask(&ask, &a);
	is_up = a.code == CURLE_PEER_FAILED_VERIFICATION;
	answer_clear(&a);
	return is_up;
}

/* Nobody vouches for its certificate. */
Test(site_tools, a_site_without_a_good_certificate_is_told_nothing)
{
	char folder[] = "/tmp/natter-tls-XXXXXX", key[64], cert[64], port[16];
	char url[64], command[96];
	struct command_end end;
	pid_t pid;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(key, sizeof(key), "%s/key.pem", folder);
	snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
	end = RUN("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
	    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
	    "-keyout", key, "-out", cert);
	cr_assert_eq(end.code, 0, "%s", end.err);
	command_end_clear(&end);
	snprintf(port, sizeof(port), "%d", stack_free_port());
	snprintf(url, sizeof(url), "https://127.0.0.1:%s", port);
	pid = START("openssl", "s_server", "-quiet", "-www", "-accept", port,
	    "-key", key, "-cert", cert);
	cr_assert(wait_until(listens, url, 60000));
	move_tool(url);
	expect_failure("tool_unavailable", "failed");
	cr_expect(log_says(stack.log, "certificate"));
	kill(pid, SIGTERM);
	(void)command_wait(pid);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_expect_eq(system(command), 0);
}

Test(site_tools, a_slow_site_ends_with_its_time)
{
	give_time(300);
	site.delay_ms = 20000;
	expect_failure("tool_timeout", "timeout");
	site.delay_ms = 0;
	site.drip_ms = 400;
	expect_failure("tool_timeout", "timeout");
}

/* Nothing was sent: it is tried once more. */
Test(site_tools, a_site_that_is_away_is_asked_twice)
{
	int hits = site.hits;

	move_tool("http://127.0.0.1:1/x");
	expect_failure("tool_unavailable", "failed");
	cr_expect(log_says(stack.log, "\"tries\":2"));
	cr_expect_eq(site.hits, hits);
	site.hangs_up = true;
	move_tool(site.url);
	expect_failure("tool_unavailable", "failed");
	cr_expect_eq(site.hits, hits + 1, "what was sent is not sent again");
}

Test(site_tools, nothing_inside_the_network_is_called)
{
	static const char *const hosts[] = {"127.0.0.2", "[::1]", "10.0.0.1",
	    "169.254.169.254", "[::ffff:127.0.0.1]"};
	char url[128];

	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
		snprintf(url, sizeof(url), "http://%s:%s", hosts[i],
		    strrchr(site.url, ':') + 1);
		move_tool(url);
		expect_failure("tool_unavailable", "inside");
	}
	cr_expect_eq(site.hits, 0);
	cr_expect(log_says(stack.log, "CHAT_TOOLS_ALLOW"));
}

Test(site_tools, a_long_answer_is_cut)
{
	struct answer a;
	const char *result;

	site.padding = 5 << 20;
	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	result = answer_event_text(&a, "tool_result", "result");
	cr_expect_not_null(strstr(result, "sent"), "%.100s", result);
	cr_expect_not_null(strstr(result, "[cut"), "%.100s", result);
	cr_expect_lt(strlen(result), 1100);
	answer_clear(&a);
}

Test(site_tools, what_fits_no_schema_is_not_sent)
{
	struct answer a;

	shop_ask(&shop, "order_status", "{\"order\":12345}", &a);
	expect_reply(&a);
	cr_expect_str_eq(answer_event_text(&a, "tool_result", "result.error"),
	    "invalid_arguments");
	answer_clear(&a);
	shop_ask(&shop, "order_status", "{}", &a);
	cr_expect_str_eq(answer_event_text(&a, "tool_result", "result.error"),
	    "invalid_arguments");
	answer_clear(&a);
	shop_ask(&shop, "order_status", "{\"order\":\"1\",\"admin\":true}", &a);
	cr_expect_str_eq(answer_event_text(&a, "tool_result", "result.error"),
	    "invalid_arguments");
	answer_clear(&a);
	cr_expect_eq(site.hits, 0);
}

static void
expect_unknown(void)
{
	struct answer a;

	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	cr_expect_str_eq(answer_event_text(&a, "tool_result", "result.error"),
	    "unknown_tool");
	answer_clear(&a);
	cr_expect_eq(site.hits, 0);
}

Test(site_tools, only_the_stores_own_conversations_have_them)
{
	char path[64], ignored[8];
	char conversation[40];
	struct answer a;

	memcpy(conversation, shop.user.conversation, sizeof(conversation));
	person_converse(&stack, &shop.user, shop.user.conversation);
	expect_unknown(); /* in no store */
	memcpy(shop.user.conversation, conversation, sizeof(conversation));
	db_value("UPDATE chat.stores SET is_open = false"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    shop.store, ignored, sizeof(ignored));
	expect_unknown(); /* no member any more */
	db_value("UPDATE chat.stores SET is_open = true"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    shop.store, ignored, sizeof(ignored));
	snprintf(path, sizeof(path), "/%s", shop.tool);
	shop_call(&shop, "PATCH", shop_path(&shop, path),
	    "{\"is_active\":false}", 200, &a);
	answer_clear(&a);
	expect_unknown();
}

/* A question that is asked beside the test. */
struct asker {
	pthread_t thread;
	const struct person *person;
	const char *content;
	struct answer answer;
	_Atomic bool has_ended;
};

static void *
asker_run(void *arg)
{
	struct asker *k = arg;

	person_say(&stack, k->person, k->content, &k->answer);
	k->has_ended = true;
	return NULL;
}

static void
asker_start(struct asker *k, const struct person *p, const char *content)
{
	k->person = p;
	k->content = content;
	cr_assert_eq(pthread_create(&k->thread, NULL, asker_run, k), 0);
}

static bool
site_is_asked(void *arg)
{
	(void)arg;
	return site.hits > 0;
}

#define CALL "[[tool=order_status args=" ARGS " text=40]] Where is it?"

/* The reply that runs in the shop's conversation. */
static void
running_reply(char out[40])
{
	db_value("SELECT message_id FROM chat.running_replies"
		 " WHERE conversation_id = $1::text::uuid",
	    shop.user.conversation, out, 40);
	cr_assert_str_neq(out, "");
}

Test(site_tools, a_reply_is_cancelled_while_a_site_is_asked)
{
	static struct asker k;
	char id[40], path[128], column[512];

	give_time(60000);
	site.delay_ms = 100000;
	asker_start(&k, &shop.user, CALL);
	cr_assert(wait_until(site_is_asked, NULL, 60000));
	running_reply(id);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/cancel", id);
	cr_expect_eq(
	    call_status(&stack, "POST", path, shop.user.token, NULL), 202);
	pthread_join(k.thread, NULL);
	cr_expect_str_eq(
	    answer_event_text(&k.answer, "done", "status"), "cancelled");
	db_value("SELECT tool_calls::text FROM chat.messages"
		 " WHERE id = $1::text::uuid",
	    id, column, sizeof(column));
	cr_expect_not_null(strstr(column, "order_status"), "%s", column);
	answer_clear(&k.answer);
}

Test(site_tools, who_waits_for_a_site_holds_up_nobody)
{
	static struct asker k;
	struct answer a;

	give_time(60000);
	site.delay_ms = 100000;
	asker_start(&k, &shop.user, CALL);
	cr_assert(wait_until(site_is_asked, NULL, 60000));
	person_say(&stack, &shop.boss, "[[text=2000 chunk=50]] go", &a);
	expect_reply(&a);
	cr_expect_eq(a.text.n, 2000);
	answer_clear(&a);
	cr_expect_not(k.has_ended);
	site.delay_ms = 0;
	pthread_join(k.thread, NULL);
	answer_clear(&k.answer);
}

static bool
model_is_asked(void *arg)
{
	struct person *p = arg;
	char n[16];

	db_value(
	    "SELECT count(*) FROM chat.running_replies"
	    " WHERE conversation_id = $1::text::uuid AND prompt_tokens > 0",
	    p->conversation, n, sizeof(n));
	return strcmp(n, "1") == 0;
}

/* What a model is told of tools is paid for. */
Test(site_tools, what_is_reserved_counts_the_tools)
{
	static struct asker k;
	char json[9000], tokens[32];
	size_t n = (size_t)snprintf(json, sizeof(json),
	    "{\"name\":\"large\",\"description\":\"d\",\"url\":"
	    "\"https://x.example/\",\"parameters\":{\"type\":\"object\","
	    "\"description\":\"");
	struct answer a;

	memset(json + n, 'a', 8000);
	memcpy(json + n + 8000, "\"}}", 4);
	shop_call(&shop, "POST", shop_path(&shop, ""), json, 201, &a);
	answer_clear(&a);
	give_time(60000);
	asker_start(&k, &shop.user, "[[text=10 events=1 gate=1]] go");
	cr_assert(wait_until(model_is_asked, &shop.user, 60000));
	db_value("SELECT prompt_tokens FROM chat.running_replies"
		 " WHERE conversation_id = $1::text::uuid",
	    shop.user.conversation, tokens, sizeof(tokens));
	cr_expect_gt(atol(tokens), 2000, "%s", tokens);
	stack_model_open(&stack);
	pthread_join(k.thread, NULL);
	answer_clear(&k.answer);
}

static bool
is_interrupted(void *id)
{
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE id = $1::text::uuid",
	    id, status, sizeof(status));
	return strcmp(status, "interrupted") == 0;
}

Test(site_tools, a_worker_is_killed_while_a_site_is_asked)
{
	static struct asker k;
	char id[40];
	pid_t worker;
	struct answer a;

	give_time(60000);
	site.delay_ms = 100000;
	asker_start(&k, &shop.user, CALL);
	cr_assert(wait_until(site_is_asked, NULL, 60000));
	running_reply(id);
	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	kill(worker, SIGKILL);
	pthread_join(k.thread, NULL);
	cr_expect_not(answer_ends_with(&k.answer, "done"));
	answer_clear(&k.answer);
	cr_expect(wait_until(is_interrupted, id, 60000));
	site.delay_ms = 0;
	cr_expect_eq(site.hits, 1, "what is lost is not asked again");
	shop_ask(&shop, "order_status", ARGS, &a);
	expect_reply(&a);
	answer_clear(&a);
}
