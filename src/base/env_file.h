/*
 * A file of KEY=VALUE lines as systemd's EnvironmentFile= takes them: `#` or
 * `;` begins a comment line, blanks around key and value go, a value may be
 * quoted with ' or ", a quoted value may hold newlines, a backslash escapes
 * (before a newline: continues the line). Stricter than systemd where systemd
 * would silently drop or override: a line without `=`, a key that is no name,
 * a repeated key and an unclosed quote are refused with their line's number.
 *
 * Ownership: env_file_free wipes and frees; the strings live as long as the
 * file. Thread: any, one at a time.
 */
#ifndef BASE_ENV_FILE_H
#define BASE_ENV_FILE_H

#include <stddef.h>

#include "base/errors.h"

/* The most bytes of such a file, or of a file that holds one secret. */
#define ENV_FILE_MAX (1024 * 1024)

/* The size of the sentence written on refusal. */
#define ENV_FILE_WHY 512

struct env_line {
	const char *key;
	const char *value;
	unsigned line; /* where the key stands, from 1 */
};

struct env_file {
	char *bytes; /* what the strings point into */
	size_t n_bytes;
	struct env_line *lines;
	size_t n;
};

/*
 * Reads a file. On refusal `why` holds one line that names file and line,
 * never a value.
 */
enum err env_file_read(const char *path, struct env_file **out_file,
    char why[static ENV_FILE_WHY]) MUST_CHECK;

/* NULL is fine. */
void env_file_free(struct env_file *f);

/* The line of `key`, or NULL; `f` may be NULL. */
const struct env_line *env_file_find(const struct env_file *f, const char *key);

/*
 * Reads a file that holds one secret and strips the newlines at its end. The
 * caller wipes and frees. ERR_NOT_FOUND: there is no such file; otherwise
 * ERR_INVALID_FIELD. `why` says what is wrong, without the path.
 */
enum err env_secret_read(const char *path, char **out_secret,
    char why[static ENV_FILE_WHY]) MUST_CHECK;

#endif
