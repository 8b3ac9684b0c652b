/*
 * From words to a command.
 */
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "task/command.h"

static const char *const names[] = {
#define INTENT(id, name) [INTENT_##id] = (name),
#include "task/intents.def"
#undef INTENT
};

const char *
command_intent_name(enum command_intent intent)
{
	return names[intent];
}

bool
command_is_operation(const struct command *c)
{
	return c->intent <= INTENT_DELETE_TASK && c->problem == COMMAND_IS_FIT;
}

void
command_parse(const char *text, size_t n, int64_t now_s,
    const struct zone *zone, struct command *out)
{
	(void)now_s;
	(void)zone;
	memset(out, 0, sizeof(*out));
	out->intent =
	    n == 3 && !strncasecmp(text, "yes", 3)  ? INTENT_CONFIRMATION_YES
	    : n == 2 && !strncasecmp(text, "no", 2) ? INTENT_CONFIRMATION_NO
						    : INTENT_STATEMENT;
}

void
command_write_entities(const struct command *c, const char *text,
    const struct zone *zone, struct buf *out)
{
	(void)c;
	(void)text;
	(void)zone;
	buf_puts(out, "{}");
}
