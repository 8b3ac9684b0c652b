/*
 * The tools of a turn.
 */
#include <string.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/zone.h"
#include "chat/tool.h"
#include "chat/turn.h"
#include "chat/turn_tools.h"
#include "http/request.h"
#include "task/command.h"

size_t
turn_tools_bytes(const struct config *config)
{
	struct buf out = {0};
	struct tools *tools = config->tools ? tools_new() : NULL;
	size_t n;
	if (!tools)
		return 0;
	tools_add_native(tools);
	tools_write(&out, tools);
	n = out.n;
	buf_free(&out);
	tools_free(tools);
	return n;
}

/* Does it agree to what it was asked before? Its dates do not matter. */
static bool
says_yes(const char *question)
{
	struct command c;
	command_parse(question, strlen(question), 0, zone_find("UTC"), &c);
	return c.intent == INTENT_CONFIRMATION_YES;
}

void
turn_tools_offer(
    const struct request *req, struct turn *t, const char *question)
{
	if (!req->services->config->tools)
		return;
	t->tools = tools_new();
	if (t->tools)
		tools_add_native(t->tools);
	t->says_yes = says_yes(question);
}

void
turn_tools_offer_again(const struct request *req, struct turn *t)
{
	if (!req->services->config->tools)
		return;
	t->tools = tools_new();
	if (t->tools)
		tools_add_reading(t->tools);
}
