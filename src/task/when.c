/*
 * Puts pieces together: words are tried one after the other, and what follows a
 * piece with nothing but a preposition between goes with it.
 */
#include <string.h>

#include "base/civil.h"
#include "base/zone.h"
#include "task/when_inside.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

#define DAY_S    86400
#define NOON_MIN 720 /* minutes of half a day */

/* Tried in this order: the longest first where two begin alike. */
static const when_piece_fn pieces[] = {when_distance, when_named_day, when_unit,
    when_weekday, when_calendar, when_hour, when_part};

static const char prepositions[] = "on at by before until till for around "
				   "from @";

struct when_now
when_now(int64_t now_s, const struct zone *zone)
{
	struct when_now now = {
	    .zone = zone,
	    .now_s = now_s,
	    .local = zone_local(zone, now_s),
	};
	now.today = civil_days(now.local.year, now.local.month, now.local.day);
	return now;
}

bool
when_merge(struct when *to, const struct when *other)
{
	if ((to->has_day && other->has_day) || to->is_moment ||
	    other->is_moment || (to->has_hour && other->has_hour))
		return false;
	if (other->has_day)
		when_set_day(to, other->day, other->days);
	if (other->has_hour)
		when_set_hour(to, other->hour, other->minute, other->half);
	if (other->problem)
		to->problem = other->problem;
	return true;
}

static size_t
piece_at(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	if (i >= w->n || w->at[i].is_hidden || w->at[i].kind != WORD_PLAIN)
		return 0;
	for (size_t k = 0; k < COUNT(pieces); k++) {
		struct when read = {0};
		size_t n = pieces[k](w, i, now, &read);
		if (n == 0)
			continue;
		*out = read;
		return n;
	}
	return 0;
}

/* Takes what follows `when` and goes with it; false: nothing does. */
static bool
extend(const struct words *w, const struct when_now *now, struct when *when)
{
	size_t i = when->last;
	struct when more = {0};
	struct when with = *when;
	size_t n;

	i += words_is(w, i, ",");
	n = when_part(w, i, now, &with);
	if (n > 0 && !(when->has_hour && when->half == WHEN_WHOLE)) {
		with.last = i + n;
		*when = with;
		return true;
	}
	i += words_is_in(w, i, prepositions);
	n = piece_at(w, i, now, &more);
	/* "tonight at 8": its own hour gives way. */
	if (n > 0 && more.has_hour && !more.has_day && when->has_hour &&
	    words_is(w, when->last - 1, "tonight")) {
		when->has_hour = false;
		if (more.half == WHEN_BARE)
			more.half = WHEN_PM;
	}
	if (n == 0 || !when_merge(when, &more))
		return false;
	when->last = i + n;
	return true;
}

size_t
when_find(const struct words *w, const struct when_now *now,
    struct when out[static WHENS_MAX])
{
	size_t found = 0;

	for (size_t i = 0; i < w->n && found < WHENS_MAX;) {
		struct when *when = &out[found];
		size_t at = i + (words_is_in(w, i, prepositions) &&
				    !w->at[i].is_hidden);
		size_t n = piece_at(w, at, now, when);
		if (n == 0) {
			i++;
			continue;
		}
		when->first = i;
		when->named = at;
		when->last = at + n;
		while (extend(w, now, when))
			;
		i = when->last;
		found++;
	}
	return found;
}

static struct command_time
moment(int64_t utc_s, const struct when_now *now)
{
	return (struct command_time){
	    .is_set = true,
	    .has_hour = true,
	    .utc_s = utc_s,
	    .local = zone_local(now->zone, utc_s),
	};
}

/* A wall's time on a day; minutes beyond it are the next day's. */
static struct command_time
at_wall(int64_t day, int minutes, const struct when_now *now)
{
	struct civil wall =
	    civil_of_seconds(day * DAY_S + (int64_t)minutes * 60);
	int64_t utc_s;

	(void)zone_utc(now->zone, &wall, &utc_s);
	return moment(utc_s, now);
}

/* The hour of 24 that is meant. */
static int
whole_hour(const struct when *when)
{
	bool is_small = when->hour >= 1 && when->hour <= 7;

	switch (when->half) {
	case WHEN_AM:
		return when->hour % 12;
	case WHEN_PM:
		return when->hour % 12 + 12;
	case WHEN_BARE:
		return is_small ? when->hour + 12 : when->hour;
	default:
		return when->hour;
	}
}

struct command_time
when_time(const struct when *when, const struct when_now *now)
{
	struct command_time t;

	if (when->is_moment)
		return moment(when->utc_s, now);
	if (!when->has_hour) {
		t = at_wall(when->day, 23 * 60 + 59, now);
		t.has_hour = false;
		return t;
	}
	int minutes = whole_hour(when) * 60 + when->minute;
	int64_t day = when->has_day ? when->day : now->today;
	t = at_wall(day, minutes, now);
	if (t.utc_s > now->now_s || (when->has_day && day != now->today))
		return t;
	/* It has passed today. */
	if (when->half == WHEN_BARE && minutes < NOON_MIN) {
		t = at_wall(day, minutes + NOON_MIN, now);
		if (t.utc_s > now->now_s)
			return t;
	}
	return when->has_day ? t : at_wall(day + 1, minutes, now);
}

struct command_time
when_midnight(int64_t day, const struct when_now *now)
{
	return at_wall(day, 0, now);
}

struct command_time
when_this_moment(const struct when_now *now)
{
	return moment(now->now_s, now);
}

/* "every [other|two] Mondays", "each month" */
static size_t
repeat_at(const struct words *w, size_t i, const char *things)
{
	static const char units[] =
	    "day days week weeks weekday weekdays month months year years hour "
	    "hours minute minutes morning afternoon evening night weekend "
	    "mondays fridays sundays";

	if (words_is_in(w, i, "every each")) {
		size_t at = i + 1;
		at += words_is_in(w, at, "other single") ||
		      words_number(w, at) > 0 || words_ordinal(w, at) > 0;
		return words_is_in(w, at, units) || when_weekday_of(w, at) >= 0
			   ? at + 1 - i
			   : 0;
	}
	if (!words_is_in(w, i, "daily weekly monthly yearly annually hourly"))
		return 0;
	return i + 1 == w->n || words_is_in(w, i + 1, things) ? 1 : 0;
}

bool
when_hide_repeats(struct words *w, const char *things)
{
	bool has_any = false;

	for (size_t i = 0; i < w->n; i++) {
		size_t n = repeat_at(w, i, things);
		if (n == 0)
			continue;
		size_t of = i > 0 && words_is(w, i - 1, "of") ? 1 : 0;
		words_hide(w, i - of, i + n);
		has_any = true;
	}
	return has_any;
}
