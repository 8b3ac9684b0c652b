/*
 * A conversation's title, made by a model when its first reply is stored
 * (afterwork.h). Until then, and where none is made, it is the beginning of the
 * question; what a user has named meanwhile stays.
 *
 * Thread: as afterwork.h says of each.
 */
#ifndef CHAT_TITLE_H
#define CHAT_TITLE_H

#include <stdbool.h>

struct afterwork;
struct arena;
struct config;
struct pg_call;
struct turn;

/* Hangs the work onto a turn whose conversation has just been given `cut` for
 * a title. Without memory there is none. Thread: front. */
void title_plan(struct turn *t, const struct config *config, const char *cut,
    const char *limits);

bool title_compose(struct afterwork *w, const struct turn *t);
bool title_keep(struct afterwork *w, struct arena *a, struct pg_call *out_call);

/* The title in what a model answered: its first line, without marks around it;
 * "" where there is none. NULL without memory. Pure. */
const char *title_clean(struct arena *a, const char *text);

#endif
