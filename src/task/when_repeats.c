/*
 * What comes again: "every Monday", "on Tuesdays", "twice a week", "daily".
 */
#include "task/pattern.h"
#include "task/when_inside.h"

/* What comes again and again. */
static const char repeated[] =
    "day days week weeks weekday weekdays month months year years hour hours "
    "minute minutes morning afternoon evening night weekend mornings evenings "
    "nights weekends mondays tuesdays wednesdays thursdays fridays saturdays "
    "sundays quarter fortnight";

/* "on Mondays", but not "on Monday's agenda" */
static bool
is_plural_day(const struct words *w, size_t i)
{
	return words_is_in(w, i,
	    "mondays tuesdays wednesdays thursdays fridays saturdays sundays "
	    "weekdays weekends");
}

/* "every [other|two] Mondays", "each month" */
static size_t
every_at(const struct words *w, size_t i)
{
	size_t at = i + 1;

	at += words_is_in(w, at, "and") && words_is(w, at + 1, "every") ? 2 : 0;
	at += words_is_in(w, at, "other single second few last first") ||
	      words_number(w, at) > 0 || words_ordinal(w, at) > 0;
	return words_is_in(w, at, repeated) || when_weekday_of(w, at) >= 0
		   ? at + 1 - i
		   : 0;
}

/* "once a week", "three times per day" */
static size_t
times_at(const struct words *w, size_t i)
{
	size_t at = i;

	if (words_is_in(w, i, "once twice"))
		at++;
	else if (words_number(w, i) > 0 && words_is(w, i + 1, "times"))
		at += 2;
	else
		return 0;
	return words_is_in(w, at, "a per each every") &&
		       words_is_in(w, at + 1, repeated)
		   ? at + 2 - i
		   : 0;
}

/* How often; words that it takes, 0: it is none. */
static size_t
repeat_at(const struct words *w, size_t i, const char *things)
{
	size_t n = words_is_in(w, i, "every each") ? every_at(w, i) : 0;

	if (n == 0)
		n = times_at(w, i);
	if (n > 0)
		return n;
	if (words_is_in(w, i, "on at") && is_plural_day(w, i + 1))
		return 2;
	if (!words_is_in(w, i,
		"daily weekly monthly yearly annually hourly nightly "
		"fortnightly biweekly quarterly recurring repeating"))
		return 0;
	bool is_last = i + 1 == w->n || w->at[i + 1].kind == WORD_MARK;
	bool is_said = is_last || words_is_in(w, i + 1, "to at on about that");
	bool is_of_me = i > 0 && words_is_in(w, i - 1, "me");
	return is_last || (is_said && is_of_me) ||
		       pattern_class(things, w, i + 1) > 0
		   ? 1
		   : 0;
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
