/*
 * Accepts, reads, routes and answers requests. Owns the FCGX_Request and the
 * arena of the request being served; must not know what a route does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcgiapp.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "chat/follow.h"
#include "chat/turn.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/request.h"
#include "limit/limit.h"
#include "model/embedding.h"
#include "server/chores.h"
#include "server/front.h"
#include "server/front_params.h"
#include "server/relay.h"
#include "server/serve_log.h"
#include "server/shared.h"

/* What a request may allocate before its route is known. */
#define ARENA_BEFORE_ROUTE ((size_t)128 << 10)

/* After EMFILE or ENFILE: descriptors come back when replies end. */
#define OUT_OF_FDS_PAUSE_MS 100

struct front {
	struct shared *shared;
	struct chores *const *beside; /* by enum route_thread */
	struct services services;
	struct arena *arena;
	FCGX_Request fcgi;
	bool has_left;
};

enum front_event
front_wait(struct front *f, int wake_fd, int timeout_ms)
{
	struct pollfd fds[2] = {
	    {.fd = wake_fd, .events = POLLIN},
	    {.fd = f->has_left ? -1 : f->shared->listen_fd, .events = POLLIN},
	};

	if (poll(fds, 2, timeout_ms) <= 0)
		return FRONT_NOTHING;
	if (fds[0].revents != 0)
		return FRONT_WAKE;
	return FRONT_REQUEST;
}

/*
 * Writes the reply through libfcgi and ends the request. The front waits until
 * all of it is taken, so nginx must take it at once, however slowly the client
 * reads, also where a location passes streams on unbuffered.
 */
static void
answer(struct front *f, struct request *req, struct reply *rep)
{
	struct buf head = {0};

	origin_allow(f->shared->config, req->origin, rep);
	reply_header(rep, "X-Accel-Buffering", "yes");
	reply_head(&head, rep, req->request_id);
	FCGX_PutStr(head.p, (int)head.n, f->fcgi.out);
	if (rep->body != NULL && strcmp(req->method_name, "HEAD") != 0)
		FCGX_PutStr(rep->body, (int)rep->body_len, f->fcgi.out);
	buf_free(&head);
	FCGX_Finish_r(&f->fcgi);
	/* With fastcgi_keep_conn libfcgi keeps the connection open, but nginx
	 * has no use for it: without this a worker holds one descriptor. */
	if (f->fcgi.ipcFd >= 0)
		FCGX_Free(&f->fcgi, 1);
	serve_log(req, rep);
}

/* A duplicate of the connection, which somebody else is to have. */
static int
copy_connection(const struct front *f)
{
	return fcntl(f->fcgi.ipcFd, F_DUPFD_CLOEXEC, 3);
}

/*
 * Takes the connection away from libfcgi: the duplicate survives, everything of
 * libfcgi's is freed (measured: FCGX_Detach alone does not detach).
 */
static void
let_go(struct front *f)
{
	FCGX_Detach(&f->fcgi);
	FCGX_Free(&f->fcgi, 1);
}

static int
detach(struct front *f)
{
	int fd = copy_connection(f);

	if (fd >= 0)
		let_go(f);
	return fd;
}

static void
refuse(struct front *f, struct request *req, struct reply *rep, enum err e)
{
	*rep = (struct reply){0};
	reply_error(req, rep, e);
	answer(f, req, rep);
}

/* A copy of the page's origin, when its browser has to be told. */
static char *
copy_origin(const struct request *req)
{
	if (!origin_is_allowed(req->services->config, req->origin))
		return NULL;
	return strdup(req->origin);
}

/* A copy of the header lines that the head is to have, or NULL. */
static char *
copy_lines(const struct reply *rep)
{
	struct buf lines = {0};
	char *copy = NULL;

	reply_lines(&lines, rep);
	if (lines.n > 0 && !lines.failed)
		copy = strndup(lines.p, lines.n);
	buf_free(&lines);
	return copy;
}

/*
 * The relay did not take the reply: only without memory, for has_room was
 * asked, and this thread alone gives. A turn is ended and settled at once.
 */
static void
abandon(struct front *f, struct request *req, struct reply *rep)
{
	log_text(LOG_ERROR, "a reply could not be handed to the relay");
	if (rep->turn != NULL)
		turn_abandon(req, rep->turn, ERR_BUSY);
	turn_free(rep->turn);
	follow_free(rep->follow);
	limit_give_back(req, ERR_BUSY);
	refuse(f, req, rep, ERR_BUSY);
}

static void
to_relay(struct front *f, struct request *req, struct reply *rep)
{
	struct handoff h = {
	    .turn = rep->turn,
	    .follow = rep->follow,
	    .request_id = f->fcgi.requestId,
	    .method = req->method == HTTP_GET ? "GET" : "POST",
	    .route = req->route,
	    .origin = copy_origin(req),
	    .limits = copy_lines(rep),
	    .phases = req->phases,
	};

	/* Without a descriptor (-1) the reply runs all the same, unheard. */
	h.fd = copy_connection(f);
	if (relay_give(f->shared->relay, &h)) {
		let_go(f);
		return;
	}
	if (h.fd >= 0)
		close(h.fd);
	free(h.origin);
	free(h.limits);
	abandon(f, req, rep);
}

static void
to_chores(struct front *f, struct chores *chores, struct request *req,
    struct reply *rep)
{
	struct chore *c = arena_alloc(req->arena, sizeof(*c));
	struct arena *fresh = arena_new(ARENA_BEFORE_ROUTE);

	if (c == NULL || fresh == NULL ||
	    chores_count(chores) >= (size_t)f->shared->config->chores_max) {
		arena_free(fresh);
		refuse(f, req, rep, ERR_BUSY);
		return;
	}
	c->request_id = f->fcgi.requestId;
	c->request = *req;
	c->fd = detach(f);
	f->arena = fresh;
	if (c->fd >= 0 && chores_give(chores, c))
		return;
	if (c->fd >= 0)
		close(c->fd);
	arena_free(req->arena);
}

/* Reads the body whole; false when it is shorter than declared. */
static bool
read_body(struct front *f, struct request *req, size_t n)
{
	char *body = arena_alloc(req->arena, n + 1);

	if (body == NULL)
		return false;
	if (n > 0 && FCGX_GetStr(body, (int)n, f->fcgi.in) != (int)n)
		return false;
	req->body = body;
	req->body_len = n;
	return true;
}

/* Who serves such routes; NULL: the front. */
static struct chores *
beside(const struct front *f, enum route_thread thread)
{
	if (thread == ON_SEARCH && !embedding_is_on(f->shared->config))
		return NULL;
	return f->beside[thread];
}

static void
serve(struct front *f, struct request *req, struct reply *rep)
{
	struct chores *chores;
	size_t length = 0;
	enum err e = front_params_read(req, f->fcgi.envp, &length);

	if (e != OK) {
		refuse(f, req, rep, e);
		return;
	}
	if (api_route(req, rep, length) != OK) {
		answer(f, req, rep);
		return;
	}
	arena_set_cap(f->arena, req->route->arena_max + length);
	if (!read_body(f, req, length)) {
		refuse(f, req, rep, ERR_BAD_REQUEST);
		return;
	}
	chores = beside(f, req->route->thread);
	if (chores != NULL) {
		to_chores(f, chores, req, rep);
		return;
	}
	api_handle(req, rep);
	if (rep->turn != NULL || rep->follow != NULL)
		to_relay(f, req, rep);
	else
		answer(f, req, rep);
}

bool
front_serve(struct front *f)
{
	struct request req = {0};
	struct reply rep = {0};
	int rc = FCGX_Accept_r(&f->fcgi);

	if (rc == -EMFILE || rc == -ENFILE) {
		log_text(LOG_WARNING, "no descriptors left: waiting %d ms",
		    OUT_OF_FDS_PAUSE_MS);
		clock_sleep_ms(OUT_OF_FDS_PAUSE_MS);
		return false;
	}
	if (rc != 0)
		return false;
	arena_reset(f->arena, ARENA_BEFORE_ROUTE);
	req.arena = f->arena;
	req.services = &f->services;
	req.phases.accepted_us = clock_mono_us();
	serve(f, &req, &rep);
	return true;
}

struct front *
front_new(struct shared *shared, struct chores *const *beside)
{
	struct front *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->shared = shared;
	f->beside = beside;
	f->arena = arena_new(ARENA_BEFORE_ROUTE);
	if (f->arena == NULL ||
	    services_open(&f->services, shared, "natterd front", 1) != OK ||
	    FCGX_InitRequest(&f->fcgi, shared->listen_fd, 0) != 0) {
		front_free(f);
		return NULL;
	}
	return f;
}

void
front_leave(struct front *f)
{
	f->has_left = true;
}

void
front_free(struct front *f)
{
	if (f == NULL)
		return;
	services_close(&f->services);
	arena_free(f->arena);
	free(f);
}
