/*
 * Decides what a question wants of natter-local, and reads what it needs to
 * know for that: one round trip.
 */
#include <json-c/json.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "chat/local_command.h"
#include "chat/local_turn.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/turn.h"
#include "http/request.h"
#include "model/model.h"

/* What LOCAL_STATE gives. */
enum { ZONE, NOTE, DEPTH, AGE_S };

/* An answer to what was asked longer ago is none. */
#define ASKED_S 600

/* The calls of the round trip; the second only for questions. */
enum { STATE, RETRIEVE, CALLS };

static bool
is_about_tasks(const struct command *c)
{
	return c->intent <= INTENT_DELETE_TASK;
}

static bool
is_answer(const struct command *c)
{
	return c->intent == INTENT_CONFIRMATION_YES ||
	       c->intent == INTENT_CONFIRMATION_NO ||
	       c->intent == INTENT_CHOICE;
}

static bool
is_for_documents(const struct command *c)
{
	return c->intent == INTENT_SEARCH_DOCUMENTS ||
	       c->intent == INTENT_QUESTION || c->intent == INTENT_REQUEST;
}

static void
read_state(struct local_turn *l, const PGresult *r)
{
	const char *note = pg_text(r, 0, NOTE);

	l->clock.now_s =
	    (int64_t)(clock_agreed_ms(l->req->services->clock) / 1000);
	l->clock.zone = turn_zone(l->req, pg_text(r, 0, ZONE));
	if (note && json_parse_object(note, strlen(note), &l->note) != OK)
		l->note = NULL;
	l->is_asked = l->note && pg_number(r, 0, DEPTH) == 1 &&
		      pg_number(r, 0, AGE_S) <= ASKED_S &&
		      json_object_object_get_ex(l->note, "asks", NULL);
}

/* What is to be looked for; NULL: nothing, or the turn brought it. */
static const char *
wants(const struct local_turn *l)
{
	const struct command *c = &l->words->command;

	if (c->intent != INTENT_SEARCH_DOCUMENTS)
		return NULL;
	return *c->query ? c->query : l->question;
}

static enum err
read_all(struct local_turn *l)
{
	const char *question = wants(l);
	struct pg_call calls[CALLS] = {
	    [STATE] = {.query = chat_query(CHAT_LOCAL_STATE),
		.params = {l->turn->user_id, l->turn->user_message_id}},
	};
	size_t n = 1;
	if (question) {
		const struct retrieve_ask ask = {
		    .user_id = l->turn->user_id,
		    .question = question,
		    .message_id = l->turn->user_message_id,
		    .documents = l->documents,
		};
		retrieve_call(&ask, &calls[n++]);
	}
	enum err e = chat_run(l->req, calls, n);
	if (e != OK)
		return e;
	read_state(l, calls[STATE].result);
	if (n > RETRIEVE)
		e = retrieve_read(calls[RETRIEVE].result, &l->found);
	l->has_searched |= n > RETRIEVE && e == OK;
	pg_calls_clear(calls, n);
	return e;
}

/* Quotes what was found; false: nothing was, and talk is better. */
static bool
quote(struct local_turn *l, struct buf *out)
{
	bool is_search = l->words->command.intent == INTENT_SEARCH_DOCUMENTS;

	/* What it knows by heart is better than a passage that has some of the
	 * question's words. */
	bool is_known = !is_search && local_knows(l->question) &&
			!(l->found && l->found->n > 0 &&
			    !strcmp(l->found->passages[0].match, "all"));

	if (!is_known && l->found && l->found->n > 0) {
		say_passages(out, l->found);
		l->turn->passages = l->found;
		l->found = NULL;
		return true;
	}
	if (is_search)
		buf_puts(out,
		    "I found nothing about that in the documents that you may "
		    "read here.");
	return is_search;
}

bool
local_turn_answer(struct local_turn *l, struct buf *out, struct buf *note)
{
	const struct command *c = &l->words->command;
	bool is_done = true;

	/* The turn's are for questions; only what is quoted stays with it. */
	if (is_for_documents(c) && !wants(l))
		l->found = l->turn->passages;
	else
		passages_found_free(l->turn->passages);
	l->has_searched = l->has_searched && is_for_documents(c) && !wants(l);
	l->turn->passages = NULL;
	if (!is_about_tasks(c) && !is_answer(c) && !is_for_documents(c))
		return false;
	if (read_all(l) != OK) {
		buf_puts(out,
		    "The database did not answer, so I did nothing. Please try "
		    "again in a moment.");
		return true;
	}
	if (is_for_documents(c))
		is_done = quote(l, out);
	else if (is_answer(c) && !l->is_asked)
		buf_puts(out,
		    "I had asked nothing that this could answer, so I did "
		    "nothing.");
	else if (is_answer(c))
		local_command_answer(l, out, note);
	else
		local_command_run(l, out, note);
	json_object_put(l->note);
	passages_found_free(l->found);
	l->note = NULL;
	l->found = NULL;
	return is_done;
}
