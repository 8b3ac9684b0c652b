/*
 * What a question says by its words (task/command.h), read before it is stored:
 * its intent and entities go with it. The user's time zone is asked for only
 * where a date makes it matter.
 *
 * Ownership: the request's arena. Thread: front.
 */
#ifndef CHAT_TURN_WORDS_H
#define CHAT_TURN_WORDS_H

#include "base/errors.h"
#include "task/command.h"

struct request;
struct zone;

struct turn_words {
	struct command command;
	const struct zone *zone; /* that its dates are meant in */
	const char *intent;      /* constant */
	const char *entities;    /* JSON */
};

enum err turn_words_read(struct request *req, const char *question,
    const struct turn_words **out_words) MUST_CHECK;

/* The zone of that name; where there is none, or NULL, the server's. */
const struct zone *turn_zone(const struct request *req, const char *name);

#endif
