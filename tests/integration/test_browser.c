/*
 * Browsers end to end, through nginx: cookies kept by a jar that follows the
 * rules for Secure and __Host-, pages of other origins, and a part of the site
 * that nginx/auth-request.conf protects, as shipped but for the program
 * behind it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/id.h"
#include "site_idp.h"
#include "stack.h"
#include "stores.h"

#define APP    "https://app.example.com"
#define CLIENT "X-Natter-Client: web"
#define SAME   "Sec-Fetch-Site: same-origin"
#define BEHIND "http://127.0.0.1:8081"
#define SECRET "a secret of more than thirty-two bytes"
#define ENTER                                                          \
	"{\"username\":\"%s\",\"password\":\"correct horse battery\"," \
	"\"cookie\":true}"

static struct stack stack;
static struct stores stores;
static bool has_stores;
static char dir[] = "/tmp/natter-browser-XXXXXX";
static char jar[64], username[64];
static struct answer a;

/* The shipped snippet, with our own program behind it. */
static void
write_snippet(void)
{
	char path[256], line[512];
	FILE *in, *out;
	bool is_replaced = false;

	snprintf(path, sizeof(path), "%s/nginx/auth-request.conf",
	    getenv("NATTER_SRCDIR"));
	in = fopen(path, "r");
	snprintf(path, sizeof(path), "%s/auth-request.conf", dir);
	out = fopen(path, "w");
	cr_assert(in != NULL && out != NULL);
	while (fgets(line, sizeof(line), in) != NULL) {
		char *at = strstr(line, BEHIND);

		if (at == NULL || line[strspn(line, "\t")] == '#') {
			fputs(line, out);
			continue;
		}
		fprintf(out, "%.*shttp://unix:%s/site.sock:%s",
		    (int)(at - line), line, dir, at + strlen(BEHIND));
		is_replaced = true;
	}
	fclose(in);
	fclose(out);
	cr_assert(is_replaced);
}

static void
start(const struct stack_options *options)
{
	struct stack_options o = *options;
	char site[512], http[512], command[512], id[ID_SHORT_TEXT];

	cr_assert_not_null(mkdtemp(dir));
	chmod(dir, 0777);
	write_snippet();
	snprintf(command, sizeof(command),
	    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost "
	    "-keyout %s/key -out %s/cert 2>/dev/null",
	    dir, dir);
	cr_assert_eq(system(command), 0);
	snprintf(site, sizeof(site),
	    "listen unix:%s/tls.sock ssl; ssl_certificate %s/cert;"
	    "ssl_certificate_key %s/key; include %s/auth-request.conf;"
	    "location ^~ /api/v1/test/ { error_page 429 @natter_too_many;"
	    " limit_req zone=test; limit_req_status 429;"
	    " fastcgi_pass natter; }",
	    dir, dir, dir, dir);
	snprintf(http, sizeof(http),
	    "limit_req_zone $binary_remote_addr zone=test:1m rate=1r/m;"
	    "map $http_origin $natter_origin { default '';"
	    " " APP " $http_origin; }"
	    "server { listen unix:%s/site.sock; location / { return 200 "
	    "'$request_method $http_x_auth_user $http_x_auth_user_id "
	    "$http_x_auth_role [$http_cookie$http_authorization]'; }"
	    "location /members/broken { return 500 'its own'; } }",
	    dir);
	o.site = site;
	o.http = http;
	stack_start(&stack, &o);
	snprintf(jar, sizeof(jar), "%s/jar", dir);
	id_make_short(id);
	snprintf(username, sizeof(username), "browser-%s", id);
}

static void
setup(void)
{
	const struct stack_options o = {
	    .settings = {"CHAT_ORIGINS=" APP " http://localhost:5173",
		"CHAT_WORKERS=1", "CHAT_EXCHANGE_ISSUER=https://club.example",
		"CHAT_EXCHANGE_ALGORITHMS=HS256",
		"CHAT_EXCHANGE_SECRET=" SECRET,
		"CHAT_EXCHANGE_ADDRESS_RATE=3"}};

	start(&o);
}

static void
teardown(void)
{
	char command[128];

	answer_clear(&a);
	stack_stop(&stack);
	if (has_stores)
		stores_stop(&stores);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command) != 0)
		abort();
}

TestSuite(browser, .init = setup, .fini = teardown, .timeout = 120);
TestSuite(unsure, .fini = teardown, .timeout = 120);

/* Asks with the cookies of the jar, which keeps those of the answer. */
static long
call(const char *method, const char *path, const char *json,
    const char *const *headers)
{
	struct ask ask = {.method = method,
	    .base = stack.base,
	    .path = path,
	    .json = json,
	    .jar = jar};

	for (size_t i = 0; headers != NULL && headers[i] != NULL; i++)
		ask.headers[i] = headers[i];
	answer_clear(&a);
	http_ask(&ask, &a);
	return a.status;
}

static const char *const own_page[] = {CLIENT, SAME, NULL};

static void
enter(const char *path, long want)
{
	char json[256];

	snprintf(json, sizeof(json), ENTER, username);
	cr_assert_eq(call("POST", path, json, own_page), want, "%s", a.body.p);
}

static long
refresh(void)
{
	return call(
	    "POST", "/api/v1/auth/refresh", "{\"cookie\":true}", own_page);
}

static long
leave(void)
{
	return call("POST", "/api/v1/auth/logout", "{}", own_page);
}

static const char *
header(const char *name)
{
	const char *value = answer_header(&a, name);

	return value != NULL ? value : "";
}

/* Does the jar hold the cookie? */
static bool
holds(const char *name)
{
	char line[4096];
	FILE *f = fopen(jar, "r");
	bool found = false;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		found = found || (strstr(line, name) != NULL &&
				     strstr(line, "#HttpOnly_") == line);
	if (f != NULL)
		fclose(f);
	return found;
}

static void
expect_visitor(void)
{
	cr_expect_eq(call("GET", "/members/a?b=c&d", NULL, NULL), 302);
	cr_expect_str_eq(header("Location"), "/sign-in?next=/members/a?b=c&d");
	cr_expect_str_eq(header("Cache-Control"), "no-store");
}

static void
expect_member(void)
{
	char want[256];

	cr_expect_eq(call("GET", "/members/a", NULL, NULL), 200);
	snprintf(want, sizeof(want), "GET %s ", username);
	cr_expect_eq(strncmp(a.body.p, want, strlen(want)), 0, "%s", a.body.p);
}

Test(browser, keeps_its_session_in_cookies_that_scripts_cannot_read)
{
	enter("/api/v1/auth/register", 201);
	cr_expect_str_eq(answer_text(&a, "refresh_token"), "");
	cr_expect_str_eq(header("Cache-Control"), "no-store");
	cr_expect(
	    holds("__Host-rt") && holds("__Host-at") && holds("__Host-did"));
	for (int i = 0; i < 3; i++)
		cr_assert_eq(refresh(), 200, "%s", a.body.p);
	cr_expect_eq(leave(), 204, "%s", a.body.p);
	/* libcurl 7.88 miscounts cookies that are deleted together. */
	cr_expect_not_null(strstr(a.head.p, "__Host-rt=; Path=/; Max-Age=0"));
	cr_expect_not_null(strstr(a.head.p, "__Host-at=; Path=/; Max-Age=0"));
	cr_expect_null(strstr(a.head.p, "__Host-did"));
	cr_expect_eq(refresh(), 401);
	enter("/api/v1/auth/login", 200);
	cr_expect_eq(refresh(), 200);
}

Test(browser, n28_strangers_that_guess_do_not_lock_the_owner_out)
{
	char json[256];
	struct ask stranger = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/login",
	    .json = json,
	    .headers = {CLIENT, SAME}};

	enter("/api/v1/auth/register", 201);
	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"wrong horse battery\","
	    "\"cookie\":true}",
	    username);
	for (int i = 0; i < 5; i++) {
		answer_clear(&a);
		http_ask(&stranger, &a);
		cr_assert_eq(a.status, 401, "%s", a.body.p);
	}
	answer_clear(&a);
	snprintf(json, sizeof(json), ENTER, username);
	http_ask(&stranger, &a);
	cr_expect_eq(a.status, 429);
	cr_expect_str_eq(answer_text(&a, "code"), "login_throttled");
	cr_expect_str_neq(header("Retry-After"), "");
	enter("/api/v1/auth/login", 200);
}

static long
exchange(const char *secret, const char *const *headers)
{
	long now = (long)time(NULL), status;
	char *claims = idp_text("{\"iss\":\"https://club.example\",\"aud\":"
				"\"natter\",\"sub\":\"%s\",\"iat\":%ld,"
				"\"exp\":%ld}",
	    username, now, now + 60);
	char *token = idp_mac(secret, "{\"alg\":\"HS256\"}", claims);
	char *json = idp_text("{\"token\":\"%s\",\"cookie\":true}", token);

	status = call("POST", "/api/v1/auth/exchange", json, headers);
	free(claims);
	free(token);
	free(json);
	return status;
}

Test(browser, a_member_of_a_site_gets_cookies_too)
{
	static const char *const foreign[] = {
	    CLIENT, "Sec-Fetch-Site: cross-site", NULL};

	cr_expect_eq(exchange(SECRET, foreign), 403);
	cr_expect_str_eq(answer_text(&a, "code"), "csrf_failed");
	cr_assert_eq(exchange(SECRET, own_page), 200, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "refresh_token"), "");
	cr_expect_eq(refresh(), 200, "%s", a.body.p);
	expect_member();
	cr_expect_eq(leave(), 204);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(
		    exchange("another secret of 32 bytes or more", own_page),
		    401);
		cr_expect_str_eq(answer_text(&a, "code"), "identity_invalid");
	}
	cr_expect_eq(exchange(SECRET, own_page), 429);
	cr_expect_str_eq(answer_text(&a, "code"), "rate_limited");
	cr_expect_geq(atoi(header("Retry-After")), 1);
}

Test(browser, over_tls_too)
{
	char json[256], path[64];
	struct ask ask = {.method = "POST",
	    .base = "https://localhost",
	    .path = "/api/v1/auth/register",
	    .unix_socket = path,
	    .json = json,
	    .jar = jar,
	    .headers = {CLIENT, SAME}};

	snprintf(path, sizeof(path), "%s/tls.sock", dir);
	snprintf(json, sizeof(json), ENTER, username);
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	answer_clear(&a);
	ask.path = "/api/v1/auth/refresh";
	snprintf(json, sizeof(json), "{\"cookie\":true}");
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	/* The session belongs to that origin: not to its plain namesake. */
	ask = (struct ask){
	    .base = "http://127.0.0.1", .path = "/members/a", .jar = jar};
	ask.base = stack.base;
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 302);
}

Test(browser, n32_another_sites_post_changes_nothing)
{
	static const char *const rows[][4] = {
	    {CLIENT, "Sec-Fetch-Site: cross-site",
		"Origin: https://evil.example", NULL},
	    {CLIENT, "Sec-Fetch-Site: same-site",
		"Origin: https://x.example.com", NULL},
	    {CLIENT, "Origin: null", NULL, NULL},
	    {CLIENT, NULL, NULL, NULL},
	    {SAME, NULL, NULL, NULL},
	};
	char before[16], after[16];
	static const char sql[] =
	    "SELECT sum(s.rt_gen) || ' ' || count(s.revoked_at)"
	    " FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id"
	    " WHERE u.username = $1";

	enter("/api/v1/auth/register", 201);
	db_value(sql, username, before, sizeof(before));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(call("POST", "/api/v1/auth/refresh",
				 "{\"cookie\":true}", rows[i]),
		    403, "%zu", i);
		cr_expect_str_eq(answer_text(&a, "code"), "csrf_failed");
		cr_expect_str_eq(header("Set-Cookie"), "");
		cr_expect_str_eq(header("Access-Control-Allow-Origin"), "");
		cr_expect_eq(
		    call("POST", "/api/v1/auth/logout", "{}", rows[i]), 403);
	}
	db_value(sql, username, after, sizeof(after));
	cr_expect_str_eq(before, after);
	cr_expect_eq(refresh(), 200);
}

/* ---- pages of other origins ---- */

static const char *const preflight[] = {"Origin: " APP,
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization,content-type", NULL};

Test(browser, a_preflight_of_an_allowed_origin_is_answered_for_every_path)
{
	static const char *const rows[][2] = {
	    {"/api/v1/auth/refresh", "POST"},
	    {"/api/v1/conversations", "GET, POST, DELETE"},
	    {"/api/v1/conversations/x", "GET, PATCH, DELETE"},
	    {"/api/v1/conversations/x/messages", "GET, POST"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(call("OPTIONS", rows[i][0], NULL, preflight), 204,
		    "%s", a.body.p);
		cr_expect_str_eq(header("Access-Control-Allow-Origin"), APP);
		cr_expect_str_eq(
		    header("Access-Control-Allow-Credentials"), "true");
		cr_expect_str_eq(
		    header("Access-Control-Allow-Methods"), rows[i][1]);
		cr_expect_not_null(strstr(
		    header("Access-Control-Allow-Headers"), "X-Natter-Client"));
		cr_expect_str_eq(header("Vary"), "Origin");
	}
	cr_expect_eq(call("OPTIONS", "/api/v1/nothing", NULL, preflight), 404);
	/* The query is that of the request to come. */
	cr_expect_eq(
	    call("OPTIONS", "/api/v1/conversations?limit=5", NULL, preflight),
	    204);
}

/* Programs in pages that speak OpenAI's protocol: whatever they send. */
Test(browser, a_preflight_of_openais_libraries_may_send_what_it_asks)
{
	static const char names[] =
	    "authorization,content-type,openai-organization,openai-project,"
	    "idempotency-key,x-stainless-arch,x-stainless-lang,x-stainless-os,"
	    "x-stainless-package-version,x-stainless-retry-count,"
	    "x-stainless-runtime,x-stainless-runtime-version,"
	    "x-stainless-timeout,user-agent,x-title";
	char asked[512];
	const char *const library[] = {
	    "Origin: " APP, "Access-Control-Request-Method: POST", asked, NULL};
	const char *const stranger[] = {"Origin: https://evil.example",
	    "Access-Control-Request-Method: POST", asked, NULL};
	static const char path[] = "/openai/v1/chat/completions";

	snprintf(
	    asked, sizeof(asked), "Access-Control-Request-Headers: %s", names);
	cr_expect_eq(call("OPTIONS", path, NULL, library), 204);
	cr_expect_str_eq(header("Access-Control-Allow-Origin"), APP);
	cr_expect_str_eq(header("Access-Control-Allow-Methods"), "POST");
	cr_expect_str_eq(header("Access-Control-Allow-Headers"), names);
	cr_expect_eq(call("OPTIONS", "/api/v1/me", NULL, library), 204);
	cr_expect_null(
	    strstr(header("Access-Control-Allow-Headers"), "x-stainless"));
	cr_expect_eq(call("OPTIONS", path, NULL, stranger), 405);
	cr_expect_str_eq(header("Access-Control-Allow-Headers"), "");
	cr_expect_eq(
	    call("OPTIONS", "/openai/v1/models/a%2Fb", NULL, library), 204);
	cr_expect_str_eq(header("Access-Control-Allow-Methods"), "GET");
}

Test(browser, a_preflight_of_a_stranger_is_an_unknown_method)
{
	static const char *const stranger[] = {"Origin: https://evil.example",
	    "Access-Control-Request-Method: POST", NULL};
	static const char *const none[] = {"Origin: " APP, NULL};

	cr_expect_eq(call("OPTIONS", "/api/v1/me", NULL, stranger), 405);
	cr_expect_str_eq(header("Access-Control-Allow-Origin"), "");
	cr_expect_str_eq(header("Access-Control-Allow-Methods"), "");
	cr_expect_str_eq(header("Vary"), "Origin");
	cr_expect_eq(call("OPTIONS", "/api/v1/me", NULL, none), 405);
}

/* From every thread that answers: front, chores, relay; and refusals. */
Test(browser, every_answer_can_be_read_by_an_allowed_origin_alone)
{
	struct person p;
	char path[128];
	struct {
		const char *method, *path, *json;
		long want;
	} rows[] = {
	    {"GET", "/api/v1/me", NULL, 200},
	    {"GET", "/api/v1/nothing", NULL, 404},
	    {"PUT", "/api/v1/me", NULL, 405},
	    {"POST", "/api/v1/auth/login",
		"{\"username\":\"x\",\"password\":\"y\"}", 401},
	    {"POST", path, "{\"content\":\"Hello\"}", 201},
	    {"POST", path, "{\"content\":\"Hello\",\"stream\":true}", 200},
	};

	person_make(&stack, &p);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool is_ours = i % 2;
		struct ask ask = {.method = rows[i / 2].method,
		    .base = stack.base,
		    .path = rows[i / 2].path,
		    .json = rows[i / 2].json,
		    .token = p.token,
		    .headers = {is_ours ? "Origin: " APP
					: "Origin: https://evil.example"}};

		answer_clear(&a);
		http_ask(&ask, &a);
		cr_expect_eq(a.status, rows[i / 2].want, "%zu: %ld %s", i,
		    a.status, a.body.p);
		cr_expect_str_eq(header("Access-Control-Allow-Origin"),
		    is_ours ? APP : "", "%zu", i);
		cr_expect_str_eq(header("Vary"), "Origin", "%zu", i);
	}
}

/* The headers of nginx's own answers. */
static void
expect_readable(bool is_ours, long want, const char *code)
{
	const char *origin =
	    is_ours ? "Origin: " APP : "Origin: https://evil.example";
	static char large[(2 << 20) + 100];
	struct ask ask = {
	    .base = stack.base, .path = "/api/v1/me", .headers = {origin}};

	if (want == 413) {
		memset(large, ' ', sizeof(large) - 1);
		ask.method = "POST";
		ask.path = "/api/v1/auth/login";
		ask.json = large;
	} else if (want == 429) {
		ask.path = "/api/v1/test/x";
	}
	answer_clear(&a);
	http_ask(&ask, &a);
	if (want == 429 && a.status != 429) { /* the first one passes */
		answer_clear(&a);
		http_ask(&ask, &a);
	}
	cr_expect_eq(a.status, want, "%ld", a.status);
	cr_expect_str_eq(answer_text(&a, "code"), code);
	cr_expect_str_eq(
	    header("Access-Control-Allow-Origin"), is_ours ? APP : "");
	cr_expect_str_eq(
	    header("Access-Control-Allow-Credentials"), is_ours ? "true" : "");
	cr_expect_str_eq(header("Access-Control-Expose-Headers"),
	    is_ours ? "Retry-After, X-Request-Id" : "");
	cr_expect_str_eq(header("Vary"), "Origin");
	if (want == 429 || want == 503)
		cr_expect_geq(atoi(header("Retry-After")), 1);
}

Test(browser, nginxs_own_answers_can_be_read_by_an_allowed_origin_alone)
{
	for (int i = 0; i < 2; i++) {
		expect_readable(i, 413, "too_large");
		expect_readable(i, 429, "rate_limited");
	}
	stack_end_natterd(&stack, SIGTERM);
	for (int i = 0; i < 2; i++)
		expect_readable(i, 503, "unavailable");
}

/* ---- a protected part of the site ---- */

Test(browser, a_visitor_is_sent_to_sign_in_and_a_member_gets_in)
{
	static const char *const forged[] = {"X-Auth-User: admin",
	    "X-Auth-User-Id: 1", "X-Auth-Role: admin",
	    "Authorization: Basic YWRtaW46", NULL};
	char id[64];

	expect_visitor();
	cr_expect_eq(call("GET", "/members/a", NULL, forged), 302);
	enter("/api/v1/auth/register", 201);
	snprintf(id, sizeof(id), "%s", answer_text(&a, "user.id"));
	expect_member();
	cr_expect_not_null(strstr(a.body.p, id));
	cr_expect_not_null(strstr(a.body.p, " user ["));
	cr_expect_not_null(
	    strstr(a.body.p, "[]"), "no credentials: %s", a.body.p);
	cr_expect_eq(call("GET", "/members/a", NULL, forged), 200);
	cr_expect_null(strstr(a.body.p, "admin"));
	cr_expect_eq(leave(), 204);
	expect_visitor();
}

Test(browser, a_page_that_posts_is_asked_for_with_get_and_without_its_body)
{
	char *body = malloc(200001);

	memset(body, 'x', 200000);
	body[200000] = '\0';
	cr_expect_eq(call("POST", "/members/a", body, NULL), 401);
	enter("/api/v1/auth/register", 201);
	cr_expect_eq(call("POST", "/members/a", body, NULL), 200);
	cr_expect_eq(strncmp(a.body.p, "POST ", 5), 0, "%s", a.body.p);
	free(body);
}

Test(browser, a_program_with_a_bearer_is_a_member)
{
	struct person p;
	struct ask ask = {.base = stack.base, .path = "/members/a"};

	person_make(&stack, &p);
	ask.token = p.token;
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 200);
	cr_expect_not_null(strstr(a.body.p, p.username), "%s", a.body.p);
}

Test(browser, the_sites_own_errors_stay_its_own)
{
	enter("/api/v1/auth/register", 201);
	cr_expect_eq(call("GET", "/members/broken", NULL, NULL), 500);
	cr_expect_str_eq(a.body.p, "its own");
	cr_expect_eq(call("GET", "/natter-verify", NULL, NULL), 404);
}

Test(browser, without_natterd_a_protected_page_is_503_with_retry_after)
{
	enter("/api/v1/auth/register", 201);
	expect_member();
	stack_end_natterd(&stack, SIGTERM);
	cr_expect_eq(call("GET", "/members/a", NULL, NULL), 503);
	cr_expect(atoi(header("Retry-After")) >= 1 &&
		  atoi(header("Retry-After")) <= 3);
	cr_expect_str_eq(header("Cache-Control"), "no-store");
}

Test(unsure, n24_with_neither_store_a_protected_page_is_503_and_then_back)
{
	const struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};

	stores_start(&stores, NULL);
	has_stores = true;
	start(&o);
	enter("/api/v1/auth/register", 201);
	expect_member();
	server_stop(&stores.redis, SIGKILL);
	for (int i = 0; i < 5; i++)
		expect_member();
	server_freeze(&stores.postgres);
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(call("GET", "/members/a", NULL, NULL), 503);
		cr_expect_geq(atoi(header("Retry-After")), 1);
	}
	server_thaw(&stores.postgres);
	cr_assert(server_start_again(&stores.redis));
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
	expect_member();
}
