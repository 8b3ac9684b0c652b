/*
 * A conversation of ChatGPT's conversations.json: `mapping`, a tree of nodes by
 * id, each with a parent and perhaps a message. Nodes without text (roots,
 * pictures, empty system messages) are left out, their children move up to the
 * nearest node that stays. What is in order of time comes in that order, a
 * parent always before its children.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/conversation.h"
#include "chat/import_inside.h"
#include "http/request.h"

#define UTF8_MAX 4 /* most bytes of a character */

/* Beyond this it is no time: the year 9999, in seconds. */
#define TIME_MAX 253402300799.0

struct node {
	const char *role; /* NULL: it is left out */
	const char *text;
	double time; /* when, in seconds; at least its parent's */
	int parent;  /* index, -1: none */
	int depth;   /* -1: not yet known */
	int index;   /* its own */
	int anchor;  /* nearest that stays, itself perhaps; -1: none */
	char id[ID_TEXT];
};

struct tree {
	struct carried *c;
	struct node *nodes;
	int n;
	struct json_object *ids; /* index by id */
};

/* A time in seconds; 0 where there is none. */
static double
read_time(struct json_object *o, const char *member)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(o, member, &value))
		return 0;
	double time = json_object_get_double(value);
	return isfinite(time) && time > 0 && time < TIME_MAX ? time : 0;
}

static void
write_time(struct buf *out, const char *member, double time)
{
	char text[CLOCK_TEXT];
	if (time > 0)
		clock_format((uint64_t)(time * 1000), text);
	json_write_text(out, member, time > 0 ? text : NULL);
}

/* Joins the parts that are text; counts the others. */
static void
join_parts(struct tree *t, struct json_object *parts, struct buf *out)
{
	size_t n = json_object_array_length(parts);
	for (size_t i = 0; i < n; i++) {
		struct json_object *part = json_object_array_get_idx(parts, i);
		if (!json_object_is_type(part, json_type_string)) {
			t->c->left_out++;
			continue;
		}
		if (out->n > 0 && json_object_get_string_len(part) > 0)
			buf_puts(out, "\n");
		buf_puts(out, json_object_get_string(part));
	}
}

/* The text of a message's content, NULL for none. */
static const char *
read_content(struct tree *t, struct json_object *content)
{
	struct json_object *value = NULL;
	struct buf text = {0};
	const char *out = NULL;
	if (json_object_object_get_ex(content, "parts", &value) &&
	    json_object_is_type(value, json_type_array))
		join_parts(t, value, &text);
	else if (json_object_object_get_ex(content, "text", &value) &&
		 json_object_is_type(value, json_type_string))
		buf_puts(&text, json_object_get_string(value));
	else
		t->c->left_out++;
	if (text.n > 0)
		out = arena_strndup(t->c->req->arena, text.p, text.n);
	buf_free(&text);
	return out;
}

static const char *
read_role(struct json_object *message)
{
	static const char *const roles[] = {
	    "user", "assistant", "system", "tool"};
	struct json_object *author = NULL;
	struct json_object *role = NULL;
	if (!json_object_object_get_ex(message, "author", &author) ||
	    !json_object_is_type(author, json_type_object) ||
	    !json_object_object_get_ex(author, "role", &role) || !role)
		return NULL;
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
		if (!strcmp(json_object_get_string(role), roles[i]))
			return roles[i];
	}
	return NULL;
}

static void
read_message(struct tree *t, struct node *node, struct json_object *message)
{
	struct json_object *content = NULL;
	if (!json_object_is_type(message, json_type_object))
		return;
	node->time = read_time(message, "create_time");
	if (json_object_object_get_ex(message, "content", &content) &&
	    json_object_is_type(content, json_type_object))
		node->text = read_content(t, content);
	const char *role = read_role(message);
	if (node->text && role)
		node->role = role;
}

/* Reads the nodes as they stand. */
static enum err
read_nodes(struct tree *t, struct json_object *mapping)
{
	int n = 0;
	t->nodes = arena_array(t->c->req->arena,
	    (size_t)json_object_object_length(mapping) + 1, sizeof(*t->nodes));
	if (!t->nodes)
		return ERR_TOO_LARGE;
	json_object_object_foreach(mapping, id, value)
	{
		struct node *node = &t->nodes[n];
		struct json_object *message = NULL;
		*node = (struct node){
		    .index = n, .parent = -1, .depth = -1, .anchor = -1};
		if (!json_object_is_type(value, json_type_object))
			return import_refuse(t->c, t->c->at, "mapping",
			    "Its members must be objects.");
		if (json_object_object_get_ex(value, "message", &message))
			read_message(t, node, message);
		json_object_object_add(t->ids, id, json_object_new_int(n++));
	}
	t->n = n;
	return OK;
}

static void
link_nodes(struct tree *t, struct json_object *mapping)
{
	int n = 0;
	json_object_object_foreach(mapping, id, value)
	{
		struct json_object *parent = NULL;
		(void)id;
		if (json_object_object_get_ex(value, "parent", &parent) &&
		    json_object_is_type(parent, json_type_string))
			t->nodes[n].parent =
			    import_find(t->ids, json_object_get_string(parent));
		n++;
	}
}

/* Finds a node's depth; false: its ancestors go round in a circle. */
static bool
measure(struct tree *t, int i)
{
	int steps = 0;
	int up = i;
	while (up >= 0 && t->nodes[up].depth < 0 && steps <= t->n) {
		up = t->nodes[up].parent;
		steps++;
	}
	if (steps > t->n)
		return false;
	int depth = (up >= 0 ? t->nodes[up].depth : -1) + steps;
	for (; i != up; i = t->nodes[i].parent)
		t->nodes[i].depth = depth--;
	return true;
}

static int
by_depth(const void *a, const void *b)
{
	const struct node *const *x = a;
	const struct node *const *y = b;
	if ((*x)->depth != (*y)->depth)
		return (*x)->depth < (*y)->depth ? -1 : 1;
	return (*x)->index < (*y)->index ? -1 : 1;
}

static int
by_time(const void *a, const void *b)
{
	const struct node *const *x = a;
	const struct node *const *y = b;
	if ((*x)->time != (*y)->time)
		return (*x)->time < (*y)->time ? -1 : 1;
	return by_depth(a, b);
}

/* Puts the nodes in order, and tells each its anchor. */
static enum err
order_nodes(struct tree *t, struct node **order)
{
	for (int i = 0; i < t->n; i++) {
		if (!measure(t, i))
			return import_refuse(
			    t->c, t->c->at, "mapping", "It must be a tree.");
		order[i] = &t->nodes[i];
	}
	qsort(order, (size_t)t->n, sizeof(*order), by_depth);
	for (int i = 0; i < t->n; i++) {
		struct node *node = order[i];
		const struct node *parent =
		    node->parent >= 0 ? &t->nodes[node->parent] : NULL;
		if (parent && parent->time > node->time)
			node->time = parent->time;
		node->anchor = parent ? parent->anchor : -1;
		if (node->role)
			node->anchor = node->index;
	}
	qsort(order, (size_t)t->n, sizeof(*order), by_time);
	return OK;
}

static void
write_messages(struct tree *t, struct node **order)
{
	struct buf *out = &t->c->messages;
	json_write_open(out, NULL, '[');
	for (int i = 0; i < t->n; i++) {
		struct node *node = order[i];
		if (!node->role)
			continue;
		int up = node->parent >= 0 ? t->nodes[node->parent].anchor : -1;
		id_make(node->id);
		json_write_open(out, NULL, '{');
		json_write_text(out, "id", node->id);
		json_write_text(
		    out, "parent_id", up >= 0 ? t->nodes[up].id : NULL);
		json_write_number(out, "position", ++t->c->n_messages);
		json_write_text(out, "role", node->role);
		json_write_text(out, "content", node->text);
		json_write_text(out, "status", "complete");
		json_write_raw(out, "metadata", "{}");
		write_time(out, "created_at", node->time);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

static void
write_row(struct tree *t, struct json_object *o, const char *title,
    const struct node *leaf)
{
	struct buf *out = &t->c->row;
	size_t n = text_prefix(
	    title, strlen(title), (size_t)CONVERSATION_TITLE_MAX * UTF8_MAX);
	while (text_length(title, n) > CONVERSATION_TITLE_MAX)
		n = text_prefix(title, n, n - 1);
	const char *shown = arena_strndup(t->c->req->arena, title, n);
	json_write_open(out, NULL, '{');
	json_write_text(out, "title", shown ? shown : "");
	json_write_raw(out, "metadata", "{\"source\":\"chatgpt\"}");
	json_write_raw(out, "tags", "[]");
	json_write_flag(out, "is_active", true);
	json_write_flag(out, "is_archived", false);
	json_write_number(out, "message_count", t->c->n_messages);
	json_write_text(out, "leaf_id", leaf ? leaf->id : NULL);
	write_time(out, "created_at", read_time(o, "create_time"));
	write_time(out, "last_message_at",
	    leaf && leaf->time > 0 ? leaf->time : read_time(o, "update_time"));
	json_write_close(out, '}');
}

/* The newest message, or the one that was being read. */
static const struct node *
find_leaf(struct tree *t, struct json_object *o, struct node **order)
{
	struct json_object *current = NULL;
	int at = -1;
	if (json_object_object_get_ex(o, "current_node", &current) &&
	    json_object_is_type(current, json_type_string))
		at = import_find(t->ids, json_object_get_string(current));
	if (at >= 0 && t->nodes[at].anchor >= 0)
		return &t->nodes[t->nodes[at].anchor];
	for (int i = t->n - 1; i >= 0; i--) {
		if (order[i]->role)
			return order[i];
	}
	return NULL;
}

/* How many nodes stay; adds up their texts. */
static size_t
count_messages(struct tree *t)
{
	size_t n = 0;
	for (int i = 0; i < t->n; i++) {
		if (!t->nodes[i].role)
			continue;
		n++;
		t->c->n_text += strlen(t->nodes[i].text);
	}
	return n;
}

static enum err
read_tree(struct tree *t, struct json_object *o, const char *title)
{
	struct json_object *mapping = NULL;
	if (!json_object_object_get_ex(o, "mapping", &mapping) ||
	    !json_object_is_type(mapping, json_type_object))
		return import_refuse(
		    t->c, t->c->at, "mapping", "It must be an object.");
	enum err e = read_nodes(t, mapping);
	if (e == OK)
		e = import_count(t->c, "mapping", count_messages(t));
	if (e != OK)
		return e;
	struct node **order =
	    arena_array(t->c->req->arena, (size_t)t->n + 1, sizeof(*order));
	if (!order)
		return ERR_TOO_LARGE;
	link_nodes(t, mapping);
	e = order_nodes(t, order);
	if (e != OK)
		return e;
	write_messages(t, order);
	write_row(t, o, title, find_leaf(t, o, order));
	return OK;
}

enum err
import_read_chatgpt(struct carried *c, struct json_object *o)
{
	AUTO_JSON struct json_object *ids = json_object_new_object();
	struct tree t = {.c = c, .ids = ids};
	const char *title = NULL;
	enum err e = import_text(c, c->at, o, "conversation_id",
	    IMPORT_SOURCE_ID_MAX, &c->source_id);
	if (e == OK && !c->source_id)
		e = import_text(
		    c, c->at, o, "id", IMPORT_SOURCE_ID_MAX, &c->source_id);
	if (e == OK && (!c->source_id || !*c->source_id))
		e = import_refuse(c, c->at, "id", "It is required.");
	if (e == OK)
		e = import_text(c, c->at, o, "title", 10000, &title);
	return e == OK ? read_tree(&t, o, title ? title : "") : e;
}
