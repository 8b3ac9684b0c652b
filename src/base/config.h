/*
 * The settings: KEY=VALUE from the environment, from a file of the same lines
 * (`--config`, systemd's EnvironmentFile), for secrets also from KEY_FILE or
 * from $CREDENTIALS_DIRECTORY/KEY. The environment wins over the file. An
 * unknown key in the file, or an unknown CHAT_* in the environment, is refused
 * by name with the nearest known one.
 *
 * Ownership: config_free frees everything; the struct is read-only after
 * config_load. Thread: made by the master before workers; then any.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/errors.h"

/* In the order of the tables that are printed, whatever holes that leaves. */
struct config { /* NOLINT(clang-analyzer-optin.performance.Padding) */
#define CONFIG_GROUP(title)
#define CONFIG_TEXT(key, field, def, help)             char *field;
#define CONFIG_SECRET(key, field, help)                char *field;
#define CONFIG_NUMBER(key, field, def, min, max, help) long field;
#define CONFIG_SWITCH(key, field, def, help)           bool field;
#define CONFIG_CHOICE(key, field, def, choices, help)  char *field;
#include "base/config.def"
#undef CONFIG_GROUP
#undef CONFIG_TEXT
#undef CONFIG_SECRET
#undef CONFIG_NUMBER
#undef CONFIG_SWITCH
#undef CONFIG_CHOICE
	struct config_sources *sources; /* where each value came from */
};

/* The size of the sentence that config_load writes when it refuses. */
#define CONFIG_WHY 512

/*
 * Reads the settings; `file` may be NULL. On refusal *out_config is NULL and
 * `why` holds one line that says what to mend (never a secret's value).
 */
enum err config_load(const char *file, struct config **out_config,
    char why[static CONFIG_WHY]) MUST_CHECK;

/* Wipes secrets and frees. NULL is fine. */
void config_free(struct config *c);

/* Prints KEY=VALUE and where each came from; secrets as "(set)" or "(empty)".
 */
void config_print(const struct config *c, FILE *out);

/* Prints the table of all settings as Markdown, mdoc or an example file. */
enum config_format { CONFIG_MARKDOWN, CONFIG_MDOC, CONFIG_ENV_EXAMPLE };
void config_document(enum config_format format, FILE *out);

#endif
