/*
 * Which model a reply asks next: the one asked for, each further try of it,
 * then those that stand in, in the order of the settings. Owns what a failed
 * try means; the tries themselves, pauses and time-outs are stream_ask.c's.
 * Nothing here happens after an answer's first token; and once the model has
 * called tools, it alone is asked for the answers that follow.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "chat/turn.h"
#include "model/breaker.h"
#include "model/fallback.h"
#include "server/relay_priv.h"

/* Pauses before the second, third… try, in ms; doubled each time. */
#define RETRY_FIRST_MS 250

/* A model's own Retry-After is honoured up to this many seconds. */
#define RETRY_AFTER_MAX_S 10

/* Beyond its first token's time a probe's worker must have died, in ms. */
#define LEASE_MORE_MS 2000

/* A key that is refused is complained about this often, in ms. */
#define COMPLAIN_MS 600000

/* Of the log's list of tries, in bytes. */
#define TRIED_MAX 1024

/* What is done about a failed try. */
enum remedy {
	AGAIN,      /* the same model, then the next one */
	NEXT_FIRST, /* the next model; where there is none, the same again */
	NEXT,       /* the next model */
	NONE,       /* no model would do better */
};

/*
 * A time-out has cost its user long enough to ask somebody else at once. A
 * request that nobody would take is not the model's fault, nor is a name that
 * it does not know: these show that it lives.
 */
static const struct {
	const char *name;
	enum remedy remedy;
	bool blames_model;
} kinds[] = {
    [TRY_UNREACHED] = {"unreached", AGAIN, true},
    [TRY_TIMEOUT] = {"timeout", NEXT_FIRST, true},
    [TRY_BUSY] = {"busy", AGAIN, true},
    [TRY_SERVER_ERROR] = {"server_error", AGAIN, true},
    [TRY_KEY_REFUSED] = {"key_refused", NEXT, true},
    [TRY_FORBIDDEN] = {"forbidden", NEXT, false},
    [TRY_UNKNOWN_MODEL] = {"unknown_model", NEXT, false},
    [TRY_TOO_LONG] = {"too_long", NEXT, false},
    [TRY_REFUSED] = {"refused", NONE, false},
    [TRY_CUT] = {"cut", AGAIN, true},
    [TRY_GARBLED] = {"garbled", NEXT, true},
};

static void
count(const struct stream *s, enum try_kind kind)
{
	enum metric first = s->turn->fallback_from != NULL
				? METRIC_TRIES_FALLBACK_UNREACHED
				: METRIC_TRIES_ASKED_UNREACHED;

	metrics_count(first + kind);
}

static uint64_t
key_of(const struct stream *s, enum model_place place, const char *model)
{
	return breaker_key(
	    model_server(s->relay->config, place).base_url, model);
}

uint64_t
stream_first_token_ms(const struct config *config)
{
	long ms = config->first_token_timeout_ms;

	return (uint64_t)(ms > 0 ? ms : config->response_timeout_ms);
}

/* A probe has one try, whose first token comes in time or not at all. */
static bool
enter(struct stream *s, enum model_place place, const char *model)
{
	uint64_t lease =
	    stream_first_token_ms(s->relay->config) + LEASE_MORE_MS;

	if (breaker_enter(
		&s->plan.pass, key_of(s, place, model), clock_mono_ms(), lease))
		return true;
	metrics_count(METRIC_MODEL_SKIPS);
	return false;
}

/* "model x3 timeout, " for the log. */
static void
note_tried(struct stream *s, const char *what)
{
	struct plan *p = &s->plan;

	p->tried.cap = TRIED_MAX;
	buf_printf(&p->tried, "%s%s x%d %s", p->tried.n > 0 ? ", " : "",
	    s->turn->model, p->tries, what);
	p->tried.failed = false; /* what does not fit is left out */
}

/* From here on the reply is that of another model. */
static void
rename_turn(struct turn *t, const char *model)
{
	if (t->fallback_from == NULL) {
		t->fallback_from = strdup(t->model);
		metrics_count(METRIC_MODEL_FALLBACKS);
	}
	(void)snprintf(t->model, sizeof(t->model), "%s", model);
}

/* natter-local's answer takes the prompt's place. */
static bool
take_local(struct stream *s)
{
	struct turn *t = s->turn;

	if (t->local.n == 0)
		return false;
	stream_answer_forsake(s);
	rename_turn(t, LOCAL_MODEL);
	buf_free(&t->prompt);
	t->prompt = t->local;
	t->local = (struct buf){0};
	t->prompt_estimate = 0;
	t->is_local = true;
	return true;
}

static bool
take_fallback(struct stream *s, size_t i, const struct fallback *f)
{
	struct turn *t = s->turn;

	if (f->is_local)
		return take_local(s);
	if ((t->budget.standins & UINT32_C(1) << i) == 0)
		return false; /* what was reserved would not pay for it */
	if (f->place == s->transfer.place && strcmp(f->model, t->model) == 0)
		return false;
	if (!enter(s, f->place, f->model))
		return false;
	if (!openai_rename(&t->prompt, f->model)) {
		breaker_let_go(&s->plan.pass, clock_mono_ms());
		return false;
	}
	t->is_sealed = false;
	stream_answer_forsake(s);
	rename_turn(t, f->model);
	s->transfer.place = f->place;
	s->plan.tries = 0;
	return true;
}

/* Takes the next model that may be asked; the turn is as it was if none. */
static bool
take_next(struct stream *s)
{
	struct breaker_pass pass = s->plan.pass;
	struct fallback f;

	while (fallback_at(s->relay->config, s->plan.next, &f)) {
		size_t i = s->plan.next++;

		if (take_fallback(s, i, &f))
			return true;
	}
	s->plan.pass = pass;
	return false;
}

/*
 * A breaker never fails a reply that was admitted: where nobody else is to be
 * asked, the model asked for is.
 */
void
stream_try_first(struct stream *s)
{
	if (enter(s, MODEL_AT_MAIN, s->turn->model))
		return;
	note_tried(s, "breaker");
	(void)take_next(s);
}

void
stream_try_began(struct stream *s)
{
	s->turn->attempts++;
	s->plan.tries++;
	s->plan.is_open = true;
}

void
stream_try_works(struct stream *s)
{
	breaker_succeeded(&s->plan.pass);
}

void
stream_try_answered(struct stream *s)
{
	if (!s->plan.is_open)
		return;
	s->plan.is_open = false;
	count(s, TRY_ANSWERED);
	breaker_succeeded(&s->plan.pass);
}

void
stream_try_stopped(struct stream *s)
{
	if (s->plan.is_open)
		count(s, TRY_STOPPED);
	s->plan.is_open = false;
	breaker_let_go(&s->plan.pass, clock_mono_ms());
}

/* Somebody must act: said now and then. */
static void
complain(struct stream *s, const struct try_failure *f)
{
	static const char *const settings[] = {
	    [MODEL_AT_MAIN] = "OPENAI_API_KEY",
	    [MODEL_AT_SECOND] = "CHAT_SECOND_API_KEY",
	};
	uint64_t *last_ms = &s->relay->complained_ms[s->transfer.place];
	uint64_t now_ms = clock_mono_ms();

	if (f->kind != TRY_KEY_REFUSED && f->kind != TRY_FORBIDDEN)
		return;
	if (*last_ms != 0 && now_ms < *last_ms + COMPLAIN_MS)
		return;
	*last_ms = now_ms;
	log_with(LOG_ERROR, "a model's server refuses our key",
	    LOG_TEXT("setting", settings[s->transfer.place]),
	    LOG_TEXT("model", s->turn->model));
}

/* Tells the breaker, once for each model that a reply gives up. */
static void
judge(const struct stream *s, const struct try_failure *f,
    struct breaker_pass *pass)
{
	const struct config *config = s->relay->config;

	if (kinds[f->kind].blames_model)
		breaker_failed(
		    pass, clock_mono_ms(), (uint64_t)config->model_cooldown_ms);
	else
		breaker_succeeded(pass);
}

static bool
has_tries_left(const struct stream *s, const struct try_failure *f)
{
	return s->plan.tries <= s->relay->config->model_retries &&
	       f->retry_after_s <= RETRY_AFTER_MAX_S;
}

static enum try_next
give_up_model(struct stream *s, const struct try_failure *f)
{
	enum remedy remedy = kinds[f->kind].remedy;
	struct breaker_pass before = s->plan.pass;

	if (remedy != NONE && take_next(s)) {
		judge(s, f, &before);
		return s->turn->is_local ? TRY_NEXT_LOCAL : TRY_NEXT_ASK;
	}
	if (remedy == NEXT_FIRST && has_tries_left(s, f) && !before.is_probe)
		return TRY_NEXT_PAUSE;
	judge(s, f, &s->plan.pass);
	return TRY_NEXT_NONE;
}

enum try_next
stream_try_failed(struct stream *s, const struct try_failure *f)
{
	const struct turn_rounds *r = &s->turn->rounds;

	if (!s->plan.is_open || s->turn->text.n > r->text_from)
		return TRY_NEXT_NONE;
	s->plan.is_open = false;
	count(s, f->kind);
	complain(s, f);
	/* What the model has called was shown and done: nobody else stands in,
	 * and no breaker learns of what no other model could have helped. */
	if (r->n > 0)
		return kinds[f->kind].remedy <= NEXT_FIRST &&
			       has_tries_left(s, f)
			   ? TRY_NEXT_PAUSE
			   : TRY_NEXT_NONE;
	/* A probe has one try: others wait for what becomes of it. */
	if (kinds[f->kind].remedy == AGAIN && has_tries_left(s, f) &&
	    !s->plan.pass.is_probe)
		return TRY_NEXT_PAUSE;
	note_tried(s, kinds[f->kind].name);
	return give_up_model(s, f);
}

/* A pause that doubles, with a quarter of jitter either way. */
uint64_t
stream_try_pause_ms(const struct stream *s, long retry_after_s)
{
	uint64_t pause = (uint64_t)RETRY_FIRST_MS << (s->plan.tries - 1);
	uint64_t jitter = pause / 2;

	if (retry_after_s > 0 && retry_after_s <= RETRY_AFTER_MAX_S)
		return (uint64_t)retry_after_s * 1000;
	return pause - jitter / 2 + clock_mono_us() % (jitter + 1);
}
