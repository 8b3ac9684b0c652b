/*
 * How many tokens a model takes: what CHAT_MODEL_WINDOW says, else the table
 * windows.def, else WINDOW_UNKNOWN.
 *
 * Thread: any; pure.
 */
#ifndef MODEL_WINDOW_H
#define MODEL_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

/* What a model that nobody knows is believed to take. */
#define WINDOW_UNKNOWN 128000

#define WINDOW_MIN 256
#define WINDOW_MAX 100000000

/* The size of the sentence that window_check writes. */
#define WINDOW_WHY 256

/*
 * `setting`: words with spaces between, name=tokens each, or tokens alone for
 * all models that no other word names. NULL: nothing is set.
 */
int64_t window_of(const char *setting, const char *model);

/* The i-th name with its tokens, from 0: the setting's before the table's, so
 * that of two that are as long the first counts. The name "" is any. False
 * when there are not so many. */
bool window_at(const char *setting, size_t i, char *out_name, size_t size,
    int64_t *out_tokens);

/* ERR_INVALID_FIELD and what to mend. */
enum err
window_check(const char *setting, char why[static WINDOW_WHY]) MUST_CHECK;

#endif
