/*
 * The table of config.def, its fields in struct config, and the guess at what
 * a mistyped name meant. Loads nothing and prints nothing.
 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/config_table.h"

#define FIELD(field) offsetof(struct config, field)
const struct setting setting_table[] = {
#define CONFIG_GROUP(title) \
	{NULL, SETTING_GROUP, 0, title, 0, 0, 0, NULL, NULL},
#define CONFIG_TEXT(key, field, def, help) \
	{#key, SETTING_TEXT, FIELD(field), def, 0, 0, 0, NULL, help},
#define CONFIG_SECRET(key, field, help) \
	{#key, SETTING_SECRET, FIELD(field), "", 0, 0, 0, NULL, help},
#define CONFIG_NUMBER(key, field, def, min, max, help) \
	{#key, SETTING_NUMBER, FIELD(field), NULL, def, min, max, NULL, help},
#define CONFIG_SWITCH(key, field, def, help) \
	{#key, SETTING_SWITCH, FIELD(field), NULL, def, 0, 0, NULL, help},
#define CONFIG_CHOICE(key, field, def, choices, help) \
	{#key, SETTING_CHOICE, FIELD(field), def, 0, 0, 0, choices, help},
#include "base/config.def"
#undef CONFIG_GROUP
#undef CONFIG_TEXT
#undef CONFIG_SECRET
#undef CONFIG_NUMBER
#undef CONFIG_SWITCH
#undef CONFIG_CHOICE
};
const size_t setting_count = sizeof(setting_table) / sizeof(setting_table[0]);

char **
setting_text(const struct config *c, const struct setting *s)
{
	return (char **)((uintptr_t)c + s->offset);
}

long *
setting_number(const struct config *c, const struct setting *s)
{
	return (long *)((uintptr_t)c + s->offset);
}

bool *
setting_switch(const struct config *c, const struct setting *s)
{
	return (bool *)((uintptr_t)c + s->offset);
}

bool
setting_is_string(const struct setting *s)
{
	return s->kind == SETTING_TEXT || s->kind == SETTING_SECRET ||
	       s->kind == SETTING_CHOICE;
}

bool
setting_is_known(const char *key)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];
		size_t n = s->key != NULL ? strlen(s->key) : 0;

		if (n == 0 || strncmp(key, s->key, n) != 0)
			continue;
		if (key[n] == '\0' || (s->kind == SETTING_SECRET &&
					  strcmp(key + n, "_FILE") == 0))
			return true;
	}
	return false;
}

#define KEY_MAX 64

/* Levenshtein's distance of two keys, case-blind; long ones are far. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[KEY_MAX + 1], n = strlen(b);

	if (strlen(a) > KEY_MAX || n > KEY_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t corner = row[0]; /* of the row above, to the left */

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			bool same = strncasecmp(&a[i - 1], &b[j - 1], 1) == 0;
			size_t swap = corner + (same ? 0 : 1);
			size_t above = row[j] + 1, left = row[j - 1] + 1;

			corner = row[j];
			row[j] = above < left ? above : left;
			if (swap < row[j])
				row[j] = swap;
		}
	}
	return row[n];
}

const char *
setting_nearest(const char *key)
{
	size_t best = strlen(key) / 4 + 2;
	const char *name = NULL;

	for (size_t i = 0; i < setting_count; i++) {
		const char *k = setting_table[i].key;
		size_t d = k != NULL ? distance(key, k) : SIZE_MAX;

		if (d < best) {
			best = d;
			name = k;
		}
	}
	return name;
}
