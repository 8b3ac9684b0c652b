/*
 * The line of afterwork and what of it runs: an errand each, to the model's
 * server. Owns the works that it was given, but for those that the ledger has.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue_pair.h"
#include "chat/afterwork.h"
#include "chat/turn.h"
#include "model/mask.h"
#include "server/afterwork.h"
#include "server/errand_json.h"
#include "server/ledger.h"
#include "server/relay_priv.h"
#include "server/works.h"

/* Requests at once, and works that wait for one of them to end. */
#define RUNNING_MAX 4
#define WAITING_MAX 64

/* Works that may be with the ledger. */
#define ASKED_MAX 256

/* Of an answer, in bytes, and of the text in it. */
#define ANSWER_MAX ((size_t)256 << 10)
#define TEXT_MAX   ((size_t)64 << 10)

/* Longest wait for an answer, in ms. */
#define TIMEOUT_MS 30000

struct running {
	struct afterworks *all;
	struct afterwork *work; /* NULL: the place is free */
	struct errand *errand;
};

struct afterworks {
	struct relay *relay;
	struct queue_pair *works; /* with the ledger */
	uv_poll_t poll;
	struct afterwork *first, **last; /* those that wait */
	size_t n_waiting;
	struct running running[RUNNING_MAX];
};

static void start_next(struct afterworks *all);

static void
drop(struct afterwork *w)
{
	metrics_count(METRIC_AFTERWORK_DROPPED);
	w->next = NULL;
	afterworks_free(w);
}

static void
give(struct afterworks *all, struct afterwork *w)
{
	if (works_give(all->works, w))
		ledger_wake(all->relay->ledger);
	else
		drop(w);
}

static void
text_came(void *arg, const char *p, size_t n)
{
	struct buf *text = arg;

	if (text->n + n <= TEXT_MAX)
		buf_add(text, p, n);
}

static enum err
read_answer(struct afterwork *w, const struct errand_end *end)
{
	struct model_parser p;
	enum err e;

	model_parser_init(&p, text_came, &w->text, ANSWER_MAX);
	model_parser_content_type(&p, end->type);
	model_parser_feed(&p, end->body, end->n);
	e = model_parser_end(&p);
	unmask_whole(w->mask, &w->text);
	w->usage = p.usage;
	memcpy(w->answered_by, p.model, sizeof(w->answered_by));
	model_parser_free(&p);
	return w->text.failed ? ERR_INTERNAL : e;
}

/* A model that fails costs nobody their reply: a line in the log, no more, but
 * what its server counted is billed. */
static void
failed(struct afterworks *all, struct afterwork *w, const char *why)
{
	metrics_count(METRIC_AFTERWORK_FAILED);
	log_with(LOG_NOTICE, "a request after a reply failed",
	    LOG_TEXT("work", afterwork_row(w->kind)->name),
	    LOG_TEXT("message_id", w->message_id), LOG_TEXT("model", w->model),
	    LOG_TEXT("why", why));
	if (afterwork_failed(w))
		give(all, w);
	else
		afterworks_free(w);
}

/* Why there is no answer in it; NULL: there is one. */
static const char *
fault_of(struct afterwork *w, const struct errand_end *end)
{
	bool has_head = end->status != 0;
	enum err e = ERR_MODEL_CUT;

	if (has_head && end->status / 100 != 2)
		return "the model's server refused it";
	/* Also what broke off may say what it took. */
	if (has_head)
		e = read_answer(w, end);
	if (end->code != CURLE_OK)
		return end->why;
	return end->is_too_large || e != OK ? "the answer was not whole" : NULL;
}

static void
ended(void *arg, const struct errand_end *end)
{
	struct running *place = arg;
	struct afterworks *all = place->all;
	struct afterwork *w = place->work;
	const char *why = fault_of(w, end);

	place->work = NULL;
	place->errand = NULL;
	if (why == NULL) {
		w->stage = WORK_ANSWERED;
		give(all, w);
	} else {
		failed(all, w, why);
	}
	start_next(all);
}

static struct errand *
send_request(struct afterworks *all, struct running *place)
{
	const struct afterwork *w = place->work;
	const struct errand_json post = {
	    .server = model_server(all->relay->config, w->place),
	    .path = "/chat/completions",
	    .accept = "text/event-stream, application/json",
	    .body = &w->body,
	    .timeout_ms = TIMEOUT_MS,
	    .max_bytes = ANSWER_MAX,
	};

	return errand_post_json(all->relay, &post, ended, place);
}

static struct running *
free_place(struct afterworks *all)
{
	for (size_t i = 0; i < RUNNING_MAX; i++)
		if (all->running[i].work == NULL)
			return &all->running[i];
	return NULL;
}

static struct afterwork *
take_first(struct afterworks *all)
{
	struct afterwork *w = all->first;

	all->first = w->next;
	if (all->first == NULL)
		all->last = &all->first;
	all->n_waiting--;
	w->next = NULL;
	return w;
}

static void
start_next(struct afterworks *all)
{
	struct running *place;

	while (all->first != NULL && (place = free_place(all)) != NULL) {
		place->all = all;
		place->work = take_first(all);
		place->errand = send_request(all, place);
		if (place->errand != NULL)
			continue;
		failed(
		    all, place->work, "no memory for a request to the model");
		place->work = NULL;
	}
}

static void
enqueue(struct afterworks *all, struct afterwork *w)
{
	if (all->relay->is_draining || all->n_waiting == WAITING_MAX) {
		drop(w);
		return;
	}
	w->next = NULL;
	*all->last = w;
	all->last = &w->next;
	all->n_waiting++;
	start_next(all);
}

static void
came_back(uv_poll_t *handle, int status, int events)
{
	struct afterworks *all = handle->data;
	struct afterwork *w;

	(void)status;
	(void)events;
	while ((w = queue_pair_take(all->works)) != NULL) {
		if (w->stage == WORK_ADMITTED) {
			enqueue(all, w);
			continue;
		}
		metrics_count(METRIC_AFTERWORK_REFUSED);
		afterworks_free(w);
	}
}

void
afterwork_begin(struct relay *r, struct turn *t, enum model_place place)
{
	bool is_fit = t->is_stored && t->status == TURN_COMPLETE &&
		      t->error == OK && !t->is_local && !r->is_draining;
	struct afterwork *w = t->works, *next;

	t->works = NULL;
	for (; w != NULL; w = next) {
		next = w->next;
		w->next = NULL;
		if (is_fit && afterwork_compose(w, t, place))
			give(r->afterworks, w);
		else
			afterworks_free(w);
	}
}

/* What has come of it is billed, as what fails is. */
static void
stop(struct afterworks *all, struct running *place)
{
	struct afterwork *w = place->work;
	struct errand_end so_far;

	place->work = NULL;
	errand_so_far(place->errand, &so_far);
	(void)fault_of(w, &so_far);
	errand_stop(place->errand);
	metrics_count(METRIC_AFTERWORK_DROPPED);
	if (afterwork_failed(w))
		give(all, w);
	else
		afterworks_free(w);
}

void
afterwork_drop(struct relay *r)
{
	struct afterworks *all = r->afterworks;

	while (all->first != NULL)
		drop(take_first(all));
	for (size_t i = 0; i < RUNNING_MAX; i++) {
		struct running *place = &all->running[i];

		if (place->work != NULL)
			stop(all, place);
	}
}

bool
afterwork_open(struct relay *r)
{
	struct afterworks *all = calloc(1, sizeof(*all));

	r->afterworks = all;
	if (all == NULL)
		return false;
	all->relay = r;
	all->last = &all->first;
	all->works = works_new(ASKED_MAX, RUNNING_MAX + WAITING_MAX);
	if (all->works == NULL ||
	    uv_poll_init(&r->loop, &all->poll, queue_pair_fd(all->works)) != 0)
		return false;
	all->poll.data = all;
	uv_poll_start(&all->poll, UV_READABLE, came_back);
	ledger_works_for(r->ledger, all->works);
	return true;
}

void
afterwork_close(struct relay *r)
{
	afterwork_drop(r);
	uv_close((uv_handle_t *)&r->afterworks->poll, NULL);
}

void
afterwork_free(struct relay *r)
{
	if (r->afterworks == NULL)
		return;
	queue_pair_free(r->afterworks->works);
	free(r->afterworks);
}
