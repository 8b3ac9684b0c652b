/*
 * The gate's thread: one poll over all connections, blocking writes. Owns the
 * folder, the sockets and the thread.
 */
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pg_gate.h"

#define PAIRS_MAX 32
#define SOCKET    ".s.PGSQL.5432"
#define LOOK_MS   5

struct pair {
	int client, server; /* -1: free */
};

struct pg_gate {
	char folder[32];
	struct sockaddr_un own, server;
	int listener;
	struct pair pairs[PAIRS_MAX];
	pthread_t thread;
	atomic_bool is_shut, is_over;
};

static struct sockaddr_un
address(const char *folder)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/" SOCKET, folder);

	assert(n > 0 && (size_t)n < sizeof(a.sun_path));
	return a;
}

static void
cut(struct pair *p)
{
	close(p->client);
	close(p->server);
	p->client = p->server = -1;
}

static void
take_newcomer(struct pg_gate *g)
{
	int client = accept(g->listener, NULL, NULL);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (client < 0 || server < 0)
		abort();
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		struct pair *p = &g->pairs[i];

		if (p->client >= 0)
			continue;
		*p = (struct pair){client, server};
		if (connect(server, (struct sockaddr *)&g->server,
			sizeof(g->server)) != 0)
			cut(p);
		return;
	}
	abort(); /* more connections than any test makes */
}

/* False: that side has hung up. */
static bool
carry(int from, int to)
{
	char bytes[16384];
	ssize_t n = read(from, bytes, sizeof(bytes));

	for (ssize_t done = 0, put; done < n; done += put) {
		put = send(to, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
		if (put <= 0)
			return false;
	}
	return n > 0;
}

static void
serve(struct pg_gate *g, struct pair *p, short from_client, short from_server)
{
	if (from_client != 0 && !carry(p->client, p->server))
		cut(p);
	else if (from_server != 0 && !atomic_load(&g->is_shut) &&
		 !carry(p->server, p->client))
		cut(p);
}

static void *
run(void *arg)
{
	struct pg_gate *g = arg;

	while (!atomic_load(&g->is_over)) {
		struct pollfd fds[2 * PAIRS_MAX + 1];
		bool is_shut = atomic_load(&g->is_shut);

		for (size_t i = 0; i < PAIRS_MAX; i++) {
			fds[2 * i].fd = g->pairs[i].client;
			fds[2 * i + 1].fd = is_shut ? -1 : g->pairs[i].server;
			fds[2 * i].events = fds[2 * i + 1].events = POLLIN;
		}
		fds[2 * PAIRS_MAX] =
		    (struct pollfd){.fd = g->listener, .events = POLLIN};
		if (poll(fds, 2 * PAIRS_MAX + 1, LOOK_MS) <= 0)
			continue;
		for (size_t i = 0; i < PAIRS_MAX; i++)
			if (g->pairs[i].client >= 0)
				serve(g, &g->pairs[i], fds[2 * i].revents,
				    is_shut ? 0 : fds[2 * i + 1].revents);
		if (fds[2 * PAIRS_MAX].revents != 0)
			take_newcomer(g);
	}
	return NULL;
}

struct pg_gate *
pg_gate_open(const char *folder)
{
	struct pg_gate *g = calloc(1, sizeof(*g));

	assert(g != NULL);
	snprintf(g->folder, sizeof(g->folder), "/tmp/natter-gate-XXXXXX");
	if (mkdtemp(g->folder) == NULL)
		abort();
	g->own = address(g->folder);
	g->server = address(folder);
	for (size_t i = 0; i < PAIRS_MAX; i++)
		g->pairs[i] = (struct pair){-1, -1};
	g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (g->listener < 0 ||
	    bind(g->listener, (struct sockaddr *)&g->own, sizeof(g->own)) !=
		0 ||
	    listen(g->listener, PAIRS_MAX) != 0 ||
	    pthread_create(&g->thread, NULL, run, g) != 0)
		abort();
	return g;
}

const char *
pg_gate_folder(const struct pg_gate *g)
{
	return g->folder;
}

void
pg_gate_shut(struct pg_gate *g)
{
	atomic_store(&g->is_shut, true);
}

void
pg_gate_let(struct pg_gate *g)
{
	atomic_store(&g->is_shut, false);
}

void
pg_gate_close(struct pg_gate *g)
{
	atomic_store(&g->is_over, true);
	pthread_join(g->thread, NULL);
	for (size_t i = 0; i < PAIRS_MAX; i++)
		if (g->pairs[i].client >= 0)
			cut(&g->pairs[i]);
	close(g->listener);
	unlink(g->own.sun_path);
	rmdir(g->folder);
	free(g);
}
