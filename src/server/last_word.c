/*
 * The end of a reply as a document.
 */
#include "base/buf.h"
#include "base/json.h"
#include "http/origin.h"
#include "http/reply.h"
#include "server/last_word.h"

void
last_word_problem(struct buf *out, const struct last_problem *p)
{
	AUTO_JSON struct json_object *o = NULL;
	struct buf b = {0};

	reply_problem(&b, p->error, NULL, p->request_id);
	if (json_parse_object(b.p, b.n, &o) == OK) {
		json_put_text(o, "message_id", p->message_id);
		if (p->is_resumable)
			json_put_flag(o, "resumable", true);
		json_append(out, o);
	}
	buf_free(&b);
}

int
last_word_document(struct buf *out, const struct last_word *w)
{
	const char *challenge =
	    w->error == OK ? NULL : reply_challenge(w->error);
	struct reply rep = {
	    .status = w->error == OK ? 201 : err_status(w->error),
	    .content_type = w->error == OK ? "application/json"
					   : "application/problem+json",
	    .limits = w->limits,
	    .body = w->data,
	    .body_len = w->n,
	};

	if (rep.status == 503)
		reply_header(&rep, "Retry-After", "2");
	if (challenge != NULL)
		reply_header(&rep, "WWW-Authenticate", challenge);
	origin_allow(w->config, w->origin ? w->origin : "", &rep);
	reply_head(out, &rep, w->request_id);
	buf_add(out, w->data, w->n);
	return rep.status;
}
