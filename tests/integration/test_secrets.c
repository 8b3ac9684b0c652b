/*
 * Secrets: whatever goes wrong, no password, token, message, key or database
 * password is told by the log, by an answer, or by a command line.
 */
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "log_lines.h"
#include "promises.h"
#include "stack.h"
#include "stores.h"

#define KEY       "sk-canary-7d1f0a5b9c"
#define DB_SECRET "canary-db-4c0ffee1"
#define SPOKEN    "canary-words-0badf00d"
#define PASSWORD  "canary-pass-5ca1ab1e"

static struct stack stack;
static struct stores stores;

static void
teardown(void)
{
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(secrets, .fini = teardown, .timeout = 120);

/* Fails for each secret that the file holds. */
static void
expect_clean(const char *path, const char *const *secrets)
{
	struct buf all = {0};
	char part[65536];
	size_t n;
	FILE *f = fopen(path, "r");

	if (f == NULL)
		return; /* a process that has gone */
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_add(&all, part, n);
	fclose(f);
	if (all.n == 0)
		return; /* nothing: all.p is NULL then */
	for (; *secrets != NULL; secrets++)
		cr_expect(
		    memmem(all.p, all.n, *secrets, strlen(*secrets)) == NULL,
		    "%s tells %s", path, *secrets);
	buf_free(&all);
}

/* Of every process there is: whoever passes a secret on shows it there. */
static void
expect_clean_command_lines(const char *const *secrets)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	cr_assert_not_null(dir);
	while ((e = readdir(dir)) != NULL) {
		char path[300];

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
		expect_clean(path, secrets);
	}
	closedir(dir);
}

/* Posts and checks that the answer tells nothing. */
static void
post_clean(const struct person *p, const char *path, const char *json,
    const char *const *secrets)
{
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = p == NULL ? NULL : p->token,
	    .json = json};
	struct answer a;

	http_ask(&ask, &a);
	if (a.status >= 400)
		cr_expect_null(leak(&a, secrets), "%s tells %s: %s", path,
		    leak(&a, secrets), a.body.p);
	answer_clear(&a);
}

/* Everything that may go wrong with secrets in it. */
static void
misbehave(const struct person *p, const char *const *secrets)
{
	static const char *const said[] = {
	    "{\"content\":\"" SPOKEN "\"}",
	    "{\"content\":\"" SPOKEN "\",\"stream\":true}",
	    "{\"content\":\"[[status=401]] " SPOKEN "\"}",
	    "{\"content\":\"[[status=400]] " SPOKEN "\",\"stream\":true}",
	    "{\"content\":\"[[garbage=1]] " SPOKEN "\"}",
	    "{\"content\":\"[[text=50 cut=1]] " SPOKEN "\"}",
	    "{\"content\":\"" SPOKEN "\",\"parent_id\":\"" SPOKEN "\"}",
	    "{\"content\":\"" SPOKEN "\",\"model\":\"a b\"}",
	    "{\"content\":\"" SPOKEN "\"",
	    "{\"content\":\"" SPOKEN "\",\"metadata\":{\"a\":1e400}}",
	};
	static const char *const credentials[] = {
	    "{\"username\":\"nobody\",\"password\":\"" PASSWORD "\"}",
	    "{\"username\":\"two words\",\"password\":\"" PASSWORD "\"}",
	    "{\"username\":\"nobody\",\"password\":\"" PASSWORD "\",\"x\":1}",
	    "{\"username\":\"nobody\",\"password\":\"" PASSWORD "\"",
	    "{\"refresh_token\":\"" PASSWORD "\"}",
	};
	char path[128];

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p->conversation);
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		post_clean(p, path, said[i], secrets);
	for (size_t i = 0; i < sizeof(credentials) / sizeof(*credentials);
	     i++) {
		post_clean(NULL, "/api/v1/auth/login", credentials[i], secrets);
		post_clean(
		    NULL, "/api/v1/auth/register", credentials[i], secrets);
		post_clean(
		    NULL, "/api/v1/auth/refresh", credentials[i], secrets);
	}
}

static bool
has_refused_to_reload(void *arg)
{
	return log_says(stack.log, arg);
}

Test(secrets, no_secret_is_told)
{
	char database[320];
	struct stack_options o = {.has_model = true,
	    .database_url = database,
	    .settings = {"CHAT_WORKERS=2", "CHAT_LOG_LEVEL=debug",
		"CHAT_MODEL_RETRIES=0", "OPENAI_API_KEY=" KEY}};
	struct person p;
	struct log_lines lines;
	const char *secrets[] = {
	    KEY, DB_SECRET, SPOKEN, PASSWORD, p.token, p.refresh, NULL};

	stores_start(&stores, NULL);
	snprintf(database, sizeof(database), "%s&password=" DB_SECRET,
	    getenv("DATABASE_URL"));
	stack_start(&stack, &o);
	person_make(&stack, &p);
	misbehave(&p, secrets);
	expect_clean_command_lines(secrets);
	server_stop(&stores.postgres, SIGINT);
	misbehave(&p, secrets);
	server_stop(&stores.redis, SIGKILL);
	misbehave(&p, secrets);
	/* A reload that is refused speaks of the settings. */
	stack_set(&stack, "OPENAI_API_KEY= " KEY " " KEY);
	stack_set(&stack, "DATABASE_URL=postgresql://u:" DB_SECRET "@[/x");
	kill(stack.natterd, SIGHUP);
	cr_expect(wait_until(has_refused_to_reload, "reload refused", 60000));
	cr_assert(server_start_again(&stores.postgres));
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	expect_clean(stack.log, secrets);
	log_lines_read(stack.log, &lines);
	cr_expect_gt(lines.n, 60);
	log_lines_clear(&lines);
}
