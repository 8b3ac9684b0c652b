/*
 * Words and nothing else: who has what to say is local_command.c's.
 */
#include <json-c/json.h>
#include <string.h>

#include "base/buf.h"
#include "base/civil.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/zone.h"
#include "chat/local_say.h"
#include "chat/retrieve.h"

/* The most passages that are quoted, and bytes of one. */
#define QUOTES_MAX  3
#define QUOTE_BYTES 700

#define DAY_S 86400

static const char *const months[] = {"January", "February", "March", "April",
    "May", "June", "July", "August", "September", "October", "November",
    "December"};
static const char *const weekdays[] = {"Monday", "Tuesday", "Wednesday",
    "Thursday", "Friday", "Saturday", "Sunday"};

static const char *const problems[] = {
    [COMMAND_NO_TITLE] =
	"What shall the task be called? Say it like this: “remind me to water "
	"the plants tomorrow at 9am”.",
    [COMMAND_TITLE_TOO_LONG] =
	"That is too long for a task: a title has at most 500 characters.",
    [COMMAND_REPEATS] =
	"I cannot repeat tasks, so I noted nothing. Give me a single date, "
	"such as “next Monday”, and I will note it.",
    [COMMAND_AMBIGUOUS_DATE] =
	"That date can be read in two ways, so I changed nothing. Please write "
	"the month as a word (“4 May”) or the whole date as 2026-05-04.",
    [COMMAND_NO_SUCH_DATE] =
	"The calendar has no such date, so I changed nothing.",
    [COMMAND_PAST_DATE] =
	"That moment has passed already, so I changed nothing.",
    [COMMAND_RELATIVE_DATE] =
	"I can only move a task to a date, not by a number of days, so I "
	"changed nothing. Say “move it to next Monday”, for example.",
    [COMMAND_TOO_MANY] =
	"I do that for one task at a time, so I did nothing. Name one task in "
	"each message; “show my tasks” lists them.",
};

struct local_task
local_task_of(struct json_object *o)
{
	return (struct local_task){
	    .title = json_member_text(o, "title"),
	    .status = json_member_text(o, "status"),
	    .priority = json_member_text(o, "priority"),
	    .due_at = json_member_text(o, "due_at"),
	};
}

static void
put_plain(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (strchr("\\`*[<", *text))
			buf_putc(out, '\\');
		bool is_break = *text == '\n' || *text == '\r';
		buf_add(out, is_break ? " " : text, 1);
	}
}

void
say_title(struct buf *out, const char *title)
{
	buf_puts(out, "“");
	put_plain(out, title ? title : "");
	buf_puts(out, "”");
}

static int64_t
day_of(const struct civil *c)
{
	return civil_days(c->year, c->month, c->day);
}

/* "today", "tomorrow", "Friday, 13 March"; the year where it is another. */
static void
say_day(
    struct buf *out, const struct civil *at, const struct local_clock *clock)
{
	struct civil now = zone_local(clock->zone, clock->now_s);
	int64_t ahead = day_of(at) - day_of(&now);

	if (ahead == 0)
		buf_puts(out, "today, ");
	else if (ahead == 1)
		buf_puts(out, "tomorrow, ");
	buf_printf(out, "%s, %d %s", weekdays[civil_weekday(day_of(at))],
	    at->day, months[at->month - 1]);
	if (at->year != now.year)
		buf_printf(out, " %d", at->year);
}

/* What is due at the end of a day has no hour. */
static void
say_due(struct buf *out, const char *due_at, const struct local_clock *clock)
{
	int64_t ms;

	if (!due_at || !clock_parse(due_at, &ms))
		return;
	struct civil at = zone_local(clock->zone, ms / 1000);
	buf_puts(out, ms / 1000 < clock->now_s ? ", was due " : ", due ");
	say_day(out, &at, clock);
	if (at.hour != 23 || at.minute != 59)
		buf_printf(out, ", %02d:%02d", at.hour, at.minute);
}

void
say_details(struct buf *out, const struct local_task *t,
    const struct local_clock *clock)
{
	say_due(out, t->due_at, clock);
	if (t->priority && strcmp(t->priority, "normal") != 0)
		buf_printf(out, ", %s priority", t->priority);
	if (!t->status || !strcmp(t->status, "open"))
		return;
	buf_printf(out, " (%s)",
	    !strcmp(t->status, "in_progress") ? "in progress" : t->status);
}

void
say_item(struct buf *out, size_t number, const struct local_task *t,
    const struct local_clock *clock)
{
	buf_printf(out, "\n%zu. ", number);
	put_plain(out, t->title ? t->title : "");
	say_details(out, t, clock);
}

void
say_range(
    struct buf *out, const struct command *c, const struct local_clock *clock)
{
	if (!c->until.is_set)
		return;
	if (c->until.utc_s == clock->now_s) {
		buf_puts(out, " that were due before now");
		return;
	}
	/* The last moment of the day before. */
	struct civil last = zone_local(clock->zone, c->until.utc_s - 1);
	buf_puts(out, " due ");
	if (!c->from.is_set) {
		buf_puts(out, "until ");
	} else if (c->until.utc_s - c->from.utc_s > DAY_S + 2 * 3600) {
		say_day(out, &c->from.local, clock);
		buf_puts(out, " to ");
	}
	say_day(out, &last, clock);
}

void
say_problem(struct buf *out, enum command_problem problem)
{
	buf_puts(out, problems[problem]);
}

/* As much of a passage as a quote holds, to the end of a word. */
static size_t
quote_length(const char *text)
{
	size_t n = strlen(text);

	if (n <= QUOTE_BYTES)
		return n;
	n = text_prefix(text, n, QUOTE_BYTES);
	while (n > 0 && text[n - 1] != ' ' && text[n - 1] != '\n')
		n--;
	return n > 0 ? n : text_prefix(text, strlen(text), QUOTE_BYTES);
}

static void
say_quote(struct buf *out, const char *text, size_t number)
{
	size_t n = quote_length(text);
	bool is_cut = text[n] != '\0';

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	buf_puts(out, "\n\n> ");
	for (size_t i = 0; i < n; i++) {
		buf_putc(out, text[i]);
		if (text[i] == '\n')
			buf_puts(out, "> ");
	}
	buf_printf(out, "%s [%zu]", is_cut ? " …" : "", number);
}

void
say_passages(struct buf *out, struct passages_found *found)
{
	size_t n = found->n < QUOTES_MAX ? found->n : QUOTES_MAX;

	found->n = n;

	buf_puts(out, n == 1 ? "This is what I found in your documents:"
			     : "These passages of your documents fit best:");
	for (size_t i = 0; i < n; i++)
		say_quote(out, found->passages[i].content, i + 1);
	buf_putc(out, '\n');
	for (size_t i = 0; i < n; i++) {
		const struct passage *p = &found->passages[i];
		buf_printf(out, "\n- [%zu] ", i + 1);
		put_plain(out, p->title);
		if (*p->heading) {
			buf_puts(out, ", ");
			put_plain(out, p->heading);
		}
	}
}
