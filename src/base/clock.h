/*
 * Time. The monotonic clock is for durations and deadlines, the wall clock
 * for ids and log lines only: what is stored takes its time from Postgres, and
 * so does a token. Hosts whose wall clocks differ therefore agree about tokens
 * by a third clock, the database's as they know it.
 *
 * Thread: any.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t clock_mono_us(void);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t clock_mono_ms(void);

/* Waits so long, or until a signal's handler was run. */
void clock_sleep_ms(long ms);

/* Milliseconds since 1970 of CLOCK_REALTIME. */
uint64_t clock_wall_ms(void);

/*
 * What a process knows of the database's clock. Zeroed, it knows nothing.
 * Kept against the monotonic clock, so that setting the wall clock right (or
 * wrong) changes nothing.
 */
struct clock_agreed {
	_Atomic int64_t
	    start_ms; /* what it said when ours said 0; 0: unknown */
};

/* The database said `wall_ms` between `before_ms` and now, monotonic. */
void
clock_learn(struct clock_agreed *clock, int64_t wall_ms, uint64_t before_ms);

/*
 * Milliseconds since 1970 of the database's clock; while that is unknown, or
 * `clock` NULL, of CLOCK_REALTIME.
 */
uint64_t clock_agreed_ms(const struct clock_agreed *clock);

/* The size of what clock_format writes, with its NUL. */
#define CLOCK_TEXT 32

/* Writes `wall_ms` as RFC 3339 UTC with milliseconds into `out`. */
void clock_format(uint64_t wall_ms, char out[static CLOCK_TEXT]);

/*
 * Reads RFC 3339 ("2026-01-31T23:59:59.5+01:00", also with a space and with a
 * two-digit zone, as Postgres writes it), of the years 1 to 9999 (in UTC too);
 * false when it is none.
 */
bool clock_parse(const char *s, int64_t *out_wall_ms);

#endif
