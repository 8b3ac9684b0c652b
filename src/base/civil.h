/*
 * Days of the Gregorian calendar and hours of the wall clock, without any time
 * zone (base/zone.h has those).
 *
 * Thread: any; pure.
 */
#ifndef BASE_CIVIL_H
#define BASE_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

/* What a calendar and a clock on a wall show. */
struct civil {
	int year;
	int month; /* 1 to 12 */
	int day;   /* 1 to 31 */
	int hour, minute, second;
};

enum { CIVIL_MONDAY, CIVIL_FRIDAY = 4, CIVIL_SATURDAY, CIVIL_SUNDAY };

/* Days since 1970-01-01. Any year, also before that. */
int64_t civil_days(int year, int month, int day);

/* The day that is so many days after 1970-01-01, at 00:00. */
struct civil civil_of_days(int64_t days);

/* Seconds since 1970 as if it was said in UTC, and back. */
int64_t civil_seconds(const struct civil *c);
struct civil civil_of_seconds(int64_t s);

/* 0 for Monday to 6 for Sunday. */
int civil_weekday(int64_t days);

/* Days of a month. */
int civil_month_days(int year, int month);

/* Has the calendar such a day? */
bool civil_is_day(int year, int month, int day);

/* The same day so many months later, or the last of that month. */
struct civil civil_add_months(const struct civil *c, int months);

#endif
