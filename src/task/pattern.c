/*
 * A pattern is read as it is matched: it is short, and most fail at their first
 * word. What follows a capture decides where it ends, so that captures are
 * tried from the shortest on; a pattern has two at most.
 */
#include <string.h>

#include "task/pattern.h"
#include "task/words.h"

static const struct class {
	const char *name;
	size_t n; /* bytes of the name */
	const char *alternatives;
} classes[] = {
#define CLASS(name_, alternatives_) {name_, sizeof(name_) - 1, alternatives_},
#include "task/classes.def"
#undef CLASS
};

static const struct {
	const char *words, *priority;
} priorities[] = {
    {"low lowest lowpriority minor", "low"},
    {"normal medium regular default normalpriority mediumpriority", "normal"},
    {"high important highpriority higher", "high"},
    {"urgent critical top highest toppriority asap", "urgent"},
};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* What a pattern of a message's end may reach back to, in words. */
#define ENDS_MAX 12

/* Where a match has come to: in the pattern and in the words. */
struct match {
	const struct words *w;
	const char *p;
	size_t at, to;
};

const char *
pattern_priority(const struct words *w, size_t i)
{
	for (size_t k = 0; k < COUNT(priorities); k++) {
		if (words_is_in(w, i, priorities[k].words))
			return priorities[k].priority;
	}
	return NULL;
}

/* The next word that can be read, from i on. */
static size_t
next_word(const struct match *m, size_t i)
{
	while (i < m->to &&
	       (m->w->at[i].is_hidden || m->w->at[i].kind == WORD_MARK))
		i++;
	return i;
}

/* "my to do list", "my tasks", "the task list" */
static size_t
list_at(const struct match *m, size_t i)
{
	bool is_mine = words_is_in(m->w, i, "my our");
	size_t at = i + (is_mine || words_is(m->w, i, "the") ? 1 : 0);
	bool is_of_tasks = true;

	at = next_word(m, at);
	if (words_is(m->w, at, "to") && words_is_in(m->w, at + 1, "do dos"))
		at += 2;
	else if (words_is_in(
		     m->w, at, "todo todos task tasks reminder reminders"))
		at++;
	else
		is_of_tasks = false;
	size_t end = next_word(m, at);
	if (end < m->to && words_is_in(m->w, end, "list lists") &&
	    (is_mine || is_of_tasks))
		return end + 1;
	/* "my tasks" alone, or "my to do's" */
	bool is_named = at > i && at <= m->to && is_of_tasks &&
			words_is_in(m->w, at - 1, "tasks reminders todos dos");
	return is_named ? at : 0;
}

/* Words with "_" between them, `n` bytes at `p`, from word i on; where they
 * end, 0: they do not stand there. */
static size_t
phrase_at(const struct match *m, const char *p, size_t n, size_t i)
{
	for (;;) {
		if (i >= m->to || m->w->at[i].kind != WORD_PLAIN)
			return 0;
		const char *norm = m->w->at[i].norm;
		size_t k = 0;
		while (k < n && p[k] != '_' && p[k] == norm[k])
			k++;
		if (norm[k] != '\0' || (k < n && p[k] != '_'))
			return 0;
		i++;
		if (k == n)
			return i;
		p += k + 1;
		n -= k + 1;
		i = next_word(m, i);
	}
}

/* The longest of the phrases at `p`, up to `end`. */
static size_t
longest_at(const struct match *m, const char *p, const char *end, size_t i)
{
	char first = m->w->at[i].norm[0];
	size_t longest = 0;

	while (p < end) {
		const char *bar = memchr(p, '|', (size_t)(end - p));
		bar = bar ? bar : end;
		if (*p == first) {
			size_t n = (size_t)(bar - p);
			size_t after = phrase_at(m, p, n, i);
			longest = after > longest ? after : longest;
		}
		p = bar + 1;
	}
	return longest;
}

const char *
pattern_alternatives(const char *name, size_t n)
{
	for (size_t k = 0; k < COUNT(classes); k++) {
		if (classes[k].n == n && !memcmp(classes[k].name, name, n))
			return classes[k].alternatives;
	}
	return NULL;
}

static size_t
class_at(const struct match *m, const char *p, size_t n, size_t i)
{
	const char *all = pattern_alternatives(p, n);
	return all ? longest_at(m, all, all + strlen(all), i) : 0;
}

/* One alternative, `n` bytes at `p`, at word i; where it ends, 0: no. */
static size_t
one_at(const struct match *m, const char *p, size_t n, size_t i)
{
	if (n == 5 && !memcmp(p, "@list", n))
		return list_at(m, i);
	if (n == 1 && *p == '*')
		return i + 1;
	return *p == '@' ? class_at(m, p, n, i) : longest_at(m, p, p + n, i);
}

/* The longest of the alternatives up to `end`, which is not one of them. */
static size_t
any_at(const struct match *m, const char *p, const char *end, size_t i)
{
	size_t longest = 0;

	if (i >= m->to || m->w->at[i].kind != WORD_PLAIN)
		return 0;
	char first = m->w->at[i].norm[0];
	while (p < end) {
		const char *bar = memchr(p, '|', (size_t)(end - p));
		bar = bar ? bar : end;
		/* Most of them end here. */
		if (*p == first || *p == '@' || *p == '*') {
			size_t after = one_at(m, p, (size_t)(bar - p), i);
			longest = after > longest ? after : longest;
		}
		p = bar + 1;
	}
	return longest;
}

/* Does that mark stand before the next word? ",": any that parts clauses. */
static bool
mark_before(const struct match *m, char mark)
{
	for (size_t i = m->at; i < m->to; i++) {
		const struct word *word = &m->w->at[i];
		if (word->kind == WORD_MARK &&
		    (word->norm[0] == mark || word->norm[0] == '-' ||
			mark == ','))
			return true;
		if (!word->is_hidden && word->kind != WORD_MARK)
			return false;
	}
	return false;
}

/* The pattern's next element, which is no capture. */
static bool
step(struct match *m)
{
	const char *begin = m->p;
	const char *end = begin + strcspn(begin, *begin == '['   ? "]"
						 : *begin == '{' ? "}"
								 : " ");
	bool may_lack = *begin == '[' || *begin == '{';
	size_t i = next_word(m, m->at);

	m->p = end + may_lack;
	m->p += *m->p == ' ';
	if (*begin == ':' || *begin == ',')
		return mark_before(m, *begin);
	size_t after = any_at(m, begin + may_lack, end, i);
	while (after > 0 && *begin == '{') {
		m->at = after;
		after = any_at(m, begin + 1, end, next_word(m, m->at));
	}
	if (after > 0)
		m->at = after;
	return after > 0 || may_lack;
}

static const char *const captures[] = {
    [PATTERN_TITLE] = "TITLE",
    [PATTERN_TARGET] = "TARGET",
    [PATTERN_QUERY] = "QUERY",
    [PATTERN_PRIORITY] = "PRIORITY",
};

/* The capture that the pattern goes on with; PATTERN__MAX: none. */
static enum pattern_part
capture_at(const char *p)
{
	int k = 0;

	if (*p < 'A' || *p > 'Z')
		return PATTERN__MAX;
	while (k < PATTERN__MAX &&
	       strncmp(p, captures[k], strlen(captures[k])) != 0)
		k++;
	return (enum pattern_part)k;
}

/* Goes on to the next capture, or to the end; false: it does not fit. */
static bool
literals(struct match *m)
{
	while (*m->p != '\0' && capture_at(m->p) == PATTERN__MAX) {
		if (!step(m))
			return false;
	}
	return *m->p != '\0' || next_word(m, m->at) == m->to;
}

static void
begin_capture(struct match *m, enum pattern_part part)
{
	m->p += strlen(captures[part]);
	m->p += *m->p == ' ';
	m->at = next_word(m, m->at);
}

static void
take(struct pattern_fit *fit, enum pattern_part part, size_t from, size_t to)
{
	fit->parts[part].from = from;
	fit->parts[part].to = to;
}

/* The second capture and what follows it. */
static bool
fits_last(struct match m, struct pattern_fit *fit)
{
	enum pattern_part part = capture_at(m.p);

	if (part == PATTERN__MAX)
		return *m.p == '\0';
	begin_capture(&m, part);
	size_t from = m.at;
	if (part == PATTERN_PRIORITY && !pattern_priority(m.w, from))
		return false;
	size_t last = part == PATTERN_PRIORITY ? from + 1 : m.to;
	for (size_t end = from + 1; end <= last; end++) {
		struct match rest = m;
		rest.at = end;
		if (literals(&rest) && *rest.p == '\0') {
			take(fit, part, from, end);
			return true;
		}
	}
	return false;
}

bool
pattern_fits(const char *pattern, const struct words *w, size_t from, size_t to,
    struct pattern_fit *out)
{
	struct match m = {w, pattern, from, to};
	struct pattern_fit fit = {0};

	if (!literals(&m))
		return false;
	enum pattern_part part = capture_at(m.p);
	if (part == PATTERN__MAX) {
		*out = fit;
		return true;
	}
	begin_capture(&m, part);
	from = m.at;
	if (part == PATTERN_PRIORITY && !pattern_priority(w, from))
		return false;
	size_t last = part == PATTERN_PRIORITY ? from + 1 : to;
	for (size_t end = from + 1; end <= last; end++) {
		struct match rest = m;
		rest.at = end;
		if (literals(&rest) && fits_last(rest, &fit)) {
			take(&fit, part, from, end);
			*out = fit;
			return true;
		}
	}
	return false;
}

size_t
pattern_begins(
    const char *pattern, const struct words *w, size_t from, size_t to)
{
	struct match m = {w, pattern, from, to};

	while (*m.p != '\0') {
		if (!step(&m))
			return 0;
	}
	return m.at;
}

size_t
pattern_class(const char *name, const struct words *w, size_t i)
{
	struct match m = {w, name, i, w->n};
	return any_at(&m, name, name + strlen(name), i);
}

bool
pattern_ends(
    const char *pattern, const struct words *w, size_t from, size_t *to)
{
	struct match m = {w, pattern, from, *to};
	size_t first = *to > from + ENDS_MAX ? *to - ENDS_MAX : from;

	for (size_t i = first; i < *to; i++) {
		size_t after =
		    w->at[i].is_hidden ? 0 : pattern_begins(pattern, w, i, *to);
		if (after > i && next_word(&m, after) == *to) {
			*to = i;
			return true;
		}
	}
	return false;
}
