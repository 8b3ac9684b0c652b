/*
 * Hours: "3pm", "15:30", "half past nine", "noon", "at 9", "in the evening".
 */
#include <string.h>

#include "task/when_inside.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* What a part of a day means, alone and to the hour before or after it. */
static const struct part {
	const char *name;
	int hour;
	enum when_half half;
} parts[] = {
    {"morning", 9, WHEN_AM},
    {"afternoon", 15, WHEN_PM},
    {"evening", 19, WHEN_PM},
    {"night", 20, WHEN_PM},
};

/* "8:15", "0815", "8". Sets hour and minute; the rest of the word. */
static const char *
clock_digits(const char *s, struct when *out)
{
	int n = 0, hour = 0, minute = 0;
	bool is_padded = *s == '0';
	enum when_half half = WHEN_BARE;

	/* "1630" */
	bool is_whole = strspn(s, "0123456789") == 4 && s[4] == '\0';
	if (is_whole && (s[2] > '5' || s[0] > '2'))
		return NULL;
	for (; *s >= '0' && *s <= '9' && n < 2; s++, n++)
		hour = hour * 10 + (*s - '0');
	if (is_whole) {
		minute = (s[0] - '0') * 10 + (s[1] - '0');
		s += 2;
	}
	if (n == 0 || (*s >= '0' && *s <= '9'))
		return NULL;
	/* "5.30" is one only where "pm" or "at" says so. */
	if (*s == ':' || (*s == '.' && strlen(s) >= 3)) {
		if (s[1] < '0' || s[1] > '5' || s[2] < '0' || s[2] > '9')
			return NULL;
		minute = (s[1] - '0') * 10 + (s[2] - '0');
		s += 3;
	}
	if (hour > 24 || (hour == 24 && minute > 0))
		return NULL;
	if (hour > 12 || hour == 0 || is_padded || is_whole)
		half = WHEN_WHOLE;
	when_set_hour(out, hour, minute, half);
	return s;
}

/* "am" behind an hour: in its word, or the next one. */
static size_t
half_at(const char *rest, const struct words *w, size_t i, struct when *out)
{
	size_t n = 0;

	if (*rest == '\0' && i < w->n && w->at[i].kind == WORD_PLAIN) {
		rest = w->at[i].norm;
		n = 1;
	}
	bool is_am = !strcmp(rest, "am") || !strcmp(rest, "a.m");
	bool is_pm = !strcmp(rest, "pm") || !strcmp(rest, "p.m");
	if (!is_am && !is_pm)
		return !strcmp(rest, "oclock") ? n : 0;
	out->half = is_am ? WHEN_AM : WHEN_PM;
	/* "a.m." has a last dot of its own. */
	if (n == 1 && w->at[i].end - w->at[i].start == 3 &&
	    words_is(w, i + 1, "."))
		n++;
	return n;
}

/* A preposition that makes a number an hour. */
static bool
is_at_an_hour(const struct words *w, size_t i)
{
	return i > 0 && words_is_in(w, i - 1,
			    "at by around until till before "
			    "@ from");
}

/* A number is no hour where it counts something. */
static bool
counts(const struct words *w, size_t i)
{
	return words_is_in(w, i,
	    "percent people euros dollars items times minutes hours days weeks "
	    "months years km miles");
}

static size_t
clock_hour(const struct words *w, size_t i, struct when *out)
{
	struct when read = {0};
	const char *rest = clock_digits(w->at[i].norm, &read);

	if (!rest)
		return 0;
	bool has_colon = strchr(w->at[i].norm, ':') != NULL;
	size_t half = half_at(rest, w, i + 1, &read);
	bool is_marked =
	    read.half == WHEN_AM || read.half == WHEN_PM || half > 0;
	if (*rest != '\0' && !is_marked)
		return 0;
	if (is_marked && (read.hour > 12 || read.hour == 0)) {
		if (read.hour > 24 || read.hour < 13)
			return 0;
		read.half = WHEN_WHOLE; /* "15:30 pm" */
	}
	if (!has_colon && !is_marked &&
	    (!is_at_an_hour(w, i) || counts(w, i + 1)))
		return 0;
	when_set_hour(out, read.hour, read.minute, read.half);
	return 1 + half;
}

/* An hour's number in words or digits, 1 to 12. */
static int
hour_number(const struct words *w, size_t i)
{
	int n = words_number(w, i);
	return n >= 1 && n <= 12 ? n : 0;
}

/* The minutes behind an hour in words: "eight thirty", "nine fifteen". */
static size_t
spoken_minutes(const struct words *w, size_t i, int *out_minute)
{
	int minute = words_number(w, i);

	if (minute < 10 || minute > 59 || w->at[i].norm[0] <= '9')
		return 0;
	*out_minute = minute;
	return 1;
}

/* "half past nine", "quarter to six", "10 past 4", "nine o'clock", "at nine" */
static size_t
spoken_hour(const struct words *w, size_t i, struct when *out)
{
	size_t at = i + (words_is(w, i, "a") ? 1 : 0);
	int minutes = words_is(w, at, "half")      ? 30
		      : words_is(w, at, "quarter") ? 15
						   : words_number(w, at);
	size_t past = at + 1 + (words_is(w, at + 1, "minutes") ? 1 : 0);
	bool is_to = words_is_in(w, past, "to before");
	int hour = hour_number(w, past + 1);

	if ((is_to || words_is_in(w, past, "past after")) && hour > 0 &&
	    minutes > 0 && minutes < 60) {
		if (is_to)
			hour = hour == 1 ? 12 : hour - 1;
		when_set_hour(
		    out, hour, is_to ? 60 - minutes : minutes, WHEN_BARE);
		size_t n = past + 2 - i;
		return n + half_at("", w, i + n, out);
	}
	/* "at half eight" */
	hour = words_is(w, i, "half") ? hour_number(w, i + 1) : 0;
	if (hour > 0 && is_at_an_hour(w, i)) {
		when_set_hour(out, hour, 30, WHEN_BARE);
		return 2;
	}
	hour = hour_number(w, i);
	if (hour == 0 || w->at[i].norm[0] <= '9')
		return 0;
	int minute = 0;
	size_t n = 1 + spoken_minutes(w, i + 1, &minute);
	when_set_hour(out, hour, minute, WHEN_BARE);
	size_t half = half_at("", w, i + n, out);
	if ((!is_at_an_hour(w, i) && half == 0) || counts(w, i + n))
		return 0;
	return n + half;
}

size_t
when_hour(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	(void)now;
	if (i >= w->n || w->at[i].kind != WORD_PLAIN)
		return 0;
	size_t n = spoken_hour(w, i, out);
	return n > 0 ? n : clock_hour(w, i, out);
}

static const struct part *
part_of(const struct words *w, size_t i)
{
	for (size_t k = 0; k < COUNT(parts); k++) {
		if (words_is(w, i, parts[k].name))
			return &parts[k];
	}
	return NULL;
}

/* "in the morning", "this evening", "at night"; "morning" behind a day. */
size_t
when_part(const struct words *w, size_t i, const struct when_now *now,
    struct when *out)
{
	const struct part *part = NULL;
	size_t n = 0;

	if (words_is(w, i, "in") && words_is(w, i + 1, "the"))
		n = 2;
	else if (words_is_in(w, i, "this at"))
		n = 1;
	part = part_of(w, i + n);
	if (!part || (n == 0 && !out->has_day) ||
	    (words_is(w, i, "at") && strcmp(part->name, "night") != 0))
		return 0;
	if (words_is(w, i, "this"))
		when_set_day(out, now->today, 1);
	if (!out->has_hour) {
		when_set_hour(out, part->hour, 0, WHEN_WHOLE);
		out->gives_way |= WHEN_HOUR;
	} else if (out->half == WHEN_BARE) {
		out->half = part->half;
	}
	return n + 1;
}
