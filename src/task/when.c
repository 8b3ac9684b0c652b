/*
 * Puts pieces together: words are tried one after the other, and what follows a
 * piece with nothing but a preposition between goes with it.
 */
#include <string.h>

#include "base/civil.h"
#include "base/zone.h"
#include "task/pattern.h"
#include "task/when_inside.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

#define DAY_S    86400
#define NOON_MIN 720 /* minutes of half a day */

/* Tried in this order: the longest first where two begin alike. */
static const when_piece_fn pieces[] = {when_distance, when_named, when_unit,
    when_weekday, when_calendar, when_hour, when_part};

static const char prepositions[] = "on at by before until till for around "
				   "from over @";

/* How vaguely it is said does not matter: "sometime next week". */
static const char vague[] = "sometime early late later exactly maybe";

/* What may be said behind an hour or a day. */
static const char tail[] =
    "sharp|ish|exactly|promptly|on_the_dot|at_the_latest|or_so|local_time";

/* Whose days and weeks can be meant: "tomorrow's tasks". */
static const char owned[] = "tasks todos reminders list agenda deadlines to "
			    "plate schedule open urgent overdue";

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

/* "Monday the 23rd", "Wednesday of next week": two say one day. */
static bool
merge_days(struct when *to, const struct when *other)
{
	int64_t day = other->day;
	bool is_of_week = other->days == 7 || to->days == 7;

	if (to->is_weekday && other->is_weekday)
		return false;
	if (to->is_weekday && other->days == 7)
		day += civil_weekday(to->day);
	else if (to->days == 7 && other->is_weekday)
		day = to->day + civil_weekday(other->day);
	else if (!to->is_weekday || is_of_week || other->days != 1)
		return false;
	when_set_day(to, day, 1);
	return true;
}

/* What was implied goes where it was said as well. */
static void
give_way(struct when *implied, const struct when *said)
{
	if ((implied->gives_way & WHEN_DAY) != 0 && said->has_day)
		implied->has_day = false;
	if ((implied->gives_way & WHEN_HOUR) != 0 && said->has_hour)
		implied->has_hour = false;
}

bool
when_merge(struct when *to, const struct when *other)
{
	struct when with = *to, more = *other;

	if (to->is_moment || other->is_moment)
		return false;
	give_way(&with, &more);
	give_way(&more, &with);
	if (with.has_hour && more.has_hour)
		return false;
	if (with.has_day && more.has_day && !merge_days(&with, &more))
		return false;
	if (!with.has_day && more.has_day) {
		when_set_day(&with, more.day, more.days);
		with.is_weekday = more.is_weekday;
	}
	if (more.has_hour)
		when_set_hour(&with, more.hour, more.minute, more.half);
	/* "tonight at 8": which 8 was implied, too. */
	bool is_own = to->has_hour && other->has_hour;
	int implied = (to->gives_way & WHEN_HOUR) != 0 ? to->hour : other->hour;
	if (is_own && with.half == WHEN_BARE)
		with.half = implied < 12 ? WHEN_AM : WHEN_PM;
	if (is_own)
		with.gives_way = 0;
	if (more.problem)
		with.problem = more.problem;
	*to = with;
	return true;
}

/* May a date end with that word? "tomorrow's talk" is none of tomorrow. */
static bool
is_whole(const struct words *w, size_t last)
{
	return !w->at[last].is_possessive || words_is_in(w, last + 1, owned);
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
		if (n == 0 || !is_whole(w, i + n - 1))
			continue;
		*out = read;
		return n;
	}
	return 0;
}

/* May a preposition follow that one? "by around six", not "turn it on at". */
static bool
is_first_of_two(const struct words *w, size_t i)
{
	return words_is_in(w, i, "for by from before until till") ||
	       words_is_in(w, i, vague) ||
	       (words_is(w, i, "at") && words_is(w, i + 1, "around"));
}

/* Behind prepositions: "on", "by the end of", "sometime". */
static size_t
skip_prepositions(const struct words *w, size_t i)
{
	for (int n = 0; n < 3; n++) {
		bool is_vague = words_is_in(w, i, vague) &&
				(n > 0 || i == 0 || words_is(w, i - 1, "me") ||
				    words_is(w, i, "sometime"));
		if (i >= w->n || w->at[i].is_hidden ||
		    (n > 0 && !is_first_of_two(w, i - 1)))
			break;
		if (!is_vague && !words_is_in(w, i, prepositions))
			break;
		i++;
	}
	size_t the = words_is(w, i, "the") ? 1 : 0;
	if (words_is(w, i + the, "end") && words_is(w, i + the + 1, "of"))
		i += the + 2;
	return i;
}

/* The piece that begins at i or behind its prepositions; *out_at: where. */
static size_t
piece_from(const struct words *w, size_t i, const struct when_now *now,
    struct when *out, size_t *out_at)
{
	size_t behind = skip_prepositions(w, i);
	size_t n = 0;

	/* "at lunch" has its own. */
	for (*out_at = i; *out_at <= behind; (*out_at)++) {
		n = piece_at(w, *out_at, now, out);
		if (n > 0)
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
	size_t n, at;

	n = pattern_begins(tail, w, i, w->n);
	if (n > i) {
		when->last = n;
		return true;
	}
	i += words_is_in(w, i, ", -");
	n = when_part(w, i, now, &with);
	bool is_exact = when->has_hour && when->half == WHEN_WHOLE &&
			(when->gives_way & WHEN_HOUR) == 0;
	if (n > 0 && !is_exact) {
		with.last = i + n;
		*when = with;
		return true;
	}
	if (when->is_weekday && words_is_in(w, i, "of in"))
		i++;
	n = piece_from(w, i, now, &more, &at);
	if (n == 0 || !when_merge(when, &more))
		return false;
	when->last = at + n;
	return true;
}

/* "The 9 o'clock news" are not due then. */
static bool
is_adjective(const struct words *w, size_t i, const struct when *when)
{
	return i > 0 && when->has_hour && !when->has_day &&
	       words_is_in(w, i - 1, "the a an my our your his her their") &&
	       !words_is_in(w, i, prepositions);
}

size_t
when_find(const struct words *w, const struct when_now *now,
    struct when out[static WHENS_MAX])
{
	size_t found = 0;

	for (size_t i = 0; i < w->n && found < WHENS_MAX;) {
		struct when *when = &out[found];
		size_t at;
		size_t n = piece_from(w, i, now, when, &at);
		if (n == 0 || is_adjective(w, i, when)) {
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
