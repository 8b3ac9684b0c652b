/*
 * Asks the moderation server (CHAT_MODERATION_URL): about the question before
 * any model has it, and, where the settings say so, about the finished reply
 * before it is stored. What is flagged ends as content_refused, at no cost for
 * a question. A server that does not answer flags everything or nothing, as
 * CHAT_MODERATION_FAIL says.
 *
 * A reply that is withheld is told, and stored, only when it has passed: it may
 * end in any other way before, and then nothing of it is left. What it calls is
 * checked before it is done, answer by answer, with the text before it: what a
 * tool has done cannot be taken back. Of other replies what they called is
 * checked with their text, at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "model/mask.h"
#include "model/moderation.h"
#include "server/errand_json.h"
#include "server/relay_priv.h"

/* Of the server's answer, in bytes. */
#define ANSWER_MAX 65536

enum verdict { PASSED, FLAGGED, UNKNOWN };

static bool
is_on(const struct config *config)
{
	return config->moderation_url[0] != '\0';
}

static bool
fails_open(const struct config *config)
{
	return strcmp(config->moderation_fail, "open") == 0;
}

bool
stream_moderate_checks(const struct config *config)
{
	return is_on(config) && strcmp(config->moderation_replies, "off") != 0;
}

bool
stream_moderate_withholds(const struct config *config)
{
	return is_on(config) &&
	       strcmp(config->moderation_replies, "withhold") == 0;
}

/* The body of the request; what is masked for the model is masked here. */
static void
write_body(
    const struct config *config, const char *text, size_t n, struct buf *out)
{
	struct mask *mask = config->pii_mask ? mask_new() : NULL;
	struct buf masked = {0};

	if (!config->pii_mask) {
		moderation_body(out, config->moderation_model, text, n);
		return;
	}
	if (mask != NULL)
		mask_add(mask, text, n, &masked);
	if (mask == NULL || masked.failed)
		out->failed = true;
	else
		moderation_body(
		    out, config->moderation_model, masked.p, masked.n);
	mask_free(mask);
	buf_free(&masked);
}

static struct errand *
ask_server(struct stream *s, const struct buf *body, errand_fn fn)
{
	const struct config *config = s->relay->config;
	const struct errand_json post = {
	    .server = {config->moderation_url, config->moderation_key},
	    .path = "/moderations",
	    .body = body,
	    .timeout_ms = config->moderation_timeout_ms,
	    .max_bytes = ANSWER_MAX,
	};

	return errand_post_json(s->relay, &post, fn, s);
}

/* Has the check begun? Its end is told to fn. */
static bool
begin(struct stream *s, const char *text, size_t n, errand_fn fn)
{
	struct buf body = {0};

	write_body(s->relay->config, text, n, &body);
	s->preparation.errand = ask_server(s, &body, fn);
	buf_free(&body);
	return s->preparation.errand != NULL;
}

static void
complain(const struct stream *s, const char *why)
{
	metrics_count(METRIC_MODERATION_UNKNOWN);
	log_with(LOG_WARNING, "the moderation server did not answer",
	    LOG_TEXT("message_id", s->turn->message_id), LOG_TEXT("why", why));
}

/* Keeps what was flagged, for the message's metadata. */
static void
note(struct turn *t, const struct moderation *m, const char *what)
{
	free(t->moderation);
	t->moderation = malloc(sizeof(*m));
	if (t->moderation != NULL)
		*t->moderation = *m;
	t->moderated = what;
}

static enum verdict
read_verdict(
    struct stream *s, const struct errand_end *end, struct moderation *out)
{
	char why[64] = "its answer cannot be understood";

	s->preparation.errand = NULL;
	if (end->code != CURLE_OK) {
		complain(s, end->why);
		return UNKNOWN;
	}
	if (end->status / 100 != 2)
		(void)snprintf(
		    why, sizeof(why), "it answered %ld", end->status);
	if (end->status / 100 != 2 || end->is_too_large ||
	    !moderation_read(end->body, end->n, out)) {
		complain(s, why);
		return UNKNOWN;
	}
	return out->is_flagged ? FLAGGED : PASSED;
}

static void
question_checked(void *arg, const struct errand_end *end)
{
	struct stream *s = arg;
	struct moderation m;
	enum verdict v = read_verdict(s, end, &m);

	if (v == FLAGGED) {
		metrics_count(METRIC_MODERATION_QUESTIONS_FLAGGED);
		note(s->turn, &m, "question");
		stream_fail(
		    s, ERR_CONTENT_REFUSED, "moderation flagged the question");
	} else if (v == UNKNOWN && !fails_open(s->relay->config)) {
		stream_fail(s, ERR_UNAVAILABLE, "the question was not checked");
	} else {
		if (v == PASSED)
			metrics_count(METRIC_MODERATION_QUESTIONS_PASSED);
		stream_prepared(s);
	}
}

bool
stream_moderate_question(struct stream *s)
{
	const char *question = s->turn->question;

	if (!is_on(s->relay->config))
		return true;
	if (question != NULL &&
	    begin(s, question, strlen(question), question_checked))
		return false;
	complain(s, "no memory to ask it");
	if (fails_open(s->relay->config))
		return true;
	stream_fail(s, ERR_UNAVAILABLE, "the question was not checked");
	return false;
}

/* The reply's text goes, what it took is still billed. */
void
stream_moderate_drop(struct stream *s)
{
	struct turn *t = s->turn;

	if (!s->is_withheld)
		return;
	s->is_withheld = false;
	t->withheld = t->text.n;
	buf_free(&t->text);
	/* Nor what it called, cited and did besides: none of it was told. */
	tool_uses_free(t->uses);
	t->uses = NULL;
	cited_free(&t->cited);
	buf_free(&t->note);
	turn_events_free(&t->events);
	s->log.told = 0;
}

static void
pass(struct stream *s)
{
	s->is_withheld = false;
	stream_complete(s);
}

static void
flag_reply(struct stream *s, const struct moderation *m)
{
	metrics_count(METRIC_MODERATION_REPLIES_FLAGGED);
	note(s->turn, m, "reply");
	if (s->is_withheld) {
		stream_fail(
		    s, ERR_CONTENT_REFUSED, "moderation flagged the reply");
		return;
	}
	s->parser.finish = MODEL_FINISH_CONTENT_FILTER;
	stream_complete(s);
}

/* May it go on? Otherwise it has failed. */
static bool
goes_on(struct stream *s, enum verdict v, const struct moderation *m)
{
	if (v == FLAGGED)
		flag_reply(s, m);
	else if (v == UNKNOWN && s->is_withheld &&
		 !fails_open(s->relay->config))
		stream_fail(s, ERR_UNAVAILABLE, "the reply was not checked");
	else
		return true;
	return false;
}

static void
reply_checked(void *arg, const struct errand_end *end)
{
	struct stream *s = arg;
	struct moderation m;
	enum verdict v = read_verdict(s, end, &m);

	if (v == PASSED)
		metrics_count(METRIC_MODERATION_REPLIES_PASSED);
	if (goes_on(s, v, &m))
		pass(s);
}

static void
calls_checked(void *arg, const struct errand_end *end)
{
	struct stream *s = arg;
	struct moderation m;
	enum verdict v = read_verdict(s, end, &m);

	if (goes_on(s, v, &m))
		stream_tools_run(s);
}

/* What a client is told besides the text is said as well. */
static void
write_said(const struct stream *s, struct buf *out)
{
	const struct turn *t = s->turn;

	buf_add(out, t->text.p, t->text.n);
	if (s->openai != NULL)
		stream_openai_words(s, out);
	/* Of what is withheld the calls have been checked. */
	if (t->uses != NULL && !s->is_withheld)
		tool_uses_write_words(t->uses, 1, out);
}

/* Is nothing left to wait for? */
static bool
check(struct stream *s, struct buf *said, errand_fn fn)
{
	bool has_begun;

	s->state = STREAM_CHECKING;
	has_begun = !said->failed && begin(s, said->p, said->n, fn);
	buf_free(said);
	if (has_begun)
		return false;
	complain(s, "no memory to ask it");
	return goes_on(s, UNKNOWN, NULL);
}

bool
stream_moderate_calls(struct stream *s)
{
	const struct turn *t = s->turn;
	struct buf said = {0};
	size_t from = t->rounds.said_from;

	if (!s->is_withheld)
		return true;
	buf_add(&said, t->text.p + from, t->text.n - from);
	tool_uses_write_words(t->uses, t->rounds.n, &said);
	return (said.n == 0 && !said.failed) || check(s, &said, calls_checked);
}

bool
stream_moderate_reply(struct stream *s)
{
	struct buf said = {0};

	if (stream_moderate_checks(s->relay->config))
		write_said(s, &said);
	if ((said.n > 0 || said.failed) && !check(s, &said, reply_checked))
		return false;
	s->is_withheld = false;
	return true;
}
