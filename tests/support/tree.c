/*
 * The obvious way to keep a tree: every question walks all of it.
 */
#include <assert.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "support/tree.h"

void
tree_add(struct tree *t, const char *id, const char *parent, bool is_reply,
    const char *content)
{
	assert(t->n < TREE_MAX);
	struct tree_node *node = &t->nodes[t->n++];
	(void)snprintf(node->id, sizeof(node->id), "%s", id);
	(void)snprintf(
	    node->parent, sizeof(node->parent), "%s", parent ? parent : "");
	node->is_reply = is_reply;
	(void)snprintf(node->content, sizeof(node->content), "%s", content);
}

static const char *
text(struct json_object *o, const char *name)
{
	return json_object_get_string(json_object_object_get(o, name));
}

void
tree_add_shown(struct tree *t, struct json_object *message)
{
	tree_add(t, text(message, "id"), text(message, "parent_id"),
	    !strcmp(text(message, "role"), "assistant"),
	    text(message, "content"));
}

int
tree_find(const struct tree *t, const char *id)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->nodes[i].id, id))
			return (int)i;
	}
	return -1;
}

size_t
tree_path(const struct tree *t, int at, int *out)
{
	size_t n = 0;
	for (int i = at; i >= 0; i = tree_find(t, t->nodes[i].parent))
		out[n++] = i;
	for (size_t i = 0; i < n / 2; i++) {
		int other = out[n - 1 - i];
		out[n - 1 - i] = out[i];
		out[i] = other;
	}
	return n;
}

size_t
tree_siblings(const struct tree *t, int at, int *out)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->nodes[i].parent, t->nodes[at].parent))
			out[n++] = (int)i;
	}
	return n;
}

int
tree_end(const struct tree *t, int at)
{
	for (size_t i = t->n; i-- > 0;) {
		if (!strcmp(t->nodes[i].parent, t->nodes[at].id)) {
			at = (int)i;
			i = t->n;
		}
	}
	return at;
}

const char *
tree_differs(const struct tree *a, const struct tree *b, enum tree_ids ids)
{
	static char why[256];
	if (a->n != b->n) {
		(void)snprintf(
		    why, sizeof(why), "%zu messages against %zu", a->n, b->n);
		return why;
	}
	for (size_t i = 0; i < a->n; i++) {
		const struct tree_node *x = &a->nodes[i], *y = &b->nodes[i];
		bool is_same =
		    x->is_reply == y->is_reply &&
		    !strcmp(x->content, y->content) &&
		    tree_find(a, x->parent) == tree_find(b, y->parent) &&
		    (ids == TREE_OTHER_IDS || !strcmp(x->id, y->id));
		if (is_same)
			continue;
		(void)snprintf(why, sizeof(why),
		    "message %zu: %s below %s (%s) against %s below %s (%s)",
		    i + 1, x->id, x->parent, x->content, y->id, y->parent,
		    y->content);
		return why;
	}
	return NULL;
}
