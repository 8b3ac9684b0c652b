/*
 * The list of tools, and how a model is told of it. What a tool does is
 * tool_run.c's.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "chat/tool.h"

static const struct tool natives[NATIVE_TOOLS] = {
#define TOOL(NAME, word, sentence, json) \
	[TOOL_##NAME] = {.name = (word), \
	    .description = (sentence),   \
	    .schema = (json),            \
	    .kind = TOOL_NATIVE,         \
	    .native = TOOL_##NAME},
#include "chat/tools.def"
#undef TOOL
};

const struct tool *
tool_native(enum native_tool which)
{
	assert(which < NATIVE_TOOLS);
	return &natives[which];
}

/* So many more at a time. */
#define ROOM 8

struct tools *
tools_new(void)
{
	return calloc(1, sizeof(struct tools));
}

/* A reply holds them as long as it runs: no more room than is needed. */
static bool
make_room(struct tools *tools)
{
	if (!tools->is_borrowed && tools->n % ROOM != 0)
		return true;
	size_t n = tools->n / ROOM * ROOM + ROOM;
	struct tool *list =
	    realloc(tools->is_borrowed ? NULL : tools->list, n * sizeof(*list));
	if (!list)
		return false;
	if (tools->is_borrowed)
		memcpy(list, tools->list, tools->n * sizeof(*list));
	tools->list = list;
	tools->is_borrowed = false;
	return true;
}

void
tools_free(struct tools *tools)
{
	for (size_t i = 0; tools && i < tools->n; i++) {
		if (tools->list[i].site_free)
			tools->list[i].site_free(tools->list[i].site);
	}
	if (tools && !tools->is_borrowed)
		free(tools->list);
	free(tools);
}

bool
tools_add(struct tools *tools, const struct tool *tool)
{
	if (tools->n == TOOLS_MAX || tools_find(tools, tool->name) ||
	    !make_room(tools))
		return false;
	tools->list[tools->n++] = *tool;
	return true;
}

/* Nearly every reply has these and no others: nothing is copied. */
void
tools_add_native(struct tools *tools)
{
	assert(tools->n == 0);
	tools->list = (struct tool *)natives;
	tools->n = NATIVE_TOOLS;
	tools->is_borrowed = true;
}

void
tools_add_reading(struct tools *tools)
{
	static const enum native_tool reading[] = {
	    TOOL_LIST_TASKS, TOOL_SEARCH_DOCUMENTS};
	for (size_t i = 0; i < sizeof(reading) / sizeof(*reading); i++) {
		if (!tools_add(tools, &natives[reading[i]]))
			return;
	}
}

void
tools_remove(struct tools *tools, enum native_tool which)
{
	for (size_t i = 0; i < tools->n; i++) {
		if (strcmp(tools->list[i].name, natives[which].name) != 0)
			continue;
		tools->n--;
		/* What is borrowed is constant: only its last goes. */
		assert(!tools->is_borrowed || i == tools->n);
		memmove(&tools->list[i], &tools->list[i + 1],
		    (tools->n - i) * sizeof(*tools->list));
		return;
	}
}

const struct tool *
tools_find(const struct tools *tools, const char *name)
{
	for (size_t i = 0; tools && i < tools->n; i++) {
		if (!strcmp(tools->list[i].name, name))
			return &tools->list[i];
	}
	return NULL;
}

void
tools_write(struct buf *out, const struct tools *tools)
{
	json_write_open(out, NULL, '[');
	for (size_t i = 0; i < tools->n; i++) {
		const struct tool *t = &tools->list[i];
		json_write_open(out, NULL, '{');
		json_write_text(out, "type", "function");
		json_write_open(out, "function", '{');
		json_write_text(out, "name", t->name);
		json_write_text(out, "description", t->description);
		json_write_raw(out, "parameters", t->schema);
		json_write_close(out, '}');
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}
