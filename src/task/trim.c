/*
 * What is said around a command, or in it without a place of its own:
 * politeness, what is told besides, how much it matters.
 */
#include <string.h>

#include "task/reading.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* Nobody is politer than that. */
#define TRIMS_MAX 12

static const char *const openings[] = {
#define OPENING(pattern) pattern,
#include "task/openings.def"
#undef OPENING
};

static const char *const closings[] = {
#define CLOSING(pattern) pattern,
#include "task/closings.def"
#undef CLOSING
};

static struct hint opening_hints[COUNT(openings)];
static struct hint closing_hints[COUNT(closings)];

void
trim_make_hints(void)
{
	for (size_t i = 0; i < COUNT(openings); i++)
		hint_make(openings[i], &opening_hints[i]);
	for (size_t i = 0; i < COUNT(closings); i++)
		hint_make(closings[i], &closing_hints[i]);
}

/* Passes by what is said before it comes to the point. */
size_t
trim_openings(const struct words *w, size_t begin, size_t end)
{
	size_t i = 0;

	for (int n = 0; i < COUNT(openings) && n < TRIMS_MAX;) {
		size_t after = hint_begins(&opening_hints[i], w, begin, end)
				   ? pattern_begins(openings[i], w, begin, end)
				   : 0;
		if (after > begin && after < end) {
			begin = after;
			i = 0;
			n++;
		} else {
			i++;
		}
	}
	return begin;
}

/* Without "please" at its end, ", thanks", "so I don't forget". */
size_t
trim_closings(const struct reading *r)
{
	const struct words *w = &r->w;
	size_t begin = r->begin, end = r->last, i = 0;

	for (int n = 0; i < COUNT(closings) && n < TRIMS_MAX;) {
		size_t to = end;
		if (hint_ends(&closing_hints[i], &r->hints) &&
		    pattern_ends(closings[i], w, begin + 1, &to) &&
		    to > begin + 1) {
			end = to;
			i = 0;
			n++;
		} else {
			i++;
		}
	}
	return end;
}

/* Behind the first mark that ends a sentence, before `to`; 0: there is none. */
size_t
trim_sentence(const struct words *w, size_t from, size_t to)
{
	for (size_t i = from + 1; i + 1 < to; i++) {
		if (words_is_in(w, i, ". !") && w->at[i].kind == WORD_MARK &&
		    w->at[i + 1].kind == WORD_PLAIN)
			return i + 1;
	}
	return 0;
}

/* Without what is told besides: "Remind me to call. It's about the trip." */
size_t
trim_aside(const struct words *w, size_t first, size_t last)
{
	static const char begins[] =
	    "it its thats this he hes she shes they theyre we were im ill ive "
	    "because otherwise theres";
	size_t next = first;

	while ((next = trim_sentence(w, next, last)) > 0) {
		if (next > first + 3 && words_is_in(w, next, begins))
			return next;
	}
	return last;
}

/* Is a priority's name at i all that is said of it? ", it's urgent" */
static bool
is_by_itself(const struct reading *r, size_t i)
{
	const struct words *w = &r->w;
	size_t to = i, end = i + 1;

	while (end < r->last && (w->at[end].kind == WORD_MARK ||
				    words_is_in(w, end, "please thanks")))
		end++;
	if (end < r->last && w->at[end - 1].kind != WORD_MARK)
		return false;
	while (pattern_ends("@its", w, r->first, &to))
		;
	return (to < i && words_is_in(w, i - 1,
			      "its is thats very really super pretty one")) ||
	       (to > r->first && (w->at[to - 1].kind == WORD_MARK ||
				     w->at[to - 1].is_hidden));
}

/* "with high priority", "priority: high", "urgent task", ", urgent" */
static size_t
priority_at(const struct reading *r, size_t i, const char **out)
{
	static const char strong[] = "urgent important critical";
	const struct words *w = &r->w;

	if (words_is(w, i, "priority")) {
		size_t at = i + 1;
		at += words_is_in(w, at, ": is");
		*out = pattern_priority(w, at);
		return *out ? at + 1 - i : 0;
	}
	*out = pattern_priority(w, i);
	if (!*out)
		return 0;
	if (words_is_in(w, i + 1, "priority importance urgency"))
		return 2;
	size_t n = strlen(w->at[i].norm);
	if (words_is(w, i, "asap") ||
	    (n > 8 && strstr(w->at[i].norm, "priority")))
		return 1;
	bool is_of_task = pattern_class("@task", w, i + 1) > 0 ||
			  pattern_class("@tasks", w, i + 1) > 0;
	return words_is_in(w, i, strong) && (is_of_task || is_by_itself(r, i))
		   ? 1
		   : 0;
}

void
trim_priority(struct reading *r)
{
	struct words *w = &r->w;

	for (size_t i = r->first; i < r->last; i++) {
		const char *priority = NULL;
		size_t n =
		    w->at[i].is_hidden ? 0 : priority_at(r, i, &priority);
		if (n == 0)
			continue;
		size_t from = i;
		from -= from > r->first && words_is_in(w, from - 1, "a the");
		if (from > r->first &&
		    words_is_in(w, from - 1, "with at as of"))
			from--;
		else
			from = i;
		if (is_by_itself(r, i)) {
			while (pattern_ends("@its", w, r->first, &from))
				;
		}
		words_hide(w, from, i + n);
		r->out->priority = priority;
	}
}
