/*
 * Days by their names: "tomorrow", "next Friday", "end of the month".
 */
#include <string.h>

#include "base/civil.h"
#include "base/zone.h"
#include "task/hint.h"
#include "task/pattern.h"
#include "task/when_inside.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static const char *const weekdays[] = {"monday", "tuesday", "wednesday",
    "thursday", "friday", "saturday", "sunday"};

/* Words by themselves too, and thus no day without a preposition before or an
 * hour after them. */
static const struct {
	const char *name;
	int weekday;
} short_weekdays[] = {{"mon", 0}, {"tue", 1}, {"tues", 1}, {"wed", 2},
    {"thu", 3}, {"thur", 3}, {"thurs", 3}, {"fri", 4}, {"sat", 5}, {"sun", 6}};

static const char next_words[] = "next coming following";
static const char this_words[] = "this";

void
when_set_day(struct when *out, int64_t day, int days)
{
	out->has_day = true;
	out->day = day;
	out->days = days;
}

void
when_set_hour(struct when *out, int hour, int minute, enum when_half half)
{
	out->has_hour = true;
	out->hour = hour;
	out->minute = minute;
	out->half = half;
}

/* In when_names.def. */
#define NONE (-100)

static const struct name {
	const char *pattern;
	int days, hour;
	unsigned gives_way;
} names[] = {
#define NAME(pattern_, days_, hour_, gives_way_) \
	{.pattern = (pattern_),                  \
	    .days = (days_),                     \
	    .hour = (hour_),                     \
	    .gives_way = (gives_way_)},
#include "task/when_names.def"
#undef NAME
};

/* All of their first words. */
static struct hint name_hint;

void
when_make_hints(void)
{
	for (size_t k = 0; k < COUNT(names); k++) {
		struct hint one;

		hint_make(names[k].pattern, &one);
		hint_widen(&name_hint, &one);
	}
}

/* "tomorrow", "the day after tomorrow", "noon": the longest that fits. */
size_t
when_named(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	const struct name *best = NULL;
	size_t last = i;

	if (!hint_begins(&name_hint, w, i, w->n))
		return 0;
	for (size_t k = 0; k < COUNT(names); k++) {
		size_t after = pattern_begins(names[k].pattern, w, i, w->n);
		if (after > last) {
			last = after;
			best = &names[k];
		}
	}
	if (!best)
		return 0;
	if (best->days != NONE)
		when_set_day(out, now->today + best->days, 1);
	if (best->hour != NONE)
		when_set_hour(out, best->hour, 0, WHEN_WHOLE);
	out->gives_way = best->gives_way;
	return last - i;
}

int
when_weekday_of(const struct words *w, size_t i)
{
	for (size_t k = 0; k < COUNT(weekdays); k++) {
		if (words_is(w, i, weekdays[k]))
			return (int)k;
	}
	return -1;
}

static int
short_weekday_of(const struct words *w, size_t i)
{
	struct when ignored;

	for (size_t k = 0; k < COUNT(short_weekdays); k++) {
		if (!words_is(w, i, short_weekdays[k].name))
			continue;
		if ((i > 0 && words_is_in(w, i - 1, "on by next this until")) ||
		    when_hour(w, i + 1, NULL, &ignored) > 0)
			return short_weekdays[k].weekday;
	}
	return -1;
}

/* The next day of that name; of `next week` where it is called next. */
size_t
when_weekday(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	/* "the next Tuesday" */
	size_t the =
	    words_is(w, i, "the") && words_is_in(w, i + 1, next_words) ? 1 : 0;
	bool is_next = words_is_in(w, i + the, next_words);
	bool is_this = words_is_in(w, i, this_words);
	size_t at = i + the + (is_next || is_this);
	int weekday = when_weekday_of(w, at);

	if (weekday < 0)
		weekday = short_weekday_of(w, at);
	if (weekday < 0)
		return 0;
	/* "the Friday report" is no date. */
	if (at == i && i > 0 &&
	    words_is_in(w, i - 1, "the a an my our your his her their"))
		return 0;
	int today = civil_weekday(now->today);
	int ahead = (weekday - today + 7) % 7;
	if (is_next)
		ahead = weekday - today + 7;
	else if (ahead == 0 && !is_this)
		ahead = 7;
	out->is_weekday = at == i;
	at++;
	/* "Tuesday week" is the one after that. */
	bool is_week_more =
	    words_is(w, at, "week") && when_weekday_of(w, at - 1) >= 0;
	when_set_day(out, now->today + ahead + (is_week_more ? 7 : 0), 1);
	return at + (is_week_more ? 1 : 0) - i;
}

static int64_t
days_of(const struct civil *c)
{
	return civil_days(c->year, c->month, c->day);
}

/* The month that begins so many months after this one. */
static void
set_month(struct when *out, const struct when_now *now, int ahead)
{
	struct civil first = {now->local.year, now->local.month, 1, 0, 0, 0};
	struct civil begin = civil_add_months(&first, ahead);
	when_set_day(
	    out, days_of(&begin), civil_month_days(begin.year, begin.month));
}

/* Week, weekend, month or year, so many ahead; false: no such word. */
static bool
set_unit(const struct words *w, size_t i, const struct when_now *now, int ahead,
    struct when *out)
{
	int64_t monday = now->today - civil_weekday(now->today) + ahead * 7;

	if (words_is(w, i, "week"))
		when_set_day(out, monday, 7);
	else if (words_is(w, i, "weekend"))
		when_set_day(out, monday + CIVIL_SATURDAY, 2);
	else if (words_is(w, i, "month"))
		set_month(out, now, ahead);
	else if (words_is(w, i, "year"))
		when_set_day(out, civil_days(now->local.year + ahead, 1, 1),
		    civil_month_days(now->local.year + ahead, 2) + 337);
	else
		return false;
	return true;
}

/* The last day of what was set; of a week its Friday. */
static void
set_end(struct when *out)
{
	int64_t last = out->day + out->days - 1;
	when_set_day(out, out->days == 7 ? out->day + CIVIL_FRIDAY : last, 1);
}

/* The months whose names @unit cannot count: "the end of March". */
static size_t
end_of_month(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	int month = when_month_of(w, i);
	int year = now->local.year;

	if (month == 0)
		return 0;
	if (month < now->local.month)
		year++;
	when_set_day(
	    out, civil_days(year, month, civil_month_days(year, month)), 1);
	return 1;
}

/* "end of [the|this|next] week", "last day of March", "eom" */
static size_t
end_of_unit(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	size_t at = i + (words_is(w, i, "the") ? 1 : 0);

	if (words_is(w, i, "eom")) {
		set_month(out, now, 0);
		set_end(out);
		return 1;
	}
	bool is_last_day =
	    words_is_in(w, at, "last final") && words_is(w, at + 1, "day");
	at += is_last_day;
	if ((!is_last_day && !words_is(w, at, "end")) ||
	    !words_is(w, at + 1, "of"))
		return 0;
	at += 2;
	size_t named = end_of_month(w, at, now, out);
	if (named > 0)
		return at + named - i;
	bool is_next = words_is_in(w, at, next_words);
	at += is_next || words_is_in(w, at, "the this");
	if (!set_unit(w, at, now, is_next ? 1 : 0, out))
		return 0;
	set_end(out);
	return at + 1 - i;
}

size_t
when_unit(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	size_t n = end_of_unit(w, i, now, out);

	if (n > 0)
		return n;
	size_t the = words_is(w, i, "the") ? 1 : 0;
	if (words_is_in(w, i + the, next_words))
		return set_unit(w, i + the + 1, now, 1, out) ? the + 2 : 0;
	/* "the week after next", "the beginning of next week" */
	if (the && words_is(w, i + 2, "after") && words_is(w, i + 3, "next"))
		return set_unit(w, i + 1, now, 2, out) ? 4 : 0;
	if (words_is_in(w, i + the, "beginning start") &&
	    words_is(w, i + the + 1, "of")) {
		size_t at = i + the + 2;
		if (!words_is_in(w, at, next_words) ||
		    !set_unit(w, at + 1, now, 1, out))
			return 0;
		when_set_day(out, out->day, 1);
		return at + 2 - i;
	}
	if (words_is(w, i, "this") ||
	    (words_is(w, i, "the") && words_is(w, i + 1, "weekend")))
		return set_unit(w, i + 1, now, 0, out) ? 2 : 0;
	return 0;
}
