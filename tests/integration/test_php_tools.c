/*
 * "Where is my order 12345?" as examples/php/README.md has it: the tool is
 * registered by natterctl, the site is nginx and php-fpm, its members come by
 * the site's tokens, a model (a stand-in) calls the tool. And what the site
 * says to calls that are not Natter's.
 */
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "admin.h"
#include "base/id.h"
#include "command.h"
#include "server/site_sign.h"
#include "stack.h"

#define TOOL "/site/order-status.php"

static struct stack stack;
static char folder[] = "/tmp/natter-php-tools-XXXXXX";
static char example[256], secret[64], slug[64];
static pid_t fpm;

static const char *
in_folder(const char *file)
{
	static char paths[8][128];
	static int next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, file);
	return path;
}

static const char *
in_example(const char *file)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", example, file);
	return path;
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

static bool
is_there(void *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* As a service of the site's host would run it. */
static void
start_fpm(void)
{
	char text[1024];
	glob_t found;

	cr_assert_eq(glob("/usr/sbin/php-fpm*", 0, NULL, &found), 0,
	    "php-fpm is not installed");
	snprintf(text, sizeof(text),
	    "[global]\nerror_log = %s\ndaemonize = no\n[www]\nuser = root\n"
	    "listen = %s\nlisten.mode = 0666\npm = static\n"
	    "pm.max_children = 2\nclear_env = no\ncatch_workers_output = yes\n",
	    in_folder("fpm.log"), in_folder("fpm.sock"));
	write_file(in_folder("fpm.conf"), text);
	fpm = START(found.gl_pathv[0], "-R", "-n", "-y", in_folder("fpm.conf"));
	globfree(&found);
	cr_assert(wait_until(
	    is_there, (void *)(uintptr_t)in_folder("fpm.sock"), 60000));
}

/* Runs a command that must succeed; the caller frees what it said. */
static char *
must(struct command_end end)
{
	cr_assert_eq(end.code, 0, "%s%s", end.out, end.err);
	free(end.err);
	return end.out;
}

/* The two commands of the README; the secret is the last line. */
static void
register_tool(void)
{
	char url[128], store[40], *said;
	const char *natterctl = admin_natterctl();

	id_make(store);
	snprintf(slug, sizeof(slug), "club-%s", store);
	snprintf(url, sizeof(url), "%s" TOOL, stack.base);
	said = must(RUN(natterctl, "store", "add", slug, "--open"));
	snprintf(store, sizeof(store), "%.36s", strchr(said, '(') + 1);
	free(said);
	setenv("NATTER_STORE", store, 1);
	said = must(RUN(natterctl, "store", "tool", "add", slug, "order_status",
	    "--description", "Where one of the user's orders is",
	    "--parameters", in_example("order-status.json"), "--url", url));
	snprintf(secret, sizeof(secret), "%.47s", strstr(said, "nts_"));
	free(said);
	write_file(in_folder("secrets"), secret);
}

static void
setup(void)
{
	static char jwks[128], site[1024], key[128];
	const char *src = getenv("NATTER_SRCDIR");
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_EXCHANGE_ISSUER=https://club.example", jwks,
		"CHAT_TOOLS=on", "CHAT_TOOLS_ALLOW=127.0.0.1",
		"CHAT_WORKERS=1"},
	    .site = site};

	cr_assert_not_null(src);
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chmod(folder, 0711), 0); /* nginx's user, to the socket */
	snprintf(example, sizeof(example), "%s/examples/php", src);
	free(must(RUN("php", in_example("make-keys.php"), folder)));
	snprintf(jwks, sizeof(jwks), "CHAT_EXCHANGE_JWKS=%s/jwks.json", folder);
	snprintf(site, sizeof(site),
	    "location ~ ^/site/([a-z-]+\\.php)$ {\n"
	    "  include /etc/nginx/fastcgi_params;\n"
	    "  fastcgi_param SCRIPT_FILENAME %s/$1;\n"
	    "  fastcgi_pass unix:%s;\n}\n",
	    example, in_folder("fpm.sock"));
	setenv("SITE_TOOL_SECRETS_FILE", in_folder("secrets"), 1);
	setenv("SITE_CALLS_DIR", folder, 1);
	start_fpm();
	stack_start(&stack, &o);
	snprintf(key, sizeof(key), "%s", in_folder("site-key.pem"));
	setenv("SITE_KEY_FILE", key, 1);
	setenv("NATTER_URL", stack.base, 1);
	register_tool();
}

static void
teardown(void)
{
	char command[128];

	stack_stop(&stack);
	kill(fpm, SIGTERM);
	(void)command_wait(fpm);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(php_tools, .init = setup, .fini = teardown, .timeout = 120);

/* The member asks; what the tool said to the model. */
static void
ask(const char *member, const char *order, char *out, size_t size)
{
	char question[256];

	snprintf(question, sizeof(question),
	    "[[tool=order_status args={\"order\":\"%s\"} text=40]]"
	    " Where is my order %s?",
	    order, order);
	free(must(RUN("php", in_example("cli.php"), member, question)));
	db_value("SELECT m.tool_responses::text FROM chat.messages m JOIN"
		 " auth.users u ON u.id = m.user_id WHERE u.external_id = $1"
		 " AND u.issuer = 'https://club.example' AND m.role = "
		 "'assistant' AND m.status = 'complete'"
		 " ORDER BY m.created_at DESC LIMIT 1",
	    member, out, size);
}

Test(php_tools, a_member_hears_where_their_order_is)
{
	char said[1024];

	ask("17", "12345", said, sizeof(said));
	cr_expect_not_null(strstr(said, "PP-4711-0815"), "%s", said);
	cr_expect_not_null(strstr(said, "\"shipped\""), "%s", said);
	cr_expect_null(strstr(said, "member"), "%s", said);
	cr_expect_null(strstr(said, "is_error\": true"), "%s", said);
}

Test(php_tools, nobody_hears_of_anothers_order)
{
	char theirs[1024], none[1024];

	ask("23", "12345", theirs, sizeof(theirs));
	cr_expect_null(strstr(theirs, "4711"), "%s", theirs);
	cr_expect_not_null(
	    strstr(theirs, "This member has no order of this number."), "%s",
	    theirs);
	ask("23", "99999", none, sizeof(none));
	cr_expect_not_null(
	    strstr(none, "This member has no order of this number."), "%s",
	    none);
	ask("23", "12346", theirs, sizeof(theirs));
	cr_expect_not_null(strstr(theirs, "being packed"), "%s", theirs);
}

/* What the site says to a call of ours. */
static long
call(const char *with, long age_s, const char *sent, const char *signed_body)
{
	const struct site_secrets s = {with, NULL};
	int64_t at_s = (int64_t)time(NULL) - age_s;
	char timestamp[64], signature[32 + SITE_SIGNATURES];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = TOOL,
	    .json = sent,
	    .headers = {timestamp, signature}};
	struct answer a;
	long status;

	snprintf(timestamp, sizeof(timestamp), "Natter-Timestamp: %lld",
	    (long long)at_s);
	snprintf(signature, sizeof(signature), "Natter-Signature: ");
	site_sign(&s, at_s, signed_body, strlen(signed_body),
	    signature + strlen(signature));
	http_ask(&ask, &a);
	status = a.status;
	answer_clear(&a);
	return status;
}

/* Ada's order, and another call each time. */
static const char *
body_of(int n)
{
	static char bodies[4][512];
	char *body = bodies[n % 4];

	snprintf(body, sizeof(bodies[0]),
	    "{\"tool\":\"order_status\",\"arguments\":{\"order\":\"12345\"},"
	    "\"user\":{\"id\":\"x\",\"issuer\":\"https://club.example\","
	    "\"external_id\":\"17\",\"username\":\"ada\"},"
	    "\"call_id\":\"call-%d\"}",
	    n);
	return body;
}

Test(php_tools, who_is_not_natter_gets_nothing)
{
	static const char other[] = "another-secret-of-more-than-32-bytes";
	struct ask plain = {.method = "POST",
	    .base = stack.base,
	    .path = TOOL,
	    .json = body_of(0)};
	struct answer a;

	http_ask(&plain, &a);
	cr_expect_eq(a.status, 401, "%s", a.body.p);
	answer_clear(&a);
	plain.method = "GET";
	plain.json = NULL;
	http_ask(&plain, &a);
	cr_expect_eq(a.status, 405);
	answer_clear(&a);
	cr_expect_eq(call(other, 0, body_of(1), body_of(1)), 401);
	cr_expect_eq(call(secret, 0, body_of(1), body_of(2)), 401, "altered");
	cr_expect_eq(call(secret, 400, body_of(1), body_of(1)), 401, "old");
	cr_expect_eq(call(secret, -400, body_of(1), body_of(1)), 401, "new");
	cr_expect_eq(call(secret, 0, "[]", "[]"), 400);
	cr_expect_eq(call(secret, 0, body_of(1), body_of(1)), 200);
	cr_expect_eq(call(secret, 0, body_of(1), body_of(1)), 409, "replayed");
	cr_expect_eq(call(secret, 200, body_of(2), body_of(2)), 200);
}

Test(php_tools, a_new_secret_is_taken_over_without_a_gap)
{
	char said[1024], both[160], fresh[64];
	char *out = must(RUN(admin_natterctl(), "store", "tool", "secret", slug,
	    "order_status"));

	snprintf(fresh, sizeof(fresh), "%.47s", strstr(out, "nts_"));
	free(out);
	ask("17", "12345", said, sizeof(said)); /* the site has the old one */
	cr_expect_not_null(strstr(said, "PP-4711-0815"), "%s", said);
	snprintf(both, sizeof(both), "%s\n%s\n", fresh, secret);
	write_file(in_folder("secrets"), both);
	ask("17", "12345", said, sizeof(said));
	cr_expect_not_null(strstr(said, "PP-4711-0815"), "%s", said);
	write_file(in_folder("secrets"), fresh);
	ask("17", "12345", said, sizeof(said));
	cr_expect_not_null(strstr(said, "PP-4711-0815"), "%s", said);
}
