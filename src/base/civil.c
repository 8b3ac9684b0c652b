/*
 * The calendar's arithmetic: days are counted in years that begin in March, so
 * that the leap day is the last one.
 */
#include "base/civil.h"

#define DAY_S      86400
#define ERA_YEARS  400
#define ERA_DAYS   146097
#define TO_1970    719468 /* days from 1 March of the year 0 */
#define YEAR_DAYS  365
#define MONTH_DAYS 153 /* of five months that begin in March */

/* Rounded down, also below zero. */
static int64_t
divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t
civil_days(int year, int month, int day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t era = divide(y, ERA_YEARS);
	int64_t of_era = y - era * ERA_YEARS;
	int64_t of_year =
	    (MONTH_DAYS * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * ERA_DAYS + of_era * YEAR_DAYS + of_era / 4 - of_era / 100 +
	       of_year - TO_1970;
}

struct civil
civil_of_days(int64_t days)
{
	int64_t z = days + TO_1970;
	int64_t era = divide(z, ERA_DAYS);
	int64_t of_era = z - era * ERA_DAYS;
	int64_t years = (of_era - of_era / 1460 + of_era / 36524 -
			    of_era / (ERA_DAYS - 1)) /
			YEAR_DAYS;
	int64_t of_year =
	    of_era - (YEAR_DAYS * years + years / 4 - years / 100);
	int64_t m = (5 * of_year + 2) / MONTH_DAYS;
	int month = (int)(m < 10 ? m + 3 : m - 9);

	return (struct civil){
	    .year = (int)(years + era * ERA_YEARS + (month <= 2)),
	    .month = month,
	    .day = (int)(of_year - (MONTH_DAYS * m + 2) / 5 + 1),
	};
}

int64_t
civil_seconds(const struct civil *c)
{
	return civil_days(c->year, c->month, c->day) * DAY_S +
	       (int64_t)c->hour * 3600 + (int64_t)c->minute * 60 + c->second;
}

struct civil
civil_of_seconds(int64_t s)
{
	int64_t days = divide(s, DAY_S);
	int left = (int)(s - days * DAY_S);
	struct civil c = civil_of_days(days);

	c.hour = left / 3600;
	c.minute = left / 60 % 60;
	c.second = left % 60;
	return c;
}

int
civil_weekday(int64_t days)
{
	/* 1970 began on a Thursday. */
	return (int)(days + 3 - divide(days + 3, 7) * 7);
}

int
civil_month_days(int year, int month)
{
	static const int days[] = {
	    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap =
	    (year % 4 == 0 && year % 100 != 0) || year % ERA_YEARS == 0;

	return days[month - 1] + (month == 2 && is_leap);
}

bool
civil_is_day(int year, int month, int day)
{
	return month >= 1 && month <= 12 && day >= 1 &&
	       day <= civil_month_days(year, month);
}

struct civil
civil_add_months(const struct civil *c, int months)
{
	struct civil out = *c;
	int64_t at = (int64_t)c->year * 12 + c->month - 1 + months;
	int last;

	out.year = (int)divide(at, 12);
	out.month = (int)(at - (int64_t)out.year * 12) + 1;
	last = civil_month_days(out.year, out.month);
	if (out.day > last)
		out.day = last;
	return out;
}
