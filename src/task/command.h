/*
 * What a message in English wants: its intent, the operation on tasks that it
 * asks for, and the dates, titles and priorities in it. There is no model in
 * it: words are held against the table grammar.def, dates against the user's
 * clock and time zone. What does not fit is left alone; "how do I create a task
 * in Jira?" is a question.
 *
 * A message that is a yes: intent CONFIRMATION_YES, a no: CONFIRMATION_NO.
 *
 * Pure: no SQL, no I/O, no state. Thread: any.
 */
#ifndef TASK_COMMAND_H
#define TASK_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/civil.h"

struct buf;
struct zone;

enum command_intent {
#define INTENT(id, name) INTENT_##id,
#include "task/intents.def"
#undef INTENT
	INTENT__MAX
};

/* Why an operation that was asked for cannot be run as it stands. */
enum command_problem {
	COMMAND_IS_FIT,
	COMMAND_NO_TITLE,       /* nothing to do was named */
	COMMAND_TITLE_TOO_LONG, /* than a task's may be */
	COMMAND_REPEATS,        /* "every Monday" */
	COMMAND_AMBIGUOUS_DATE, /* "4/5" */
	COMMAND_NO_SUCH_DATE,   /* "31 February" */
	COMMAND_PAST_DATE,
	COMMAND_RELATIVE_DATE, /* "back by two days" */
	COMMAND_TOO_MANY,      /* "delete all my tasks" */
};

/* A title of 500 characters, of four bytes each, with its NUL. */
#define COMMAND_TEXT 2001

/* More dates than this of one message are not told. */
#define COMMAND_DATES 4

/* As a task's number: "it", what was spoken of last. */
#define COMMAND_LAST (-1)

/* A moment that was named: a day, which is due when it ends, or an hour. */
struct command_time {
	bool is_set;
	bool has_hour;
	struct civil local; /* in the user's time zone; 23:59 without an hour */
	int64_t utc_s;      /* seconds since 1970 */
};

/* A date in the message: where it stands, and when it is. */
struct command_date {
	size_t start, end;
	struct command_time time;
};

/* Strings are UTF-8 and "" or NULL where nothing was said. */
struct command {
	enum command_intent intent;
	enum command_problem problem;
	bool needs_zone; /* a date was found: what it means depends on the zone
			  */

	char title[COMMAND_TEXT];  /* to create, or to rename to */
	char target[COMMAND_TEXT]; /* the words that name a task, or list some
				    */
	char query[COMMAND_TEXT];  /* of SEARCH_DOCUMENTS */
	int number;                /* the task's in what was shown last, also of
				    * CHOICE; 0: none */
	const char *priority;      /* as the API calls it */
	const char *status;        /* to set; of a list: "all" or one, NULL:
				    * what is not done */
	struct command_time due;   /* to set */
	bool clears_due;
	struct command_time from;  /* of a list: due from then */
	struct command_time until; /* and before then */

	size_t n_dates;
	struct command_date dates[COMMAND_DATES];
};

/* Reads `n` bytes of clean UTF-8, said at `now_s` in `zone`. */
void command_parse(const char *text, size_t n, int64_t now_s,
    const struct zone *zone, struct command *out);

/* The intent's name in the API. */
const char *command_intent_name(enum command_intent intent);

/* Can this be run: is it an operation on tasks without a problem? */
bool command_is_operation(const struct command *c);

/*
 * Appends a JSON object with what was found in the message, of which `text` is
 * the same as before: "{}" where nothing was.
 */
void command_write_entities(const struct command *c, const char *text,
    const struct zone *zone, struct buf *out);

#endif
