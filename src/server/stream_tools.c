/*
 * A reply's tools: what its model calls is shown, done and told to the same
 * model, until it calls none. Owns the rounds and their bounds: in number
 * (CHAT_TOOL_ROUNDS), in time (the reply's own), in cost (what was reserved for
 * the reply). What a tool does and who does it is others' business.
 *
 * Whenever an answer has ended, and before the next one is asked for, the
 * ledger notes what the reply took (chat/round_note.h), so that a kill at any
 * point leaves a row that says what is to be billed.
 *
 * The answer of the last round must be text: the model is told so by
 * `tool_choice`, and where it calls all the same the reply ends as one that
 * reached its length. So it ends too where nothing is left of what was
 * reserved.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "base/queue.h"
#include "chat/context.h"
#include "chat/context_keep.h"
#include "chat/context_rounds.h"
#include "chat/tool.h"
#include "chat/tool_use.h"
#include "server/ledger.h"
#include "server/ledger_tools.h"
#include "server/relay_priv.h"
#include "server/site_tool.h"

/* Less than this is no answer, in tokens. */
#define ANSWER_MIN 16

/* How long the database may take for a batch before the model is told that it
 * did not answer, in ms. */
#define PATIENCE_MS 20000

static bool
wants_tools(const struct stream *s)
{
	const struct model_parser *p = &s->parser;

	return s->turn->tools != NULL && p->calls.n > 0 && !s->is_full &&
	       p->finish != MODEL_FINISH_LENGTH &&
	       p->finish != MODEL_FINISH_CONTENT_FILTER;
}

static void
count_use(const struct tool_use *use)
{
	enum metric first = METRIC_TOOL_UNKNOWN_OK;

	if (use->tool != NULL && use->tool->kind == TOOL_SITE)
		first = METRIC_TOOL_SITE_OK;
	else if (use->tool != NULL)
		first = METRIC_TOOL_CREATE_TASK_OK +
			2 * (enum metric)use->tool->native;
	metrics_count(first + use->is_error);
}

static void
tell(struct stream *s, const struct tool_use *use, bool is_result)
{
	const char *name = is_result ? "tool_result" : "tool_call";
	struct buf data = {0};

	if (is_result)
		tool_use_write_result(use, &data);
	else
		tool_use_write_call(use, &data);
	(void)turn_events_add(&s->turn->events, name, s->turn->text.n, &data);
	if (is_result)
		count_use(use);
}

/* Of this answer; false without memory, or there were too many. */
static bool
add_uses(struct stream *s)
{
	struct turn *t = s->turn;

	if (t->uses == NULL)
		t->uses = tool_uses_new();
	for (size_t i = 0; t->uses != NULL && i < s->parser.calls.n; i++) {
		struct model_call *call = &s->parser.calls.list[i];
		struct tool_use *use;

		/* A tool is told the user's own words. */
		if (t->mask != NULL)
			unmask_whole(t->mask, &call->arguments);
		use = tool_uses_add(t->uses, call, t->tools, t->rounds.n + 1);
		if (use == NULL)
			return false;
		s->tools.n_open++;
		tell(s, use, false);
	}
	metrics_add(METRIC_TOOL_CALLS_DROPPED, s->parser.calls.dropped);
	return t->uses != NULL;
}

/* With the note; `prompt` is what the model is asked with next. */
static struct tool_batch *
make_batch(const struct stream *s, int64_t prompt)
{
	struct tool_batch *b = calloc(1, sizeof(*b));
	const struct config *config = s->relay->config;
	const struct turn *t = s->turn;

	if (b == NULL)
		return NULL;
	memcpy(b->place.user_id, t->user_id, ID_TEXT);
	memcpy(b->place.conversation_id, t->conversation_id, ID_TEXT);
	memcpy(b->place.question_id, t->user_message_id, ID_TEXT);
	b->place.source = "model";
	b->place.says_yes = t->says_yes;
	b->place.max_bytes = (size_t)config->tool_result_bytes;
	memcpy(b->request_id, t->request_id, sizeof(b->request_id));
	b->until_ms = clock_mono_ms() + PATIENCE_MS;
	b->owner = (struct stream *)s;
	round_note_take(t, prompt, &b->note);
	return b;
}

static void
give(struct stream *s, struct tool_batch *b)
{
	s->tools.batch = b;
	if (b != NULL)
		ledger_tools_give(s->relay->ledger, b);
}

static bool
is_native(const struct tool_use *use)
{
	return use->tool != NULL && use->tool->kind == TOOL_NATIVE;
}

/* The first use of the round that has just been added. */
static size_t
round_from(const struct tool_uses *uses, int round)
{
	size_t i = uses->n;

	while (i > 0 && uses->list[i - 1].round == round)
		i--;
	return i;
}

static bool
has_natives(const struct tool_uses *uses, size_t from)
{
	for (size_t i = from; i < uses->n; i++)
		if (is_native(&uses->list[i]))
			return true;
	return false;
}

static void
give_natives(struct stream *s, size_t from)
{
	struct tool_uses *uses = s->turn->uses;
	struct tool_batch *b;

	if (!has_natives(uses, from))
		return;
	b = make_batch(s, 0);
	for (size_t i = from; i < uses->n; i++) {
		if (!is_native(&uses->list[i]))
			continue;
		if (b != NULL)
			b->uses[b->n++] = &uses->list[i];
		else
			tool_failed(&uses->list[i], ERR_BUSY);
	}
	if (b != NULL)
		b->is_noted = s->tools.is_noted;
	give(s, b);
}

/* Whoever calls what it was not offered is told so. */
static void
refuse_unknown(struct stream *s, size_t from)
{
	struct tool_uses *uses = s->turn->uses;

	for (size_t i = from; i < uses->n; i++) {
		if (uses->list[i].tool == NULL)
			tool_use_fail(&uses->list[i], "unknown_tool",
			    "There is no tool of this name.");
	}
}

/* Tells of those that have ended here and now. */
static void
settle_ended(struct stream *s, size_t from)
{
	struct tool_uses *uses = s->turn->uses;

	for (size_t i = from; i < uses->n; i++) {
		bool is_out =
		    s->tools.batch != NULL && is_native(&uses->list[i]);

		if (is_out || !uses->list[i].has_ended)
			continue;
		tell(s, &uses->list[i], true);
		s->tools.n_open--;
	}
}

/* How many tokens the next answer may have; 0: as many as it likes, -1: none.
 * `prompt` is what it would be asked with. */
static int64_t
tokens_left(const struct stream *s, int64_t prompt)
{
	const struct turn *t = s->turn;
	int64_t left;

	if (s->tools.reserved == 0)
		return 0;
	left = s->tools.reserved - turn_tokens(t) - prompt;
	if (left < ANSWER_MIN)
		return -1;
	return t->budget.cap > 0 && left > t->budget.cap ? t->budget.cap : left;
}

static void
end_at_length(struct stream *s)
{
	s->parser.finish = MODEL_FINISH_LENGTH;
	stream_complete(s);
}

/* The text that the answer said before it called, the calls, the results. */
static void
write_round(const struct turn *t, struct context_round *told, struct buf *out)
{
	size_t at = t->rounds.said_from;

	while (at < t->text.n && t->text.p[at] == '\n')
		at++;
	told->text_at = at;
	told->text_n = t->text.n - at;
	tool_round_messages(t->uses, t->rounds.n,
	    told->text_n > 0 ? t->text.p + at : "", told->text_n, out);
}

/* The request of the next round takes the prompt's place. */
static bool
write_prompt(struct stream *s, struct openai_round *round)
{
	struct turn *t = s->turn;
	struct buf body = {0};

	if (!context_restore(t) ||
	    !openai_next_body(&body, &t->prompt, round)) {
		buf_free(&body);
		return false;
	}
	buf_free(&t->prompt);
	t->prompt = body;
	t->prompt_estimate += context_tokens(round->messages_len);
	s->tools.is_last = round->is_last;
	return true;
}

/* All results are there: the same model is asked again, once that is noted. */
static void
next_round(struct stream *s)
{
	struct turn *t = s->turn;
	struct buf messages = {0};
	struct openai_round round;
	struct context_round told;
	int64_t left;
	bool is_written;

	write_round(t, &told, &messages);
	if (t->mask != NULL)
		mask_whole_json(t->mask, &messages);
	left = tokens_left(s, t->prompt_estimate + context_tokens(messages.n));
	if (left < 0) {
		buf_free(&messages);
		end_at_length(s);
		return;
	}
	round = (struct openai_round){
	    .messages = messages.p,
	    .messages_len = messages.n,
	    .max_tokens = left,
	    .is_last = t->rounds.n >= s->relay->config->tool_rounds,
	};
	is_written = !messages.failed && write_prompt(s, &round);
	buf_free(&messages);
	s->plan.tries = 0;
	if (!is_written) {
		stream_fail(s, ERR_INTERNAL, "no memory for a tool's result");
		return;
	}
	context_rounds_add(t, &told, &round);
	s->tools.is_ready = true;
	give(s, make_batch(s, t->prompt_estimate));
}

static void
ask_again(struct stream *s)
{
	s->tools.is_ready = false;
	stream_ask(s);
}

/* Some have ended: the client hears of it, and the reply goes on when all
 * have. */
static void
go_on(struct stream *s)
{
	if (s->state == STREAM_LEAVING && s->tools.batch == NULL) {
		stream_store(s, s->tools.status, s->tools.error);
		return;
	}
	if (s->state != STREAM_TOOLING)
		return;
	stream_log_go(s);
	if (s->state == STREAM_TOOLING && s->tools.n_open == 0 &&
	    s->tools.batch == NULL && !s->tools.is_ready)
		next_round(s);
	/* That may have been the reply's end, or there was nobody to note it.
	 */
	if (s->state == STREAM_TOOLING && s->tools.batch == NULL &&
	    s->tools.is_ready)
		ask_again(s);
}

/* What was reserved is for all rounds; it was said for the first. */
static void
note_reserved(struct stream *s)
{
	const struct turn *t = s->turn;

	if (t->rounds.n == 0 && t->budget.is_bounded && t->budget.cap > 0)
		s->tools.reserved = t->prompt_estimate + t->budget.cap;
}

/* What the answer took counts as that of a round from now on. */
static void
end_round(struct stream *s)
{
	turn_end_round(s->turn, &s->parser.usage);
	s->parser.usage = (struct model_usage){0, 0, 0};
}

/* Until that is noted and the log has the calls none is done: a worker that
 * dies leaves nothing done that its reply does not tell of. */
void
stream_tools_logged(struct stream *s)
{
	size_t from;

	if (s->state != STREAM_TOOLING || !s->tools.is_waiting ||
	    s->tools.batch != NULL)
		return;
	s->tools.is_waiting = false;
	from = round_from(s->turn->uses, s->turn->rounds.n);
	refuse_unknown(s, from);
	give_natives(s, from);
	site_tools_begin(s, from);
	settle_ended(s, from);
	go_on(s);
}

void
stream_tools_run(struct stream *s)
{
	s->state = STREAM_TOOLING;
	stream_arm(s);
	go_on(s);
}

bool
stream_tools_begin(struct stream *s)
{
	struct turn *t = s->turn;

	if (!wants_tools(s))
		return false;
	if (s->tools.is_last || t->prompt.n == 0) {
		s->parser.finish = MODEL_FINISH_LENGTH;
		return false;
	}
	stream_answer_forsake(s);
	stream_try_answered(s);
	upstream_stop(&s->transfer);
	note_reserved(s);
	s->state = STREAM_TOOLING;
	if (!add_uses(s)) {
		stream_fail(s, ERR_INTERNAL, "no memory for a tool's call");
		return true;
	}
	end_round(s);
	s->tools.is_waiting = true;
	s->tools.is_noted = false;
	give(s, make_batch(s, 0));
	if (stream_moderate_calls(s))
		stream_tools_run(s);
	else
		stream_arm(s);
	return true;
}

void
stream_tools_ended(struct stream *s, struct tool_use *use)
{
	assert(use->has_ended && s->tools.n_open > 0);
	tell(s, use, true);
	s->tools.n_open--;
	go_on(s);
}

/* None of the round has begun, and none will. */
static void
give_up_round(struct stream *s)
{
	struct turn *t = s->turn;

	if (!s->tools.is_waiting)
		return;
	s->tools.is_waiting = false;
	for (size_t i = round_from(t->uses, t->rounds.n); i < t->uses->n; i++) {
		tool_use_fail(&t->uses->list[i], "failed",
		    "The reply ended before it was done.");
		tell(s, &t->uses->list[i], true);
	}
}

bool
stream_tools_leave(struct stream *s, enum turn_status status, enum err e)
{
	give_up_round(s);
	site_tools_stop(s);
	if (s->tools.batch == NULL)
		return false;
	atomic_store(&s->tools.batch->is_unwanted, true);
	ledger_wake(s->relay->ledger);
	s->tools.status = status;
	s->tools.error = e;
	s->state = STREAM_LEAVING;
	return true;
}

const char *
stream_tools_between(const struct turn *t, char next)
{
	if (t->rounds.n == 0 || t->text.n != t->rounds.text_from ||
	    t->text.n == 0 || t->text.p[t->text.n - 1] == '\n' || next == '\n')
		return "";
	return "\n\n";
}

static void
batch_back(struct tool_batch *b)
{
	struct stream *s = b->owner;

	s->tools.batch = NULL;
	s->tools.is_noted = b->is_noted;
	for (size_t i = 0; i < b->n; i++)
		tell(s, b->uses[i], true);
	s->tools.n_open -= b->n;
	free(b);
	go_on(s);
}

static void
tooled_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct tool_batch *b;

	(void)status;
	(void)events;
	while ((b = queue_pop(r->tooled)) != NULL)
		batch_back(b);
}

bool
relay_tools_open(struct relay *r)
{
	size_t max = (size_t)r->config->streams_max + 1;

	r->tooled = queue_new(max);
	if (r->tooled == NULL ||
	    uv_poll_init(&r->loop, &r->tooled_poll, queue_fd(r->tooled)) != 0)
		return false;
	r->tooled_poll.data = r;
	uv_poll_start(&r->tooled_poll, UV_READABLE, tooled_ready);
	return ledger_tools_open(r->ledger, max, r->tooled);
}

void
relay_tools_free(struct relay *r)
{
	queue_free(r->tooled);
}
