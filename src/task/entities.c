/*
 * What a command found, as the JSON that is stored with the message.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "base/zone.h"
#include "task/command.h"

/* As entities call them. */
static const char *const problems[] = {
    [COMMAND_NO_TITLE] = "no_title",
    [COMMAND_TITLE_TOO_LONG] = "title_too_long",
    [COMMAND_REPEATS] = "repeats",
    [COMMAND_AMBIGUOUS_DATE] = "ambiguous_date",
    [COMMAND_NO_SUCH_DATE] = "no_such_date",
    [COMMAND_PAST_DATE] = "past_date",
    [COMMAND_RELATIVE_DATE] = "relative_date",
    [COMMAND_TOO_MANY] = "too_many",
};

static void
put_time(struct buf *out, const char *key, const struct command_time *t)
{
	struct civil utc = civil_of_seconds(t->utc_s);
	char text[48];

	if (!t->is_set)
		return;
	(void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ",
	    utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second);
	json_write_text(out, key, text);
}

static void
put_text(struct buf *out, const char *key, const char *text)
{
	if (text && *text != '\0')
		json_write_text(out, key, text);
}

static void
put_date(struct buf *out, const struct command_date *date, const char *text)
{
	const struct civil *c = &date->time.local;
	char local[48];

	(void)snprintf(
	    local, sizeof(local), "%04d-%02d-%02d", c->year, c->month, c->day);
	if (date->time.has_hour)
		(void)snprintf(local + strlen(local),
		    sizeof(local) - strlen(local), "T%02d:%02d", c->hour,
		    c->minute);
	json_write_open(out, NULL, '{');
	json_write_bytes(
	    out, "text", text + date->start, date->end - date->start);
	json_write_text(out, "local", local);
	put_time(out, "at", &date->time);
	json_write_close(out, '}');
}

void
command_write_entities(const struct command *c, const char *text,
    const struct zone *zone, struct buf *out)
{
	json_write_open(out, NULL, '{');
	put_text(out, "title", c->title);
	put_text(out, "target", c->target);
	put_text(out, "query", c->query);
	if (c->number != 0)
		json_write_number(out, "number", c->number);
	put_text(out, "priority", c->priority);
	put_text(out, "status", c->status);
	put_time(out, "due_at", &c->due);
	if (c->clears_due)
		json_write_flag(out, "clears_due_at", true);
	put_time(out, "due_after", &c->from);
	put_time(out, "due_before", &c->until);
	put_text(out, "problem", problems[c->problem]);
	if (c->n_dates > 0) {
		json_write_open(out, "dates", '[');
		for (size_t i = 0; i < c->n_dates; i++)
			put_date(out, &c->dates[i], text);
		json_write_close(out, ']');
		json_write_text(out, "time_zone", zone_name(zone));
	}
	json_write_close(out, '}');
}
