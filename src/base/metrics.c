/*
 * Where the numbers lie and how they are printed. Owns the mapping; knows of
 * no metric in particular but GAUGE_UP, which says that a worker is there.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "base/metrics.h"

/* Upper bounds of the buckets: requests take 1 ms, replies up to 5 minutes. */
static const struct {
	uint64_t us;
	const char *le;
} bounds[] = {
    {1000, "0.001"},
    {2500, "0.0025"},
    {5000, "0.005"},
    {10000, "0.01"},
    {25000, "0.025"},
    {50000, "0.05"},
    {100000, "0.1"},
    {250000, "0.25"},
    {500000, "0.5"},
    {1000000, "1"},
    {2500000, "2.5"},
    {5000000, "5"},
    {10000000, "10"},
    {30000000, "30"},
    {60000000, "60"},
    {300000000, "300"},
    {UINT64_MAX, "+Inf"},
};
#define N_BOUNDS (sizeof(bounds) / sizeof(*bounds))

struct histogram {
	_Atomic uint64_t counts[N_BOUNDS]; /* each bucket's own */
	_Atomic uint64_t sum_us;
};

/* A worker's gauges, on cache lines of their own. */
struct slot {
	_Alignas(64) _Atomic int64_t pid; /* 0: nobody's */
	_Atomic int64_t gauges[GAUGE__MAX];
};

/* Zeroed, it is empty. */
struct metrics {
	_Atomic uint64_t counters[METRIC__MAX];
	struct histogram histograms[HISTOGRAM__MAX];
	struct slot slots[METRICS_WORKERS_MAX];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2,
    "an atomic with a lock would not work between processes");

static struct metrics own; /* of a process without a master */
static struct metrics *metrics = &own;

static struct slot nowhere; /* of a process that is no worker */
static struct slot *slot = &nowhere;

enum row_kind { ROW_FAMILY, ROW_COUNTER, ROW_GAUGE, ROW_HISTOGRAM };

/* metrics.def. */
static const struct row {
	enum row_kind kind;
	unsigned at;                    /* a series: its place in its array */
	const char *labels;             /* a series */
	const char *name, *type, *help; /* a family */
} rows[] = {
#define FAMILY(n, t, h)    {.name = (n), .type = (t), .help = (h)},
#define COUNTER(NAME, l)   {ROW_COUNTER, METRIC_##NAME, .labels = (l)},
#define GAUGE(NAME, l)     {ROW_GAUGE, GAUGE_##NAME, .labels = (l)},
#define HISTOGRAM(NAME, l) {ROW_HISTOGRAM, HISTOGRAM_##NAME, .labels = (l)},
#include "base/metrics.def"
#undef FAMILY
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};
#define N_ROWS (sizeof(rows) / sizeof(*rows))

void
metrics_count(enum metric m)
{
	atomic_fetch_add_explicit(
	    &metrics->counters[m], 1, memory_order_relaxed);
}

void
metrics_add(enum metric m, int64_t n)
{
	if (n > 0)
		atomic_fetch_add_explicit(
		    &metrics->counters[m], (uint64_t)n, memory_order_relaxed);
}

void
metrics_move(enum metric_gauge g, int64_t by)
{
	atomic_fetch_add_explicit(&slot->gauges[g], by, memory_order_relaxed);
}

void
metrics_observe(enum metric_histogram h, uint64_t us)
{
	struct histogram *to = &metrics->histograms[h];
	size_t i = 0;

	while (us > bounds[i].us)
		i++;
	atomic_fetch_add_explicit(&to->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&to->sum_us, us, memory_order_relaxed);
}

bool
metrics_share(void)
{
	void *p = mmap(NULL, sizeof(*metrics), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	metrics = p;
	return true;
}

/* Gives slot `s` to `to` if it is `from`'s; 0 is nobody. */
static bool
pass_on(struct slot *s, int64_t from, int64_t to)
{
	return atomic_compare_exchange_strong(&s->pid, &from, to);
}

void
metrics_join(pid_t pid)
{
	for (size_t i = 0; i < METRICS_WORKERS_MAX; i++) {
		if (!pass_on(&metrics->slots[i], 0, pid))
			continue;
		slot = &metrics->slots[i];
		metrics_move(GAUGE_UP, 1);
		return;
	}
}

void
metrics_leave(pid_t pid)
{
	for (size_t i = 0; i < METRICS_WORKERS_MAX; i++) {
		struct slot *s = &metrics->slots[i];

		if (atomic_load(&s->pid) != pid)
			continue;
		for (size_t g = 0; g < GAUGE__MAX; g++)
			atomic_store(&s->gauges[g], 0);
		atomic_store(&s->pid, 0); /* last: then another may have it */
		return;
	}
}

/* As text of HELP: a line break would begin a line of its own. */
static void
write_help(struct buf *out, const char *help)
{
	for (const char *p = help; *p != '\0'; p++) {
		if (*p == '\\')
			buf_puts(out, "\\\\");
		else if (*p == '\n')
			buf_puts(out, "\\n");
		else
			buf_putc(out, *p);
	}
}

static void
write_family(struct buf *out, const struct row *family)
{
	buf_printf(out, "# HELP %s ", family->name);
	write_help(out, family->help);
	buf_printf(out, "\n# TYPE %s %s\n", family->name, family->type);
}

static void
write_counter(struct buf *out, const char *name, const struct row *r)
{
	uint64_t n = atomic_load_explicit(
	    &metrics->counters[r->at], memory_order_relaxed);

	if (r->labels[0] == '\0')
		buf_printf(out, "%s %" PRIu64 "\n", name, n);
	else
		buf_printf(out, "%s{%s} %" PRIu64 "\n", name, r->labels, n);
}

/* Of each worker that lives. Its label is its slot's number: were it the pid,
 * every restart would make new series. */
static void
write_gauge(struct buf *out, const char *name, const struct row *r)
{
	const char *comma = r->labels[0] == '\0' ? "" : ",";

	for (size_t i = 0; i < METRICS_WORKERS_MAX; i++) {
		struct slot *s = &metrics->slots[i];

		if (atomic_load(&s->pid) != 0)
			buf_printf(out, "%s{%s%sworker=\"%zu\"} %" PRId64 "\n",
			    name, r->labels, comma, i,
			    atomic_load(&s->gauges[r->at]));
	}
}

/* The count is the buckets' sum, not a number of its own: they always agree. */
static void
write_histogram(struct buf *out, const char *name, const struct row *r)
{
	struct histogram *h = &metrics->histograms[r->at];
	const char *comma = r->labels[0] == '\0' ? "" : ",";
	const char *open = r->labels[0] == '\0' ? "" : "{";
	const char *shut = r->labels[0] == '\0' ? "" : "}";
	uint64_t sum_us = atomic_load(&h->sum_us), n = 0;

	for (size_t i = 0; i < N_BOUNDS; i++) {
		n += atomic_load(&h->counts[i]);
		buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name,
		    r->labels, comma, bounds[i].le, n);
	}
	buf_printf(out, "%s_sum%s%s%s %" PRIu64 ".%06" PRIu64 "\n", name, open,
	    r->labels, shut, sum_us / 1000000, sum_us % 1000000);
	buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, r->labels,
	    shut, n);
}

void
metrics_write(struct buf *out)
{
	const char *name = "";

	for (const struct row *r = rows; r < rows + N_ROWS; r++) {
		switch (r->kind) {
		case ROW_FAMILY:
			name = r->name;
			write_family(out, r);
			break;
		case ROW_COUNTER:
			write_counter(out, name, r);
			break;
		case ROW_GAUGE:
			write_gauge(out, name, r);
			break;
		case ROW_HISTOGRAM:
			write_histogram(out, name, r);
			break;
		}
	}
}
