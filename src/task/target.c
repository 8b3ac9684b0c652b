/*
 * Takes articles and the word "task" off both ends of a target; what is left
 * is its words, or a number.
 */
#include "task/command.h"
#include "task/pattern.h"
#include "task/target.h"
#include "task/words.h"

static size_t
strip_front(const struct words *w, size_t from, size_t to, bool *is_plain)
{
	for (; from < to; from++) {
		if (w->at[from].is_hidden || w->at[from].kind == WORD_MARK)
			continue;
		if (words_is_in(w, from, pattern_task))
			*is_plain = true;
		else if (!words_is_in(w, from,
			     "the my a an our this that number no about for "
			     "called named titled to with of on"))
			break;
		/* "that" alone is a target. */
		if (from + 1 == to && words_is_in(w, from, "that this"))
			break;
	}
	return from;
}

static size_t
strip_back(const struct words *w, size_t from, size_t to, bool *is_plain)
{
	while (to > from) {
		size_t i = to - 1;
		bool is_task = words_is_in(w, i, pattern_task);
		bool is_one = words_is(w, i, "one") && i > from &&
			      words_ordinal(w, i - 1) > 0;
		if (!w->at[i].is_hidden && w->at[i].kind != WORD_MARK &&
		    !is_task && !is_one)
			break;
		*is_plain = *is_plain || is_task || is_one;
		to--;
	}
	return to;
}

struct target
target_read(const struct words *w, size_t from, size_t to)
{
	struct target t = {0};

	t.from = strip_front(w, from, to, &t.is_plain);
	t.to = strip_back(w, t.from, to, &t.is_plain);
	/* "the task" */
	if (t.from == t.to) {
		t.number = COMMAND_LAST;
		return t;
	}
	if (t.to - t.from > 1)
		return t;
	if (w->at[t.from].kind == WORD_QUOTE) {
		t.is_plain = true;
		return t;
	}
	int number = words_number(w, t.from);
	if (number > 0) {
		t.number = number;
		t.is_plain = true;
	} else if (words_is_in(w, t.from, "it that this")) {
		t.number = COMMAND_LAST;
		t.is_plain = true;
	} else if (t.is_plain && words_ordinal(w, t.from) > 0) {
		t.number = words_ordinal(w, t.from);
	}
	return t;
}

bool
target_names_many(const struct words *w, size_t from)
{
	return words_is_in(w, from, "all every everything both") ||
	       (words_is_in(w, from, "my the") &&
		   words_is_in(w, from + 1, "tasks todos reminders"));
}
