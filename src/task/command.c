/*
 * From words to a command. What can be told by itself (dates, priorities, what
 * repeats, politeness) is taken out of the words first; the rest must fit a
 * rule of grammar.def as a whole, or the message is no command.
 */
#include <string.h>

#include "base/zone.h"
#include "task/command.h"
#include "task/pattern.h"
#include "task/talk.h"
#include "task/target.h"
#include "task/when.h"
#include "task/words.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* A title has at most so many characters (TASK_TITLE_MAX of chat/task.h). */
#define TITLE_MAX 500

enum flag {
	PLAIN = 1,
	WHEN = 2,
	PRIO = 4,
	LOUD = 8,
	UNTITLED = 16,
	LATE = 32,
};

static const struct rule {
	const char *pattern;
	const char *status;
	enum command_intent intent;
	unsigned flags;
} rules[] = {
#define RULE(intent_, pattern_, flags_, status_) \
	{.pattern = (pattern_),                  \
	    .status = (status_),                 \
	    .intent = INTENT_##intent_,          \
	    .flags = (flags_)},
#include "task/grammar.def"
#undef RULE
};

static const char *const openings[] = {
#define OPENING(pattern) pattern,
#include "task/openings.def"
#undef OPENING
};

static const char *const names[] = {
#define INTENT(id, name) [INTENT_##id] = (name),
#include "task/intents.def"
#undef INTENT
};

/* One call of command_parse. */
struct reading {
	struct words w;
	struct when_now now;
	struct when whens[WHENS_MAX];
	size_t n_whens;
	struct when *when; /* the one that the command is about; or NULL */
	bool repeats;
	size_t begin, end; /* the words without politeness around them */
	struct command *out;
};

const char *
command_intent_name(enum command_intent intent)
{
	return names[intent];
}

bool
command_is_operation(const struct command *c)
{
	return c->intent <= INTENT_DELETE_TASK && c->problem == COMMAND_IS_FIT;
}

/*
 * Of several dates the command's is the one beside its verb ("remind me
 * tomorrow to prepare for Friday"), else the last. A day here and an hour there
 * are one.
 */
static void
choose_when(struct reading *r)
{
	struct words *w = &r->w;
	struct when *first = &r->whens[0];
	struct when *last = &r->whens[r->n_whens > 0 ? r->n_whens - 1 : 0];

	if (r->n_whens == 0)
		return;
	r->when = first;
	if (r->n_whens == 2 && when_merge(first, last)) {
		words_hide(w, last->first, last->last);
	} else if (r->n_whens > 1 && first->first > r->begin + 3) {
		r->when = last;
	}
	words_hide(w, r->when->first, r->when->last);
}

static void
note_dates(struct reading *r)
{
	struct command *out = r->out;

	for (size_t i = 0; i < r->n_whens && i < COMMAND_DATES; i++) {
		const struct when *when = &r->whens[i];
		if (when->problem == COMMAND_NO_SUCH_DATE ||
		    when->problem == COMMAND_AMBIGUOUS_DATE)
			continue;
		out->dates[out->n_dates++] = (struct command_date){
		    .start = r->w.at[when->named].start,
		    .end = r->w.at[when->last - 1].end,
		    .time = when_time(when, &r->now),
		};
	}
	out->needs_zone = r->n_whens > 0;
}

/* "with high priority", "priority: high", "urgent task", ", urgent" */
static size_t
priority_at(const struct words *w, size_t i, const char **out)
{
	static const char strong[] = "urgent important critical";

	if (words_is(w, i, "priority")) {
		size_t at = i + 1;
		at += words_is_in(w, at, ": is");
		*out = pattern_priority(w, at);
		return *out ? at + 1 - i : 0;
	}
	*out = pattern_priority(w, i);
	if (!*out)
		return 0;
	if (words_is(w, i + 1, "priority"))
		return 2;
	bool is_of_task = words_is_in(w, i + 1, pattern_task) ||
			  words_is_in(w, i + 1, "tasks todos reminders");
	bool is_last = i > 0 && words_is(w, i - 1, ",") && i + 1 == w->n;
	return words_is_in(w, i, strong) && (is_of_task || is_last) ? 1 : 0;
}

static void
hide_priority(struct reading *r)
{
	struct words *w = &r->w;

	for (size_t i = 0; i < w->n; i++) {
		const char *priority = NULL;
		size_t n =
		    w->at[i].is_hidden ? 0 : priority_at(w, i, &priority);
		if (n == 0)
			continue;
		size_t from = i;
		from -= i > 0 && words_is_in(w, i - 1, "with at as");
		words_hide(w, from, i + n);
		r->out->priority = priority;
	}
}

/* Passes by what is said before it comes to the point. */
static size_t
skip_openings(const struct words *w)
{
	size_t begin = 0, i = 0;

	while (i < COUNT(openings)) {
		size_t after = pattern_begins(openings[i], w, begin, w->n);
		if (after > begin && after < w->n) {
			begin = after;
			i = 0;
		} else {
			i++;
		}
	}
	return begin;
}

/* Without "please" at its end, and without ", thanks". */
static size_t
skip_closing(const struct words *w, size_t begin)
{
	size_t end = w->n, last;

	for (;;) {
		last = end;
		while (last > begin && (w->at[last - 1].is_hidden ||
					   w->at[last - 1].kind == WORD_MARK))
			last--;
		if (last <= begin + 1)
			return end;
		size_t n = words_is_in(w, last - 1, "please thanks") ? 1
			   : words_is(w, last - 1, "you") &&
				   words_is(w, last - 2, "thank")
			       ? 2
			       : 0;
		bool is_apart = n > 0 && last > begin + n &&
				(words_is(w, last - 1, "please") ||
				    w->at[last - n - 1].kind == WORD_MARK);
		if (!is_apart)
			return end;
		end = last - n;
	}
}

static bool
set_target(
    struct reading *r, const struct rule *rule, const struct pattern_fit *fit)
{
	size_t from = fit->parts[PATTERN_TARGET].from;
	size_t to = fit->parts[PATTERN_TARGET].to;
	struct command *out = r->out;

	if (from == to)
		return true;
	if (rule->intent != INTENT_LIST_TASKS &&
	    target_names_many(&r->w, from)) {
		for (size_t i = from; i < to; i++) {
			if (words_is_in(
				&r->w, i, "tasks todos reminders everything"))
				out->problem = COMMAND_TOO_MANY;
		}
	}
	struct target t = target_read(&r->w, from, to);
	if ((rule->flags & PLAIN) != 0 && !t.is_plain && !out->problem)
		return false;
	out->number = t.number;
	return t.number != 0 || out->problem ||
	       words_copy(
		   &r->w, t.from, t.to, out->target, sizeof(out->target));
}

static size_t
characters(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static bool
set_title(struct reading *r, const struct pattern_fit *fit)
{
	struct words *w = &r->w;
	size_t from = fit->parts[PATTERN_TITLE].from;
	size_t to = fit->parts[PATTERN_TITLE].to;
	char *title = r->out->title;

	if (from == to)
		return true;
	if (words_is_in(w, from,
		"what whats who whos whom whose where when why how which if "
		"whether again"))
		return false;
	/* "due" goes with its date. */
	if (r->when && r->when->first > from && r->when->first <= to &&
	    words_is(w, r->when->first - 1, "due"))
		words_hide(w, r->when->first - 1, r->when->first);
	if (!words_copy(w, from, to, title, COMMAND_TEXT) ||
	    characters(title) > TITLE_MAX)
		r->out->problem = COMMAND_TITLE_TOO_LONG;
	else if (*title == '\0')
		r->out->problem = COMMAND_NO_TITLE;
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
set_due(struct reading *r)
{
	struct when due = *r->when;
	struct command *out = r->out;

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

/* Is the message's first word, as it is written, in capitals? */
static bool
is_loud(const struct reading *r)
{
	const struct word *word = &r->w.at[r->begin];

	for (size_t i = word->start; i < word->end; i++) {
		if (r->w.text[i] >= 'a' && r->w.text[i] <= 'z')
			return false;
	}
	return true;
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
	if (rule->status && !strcmp(rule->status, "no due"))
		out->clears_due = true;
	else
		out->status = rule->status;
	if (rule->intent == INTENT_LIST_TASKS)
		set_range(r, rule);
	else if (changes && r->when && !out->clears_due)
		set_due(r);
	if ((rule->flags & UNTITLED) != 0)
		out->problem = COMMAND_NO_TITLE;
	if (changes && r->repeats)
		out->problem = COMMAND_REPEATS;
	if (fit->parts[PATTERN_QUERY].to > 0)
		set_query(r, fit);
	if (out->problem)
		forget(out);
}

/* Does the message do what this rule says? */
static bool
apply(struct reading *r, const struct rule *rule)
{
	struct pattern_fit fit;

	if (!pattern_fits(rule->pattern, &r->w, r->begin, r->end, &fit))
		return false;
	if (((rule->flags & WHEN) != 0 && !r->when) ||
	    ((rule->flags & PRIO) != 0 && !r->out->priority) ||
	    ((rule->flags & LOUD) != 0 && !is_loud(r)))
		return false;
	if (!set_target(r, rule, &fit) || !set_title(r, &fit)) {
		const char *priority = r->out->priority;
		r->out->problem = COMMAND_IS_FIT;
		forget(r->out);
		r->out->priority = priority;
		return false;
	}
	r->out->intent = rule->intent;
	set_rest(r, rule, &fit);
	return true;
}

/* Is it a command? */
static bool
read_command(struct reading *r)
{
	r->repeats = r->repeats && !r->w.is_cut;
	choose_when(r);
	hide_priority(r);
	r->begin = skip_openings(&r->w);
	r->end = skip_closing(&r->w, r->begin);
	for (size_t i = 0; i < COUNT(rules); i++) {
		if (apply(r, &rules[i]))
			return true;
	}
	r->out->priority = NULL;
	return false;
}

void
command_parse(const char *text, size_t n, int64_t now_s,
    const struct zone *zone, struct command *out)
{
	struct reading r = {.out = out};

	memset(out, 0, sizeof(*out));
	words_read(&r.w, text, n);
	r.now = when_now(now_s, zone);
	if (talk_is_short(&r.w, out))
		return;
	r.repeats = when_hide_repeats(&r.w, pattern_task);
	r.n_whens = when_find(&r.w, &r.now, r.whens);
	r.begin = skip_openings(&r.w);
	note_dates(&r);
	if (r.w.is_cut || !read_command(&r))
		out->intent = talk_intent(&r.w, r.begin);
}
