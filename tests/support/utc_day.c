/*
 * Waiting for a day.
 */
#include <time.h>

#include "base/clock.h"
#include "utc_day.h"

#define DAY_S   86400
#define NEEDS_S 120

void
utc_day_begin(void)
{
	time_t left = DAY_S - time(NULL) % DAY_S;

	if (left <= NEEDS_S)
		clock_sleep_ms((long)(left + 1) * 1000);
}
