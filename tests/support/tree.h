/*
 * A conversation's messages as a tree that a test keeps for itself, in order of
 * position, to compare with what the API tells.
 *
 * Thread: one per tree.
 */
#ifndef TESTS_SUPPORT_TREE_H
#define TESTS_SUPPORT_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

struct json_object;

#define TREE_MAX 4096

struct tree_node {
	char id[ID_TEXT];
	char parent[ID_TEXT]; /* "": a first one */
	bool is_reply;
	char content[64];
};

struct tree {
	struct tree_node nodes[TREE_MAX];
	size_t n;
};

/* Adds a message behind all others. `parent` NULL or "": a first one. */
void tree_add(struct tree *t, const char *id, const char *parent, bool is_reply,
    const char *content);

/* Adds a message as the API shows it. */
void tree_add_shown(struct tree *t, struct json_object *message);

/* The index of a message; -1: there is none. */
int tree_find(const struct tree *t, const char *id);

/* The way from the beginning to message `at`, itself included; how many. */
size_t tree_path(const struct tree *t, int at, int *out);

/* The siblings of message `at`, itself among them, in order; how many. */
size_t tree_siblings(const struct tree *t, int at, int *out);

/* Where one comes to from `at` by always taking the newest below. */
int tree_end(const struct tree *t, int at);

/* The first difference of two trees as a sentence, NULL when there is none;
 * static. Ids count only where `with_ids`. */
enum tree_ids { TREE_SAME_IDS, TREE_OTHER_IDS };
const char *
tree_differs(const struct tree *a, const struct tree *b, enum tree_ids ids);

#endif
