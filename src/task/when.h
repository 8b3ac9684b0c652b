/*
 * Dates and hours among words: "tomorrow at half past nine", "the 3rd of
 * March", "in two weeks". What loose words mean is in the table of day parts
 * and in phrases.def of the tests.
 *
 * Pure. Thread: any.
 */
#ifndef TASK_WHEN_H
#define TASK_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "task/command.h"

struct words;
struct zone;

#define WHENS_MAX 4

/* What an hour without a.m. or p.m. may be. */
enum when_half {
	WHEN_BARE,  /* either */
	WHEN_AM,    /* before noon */
	WHEN_PM,    /* after it */
	WHEN_WHOLE, /* of 24 hours */
};

/* What is only implied and gives way to what is said. */
enum when_way {
	WHEN_DAY = 1,  /* "by close of business on Friday" */
	WHEN_HOUR = 2, /* "tonight at nine" */
};

/* One of them, as it was said. */
struct when {
	size_t first, last; /* words, [first, last), prepositions included */
	size_t named;       /* the first one behind the preposition */
	enum command_problem problem;
	unsigned gives_way; /* enum when_way */

	bool has_day;
	int64_t day;     /* since 1970-01-01 */
	int days;        /* how many: a week has 7 */
	bool is_weekday; /* a day by its name alone */

	bool has_hour;
	int hour, minute;
	enum when_half half;

	bool is_moment; /* "in two hours": a moment by itself */
	int64_t utc_s;
};

/* By what the words are understood. */
struct when_now {
	const struct zone *zone;
	int64_t now_s;
	struct civil local;
	int64_t today; /* since 1970-01-01 */
};

struct when_now when_now(int64_t now_s, const struct zone *zone);

/* Makes finding quick; called once, before all. */
void when_make_hints(void);

/* Finds up to WHENS_MAX among the words that are not hidden; hides none. */
size_t when_find(const struct words *w, const struct when_now *now,
    struct when out[static WHENS_MAX]);

/* Puts the hour of one to the day of the other. */
bool when_merge(struct when *to, const struct when *other);

/* When that is: the next time that it comes. */
struct command_time
when_time(const struct when *when, const struct when_now *now);

/* The beginning of that day in the user's zone. */
struct command_time when_midnight(int64_t day, const struct when_now *now);

/* This moment. */
struct command_time when_this_moment(const struct when_now *now);

/* Hides "every Monday", "on Mondays", "twice a week", "daily" before what the
 * class `things` has; is there any? */
bool when_hide_repeats(struct words *w, const char *things);

#endif
