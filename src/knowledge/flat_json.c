/*
 * JSON as lines of "path.to.member: value", an empty line between the elements
 * of an array of objects, whose index the path leaves out: what a search finds
 * says where it stood. Walks over the text with a stack of its own, so that a
 * number stays as it was written, however long it is.
 */
#include <string.h>

#include "base/text.h"
#include "knowledge/extract.h"
#include "knowledge/marked.h"
#include "model/json_scan.h"

#define PATH_MAX_BYTES 65536

/* One container that is being walked. */
struct level {
	char opening;
	size_t path; /* bytes of the path that lead to it */
};

struct walk {
	struct json_scan scan;
	struct level levels[EXTRACT_JSON_DEPTH];
	size_t depth;
	struct buf path, text; /* text: of the string at hand */
	struct marked *out;
	bool is_deep;
};

/* w->text becomes what stands in a string. */
static void
decode(struct walk *w, struct json_span inside)
{
	struct buf raw = {0};

	buf_clear(&w->text);
	if (!buf_reserve(&raw, inside.n + JSON_UNESCAPE_MAX)) {
		w->text.failed = true;
		return;
	}
	raw.n = json_span_decode(inside, raw.p, raw.room);
	text_append_clean(&w->text, raw.p, raw.n);
	buf_free(&raw);
}

/* White space in it is drawn together: each value repeats it. */
static void
add_name(struct walk *w, struct json_span name)
{
	struct marked m = {.out = &w->path, .is_inside = true};

	decode(w, name);
	if (w->path.n > 0)
		buf_putc(&w->path, '.');
	if (w->text.n > 0)
		marked_text(&m, w->text.p, w->text.n);
}

/* Steps to the next value of a container, its name at the path's end. */
static bool
next(struct walk *w, const struct level *l)
{
	struct json_span name;

	w->path.n = l->path;
	if (l->opening == '[')
		return json_scan_element(&w->scan);
	if (!json_scan_member(&w->scan, &name))
		return false;
	add_name(w, name);
	return true;
}

static void
enter(struct walk *w, char opening)
{
	if (w->depth == EXTRACT_JSON_DEPTH) {
		w->is_deep = true;
		return;
	}
	w->levels[w->depth++] = (struct level){opening, w->path.n};
	json_scan_enter(&w->scan, opening);
	if (opening == '{')
		marked_paragraph(w->out);
}

static void
write_value(struct walk *w, char first)
{
	struct json_span value;

	if (first == '"') {
		decode(w, json_scan_string(&w->scan));
		value = (struct json_span){w->text.p, w->text.n};
	} else if (!json_scan_value(&w->scan, &value) ||
		   json_span_is(value, "null")) {
		return;
	}
	marked_line(w->out);
	if (w->path.n > 0) {
		marked_text(w->out, w->path.p, w->path.n);
		marked_string(w->out, ": ");
	}
	if (value.n > 0)
		marked_text(w->out, value.p, value.n);
}

static void
take_value(struct walk *w)
{
	char first = json_scan_peek(&w->scan);

	if (first == '{' || first == '[')
		enter(w, first);
	else
		write_value(w, first);
}

enum extract_end
json_extract(const char *p, size_t n, struct extracted *out)
{
	struct marked m = {.out = &out->text};
	struct walk w = {.out = &m, .path = {.cap = PATH_MAX_BYTES}};
	bool is_long;

	if (!json_scan_is_whole(p, n))
		return EXTRACT_JSON_BROKEN;
	json_scan_init(&w.scan, p, n);
	take_value(&w);
	while (w.depth > 0 && !w.is_deep && !out->text.failed &&
	       !w.path.failed && !w.text.failed) {
		if (next(&w, &w.levels[w.depth - 1]))
			take_value(&w);
		else
			w.depth--;
	}
	is_long = w.path.failed;
	bool has_no_room = w.text.failed;
	buf_free(&w.path);
	buf_free(&w.text);
	if (has_no_room)
		return EXTRACT_NO_ROOM;
	if (w.is_deep)
		return EXTRACT_JSON_BROKEN;
	return is_long ? EXTRACT_TOO_LARGE : EXTRACT_OK;
}
