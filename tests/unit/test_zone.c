/*
 * Time zones against what is known of them: gaps and overlaps, years beyond the
 * files' transitions, names that are none, broken files.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/civil.h"
#include "base/clock.h"
#include "base/zone.h"
#include "base/zone_rule.h"

static int64_t
moment(const char *text)
{
	int64_t ms = 0;
	cr_assert(clock_parse(text, &ms), "%s", text);
	return ms / 1000;
}

static struct civil
wall(const char *text)
{
	return civil_of_seconds(moment(text));
}

/* What a wall shows in a zone. */
static const struct {
	const char *zone, *utc, *local;
} shown[] = {
    {"UTC", "2026-03-11T09:20:00Z", "2026-03-11T09:20:00Z"},
    {"Europe/Berlin", "2026-03-11T09:20:00Z", "2026-03-11T10:20:00Z"},
    {"Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29T01:59:59Z"},
    {"Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"},
    {"Europe/Berlin", "2026-10-25T00:59:59Z", "2026-10-25T02:59:59Z"},
    {"Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
    /* After 2037 only the rule is left. */
    {"Europe/Berlin", "2061-07-01T12:00:00Z", "2061-07-01T14:00:00Z"},
    {"Europe/Berlin", "2061-12-01T12:00:00Z", "2061-12-01T13:00:00Z"},
    {"America/New_York", "2026-03-08T06:59:59Z", "2026-03-08T01:59:59Z"},
    {"America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T03:00:00Z"},
    {"America/New_York", "2099-07-04T16:00:00Z", "2099-07-04T12:00:00Z"},
    {"Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T05:30:00Z"},
    {"Asia/Kathmandu", "2050-01-01T00:00:00Z", "2050-01-01T05:45:00Z"},
    {"Australia/Lord_Howe", "2026-01-01T00:00:00Z", "2026-01-01T11:00:00Z"},
    {"Australia/Lord_Howe", "2045-07-01T00:00:00Z", "2045-07-01T10:30:00Z"},
    {"Pacific/Auckland", "2070-01-01T00:00:00Z", "2070-01-01T13:00:00Z"},
    {"Pacific/Kiritimati", "2026-01-01T00:00:00Z", "2026-01-01T14:00:00Z"},
    {"Etc/GMT+12", "2026-01-01T00:00:00Z", "2025-12-31T12:00:00Z"},
    /* Summer time may be the standard, below zero in winter. */
    {"Europe/Dublin", "2050-07-01T12:00:00Z", "2050-07-01T13:00:00Z"},
    {"Europe/Dublin", "2050-01-01T12:00:00Z", "2050-01-01T12:00:00Z"},
    {"Europe/Berlin", "1901-01-01T00:00:00Z", "1901-01-01T01:00:00Z"},
};

Test(zone, walls_show_what_they_show)
{
	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++) {
		const struct zone *z = zone_find(shown[i].zone);
		cr_assert_not_null(z, "%s", shown[i].zone);
		struct civil local = zone_local(z, moment(shown[i].utc));
		cr_expect_eq(civil_seconds(&local), moment(shown[i].local),
		    "%s at %s: %d-%d-%d %d:%d", shown[i].zone, shown[i].utc,
		    local.year, local.month, local.day, local.hour,
		    local.minute);
	}
	zones_forget();
}

static const struct {
	const char *zone, *local, *utc;
	enum zone_fit fit;
} said[] = {
    {"UTC", "2026-03-29T02:30:00Z", "2026-03-29T02:30:00Z", ZONE_ONCE},
    {"Europe/Berlin", "2026-03-29T01:59:00Z", "2026-03-29T00:59:00Z",
	ZONE_ONCE},
    {"Europe/Berlin", "2026-03-29T02:00:00Z", "2026-03-29T01:00:00Z",
	ZONE_NEVER},
    {"Europe/Berlin", "2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z",
	ZONE_NEVER},
    {"Europe/Berlin", "2026-03-29T03:00:00Z", "2026-03-29T01:00:00Z",
	ZONE_ONCE},
    {"Europe/Berlin", "2026-10-25T01:59:00Z", "2026-10-24T23:59:00Z",
	ZONE_ONCE},
    {"Europe/Berlin", "2026-10-25T02:00:00Z", "2026-10-25T00:00:00Z",
	ZONE_TWICE},
    {"Europe/Berlin", "2026-10-25T02:59:00Z", "2026-10-25T00:59:00Z",
	ZONE_TWICE},
    {"Europe/Berlin", "2026-10-25T03:00:00Z", "2026-10-25T02:00:00Z",
	ZONE_ONCE},
    {"Europe/Berlin", "2060-03-28T02:30:00Z", "2060-03-28T01:30:00Z",
	ZONE_NEVER},
    {"Australia/Lord_Howe", "2026-04-05T01:45:00Z", "2026-04-04T14:45:00Z",
	ZONE_TWICE},
    {"Australia/Lord_Howe", "2026-10-04T02:15:00Z", "2026-10-03T15:45:00Z",
	ZONE_NEVER},
    /* A day that never was: the dateline was moved. */
    {"Pacific/Apia", "2011-12-30T12:00:00Z", "2011-12-30T22:00:00Z",
	ZONE_NEVER},
};

Test(zone, gaps_are_passed_by_and_the_first_of_two_is_taken)
{
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
		const struct zone *z = zone_find(said[i].zone);
		struct civil local = wall(said[i].local);
		int64_t utc = 0;
		cr_assert_not_null(z, "%s", said[i].zone);
		cr_expect_eq(zone_utc(z, &local, &utc), said[i].fit, "%s %s",
		    said[i].zone, said[i].local);
		cr_expect_eq(utc, moment(said[i].utc), "%s %s: %lld",
		    said[i].zone, said[i].local,
		    (long long)(utc - moment(said[i].utc)));
	}
	zones_forget();
}

Test(zone, agrees_with_the_c_library_all_over_the_world)
{
	static const char *const names[] = {"Europe/Berlin", "Europe/Dublin",
	    "America/New_York", "America/Sao_Paulo", "Africa/Casablanca",
	    "Asia/Tehran", "Asia/Gaza", "Australia/Sydney", "Asia/Tokyo",
	    "America/St_Johns", "Antarctica/Troll", "Pacific/Chatham"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct zone *z = zone_find(names[i]);
		cr_assert_not_null(z, "%s", names[i]);
		setenv("TZ", names[i], 1);
		tzset();
		for (int64_t t = 0; t < 4102444800; t += 1234567) {
			time_t at = (time_t)t;
			struct tm tm;
			cr_assert_not_null(localtime_r(&at, &tm));
			cr_assert_eq(zone_offset(z, t), tm.tm_gmtoff,
			    "%s at %lld", names[i], (long long)t);
		}
	}
	unsetenv("TZ");
	zones_forget();
}

Test(zone, only_zones_of_the_database_are_zones)
{
	static const char *const none[] = {"", "Europe", "Europe/",
	    "/etc/passwd", "../../../etc/passwd", "Europe/../Europe/Berlin",
	    "europe/berlin", "Mars/Olympus", "zone.tab", "tzdata.zi",
	    "right/UTC", "posix/Europe/Berlin", "Europe//Berlin",
	    "Europe/Berlin\n", "CET ",
	    "America/Argentina/ComodRivadavia/America/Argentina/"
	    "ComodRivadavia"};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		cr_expect_null(zone_find(none[i]), "%s", none[i]);
	cr_expect_not_null(zone_find("UTC"));
	cr_expect_str_eq(zone_name(zone_find("Asia/Tokyo")), "Asia/Tokyo");
	zones_forget();
}

Test(zone, a_thread_keeps_a_few_and_still_finds_them_all)
{
	for (int round = 0; round < 2; round++) {
		for (int i = -12; i <= 12; i++) {
			char name[16];
			if (i == 0)
				continue;
			(void)snprintf(name, sizeof(name), "Etc/GMT%+d", i);
			const struct zone *z = zone_find(name);
			cr_assert_not_null(z, "%s", name);
			cr_assert_eq(zone_offset(z, 0), -i * 3600);
		}
	}
	zones_forget();
}

Test(zone, files_that_are_cut_are_no_zones)
{
	static unsigned char bytes[65536];
	FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
	cr_assert_not_null(f);
	size_t n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	struct zone *z = zone_read("x", bytes, n);
	cr_assert_not_null(z);
	zone_free(z);
	for (size_t i = 0; i < n; i++)
		cr_assert_null(zone_read("x", bytes, i), "%zu of %zu", i, n);
	/* Any byte may be wrong: no answer matters, only that one comes. */
	for (size_t i = 0; i < n; i++) {
		unsigned char was = bytes[i];
		bytes[i] = (unsigned char)~was;
		z = zone_read("x", bytes, n);
		if (z)
			(void)zone_offset(z, 1800000000);
		zone_free(z);
		bytes[i] = was;
	}
}

Test(zone, rules_are_read_whole_or_not)
{
	static const char *const good[] = {"UTC0", "<-03>3", "<+0330>-3:30",
	    "EST5EDT,M3.2.0,M11.1.0", "IST-1GMT0,M10.5.0,M3.5.0/1",
	    "EET-2EEST,M3.4.4/50,M10.4.4/50", "AAA3BBB,J60,J300/3:30:15",
	    "AAA3BBB2,59,364/-1"};
	static const char *const bad[] = {"", "U0", "UTC", "<03", "EST5EDT",
	    "EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0",
	    "EST5EDT,M3.6.0,M11.1.0", "EST5EDT,M3.2.7,M11.1.0",
	    "EST5EDT,M3.2.0,M11.1.0x", "EST168", "A3BBB,J0,J300",
	    "AAA3BBB,J366,J300", "AAA3:60"};
	struct zone_rule r;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_expect(zone_rule_read(good[i], strlen(good[i]), &r), "%s",
		    good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_not(
		    zone_rule_read(bad[i], strlen(bad[i]), &r), "%s", bad[i]);
	/* 1 March is day 60 of a year without 29 February, by J60, and of one
	 * with it. */
	cr_assert(zone_rule_read("AAA0BBB,J60,J300", 16, &r));
	cr_expect_eq(zone_rule_offset(&r, moment("2027-03-01T01:59:59Z")), 0);
	cr_expect_eq(
	    zone_rule_offset(&r, moment("2027-03-01T02:00:00Z")), 3600);
	cr_expect_eq(zone_rule_offset(&r, moment("2028-03-01T01:59:59Z")), 0);
	cr_expect_eq(
	    zone_rule_offset(&r, moment("2028-03-01T02:00:00Z")), 3600);
}

Test(civil, days_go_there_and_back)
{
	for (int64_t d = -800000; d < 800000; d += 37) {
		struct civil c = civil_of_days(d);
		cr_assert(civil_is_day(c.year, c.month, c.day));
		cr_assert_eq(civil_days(c.year, c.month, c.day), d);
	}
	cr_expect_eq(civil_days(1970, 1, 1), 0);
	cr_expect_eq(civil_days(2026, 3, 11), 20523);
	cr_expect_eq(civil_weekday(20523), 2);
	cr_expect_eq(civil_weekday(-4), CIVIL_SUNDAY);
	cr_expect_not(civil_is_day(2026, 2, 29));
	cr_expect(civil_is_day(2028, 2, 29));
	cr_expect_not(civil_is_day(1900, 2, 29));
	cr_expect_not(civil_is_day(2026, 13, 1));
	cr_expect_not(civil_is_day(2026, 4, 31));
}

Test(civil, months_are_added_and_end_where_they_end)
{
	struct civil c = {.year = 2026, .month = 1, .day = 31};
	struct civil to = civil_add_months(&c, 1);
	cr_expect_eq(to.month * 100 + to.day, 228);
	to = civil_add_months(&c, -2);
	cr_expect_eq(to.year * 10000 + to.month * 100 + to.day, 20251130);
	to = civil_add_months(&c, 25);
	cr_expect_eq(to.year * 10000 + to.month * 100 + to.day, 20280229);
}
