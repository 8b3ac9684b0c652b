/*
 * Which models stand in for one that does not answer: what the settings say of
 * it. A stand-in is a name at one of two servers (model/model_server.h); their
 * order is that of CHAT_FALLBACK_MODELS, then of CHAT_SECOND_MODELS. Nothing
 * here knows whether a model answers.
 *
 * Thread: any; pure. The settings own all strings.
 */
#ifndef MODEL_FALLBACK_H
#define MODEL_FALLBACK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "model/model_server.h"

struct config;

/* Longest name of a stand-in, in bytes. */
#define FALLBACK_NAME_MAX 100

/* Stand-ins at most: a reply's time is up before more of them are asked. */
#define FALLBACKS_MAX 8

struct fallback {
	enum model_place place;
	bool is_local;                     /* natter-local: asked nowhere */
	char model[FALLBACK_NAME_MAX + 2]; /* one more tells a longer one */
};

/* The i-th stand-in, from 0; false when there are not so many. */
bool fallback_at(
    const struct config *config, size_t i, struct fallback *out_fallback);

/* Is natter-local among them? */
bool fallback_has_local(const struct config *config);

/* The size of the sentence that fallback_check writes. */
#define FALLBACK_WHY 256

/* Can servers and stand-ins work? Else ERR_INVALID_FIELD and what to mend. */
enum err fallback_check(
    const struct config *config, char why[static FALLBACK_WHY]) MUST_CHECK;

#endif
