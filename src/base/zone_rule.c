/*
 * Reads a TZ rule with one cursor that only moves on; what does not fit makes
 * the whole rule none.
 */
#include <string.h>

#include "base/civil.h"
#include "base/zone_rule.h"

#define HOUR_S 3600
#define DAY_S  86400

struct cursor {
	const char *p, *end;
};

static bool
is_at(const struct cursor *c, char what)
{
	return c->p < c->end && *c->p == what;
}

static bool
take(struct cursor *c, char what)
{
	if (!is_at(c, what))
		return false;
	c->p++;
	return true;
}

static bool
is_digit(const struct cursor *c)
{
	return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool
take_number(struct cursor *c, int max, int *out)
{
	int n = 0;

	if (!is_digit(c))
		return false;
	for (; is_digit(c); c->p++) {
		n = n * 10 + (*c->p - '0');
		if (n > max)
			return false;
	}
	*out = n;
	return true;
}

/* "CET", "<+0330>" */
static bool
take_name(struct cursor *c)
{
	const char *begin = c->p;

	if (take(c, '<')) {
		while (c->p < c->end && *c->p != '>')
			c->p++;
		return take(c, '>');
	}
	while (c->p < c->end && ((*c->p >= 'A' && *c->p <= 'Z') ||
				    (*c->p >= 'a' && *c->p <= 'z')))
		c->p++;
	return c->p - begin >= 3;
}

/* "-1", "3:30", "167:00:00" */
static bool
take_time(struct cursor *c, int32_t *out)
{
	bool is_minus = take(c, '-');
	int h = 0, m = 0, s = 0;

	if (!is_minus)
		(void)take(c, '+');
	if (!take_number(c, 167, &h))
		return false;
	if (take(c, ':') && !take_number(c, 59, &m))
		return false;
	if (take(c, ':') && !take_number(c, 59, &s))
		return false;
	*out = h * HOUR_S + m * 60 + s;
	if (is_minus)
		*out = -*out;
	return true;
}

static bool
take_day(struct cursor *c, struct zone_change *out)
{
	if (take(c, 'M')) {
		out->kind = 'M';
		return take_number(c, 12, &out->month) && out->month >= 1 &&
		       take(c, '.') && take_number(c, 5, &out->week) &&
		       out->week >= 1 && take(c, '.') &&
		       take_number(c, 6, &out->day);
	}
	out->kind = take(c, 'J') ? 'J' : 'D';
	return take_number(c, 365, &out->day) &&
	       (out->kind == 'D' || out->day >= 1);
}

static bool
take_change(struct cursor *c, struct zone_change *out)
{
	out->at_s = 2 * HOUR_S;
	return take(c, ',') && take_day(c, out) &&
	       (!take(c, '/') || take_time(c, &out->at_s));
}

bool
zone_rule_read(const char *p, size_t n, struct zone_rule *out)
{
	struct cursor c = {p, p + n};
	struct zone_rule r = {0};

	/* TZ counts west of UTC. */
	if (!take_name(&c) || !take_time(&c, &r.standard_s))
		return false;
	r.standard_s = -r.standard_s;
	if (c.p < c.end) {
		r.has_summer = true;
		r.summer_s = r.standard_s + HOUR_S;
		if (!take_name(&c))
			return false;
		if (!is_at(&c, ',')) {
			if (!take_time(&c, &r.summer_s))
				return false;
			r.summer_s = -r.summer_s;
		}
		if (!take_change(&c, &r.begins) || !take_change(&c, &r.ends))
			return false;
	}
	if (c.p != c.end)
		return false;
	*out = r;
	return true;
}

/* The day of a change in that year, since 1970. */
static int64_t
change_day(const struct zone_change *c, int year)
{
	if (c->kind == 'D')
		return civil_days(year, 1, 1) + c->day;
	if (c->kind == 'J')
		return civil_days(year, 1, 1) + c->day - 1 +
		       (c->day > 59 && civil_month_days(year, 2) == 29);
	/* The rule's Sunday is 0. */
	int64_t first = civil_days(year, c->month, 1);
	int to = (c->day + 6) % 7 - civil_weekday(first);
	int day = (to + 7) % 7 + (c->week - 1) * 7;
	while (day >= civil_month_days(year, c->month))
		day -= 7;
	return first + day;
}

int32_t
zone_rule_offset(const struct zone_rule *r, int64_t utc_s)
{
	if (!r->has_summer)
		return r->standard_s;
	int year = civil_of_seconds(utc_s + r->standard_s).year;
	int64_t begins = change_day(&r->begins, year) * DAY_S + r->begins.at_s -
			 r->standard_s;
	int64_t ends =
	    change_day(&r->ends, year) * DAY_S + r->ends.at_s - r->summer_s;
	bool is_summer = begins < ends ? utc_s >= begins && utc_s < ends
				       : utc_s >= begins || utc_s < ends;
	return is_summer ? r->summer_s : r->standard_s;
}
