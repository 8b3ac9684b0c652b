/*
 * Time zones of the system's database (tzdata), read here: the C library knows
 * one zone for the whole process, and users have their own.
 *
 * Ownership: what zone_find gives is the thread's, which keeps a few of them,
 * and good until the thread has asked for ZONES_KEPT others. A thread that asks
 * for zones calls zones_forget before it ends. Thread: any.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/civil.h"

#define ZONE_NAME_MAX 64 /* bytes, with the NUL */
#define ZONES_KEPT    16

struct zone;

/* How often a wall clock shows a time: twice where clocks are set back, never
 * where they are set forward. */
enum zone_fit { ZONE_ONCE, ZONE_TWICE, ZONE_NEVER };

/* The zone of that name ("Europe/Berlin"); NULL: there is none. UTC is there
 * without any database. */
const struct zone *zone_find(const char *name);

/* Frees what this thread keeps. */
void zones_forget(void);

const char *zone_name(const struct zone *z);

/* Seconds east of UTC at that moment. */
int32_t zone_offset(const struct zone *z, int64_t utc_s);

/* What a clock on the wall shows there. */
struct civil zone_local(const struct zone *z, int64_t utc_s);

/*
 * When a clock on the wall shows that. Twice: the first time. Never: as much
 * later as clocks are set forward, so that 02:30 is 03:30.
 */
enum zone_fit
zone_utc(const struct zone *z, const struct civil *local, int64_t *out_utc_s);

/*
 * Reads a zone out of the bytes of a TZif file (RFC 8536) of version 2 or
 * later; NULL when it is none. zone_free frees it.
 */
struct zone *zone_read(const char *name, const unsigned char *p, size_t n);
void zone_free(struct zone *z);

#endif
