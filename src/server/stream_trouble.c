/*
 * What a try that failed has come to: a status, a broken connection, an answer
 * that is none, or nothing at all, as one kind of trouble and a sentence for
 * the log. What is done about it is stream_try.c's.
 */
#include <stdio.h>

#include "chat/turn.h"
#include "model/model.h"
#include "server/relay_priv.h"

static void
explain(struct try_failure *f, const char *why)
{
	(void)snprintf(f->why, sizeof(f->why), "%s", why);
}

static enum try_kind
kind_of_status(long status, const char *body, size_t n)
{
	enum openai_refusal said = openai_refusal_of(body, n);

	if (model_status_is_transient(status))
		return status >= 500 ? TRY_SERVER_ERROR : TRY_BUSY;
	if (said == OPENAI_TOO_LONG)
		return TRY_TOO_LONG;
	if (said == OPENAI_POLICY)
		return TRY_REFUSED;
	if (status == 401 || status == 402) /* or the account is empty */
		return TRY_KEY_REFUSED;
	if (status == 403)
		return TRY_FORBIDDEN;
	return status == 404 ? TRY_UNKNOWN_MODEL : TRY_REFUSED;
}

/* An answer of 200 that turned out to be none. */
static enum try_kind
kind_of_error(const struct model_parser *p)
{
	static const enum try_kind kinds[] = {
	    [OPENAI_PLAIN] = TRY_GARBLED,
	    [OPENAI_TOO_LONG] = TRY_TOO_LONG,
	    [OPENAI_POLICY] = TRY_REFUSED,
	};

	return kinds[p->refusal];
}

void
trouble_refused(const struct stream *s, const struct transfer_end *end,
    struct try_failure *out)
{
	const struct buf *body = &s->error_body;
	char message[160];

	openai_error_message(body->p, body->n, message, sizeof(message));
	*out = (struct try_failure){
	    .kind = kind_of_status(end->status, body->p, body->n),
	    .retry_after_s = end->retry_after_s,
	    .error = ERR_MODEL_FAILED,
	};
	(void)snprintf(out->why, sizeof(out->why), "model answered %ld: %s",
	    end->status, message);
}

void
trouble_broken(const struct stream *s, const struct transfer_end *end,
    struct try_failure *out)
{
	*out = (struct try_failure){
	    .kind = s->parser.has_failed ? kind_of_error(&s->parser)
					 : TRY_UNREACHED,
	    .error = ERR_MODEL_FAILED,
	};
	if (s->turn->text.n > 0)
		out->error = ERR_MODEL_CUT;
	else if (end->code == CURLE_OPERATION_TIMEDOUT)
		out->error = ERR_MODEL_TIMEOUT;
	explain(out, end->why);
}

void
trouble_answer(const struct stream *s, enum err error, struct try_failure *out)
{
	*out = (struct try_failure){.kind = TRY_CUT, .error = error};
	if (error == ERR_MODEL_CUT) {
		explain(out, "the model's answer broke off");
		return;
	}
	out->kind = kind_of_error(&s->parser);
	explain(out, s->parser.error[0] != '\0'
			 ? s->parser.error
			 : "the model's answer was not whole");
}

void
trouble_silent(const struct stream *s, struct try_failure *out)
{
	*out = (struct try_failure){
	    .kind = TRY_TIMEOUT, .error = ERR_MODEL_TIMEOUT};
	explain(out, s->parser.has_begun
			 ? "the model was silent too long"
			 : "the model gave no first token in time");
}
