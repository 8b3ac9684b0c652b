/*
 * From what a rule captured to the command's fields: which captures can be a
 * title or a target at all, and what a date is to what is done with it.
 */
#include <stdio.h>
#include <string.h>

#include "base/civil.h"
#include "task/reading.h"
#include "task/target.h"

/* A title has at most so many characters (TASK_TITLE_MAX of chat/task.h). */
#define TITLE_MAX 500

/* "Did I finish task 2?" is no word that it is done. */
static bool
is_asked(const struct reading *r)
{
	const struct words *w = &r->w;
	size_t last = w->n;

	while (last > 0 && w->at[last - 1].kind == WORD_MARK) {
		if (words_is(w, --last, "?"))
			return r->begin == r->first;
	}
	return false;
}

/* "Task 2 isn't" names nothing. */
static bool
tells(const struct words *w, size_t from, size_t to)
{
	static const char verbs[] =
	    "not isnt never havent didnt hasnt wasnt is are was were if when "
	    "should will said says told dont doesnt cant wont would";

	for (size_t i = from; i < to; i++) {
		if (!w->at[i].is_hidden && words_is_in(w, i, verbs))
			return true;
	}
	return false;
}

static bool
is_target(const struct target *t, unsigned flags)
{
	bool is_fit = true;

	if ((flags & PLAIN) != 0)
		is_fit = t->is_plain;
	else if ((flags & NAMED) != 0)
		is_fit = t->is_named;
	else if ((flags & DEED) != 0)
		is_fit = t->is_deed;
	else if ((flags & SHORT) != 0)
		is_fit = t->to - t->from <= 2;
	return is_fit && !t->is_any;
}

static bool
set_target(
    struct reading *r, const struct rule *rule, const struct pattern_fit *fit)
{
	const struct words *w = &r->w;
	size_t from = fit->parts[PATTERN_TARGET].from;
	size_t to = fit->parts[PATTERN_TARGET].to;
	struct command *out = r->out;
	bool is_list = rule->intent == INTENT_LIST_TASKS;

	if (from == to)
		return true;
	bool is_said =
	    !strncmp(rule->pattern, "TARGET", 6) || (rule->flags & SHORT) != 0;
	if (is_said && (tells(w, from, to) || is_asked(r)))
		return false;
	if (!is_list && words_is_in(w, from, "i you he she we they there"))
		return false;
	if (!is_list && target_names_many(w, from, to)) {
		out->problem = COMMAND_TOO_MANY;
		return true;
	}
	struct target t = target_read(w, from, to);
	if (!is_target(&t, rule->flags) || (is_list && t.number != 0))
		return false;
	out->number = t.number;
	return t.number != 0 ||
	       words_copy(w, t.from, t.to, out->target, sizeof(out->target));
}

static size_t
characters(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* "Remind me to call mom and remind me to ..." is two commands. */
static bool
holds_another(const struct words *w, size_t from, size_t to)
{
	for (size_t i = from + 1; i < to; i++) {
		bool is_joined = words_is_in(w, i, "and also then") ||
				 w->at[i].kind == WORD_MARK;
		size_t at = i + 1;
		at += words_is_in(w, at, "also then please and");
		if (is_joined && (pattern_class("@remind", w, at) > 0 ||
				     pattern_begins("add|create|set a|another "
						    "@task",
					 w, at, to) > 0))
			return true;
	}
	return false;
}

/* Is it what somebody asks of the reader, and nothing of the user's own? */
static bool
is_for_reader(const struct words *w, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (words_is_in(w, i, "you your yours yourself"))
			return true;
	}
	return pattern_class("@prompt", w, from) > 0;
}

static bool
is_title(const struct reading *r, const struct rule *rule,
    const struct pattern_fit *fit)
{
	const struct words *w = &r->w;
	size_t from = fit->parts[PATTERN_TITLE].from;
	size_t to = fit->parts[PATTERN_TITLE].to;
	bool is_single = from + 1 == to;

	/* "from Monday to Friday" */
	for (size_t i = 0; i < r->n_whens; i++) {
		const struct when *when = &r->whens[i];
		size_t at = from + (words_is(w, from, "to") ? 1 : 0);
		if (when != r->when && when->first == at && when->last < to)
			return false;
	}
	if (words_is_in(w, from,
		"what whats who whos whom whose when where why how which if "
		"whether again never"))
		return false;
	if (is_single && words_is_in(w, from,
			     "tasks task todo todos reminders reminder things "
			     "stuff something items alarms please me them "
			     "these those"))
		return false;
	/* "..., said the diver" */
	for (size_t i = from + 1; i < to; i++) {
		if (w->at[i - 1].kind == WORD_MARK &&
		    words_is_in(w, i, "said says asked told"))
			return false;
	}
	/* "make task 3 urgent" makes none */
	if (from > 1 && words_is_in(w, from - 1, "task todo reminder") &&
	    words_number(w, from) > 0 &&
	    !words_is_in(w, from - 2, "a an new another"))
		return false;
	/* "2 days before" */
	if (from > 0 && words_number(w, from - 1) > 0 &&
	    pattern_class("@unit", w, from) > 0)
		return false;
	/* "a task force" */
	if (from > 0 && words_is_in(w, from - 1, "task todo reminder do") &&
	    pattern_class("@compound", w, from) > 0)
		return false;
	if ((rule->flags & MINE) != 0 && is_for_reader(w, from, to))
		return false;
	return (rule->flags & OWN) == 0 ||
	       pattern_class("@story", w, from) == 0;
}

static bool
set_title(
    struct reading *r, const struct rule *rule, const struct pattern_fit *fit)
{
	struct words *w = &r->w;
	size_t from = fit->parts[PATTERN_TITLE].from;
	size_t to = fit->parts[PATTERN_TITLE].to;
	char *title = r->out->title;

	if (from == to)
		return true;
	if (!is_title(r, rule, fit))
		return false;
	/* "due" goes with its date. */
	if (r->when && r->when->first > from && r->when->first <= to) {
		size_t lead = r->when->first;
		if (pattern_ends("@due_lead", w, from, &lead))
			words_hide(w, lead, r->when->first);
	}
	if (!words_copy(w, from, to, title, COMMAND_TEXT) ||
	    characters(title) > TITLE_MAX)
		r->out->problem = COMMAND_TITLE_TOO_LONG;
	else if (*title == '\0' ||
		 (from + 1 == to && words_is_in(w, from, "it this that")))
		r->out->problem = COMMAND_NO_TITLE;
	else if (holds_another(w, from, to))
		r->out->problem = COMMAND_TOO_MANY;
	else if (*title >= 'a' && *title <= 'z')
		*title = (char)(*title - 'a' + 'A');
	return true;
}

static void
set_query(struct reading *r, const struct pattern_fit *fit)
{
	struct words *w = &r->w;
	size_t from = fit->parts[PATTERN_QUERY].from;
	size_t to = fit->parts[PATTERN_QUERY].to;

	/* Dates are words to look for, too. */
	while (to < w->n && w->at[to].is_hidden)
		to++;
	for (size_t i = 0; i < w->n; i++)
		w->at[i].is_hidden = false;
	from += from < to && words_is_in(w, from, "the a an");
	(void)words_copy(w, from, to, r->out->query, COMMAND_TEXT);
}

/* A week that has begun is due at its end. */
static void
set_due(struct reading *r, const struct rule *rule)
{
	struct when due = *r->when;
	struct command *out = r->out;

	/* Who is to be woken sleeps in the morning. */
	if (rule->intent == INTENT_CREATE_TASK && rule->value &&
	    due.half == WHEN_BARE)
		due.half = WHEN_AM;

	if (due.has_day && due.days > 1 && due.day <= r->now.today) {
		due.day += due.days == 7 ? CIVIL_FRIDAY : due.days - 1;
		if (due.day < r->now.today)
			due.day = r->when->day + due.days - 1;
	}
	out->due = when_time(&due, &r->now);
	if (due.problem)
		out->problem = due.problem;
	else if (out->due.utc_s < r->now.now_s)
		out->problem = COMMAND_PAST_DATE;
}

/* From the date's beginning to its end, or only until it. */
static void
set_range(struct reading *r, const struct rule *rule)
{
	const struct words *w = &r->w;
	const struct when *when = r->when;
	struct command *out = r->out;

	if ((rule->flags & LATE) != 0)
		out->until = when_this_moment(&r->now);
	if (!when || !when->has_day)
		return;
	bool is_before = words_is(w, when->first, "before");
	if (!is_before && !words_is_in(w, when->first, "by until till"))
		out->from = when_midnight(when->day, &r->now);
	if ((rule->flags & LATE) == 0)
		out->until = when_midnight(
		    when->day + (is_before ? 0 : when->days), &r->now);
	if (when->problem && when->problem != COMMAND_PAST_DATE)
		out->problem = when->problem;
}

/* Nothing can be done: nothing of it is told either. */
static void
forget(struct command *out)
{
	out->title[0] = out->target[0] = '\0';
	out->number = 0;
	out->priority = out->status = NULL;
	out->due = out->from = out->until = (struct command_time){0};
	out->clears_due = false;
}

/* What the rule's value sets. */
static void
set_value(struct reading *r, const struct rule *rule)
{
	struct command *out = r->out;

	if (!rule->value)
		return;
	if (rule->intent == INTENT_CREATE_TASK)
		(void)snprintf(
		    out->title, sizeof(out->title), "%s", rule->value);
	else if (!strcmp(rule->value, "no due"))
		out->clears_due = true;
	else if (!strcmp(rule->value, "high") || !strcmp(rule->value, "low"))
		out->priority = rule->value;
	else
		out->status = rule->value;
}

/* Why a command of this rule cannot be run, whatever else it says. */
static void
set_problem(struct reading *r, const struct rule *rule)
{
	struct command *out = r->out;
	bool changes = rule->intent == INTENT_CREATE_TASK ||
		       rule->intent == INTENT_UPDATE_TASK;

	if ((rule->flags & UNTITLED) != 0)
		out->problem = COMMAND_NO_TITLE;
	if ((rule->flags & MANY) != 0)
		out->problem = COMMAND_TOO_MANY;
	if ((rule->flags & BY) != 0)
		out->problem = COMMAND_RELATIVE_DATE;
	if (changes && r->repeats)
		out->problem = COMMAND_REPEATS;
	if (out->problem)
		forget(out);
}

static void
set_rest(
    struct reading *r, const struct rule *rule, const struct pattern_fit *fit)
{
	struct command *out = r->out;
	bool changes = rule->intent == INTENT_CREATE_TASK ||
		       rule->intent == INTENT_UPDATE_TASK;

	if (fit->parts[PATTERN_PRIORITY].to > 0)
		out->priority =
		    pattern_priority(&r->w, fit->parts[PATTERN_PRIORITY].from);
	set_value(r, rule);
	if ((rule->flags & LAST) != 0)
		out->number = COMMAND_LAST;
	if (rule->intent == INTENT_LIST_TASKS)
		set_range(r, rule);
	else if (changes && r->when && !out->clears_due)
		set_due(r, rule);
	if (fit->parts[PATTERN_QUERY].to > 0)
		set_query(r, fit);
	set_problem(r, rule);
}

bool
slots_fill(
    struct reading *r, const struct rule *rule, const struct pattern_fit *fit)
{
	const char *priority = r->out->priority;

	if (!set_target(r, rule, fit) || !set_title(r, rule, fit)) {
		r->out->problem = COMMAND_IS_FIT;
		forget(r->out);
		r->out->priority = priority;
		return false;
	}
	r->out->intent = rule->intent;
	set_rest(r, rule, fit);
	return true;
}
