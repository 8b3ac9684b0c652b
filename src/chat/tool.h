/*
 * The tools that a model is offered with a question: Natter's own (tools.def)
 * and those that a store has registered. Which they are is decided when the
 * turn begins; the list goes with the turn.
 *
 * Ownership: a list owns what its tools' `site` points at; names, sentences and
 * schemas are borrowed from tools.def or from there. Thread: whoever has the
 * turn; constant once the turn has begun.
 */
#ifndef CHAT_TOOL_H
#define CHAT_TOOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct buf;

/* Who carries it out. */
enum tool_kind {
	TOOL_NATIVE, /* the database: chat/tool_run.h */
	TOOL_SITE,   /* the store's server: server/site_tool.h */
};

enum native_tool {
#define TOOL(NAME, name, sentence, schema) TOOL_##NAME,
#include "chat/tools.def"
#undef TOOL
	NATIVE_TOOLS
};

struct tool {
	const char *name;
	const char *description;
	const char *schema; /* of its arguments: JSON, an object */
	enum tool_kind kind;
	enum native_tool native; /* of TOOL_NATIVE */
	void *site;              /* of TOOL_SITE; owned by the list */
	void (*site_free)(void *site);
};

/* The most tools of one list. */
#define TOOLS_MAX 64

struct tools {
	struct tool *list;
	size_t n;
	bool is_borrowed; /* the list is constant: a copy is made to add */
};

/* One of Natter's own; constant. */
const struct tool *tool_native(enum native_tool which);

/* An empty list; NULL without memory. tools_free(NULL) is fine. */
struct tools *tools_new(void);
void tools_free(struct tools *tools);

/* Adds a tool; false, and nothing has happened: one has this name already, or
 * there are TOOLS_MAX. */
bool tools_add(struct tools *tools, const struct tool *tool) MUST_CHECK;

/* Adds all of Natter's own, to an empty list. */
void tools_add_native(struct tools *tools);

/* Adds those of them that change nothing; fewer without memory. */
void tools_add_reading(struct tools *tools);

/* Takes one of Natter's own out, if it is there. */
void tools_remove(struct tools *tools, enum native_tool which);

/* NULL: none has this name. */
const struct tool *tools_find(const struct tools *tools, const char *name);

/* Appends the `tools` array of a model's request. */
void tools_write(struct buf *out, const struct tools *tools);

#endif
