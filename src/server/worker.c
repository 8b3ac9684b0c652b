/*
 * The life of a worker. SIGTERM: drain and answer newcomers with 503, because
 * nobody else takes them (nginx would say 502); SIGQUIT: drain and leave the
 * queue to the others. Either way replies in flight go on for
 * CHAT_DRAIN_SECONDS. Knows the threads, not what they do.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <curl/curl.h>
#include <fcgiapp.h>
#include <libxml/parser.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "http/route.h"
#include "server/chores.h"
#include "server/disowned.h"
#include "server/front.h"
#include "server/ledger.h"
#include "server/relay.h"
#include "server/shared.h"
#include "server/worker.h"

/* How often a draining worker looks whether it is done, in ms. */
#define DRAIN_LOOK_MS 20

/* After the drain: how long the ledger may still try to reach Postgres. */
#define LEDGER_GRACE_MS 5000

/* The longest wait for the database's clock at the start, in ms: on a loaded
 * host connecting and preparing may take a second. */
#define CLOCK_WAIT_MS 3000

/* A whole conversation is brought as one transaction: 10,000 messages took 5 s
 * on a busy machine with two cores. nginx waits longer (nginx/natter.conf). */
#define BULK_PATIENCE 6

/*
 * How far two threads step back when the cores are busy, as nice(1) counts; on
 * Linux niceness is a thread's own, and of those that it begins (libuv's and
 * libcurl's, which look up names, and pdftotext).
 *
 * The relay has most of the work: who waits for a short answer would wait for a
 * round of hundreds of events. With 10,000 replies GET /me took 15 ms in 99 of
 * 100 cases instead of 28 (two cores at 80 %; the relay's niceness was changed
 * every few seconds of one run: 5 gave 19 ms, 19 gave 18). Beside four programs
 * of the same session that never rest a thread of niceness 10 wakes 17 ms late
 * in 99 of 100 cases, of 0 5 ms, of 19 145 ms.
 *
 * Files and whole histories must not go before replies, but go on: beside two
 * such programs two exports had 27 % of a core with 0, 15 % with 10, 8 % with
 * 15, where a thread was too late for its own time-outs; GET /me took 10.7,
 * 9.3 and 8.5 ms then.
 */
#define STEP_BACK 10

static void *
run_relay(void *relay)
{
	(void)!nice(STEP_BACK);
	return relay_run(relay);
}

static void *
run_bulk(void *chores)
{
	(void)!nice(STEP_BACK);
	return chores_run(chores);
}

/* Threads that serve routes beside the front, and how long their transactions
 * may take. */
static const struct {
	const char *name; /* NULL: none */
	int patience;
	void *(*run)(void *);
} threads_beside[ROUTE_THREADS] = {
    [ON_CHORES] = {"natterd chores", 1, chores_run},
    [ON_BULK] = {"natterd bulk", BULK_PATIENCE, run_bulk},
    [ON_SEARCH] = {"natterd search", 1, chores_run},
};

struct worker {
	struct shared shared;
	struct chores *beside[ROUTE_THREADS]; /* NULL: the front itself */
	struct front *front;
	pthread_t relay_thread, ledger_thread, beside_threads[ROUTE_THREADS];
	int signal_fd;
	long served;
	uint64_t give_up_ms; /* when the ledger has to stop trying */
};

/* No core files with keys in them; die with the master. */
static bool
harden(const struct worker_options *o)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	prctl(PR_SET_DUMPABLE, 0); /* LeakSanitizer needs ptrace */
#endif
	return getppid() == o->master;
}

static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool
open_libraries(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return false;
	xmlInitParser(); /* not safe beside threads */
	if (FCGX_Init() != 0)
		return false;
	/* libfcgi installs a handler of its own over SIG_IGN (measured). */
	signal(SIGPIPE, SIG_IGN);
	return true;
}

static bool
open_threads_beside(struct worker *w)
{
	for (int i = 0; i < ROUTE_THREADS; i++) {
		if (threads_beside[i].name == NULL)
			continue;
		w->beside[i] = chores_new(&w->shared, threads_beside[i].name,
		    threads_beside[i].patience);
		if (w->beside[i] == NULL)
			return false;
	}
	return true;
}

static bool
open_parts(struct worker *w, const struct worker_options *o)
{
	w->shared.config = o->config;
	w->shared.keys = o->keys;
	w->shared.caches.troubles = &w->shared.doubt.troubles;
	w->shared.listen_fd = o->listen_fd;
	w->shared.report_fd = o->report_fd;
	memcpy(w->shared.worker_id, o->id, ID_TEXT);
	w->shared.dead = o->dead;
	w->signal_fd = open_signals();
	if (w->signal_fd < 0)
		return false;
	w->shared.disowned = disowned_new(services_decided_ms(o->config));
	w->shared.ledger = ledger_new(&w->shared);
	if (w->shared.disowned == NULL || w->shared.ledger == NULL)
		return false;
	w->shared.relay = relay_new(o->config, w->shared.ledger);
	if (w->shared.relay == NULL || !open_threads_beside(w))
		return false;
	w->front = front_new(&w->shared, w->beside);
	return w->front != NULL;
}

static bool
start_threads(struct worker *w)
{
	if (pthread_create(
		&w->ledger_thread, NULL, ledger_run, w->shared.ledger) != 0 ||
	    pthread_create(
		&w->relay_thread, NULL, run_relay, w->shared.relay) != 0)
		return false;
	for (int i = 0; i < ROUTE_THREADS; i++)
		if (w->beside[i] != NULL &&
		    pthread_create(&w->beside_threads[i], NULL,
			threads_beside[i].run, w->beside[i]) != 0)
			return false;
	return true;
}

static void
report(const struct worker *w, char word)
{
	ssize_t n = write(w->shared.report_fd, &word, 1);

	(void)n; /* the master is gone: PDEATHSIG tells */
}

static void
begin_drain(struct worker *w, enum drain how)
{
	uint64_t drain_ms = (uint64_t)w->shared.config->drain_seconds * 1000;

	if (atomic_load(&w->shared.drain) != DRAIN_NO)
		return;
	log_with(LOG_NOTICE, "draining",
	    LOG_TEXT("newcomers", how == DRAIN_REFUSE ? "refused" : "left"),
	    LOG_NUMBER("replies", relay_count(w->shared.relay)));
	atomic_store(&w->shared.drain, how);
	w->give_up_ms = clock_mono_ms() + drain_ms + LEDGER_GRACE_MS;
	if (how == DRAIN_LEAVE)
		front_leave(w->front);
	relay_drain(w->shared.relay, drain_ms);
}

static void
take_signal(struct worker *w)
{
	struct signalfd_siginfo info;

	while (read(w->signal_fd, &info, sizeof(info)) == sizeof(info))
		begin_drain(
		    w, info.ssi_signo == SIGTERM ? DRAIN_REFUSE : DRAIN_LEAVE);
}

static void
serve_one(struct worker *w)
{
	long max = w->shared.config->max_requests;

	if (front_serve(w->front))
		w->served++;
	if (max == 0 || w->served < max ||
	    atomic_load(&w->shared.drain) != DRAIN_NO)
		return;
	report(w, WORKER_LEAVING);
	begin_drain(w, DRAIN_LEAVE);
}

/* Is everything said and stored? */
static bool
is_drained(struct worker *w)
{
	if (clock_mono_ms() >= w->give_up_ms)
		ledger_give_up(w->shared.ledger);
	for (int i = 0; i < ROUTE_THREADS; i++)
		if (w->beside[i] != NULL && chores_count(w->beside[i]) > 0)
			return false;
	return relay_has_ended(w->shared.relay);
}

static void
serve(struct worker *w)
{
	for (;;) {
		bool drains = atomic_load(&w->shared.drain) != DRAIN_NO;

		if (drains && is_drained(w))
			return;
		switch (front_wait(
		    w->front, w->signal_fd, drains ? DRAIN_LOOK_MS : -1)) {
		case FRONT_WAKE:
			take_signal(w);
			break;
		case FRONT_REQUEST:
			serve_one(w);
			break;
		case FRONT_NOTHING:
			break;
		}
	}
}

static void
close_parts(struct worker *w)
{
	pthread_join(w->relay_thread, NULL);
	for (int i = 0; i < ROUTE_THREADS; i++) {
		if (w->beside[i] == NULL)
			continue;
		chores_close(w->beside[i]);
		pthread_join(w->beside_threads[i], NULL);
	}
	ledger_close(w->shared.ledger);
	pthread_join(w->ledger_thread, NULL);
	front_free(w->front);
	relay_free(w->shared.relay);
	for (int i = 0; i < ROUTE_THREADS; i++)
		chores_free(w->beside[i]);
	ledger_free(w->shared.ledger);
	disowned_free(w->shared.disowned);
	close(w->signal_fd);
	curl_global_cleanup();
}

/*
 * For the ledger's first word with Postgres, which tells what time it is
 * there: on a host whose clock is wrong, tokens would be refused before. Not
 * for long: while Postgres is away our own clock must do.
 */
static void
wait_for_clock(const struct worker *w)
{
	uint64_t until_ms = clock_mono_ms() + CLOCK_WAIT_MS;

	while (
	    !ledger_has_signed(w->shared.ledger) && clock_mono_ms() < until_ms)
		clock_sleep_ms(2);
}

int
worker_run(const struct worker_options *o)
{
	struct worker w = {0};

	log_init(
	    "worker", (enum log_level)log_level_named(o->config->log_level));
	if (!harden(o))
		return 0; /* the master died before the prctl */
	if (!open_libraries() || !open_parts(&w, o) || !start_threads(&w)) {
		log_text(LOG_ERROR, "no memory or descriptors for a worker");
		return 1;
	}
	wait_for_clock(&w);
	report(&w, WORKER_READY);
	serve(&w);
	close_parts(&w);
	log_with(LOG_NOTICE, "worker ends", LOG_NUMBER("served", w.served));
	return 0;
}
