/*
 * The windows of models: one setting and one table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/window.h"

/* Longest name of a model in the setting. */
#define NAME_MAX_BYTES 200

static const struct {
	const char *name;
	int64_t tokens;
} table[] = {
#define WINDOW(name, tokens) {name, tokens},
#include "model/windows.def"
#undef WINDOW
    {"", WINDOW_UNKNOWN},
};

/* Digits alone within the bounds, else -1. */
static int64_t
read_tokens(const char *p, size_t n)
{
	char text[16];
	if (n == 0 || n >= sizeof(text) || strspn(p, "0123456789") < n)
		return -1;
	memcpy(text, p, n);
	text[n] = '\0';
	int64_t tokens = strtoll(text, NULL, 10);
	return tokens < WINDOW_MIN || tokens > WINDOW_MAX ? -1 : tokens;
}

/* A word: where its name ends and its tokens; false where it is none. */
static bool
read_word(const char *p, size_t n, size_t *out_name, int64_t *out_tokens)
{
	const char *last = memrchr(p, '=', n);
	size_t name = last ? (size_t)(last - p) : 0;
	size_t skip = last ? name + 1 : 0;
	*out_name = name;
	*out_tokens = read_tokens(p + skip, n - skip);
	return *out_tokens > 0 && name <= NAME_MAX_BYTES && (!last || name > 0);
}

static const char *
next_word(const char *p, size_t *out_n)
{
	p = p ? p + strspn(p, " ") : "";
	*out_n = strcspn(p, " ");
	return p;
}

bool
window_at(const char *setting, size_t i, char *out_name, size_t size,
    int64_t *out_tokens)
{
	size_t n, name;
	for (const char *p = next_word(setting, &n); n > 0;
	     p = next_word(p + n, &n)) {
		if (!read_word(p, n, &name, out_tokens) || i-- > 0)
			continue;
		(void)snprintf(out_name, size, "%.*s", (int)name, p);
		return true;
	}
	if (i >= sizeof(table) / sizeof(*table))
		return false;
	(void)snprintf(out_name, size, "%s", table[i].name);
	*out_tokens = table[i].tokens;
	return true;
}

int64_t
window_of(const char *setting, const char *model)
{
	char name[NAME_MAX_BYTES + 1];
	int64_t tokens, found = WINDOW_UNKNOWN;
	size_t longest = 0;
	bool has_any = false;
	for (size_t i = 0; window_at(setting, i, name, sizeof(name), &tokens);
	     i++) {
		size_t n = strlen(name);
		if (strncmp(model, name, n) != 0 || (has_any && n <= longest))
			continue;
		found = tokens;
		longest = n;
		has_any = true;
	}
	return found;
}

enum err
window_check(const char *setting, char why[static WINDOW_WHY])
{
	int64_t tokens;
	size_t n, name;
	for (const char *p = next_word(setting, &n); n > 0;
	     p = next_word(p + n, &n)) {
		if (read_word(p, n, &name, &tokens))
			continue;
		(void)snprintf(why, WINDOW_WHY,
		    "CHAT_MODEL_WINDOW: %.80s is neither tokens (%d to %d) "
		    "nor model=tokens; words are separated by spaces",
		    p, WINDOW_MIN, WINDOW_MAX);
		return ERR_INVALID_FIELD;
	}
	return OK;
}
