/*
 * The steps before a model is asked, in their order. What each does is in a
 * file of its own.
 */
#include "server/errand.h"
#include "server/relay_priv.h"

static bool (*const steps[])(struct stream *) = {
    stream_moderate_question, stream_embed_question,
    NULL, /* closes the table */
};

bool
stream_prepare(struct stream *s)
{
	while (steps[s->preparation.step] != NULL) {
		if (!steps[s->preparation.step](s))
			return false;
		s->preparation.step++;
	}
	return true;
}

void
stream_prepared(struct stream *s)
{
	s->preparation.errand = NULL;
	s->preparation.has_waited = true;
	if (s->state != STREAM_PREPARING)
		return;
	s->preparation.step++;
	if (stream_prepare(s))
		stream_go(s);
}

void
stream_prepare_stop(struct stream *s)
{
	errand_stop(s->preparation.errand);
	stream_embed_stop(s);
	s->preparation.errand = NULL;
}
