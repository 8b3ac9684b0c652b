/*
 * A worker that is killed between a commit and its answer: the client asks
 * again and is not punished. Number 9 of the adversarial list. A gate between
 * natterd and Postgres keeps the commit's answer back for as long as it takes
 * to see the commit and to kill the worker, so nothing here is luck.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "pg_gate.h"
#include "stack.h"
#include "stores.h"

static struct stack stack;
static struct stores stores;
static struct pg_gate *gate;

static void
setup(void)
{
	char url[128], *root;
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1"}, .database_url = url};

	stores_start(&stores, NULL);
	root = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", root, 1); /* past the gate */
	free(root);
	gate = pg_gate_open(stores.postgres.folder);
	snprintf(url, sizeof(url),
	    "postgresql:///natter?host=%s&user=natter_app",
	    pg_gate_folder(gate));
	stack_start(&stack, &o);
}

static void
teardown(void)
{
	stack_stop(&stack);
	pg_gate_close(gate);
	stores_stop(&stores);
}

TestSuite(lost_answer, .init = setup, .fini = teardown, .timeout = 120);

struct asker {
	pthread_t thread;
	const char *token;
	struct exchanged got;
};

static void *
ask(void *arg)
{
	struct asker *a = arg;

	call_refresh(&stack, a->token, &a->got);
	return NULL;
}

struct goal {
	const char *username;
	long generation;
};

static bool
is_committed(void *arg)
{
	const struct goal *g = arg;

	return session_generation(g->username) == g->generation;
}

static bool
serves(void *arg)
{
	(void)arg;
	return call_status(&stack, "GET", "/readyz", NULL, NULL) == 200;
}

/* Exchanges the token; the worker dies before it can say so. */
static void
lose_the_answer(const struct person *p, const char *token)
{
	struct goal goal = {p->username, session_generation(p->username) + 1};
	struct asker a = {.token = token};
	pid_t worker = 0;

	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	pg_gate_shut(gate);
	pthread_create(&a.thread, NULL, ask, &a);
	cr_assert(wait_until(is_committed, &goal, 60000));
	kill(worker, SIGKILL);
	pthread_join(a.thread, NULL);
	pg_gate_let(gate);
	cr_expect_eq(a.got.status, 503, "%ld", a.got.status);
	cr_expect_str_eq(a.got.refresh, "");
	cr_expect_geq(a.got.retry_after, 1);
	cr_assert(wait_until(serves, NULL, 60000));
}

Test(lost_answer, n9_the_client_that_asks_again_gets_the_same_successor)
{
	static const char token_of[] =
	    "SELECT s.access_jti::text FROM auth.sessions s JOIN auth.users u"
	    " ON u.id = s.user_id WHERE u.username = $1";
	struct person p;
	struct exchanged first, again, next;
	char lost[64], kept[64];

	person_make(&stack, &p);
	call_refresh(&stack, p.refresh, &first); /* connects the front */
	cr_assert_eq(first.status, 200);
	lose_the_answer(&p, first.refresh);
	db_value(token_of, p.username, lost, sizeof(lost));
	sleep(5);
	call_refresh(&stack, first.refresh, &again);
	cr_assert_eq(again.status, 200, "%s", again.code);
	db_value(token_of, p.username, kept, sizeof(kept));
	cr_expect_str_eq(kept, lost, "the access token that was lost");
	cr_expect_eq(session_generation(p.username), 2);
	call_refresh(&stack, first.refresh, &next);
	cr_expect_str_eq(next.refresh, again.refresh);
	cr_expect_str_eq(next.access, again.access);
	cr_expect_eq(call_verify(&stack, again.access), 204);
	call_refresh(&stack, again.refresh, &next);
	cr_expect_eq(next.status, 200);
	cr_expect_eq(session_generation(p.username), 3);
}
