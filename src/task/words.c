/*
 * Cutting a message into words and mending them. Words are separated by white
 * space; marks at their ends are words of their own.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "task/words.h"

static const char *const slips[][2] = {
#define SLIP(typed, meant) {typed, meant},
#include "task/spelling.def"
#undef SLIP
};

static const char *const vocabulary[] = {
#define WORD(word) word,
#include "task/vocabulary.def"
#undef WORD
};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* The typographic quotes and the apostrophe, three bytes each. */
#define QUOTE_LEFT  "\xe2\x80\x9c"
#define QUOTE_RIGHT "\xe2\x80\x9d"
#define QUOTE_LOW   "\xe2\x80\x9e"
#define APOSTROPHE  "\xe2\x80\x99"
#define QUOTE_BYTES 3

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Do the bytes of `s` stand at `at`? */
static bool
stands(const struct words *w, size_t at, size_t n, const char *s)
{
	size_t len = strlen(s);
	return at + len <= n && !memcmp(w->text + at, s, len);
}

/* One letter of difference: changed, missing, too many, or two swapped. */
static bool
is_near(const char *a, size_t na, const char *b, size_t nb)
{
	size_t head = 0, tail = 0;
	size_t less = na < nb ? na : nb;

	while (head < less && a[head] == b[head])
		head++;
	while (tail < less - head && a[na - 1 - tail] == b[nb - 1 - tail])
		tail++;
	size_t ma = na - head - tail, mb = nb - head - tail;
	if (ma == 2 && mb == 2)
		return a[head] == b[head + 1] && a[head + 1] == b[head];
	/* Short words have too many neighbours for anything else. */
	return na >= 5 && ma <= 1 && mb <= 1;
}

static void
mend(char norm[static WORD_MAX])
{
	size_t n = strlen(norm);
	const char *meant = NULL;

	for (size_t i = 0; i < COUNT(slips); i++) {
		if (norm[0] == slips[i][0][0] && !strcmp(norm, slips[i][0]))
			meant = slips[i][1];
	}
	for (size_t i = 0; i < COUNT(vocabulary); i++) {
		if (vocabulary[i][0] == norm[0] && !strcmp(vocabulary[i], norm))
			return;
	}
	for (size_t i = 0; !meant && n >= 4 && i < COUNT(vocabulary); i++) {
		const char *v = vocabulary[i];
		if (v[0] != norm[0])
			continue;
		size_t nv = strlen(v);
		if (nv >= 4 && nv <= n + 1 && n <= nv + 1 &&
		    is_near(norm, n, v, nv))
			meant = v;
	}
	if (meant)
		memcpy(norm, meant, strlen(meant) + 1);
}

/* Days and tasks own things: "tomorrow's tasks" are tasks of tomorrow. */
static void
disown(const struct words *w, struct word *word)
{
	static const char *const owners[] = {"today", "tomorrow", "tonight",
	    "week", "weekend", "month", "monday", "tuesday", "wednesday",
	    "thursday", "friday", "saturday", "sunday", "task", "reminder"};
	size_t n = strlen(word->norm);
	size_t bytes = word->end - word->start;

	if (n < 2 || word->norm[n - 1] != 's' || bytes == n ||
	    w->text[word->end - 1] == '\'')
		return;
	for (size_t i = 0; i < COUNT(owners); i++) {
		if (strlen(owners[i]) == n - 1 &&
		    !strncmp(word->norm, owners[i], n - 1)) {
			word->norm[n - 1] = '\0';
			word->is_possessive = true;
		}
	}
}

static void
normalise(const struct words *w, struct word *word)
{
	bool is_wordy = is_letter(w->text[word->start]);
	size_t n = 0;

	for (size_t i = word->start; i < word->end && n < WORD_MAX - 1; i++) {
		char c = w->text[i];
		if (stands(w, i, word->end, APOSTROPHE)) {
			i += QUOTE_BYTES - 1;
			continue;
		}
		if (c == '\'' || (is_wordy && (c == '-' || c == '.')))
			continue;
		word->norm[n++] =
		    (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	word->norm[n] = '\0';
	disown(w, word);
	if (is_wordy || n <= 8)
		mend(word->norm);
}

static struct word *
add(struct words *w, enum word_kind kind, size_t start, size_t end)
{
	if (w->n == WORDS_MAX) {
		w->is_cut = true;
		return NULL;
	}
	struct word *word = &w->at[w->n++];
	word->kind = kind;
	word->is_hidden = false;
	word->is_possessive = false;
	word->start = start;
	word->end = end;
	word->norm[0] = '\0';
	return word;
}

static void
add_marks(struct words *w, size_t start, size_t end)
{
	for (; start < end; start++) {
		struct word *word = add(w, WORD_MARK, start, start + 1);
		if (!word)
			return;
		word->norm[0] = w->text[start];
		word->norm[1] = '\0';
	}
}

/* Where the quote that begins at `at` ends, after it; 0: it does not. */
static size_t
quote_end(const struct words *w, size_t at, size_t n)
{
	const char *close = "\"";
	size_t open = 1;

	if (stands(w, at, n, QUOTE_LEFT) || stands(w, at, n, QUOTE_LOW)) {
		open = QUOTE_BYTES;
		close = QUOTE_RIGHT;
	} else if (w->text[at] == '\'' || w->text[at] == '"') {
		close = w->text[at] == '\'' ? "'" : "\"";
	} else {
		return 0;
	}
	for (size_t i = at + open; i < n; i++) {
		size_t after = i + strlen(close);
		bool ends =
		    after == n || (after < n && !is_letter(w->text[after]) &&
				      !is_digit(w->text[after]));
		if (i > at + open && stands(w, i, n, close) && ends)
			return after;
		if (w->text[i] == '\n')
			return 0;
	}
	return 0;
}

/* "todo:buy" is two words; "15:30" and "http://" are one. */
static size_t
split_at(const char *text, size_t start, size_t end)
{
	size_t i = start;

	while (i < end && is_letter(text[i]))
		i++;
	bool is_split =
	    i > start && i + 1 < end && text[i] == ':' && text[i + 1] != '/';
	return is_split ? i : end;
}

/* "-", "--", and the longer ones of typographers, by themselves. */
static bool
is_dash(const struct words *w, size_t start, size_t end)
{
	static const char *const dashes[] = {
	    "-", "--", "\xe2\x80\x93", "\xe2\x80\x94"};

	for (size_t i = 0; i < COUNT(dashes); i++) {
		if (end - start == strlen(dashes[i]) &&
		    stands(w, start, end, dashes[i]))
			return true;
	}
	return false;
}

static void
add_word(struct words *w, size_t start, size_t end)
{
	static const char marks[] = ".,;:!?)";
	size_t last = end;

	if (is_dash(w, start, end)) {
		struct word *dash = add(w, WORD_MARK, start, end);
		if (dash)
			memcpy(dash->norm, "-", 2);
		return;
	}
	while (start < last && strchr("(*#-", w->text[start]))
		start++;
	while (last > start && strchr(marks, w->text[last - 1]))
		last--;
	if (last > start) {
		struct word *word = add(w, WORD_PLAIN, start, last);
		if (word)
			normalise(w, word);
	}
	add_marks(w, last, end);
}

void
words_read(struct words *w, const char *text, size_t n)
{
	size_t i = 0;

	w->text = text;
	w->n = 0;
	w->is_cut = false;
	while (i < n && !w->is_cut) {
		if (is_space(text[i])) {
			i++;
			continue;
		}
		size_t end = quote_end(w, i, n);
		if (end > 0) {
			(void)add(w, WORD_QUOTE, i, end);
			i = end;
			continue;
		}
		end = i;
		while (end < n && !is_space(text[end]))
			end++;
		size_t cut = split_at(text, i, end);
		add_word(w, i, cut);
		if (cut < end) {
			add_marks(w, cut, cut + 1);
			cut++;
		}
		i = cut;
	}
	w->at[w->n] = (struct word){.start = n, .end = n};
}

/* By hand: it runs a hundred times for each word of a message. */
bool
words_holds(const char *set, const char *s)
{
	if (s[0] == '\0')
		return false;
	for (const char *p = set; *p != '\0';) {
		size_t k = 0;
		while (s[k] != '\0' && s[k] == p[k])
			k++;
		if (s[k] == '\0' && (p[k] == ' ' || p[k] == '\0'))
			return true;
		while (*p > ' ')
			p++;
		p += *p == ' ';
	}
	return false;
}

bool
words_is_in(const struct words *w, size_t i, const char *set)
{
	return words_holds(set, w->at[i < w->n ? i : w->n].norm);
}

void
words_hide(struct words *w, size_t from, size_t to)
{
	for (; from < to && from < w->n; from++)
		w->at[from].is_hidden = true;
}

size_t
words_visible(const struct words *w, size_t i)
{
	while (i < w->n && w->at[i].is_hidden)
		i++;
	return i;
}

/* A place that text is written to, up to its room. */
struct copy {
	char *p;
	size_t n, room;
};

static void
put(struct copy *c, char byte)
{
	if (c->n < c->room)
		c->p[c->n] = byte;
	c->n++;
}

static void
put_word(struct copy *c, const struct words *w, const struct word *word)
{
	for (size_t i = word->start; i < word->end; i++) {
		char byte = w->text[i];
		if (is_space(byte))
			byte = ' ';
		put(c, byte);
	}
}

/* The inside of a quote. */
static struct word
unquoted(const struct words *w, const struct word *quote)
{
	struct word inside = *quote;
	size_t n =
	    (unsigned char)w->text[quote->start] >= 0x80 ? QUOTE_BYTES : 1;
	inside.start += n;
	inside.end -= n;
	while (inside.start < inside.end && is_space(w->text[inside.start]))
		inside.start++;
	while (inside.end > inside.start && is_space(w->text[inside.end - 1]))
		inside.end--;
	return inside;
}

bool
words_copy(
    const struct words *w, size_t from, size_t to, char *out, size_t room)
{
	struct copy c = {out, 0, room - 1};
	size_t last = to; /* the one written last */

	while (from < to &&
	       (w->at[from].is_hidden || w->at[from].kind == WORD_MARK))
		from++;
	while (to > from &&
	       (w->at[to - 1].is_hidden || w->at[to - 1].kind == WORD_MARK))
		to--;
	if (to == from + 1 && w->at[from].kind == WORD_QUOTE) {
		struct word inside = unquoted(w, &w->at[from]);
		put_word(&c, w, &inside);
		from = to;
	}
	for (size_t i = from; i < to; i++) {
		if (w->at[i].is_hidden)
			continue;
		bool is_apart =
		    last != i - 1 || w->at[last].end < w->at[i].start;
		/* A mark stands where it stood: after a word, or apart. */
		bool is_moved = w->at[i].kind == WORD_MARK && last != i - 1;
		if (i > from && is_apart && !is_moved)
			put(&c, ' ');
		put_word(&c, w, &w->at[i]);
		last = i;
	}
	out[c.n < c.room ? c.n : c.room] = '\0';
	return c.n <= c.room;
}
