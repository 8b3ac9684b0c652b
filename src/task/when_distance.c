/*
 * Days and moments by their distance: "in two and a half hours", "a week from
 * Friday".
 */
#include "base/civil.h"
#include "task/when_inside.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* A distance's units: in seconds, in days, in months. */
static const struct unit {
	const char *names;
	const char *glued; /* "2h", "90min" */
	int seconds, days, months;
} units[] = {
    {"minute minutes", "m min mins minutes", 60, 0, 0},
    {"hour hours", "h hr hrs hours", 3600, 0, 0},
    {"day days", "d days", 0, 1, 0},
    {"week weeks", "w wk wks weeks", 0, 7, 0},
    {"fortnight fortnights", "", 0, 14, 0},
    {"month months", "", 0, 0, 1},
    {"year years", "y", 0, 0, 12},
};

/* How far: so many half units, and minutes besides. */
struct amount {
	const struct unit *unit;
	int halves, minutes;
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
set_distance(
    struct when *out, const struct when_now *now, const struct amount *amount)
{
	const struct unit *unit = amount->unit;

	if (unit->seconds > 0) {
		out->is_moment = true;
		out->utc_s = now->now_s +
			     (int64_t)amount->halves * unit->seconds / 2 +
			     (int64_t)amount->minutes * 60;
		/* A minute is told, not its seconds. */
		out->utc_s -= out->utc_s % 60;
		return;
	}
	struct civil at =
	    civil_add_months(&now->local, amount->halves * unit->months / 2);
	when_set_day(out,
	    civil_days(at.year, at.month, at.day) +
		(int64_t)amount->halves * unit->days / 2,
	    1);
}

/* "2h", "90min": a number and its unit in one word. */
static size_t
glued(const struct words *w, size_t i, struct amount *out)
{
	const char *s = i < w->n ? w->at[i].norm : "";
	int n = 0, count = 0;

	for (; *s >= '0' && *s <= '9' && count < 4; s++, count++)
		n = n * 10 + (*s - '0');
	if (count == 0 || *s == '\0')
		return 0;
	for (size_t k = 0; k < COUNT(units); k++) {
		if (!words_holds(units[k].glued, s))
			continue;
		*out = (struct amount){.unit = &units[k], .halves = n * 2};
		return 1;
	}
	return 0;
}

/* "two", "a", "a couple of", "a few", and a half */
static size_t
count_of(const struct words *w, size_t i, int *out_halves)
{
	size_t at = i;
	int n = words_number(w, at);

	if (n >= 0) {
		at++;
	} else if (words_is_in(w, at, "a an another")) {
		at++;
		n = 1;
		if (words_is(w, at, "couple")) {
			at += words_is(w, at + 1, "of") ? 2 : 1;
			n = 2;
		} else if (words_is(w, at, "few")) {
			at++;
			n = 3;
		}
	} else {
		return 0;
	}
	*out_halves = n * 2;
	return at - i;
}

/* "and a half" */
static size_t
half_more(const struct words *w, size_t i, int *halves)
{
	if (!words_is(w, i, "and") || !words_is(w, i + 1, "a") ||
	    !words_is(w, i + 2, "half"))
		return 0;
	*halves += 1;
	return 3;
}

/* "two weeks", "an hour and a half", "half an hour", "1 hour and 10 minutes" */
static size_t
amount_at(const struct words *w, size_t i, struct amount *out)
{
	size_t at = i;

	*out = (struct amount){0};
	if (words_is(w, at, "half") && words_is_in(w, at + 1, "a an")) {
		*out = (struct amount){unit_of(w, at + 2), 1, 0};
		return out->unit ? 3 : 0;
	}
	size_t n = glued(w, i, out);
	if (n > 0)
		return n;
	at += count_of(w, i, &out->halves);
	if (at == i)
		return 0;
	at += half_more(w, at, &out->halves);
	out->unit = unit_of(w, at++);
	if (!out->unit)
		return 0;
	at += half_more(w, at, &out->halves);
	/* "and 15 minutes" */
	size_t and = words_is(w, at, "and") ? 1 : 0;
	int minutes = words_number(w, at + and);
	if (out->unit->seconds == 3600 && minutes > 0 && minutes < 60 &&
	    words_is(w, at + and+1, "minutes")) {
		out->minutes = minutes;
		at += and+2;
	}
	return at - i;
}

/* "from Friday", "on Tuesday", "after tomorrow" behind "a week" */
static size_t
counted_from(const struct words *w, size_t i, const struct when_now *now,
    const struct amount *amount, struct when *out)
{
	struct when from = {0};
	size_t n;

	if (amount->unit->days == 0 || !words_is_in(w, i, "from on after"))
		return 0;
	n = when_weekday(w, i + 1, now, &from);
	if (n == 0)
		n = when_named(w, i + 1, now, &from);
	if (n == 0 || !from.has_day || from.has_hour)
		return 0;
	when_set_day(out,
	    from.day + (int64_t)amount->halves * amount->unit->days / 2, 1);
	return n + 1;
}

/* "in two weeks", "two weeks from now", "a week on Tuesday" */
size_t
when_distance(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	struct amount amount;
	size_t in = words_is_in(w, i, "in within") ? 1 : 0;
	size_t n = in + amount_at(w, i + in, &amount);

	if (n == in)
		return 0;
	size_t more = in ? 0 : counted_from(w, i + n, now, &amount, out);
	if (more > 0)
		return n + more;
	if (words_is(w, i + n, "from") &&
	    words_is_in(w, i + n + 1, "now today"))
		n += 2;
	else if (!in)
		return 0;
	/* "in ten days' time" */
	n += words_is(w, i + n, "time") ? 1 : 0;
	set_distance(out, now, &amount);
	return n;
}
