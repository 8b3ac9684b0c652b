/*
 * GET /metrics of a whole host: two workers answer, either of them tells the
 * numbers of both, and a worker's death takes away what was its own alone.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "metrics_text.h"
#include "promises.h"
#include "redis_scratch.h"
#include "stack.h"
#include "stores.h"

#define EACH 40

static struct stack stack;
static struct stores stores;

static void
teardown(void)
{
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(metrics, .fini = teardown, .timeout = 120);

/* The text, which the caller frees; fit, or the test fails. */
static char *
scrape(void)
{
	struct ask ask = {.base = stack.base, .path = "/metrics"};
	struct answer a;
	char *text;

	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_header(&a, "Content-Type"),
	    "text/plain; version=0.0.4; charset=utf-8");
	cr_expect_str_eq(answer_header(&a, "Cache-Control"), "no-store");
	cr_expect_null(metrics_fault(a.body.p), "%s", metrics_fault(a.body.p));
	text = strdup(a.body.p);
	cr_assert_not_null(text);
	answer_clear(&a);
	return text;
}

static double
value(const char *series)
{
	char *text = scrape();
	double v = metrics_value(text, series);

	free(text);
	return v;
}

static double
sum(const char *begin)
{
	char *text = scrape();
	double v = metrics_sum(text, begin);

	free(text);
	return v;
}

/* A sum that is to come about. */
struct hope {
	const char *begin;
	double want;
};

static bool
sum_is(void *arg)
{
	const struct hope *hope = arg;
	double v = sum(hope->begin);

	return v >= hope->want && v <= hope->want;
}

/* Waits: a request is counted when it has been answered. */
static void
expect_sum(const char *begin, double want)
{
	struct hope hope = {begin, want};

	cr_expect(wait_until(sum_is, &hope, 60000), "%s: %g, wanted %g", begin,
	    sum(begin), want);
}

#define REQUESTS(class, status) \
	"natter_requests_total{class=\"" class "\",status=\"" status "\"}"

#define DURATION_COUNT(class) \
	"natter_request_duration_seconds_count{class=\"" class "\"}"

/* Asks for what no scrape counts, from several threads at once, so that both
 * workers have their share. */
static void *
ask_nowhere(void *arg)
{
	for (int i = 0; i < EACH; i++) {
		struct ask ask = {.base = stack.base, .path = "/api/v1/x"};
		struct answer a;

		http_ask(&ask, &a);
		cr_expect_eq(a.status, 404);
		answer_clear(&a);
	}
	return arg;
}

static void
ask_much(void)
{
	pthread_t threads[6];

	for (size_t i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, ask_nowhere, NULL);
	for (size_t i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
}

Test(metrics, what_two_workers_did_adds_up)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	struct person p;
	struct answer a;
	char *text;

	stack_start(&stack, &o);
	expect_sum("natter_worker_up{", 2);
	cr_expect_eq(value("natter_worker_starts_total"), 2);
	ask_much();
	expect_sum(REQUESTS("no_route", "4xx"), 6 * EACH);
	expect_sum(DURATION_COUNT("no_route"), 6 * EACH);
	person_make(&stack, &p);
	person_say(&stack, &p, "hello", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
	cr_expect_eq(
	    call_status(&stack, "GET", "/api/v1/me", "nonsense", NULL), 401);
	expect_sum("natter_replies_total{status=\"complete\"}", 1);
	expect_sum("natter_replies_in_flight{", 0);
	expect_sum(REQUESTS("open", "2xx"), 1);
	expect_sum(REQUESTS("turn", "2xx"), 1);
	expect_sum(REQUESTS("api", "4xx"), 1);
	text = scrape();
	cr_expect_eq(metrics_value(text, "natter_replies_begun_total"), 1);
	cr_expect_eq(metrics_sum(text, "natter_replies_to_store{"), 0);
	cr_expect_eq(
	    metrics_value(text, "natter_errors_total{code=\"token_invalid\"}"),
	    1);
	cr_expect_eq(
	    metrics_value(text, "natter_errors_total{code=\"no_route\"}"),
	    6 * EACH);
	cr_expect_eq(
	    metrics_value(text, "natter_reply_first_token_seconds_count"), 1);
	cr_expect_gt(
	    metrics_value(text, "natter_tokens_total{direction=\"in\"}"), 0);
	cr_expect_gt(
	    metrics_value(text, "natter_tokens_total{direction=\"out\"}"), 0);
	cr_expect_gt(metrics_value(text,
			 "natter_store_round_trips_total{store=\"postgres\"}"),
	    0);
	cr_expect_gt(metrics_value(text,
			 "natter_store_round_trips_total{store=\"redis\"}"),
	    0);
	cr_expect_eq(
	    metrics_value(text, "natter_store_failures_total{store=\"redis\"}"),
	    0);
	free(text);
}

static void *
say_long(void *arg)
{
	struct answer a;

	person_say(&stack, arg, "[[events=600 gap=100]] go", &a);
	answer_clear(&a);
	return NULL;
}

Test(metrics, a_killed_worker_takes_its_gauges_and_leaves_its_counts)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	static struct person people[8];
	pthread_t threads[8];
	pid_t pids[2];
	double requests;

	stack_start(&stack, &o);
	expect_sum("natter_worker_up{", 2);
	for (size_t i = 0; i < 8; i++)
		person_make(&stack, &people[i]);
	ask_much();
	for (size_t i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, say_long, &people[i]);
	expect_sum("natter_replies_in_flight{", 8);
	cr_assert_eq(stack_workers(&stack, pids, 2), 2);
	requests = sum("natter_requests_total{");
	kill(pids[0], SIGKILL);
	expect_sum("natter_worker_deaths_total", 1);
	cr_expect_geq(sum("natter_requests_total{"), requests);
	expect_sum("natter_worker_up{", 2);
	cr_expect_eq(value("natter_worker_starts_total"), 3);
	cr_expect_eq(value("natter_replies_begun_total"), 8);
	/* With the other one all the rest is gone, but not what was counted. */
	kill(pids[1], SIGKILL);
	expect_sum("natter_worker_deaths_total", 2);
	expect_sum("natter_worker_up{", 2);
	cr_expect_eq(sum("natter_replies_in_flight{"), 0);
	cr_expect_eq(value("natter_replies_begun_total"), 8);
	cr_expect_geq(sum("natter_requests_total{"), requests);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
}

Test(metrics, a_reload_keeps_the_counts)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	double requests;

	stack_start(&stack, &o);
	ask_nowhere(NULL);
	requests = sum("natter_requests_total{");
	stack_set(&stack, "CHAT_WORKERS=3");
	kill(stack.natterd, SIGHUP);
	expect_sum("natter_worker_starts_total", 4);
	expect_sum("natter_worker_up{", 3);
	cr_expect_gt(sum("natter_requests_total{"), requests);
	cr_expect_eq(value("natter_worker_deaths_total"), 0);
}

Test(metrics, stores_that_go_away_are_seen)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	char failed[] = "natter_store_failures_total{store=\"redis\"}";
	char away[] = "natter_store_failures_total{store=\"postgres\"}";

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	cr_expect_eq(sum("natter_redis_breakers_open{"), 0);
	server_stop(&stores.redis, SIGKILL);
	for (int i = 0; i < 4; i++)
		call_status(&stack, "GET", "/readyz", NULL, NULL);
	cr_expect_geq(value(failed), 4);
	cr_expect_geq(sum("natter_redis_breakers_open{"), 1);
	cr_assert(server_start_again(&stores.redis));
	for (int i = 0; i < 200 && sum("natter_redis_breakers_open{") > 0;
	     i++) {
		call_status(&stack, "GET", "/readyz", NULL, NULL);
		usleep(50000);
	}
	cr_expect_eq(sum("natter_redis_breakers_open{"), 0);
	server_stop(&stores.postgres, SIGINT);
	call_status(&stack, "GET", "/readyz", NULL, NULL);
	cr_expect_geq(value(away), 1);
}

/* curl's own words: the tests' client reads no answer without a body. */
Test(metrics, head_tells_the_length_and_nothing_else)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	struct ask ask = {.path = "/metrics", .method = "HEAD"};
	struct answer a;

	stack_start(&stack, &o);
	ask.base = stack.base;
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 200);
	cr_expect_eq(a.body.n, 0);
	cr_expect_gt(atol(answer_header(&a, "Content-Length")), 5000);
	answer_clear(&a);
	cr_expect_eq(call_status(&stack, "POST", "/metrics", NULL, NULL), 405);
}

Test(metrics, only_this_host_may_look)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"},
	    .http = "set_real_ip_from 127.0.0.1; "
		    "real_ip_header X-Forwarded-For;"};
	struct ask ask = {
	    .path = "/metrics", .headers = {"X-Forwarded-For: 192.0.2.7"}};
	struct answer a;

	stack_start(&stack, &o);
	ask.base = stack.base;
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 403, "%ld %s", a.status, a.body.p);
	cr_expect_null(strstr(a.body.p, "natter_"));
	answer_clear(&a);
	free(scrape());
}

/* To nginx, all that a proxy beside it forwards comes from this host. */
Test(metrics, what_a_proxy_forwards_is_refused)
{
	static const char *const headers[] = {
	    "X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"};
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};

	stack_start(&stack, &o);
	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
		struct ask ask = {.base = stack.base,
		    .path = "/metrics",
		    .headers = {headers[i]}};
		struct answer a;

		http_ask(&ask, &a);
		cr_expect_eq(a.status, 403);
		cr_expect_str_eq(answer_text(&a, "code"), "forbidden");
		answer_clear(&a);
	}
	free(scrape());
}
