/*
 * The cutting of texts: sections by their headings, then windows within a
 * section by the best place to end in each. Owns nothing. Must not know what a
 * document is.
 */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "chat/chunker.h"

#define MAX_BYTES_LEAST 16
#define CLOSING_MAX     8 /* marks after a sentence; more are no such */

/* Between the headings of a path. */
#define PATH_GLUE " > "

/* How good a place is to begin a passage at. */
enum place {
	PLACE_NONE, /* within a word */
	PLACE_WORD,
	PLACE_SENTENCE, /* or a line */
	PLACE_PARAGRAPH,
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' ||
	       c == '\v';
}

/* Does a character begin here, or the text end? */
static bool
is_boundary(const struct chunker *c, size_t at)
{
	return at >= c->n || ((unsigned char)c->p[at] & 0xc0) != 0x80;
}

static size_t
line_end(const struct chunker *c, size_t at)
{
	const char *lf = memchr(c->p + at, '\n', c->n - at);
	return lf ? (size_t)(lf - c->p) + 1 : c->n;
}

static bool
is_blank(const struct chunker *c, size_t at, size_t end)
{
	while (at < end && is_space(c->p[at]))
		at++;
	return at == end;
}

/* Skips the up to three spaces that may stand before a mark. */
static size_t
skip_indent(const struct chunker *c, size_t at, size_t end)
{
	size_t limit = at + 3;
	while (at < end && at < limit && c->p[at] == ' ')
		at++;
	return at;
}

static size_t
count_run(const struct chunker *c, size_t at, size_t end, char mark)
{
	size_t n = 0;
	while (at + n < end && c->p[at + n] == mark)
		n++;
	return n;
}

/* Is the line a fence? Turns fenced blocks on and off. */
static bool
take_fence(struct chunker *c, size_t at, size_t end)
{
	at = skip_indent(c, at, end);
	if (at == end || (c->p[at] != '`' && c->p[at] != '~') ||
	    count_run(c, at, end, c->p[at]) < 3)
		return false;
	if (!c->fence)
		c->fence = c->p[at];
	else if (c->fence == c->p[at])
		c->fence = '\0';
	return true;
}

/* The level of a heading's line, 1 to 6; 0 for any other. */
static size_t
heading_level(const struct chunker *c, size_t at, size_t end)
{
	at = skip_indent(c, at, end);
	size_t level = count_run(c, at, end, '#');
	if (level < 1 || level > CHUNKER_LEVELS)
		return 0;
	if (at + level < end && !is_space(c->p[at + level]))
		return 0;
	return level;
}

/* Makes the line the heading of its level; deeper ones are over. */
static void
enter_heading(struct chunker *c, size_t at, size_t end, size_t level)
{
	at = skip_indent(c, at, end) + level;
	while (at < end && is_space(c->p[at]))
		at++;
	while (end > at && is_space(c->p[end - 1]))
		end--;
	size_t marked = end;
	while (marked > at && c->p[marked - 1] == '#')
		marked--;
	/* Closing marks stand apart: "## C#" is about C#. */
	if (marked < end && (marked == at || is_space(c->p[marked - 1]))) {
		end = marked;
		while (end > at && is_space(c->p[end - 1]))
			end--;
	}
	c->levels[level - 1].at = at;
	c->levels[level - 1].n = end - at;
	for (size_t i = level; i < CHUNKER_LEVELS; i++)
		c->levels[i].n = 0;
}

/* Writes the path; what does not fit is left out at a character's end. */
static void
write_path(struct chunker *c)
{
	size_t n = 0;
	for (size_t i = 0; i < CHUNKER_LEVELS; i++) {
		size_t glue = n > 0 ? strlen(PATH_GLUE) : 0;
		size_t room = CHUNK_HEADING_BYTES - n;
		if (c->levels[i].n == 0 || glue >= room)
			continue;
		size_t taken = text_prefix(
		    c->p + c->levels[i].at, c->levels[i].n, room - glue);
		memcpy(c->heading + n, PATH_GLUE, glue);
		memcpy(c->heading + n + glue, c->p + c->levels[i].at, taken);
		n += glue + taken;
	}
	c->heading[n] = '\0';
}

/*
 * Finds the end of the section that begins at c->at: the next heading with a
 * text before it. Headings that follow each other stay together.
 */
static void
enter_section(struct chunker *c)
{
	bool has_text = false;
	size_t at = c->at;
	c->section = at;
	while (at < c->n && c->rules.has_headings) {
		size_t end = line_end(c, at);
		size_t level = 0;
		if (!take_fence(c, at, end) && !c->fence)
			level = heading_level(c, at, end);
		if (level && has_text)
			break;
		if (level)
			enter_heading(c, at, end, level);
		else if (!is_blank(c, at, end))
			has_text = true;
		at = end;
	}
	c->section_end = c->rules.has_headings ? at : c->n;
	write_path(c);
}

/* Does a sentence end before `at`: a stop, then closing marks? */
static bool
ends_sentence(const struct chunker *c, size_t begin, size_t at)
{
	static const char *const wide[] = {
	    "\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f", "\xe2\x80\xa6"};
	size_t least = at - begin > CLOSING_MAX ? at - CLOSING_MAX : begin;
	while (at > least && strchr("\"')]*_", c->p[at - 1]))
		at--;
	if (at > begin && strchr(".!?", c->p[at - 1]))
		return true;
	for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++)
		if (at >= begin + 3 && memcmp(c->p + at - 3, wide[i], 3) == 0)
			return true;
	return false;
}

/* How good it would be to begin at `at`, within [begin, end). */
static enum place
judge(const struct chunker *c, size_t begin, size_t at)
{
	size_t lines = 0;
	size_t gap = at;
	if (is_space(c->p[at]))
		return PLACE_NONE;
	while (gap > begin && is_space(c->p[gap - 1])) {
		lines += c->p[gap - 1] == '\n';
		gap--;
	}
	if (lines > 1)
		return PLACE_PARAGRAPH;
	/* Chinese and Japanese need no space after a sentence. */
	if (lines == 1 ||
	    (ends_sentence(c, begin, gap) &&
		(gap < at || (unsigned char)c->p[at - 1] >= 0x80)))
		return PLACE_SENTENCE;
	return gap < at ? PLACE_WORD : PLACE_NONE;
}

/*
 * Where the chunk that begins at `start` ends: the best place after `from`,
 * of equally good ones the last; but nothing better is worth half a chunk.
 */
static size_t
choose_end(const struct chunker *c, size_t start, size_t from)
{
	size_t limit = start + c->rules.max_bytes;
	size_t half = start + c->rules.max_bytes / 2;
	size_t best_at = 0;
	enum place best = PLACE_NONE;
	if (half < from)
		half = from;
	for (size_t at = limit; at > half; at--) {
		if (!is_boundary(c, at))
			continue;
		enum place place = judge(c, half, at);
		if (place > best) {
			best = place;
			best_at = at;
		}
	}
	if (best != PLACE_NONE)
		return best_at;
	while (limit > from && !is_boundary(c, limit))
		limit--;
	return limit;
}

/* Where the chunk after one that ended at `end` begins. */
static size_t
choose_start(const struct chunker *c, size_t after, size_t end)
{
	size_t from = end - after > c->rules.overlap_bytes
			  ? end - c->rules.overlap_bytes
			  : after + 1;
	size_t word = end;
	for (size_t at = from; at < end; at++) {
		if (!is_boundary(c, at))
			continue;
		enum place place = judge(c, after, at);
		if (place >= PLACE_SENTENCE)
			return at;
		if (place == PLACE_WORD && word == end)
			word = at;
	}
	return word;
}

void
chunker_init(struct chunker *c, const char *p, size_t n,
    const struct chunker_rules *rules)
{
	assert(rules->max_bytes >= MAX_BYTES_LEAST);
	assert(rules->overlap_bytes < rules->max_bytes / 2);
	memset(c, 0, sizeof(*c));
	c->p = p;
	c->n = n;
	c->rules = *rules;
}

bool
chunker_next(struct chunker *c, struct chunk *out)
{
	if (c->at == c->n)
		return false;
	size_t start = c->at;
	if (c->at == c->section_end)
		enter_section(c);
	else
		start = choose_start(c, c->section, c->at);
	size_t end = c->section_end;
	if (end - start > c->rules.max_bytes)
		end = choose_end(c, start, c->at);
	*out = (struct chunk){start, end, c->heading};
	c->section = start;
	c->at = end;
	return true;
}
