/*
 * What when.c's parts share. A piece is one thing in a row of words: a day, an
 * hour, a part of the day.
 */
#ifndef TASK_WHEN_INSIDE_H
#define TASK_WHEN_INSIDE_H

#include "task/when.h"
#include "task/words.h"

/*
 * Reads a piece that begins at word i into the fields of `out` that it says,
 * and returns how many words it takes; 0: none begins there.
 */
typedef size_t (*when_piece_fn)(const struct words *w, size_t i,
    const struct when_now *now, struct when *out);

size_t when_named(const struct words *w, size_t i, const struct when_now *now,
    struct when *out);
size_t when_weekday(const struct words *w, size_t i, const struct when_now *now,
    struct when *out);
size_t when_unit(const struct words *w, size_t i, const struct when_now *now,
    struct when *out);
size_t when_distance(const struct words *w, size_t i,
    const struct when_now *now, struct when *out);
size_t when_calendar(const struct words *w, size_t i,
    const struct when_now *now, struct when *out);
size_t when_hour(const struct words *w, size_t i, const struct when_now *now,
    struct when *out);
size_t when_part(const struct words *w, size_t i, const struct when_now *now,
    struct when *out);

/* Monday 0 to Sunday 6; -1: none. */
int when_weekday_of(const struct words *w, size_t i);

/* 1 for January; 0: it is no month's name. */
int when_month_of(const struct words *w, size_t i);

void when_set_day(struct when *out, int64_t day, int days);
void when_set_hour(struct when *out, int hour, int minute, enum when_half half);

#endif
