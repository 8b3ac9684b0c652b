/*
 * Guessing passwords through nginx with several workers: whose address counts,
 * and who still gets in. Numbers in the names are those of the adversarial
 * list.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/id.h"
#include "calls.h"
#include "stack.h"
#include "stores.h"

#define THREADS  8
#define RATE     20 /* failures a minute from one address */
#define GUESSERS 20
#define GUESSES  10 /* of each */
#define DEVICE   "a-device-id-of-22-chars-or-more"

static struct stack stack;
static struct stores stores;

static void
open_world(const char *rate, const char *site)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", rate, "CHAT_HASH_SLOTS=4"},
	    .site = site};
	char *url;

	stores_start(&stores, NULL);
	url = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", url, 1);
	free(url);
	stack_start(&stack, &o);
}

static void
teardown(void)
{
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(guessing, .fini = teardown, .timeout = 180);

static long
log_in(const char *username, const char *password, const char *header)
{
	char json[256];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/login",
	    .json = json,
	    .headers = {header}};
	struct answer a;
	long status;

	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"%s\"}", username, password);
	http_ask(&ask, &a);
	status = a.status;
	if (status == 429)
		cr_expect_not_null(answer_header(&a, "Retry-After"));
	answer_clear(&a);
	return status;
}

/* ---- 27: one client, however it calls itself ---- */

/* The X-Forwarded-For of try number `i`. */
typedef void (*forward_fn)(int i, char *out, size_t size);

static struct {
	forward_fn forward;
	int tries;
	atomic_int next, verified, throttled, others;
} spoof;

static void *
keep_guessing(void *arg)
{
	char name[ID_TEXT], header[160];
	int i;

	(void)arg;
	while ((i = atomic_fetch_add(&spoof.next, 1)) < spoof.tries) {
		size_t n = strlen("X-Forwarded-For: ");
		long status;

		memcpy(header, "X-Forwarded-For: ", n);
		spoof.forward(i, header + n, sizeof(header) - n);
		id_make(name); /* so that no account is what throttles */
		status = log_in(name, "wrong horse battery", header);
		atomic_fetch_add(status == 401   ? &spoof.verified
				 : status == 429 ? &spoof.throttled
						 : &spoof.others,
		    1);
	}
	return NULL;
}

static long
addresses_known(void)
{
	char n[16];

	db_value("SELECT count(*) FROM auth.login_throttle WHERE kind ="
		 " 'address'",
	    NULL, n, sizeof(n));
	return atol(n);
}

/* All tries count for one address, which has RATE and what time gives back. */
static void
expect_one_bucket(forward_fn forward, int tries)
{
	pthread_t threads[THREADS];
	uint64_t began = clock_mono_ms();
	long given_back;

	spoof.forward = forward;
	spoof.tries = tries;
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, keep_guessing, NULL);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	given_back = (long)((clock_mono_ms() - began) * RATE / 60000) + 1;
	cr_expect_eq(atomic_load(&spoof.others), 0);
	cr_expect_geq(atomic_load(&spoof.verified), RATE);
	cr_expect_leq(atomic_load(&spoof.verified), RATE + given_back);
	cr_expect_eq(addresses_known(), 1);
}

static void
another_each_time(int i, char *out, size_t size)
{
	snprintf(out, size, "203.0.%d.%d", i / 250, i % 250 + 1);
}

/* What a client claims, and then what the site's own proxy saw. */
static void
another_behind_a_proxy(int i, char *out, size_t size)
{
	snprintf(out, size, "203.0.%d.%d, 198.51.100.7", i / 250, i % 250 + 1);
}

static void
another_of_the_same_64(int i, char *out, size_t size)
{
	snprintf(out, size, "2001:db8:1:2:%x:%x::%x", i, i * 7 + 1, i + 1);
}

static void
mapped_or_not(int i, char *out, size_t size)
{
	snprintf(out, size, i % 2 ? "::ffff:198.51.100.9" : "198.51.100.9");
}

#define PROXIED                                                       \
	"set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;" \
	"real_ip_recursive on;"

Test(guessing, n27_a_spoofed_forwarded_for_is_not_believed)
{
	open_world("CHAT_LOGIN_ADDRESS_RATE=20", NULL);
	expect_one_bucket(another_each_time, 1000);
}

Test(guessing, n27_nor_behind_the_sites_own_proxy)
{
	open_world("CHAT_LOGIN_ADDRESS_RATE=20", PROXIED);
	expect_one_bucket(another_behind_a_proxy, 1000);
}

Test(guessing, n27_a_thousand_addresses_of_one_64_are_one_client)
{
	open_world("CHAT_LOGIN_ADDRESS_RATE=20", PROXIED);
	expect_one_bucket(another_of_the_same_64, 1000);
}

Test(guessing, n27_a_mapped_address_is_the_plain_one)
{
	open_world("CHAT_LOGIN_ADDRESS_RATE=20", PROXIED);
	expect_one_bucket(mapped_or_not, 200);
}

/* ---- 28: the owner among guessers ---- */

static struct {
	const char *username;
	atomic_int verified, throttled, others, left;
} attack;

static void *
guess(void *arg)
{
	(void)arg;
	for (int i = 0; i < GUESSES; i++) {
		long status =
		    log_in(attack.username, "wrong horse battery", NULL);

		atomic_fetch_add(status == 401   ? &attack.verified
				 : status == 429 ? &attack.throttled
						 : &attack.others,
		    1);
		atomic_fetch_sub(&attack.left, 1);
	}
	return NULL;
}

Test(guessing, n28_the_owners_device_gets_in_among_200_guesses)
{
	pthread_t threads[GUESSERS];
	struct person owner;
	char password[80];
	uint64_t began;
	int during = 0;

	/* So that the address is not what stops them. */
	open_world("CHAT_LOGIN_ADDRESS_RATE=10000", NULL);
	person_make(&stack, &owner);
	snprintf(password, sizeof(password), "correct horse %s",
	    owner.username + strlen("person-"));
	cr_assert_eq(
	    log_in(owner.username, password, "X-Natter-Device: " DEVICE), 200);
	attack.username = owner.username;
	atomic_store(&attack.left, GUESSERS * GUESSES);
	began = clock_mono_ms();
	for (size_t i = 0; i < GUESSERS; i++)
		pthread_create(&threads[i], NULL, guess, NULL);
	do {
		cr_expect_eq(log_in(owner.username, password,
				 "X-Natter-Device: " DEVICE),
		    200);
		during++;
	} while (atomic_load(&attack.left) > 0);
	for (size_t i = 0; i < GUESSERS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(atomic_load(&attack.others), 0);
	/* Five, and one for every 30 s that all this took. */
	cr_expect_geq(atomic_load(&attack.verified), 5);
	cr_expect_leq(atomic_load(&attack.verified),
	    5 + (int)((clock_mono_ms() - began) / 30000));
	cr_expect_eq(log_in(owner.username, password, NULL), 429,
	    "from elsewhere even the right one waits");
	cr_expect_eq(
	    log_in(owner.username, password, "X-Natter-Device: " DEVICE), 200);
	fprintf(stderr, "%d sign-ins of the owner meanwhile\n", during);
}

/* Those who are signed in, or not at all, do not notice. */
Test(guessing, forged_tokens_are_limited_where_pages_are_guarded)
{
	struct person p;
	int refused = 0;

	open_world("CHAT_ADDRESS_RATE_PER_MINUTE=30", NULL);
	person_make(&stack, &p);
	for (int i = 0; i < 60; i++) {
		long status = call_verify(&stack, "not.a.token");

		cr_expect(status == 401 || status == 429, "%ld", status);
		refused += status == 429;
		cr_expect_eq(call_verify(&stack, p.token), 204);
		cr_expect_eq(call_verify(&stack, NULL), 401);
	}
	cr_expect_gt(refused, 10);
	cr_expect_lt(refused, 45);
}
