/*
 * Prometheus's text format 0.0.4, read as strictly as it is written: for tests
 * of what GET /metrics says. Thread: any but metrics_fault (its answer is
 * static).
 */
#ifndef TESTS_METRICS_TEXT_H
#define TESTS_METRICS_TEXT_H

#include <stdint.h>

/*
 * What is wrong with `text`, NULL when nothing is: lines, names, labels and
 * their escapes, HELP and TYPE before a family's series, no series twice, no
 * family twice, histograms whose buckets grow up to their count.
 */
const char *metrics_fault(const char *text);

/* The value of a series, named as it is printed ("x_total{a=\"b\"}"); -1 when
 * it is not there. */
double metrics_value(const char *text, const char *series);

/* The sum of all series whose text begins so ("x_total{", "x{worker"). */
double metrics_sum(const char *text, const char *begin);

/* How many there are. */
int metrics_series(const char *text, const char *begin);

#endif
