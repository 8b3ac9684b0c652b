/*
 * From words to a command. What can be told by itself (dates, priorities, what
 * repeats, politeness) is taken out of the words first; the rest must fit a
 * rule of grammar.def as a whole, or the message is no command.
 */
#include <pthread.h>
#include <string.h>

#include "base/zone.h"
#include "task/command.h"
#include "task/reading.h"
#include "task/talk.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* Longer ones begin with what a command is about in no case. */
#define ABOUT_FIRST_MAX 40

static const struct rule rules[] = {
#define RULE(intent_, pattern_, flags_, value_) \
	{.pattern = (pattern_),                 \
	    .value = (value_),                  \
	    .intent = INTENT_##intent_,         \
	    .flags = (flags_)},
#include "task/grammar.def"
#undef RULE
};

static const char *const names[] = {
#define INTENT(id, name) [INTENT_##id] = (name),
#include "task/intents.def"
#undef INTENT
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
	struct when *first = NULL, *last = NULL;
	size_t n = 0;

	for (size_t i = 0; i < r->n_whens; i++) {
		struct when *when = &r->whens[i];
		if (when->first < r->first || when->last > r->last)
			continue;
		first = first ? first : when;
		last = when;
		n++;
	}
	r->when = first;
	if (n == 2 && when_merge(first, last)) {
		words_hide(w, last->first, last->last);
	} else if (n > 1 && first->first > r->begin + 3) {
		r->when = last;
	}
	if (r->when)
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

/* Is what must be so besides the words? */
static bool
holds(const struct reading *r, const struct rule *rule)
{
	const struct words *w = &r->w;
	unsigned flags = rule->flags;

	if ((flags & WHEN) != 0 && !r->when)
		return false;
	if ((flags & TILL) != 0 &&
	    !words_is_in(w, r->when->first, "until till for"))
		return false;
	return ((flags & PRIO) == 0 || r->out->priority) &&
	       ((flags & LOUD) == 0 || is_loud(r));
}

/* Of each rule, made once. */
static struct hint hints[COUNT(rules)];
static pthread_once_t hints_once = PTHREAD_ONCE_INIT;

static void
make_hints(void)
{
	for (size_t i = 0; i < COUNT(rules); i++)
		hint_make(rules[i].pattern, &hints[i]);
	trim_make_hints();
	when_make_hints();
}

/* Does the message do what this rule says? */
static bool
apply(struct reading *r, const struct rule *rule)
{
	struct pattern_fit fit;
	bool is_about_first = rule->pattern[0] == 'T';

	if (!hint_passes(
		&hints[rule - rules], &r->w, &r->hints, r->begin, r->end))
		return false;
	if ((is_about_first && r->end - r->begin > ABOUT_FIRST_MAX) ||
	    !holds(r, rule))
		return false;
	return pattern_fits(rule->pattern, &r->w, r->begin, r->end, &fit) &&
	       slots_fill(r, rule, &fit);
}

/* Are the words [first, last) a command? Not one of those with a flag of
 * `without`. */
static bool
read_part(struct reading *r, unsigned without)
{
	r->begin = trim_openings(&r->w, r->first, r->last);
	choose_when(r);
	trim_priority(r);
	r->begin = trim_openings(&r->w, r->first, r->last);
	r->end = trim_closings(r);
	for (size_t i = 0; i < COUNT(rules); i++) {
		if ((rules[i].flags & without) == 0 && apply(r, &rules[i]))
			return true;
	}
	r->out->priority = NULL;
	return false;
}

/* Where a second sentence begins, or what is asked behind a comma: "her
 * birthday is tomorrow, remind me to call"; 0: nowhere. */
static size_t
second_sentence(const struct words *w)
{
	size_t second = trim_sentence(w, 0, w->n);

	for (size_t i = 1; second == 0 && i + 1 < w->n; i++) {
		if (!words_is_in(w, i, ", -"))
			continue;
		size_t at = trim_openings(w, i + 1, w->n);
		if (at < w->n &&
		    pattern_begins("@remind to|about", w, at, w->n) > 0)
			return i + 1;
	}
	return second > 0 && trim_sentence(w, second, w->n) == 0 ? second : 0;
}

/* May a command follow these words as a sentence of its own? */
static bool
is_preamble(const struct words *w, size_t first, size_t last)
{
	static const char told[] = "said says say told tells asked asks goes "
				   "if when wrote imagine suppose ? : ;";

	for (size_t i = first; i < last; i++) {
		if (w->at[i].kind == WORD_QUOTE || words_is_in(w, i, told))
			return false;
	}
	return true;
}

/* Is it a command: the message, or its second sentence of two? */
static bool
read_command(struct reading *r)
{
	struct words *w = &r->w;

	r->first = 0;
	r->last = trim_aside(w, 0, w->n);
	if (read_part(r, 0))
		return true;
	size_t second = second_sentence(w);
	if (second == 0 || !is_preamble(w, 0, second))
		return false;
	for (size_t i = 0; i < w->n; i++)
		w->at[i].is_hidden = false;
	r->repeats = when_hide_repeats(w, "@task");
	r->first = second;
	r->last = w->n;
	return read_part(r, MINE);
}

void
command_parse(const char *text, size_t n, int64_t now_s,
    const struct zone *zone, struct command *out)
{
	struct reading r = {.out = out};

	(void)pthread_once(&hints_once, make_hints);
	memset(out, 0, sizeof(*out));
	words_read(&r.w, text, n);
	hint_read(&r.w, &r.hints);
	r.now = when_now(now_s, zone);
	if (talk_is_short(&r.w, out))
		return;
	r.repeats = when_hide_repeats(&r.w, "@task");
	r.n_whens = when_find(&r.w, &r.now, r.whens);
	note_dates(&r);
	if (!r.w.is_cut && read_command(&r))
		return;
	size_t begin = trim_openings(&r.w, 0, r.w.n);
	out->intent = talk_intent(&r.w, begin);
}
