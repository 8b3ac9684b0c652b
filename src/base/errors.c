/*
 * The table of errors.def as functions. Knows nothing of HTTP beyond the
 * numbers that stand in the table.
 */
#include <assert.h>
#include <string.h>

#include "base/errors.h"

static const struct {
	int status;
	const char *code;
	const char *sentence;
} table[ERR__MAX] = {
    [OK] = {200, "ok", "Done."},
#define ERR(name, status, code, sentence) \
	[ERR_##name] = {status, code, sentence},
#include "base/errors.def"
#undef ERR
};

int
err_status(enum err e)
{
	assert(e < ERR__MAX);
	return table[e].status;
}

const char *
err_code(enum err e)
{
	assert(e < ERR__MAX);
	return table[e].code;
}

enum err
err_from_code(const char *code, enum err other)
{
	for (int e = OK + 1; code && e < ERR__MAX; e++) {
		if (strcmp(table[e].code, code) == 0)
			return (enum err)e;
	}
	return other;
}

const char *
err_sentence(enum err e)
{
	assert(e < ERR__MAX);
	return table[e].sentence;
}
