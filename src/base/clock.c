/*
 * The clocks and the one way a time is written. Knows no time zone but
 * UTC.
 */
#include <assert.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"

/* 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for the year. */
#define LAST_MS 253402300799999u

/* An answer that took longer than this says less than what is known. */
#define SLOW_MS 1000

static uint64_t
now_us(clockid_t which)
{
	struct timespec ts;
	int rc = clock_gettime(which, &ts);
	assert(rc == 0);
	(void)rc;
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t
clock_mono_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

uint64_t
clock_mono_ms(void)
{
	return now_us(CLOCK_MONOTONIC) / 1000u;
}

uint64_t
clock_wall_ms(void)
{
	return now_us(CLOCK_REALTIME) / 1000u;
}

void
clock_learn(struct clock_agreed *clock, int64_t wall_ms, uint64_t before_ms)
{
	uint64_t now_ms = clock_mono_ms();
	if (now_ms - before_ms > SLOW_MS && atomic_load(&clock->start_ms) != 0)
		return; /* when in that time? */
	/* Half of the round trip is the answer's. */
	int64_t then_ms = (int64_t)(before_ms + (now_ms - before_ms) / 2);
	if (wall_ms > then_ms)
		atomic_store(&clock->start_ms, wall_ms - then_ms);
}

uint64_t
clock_agreed_ms(const struct clock_agreed *clock)
{
	int64_t start_ms = clock ? atomic_load(&clock->start_ms) : 0;
	if (start_ms == 0)
		return clock_wall_ms();
	return (uint64_t)start_ms + clock_mono_ms();
}

void
clock_format(uint64_t wall_ms, char out[static CLOCK_TEXT])
{
	if (wall_ms > LAST_MS)
		wall_ms = LAST_MS;
	time_t s = (time_t)(wall_ms / 1000u);
	struct tm tm;
	(void)gmtime_r(&s, &tm);
	size_t n = strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(
	    out + n, CLOCK_TEXT - n, ".%03uZ", (unsigned)(wall_ms % 1000u));
}
