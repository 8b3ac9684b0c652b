/*
 * natterd refuses at its start to work as a role that row level security does
 * not bind: one that owns tables, is a superuser or bypasses it, or may become
 * such a one. It exits with 78 and says how to mend it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin.h"
#include "servers.h"
#include "stack.h"
#include "stores.h"

static struct stores stores;

static void
begin(void)
{
	stores_start(&stores, NULL);
}

static void
end(void)
{
	stores_stop(&stores);
}

TestSuite(roles, .init = begin, .fini = end, .timeout = 120);

static bool
has_ended(void *arg)
{
	const struct stack *s = arg;

	return !process_runs(s->natterd);
}

/* natterd's log, to be freed. */
static char *
log_of(const struct stack *s)
{
	char *text = NULL;
	size_t room = 0;
	FILE *f = fopen(s->log, "r");

	cr_assert_not_null(f);
	if (getdelim(&text, &room, '\0', f) < 0)
		text[0] = '\0';
	fclose(f);
	return text;
}

static void
expect_refused(const char *role, const char *why)
{
	char *db = server_url_with(stores.postgres.url, "dbname", "natter");
	char *url = server_url_with(db, "user", role), *text;
	struct stack s;
	int status;

	stack_start(&s, &(struct stack_options){
			    .database_url = url, .may_not_start = true});
	cr_expect(wait_until(has_ended, &s, 60000), "%s", role);
	status = stack_end_natterd(&s, SIGTERM);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 78, "%s: %d",
	    role, status);
	text = log_of(&s);
	cr_expect_not_null(strstr(text, why), "%s: %s", role, text);
	cr_expect_not_null(
	    strstr(text, "name the role natter_app in DATABASE_URL"), "%s",
	    text);
	free(text);
	free(url);
	free(db);
	stack_stop(&s);
}

Test(roles, a_role_that_row_level_security_does_not_bind_is_refused_at_start)
{
	expect_refused("postgres", "the role postgres is postgres, which row "
				   "level security does not bind");
	expect_refused("natter_jobs", "the role natter_jobs is natter_jobs");
	expect_refused(
	    "natter_migrate", "the role natter_migrate may become natter_");
	server_sql(stores.postgres.url,
	    "CREATE ROLE half_owner LOGIN IN ROLE natter_app, natter_owner;"
	    "GRANT CONNECT ON DATABASE natter TO half_owner");
	expect_refused("half_owner", "the role half_owner owns ");
}

Test(roles, natter_app_is_refused_once_it_was_given_too_much)
{
	char *url = server_url_with(stores.postgres.url, "dbname", "natter");

	server_sql(url, "ALTER TABLE chat.workers OWNER TO natter_app");
	expect_refused("natter_app", "the role natter_app owns chat.workers");
	server_sql(url, "ALTER TABLE chat.workers OWNER TO natter_owner;"
			"ALTER TABLE chat.messages NO FORCE ROW LEVEL "
			"SECURITY");
	expect_refused("natter_app", "chat.messages holds what belongs to "
				     "users, but row level security is not "
				     "forced");
	free(url);
}
