/*
 * Takes articles and the word "task" off both ends of a target; what is left
 * is its words, or a number.
 */
#include "task/command.h"
#include "task/target.h"
#include "task/words.h"

/* What goes before a target's own words. */
static const char before[] =
    "the my a an our this that number no about for called named titled to "
    "with of on regarding";

/* What goes between "task" and its name. */
static const char joins[] = "number no about for called named titled to with "
			    "of on regarding";

/* What people have to do, most of all. */
static const char deeds[] =
    "book buy call clean collect cook do drop email feed find fix get iron "
    "make mow order pack paint pay pick plan post prepare print read renew "
    "repair return review ring sell send sign submit take text update visit "
    "walk wash water write";

static bool
is_passed_by(const struct words *w, size_t i)
{
	return w->at[i].is_hidden || w->at[i].kind == WORD_MARK;
}

static bool
is_task(const struct words *w, size_t i)
{
	return words_is_in(w, i, "task todo reminder alarm");
}

/* Behind "task": does what follows name it? "A task by clicking" does not. */
static bool
is_name(const struct words *w, size_t i, size_t to)
{
	while (i < to && is_passed_by(w, i))
		i++;
	if (i == to || w->at[i].kind == WORD_QUOTE ||
	    words_is_in(w, i, joins) || words_is_in(w, i, deeds))
		return true;
	return words_number(w, i) > 0 && i + 1 == to;
}

static size_t
strip_front(const struct words *w, size_t from, size_t to, struct target *t)
{
	for (; from < to; from++) {
		if (is_passed_by(w, from))
			continue;
		bool is_item = words_is_in(w, from, "item entry") &&
			       words_number(w, from + 1) > 0;
		if (is_task(w, from) || is_item) {
			t->is_named = is_name(w, from + 1, to);
			t->is_any =
			    from > 0 && words_is_in(w, from - 1,
					    "a an any another every no");
		} else if (!words_is_in(w, from, before)) {
			break;
		}
		/* "that" alone is a target. */
		if (from + 1 == to && words_is_in(w, from, "that this"))
			break;
	}
	return from;
}

static size_t
strip_back(const struct words *w, size_t from, size_t to, struct target *t)
{
	while (to > from) {
		size_t i = to - 1;
		bool is_one = words_is(w, i, "one") && i > from &&
			      words_ordinal(w, i - 1) > 0;
		if (!is_passed_by(w, i) && !is_task(w, i) && !is_one)
			break;
		t->is_named = t->is_named || is_task(w, i) || is_one;
		to--;
	}
	return to;
}

/* One word alone: a quote, a number, "it", "second". */
static void
read_word(const struct words *w, struct target *t)
{
	int number = words_number(w, t->from);

	if (w->at[t->from].kind == WORD_QUOTE) {
		t->is_named = true;
	} else if (number > 0) {
		t->number = number;
		t->is_named = true;
	} else if (words_is_in(w, t->from, "it that this")) {
		t->number = COMMAND_LAST;
		t->is_plain = true;
	} else if (t->is_named) {
		number = words_ordinal(w, t->from);
		t->number = number > 0 ? number : 0;
		if (words_is_in(w, t->from, "last"))
			t->number = COMMAND_LAST;
	}
}

struct target
target_read(const struct words *w, size_t from, size_t to)
{
	struct target t = {0};

	t.from = strip_front(w, from, to, &t);
	t.to = strip_back(w, t.from, to, &t);
	/* "the task" */
	if (t.from == t.to)
		t.number = COMMAND_LAST;
	else if (t.to - t.from == 1)
		read_word(w, &t);
	t.is_plain = t.is_plain || t.is_named;
	t.is_deed =
	    t.is_plain || (t.to - t.from > 1 && words_is_in(w, t.from, deeds));
	return t;
}

/* "1 and 3" */
static bool
is_row_of_numbers(const struct words *w, size_t from, size_t to)
{
	for (size_t i = from + 1; i + 1 < to; i++) {
		size_t next = i + 1 + (is_task(w, i + 1) ? 1 : 0);
		if (words_is_in(w, i, "and or ,") && next < to &&
		    words_number(w, i - 1) > 0 && words_number(w, next) > 0)
			return true;
	}
	return false;
}

bool
target_names_many(const struct words *w, size_t from, size_t to)
{
	static const char things[] = "tasks todos reminders everything numbers";
	bool is_all = words_is_in(w, from, "all every everything both") ||
		      (words_is_in(w, from, "my the these those") &&
			  words_is_in(w, from + 1, "tasks todos reminders"));

	if (words_is_in(w, from, things) || is_row_of_numbers(w, from, to))
		return true;
	for (size_t i = from; is_all && i < to; i++) {
		if (words_is_in(w, i, things))
			return true;
	}
	return false;
}
