/*
 * config.def as an array, and what can be said about a setting's name. Private
 * to the files config*.c: config.c finds values, config_value.c checks and
 * stores one, config_document.c prints.
 *
 * Thread: any. Everything here is constant but config_sources, which belongs
 * to its struct config.
 */
#ifndef BASE_CONFIG_TABLE_H
#define BASE_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct config;

enum setting_kind {
	SETTING_GROUP, /* not a setting: a title, in `text` */
	SETTING_TEXT,
	SETTING_SECRET,
	SETTING_NUMBER,
	SETTING_SWITCH,
	SETTING_CHOICE,
};

struct setting {
	const char *key; /* NULL of a group */
	enum setting_kind kind;
	size_t offset;       /* of its field in struct config */
	const char *text;    /* default of a text or choice */
	long number;         /* default of a number or switch */
	long min, max;       /* of a number */
	const char *choices; /* words, space-separated */
	const char *help;    /* sentences */
};

extern const struct setting setting_table[];
extern const size_t setting_count;

/* The field of `s` in `c`, by kind. */
char **setting_text(const struct config *c, const struct setting *s);
long *setting_number(const struct config *c, const struct setting *s);
bool *setting_switch(const struct config *c, const struct setting *s);

/* Is the field a string that the config owns? */
bool setting_is_string(const struct setting *s);

/* The size of what setting_store writes when it refuses. */
#define SETTING_WHY 256

/*
 * Checks a value and puts it into its field. On refusal `why` goes on after
 * the key: "is \"two\": it takes a whole number from 1 to 256".
 */
enum err setting_store(struct config *c, const struct setting *s,
    const char *value, char why[static SETTING_WHY]) MUST_CHECK;
enum err setting_store_default(struct config *c, const struct setting *s,
    char why[static SETTING_WHY]) MUST_CHECK;

/* Is `key` a setting's KEY or, of a secret, KEY_FILE? */
bool setting_is_known(const char *key);

/* The key that is most like `key`, or NULL when none is near. */
const char *setting_nearest(const char *key);

/* Where a value came from. */
enum setting_origin {
	FROM_DEFAULT,
	FROM_ENVIRONMENT,
	FROM_FILE,
	FROM_SECRET_FILE,
	FROM_CREDENTIAL,
};

struct config_sources {
	char *file; /* the file's path, or NULL */
	struct {
		enum setting_origin origin;
		unsigned line; /* in the file */
	} of[];                /* setting_count of them */
};

#endif
