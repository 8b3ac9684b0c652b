/*
 * Templates. What is refused is refused with a clean sentence that names a line
 * there is. What is taken says each value as it is, never reads a value as a
 * template, and gives back itself when each value is its own tag: all but the
 * marks of its sections. The first byte of an input chooses which template it
 * is.
 */
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "chat/prompt.h"
#include "fuzz.h"

static const char *const names[] = {"default", "passages", "summary"};

/* {{name}} of each value. */
static const char *
tag_of(enum prompt_value v)
{
	static char tags[PROMPT__MAX][64];

	(void)snprintf(
	    tags[v], sizeof(tags[v]), "{{%s}}", prompt_value_name(v));
	return tags[v];
}

static size_t
lines(const char *p, size_t n)
{
	size_t count = 1;

	for (size_t i = 0; i < n; i++)
		count += p[i] == '\n';
	return count;
}

static void
check_why(const char *why, const char *name, const char *p, size_t n)
{
	char said[64];
	unsigned long line;
	int at = 0;

	FUZZ_PROMISE(strlen(why) < PROMPT_WHY);
	FUZZ_PROMISE(text_is_clean(why, strlen(why)));
	FUZZ_PROMISE(strchr(why, '\n') == NULL);
	FUZZ_PROMISE(
	    sscanf(why, "%63[^.].txt, line %lu: %n", said, &line, &at) == 2);
	FUZZ_PROMISE(at > 0 && strcmp(said, name) == 0);
	FUZZ_PROMISE(line >= 1 && line <= lines(p, n));
}

/* The template without its sections' marks and its last newline. */
static void
strip(const char *p, size_t n, struct buf *out)
{
	const char *end = p + n - (n > 0 && p[n - 1] == '\n');

	while (p < end) {
		if (end - p > 2 && memcmp(p, "{{", 2) == 0 &&
		    (p[2] == '#' || p[2] == '/')) {
			p = (char *)memmem(p, (size_t)(end - p), "}}", 2) + 2;
			continue;
		}
		buf_putc(out, *p++);
	}
}

static void
render_tags(const struct prompt *prompt, struct buf *out)
{
	const char *texts[PROMPT__MAX];

	for (int v = 0; v < PROMPT__MAX; v++)
		texts[v] = tag_of((enum prompt_value)v);
	prompt_render(prompt, texts, out);
}

/* Sections alone go with a value that is empty. */
static void
check_empty(const struct prompt *prompt)
{
	const char *none[PROMPT__MAX] = {NULL}, *empty[PROMPT__MAX];
	struct buf a = {0}, b = {0};
	size_t literal = 0;

	for (int v = 0; v < PROMPT__MAX; v++)
		empty[v] = "";
	prompt_render(prompt, none, &a);
	prompt_render(prompt, empty, &b);
	FUZZ_PROMISE(a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n)));
	for (size_t i = 0; i < prompt->n_pieces; i++)
		if (prompt->pieces[i].p && prompt->pieces[i].only_with < 0)
			literal += prompt->pieces[i].n;
	FUZZ_PROMISE(a.n == literal);
	buf_free(&a);
	buf_free(&b);
}

/* Short values at their longest, no others: what was said to be the most. */
static void
check_bytes(const struct prompt *prompt)
{
	static char longest[256];
	const char *texts[PROMPT__MAX] = {NULL};
	struct buf out = {0};
	int64_t most = 0;

	memset(longest, 'v', sizeof(longest) - 1);
	for (int v = 0; v < PROMPT__MAX; v++) {
		size_t n = prompt_value_most((enum prompt_value)v);
		FUZZ_PROMISE(n < sizeof(longest));
		if (n > 0)
			texts[v] = longest + sizeof(longest) - 1 - n;
	}
	most += prompt_bytes(prompt, PROMPT_FACTS);
	most += prompt_bytes(prompt, PROMPT_SUMMARY);
	most += prompt_bytes(prompt, PROMPT__MAX);
	prompt_render(prompt, texts, &out);
	FUZZ_PROMISE((int64_t)out.n <= most);
	buf_free(&out);
}

static void
check_prompt(const struct prompt *prompt, const char *p, size_t n)
{
	struct buf want = {0}, got = {0};
	char why[PROMPT_WHY];
	struct prompt same;

	strip(p, n, &want);
	render_tags(prompt, &got);
	FUZZ_PROMISE(want.n == got.n);
	FUZZ_PROMISE(want.n == 0 || memcmp(want.p, got.p, want.n) == 0);
	for (int v = 0; v < PROMPT__MAX; v++)
		if (prompt_says(prompt, (enum prompt_value)v))
			FUZZ_PROMISE(
			    prompt_minds(prompt, (enum prompt_value)v));
	check_empty(prompt);
	check_bytes(prompt);
	FUZZ_PROMISE(prompt_parse(prompt->name, p, n, &same, why) == OK);
	FUZZ_PROMISE(strcmp(same.version, prompt->version) == 0);
	FUZZ_PROMISE(same.n_pieces == prompt->n_pieces);
	prompt_clear(&same);
	buf_free(&want);
	buf_free(&got);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *name, *p = (const char *)data + 1;
	char why[PROMPT_WHY] = "";
	struct prompt prompt;

	if (size == 0)
		return 0;
	name = names[data[0] % (sizeof(names) / sizeof(*names))];
	enum err e = prompt_parse(name, p, size - 1, &prompt, why);
	FUZZ_PROMISE(e == OK || e == ERR_INVALID_FIELD);
	if (e == OK) {
		check_prompt(&prompt, p, size - 1);
		prompt_clear(&prompt);
	} else {
		check_why(why, name, p, size - 1);
	}
	return 0;
}
