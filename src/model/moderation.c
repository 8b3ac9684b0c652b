/*
 * The request's body and the answer of /moderations:
 * {"results":[{"flagged":true,"categories":{"violence":true,…}}]}.
 */
#include <ctype.h>
#include <string.h>

#include "base/json_write.h"
#include "model/json_scan.h"
#include "model/moderation.h"

void
moderation_body(struct buf *out, const char *model, const char *text, size_t n)
{
	json_write_open(out, NULL, '{');
	if (*model != '\0')
		json_write_text(out, "model", model);
	json_write_bytes(out, "input", text, n);
	json_write_close(out, '}');
}

static bool
is_fit(const char *name, size_t n)
{
	if (n == 0 || n >= MODERATION_NAME)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		if (!isalnum((unsigned char)c) && c != '/' && c != '-' &&
		    c != '_' && c != ' ')
			return false;
	}
	return true;
}

static void
add_category(struct moderation *m, struct json_span name)
{
	/* Some servers escape the slash of "self-harm/intent". */
	char text[2 * MODERATION_NAME];
	size_t n = json_span_decode(name, text, sizeof(text));

	if (m->n == MODERATION_CATEGORIES || !is_fit(text, n))
		return;
	memcpy(m->categories[m->n], text, n);
	m->categories[m->n++][n] = '\0';
}

static void
read_categories(struct json_scan *s, struct moderation *m)
{
	struct json_span name, value;

	if (!json_scan_enter_or_skip(s, '{'))
		return;
	while (json_scan_member(s, &name))
		if (json_scan_value(s, &value) && json_span_is(value, "true"))
			add_category(m, name);
}

/* False: it does not say whether the text is flagged. */
static bool
read_result(struct json_scan *s, struct moderation *m)
{
	struct json_span name, value;
	bool has_said = false;

	if (!json_scan_enter(s, '{'))
		return false;
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "categories")) {
			read_categories(s, m);
		} else if (json_scan_value(s, &value) &&
			   json_span_is(name, "flagged")) {
			m->is_flagged |= json_span_is(value, "true");
			has_said = json_span_is(value, "true") ||
				   json_span_is(value, "false");
		}
	}
	return has_said;
}

bool
moderation_read(const char *p, size_t n, struct moderation *out)
{
	struct moderation m = {0};
	struct json_span name, value;
	struct json_scan s;
	bool has_said = false, is_whole = true;

	json_scan_init(&s, p, n);
	if (!json_scan_enter(&s, '{'))
		return false;
	while (json_scan_member(&s, &name)) {
		if (!json_span_is(name, "results")) {
			(void)json_scan_value(&s, &value);
			continue;
		}
		if (!json_scan_enter(&s, '['))
			return false;
		while (json_scan_element(&s)) {
			is_whole = is_whole && read_result(&s, &m);
			has_said = true;
			if (!is_whole)
				return false;
		}
	}
	if (!json_scan_end(&s) || !has_said)
		return false;
	*out = m;
	return true;
}

void
moderation_write(const struct moderation *m, struct buf *out)
{
	buf_putc(out, '[');
	/* Names are such that nothing in them needs an escape. */
	for (size_t i = 0; i < m->n; i++)
		buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", m->categories[i]);
	buf_putc(out, ']');
}
