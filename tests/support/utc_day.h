/*
 * Days (UTC), for tests that count what one has and must not see it end.
 */
#ifndef TESTS_SUPPORT_UTC_DAY_H
#define TESTS_SUPPORT_UTC_DAY_H

/* Where the day is about to end, waits for the next one, two minutes at most.
 */
void utc_day_begin(void);

#endif
