/*
 * The metrics: what is printed, that nothing is lost when many count at once,
 * in threads and in processes, and what is left of a worker that dies. And
 * the tests' own parser, without which none of it means anything.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "metrics_text.h"

#define BEGUN "natter_replies_begun_total"
#define DURATION(part, labels) \
	"natter_request_duration_seconds_" part "{" labels "}"

static struct buf text;

/* Scrapes; what is printed must always be fit. */
static const char *
scrape(void)
{
	const char *s;

	buf_clear(&text);
	metrics_write(&text);
	s = buf_text(&text);
	cr_assert_not(text.failed);
	cr_assert_null(metrics_fault(s), "%s", metrics_fault(s));
	return s;
}

static double
value(const char *series)
{
	return metrics_value(scrape(), series);
}

Test(metrics, everything_is_there_before_anything_happened)
{
	const char *s = scrape();

	cr_expect_eq(metrics_value(s, BEGUN), 0);
	cr_expect_eq(
	    metrics_value(s, "natter_errors_total{code=\"not_found\"}"), 0);
	cr_expect_eq(
	    metrics_value(s, "natter_cache_lookups_total{cache=\"stats\","
			     "result=\"miss\"}"),
	    0);
	cr_expect_eq(metrics_value(s, DURATION("count", "class=\"turn\"")), 0);
	cr_expect_eq(metrics_series(s, "natter_worker_up"), 0,
	    "a gauge without a worker");
	cr_expect_eq(metrics_series(s, "natter_requests_total{"), 30);
}

Test(metrics, counters_count_and_add)
{
	metrics_count(METRIC_REPLIES_BEGUN);
	metrics_count(METRIC_REPLIES_BEGUN);
	metrics_add(METRIC_REPLIES_BEGUN, 40);
	metrics_add(METRIC_REPLIES_BEGUN, 0);
	metrics_add(METRIC_REPLIES_BEGUN, -7);
	cr_expect_eq(value(BEGUN), 42);
	metrics_count(METRIC_LIMIT_USER_ADDRESS_REFUSED);
	cr_expect_eq(value("natter_limit_decisions_total{policy="
			   "\"address_per_minute\",decision=\"refused\"}"),
	    1);
	cr_expect_eq(metrics_sum(scrape(), "natter_limit_decisions_total{"), 1);
}

Test(metrics, a_duration_falls_into_every_bucket_that_it_fits)
{
	static const struct {
		uint64_t us;
		const char *first; /* the smallest bucket that has it */
	} cases[] = {
	    {0, "0.001"},
	    {1000, "0.001"},
	    {1001, "0.0025"},
	    {999999, "1"},
	    {1000000, "1"},
	    {1000001, "2.5"},
	    {300000000, "300"},
	    {300000001, "+Inf"},
	};
	char series[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double before, before_inf;

		snprintf(series, sizeof(series),
		    DURATION("bucket", "class=\"api\",le=\"%s\""),
		    cases[i].first);
		before = value(series);
		before_inf =
		    value(DURATION("bucket", "class=\"api\",le=\"+Inf\""));
		metrics_observe(HISTOGRAM_DURATION_API, cases[i].us);
		cr_expect_eq(value(series), before + 1, "%s", series);
		cr_expect_eq(
		    value(DURATION("bucket", "class=\"api\",le=\"+Inf\"")),
		    before_inf + 1);
	}
	cr_expect_eq(
	    value(DURATION("bucket", "class=\"api\",le=\"0.001\"")), 2);
	cr_expect_eq(value(DURATION("count", "class=\"api\"")), 8);
	cr_expect_float_eq(
	    value(DURATION("sum", "class=\"api\"")), 603.002001, 1e-6);
	cr_expect_eq(value(DURATION("count", "class=\"turn\"")), 0);
}

#define THREADS 8
#define EACH    50000

static void *
count_much(void *arg)
{
	for (int i = 0; i < EACH; i++) {
		metrics_count(METRIC_REPLIES_BEGUN);
		metrics_observe(HISTOGRAM_FIRST_TOKEN, (uint64_t)i);
		metrics_move(GAUGE_REPLIES, i % 2 == 0 ? 3 : -3);
	}
	return arg;
}

Test(metrics, threads_that_count_at_once_lose_nothing, .timeout = 60)
{
	pthread_t threads[THREADS];
	char bucket[] = "natter_reply_first_token_seconds_bucket{le=\"0.001\"}";

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(
		    pthread_create(&threads[i], NULL, count_much, NULL), 0);
	for (int i = 0; i < 20; i++)
		scrape(); /* fit in the midst of it, too */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(value(BEGUN), THREADS * EACH);
	cr_expect_eq(
	    value("natter_reply_first_token_seconds_count"), THREADS * EACH);
	cr_expect_eq(value(bucket), THREADS * 1001);
}

/* A worker that counts, shows three replies, says so, and waits to be killed.
 */
static pid_t
start_worker(int *out_end)
{
	int ends[2];
	pid_t pid;

	cr_assert_eq(pipe(ends), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		metrics_join(getpid());
		count_much(NULL);
		metrics_move(GAUGE_REPLIES, 3);
		if (write(ends[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ends[1]);
	*out_end = ends[0];
	return pid;
}

static void
bury(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	metrics_leave(pid);
}

Test(metrics, processes_count_together_and_gauges_end_with_them, .timeout = 60)
{
	pid_t pids[4];
	int ends[4];
	char byte;

	cr_assert(metrics_share());
	for (int i = 0; i < 4; i++)
		pids[i] = start_worker(&ends[i]);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(read(ends[i], &byte, 1), 1);
	cr_expect_eq(value(BEGUN), 4 * EACH);
	cr_expect_eq(metrics_sum(scrape(), "natter_worker_up{"), 4);
	cr_expect_eq(metrics_sum(scrape(), "natter_replies_in_flight{"), 12);
	for (int i = 0; i < 2; i++)
		bury(pids[i]);
	cr_expect_eq(value(BEGUN), 4 * EACH, "counters stay");
	cr_expect_eq(metrics_series(scrape(), "natter_worker_up{"), 2);
	cr_expect_eq(metrics_sum(scrape(), "natter_replies_in_flight{"), 6);
	/* Its successor takes the place, and begins at nothing. */
	pids[0] = start_worker(&ends[0]);
	cr_assert_eq(read(ends[0], &byte, 1), 1);
	cr_expect_eq(metrics_sum(scrape(), "natter_worker_up{"), 3);
	cr_expect_eq(metrics_sum(scrape(), "natter_replies_in_flight{"), 9);
	cr_expect_eq(value(BEGUN), 5 * EACH);
	metrics_leave(getpid()); /* no worker: nothing happens */
	bury(pids[0]);
	bury(pids[2]);
	bury(pids[3]);
	cr_expect_eq(metrics_series(scrape(), "natter_replies_in_flight{"), 0);
}

Test(metrics, more_workers_than_slots_only_lack_gauges)
{
	cr_assert(metrics_share());
	for (pid_t pid = 1; pid <= METRICS_WORKERS_MAX + 2; pid++)
		metrics_join(pid);
	cr_expect_eq(
	    metrics_series(scrape(), "natter_worker_up{"), METRICS_WORKERS_MAX);
	for (pid_t pid = 1; pid <= METRICS_WORKERS_MAX + 2; pid++)
		metrics_leave(pid);
	cr_expect_eq(metrics_series(scrape(), "natter_worker_up{"), 0);
}

#define HEAD(type) "# HELP a_total Help.\n# TYPE a_total " type "\n"

Test(metrics, the_tests_parser_takes_and_refuses)
{
	static const struct {
		const char *text;
		bool is_fit;
	} cases[] = {
	    {"", true},
	    {HEAD("counter") "a_total 1\n", true},
	    {HEAD("counter") "a_total{b=\"c\\\\\\\"\\n\",d=\"\"} 1.5\n", true},
	    {HEAD("gauge") "a_total -1\n", true},
	    {"# HELP a_total A \\\\ and \\n.\n# TYPE a_total gauge\n", true},
	    {HEAD("histogram") "a_total_bucket{le=\"1\"} 1\n"
			       "a_total_bucket{le=\"+Inf\"} 2\n"
			       "a_total_sum 3\na_total_count 2\n",
		true},
	    {HEAD("counter") "a_total 1", false},
	    {HEAD("counter") "a_total -1\n", false},
	    {HEAD("counter") "a_total 1\na_total 1\n", false},
	    {HEAD("counter") "a_total one\n", false},
	    {HEAD("counter") "a_total \n", false},
	    {HEAD("counter") "a_total{b=\"c} 1\n", false},
	    {HEAD("counter") "a_total{b=\"\\t\"} 1\n", false},
	    {HEAD("counter") "a_total{b=c} 1\n", false},
	    {HEAD("counter") "a_total{1b=\"c\"} 1\n", false},
	    {HEAD("counter") "b_total 1\n", false},
	    {HEAD("counter") "a_totally 1\n", false},
	    {HEAD("counter") "\na_total 1\n", false},
	    {HEAD("counter") HEAD("counter"), false},
	    {HEAD("untyped"), false},
	    {"# HELP a Help.\n# TYPE a counter\n", false},
	    {"# HELP a Help.\n# TYPE b counter\n", false},
	    {"# HELP a \\t.\n", false},
	    {"# HELP a_total Help.\na_total 1\n", false},
	    {HEAD("histogram") "a_total_bucket{le=\"1\"} 3\n"
			       "a_total_bucket{le=\"+Inf\"} 2\n",
		false},
	    {HEAD("histogram") "a_total_bucket{le=\"+Inf\"} 2\n"
			       "a_total_sum 3\na_total_count 3\n",
		false},
	    {HEAD("histogram") "a_total_bucket{le=\"1\"} 2\na_total_sum 3\n",
		false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *fault = metrics_fault(cases[i].text);

		cr_expect_eq(fault == NULL, cases[i].is_fit, "%s: %s",
		    cases[i].text, fault == NULL ? "taken" : fault);
	}
}
