/*
 * The clocks and the written form of a time.
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"

Test(clock, writes_rfc3339_in_utc_with_milliseconds)
{
	static const struct {
		uint64_t ms;
		const char *want;
	} rows[] = {
	    {0, "1970-01-01T00:00:00.000Z"},
	    {1, "1970-01-01T00:00:00.001Z"},
	    {999, "1970-01-01T00:00:00.999Z"},
	    {951782400000, "2000-02-29T00:00:00.000Z"},
	    {1709210096789, "2024-02-29T12:34:56.789Z"},
	    {4102444800000, "2100-01-01T00:00:00.000Z"},
	    {253402300799999, "9999-12-31T23:59:59.999Z"},
	    {253402300800000, "9999-12-31T23:59:59.999Z"},
	    {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char got[CLOCK_TEXT];
		clock_format(rows[i].ms, got);
		cr_expect_str_eq(got, rows[i].want);
	}
}

Test(clock, the_monotonic_clock_never_goes_back)
{
	uint64_t before = clock_mono_us();
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_mono_us();
		cr_assert_geq(now, before);
		before = now;
	}
	cr_expect_geq(clock_mono_ms() + 1, before / 1000);
}

Test(clock, the_wall_clock_is_the_systems)
{
	uint64_t before = (uint64_t)time(NULL) * 1000;
	uint64_t now = clock_wall_ms();
	cr_expect_geq(now + 1000, before);
	cr_expect_leq(now, before + 5000);
}

/* Is `got` the same as `want`, give or take what a slow machine needs? */
static bool
is_near(uint64_t got, uint64_t want)
{
	return got + 100 >= want && got <= want + 5000;
}

Test(clock, the_agreed_clock_is_ours_until_another_is_known)
{
	struct clock_agreed clock = {0};
	uint64_t wall = clock_wall_ms();

	cr_expect(is_near(clock_agreed_ms(NULL), wall));
	cr_expect(is_near(clock_agreed_ms(&clock), wall));
	clock_learn(&clock, 2000000000000, clock_mono_ms());
	cr_expect(is_near(clock_agreed_ms(&clock), 2000000000000u));
	clock_learn(&clock, 1000000000000, clock_mono_ms());
	cr_expect(is_near(clock_agreed_ms(&clock), 1000000000000u));
}

Test(clock, half_of_a_round_trip_lies_behind_the_answer)
{
	struct clock_agreed clock = {0};

	clock_learn(&clock, 2000000000000, clock_mono_ms() - 800);
	cr_expect(is_near(clock_agreed_ms(&clock), 2000000000400u));
}

Test(clock, a_slow_answer_counts_only_as_the_first)
{
	struct clock_agreed clock = {0};
	uint64_t slow = clock_mono_ms() - 2000;

	clock_learn(&clock, 2000000000000, slow);
	cr_expect(is_near(clock_agreed_ms(&clock), 2000000001000u));
	clock_learn(&clock, 1500000000000, slow);
	cr_expect(is_near(clock_agreed_ms(&clock), 2000000001000u));
}
