/*
 * What counting costs: prints nanoseconds per call for one process alone and
 * for several that count the same at once, and per scrape. Run it by hand;
 * nothing depends on its numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/metrics.h"

#define ROUNDS  5000000
#define SCRAPES 1000

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
bench(const char *who)
{
	double began = now_ns(), counted, observed, moved;

	for (int i = 0; i < ROUNDS; i++)
		metrics_count(METRIC_REDIS_TRIPS);
	counted = now_ns();
	for (int i = 0; i < ROUNDS; i++)
		metrics_observe(HISTOGRAM_DURATION_API, (uint64_t)i % 100000);
	observed = now_ns();
	for (int i = 0; i < ROUNDS; i++)
		metrics_move(GAUGE_REPLIES, 1);
	moved = now_ns();
	printf("%s: count %.1f ns, observe %.1f ns, move %.1f ns\n", who,
	    (counted - began) / ROUNDS, (observed - counted) / ROUNDS,
	    (moved - observed) / ROUNDS);
	fflush(stdout);
}

static void
bench_processes(int n)
{
	char who[32];

	snprintf(who, sizeof(who), "one of %d processes", n);
	for (int i = 0; i < n; i++) {
		if (fork() == 0) {
			metrics_join(getpid());
			bench(who);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		continue;
}

int
main(void)
{
	struct buf text = {0};
	double began;

	if (!metrics_share())
		return 1;
	bench("alone");
	bench_processes(2);
	bench_processes(8);
	began = now_ns();
	for (int i = 0; i < SCRAPES; i++) {
		buf_clear(&text);
		metrics_write(&text);
	}
	printf("scrape of %zu bytes: %.1f us\n", text.n,
	    (now_ns() - began) / SCRAPES / 1000);
	buf_free(&text);
	return 0;
}
