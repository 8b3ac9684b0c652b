/*
 * Counters, gauges and histograms of a host, of which metrics.def has the
 * rows. Workers are processes, and one scrape must see all of them: the master
 * makes one shared mapping before it forks, so that counters outlive workers.
 * Gauges lie in a slot for each worker and end with it. A process without a
 * master (natterctl, a test) counts for itself.
 *
 * Updates are relaxed atomics: no lock, no allocation, no call to the system,
 * some 10 ns. What is scraped is therefore no instant's picture: two numbers
 * that change together may differ by the requests of that moment.
 *
 * Thread: any; metrics_share, metrics_join and metrics_leave before there are
 * threads.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

/* Workers at once, of all generations; one that finds no slot has no gauges. */
#define METRICS_WORKERS_MAX 1024

enum metric {
#define FAMILY(name, type, help)
#define COUNTER(NAME, labels) METRIC_##NAME,
#define GAUGE(NAME, labels)
#define HISTOGRAM(NAME, labels)
#include "base/metrics.def"
#undef COUNTER
#define COUNTER(NAME, labels)
	METRIC__MAX
};

enum metric_gauge {
#undef GAUGE
#define GAUGE(NAME, labels) GAUGE_##NAME,
#include "base/metrics.def"
#undef GAUGE
#define GAUGE(NAME, labels)
	GAUGE__MAX
};

enum metric_histogram {
#undef HISTOGRAM
#define HISTOGRAM(NAME, labels) HISTOGRAM_##NAME,
#include "base/metrics.def"
#undef HISTOGRAM
#undef GAUGE
#undef COUNTER
#undef FAMILY
	HISTOGRAM__MAX
};

/* One more of it, or `n` more (nothing for n < 1). */
void metrics_count(enum metric m);
void metrics_add(enum metric m, int64_t n);

/* Moves a gauge of this worker up or down. */
void metrics_move(enum metric_gauge g, int64_t by);

/* It took so long. */
void metrics_observe(enum metric_histogram h, uint64_t us);

/* Makes the mapping that all children of this process share; false: no
 * memory. */
bool metrics_share(void);

/* This process becomes worker `pid`: its gauges have a slot from now on. */
void metrics_join(pid_t pid);

/* Worker `pid` has died and was reaped: its gauges go. */
void metrics_leave(pid_t pid);

/* Appends all of it in Prometheus's text format 0.0.4. */
void metrics_write(struct buf *out);

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
