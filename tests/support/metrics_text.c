/*
 * A parser of Prometheus's text format: line by line, with the family that is
 * open and the buckets of the histogram that is being read.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics_text.h"

#define NAME_MAX_LEN 128
#define LINE_MAX_LEN 1024
#define SERIES_MAX   8192

#define HELP    "# HELP "
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

struct reader {
	char family[NAME_MAX_LEN];
	char type[16];                /* "" between HELP and TYPE */
	const char *seen[SERIES_MAX]; /* in the whole text */
	size_t lens[SERIES_MAX];
	size_t n_seen;
	double bucket;     /* the last one's value */
	bool has_infinity; /* the last one was +Inf */
};

static bool
copy(char *to, size_t size, const char *from, size_t n)
{
	if (n == 0 || n >= size)
		return false;
	memcpy(to, from, n);
	to[n] = '\0';
	return true;
}

static bool
remember(struct reader *r, const char *p, size_t n)
{
	for (size_t i = 0; i < r->n_seen; i++)
		if (r->lens[i] == n && memcmp(r->seen[i], p, n) == 0)
			return false;
	if (r->n_seen == SERIES_MAX)
		return false;
	r->seen[r->n_seen] = p;
	r->lens[r->n_seen++] = n;
	return true;
}

static const char *
read_help(struct reader *r, const char *whole, const char *p)
{
	size_t n = strcspn(p, " ");

	if (!copy(r->family, sizeof(r->family), p, n))
		return "HELP without a name";
	if (strspn(p, LETTERS DIGITS "_:") != n || strchr(DIGITS, *p) != NULL)
		return "not a metric's name";
	if (!remember(r, whole, strlen(HELP) + n))
		return "a family twice";
	for (p += n; *p != '\0'; p++)
		if (*p == '\\' && *++p != '\\' && *p != 'n')
			return "an escape that HELP does not have";
	r->type[0] = '\0';
	return NULL;
}

static const char *
read_type(struct reader *r, const char *p)
{
	size_t n = strcspn(p, " ");

	if (strncmp(p, r->family, n) != 0 || r->family[n] != '\0')
		return "TYPE without its HELP";
	if (r->type[0] != '\0')
		return "TYPE twice";
	p += n;
	if (strcmp(p, " counter") != 0 && strcmp(p, " gauge") != 0 &&
	    strcmp(p, " histogram") != 0)
		return "no such type";
	copy(r->type, sizeof(r->type), p + 1, strlen(p + 1));
	n = strlen(r->family);
	if (strcmp(r->type, "counter") == 0 &&
	    (n < 6 || strcmp(r->family + n - 6, "_total") != 0))
		return "a counter is called _total";
	return NULL;
}

/* The end of `name="value"` at `p`; NULL when it is none. */
static const char *
skip_label(const char *p)
{
	size_t n = strspn(p, LETTERS DIGITS "_");

	if (n == 0 || strchr(DIGITS, *p) != NULL || p[n] != '=' ||
	    p[n + 1] != '"')
		return NULL;
	for (p += n + 2; *p != '"'; p++) {
		if (*p == '\0')
			return NULL;
		if (*p == '\\' && (*++p == '\0' || !strchr("\\\"n", *p)))
			return NULL;
	}
	return p + 1;
}

/* The end of `{…}` at `p`, of `p` itself without one; NULL: malformed. */
static const char *
skip_labels(const char *p)
{
	if (*p != '{')
		return p;
	do {
		p = skip_label(p + 1);
	} while (p != NULL && *p == ',');
	return p != NULL && *p == '}' ? p + 1 : NULL;
}

/* Which of a histogram's three it is, or what is wrong with it. */
static const char *
read_part(struct reader *r, const char *series, const char *suffix, double v)
{
	bool is_infinity = strstr(series, "le=\"+Inf\"") != NULL;
	bool was_infinity = r->has_infinity;

	if (strncmp(suffix, "_bucket", 7) == 0) {
		if (strstr(suffix, "le=\"") == NULL)
			return "a bucket without le";
		if (r->bucket > v)
			return "a bucket with less than the one before";
		r->bucket = v;
		r->has_infinity = is_infinity;
		return NULL;
	}
	if (strncmp(suffix, "_sum", 4) == 0)
		return was_infinity ? NULL : "a sum before +Inf";
	if (strncmp(suffix, "_count", 6) != 0)
		return "a histogram's series is _bucket, _sum or _count";
	if (!was_infinity || v < r->bucket || v > r->bucket)
		return "a count that is not the last bucket's";
	r->bucket = 0;
	r->has_infinity = false;
	return NULL;
}

static const char *
read_series(struct reader *r, const char *whole, const char *line)
{
	size_t n = strlen(r->family);
	const char *p;
	char *end;
	double v;

	if (r->type[0] == '\0' || strncmp(line, r->family, n) != 0)
		return "a series outside of its family";
	p = skip_labels(line + strcspn(line, "{ "));
	if (p == NULL || *p != ' ')
		return "malformed labels";
	if (!remember(r, whole, (size_t)(p - line)))
		return "a series twice";
	v = strtod(p + 1, &end);
	if (p[1] == '\0' || *end != '\0')
		return "not a number";
	if (strcmp(r->type, "gauge") != 0 && v < 0)
		return "less than nothing";
	if (strcmp(r->type, "histogram") == 0)
		return read_part(r, line, line + n, v);
	return line[n] == '{' || line[n] == ' ' ? NULL : "another's series";
}

static const char *
read_line(struct reader *r, const char *whole, const char *line)
{
	if (strncmp(line, HELP, strlen(HELP)) == 0)
		return read_help(r, whole, line + strlen(HELP));
	if (strncmp(line, "# TYPE ", 7) == 0)
		return read_type(r, line + 7);
	return read_series(r, whole, line);
}

const char *
metrics_fault(const char *text)
{
	static char fault[LINE_MAX_LEN + 128];
	struct reader *r = calloc(1, sizeof(*r));
	const char *why = r == NULL ? "no memory" : NULL;
	char line[LINE_MAX_LEN] = "";

	while (why == NULL && *text != '\0') {
		size_t n = strcspn(text, "\n");

		if (text[n] != '\n')
			why = "the last line has no end";
		else if (!copy(line, sizeof(line), text, n))
			why = "an empty line, or one too long";
		else
			why = read_line(r, text, line);
		text += n + (text[n] == '\n');
	}
	free(r);
	if (why == NULL)
		return NULL;
	snprintf(fault, sizeof(fault), "%s: %s", why, line);
	return fault;
}

/* The next line at or after `p` that begins so; NULL: none. */
static const char *
find_line(const char *p, const char *begin)
{
	while (*p != '\0' && strncmp(p, begin, strlen(begin)) != 0) {
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return *p == '\0' ? NULL : p;
}

static double
value_of(const char *line)
{
	const char *p = skip_labels(line + strcspn(line, "{ "));

	return p == NULL ? -1 : strtod(p, NULL);
}

double
metrics_value(const char *text, const char *series)
{
	const char *line = text;

	while ((line = find_line(line, series)) != NULL) {
		if (line[strlen(series)] == ' ')
			return value_of(line);
		line++;
	}
	return -1;
}

double
metrics_sum(const char *text, const char *begin)
{
	double sum = 0;

	for (const char *p = text; (p = find_line(p, begin)) != NULL; p++)
		sum += value_of(p);
	return sum;
}

int
metrics_series(const char *text, const char *begin)
{
	int n = 0;

	for (const char *p = text; (p = find_line(p, begin)) != NULL; p++)
		n++;
	return n;
}
