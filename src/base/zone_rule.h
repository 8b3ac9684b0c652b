/*
 * The rule at the end of a TZif file: what holds after its last transition, as
 * in the variable TZ ("CET-1CEST,M3.5.0,M10.5.0/3"), with RFC 8536's hours
 * beyond a day.
 *
 * Thread: any; pure.
 */
#ifndef BASE_ZONE_RULE_H
#define BASE_ZONE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The day of a change: each year's. */
struct zone_change {
	char kind; /* 'M' m.w.d, 'J' day 1 to 365 without leap days, 'D' 0 to
		    * 365 with them */
	int month, week, day;
	int32_t at_s; /* of that day, by the clock until then */
};

struct zone_rule {
	int32_t standard_s; /* east of UTC */
	int32_t summer_s;
	bool has_summer;
	struct zone_change begins, ends; /* of summer time */
};

/* Reads `n` bytes; false when they are no rule. */
bool zone_rule_read(const char *p, size_t n, struct zone_rule *out);

/* Seconds east of UTC at that moment. */
int32_t zone_rule_offset(const struct zone_rule *r, int64_t utc_s);

#endif
