/*
 * One pass over a text that grows. Must not know what is cited.
 */
#include <string.h>

#include "chat/citation.h"

#define MARK_MAX 48 /* bytes of a mark */

enum verdict { NO, YES, UNSURE };

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (unsigned char)c >= 0x80;
}

static bool
begins_line(const struct citation_text *t, size_t at)
{
	return at == 0 || t->p[at - 1] == '\n';
}

/* Is there a fence at the line that begins here? *out_end is behind it. */
static enum verdict
see_fence(const struct citation_text *t, size_t at, size_t *out_end)
{
	size_t i = at, run = 0;

	while (i < t->n && i < at + 3 && t->p[i] == ' ')
		i++;
	if (i == t->n)
		return t->is_over ? NO : UNSURE;
	char mark = t->p[i];
	if (mark != '`' && mark != '~')
		return NO;
	while (i < t->n && t->p[i] == mark) {
		i++;
		run++;
	}
	if (i == t->n && !t->is_over)
		return UNSURE;
	*out_end = i;
	return run >= 3 ? YES : NO;
}

/* Steps over a line's fence; false: what it is cannot be told yet. */
static bool
take_line(struct citation_scan *s, const struct citation_text *t)
{
	size_t end = s->at;
	enum verdict v = see_fence(t, s->at, &end);

	if (v == UNSURE)
		return false;
	if (v == YES) {
		char mark = t->p[end - 1];
		if (!s->fence)
			s->fence = mark;
		else if (s->fence == mark)
			s->fence = '\0';
		s->ticks = 0;
		s->at = end;
	}
	return true;
}

/* Steps over a run of backticks, which opens or closes code. */
static bool
take_ticks(struct citation_scan *s, const struct citation_text *t)
{
	size_t end = s->at;

	while (end < t->n && t->p[end] == '`')
		end++;
	if (end == t->n && !t->is_over)
		return false;
	if (s->ticks == 0)
		s->ticks = end - s->at;
	else if (s->ticks == end - s->at)
		s->ticks = 0;
	s->at = end;
	return true;
}

/* Reads "[1, 2]" at `at`. */
static enum verdict
read_mark(const struct citation_text *t, size_t at, struct citation_mark *out)
{
	size_t i = at + 1, number = 0, digits = 0;
	bool is_bad = false;

	*out = (struct citation_mark){.at = at};
	for (; i < t->n && i < at + MARK_MAX; i++) {
		char c = t->p[i];
		if (is_digit(c)) {
			number = number * 10 + (size_t)(c - '0');
			digits++;
			is_bad = is_bad || digits > 3;
			continue;
		}
		if (c == ' ' && digits == 0 && out->n > 0)
			continue; /* behind a comma */
		if (is_bad || (c != ',' && c != ']') || digits == 0 ||
		    number == 0 || number > t->passages ||
		    out->n == CITATION_NUMBERS)
			return NO;
		out->numbers[out->n++] = number;
		number = digits = 0;
		if (c == ']') {
			out->end = i + 1;
			return YES;
		}
	}
	return i < t->n || t->is_over ? NO : UNSURE;
}

static bool
ends_sentence(const struct citation_text *t, size_t at)
{
	if (at == t->n || t->p[at] == '\n')
		return true;
	if (!t->p[at] || !strchr(".,;:!?", t->p[at]))
		return false;
	return at + 1 == t->n || t->p[at + 1] == ' ' || t->p[at + 1] == '\n';
}

/* A mark right behind something: is it prose, or an index? */
static enum verdict
judge_glued(const struct citation_scan *s, const struct citation_text *t,
    const struct citation_mark *m)
{
	char before = t->p[m->at - 1];
	size_t letters = 0;

	if (m->at == s->mark_end) /* [1][2] */
		return YES;
	if (is_digit(before) || (before && strchr("_)]}", before)))
		return NO;
	if (!is_letter(before))
		return YES;
	while (letters < m->at && is_letter(t->p[m->at - 1 - letters]))
		letters++;
	if (letters < 3)
		return NO;
	if (m->end + 1 >= t->n && !t->is_over)
		return UNSURE;
	return ends_sentence(t, m->end) ? YES : NO;
}

static enum verdict
judge(const struct citation_scan *s, const struct citation_text *t,
    const struct citation_mark *m)
{
	if (m->end == t->n && !t->is_over)
		return UNSURE;
	if (m->end < t->n &&
	    (t->p[m->end] == '(' ||
		(t->p[m->end] == ':' && begins_line(t, m->at))))
		return NO;
	return m->at > 0 ? judge_glued(s, t, m) : YES;
}

/* Decides what is at '['; true: a mark. */
static enum verdict
take_bracket(struct citation_scan *s, const struct citation_text *t,
    struct citation_mark *out)
{
	enum verdict v = read_mark(t, s->at, out);

	if (v == YES)
		v = judge(s, t, out);
	if (v == NO)
		s->at++;
	if (v == YES)
		s->at = s->mark_end = out->end;
	return v;
}

bool
citation_next(struct citation_scan *scan, const struct citation_text *text,
    struct citation_mark *out_mark)
{
	struct citation_scan *s = scan;
	const struct citation_text *t = text;

	while (s->at < t->n) {
		size_t at = s->at;
		char c = t->p[at];
		if (begins_line(t, at) && !take_line(s, t))
			return false;
		if (s->at > at)
			continue;
		if (!s->fence && c == '`') {
			if (!take_ticks(s, t))
				return false;
			continue;
		}
		if (c == '\n' && begins_line(t, at))
			s->ticks = 0; /* code ends with its paragraph */
		if (s->fence || s->ticks > 0 || c != '[') {
			s->at++;
			continue;
		}
		enum verdict v = take_bracket(s, t, out_mark);
		if (v != NO)
			return v == YES;
	}
	return false;
}
