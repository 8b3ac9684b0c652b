/*
 * examples/php as a person uses it: the keys are made, natterd is told, members
 * of the site ask, and what the model sent arrives, piece by piece. Runs php.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/id.h"
#include "command.h"
#include "stack.h"
#include "standin_text.h"

#define PASSWORD "correct+horse+battery"
#define READ_MAX 4096

static struct stack stack;
static char folder[] = "/tmp/natter-php-XXXXXX";
static char example[256];

static const char *
in_example(const char *file)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/%s", example, file);
	return path;
}

static void
make_keys(void)
{
	char script[512];
	snprintf(script, sizeof script, "%s", in_example("make-keys.php"));
	struct command_end end = RUN("php", script, folder);
	cr_assert_eq(end.code, 0, "%s%s", end.out, end.err);
	command_end_clear(&end);
}

static void
setup(void)
{
	static char jwks[128], key[128];
	const char *src = getenv("NATTER_SRCDIR");
	cr_assert_not_null(src);
	snprintf(example, sizeof example, "%s/examples/php", src);
	cr_assert_not_null(mkdtemp(folder));
	make_keys();
	snprintf(jwks, sizeof jwks, "CHAT_EXCHANGE_JWKS=%s/jwks.json", folder);
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_EXCHANGE_ISSUER=https://club.example", jwks,
		"CHAT_ACCESS_TTL=5", "CHAT_REGISTRATION=closed",
		"CHAT_WORKERS=1"}};
	stack_start(&stack, &o);
	snprintf(key, sizeof key, "%s/site-key.pem", folder);
	setenv("NATTER_URL", stack.base, 1);
	setenv("SITE_KEY_FILE", key, 1);
}

static void
teardown(void)
{
	char command[128];
	stack_stop(&stack);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(php_example, .init = setup, .fini = teardown, .timeout = 120);

static char *
model_text(unsigned seed, size_t n)
{
	char *text = calloc(1, n + 2);
	standin_text(seed, n, text);
	return text;
}

/* A member whom no earlier run has left behind, nor one beside this. */
static const char *
somebody(void)
{
	static char name[ID_TEXT];
	id_make(name);
	return name;
}

Test(php_example, the_private_key_is_nobody_elses)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "%s/site-key.pem", folder);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/jwks.json", folder);
	FILE *f = fopen(path, "r");
	char text[8192];
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	cr_expect_not_null(strstr(text, "\"kid\""));
	cr_expect_null(strstr(text, "\"d\""));
}

Test(php_example, a_member_asks_from_the_command_line)
{
	char want[8192], got[64];
	const char *who = somebody();
	char *one = model_text(5, 2000), *two = model_text(6, 900);
	snprintf(want, sizeof want, "%s\n%s\n", one, two);
	struct command_end end = RUN("php", in_example("cli.php"), who,
	    "[[text=2000 chunk=50 seed=5]] go",
	    "[[text=900 chunk=7 seed=6 split=1]] go");
	cr_expect_eq(end.code, 0, "%s", end.err);
	cr_expect(strcmp(end.out, want) == 0, "%zu bytes of %zu: %s",
	    strlen(end.out), strlen(want), end.err);
	command_end_clear(&end);
	free(one);
	free(two);
	db_value("SELECT count(*) FROM auth.users u JOIN auth.sessions s ON"
		 " s.user_id = u.id AND s.revoke_reason = 'logout' WHERE"
		 " u.issuer = 'https://club.example' AND u.external_id = $1"
		 " AND u.username = u.external_id",
	    who, got, sizeof got);
	cr_expect_str_eq(got, "1");
}

/* Reads on until so many bytes have come after the first line, or no more do;
 * how many have. */
static size_t
read_reply(FILE *f, char *out, size_t *n, size_t want)
{
	for (;;) {
		char *line = memchr(out, '\n', *n);
		size_t have = line ? *n - (size_t)(line + 1 - out) : 0;
		ssize_t got;
		if (have >= want)
			return have;
		got = read(fileno(f), out + *n, READ_MAX - *n);
		if (got <= 0)
			return have;
		*n += (size_t)got;
	}
}

/* The model says the second half when the first has been seen. */
Test(php_example, pieces_arrive_while_the_reply_is_written)
{
	char command[1024], text[READ_MAX];
	size_t n = 0;
	snprintf(command, sizeof command,
	    "php '%s' %s '[[text=400 events=20 gate=10 seed=7]] go' 2>&1",
	    in_example("cli.php"), somebody());
	stack_model_open(&stack);
	FILE *f = popen(command, "r");
	size_t half = read_reply(f, text, &n, 150);
	cr_expect(half >= 150 && half <= 200, "%zu bytes", half);
	stack_model_open(&stack);
	cr_expect_eq(read_reply(f, text, &n, READ_MAX), strlen("\n") + 400);
	cr_expect_eq(pclose(f), 0);
}

Test(php_example, what_is_wrong_is_said)
{
	setenv("SITE_AUDIENCE", "something-else", 1);
	struct command_end end =
	    RUN("php", in_example("cli.php"), somebody(), "x");
	unsetenv("SITE_AUDIENCE");
	cr_expect_eq(end.code, 1);
	cr_expect_not_null(strstr(end.err, "identity_invalid"), "%s", end.err);
	command_end_clear(&end);
}

/* A worker knows the old set: the new kid makes it look. */
Test(php_example, a_new_key_works_at_once)
{
	for (int i = 0; i < 2; i++) {
		struct command_end end = RUN(
		    "php", in_example("cli.php"), somebody(), "[[text=10]] go");
		cr_expect_eq(end.code, 0, "%s", end.err);
		command_end_clear(&end);
		make_keys();
	}
}

/* ---- the site ---- */

static struct {
	char base[64];
	pid_t pid;
	char cookie[160];
	char csrf[64];
} site;

static bool
site_answers(void *arg)
{
	struct ask ask = {.base = site.base, .path = "/", .timeout_ms = 2000};
	struct answer a;
	(void)arg;
	http_ask(&ask, &a);
	bool yes = a.status == 200;
	answer_clear(&a);
	return yes;
}

static void
site_start(void)
{
	static char address[32];
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&in, n), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	close(fd);
	snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(in.sin_port));
	snprintf(site.base, sizeof site.base, "http://%s", address);
	site.pid = START("php", "-q", "-d", "error_log=/dev/null", "-d",
	    "session.save_path=/tmp", "-S", address, "-t", example);
	cr_assert(wait_until(site_answers, NULL, 60000));
}

/* Asks the site in its member's session; the answer is the caller's. */
static void
visit(const char *path, const char *type, const char *body, struct answer *a)
{
	char csrf[96];
	snprintf(csrf, sizeof csrf, "X-CSRF-Token: %s", site.csrf);
	struct ask ask = {.method = body ? "POST" : "GET",
	    .base = site.base,
	    .path = path,
	    .type = type,
	    .json = body,
	    .headers = {csrf, site.cookie}};
	http_ask(&ask, a);
	const char *set = answer_header(a, "Set-Cookie");
	if (set)
		snprintf(site.cookie, sizeof site.cookie, "Cookie: %.*s",
		    (int)strcspn(set, ";"), set);
	const char *at =
	    a->body.p ? strstr(a->body.p, "csrf\" value=\"") : NULL;
	at = at ? at + strlen("csrf\" value=\"") : NULL;
	if (!at && a->body.p && (at = strstr(a->body.p, "data-csrf=\"")))
		at += strlen("data-csrf=\"");
	if (at)
		snprintf(site.csrf, sizeof site.csrf, "%.32s", at);
}

static void
sign_in(void)
{
	char form[256];
	struct answer a;
	snprintf(site.cookie, sizeof site.cookie, "X-None: 1");
	visit("/", NULL, NULL, &a);
	answer_clear(&a);
	snprintf(form, sizeof form, "csrf=%s&member=ada&password=" PASSWORD,
	    site.csrf);
	visit("/", "application/x-www-form-urlencoded", form, &a);
	cr_expect_eq(a.status, 303);
	answer_clear(&a);
	visit("/", NULL, NULL, &a);
	cr_expect_not_null(strstr(a.body.p, "Hello, Ada Lovelace"));
	answer_clear(&a);
}

static void
expect_reply(unsigned seed)
{
	char body[128], *want = model_text(seed, 1200);
	struct answer a;
	snprintf(body, sizeof body,
	    "{\"question\":\"[[text=1200 chunk=30 seed=%u]] go\"}", seed);
	visit("/chat.php", "application/json", body, &a);
	cr_expect_eq(a.status, 200);
	cr_expect(a.body.p && strcmp(a.body.p, want) == 0, "%s", a.body.p);
	answer_clear(&a);
	free(want);
}

#define ADAS                                           \
	" FROM auth.sessions s JOIN auth.users u ON"   \
	" u.id = s.user_id WHERE u.external_id = '17'" \
	" AND u.issuer = 'https://club.example'"

Test(php_example, a_member_chats_on_the_sites_page)
{
	char before[32], after[32];
	struct answer a;
	site_start();
	sign_in();
	expect_reply(21);
	db_value("SELECT count(*)" ADAS, NULL, before, sizeof before);
	expect_reply(22);
	sleep(6); /* past the access token's 5 s: it is refreshed */
	expect_reply(23);
	db_value("SELECT count(*)" ADAS, NULL, after, sizeof after);
	cr_expect_str_eq(after, before, "one session for all of it");
	db_value("SELECT max(rt_gen)" ADAS, NULL, after, sizeof after);
	cr_expect_str_neq(after, "0");

	/* Ended from outside: the site signs the member in anew. */
	db_value("UPDATE auth.users SET session_epoch = session_epoch + 1"
		 " WHERE external_id = '17'",
	    NULL, after, sizeof after);
	sleep(6);
	expect_reply(24);

	snprintf(site.csrf, sizeof site.csrf, "forged");
	visit("/chat.php", "application/json", "{\"question\":\"x\"}", &a);
	cr_expect_eq(a.status, 400, "another site's page");
	answer_clear(&a);
	kill(site.pid, SIGTERM);
}
