/*
 * JSON as lines of "path.to.member: value", an empty line between the elements
 * of an array of objects, whose index the path leaves out: what a search finds
 * says where it stood. Walks with a stack of its own.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "knowledge/extract.h"
#include "knowledge/marked.h"

/* One container that is being walked. */
struct level {
	struct json_object *o;
	struct json_object_iterator member; /* of an object */
	struct json_object_iterator end;
	size_t element; /* of an array */
	size_t path;    /* bytes of the path that lead to it */
};

struct walk {
	struct level levels[EXTRACT_JSON_DEPTH + 1];
	size_t depth;
	struct buf path;
	struct marked *out;
};

static bool
is_container(struct json_object *o)
{
	return json_object_is_type(o, json_type_object) ||
	       json_object_is_type(o, json_type_array);
}

static void
enter(struct walk *w, struct json_object *o)
{
	struct level *l = &w->levels[w->depth++];

	*l = (struct level){.o = o, .path = w->path.n};
	if (json_object_is_type(o, json_type_object)) {
		l->member = json_object_iter_begin(o);
		l->end = json_object_iter_end(o);
		marked_paragraph(w->out);
	}
}

/* The next value of a container, its name at the path's end; false: none. */
static bool
next(struct walk *w, struct level *l, struct json_object **out_value)
{
	w->path.n = l->path;
	if (json_object_is_type(l->o, json_type_array)) {
		if (l->element >= json_object_array_length(l->o))
			return false;
		*out_value = json_object_array_get_idx(l->o, l->element++);
		return true;
	}
	if (json_object_iter_equal(&l->member, &l->end))
		return false;
	if (w->path.n > 0)
		buf_putc(&w->path, '.');
	buf_puts(&w->path, json_object_iter_peek_name(&l->member));
	*out_value = json_object_iter_peek_value(&l->member);
	json_object_iter_next(&l->member);
	return true;
}

static void
write_value(struct walk *w, struct json_object *o)
{
	if (!o)
		return;
	marked_line(w->out);
	if (w->path.n > 0) {
		marked_text(w->out, w->path.p, w->path.n);
		marked_string(w->out, ": ");
	}
	marked_string(w->out, json_object_get_string(o));
}

enum extract_end
json_extract(const char *p, size_t n, struct extracted *out)
{
	struct marked m = {.out = &out->text};
	struct walk w = {.out = &m, .path = {.cap = 65536}};
	struct json_object *root = NULL, *value = NULL;

	if (json_parse_any(p, n, EXTRACT_JSON_DEPTH, &root) != OK)
		return EXTRACT_JSON_BROKEN;
	if (is_container(root))
		enter(&w, root);
	else
		write_value(&w, root);
	while (w.depth > 0 && !out->text.failed && !w.path.failed) {
		if (!next(&w, &w.levels[w.depth - 1], &value))
			w.depth--;
		else if (is_container(value))
			enter(&w, value);
		else
			write_value(&w, value);
	}
	json_object_put(root);
	bool is_long = w.path.failed;
	buf_free(&w.path);
	return is_long ? EXTRACT_TOO_LARGE : EXTRACT_OK;
}
