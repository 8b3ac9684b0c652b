/*
 * The process manager. Owns the worker processes and nothing else; a worker
 * of the current generation that is not leaving counts towards CHAT_WORKERS.
 * Descriptors and memory stay constant whatever workers do.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "base/keyring.h"
#include "base/log.h"
#include "base/metrics.h"
#include "chat/reader_places.h"
#include "model/breaker.h"
#include "server/master.h"
#include "server/notify.h"
#include "server/worker.h"

/* Workers of all generations at once: a reload doubles them for a while. */
#define PROCS_MAX METRICS_WORKERS_MAX

/* A worker that dies younger than this counts as a failed start, in ms. */
#define YOUNG_MS 10000

/* Back-off between failed starts, in ms; doubled each time. */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   10000

/* After CHAT_DRAIN_SECONDS, how long until SIGKILL, in ms. */
#define KILL_GRACE_MS 15000

/* So many of those that ended are told to each new worker, which tells
 * Postgres: what they left is then looked after at once. */
#define DEAD_MAX 64

enum proc_state {
	PROC_STARTING,
	PROC_READY,
	PROC_LEAVING, /* does not count any more: told to go, or going */
};

struct proc {
	pid_t pid;
	char id[ID_TEXT];
	int report_fd; /* the master's end; -1 once it said its last word */
	int generation;
	enum proc_state state;
	uint64_t drain_ms; /* by the settings that it was started with */
	uint64_t born_ms;
	uint64_t kill_ms; /* SIGKILL then; 0 = no deadline */
};

struct master {
	const struct master_options *options;
	struct config *config;
	struct keyring *keys;
	struct proc procs[PROCS_MAX];
	size_t n_procs;
	char dead[DEAD_MAX][ID_TEXT]; /* the oldest are written over */
	size_t n_dead;                /* in all */
	int generation;
	int signal_fd;
	uint64_t next_fork_ms;
	uint64_t backoff_ms;
	uint64_t watchdog_ms; /* interval; 0 = none */
	uint64_t next_watchdog_ms;
	bool is_stopping;
	bool has_told_ready; /* of this generation */
	int exit_status;
};

static void
forget(struct master *m, size_t i)
{
	if (m->procs[i].report_fd >= 0)
		close(m->procs[i].report_fd);
	memcpy(m->dead[m->n_dead++ % DEAD_MAX], m->procs[i].id, ID_TEXT);
	m->procs[i] = m->procs[--m->n_procs];
}

/* Those that ended lately, as Postgres takes them; NULL: none did. */
static const char *
list_dead(const struct master *m)
{
	static char list[DEAD_MAX * ID_TEXT + 2];
	size_t n = m->n_dead < DEAD_MAX ? m->n_dead : DEAD_MAX, at = 0;

	for (size_t i = 0; i < n; i++) {
		list[at] = i == 0 ? '{' : ',';
		memcpy(&list[at + 1], m->dead[i], ID_TEXT - 1);
		at += ID_TEXT;
	}
	list[at] = '}';
	return n == 0 ? NULL : list;
}

/* In the child: keeps nothing of the master's but configuration and keys. */
_Noreturn static void
become_worker(struct master *m, const char *id, int report_fd, pid_t master)
{
	struct worker_options o = {
	    .config = m->config,
	    .keys = m->keys,
	    .listen_fd = m->options->listen_fd,
	    .report_fd = report_fd,
	    .master = master,
	    .id = id,
	    .dead = list_dead(m),
	};
	int status;

	close(m->signal_fd);
	for (size_t i = 0; i < m->n_procs; i++)
		if (m->procs[i].report_fd >= 0)
			close(m->procs[i].report_fd);
	metrics_join(getpid());
	reader_places_join(getpid());
	status = worker_run(&o);
	config_free(m->config);
	keyring_free(m->keys);
	exit(status);
}

static void
back_off(struct master *m)
{
	m->next_fork_ms = clock_mono_ms() + m->backoff_ms;
	m->backoff_ms *= 2;
	if (m->backoff_ms > BACKOFF_MAX_MS)
		m->backoff_ms = BACKOFF_MAX_MS;
}

static bool
start_worker(struct master *m)
{
	struct proc p = {
	    .generation = m->generation,
	    .drain_ms = (uint64_t)m->config->drain_seconds * 1000,
	    .born_ms = clock_mono_ms(),
	};
	pid_t self = getpid();
	int ends[2];

	id_make_random(p.id);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	p.pid = fork();
	if (p.pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return false;
	}
	if (p.pid == 0) {
		close(ends[0]);
		become_worker(m, p.id, ends[1], self);
	}
	close(ends[1]);
	metrics_count(METRIC_WORKER_STARTS);
	p.report_fd = ends[0];
	m->procs[m->n_procs++] = p;
	return true;
}

/* How many count towards CHAT_WORKERS. */
static size_t
count_serving(const struct master *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_procs; i++)
		if (m->procs[i].generation == m->generation &&
		    m->procs[i].state != PROC_LEAVING)
			n++;
	return n;
}

static void
fill(struct master *m)
{
	if (m->is_stopping || clock_mono_ms() < m->next_fork_ms)
		return;
	while (count_serving(m) < (size_t)m->config->workers &&
	       m->n_procs < PROCS_MAX) {
		if (start_worker(m))
			continue;
		log_with(LOG_ERROR, "cannot start a worker",
		    LOG_TEXT("why", strerror(errno)));
		back_off(m);
		return;
	}
}

/* It does not count any more, and has its time to end. */
static void
let_leave(struct proc *p)
{
	p->state = PROC_LEAVING;
	p->kill_ms = clock_mono_ms() + p->drain_ms + KILL_GRACE_MS;
}

static void
tell_leave(struct proc *p, int signal)
{
	let_leave(p);
	kill(p->pid, signal);
}

/* The new generation serves: the old one may go. */
static void
retire_old(struct master *m)
{
	for (size_t i = 0; i < m->n_procs; i++)
		if (m->procs[i].generation != m->generation &&
		    m->procs[i].state != PROC_LEAVING)
			tell_leave(&m->procs[i], SIGQUIT);
}

static bool
all_ready(const struct master *m)
{
	size_t ready = 0;

	for (size_t i = 0; i < m->n_procs; i++)
		if (m->procs[i].generation == m->generation &&
		    m->procs[i].state == PROC_READY)
			ready++;
	return ready >= (size_t)m->config->workers;
}

static void
tell_ready(struct master *m)
{
	if (m->has_told_ready || m->is_stopping || !all_ready(m))
		return;
	m->has_told_ready = true;
	retire_old(m);
	log_with(LOG_NOTICE, "ready", LOG_NUMBER("workers", m->config->workers),
	    LOG_NUMBER("generation", m->generation));
	notify_send("READY=1\nSTATUS=Serving.");
}

static void
read_report(struct master *m, struct proc *p)
{
	char word;
	ssize_t n;

	while ((n = read(p->report_fd, &word, 1)) == 1) {
		if (word == WORKER_READY && p->state == PROC_STARTING)
			p->state = PROC_READY;
		if (word == WORKER_LEAVING && p->state != PROC_LEAVING)
			let_leave(p);
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close(p->report_fd);
		p->report_fd = -1;
	}
	tell_ready(m);
}

static void
log_death(const struct proc *p, int status)
{
	if (WIFSIGNALED(status))
		log_with(LOG_ERROR, "a worker was killed",
		    LOG_NUMBER("worker", p->pid),
		    LOG_NUMBER("signal", WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		log_with(LOG_ERROR, "a worker failed",
		    LOG_NUMBER("worker", p->pid),
		    LOG_NUMBER("exit", WEXITSTATUS(status)));
}

static void begin_stop(struct master *m, int exit_status);

static void
bury(struct master *m, size_t i, int status)
{
	struct proc *p = &m->procs[i];
	bool was_expected = p->state == PROC_LEAVING;
	bool was_young = clock_mono_ms() - p->born_ms < YOUNG_MS;

	log_death(p, status);
	metrics_leave(p->pid);
	reader_places_leave(p->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		metrics_count(METRIC_WORKER_DEATHS);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIGURATION)
		begin_stop(m, EXIT_CONFIGURATION);
	if (!was_expected && was_young)
		back_off(m);
	else if (!was_expected)
		m->backoff_ms = BACKOFF_FIRST_MS;
	forget(m, i);
}

static void
reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < m->n_procs; i++) {
			if (m->procs[i].pid == pid) {
				bury(m, i, status);
				break;
			}
		}
	}
}

static void
begin_stop(struct master *m, int exit_status)
{
	int signal = m->options->is_activated ? SIGQUIT : SIGTERM;

	if (m->is_stopping)
		return;
	m->is_stopping = true;
	m->exit_status = exit_status;
	log_with(LOG_NOTICE, "stopping", LOG_NUMBER("workers", m->n_procs));
	notify_send("STOPPING=1\nSTATUS=Draining replies.");
	for (size_t i = 0; i < m->n_procs; i++)
		tell_leave(&m->procs[i], signal);
}

static void
reload(struct master *m)
{
	char why[MASTER_WHY] = "";
	struct config *config = NULL;
	struct keyring *keys = NULL;

	if (m->is_stopping)
		return;
	notify_reloading();
	if (m->options->load(&config, &keys, why) != OK) {
		log_with(LOG_ERROR, "reload refused: the old settings stay",
		    LOG_TEXT("why", why));
		notify_send("READY=1\nSTATUS=Reload refused: see the log.");
		return;
	}
	log_init("master", (enum log_level)log_level_named(config->log_level));
	log_text(LOG_NOTICE, "reloading");
	config_free(m->config);
	keyring_free(m->keys);
	m->config = config;
	m->keys = keys;
	m->generation++;
	m->has_told_ready = false;
	m->next_fork_ms = 0;
	m->backoff_ms = BACKOFF_FIRST_MS;
}

static void
take_signals(struct master *m)
{
	struct signalfd_siginfo info;

	while (read(m->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(m);
		else if (info.ssi_signo == SIGHUP)
			reload(m);
		else
			begin_stop(m, 0);
	}
}

/* SIGKILL for those that did not keep to their time. */
static void
enforce(struct master *m)
{
	uint64_t now = clock_mono_ms();

	for (size_t i = 0; i < m->n_procs; i++) {
		struct proc *p = &m->procs[i];

		if (p->kill_ms == 0 || now < p->kill_ms)
			continue;
		log_with(LOG_ERROR, "a worker did not end in time",
		    LOG_NUMBER("worker", p->pid));
		kill(p->pid, SIGKILL);
		p->kill_ms = now + KILL_GRACE_MS;
	}
	if (m->watchdog_ms != 0 && now >= m->next_watchdog_ms) {
		notify_send("WATCHDOG=1");
		m->next_watchdog_ms = now + m->watchdog_ms;
	}
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return b != 0 && b < a ? b : a;
}

/* How long to wait for news, in ms. */
static int
patience_ms(const struct master *m)
{
	uint64_t now = clock_mono_ms(), at = now + 60000;

	if (!m->is_stopping && count_serving(m) < (size_t)m->config->workers)
		at = sooner(at, m->next_fork_ms);
	if (m->watchdog_ms != 0)
		at = sooner(at, m->next_watchdog_ms);
	for (size_t i = 0; i < m->n_procs; i++)
		at = sooner(at, m->procs[i].kill_ms);
	return at > now ? (int)(at - now) : 1;
}

static void
wait_for_news(struct master *m)
{
	struct pollfd fds[PROCS_MAX + 1];
	size_t n = m->n_procs;

	fds[0] = (struct pollfd){.fd = m->signal_fd, .events = POLLIN};
	for (size_t i = 0; i < n; i++)
		fds[i + 1] = (struct pollfd){
		    .fd = m->procs[i].report_fd, .events = POLLIN};
	if (poll(fds, (nfds_t)n + 1, patience_ms(m)) <= 0)
		return;
	/* Reports first: signals may take procs off the list. */
	for (size_t i = 0; i < n; i++)
		if (fds[i + 1].revents != 0)
			read_report(m, &m->procs[i]);
	if (fds[0].revents != 0)
		take_signals(m);
}

static bool
open_master(struct master *m)
{
	sigset_t set;
	int flags;

	sigfillset(&set);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGABRT);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	flags = fcntl(m->options->listen_fd, F_GETFL);
	return m->signal_fd >= 0 && flags >= 0 &&
	       fcntl(m->options->listen_fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

int
master_run(const struct master_options *options)
{
	static struct master m;
	char why[MASTER_WHY] = "";

	m.options = options;
	m.generation = 1;
	m.backoff_ms = BACKOFF_FIRST_MS;
	m.watchdog_ms = notify_watchdog_ms();
	if (options->load(&m.config, &m.keys, why) != OK) {
		log_with(LOG_ERROR, "cannot start", LOG_TEXT("why", why));
		return EXIT_CONFIGURATION;
	}
	log_init(
	    "master", (enum log_level)log_level_named(m.config->log_level));
	if (!metrics_share() || !breaker_share() || !reader_places_share() ||
	    !open_master(&m)) {
		log_with(LOG_ERROR, "cannot start",
		    LOG_TEXT("why", strerror(errno)));
		return 1;
	}
	while (!m.is_stopping || m.n_procs > 0) {
		fill(&m);
		wait_for_news(&m);
		enforce(&m);
	}
	log_with(LOG_NOTICE, "master ends", LOG_NUMBER("exit", m.exit_status));
	config_free(m.config);
	keyring_free(m.keys);
	return m.exit_status;
}
