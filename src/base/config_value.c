/*
 * Whether a value fits its setting, and the sentence when it does not. Knows
 * neither where values come from nor any setting by name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/config_table.h"
#include "base/text.h"

#define SHOWN_MAX 60

/* The value as a sentence may quote it: short, on one line. */
static const char *
shown(const char *value, char out[static SHOWN_MAX + 1])
{
	size_t n = text_prefix(value, strlen(value), SHOWN_MAX);

	for (size_t i = 0; i < n; i++) {
		out[i] = value[i];
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
			out[i] = '?';
	}
	out[n] = '\0';
	return out;
}

static enum err
store_text(
    struct config *c, const struct setting *s, const char *value, char *why)
{
	char *copy = strdup(value);

	if (copy == NULL) {
		snprintf(why, SETTING_WHY, "does not fit: out of memory");
		return ERR_INTERNAL;
	}
	*setting_text(c, s) = copy;
	return OK;
}

/* Decimal digits, perhaps after a minus, and nothing else. */
static bool
parse_number(const char *value, long *out_number)
{
	const char *digits = value + (value[0] == '-');
	char *end;

	if (digits[0] < '0' || digits[0] > '9')
		return false;
	errno = 0;
	*out_number = strtol(value, &end, 10);
	return errno == 0 && *end == '\0';
}

static enum err
store_number(
    struct config *c, const struct setting *s, const char *value, char *why)
{
	char quoted[SHOWN_MAX + 1];
	long number;

	if (parse_number(value, &number) && number >= s->min &&
	    number <= s->max) {
		*setting_number(c, s) = number;
		return OK;
	}
	snprintf(why, SETTING_WHY,
	    "is \"%s\": it takes a whole number from %ld to %ld",
	    shown(value, quoted), s->min, s->max);
	return ERR_INVALID_FIELD;
}

static enum err
store_switch(
    struct config *c, const struct setting *s, const char *value, char *why)
{
	static const char *const words[] = {
	    "off", "on", "false", "true", "no", "yes", "0", "1"};
	char quoted[SHOWN_MAX + 1];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(value, words[i]) == 0) {
			*setting_switch(c, s) = i % 2 == 1;
			return OK;
		}
	snprintf(why, SETTING_WHY, "is \"%s\": it takes on or off",
	    shown(value, quoted));
	return ERR_INVALID_FIELD;
}

/* Is `value` one of the space-separated `words`? */
static bool
is_choice(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *w = words; *w != '\0'; w += strspn(w, " ")) {
		size_t m = strcspn(w, " ");

		if (m == n && memcmp(w, value, n) == 0)
			return true;
		w += m;
	}
	return false;
}

static enum err
store_choice(
    struct config *c, const struct setting *s, const char *value, char *why)
{
	char quoted[SHOWN_MAX + 1];

	if (is_choice(s->choices, value))
		return store_text(c, s, value, why);
	snprintf(why, SETTING_WHY, "is \"%s\": it takes one of: %s",
	    shown(value, quoted), s->choices);
	return ERR_INVALID_FIELD;
}

enum err
setting_store(struct config *c, const struct setting *s, const char *value,
    char why[static SETTING_WHY])
{
	if (!text_is_clean(value, strlen(value))) {
		snprintf(why, SETTING_WHY, "is not valid UTF-8");
		return ERR_INVALID_FIELD;
	}
	switch (s->kind) {
	case SETTING_NUMBER:
		return store_number(c, s, value, why);
	case SETTING_SWITCH:
		return store_switch(c, s, value, why);
	case SETTING_CHOICE:
		return store_choice(c, s, value, why);
	default:
		return store_text(c, s, value, why);
	}
}

enum err
setting_store_default(
    struct config *c, const struct setting *s, char why[static SETTING_WHY])
{
	if (s->kind == SETTING_NUMBER)
		*setting_number(c, s) = s->number;
	else if (s->kind == SETTING_SWITCH)
		*setting_switch(c, s) = s->number != 0;
	else
		return store_text(c, s, s->text, why);
	return OK;
}
