/*
 * Days by their names and by their distance: "tomorrow", "next Friday", "end of
 * the month", "in two weeks".
 */
#include <string.h>

#include "base/civil.h"
#include "base/zone.h"
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

size_t
when_named_day(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	size_t the = words_is(w, i, "the") ? 1 : 0;

	if (words_is(w, i + the, "day") && words_is(w, i + the + 1, "after") &&
	    words_is(w, i + the + 2, "tomorrow")) {
		when_set_day(out, now->today + 2, 1);
		return the + 3;
	}
	if (words_is(w, i, "today") || words_is(w, i, "eod"))
		when_set_day(out, now->today, 1);
	else if (words_is(w, i, "tomorrow"))
		when_set_day(out, now->today + 1, 1);
	else if (words_is(w, i, "yesterday"))
		when_set_day(out, now->today - 1, 1);
	else if (words_is(w, i, "tonight")) {
		when_set_day(out, now->today, 1);
		when_set_hour(out, 20, 0, WHEN_WHOLE);
	} else
		return 0;
	return 1;
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
	bool is_next = words_is_in(w, i, next_words);
	bool is_this = words_is_in(w, i, this_words);
	size_t at = i + (is_next || is_this);
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
	when_set_day(out, now->today + ahead, 1);
	return at + 1 - i;
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

/* "end of [the|this|next] week", "eom" */
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
	if (!words_is(w, at, "end") || !words_is(w, at + 1, "of"))
		return 0;
	at += 2;
	bool is_next = words_is_in(w, at, next_words);
	at += is_next || words_is_in(w, at, "the this");
	if (words_is(w, at, "day")) {
		when_set_day(out, now->today, 1);
		return at + 1 - i;
	}
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
	if (words_is_in(w, i, next_words))
		return set_unit(w, i + 1, now, 1, out) ? 2 : 0;
	if (words_is(w, i, "this") ||
	    (words_is(w, i, "the") && words_is(w, i + 1, "weekend")))
		return set_unit(w, i + 1, now, 0, out) ? 2 : 0;
	return 0;
}

/* A distance's units: in seconds, in days, in months. */
static const struct unit {
	const char *names;
	int seconds, days, months;
} units[] = {
    {"minute minutes", 60, 0, 0},
    {"hour hours", 3600, 0, 0},
    {"day days", 0, 1, 0},
    {"week weeks", 0, 7, 0},
    {"month months", 0, 0, 1},
    {"year years", 0, 0, 12},
};

static const struct unit *
unit_of(const struct words *w, size_t i)
{
	for (size_t k = 0; k < COUNT(units); k++) {
		if (words_is_in(w, i, units[k].names))
			return &units[k];
	}
	return NULL;
}

static void
set_distance(struct when *out, const struct when_now *now,
    const struct unit *unit, int halves)
{
	if (unit->seconds > 0) {
		out->is_moment = true;
		out->utc_s = now->now_s + (int64_t)halves * unit->seconds / 2;
		/* A minute is told, not its seconds. */
		out->utc_s -= out->utc_s % 60;
		return;
	}
	struct civil at =
	    civil_add_months(&now->local, halves * unit->months / 2);
	when_set_day(out, days_of(&at) + (int64_t)halves * unit->days / 2, 1);
}

/* "two weeks", "an hour and a half", "half an hour", "2.5"? no */
static size_t
amount(const struct words *w, size_t i, const struct unit **out_unit,
    int *out_halves)
{
	size_t at = i;
	int n = words_number(w, at);

	if (words_is(w, at, "half") && words_is_in(w, at + 1, "a an")) {
		*out_unit = unit_of(w, at + 2);
		*out_halves = 1;
		return *out_unit ? 3 : 0;
	}
	if (n >= 0)
		at++;
	else if (words_is_in(w, at, "a an")) {
		at++;
		n = 1;
		if (words_is(w, at, "couple")) {
			at += words_is(w, at + 1, "of") ? 2 : 1;
			n = 2;
		}
	} else
		return 0;
	*out_halves = n * 2;
	if (words_is(w, at, "and") && words_is(w, at + 1, "a") &&
	    words_is(w, at + 2, "half")) {
		*out_halves += 1;
		at += 3;
	}
	*out_unit = unit_of(w, at++);
	if (*out_unit && words_is(w, at, "and") && words_is(w, at + 1, "a") &&
	    words_is(w, at + 2, "half")) {
		*out_halves += 1;
		at += 3;
	}
	return *out_unit ? at - i : 0;
}

/* "in two weeks", "two weeks from now" */
size_t
when_distance(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	const struct unit *unit = NULL;
	int halves = 0;
	size_t in = words_is_in(w, i, "in within") ? 1 : 0;
	size_t n = amount(w, i + in, &unit, &halves);

	if (n == 0)
		return 0;
	n += in;
	bool is_from_now = words_is(w, i + n, "from") &&
			   words_is_in(w, i + n + 1, "now today");
	if (is_from_now)
		n += 2;
	else if (!in)
		return 0;
	set_distance(out, now, unit, halves);
	return n;
}
