/*
 * Private servers for tests: starting, stopping, and taking away at exit what
 * this process started. Must not know what is tested.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server_inside.h"

#define SERVERS_MAX 16
#define READY_TRIES 1500 /* times 20 ms */

static struct server *running[SERVERS_MAX];

static void
pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static void
remove_all(void)
{
	for (size_t i = 0; i < SERVERS_MAX; i++)
		if (running[i] != NULL && running[i]->owner == getpid())
			server_remove(running[i]);
}

static bool
remember(struct server *s)
{
	static pid_t registered;

	if (registered != getpid() && atexit(remove_all) != 0)
		return false;
	registered = getpid();
	for (size_t i = 0; i < SERVERS_MAX; i++) {
		if (running[i] == NULL || running[i]->owner != getpid()) {
			running[i] = s;
			return true;
		}
	}
	return false;
}

static void
forget(const struct server *s)
{
	for (size_t i = 0; i < SERVERS_MAX; i++)
		if (running[i] == s)
			running[i] = NULL;
}

static bool
wait_until_ready(struct server *s)
{
	for (int i = 0; i < READY_TRIES; i++) {
		if (s->kind->is_ready(s))
			return true;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->pid = 0;
			break;
		}
		pause_ms(20);
	}
	server_complain("%s does not answer; its log:", s->kind->name);
	server_show_log(s);
	return false;
}

bool
server_start_again(struct server *s)
{
	s->pid = server_spawn(s, s->kind->exec);
	if (s->pid < 0) {
		server_complain("fork: %s", strerror(errno));
		s->pid = 0;
		return false;
	}
	return wait_until_ready(s);
}

static bool
start(struct server *s, const struct server *wanted)
{
	*s = *wanted;
	s->lock = -1;
	s->owner = getpid();
	server_sweep();
	if (!server_make_folder(s) || !remember(s))
		return false;
	if (!s->kind->prepare(s)) {
		server_complain(
		    "%s cannot be prepared; its log:", s->kind->name);
		server_show_log(s);
		return false;
	}
	return server_start_again(s);
}

bool
server_start_postgres(struct server *s, const char *const *options)
{
	return start(s, &(struct server){
			    .kind = &server_kind_postgres, .options = options});
}

bool
server_start_filled(struct server *s, const char *const *options,
    const char *holds, bool (*fill)(struct server *s))
{
	return start(s, &(struct server){.kind = &server_kind_postgres,
			    .options = options,
			    .holds = holds,
			    .fill = fill});
}

bool
server_start_redis(struct server *s, const char *const *options)
{
	return start(s,
	    &(struct server){.kind = &server_kind_redis, .options = options});
}

/* Waits up to five seconds. */
static bool
is_gone(pid_t pid)
{
	for (int i = 0; i < 500; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return true;
		pause_ms(10);
	}
	return false;
}

void
server_stop(struct server *s, int signal_number)
{
	if (s->pid == 0)
		return;
	kill(s->pid, signal_number);
	kill(s->pid, SIGCONT);
	if (!is_gone(s->pid)) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	s->pid = 0;
}

void
server_remove(struct server *s)
{
	if (s->kind == NULL)
		return;
	server_stop(s, s->kind->death_signal);
	server_remove_folder(s);
	forget(s);
	s->kind = NULL;
}

static bool
provide(const char *variable, const struct server_kind *kind, struct server *s)
{
	const char *given = getenv(variable);

	if (given != NULL && given[0] != '\0')
		return true;
	return start(s, &(struct server){.kind = kind}) &&
	       setenv(variable, s->url, 1) == 0;
}

bool
servers_provide_postgres(void)
{
	static struct server s;

	return provide("TEST_DATABASE_URL", &server_kind_postgres, &s);
}

bool
servers_provide_redis(void)
{
	static struct server s;

	return provide("TEST_REDIS_URL", &server_kind_redis, &s);
}
