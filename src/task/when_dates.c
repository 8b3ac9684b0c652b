/*
 * Days by the calendar: "2026-12-24", "24.12.", "5/31/2026", "3rd of March",
 * "April 2nd", "the 15th". A date without its year is the next one to come.
 */
#include <string.h>

#include "base/civil.h"
#include "task/when_inside.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static const char *const months[] = {"january jan", "february feb", "march mar",
    "april apr", "may", "june jun", "july jul", "august aug",
    "september sep sept", "october oct", "november nov", "december dec"};

int
when_month_of(const struct words *w, size_t i)
{
	char first = w->at[i < w->n ? i : w->n].norm[0];

	for (size_t k = 0; k < COUNT(months); k++) {
		if (months[k][0] == first && words_is_in(w, i, months[k]))
			return (int)k + 1;
	}
	return 0;
}

/* A day of a month, and of a year where it was said (0: not). */
static void
set_date(
    struct when *out, const struct when_now *now, int year, int month, int day)
{
	int this_year = now->local.year;
	int in = year ? year : this_year;

	/* 29 February is there in some year to come. */
	if (!year && month == 2 && day == 29) {
		while (!civil_is_day(in, month, day))
			in++;
	}
	if (!civil_is_day(in, month, day)) {
		out->problem = COMMAND_NO_SUCH_DATE;
		when_set_day(out, now->today, 1);
		return;
	}
	if (!year && civil_days(in, month, day) < now->today &&
	    civil_is_day(in + 1, month, day))
		in++;
	when_set_day(out, civil_days(in, month, day), 1);
	if (out->day < now->today)
		out->problem = COMMAND_PAST_DATE;
}

/* Numbers of a date such as 5/31/2026; how many there are, 0: it is none. */
static int
split(const char *s, const char *separators, int out[static 3])
{
	int n = 0;
	char separator = '\0';

	while (*s != '\0') {
		int value = 0, count = 0;
		for (; *s >= '0' && *s <= '9' && count < 4; s++, count++)
			value = value * 10 + (*s - '0');
		if (count == 0 || n == 3)
			return 0;
		out[n++] = value;
		if (*s == '\0')
			break;
		if (!strchr(separators, *s) || (separator && *s != separator))
			return 0;
		separator = *s++;
	}
	return n;
}

static int
whole_year(int year)
{
	return year > 0 && year < 100 ? year + 2000 : year;
}

/* A word of numbers alone. */
static size_t
numeric(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	int p[3] = {0};
	const char *s = w->at[i].norm;
	int n = split(s, "-", p);

	if (n == 3 && strcspn(s, "-") == 4) {
		set_date(out, now, p[0], p[1], p[2]);
		return 1;
	}
	n = split(s, ".", p);
	/* "3.5" is a number; with its last dot, 24.12., it is a date. */
	if (n == 3 || (n == 2 && words_is(w, i + 1, ".") &&
			  w->at[i + 1].start == w->at[i].end && p[1] >= 1 &&
			  p[1] <= 12 && p[0] >= 1 && p[0] <= 31)) {
		set_date(out, now, whole_year(p[2]), p[1], p[0]);
		return n == 2 ? 2 : 1;
	}
	n = split(s, "/", p);
	if (n < 2 || (p[0] > 12 && p[1] > 12))
		return 0;
	if (p[0] <= 12 && p[1] <= 12 && p[0] != p[1])
		out->problem = COMMAND_AMBIGUOUS_DATE;
	bool is_day_first = p[0] > 12;
	set_date(out, now, whole_year(p[2]), is_day_first ? p[1] : p[0],
	    is_day_first ? p[0] : p[1]);
	if (p[0] <= 12 && p[1] <= 12 && p[0] != p[1])
		out->problem = COMMAND_AMBIGUOUS_DATE;
	return 1;
}

/* The year behind a day and a month, with or without a comma. */
static size_t
year_at(const struct words *w, size_t i, int *out_year)
{
	size_t comma = words_is(w, i, ",") ? 1 : 0;
	int year = words_number(w, i + comma);

	if (year < 1970 || year > 9998)
		return 0;
	*out_year = year;
	return comma + 1;
}

/* A day's number: "3rd", "third", "3". */
static int
day_number(const struct words *w, size_t i)
{
	int day = words_ordinal(w, i);
	return day > 0 ? day : words_number(w, i);
}

/* "[the] 3rd [of] March [2027]", "March [the] 3rd[, 2027]" */
static size_t
with_month(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	size_t at = i + (words_is(w, i, "the") ? 1 : 0);
	int month = when_month_of(w, i), day, year = 0;

	if (month > 0) {
		at = i + 1 + (words_is(w, i + 1, "the") ? 1 : 0);
		day = day_number(w, at);
		at++;
	} else {
		day = day_number(w, at);
		at += words_is(w, at + 1, "of") ? 2 : 1;
		month = when_month_of(w, at);
		at++;
	}
	if (month == 0 || day < 1 || day > 31)
		return 0;
	at += year_at(w, at, &year);
	set_date(out, now, year, month, day);
	return at - i;
}

/* "in June", "next March": from its first day on. */
static size_t
whole_month(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	bool is_next = words_is(w, i, "next");
	int month = when_month_of(w, i + 1);
	int year = now->local.year;

	if (month == 0 || (!is_next && !words_is(w, i, "in")))
		return 0;
	if (month < now->local.month || (is_next && month == now->local.month))
		year++;
	when_set_day(
	    out, civil_days(year, month, 1), civil_month_days(year, month));
	return 2;
}

/* "of next month" behind "the 2nd": how many words, and months ahead. */
static size_t
of_which_month(const struct words *w, size_t i, int *out_ahead)
{
	if (!words_is_in(w, i, "of in") || !words_is(w, i + 2, "month") ||
	    !words_is_in(w, i + 1, "next this the"))
		return 0;
	*out_ahead = words_is(w, i + 1, "next");
	return 3;
}

/* "the 15th", of this month or the next that has it. */
static size_t
of_month(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	int day = words_ordinal(w, i + 1), begin = 0;

	if (!words_is(w, i, "the") || day < 1)
		return 0;
	size_t n = of_which_month(w, i + 2, &begin);
	if (n == 0 && (w->at[i + 1].norm[0] > '9' ||
			  words_is_in(w, i + 2,
			      "one task todo reminder item of time person")))
		return 0;
	struct civil first = {now->local.year, now->local.month, 1, 0, 0, 0};
	for (int ahead = begin; ahead < begin + 3; ahead++) {
		struct civil at = civil_add_months(&first, ahead);
		if (!civil_is_day(at.year, at.month, day))
			continue;
		int64_t days = civil_days(at.year, at.month, day);
		if (days < now->today)
			continue;
		when_set_day(out, days, 1);
		return n + 2;
	}
	return 0;
}

size_t
when_calendar(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	size_t n;

	if (i >= w->n || w->at[i].kind != WORD_PLAIN)
		return 0;
	if (w->at[i].norm[0] >= '0' && w->at[i].norm[0] <= '9' &&
	    (n = numeric(w, i, now, out)) > 0)
		return n;
	if ((n = with_month(w, i, now, out)) > 0)
		return n;
	if ((n = whole_month(w, i, now, out)) > 0)
		return n;
	return of_month(w, i, now, out);
}
