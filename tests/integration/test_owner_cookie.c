/*
 * The owner of an account, whose browser is known by its __Host-did cookie
 * alone, signs in through nginx while others guess. Number 28 of the
 * adversarial list; its other half, devices in bodies, is in test_guessing.c.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "stack.h"

#define GUESSERS 20
#define GUESSES  10 /* of each */

static struct stack stack;
static char username[64], jar[] = "/tmp/natter-jar-XXXXXX";
static atomic_int left;

static void
setup(void)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", "CHAT_LOGIN_ADDRESS_RATE=10000"}};

	close(mkstemp(jar));
	stack_start(&stack, &o);
}

static void
teardown(void)
{
	stack_stop(&stack);
	unlink(jar);
}

TestSuite(owner_cookie, .init = setup, .fini = teardown, .timeout = 120);

/* As a page of the site asks, with the cookies of a jar; NULL: with none. */
static long
enter(const char *path, const char *password, const char *cookies)
{
	char json[256];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = json,
	    .jar = cookies,
	    .headers = {"X-Natter-Client: web", "Sec-Fetch-Site: same-origin"}};
	struct answer a;
	long status;

	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"%s\",\"cookie\":true}",
	    username, password);
	http_ask(&ask, &a);
	status = a.status;
	answer_clear(&a);
	return status;
}

static long
log_in(const char *password, const char *cookies)
{
	return enter("/api/v1/auth/login", password, cookies);
}

static void *
guess(void *arg)
{
	(void)arg;
	for (int i = 0; i < GUESSES; i++) {
		long status = log_in("wrong horse battery", NULL);

		cr_expect(status == 401 || status == 429, "%ld", status);
		atomic_fetch_sub(&left, 1);
	}
	return NULL;
}

Test(owner_cookie, n28_the_owners_browser_gets_in_among_200_guesses)
{
	pthread_t threads[GUESSERS];
	struct person p;

	/* A name that is new; its session is not needed. */
	person_make(&stack, &p);
	snprintf(username, sizeof(username), "owner-%.40s",
	    p.username + strlen("person-"));
	cr_assert_eq(
	    enter("/api/v1/auth/register", "correct horse battery", jar), 201);
	atomic_store(&left, GUESSERS * GUESSES);
	for (size_t i = 0; i < GUESSERS; i++)
		pthread_create(&threads[i], NULL, guess, NULL);
	do
		cr_expect_eq(log_in("correct horse battery", jar), 200);
	while (atomic_load(&left) > 0);
	for (size_t i = 0; i < GUESSERS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(log_in("correct horse battery", NULL), 429,
	    "another browser waits");
	cr_expect_eq(log_in("correct horse battery", jar), 200);
}
