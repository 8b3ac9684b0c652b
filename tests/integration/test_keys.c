/*
 * A new signing key under load, from natterctl's first step to the old key's
 * end: whole processes behind nginx, each step followed by a reload. Number 33
 * of the adversarial list of the specification.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/keyring_file.h"
#include "stack.h"

#define CLIENTS 6
#define WORKERS 2
#define STEPS   40 /* of each client, at least, after each change */

static struct stack stack;
static char dir[64], ring[96];
static struct person people[CLIENTS];
static atomic_bool is_over;
static atomic_int n_bad, n_good[CLIENTS];

static void
setup(void)
{
	char why[KEYRING_WHY] = "";
	(void)snprintf(dir, sizeof dir, "/tmp/natter-keys-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(ring, sizeof ring, "%s/ring", dir);
	cr_assert_eq(keyring_create(ring, why), OK, "%s", why);
	(void)setenv("NATTER_KEYS_FILE", ring, 1);
}

static void
teardown(void)
{
	stack_stop(&stack);
	(void)unlink(ring);
	(void)rmdir(dir);
}

TestSuite(keys, .init = setup, .fini = teardown, .timeout = 120);

static long
ask_me(const struct person *p, char code[static 64])
{
	struct ask ask = {
	    .base = stack.base, .path = "/api/v1/me", .token = p->token};
	struct answer a;
	http_ask(&ask, &a);
	(void)snprintf(code, 64, "%s", answer_text(&a, "code"));
	long status = a.status;
	answer_clear(&a);
	return status;
}

/* Refreshes and takes the new tokens. */
static long
refresh(struct person *p)
{
	char json[512];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/refresh",
	    .json = json};
	struct answer a;
	(void)snprintf(
	    json, sizeof json, "{\"refresh_token\":\"%s\"}", p->refresh);
	http_ask(&ask, &a);
	long status = a.status;
	if (status == 200) {
		(void)snprintf(p->token, sizeof p->token, "%s",
		    answer_text(&a, "access_token"));
		(void)snprintf(p->refresh, sizeof p->refresh, "%s",
		    answer_text(&a, "refresh_token"));
	}
	answer_clear(&a);
	return status;
}

static void
count(const struct person *p, long status, const char *what)
{
	if (status != 200)
		fprintf(stderr, "%s: %ld\n", what, status);
	atomic_fetch_add(status == 200 ? &n_good[p - people] : &n_bad, 1);
}

static void *
go_on(void *arg)
{
	struct person *p = arg;
	char code[64];
	for (int i = 0; !atomic_load(&is_over); i++) {
		count(p, ask_me(p, code), "me");
		if (i % 16 == 15)
			count(p, refresh(p), "refresh");
	}
	return NULL;
}

static bool
have_gone_on(void *arg)
{
	const int *from = arg;
	for (int i = 0; i < CLIENTS; i++) {
		if (atomic_load(&n_good[i]) < from[i] + STEPS)
			return false;
	}
	return true;
}

/* Until all clients were served so often: as long as that takes. */
static void
let_go_on(void)
{
	int from[CLIENTS];
	for (int i = 0; i < CLIENTS; i++)
		from[i] = atomic_load(&n_good[i]);
	cr_assert(wait_until(have_gone_on, from, 60000));
}

struct generation {
	pid_t old[WORKERS];
};

/* Are there two workers, and none of the old ones? */
static bool
is_replaced(void *arg)
{
	const struct generation *g = arg;
	pid_t now[8];
	size_t n = stack_workers(&stack, now, 8);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < WORKERS; k++) {
			if (now[i] == g->old[k])
				return false;
		}
	}
	return n == WORKERS;
}

static void
reload(void)
{
	struct generation g = {{0}};
	cr_assert_eq(stack_workers(&stack, g.old, WORKERS), WORKERS);
	kill(stack.natterd, SIGHUP);
	cr_assert(wait_until(is_replaced, &g, 60000));
}

/* The kid in a token's header. */
static bool
is_signed_by(const struct person *p, const char *kid)
{
	char header[256], want[64];
	unsigned char bytes[256];
	size_t n = strcspn(p->token, ".");
	(void)snprintf(header, sizeof header, "%.*s", (int)n, p->token);
	(void)snprintf(want, sizeof want, "\"kid\":\"%s\"", kid);
	for (size_t i = 0; i <= n / 4; i++) {
		static const char digits[] =
		    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		    "0123456789-_";
		uint32_t v = 0;
		for (size_t k = 0; k < 4; k++) {
			const char *at = i * 4 + k < n
					     ? strchr(digits, header[i * 4 + k])
					     : digits;
			v = v << 6 | (uint32_t)(at - digits);
		}
		bytes[i * 3] = (unsigned char)(v >> 16);
		bytes[i * 3 + 1] = (unsigned char)(v >> 8);
		bytes[i * 3 + 2] = (unsigned char)v;
	}
	bytes[n / 4 * 3 + 3] = '\0';
	return strstr((char *)bytes, want) != NULL;
}

Test(keys, n33_a_key_comes_and_goes_under_load_without_a_401)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	struct keyring_rotation added, promoted;
	struct person old;
	pthread_t threads[CLIENTS];
	char why[KEYRING_WHY] = "", code[64];
	stack_start(&stack, &o);
	person_make(&stack, &old);
	for (int i = 0; i < CLIENTS; i++)
		person_make(&stack, &people[i]);
	for (int i = 0; i < CLIENTS; i++)
		pthread_create(&threads[i], NULL, go_on, &people[i]);

	let_go_on();
	cr_assert_eq(keyring_rotate(ring, 1, &added, why), OK, "%s", why);
	reload();
	let_go_on();
	cr_assert_eq(keyring_rotate(ring, 2, &promoted, why), OK, "%s", why);
	reload();
	let_go_on();
	atomic_store(&is_over, true);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(atomic_load(&n_bad), 0);

	cr_expect(is_signed_by(&old, promoted.old));
	cr_assert_eq(refresh(&people[0]), 200);
	cr_expect(is_signed_by(&people[0], promoted.kid));
	cr_expect_eq(ask_me(&old, code), 200, "the old key still verifies");
	cr_assert_eq(keyring_retire(ring, promoted.old, INT64_MAX, why), OK);
	reload();
	cr_expect_eq(ask_me(&old, code), 401);
	cr_expect_str_eq(code, "token_invalid");
	cr_expect_eq(refresh(&old), 401);
	cr_expect_eq(ask_me(&people[0], code), 200);
}
