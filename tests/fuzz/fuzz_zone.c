/*
 * Time zones, as a file of the database and as the rule at its end. Whatever
 * was read, each moment has an offset of at most a week and a wall clock, and
 * what a wall clock shows leads back to a moment at which it shows that, unless
 * it is said that it never does. A rule's text is read the same behind a file's
 * transitions. An input is a whole file, or a rule.
 */
#include <string.h>

#include "base/buf.h"
#include "base/zone.h"
#include "base/zone_rule.h"
#include "fuzz.h"

#define WEEK_S 604800

/* From the year 1 to 9999. */
#define FIRST_S INT64_C(-62135596800)
#define LAST_S  INT64_C(253402300799)

static bool
is_same(const struct civil *a, const struct civil *b)
{
	return civil_seconds(a) == civil_seconds(b);
}

static void
check_clock(const struct civil *c)
{
	FUZZ_PROMISE(civil_is_day(c->year, c->month, c->day));
	FUZZ_PROMISE(c->hour >= 0 && c->hour < 24);
	FUZZ_PROMISE(c->minute >= 0 && c->minute < 60);
	FUZZ_PROMISE(c->second >= 0 && c->second < 60);
}

static void
check_moment(const struct zone *z, int64_t at)
{
	int32_t offset = zone_offset(z, at);
	struct civil local, back;
	int64_t utc;

	FUZZ_PROMISE(offset >= -WEEK_S && offset <= WEEK_S);
	local = zone_local(z, at);
	check_clock(&local);
	FUZZ_PROMISE(civil_seconds(&local) == at + offset);
	enum zone_fit fit = zone_utc(z, &local, &utc);
	back = zone_local(z, utc);
	FUZZ_PROMISE(is_same(&back, &local) == (fit != ZONE_NEVER));
	if (fit == ZONE_TWICE) {
		FUZZ_PROMISE(zone_utc(z, &local, &utc) == fit);
		FUZZ_PROMISE(utc <= at || zone_offset(z, utc) < offset);
	}
}

static void
check_zone(const struct zone *z, const uint8_t *data, size_t size)
{
	static const int64_t moments[] = {FIRST_S + WEEK_S, -1, 0, 951782400,
	    1700000000, 1711846800, 1729990800, 4102444800, LAST_S - WEEK_S};
	uint64_t seed = size;

	for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++)
		check_moment(z, moments[i]);
	for (size_t i = 0; i < 16 && i < size; i++) {
		seed = seed * 6364136223846793005u + data[i] + 1;
		check_moment(
		    z, 946684800 + (int64_t)((seed >> 16) % 1577836800));
	}
}

/* A file with one type, no transition, and this rule. */
static void
write_file(struct buf *out, const char *p, size_t n)
{
	static const char head[44] = {
	    'T', 'Z', 'i', 'f', '2', [39] = 1, [43] = 1};
	static const char data[7] = {0};

	for (int i = 0; i < 2; i++) {
		buf_add(out, head, sizeof(head));
		buf_add(out, data, sizeof(data));
	}
	buf_putc(out, '\n');
	buf_add(out, p, n);
	buf_putc(out, '\n');
}

static void
check_rule(const char *p, size_t n, const uint8_t *data)
{
	struct zone_rule rule;
	struct buf file = {0};
	bool is_rule = zone_rule_read(p, n, &rule);
	struct zone *z;

	write_file(&file, p, n);
	z = zone_read("Fuzz/Rule", (const unsigned char *)file.p, file.n);
	if (n > 0 && memchr(p, '\n', n) == NULL)
		FUZZ_PROMISE((z != NULL) == is_rule);
	if (z != NULL && is_rule) {
		check_zone(z, data, n);
		FUZZ_PROMISE(zone_offset(z, 1700000000) ==
			     zone_rule_offset(&rule, 1700000000));
	}
	zone_free(z);
	buf_free(&file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct zone *z = zone_read("Fuzz/File", data, size);

	if (z != NULL) {
		FUZZ_PROMISE(strcmp(zone_name(z), "Fuzz/File") == 0);
		check_zone(z, data, size);
	}
	zone_free(z);
	check_rule((const char *)data, size, data);
	return 0;
}
