/*
 * Batches of uses on their way through the ledger. What a use does is
 * tool_run.c's; when to give up is decided here.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/queue.h"
#include "chat/tool_use.h"
#include "server/ledger.h"
#include "server/ledger_priv.h"
#include "server/ledger_tools.h"
#include "store/pg.h"

/* Between two tries while Postgres is away, in ms. */
#define RETRY_MS 200

bool
ledger_tools_open(struct ledger *l, size_t max, struct queue *done)
{
	l->tools.inbox = queue_new(max);
	l->tools.done = done;
	return l->tools.inbox != NULL;
}

void
ledger_tools_give(struct ledger *l, struct tool_batch *b)
{
	/* Each reply has one batch at most. */
	bool is_given = queue_push(l->tools.inbox, b);

	assert(is_given);
	ledger_wake(l);
}

/* One use, in a transaction of its own. */
static enum err
run_use(struct ledger *l, const struct tool_batch *b, struct tool_use *use)
{
	uint64_t begun = clock_mono_ms();
	struct pg_call call = {0};
	enum err e;

	arena_reset(l->arena, ARENA_MAX);
	e = tool_fill(&b->place, use, l->arena, &call);
	if (e == ERR_INVALID_FIELD)
		return OK; /* the use says why */
	if (e == OK)
		e = pg_run(l->pg, b->place.user_id, &call, 1);
	if (e == OK)
		tool_read(&b->place, use, &call);
	pg_calls_clear(&call, 1);
	use->ms += (int64_t)(clock_mono_ms() - begun);
	if (e == ERR_UNAVAILABLE)
		return e;
	if (e != OK) {
		log_with(LOG_ERROR, "a tool failed",
		    LOG_TEXT("request_id", b->request_id),
		    LOG_TEXT("tool", use->name),
		    LOG_TEXT("why", pg_why(l->pg)));
		tool_failed(use, e);
	}
	return OK;
}

/* Should the worker die, this is billed. Nothing waits for it. */
static enum err
note(struct ledger *l, struct tool_batch *b)
{
	struct pg_call call = {0};
	enum err e;

	if (b->is_noted)
		return OK;
	arena_reset(l->arena, ARENA_MAX);
	round_note_call(b->place.user_id, &b->note, l->arena, &call);
	e = pg_run(l->pg, b->place.user_id, &call, 1);
	pg_calls_clear(&call, 1);
	b->is_noted = e != ERR_UNAVAILABLE;
	if (e != OK)
		log_with(LOG_WARNING, "what a reply took was not noted",
		    LOG_TEXT("request_id", b->request_id),
		    LOG_TEXT("why", pg_why(l->pg)));
	return e;
}

static bool
is_given_up(const struct ledger *l, const struct tool_batch *b)
{
	return atomic_load(&l->gives_up) || atomic_load(&b->is_unwanted) ||
	       clock_mono_ms() >= b->until_ms;
}

/* What is left of it, once nobody waits for it any more. */
static void
give_up(struct tool_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (!b->uses[i]->has_ended)
			tool_failed(b->uses[i], ERR_UNAVAILABLE);
	}
}

/* True: it is done. */
static bool
run_batch(struct ledger *l, struct tool_batch *b)
{
	if (!is_given_up(l, b) && note(l, b) == ERR_UNAVAILABLE && b->n > 0 &&
	    !is_given_up(l, b))
		return false;
	for (size_t i = 0; i < b->n; i++) {
		struct tool_use *use = b->uses[i];

		if (use->has_ended)
			continue;
		if (!is_given_up(l, b) && run_use(l, b, use) == OK)
			continue;
		if (!is_given_up(l, b))
			return false;
		give_up(b);
	}
	return true;
}

/* Behind what waits already. */
static void
take_new(struct ledger *l)
{
	struct tool_batch **end = &l->tools.waiting, *b;

	while (*end != NULL)
		end = &(*end)->next;
	while ((b = queue_pop(l->tools.inbox)) != NULL) {
		*end = b;
		end = &b->next;
	}
}

bool
ledger_tools_run(struct ledger *l)
{
	struct tool_batch **at = &l->tools.waiting, *b;

	take_new(l);
	while ((b = *at) != NULL) {
		bool is_given;

		if (!run_batch(l, b)) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		b->next = NULL;
		is_given = queue_push(l->tools.done, b);
		assert(is_given);
	}
	l->tools.next_ms = clock_mono_ms() + RETRY_MS;
	return l->tools.waiting != NULL;
}

void
ledger_tools_free(struct ledger *l)
{
	queue_free(l->tools.inbox);
}
