/*
 * Files of the time zone database (RFC 8536), and the few zones that a thread
 * keeps. Only the part with 64-bit times is read; what came before the first of
 * its transitions is its first type.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/zone.h"
#include "base/zone_rule.h"

#define FOLDER "/usr/share/zoneinfo/"
#define UTC    "UTC"

#define HEAD       44
#define FILE_MAX   ((size_t)64 * 1024)
#define TIMES_MAX  4096
#define TYPES_MAX  256
#define TYPE_BYTES 6
#define DAY_S      86400

struct zone {
	char name[ZONE_NAME_MAX];
	size_t n;       /* transitions */
	int64_t *times; /* of them, ascending */
	unsigned char *types;
	int32_t offsets[TYPES_MAX];
	bool has_rule; /* of what holds after the last one */
	struct zone_rule rule;
};

/* What a header counts. */
struct counts {
	size_t isut, isstd, leaps, times, types, chars;
};

static _Thread_local struct zone *kept[ZONES_KEPT];
static _Thread_local size_t next_kept;

static uint32_t
number(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static int64_t
long_number(const unsigned char *p)
{
	return (int64_t)((uint64_t)number(p) << 32 | number(p + 4));
}

static bool
read_head(const unsigned char *p, size_t n, struct counts *out)
{
	if (n < HEAD || memcmp(p, "TZif", 4) != 0 || p[4] < '2')
		return false;
	*out = (struct counts){
	    .isut = number(p + 20),
	    .isstd = number(p + 24),
	    .leaps = number(p + 28),
	    .times = number(p + 32),
	    .types = number(p + 36),
	    .chars = number(p + 40),
	};
	return out->times <= TIMES_MAX && out->types >= 1 &&
	       out->types <= TYPES_MAX && out->chars <= FILE_MAX &&
	       out->leaps <= TIMES_MAX && out->isut <= TYPES_MAX &&
	       out->isstd <= TYPES_MAX;
}

/* Bytes of a header's data, of which a time has so many. */
static size_t
data_size(const struct counts *c, size_t time)
{
	return c->times * (time + 1) + c->types * TYPE_BYTES + c->chars +
	       c->leaps * (time + 4) + c->isstd + c->isut;
}

static bool
read_data(struct zone *z, const unsigned char *p, const struct counts *c)
{
	const unsigned char *types = p + c->times * 8;
	const unsigned char *offsets = types + c->times;

	z->n = c->times;
	z->times = calloc(c->times + 1, sizeof(*z->times));
	z->types = calloc(c->times + 1, 1);
	if (!z->times || !z->types)
		return false;
	for (size_t i = 0; i < c->times; i++) {
		z->times[i] = long_number(p + i * 8);
		z->types[i] = types[i];
		if (types[i] >= c->types ||
		    (i > 0 && z->times[i] <= z->times[i - 1]))
			return false;
	}
	for (size_t i = 0; i < c->types; i++) {
		z->offsets[i] = (int32_t)number(offsets + i * TYPE_BYTES);
		if (z->offsets[i] > DAY_S || z->offsets[i] < -DAY_S)
			return false;
	}
	return true;
}

/* What follows the data: a rule between two line ends, or nothing there. */
static bool
read_foot(struct zone *z, const unsigned char *p, size_t n)
{
	const unsigned char *end;

	if (n < 2 || p[0] != '\n' || !(end = memchr(p + 1, '\n', n - 1)))
		return false;
	size_t len = (size_t)(end - p) - 1;
	z->has_rule = len > 0;
	return len == 0 || zone_rule_read((const char *)p + 1, len, &z->rule);
}

static bool
read_all(struct zone *z, const unsigned char *p, size_t n)
{
	struct counts old, c;

	if (!read_head(p, n, &old))
		return false;
	size_t skip = HEAD + data_size(&old, 4);
	if (skip > n || !read_head(p + skip, n - skip, &c))
		return false;
	skip += HEAD;
	size_t size = data_size(&c, 8);
	return size <= n - skip && read_data(z, p + skip, &c) &&
	       read_foot(z, p + skip + size, n - skip - size);
}

struct zone *
zone_read(const char *name, const unsigned char *p, size_t n)
{
	struct zone *z = calloc(1, sizeof(*z));

	if (!z)
		return NULL;
	(void)snprintf(z->name, sizeof(z->name), "%s", name);
	if (!read_all(z, p, n)) {
		zone_free(z);
		return NULL;
	}
	return z;
}

void
zone_free(struct zone *z)
{
	if (!z)
		return;
	free(z->times);
	free(z->types);
	free(z);
}

/* Could it be the name of a file in the database, and no other? */
static bool
is_fit(const char *name)
{
	static const char fit[] = "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
	size_t n = strlen(name);

	/* These two folders have other clocks: with leap seconds. */
	return n > 0 && n < ZONE_NAME_MAX && strspn(name, fit) == n &&
	       name[0] != '/' && name[n - 1] != '/' && !strstr(name, "//") &&
	       strncmp(name, "right/", 6) != 0 &&
	       strncmp(name, "posix/", 6) != 0;
}

static struct zone *
load(const char *name)
{
	char path[sizeof(FOLDER) + ZONE_NAME_MAX];
	unsigned char *bytes = malloc(FILE_MAX);
	struct zone *z = NULL;
	struct stat st;
	size_t n = 0;
	ssize_t got = 1;

	(void)snprintf(path, sizeof(path), FOLDER "%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || !bytes || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		goto out;
	while (n < FILE_MAX && got > 0) {
		got = read(fd, bytes + n, FILE_MAX - n);
		n += got > 0 ? (size_t)got : 0;
	}
	if (got == 0)
		z = zone_read(name, bytes, n);
out:
	if (fd >= 0)
		close(fd);
	free(bytes);
	return z;
}

static struct zone *
make_utc(void)
{
	struct zone *z = calloc(1, sizeof(*z));

	if (z)
		memcpy(z->name, UTC, sizeof(UTC));
	return z;
}

const struct zone *
zone_find(const char *name)
{
	struct zone *z;

	for (size_t i = 0; i < ZONES_KEPT; i++) {
		if (kept[i] && !strcmp(kept[i]->name, name))
			return kept[i];
	}
	if (!is_fit(name))
		return NULL;
	z = !strcmp(name, UTC) ? make_utc() : load(name);
	if (!z)
		return NULL;
	zone_free(kept[next_kept]);
	kept[next_kept] = z;
	next_kept = (next_kept + 1) % ZONES_KEPT;
	return z;
}

void
zones_forget(void)
{
	for (size_t i = 0; i < ZONES_KEPT; i++) {
		zone_free(kept[i]);
		kept[i] = NULL;
	}
	next_kept = 0;
}

const char *
zone_name(const struct zone *z)
{
	return z->name;
}

int32_t
zone_offset(const struct zone *z, int64_t utc_s)
{
	size_t low = 0, high = z->n; /* transitions until then */

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (z->times[mid] <= utc_s)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == z->n && z->has_rule)
		return zone_rule_offset(&z->rule, utc_s);
	return z->offsets[low > 0 ? z->types[low - 1] : 0];
}

struct civil
zone_local(const struct zone *z, int64_t utc_s)
{
	return civil_of_seconds(utc_s + zone_offset(z, utc_s));
}

enum zone_fit
zone_utc(const struct zone *z, const struct civil *local, int64_t *out_utc_s)
{
	int64_t wall = civil_seconds(local);
	/* No clock is changed by a day or more, nor twice within two. */
	int32_t before = zone_offset(z, wall - DAY_S);
	int32_t after = zone_offset(z, wall + DAY_S);
	bool fits_before = zone_offset(z, wall - before) == before;
	bool fits_after = zone_offset(z, wall - after) == after;

	if (fits_before && fits_after) {
		*out_utc_s = wall - (before > after ? before : after);
		return before == after ? ZONE_ONCE : ZONE_TWICE;
	}
	/* In a gap the clock from before is read on. */
	*out_utc_s = wall - (fits_after ? after : before);
	return fits_before || fits_after ? ZONE_ONCE : ZONE_NEVER;
}
