/*
 * The clocks and the one way a time is written. Knows no time zone but
 * UTC.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for the year. */
#define LAST_MS 253402300799999u

/* 0001-01-01T00:00:00Z */
#define FIRST_MS (-62135596800000)

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

void
clock_sleep_ms(long ms)
{
	const struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&t, NULL);
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

/* Reads `n` digits; -1 when there are not so many. */
static int
digits(const char **p, int n)
{
	int value = 0;
	for (int i = 0; i < n; i++) {
		char c = *(*p)++;
		if (c < '0' || c > '9')
			return -1;
		value = value * 10 + (c - '0');
	}
	return value;
}

/* Reads one of these characters. */
static bool
takes(const char **p, const char *any)
{
	if (!**p || !strchr(any, **p))
		return false;
	(*p)++;
	return true;
}

/* Reads a fraction, if there is one; cut to milliseconds. */
static bool
read_fraction(const char **p, int *out_ms)
{
	int ms = 0;
	int n = 0;
	if (takes(p, ".")) {
		for (; **p >= '0' && **p <= '9'; n++, (*p)++) {
			if (n < 3)
				ms = ms * 10 + (**p - '0');
		}
		if (n < 1 || n > 9)
			return false;
		for (; n < 3; n++)
			ms *= 10;
	}
	*out_ms = ms;
	return true;
}

/* Reads the zone to the end: Z, ±hh or ±hh:mm. */
static bool
read_zone(const char *p, int *out_minutes)
{
	if (takes(&p, "Zz")) {
		*out_minutes = 0;
		return *p == '\0';
	}
	int sign = *p == '-' ? -1 : 1;
	if (!takes(&p, "+-"))
		return false;
	int hours = digits(&p, 2);
	int minutes = 0;
	if (hours < 0 || hours > 23)
		return false;
	if (*p && (!takes(&p, ":") || (minutes = digits(&p, 2)) < 0))
		return false;
	*out_minutes = sign * (hours * 60 + minutes);
	return minutes < 60 && *p == '\0';
}

/* Reads the date and the time of day. */
static bool
read_day(const char **p, struct tm *out)
{
	struct tm tm = {0};
	if ((tm.tm_year = digits(p, 4)) < 1 || !takes(p, "-") ||
	    (tm.tm_mon = digits(p, 2)) < 1 || !takes(p, "-") ||
	    (tm.tm_mday = digits(p, 2)) < 1 || !takes(p, "Tt ") ||
	    (tm.tm_hour = digits(p, 2)) < 0 || !takes(p, ":") ||
	    (tm.tm_min = digits(p, 2)) < 0 || !takes(p, ":") ||
	    (tm.tm_sec = digits(p, 2)) < 0)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*out = tm;
	return tm.tm_mon < 12 && tm.tm_hour < 24 && tm.tm_min < 60 &&
	       tm.tm_sec < 60;
}

bool
clock_parse(const char *s, int64_t *out_wall_ms)
{
	struct tm tm;
	int ms;
	int minutes;
	if (!read_day(&s, &tm) || !read_fraction(&s, &ms) ||
	    !read_zone(s, &minutes))
		return false;
	int day = tm.tm_mday;
	int64_t seconds = (int64_t)timegm(&tm); /* sets 31 June to 1 July */
	if (tm.tm_mday != day)
		return false;
	int64_t wall_ms = (seconds - (int64_t)minutes * 60) * 1000 + ms;
	if (wall_ms < FIRST_MS || wall_ms > (int64_t)LAST_MS)
		return false;
	*out_wall_ms = wall_ms;
	return true;
}
