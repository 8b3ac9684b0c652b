/*
 * Judges new passwords. Owns copies of the password while it judges and wipes
 * them. Must not know users beyond a name, nor hashes.
 *
 * All forms that are compared are made of bytes: letters beyond ASCII are
 * letters here, and keep their case.
 */
#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/common_words.h"
#include "auth/password.h"
#include "auth/password_rule.h"
#include "base/config.h"

#define AROUND_MAX 7 /* bytes around a common password that do not save it */
#define REST_MIN   8 /* bytes that a password has besides the username */
#define UNIT_MAX   7 /* bytes that are repeated */
#define TEXT_MIN   6 /* bytes besides blanks, dots and dashes */
#define LINE_ROOM  (PASSWORD_MAX + 2)
#define FORMS      6
#define READINGS   3 /* the first forms: as it is, and unmasked */

/*
 * What a part of a password adds to the effort of guessing it: a listed word is
 * one of a thousand, a walk or a year one of a few dozen, anything else is
 * guessed character by character. Four listed words are enough.
 */
#define COST_WORD   6
#define COST_WALK   3
#define COST_LETTER 3
#define COST_OTHER  2
#define COST_ENOUGH 24

/* What is compared with the lists, each with its NUL. */
struct forms {
	char text[FORMS][PASSWORD_MAX + 1];
	size_t n;
	bool is_cored[FORMS]; /* something was cut off around it */
};

static char
lower(char c)
{
	static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	const char *at = c ? strchr(upper, c) : NULL;
	if (at)
		return letters[at - upper];
	return c;
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

/* Lower case without what people put between words. */
static void
squeeze(const char *password, char out[static PASSWORD_MAX + 1])
{
	size_t n = 0;
	for (const char *p = password; *p && n < PASSWORD_MAX; p++) {
		if (!strchr(" .-_", *p))
			out[n++] = lower(*p);
	}
	out[n] = '\0';
}

/* Digits and signs as the letters that they stand for; `one` is what 1 is. */
static void
unmask(const char *text, char one, char out[static PASSWORD_MAX + 1])
{
	static const char masks[] = "0345789@$!+|";
	static const char letters[] = "oeastbgasitl";
	size_t n = 0;
	_Static_assert(sizeof masks == sizeof letters, "one for each");
	for (; text[n]; n++) {
		const char *mask = strchr(masks, text[n]);
		out[n] = text[n];
		if (mask)
			out[n] = letters[mask - masks];
		if (text[n] == '1')
			out[n] = one;
	}
	out[n] = '\0';
}

static char *
add_form(struct forms *f, bool is_cored)
{
	assert(f->n < FORMS);
	f->is_cored[f->n] = is_cored;
	return f->text[f->n++];
}

/* The form, and it with its masks taken off. */
static void
add_forms(struct forms *f, const char *text, bool is_cored)
{
	char *plain = add_form(f, is_cored);
	memcpy(plain, text, strlen(text) + 1);
	unmask(plain, 'i', add_form(f, is_cored));
	unmask(plain, 'l', add_form(f, is_cored));
}

/*
 * Fills the forms of a squeezed password: itself, and, when that leaves little
 * beside it, what stands between the digits and signs at its ends. `around`
 * gets what was cut off.
 */
static void
make_forms(
    const char *text, struct forms *f, char around[static PASSWORD_MAX + 1])
{
	size_t n = strlen(text), from = 0, to = n;
	char core[PASSWORD_MAX + 1];
	add_forms(f, text, false);
	while (from < n && !is_letter(text[from]))
		from++;
	while (to > from && !is_letter(text[to - 1]))
		to--;
	memcpy(core, text + from, to - from);
	core[to - from] = '\0';
	memcpy(around, text, from);
	memcpy(around + from, text + to, n - to);
	around[from + n - to] = '\0';
	if (to > from && to - from < n)
		add_forms(f, core, true);
	sodium_memzero(core, sizeof core);
}

static bool
is_line(const char *line, size_t n, const char *text)
{
	return strlen(text) == n && memcmp(line, text, n) == 0;
}

/* Does one of the forms count as the listed password `line`? */
static bool
matches(const struct forms *f, const char *around, const char *line, size_t n)
{
	for (size_t i = 0; i < f->n; i++) {
		if (is_line(line, n, f->text[i]) &&
		    (!f->is_cored[i] || strlen(around) <= AROUND_MAX))
			return true;
	}
	return false;
}

/* Is it one of the site's own list? A line too long is no password. */
static enum err
search_file(
    const char *path, const struct forms *f, const char *around, bool *out)
{
	char line[LINE_ROOM], squeezed[PASSWORD_MAX + 1];
	bool is_found = false, is_begin = true;
	FILE *file = fopen(path, "re");
	if (!file)
		return ERR_INTERNAL;
	while (!is_found && fgets(line, sizeof line, file)) {
		size_t n = strcspn(line, "\r\n");
		bool is_whole = is_begin && line[n];
		is_begin = strchr(line, '\n') != NULL;
		if (!is_whole && !(feof(file) && n > 0))
			continue;
		line[n] = '\0';
		squeeze(line, squeezed);
		is_found =
		    *squeezed && matches(f, around, squeezed, strlen(squeezed));
	}
	enum err e = ferror(file) ? ERR_INTERNAL : OK;
	(void)fclose(file);
	if (!e)
		*out = is_found;
	return e;
}

/* Does it hold the name, and little else? */
static bool
is_name(const char *text, const char *username)
{
	char name[PASSWORD_MAX + 1];
	squeeze(username, name);
	size_t n = strlen(name);
	return n >= 3 && strstr(text, name) && strlen(text) < n + REST_MIN;
}

/* Is it one short thing over and over (its last time may be cut)? */
static bool
is_repeated(const char *text)
{
	size_t n = strlen(text);
	for (size_t unit = 1; unit <= UNIT_MAX && unit * 2 <= n; unit++) {
		size_t i = unit;
		while (i < n && text[i] == text[i - unit])
			i++;
		if (i == n)
			return true;
	}
	return false;
}

/* Are the two neighbours, or the same, on one of the ways people walk? */
static bool
is_step(char a, char b)
{
	static const char *const ways[] = {"abcdefghijklmnopqrstuvwxyz",
	    "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "azertyuiop",
	    "qsdfghjklm", "wxcvbn", "qwertzuiop", "yxcvbnm", "1qaz2wsx3edc4rfv",
	    "!@#$%^&*()"};
	if (a == b)
		return true;
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		for (const char *p = strchr(ways[i], a); p && *p;
		     p = strchr(p + 1, a)) {
			if (p[1] == b || (p > ways[i] && p[-1] == b))
				return true;
		}
	}
	return false;
}

/* Are three of four steps from a character to the next such steps? */
static bool
is_walk(const char *text)
{
	size_t n = strlen(text), steps = 0;
	for (size_t i = 1; i < n; i++)
		steps += is_step(text[i - 1], text[i]);
	return n > 1 && steps * 4 >= (n - 1) * 3;
}

/* The longest word of the list that begins at `at` in one of the readings. */
static size_t
word_at(const struct forms *f, size_t at)
{
	size_t longest = 0;
	const char *line = common_words;
	for (const char *end; (end = strchr(line, '\n')); line = end + 1) {
		size_t n = (size_t)(end - line);
		for (size_t i = 0; i < READINGS && n > longest; i++) {
			if (strncmp(f->text[i] + at, line, n) == 0)
				longest = n;
		}
	}
	return longest;
}

/* The length of the walk, or of one character again and again, from `text` on:
 * three digits or signs, or four of any kind, at least; else 0. */
static size_t
walk_at(const char *text)
{
	size_t n = 1;
	bool has_letter = is_letter(*text);
	while (text[n] && is_step(text[n - 1], text[n]))
		has_letter |= is_letter(text[n++]);
	return n >= (has_letter ? 4 : 3) ? n : 0;
}

static size_t
year_at(const char *text)
{
	bool is_year =
	    strncmp(text, "19", 2) == 0 || strncmp(text, "20", 2) == 0;
	return is_year && strspn(text, "0123456789") >= 4 ? 4 : 0;
}

/* What guessing from the beginning up to here takes. */
struct effort {
	size_t cost;
	size_t known; /* bytes in words, walks and years */
};

static void
offer(struct effort *to, const struct effort *from, size_t cost, size_t known)
{
	if (from->cost + cost < to->cost)
		*to = (struct effort){from->cost + cost, from->known + known};
}

/*
 * Is it made of words, walks and years for the most part, and of few of them?
 * The cheapest way to put it together counts.
 */
static bool
is_composed(const struct forms *f)
{
	struct effort efforts[PASSWORD_MAX + 1] = {{0, 0}};
	const char *text = f->text[0];
	size_t n = strlen(text);
	for (size_t i = 1; i <= n; i++)
		efforts[i].cost = SIZE_MAX;
	for (size_t i = 0; i < n; i++) {
		const struct effort *here = &efforts[i];
		size_t word = word_at(f, i), walk = walk_at(text + i);
		size_t year = year_at(text + i);
		offer(&efforts[i + 1], here,
		    is_letter(text[i]) ? COST_LETTER : COST_OTHER, 0);
		offer(&efforts[i + word], here, COST_WORD, word);
		offer(&efforts[i + walk], here, COST_WALK, walk);
		offer(&efforts[i + year], here, COST_WALK, year);
	}
	return efforts[n].cost < COST_ENOUGH && efforts[n].known * 2 >= n;
}

enum err
password_rule_judge(const struct config *config, const char *username,
    const char *password, const char **out_flaw)
{
	struct forms forms = {0};
	char text[PASSWORD_MAX + 1] = "", around[PASSWORD_MAX + 1] = "";
	const char *path = config->password_list;
	bool is_found = false;
	const char *flaw = NULL;
	enum err e = OK;
	squeeze(password, text);
	make_forms(text, &forms, around);
	if (strlen(text) < TEXT_MIN || is_repeated(text) || is_walk(text))
		flaw = "It is a pattern that is guessed first.";
	else if (is_name(text, username))
		flaw = "It is little more than the username.";
	else if (is_composed(&forms))
		flaw = "It is made of few words that are guessed first.";
	else if (path && *path)
		e = search_file(path, &forms, around, &is_found);
	if (is_found)
		flaw = "It is one of the passwords that are guessed first.";
	sodium_memzero(&forms, sizeof forms);
	sodium_memzero(text, sizeof text);
	sodium_memzero(around, sizeof around);
	if (!e)
		*out_flaw = flaw;
	return e;
}
