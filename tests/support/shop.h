/*
 * A store that is open to all, with an administrator who gives it tools and a
 * user who talks there: for tests of stores' tools.
 */
#ifndef TESTS_SUPPORT_SHOP_H
#define TESTS_SUPPORT_SHOP_H

#include "base/id.h"
#include "stack.h"

struct shop {
	const struct stack *stack;
	struct person boss; /* an administrator */
	struct person user; /* whose conversation is in the store */
	char slug[64];
	char store[40];
	char tool[40];   /* the one registered last */
	char secret[64]; /* its secret, where Natter made it */
};

/* "/api/v1/admin/stores/<store>/tools<below>"; valid for some calls. */
const char *shop_path(const struct shop *s, const char *below);

void shop_make(const struct stack *stack, struct shop *s);

/* Asks as the administrator; fails unless the status is the wanted one. */
void shop_call(const struct shop *s, const char *method, const char *path,
    const char *json, long status, struct answer *a);

/* Registers a tool `name` at `url`, whose one argument is a text "order". */
void shop_add_tool(
    struct shop *s, const char *name, const char *url, int timeout_ms);

/* Asks in the store, by a stream: the model is to call `tool` with `args`. */
void shop_ask(
    const struct shop *s, const char *tool, const char *args, struct answer *a);

#endif
