/*
 * Taking the tools off a request's body, and putting them back.
 */
#include <string.h>

#include "base/buf.h"
#include "chat/context_keep.h"
#include "chat/tool.h"
#include "chat/turn.h"
#include "model/model.h"

/* How the body ends, from behind its last member on. */
static void
write_end(const struct turn *t, struct buf *out)
{
	struct buf tools = {0};
	tools_write(&tools, t->tools);
	openai_request_end(out, buf_text(&tools));
	out->failed |= tools.failed;
	buf_free(&tools);
}

static bool
ends_with(const struct buf *body, const struct buf *end)
{
	return !end->failed && body->n > end->n &&
	       !memcmp(body->p + body->n - end->n, end->p, end->n);
}

void
context_keep(struct turn *t)
{
	struct buf end = {0};
	buf_free(&t->local);
	if (!t->tools) {
		buf_free(&t->prompt);
		return;
	}
	if (t->is_cut)
		return;
	write_end(t, &end);
	t->is_cut = ends_with(&t->prompt, &end);
	if (t->is_cut)
		t->prompt.n -= end.n;
	buf_free(&end);
	buf_fit(&t->prompt);
}

bool
context_restore(struct turn *t)
{
	if (!t->is_cut)
		return true;
	write_end(t, &t->prompt);
	t->is_cut = t->prompt.failed;
	return !t->prompt.failed;
}
