/*
 * libcurl's socket interface driven by libuv polls and one timer. Knows HTTP
 * to the model's server, not what the bytes mean.
 *
 * HTTP/1.1 by default: HTTP/2 to one server takes 27 KB instead of 70 KB a
 * stream over TLS, but twice the CPU (measured at 1,000 streams).
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/config.h"
#include "server/upstream.h"

/* Connections kept for reuse when idle, of all lanes. */
#define IDLE_CONNECTIONS 256

/*
 * Transfers of a lane before another one is opened. libcurl finds a socket's
 * transfer in a hash of 911 lists, whatever their number: with 5,000 that was 5
 * of the 60 % of a core that two workers took at 30,000 events/s (measured, of
 * libcurl 7.88).
 */
#define LANE_FULL 512
#define LANES     16

/* One of libcurl's machines; the first is always there. */
struct upstream_lane {
	struct upstream *upstream;
	CURLM *multi;
	uv_timer_t timer;
	int running; /* transfers */
	int sockets; /* connections, idle ones included */
};

struct upstream {
	uv_loop_t *loop;
	struct upstream_lane lanes[LANES];
	int n_lanes;
	struct server {
		char *url;
		struct curl_slist *headers;    /* with its key */
		char socket[MODEL_SOCKET_MAX]; /* "": by TCP */
	} servers[MODEL_PLACES];
	const struct config *config;
	int handles;   /* libuv handles not closed yet */
	bool is_freed; /* free the struct when handles is 0 */
};

/* A socket that libcurl wants watched. */
struct watch {
	uv_poll_t poll;
	curl_socket_t fd;
	struct upstream_lane *lane;
};

static void
let_go(struct upstream *u)
{
	u->handles--;
	if (u->handles == 0 && u->is_freed)
		free(u);
}

/*
 * Connections that no transfer uses, or a few more while libcurl tries two
 * addresses. libcurl would find that out by walking through all that it has,
 * with every transfer's beginning and, at its own limit, with every end: 8 %
 * of a worker's CPU with 1,000 transfers (measured).
 */
static int
idle_connections(const struct upstream_lane *l)
{
	return l->sockets - l->running;
}

curl_socket_t
upstream_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
	struct upstream_lane *l = arg;
	int fd = socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);

	(void)purpose;
	if (fd < 0)
		return CURL_SOCKET_BAD;
	l->sockets++;
	return fd;
}

static int
close_socket(void *arg, curl_socket_t fd)
{
	struct upstream_lane *l = arg;

	l->sockets--;
	return close(fd);
}

/* As long as few are idle, this one's connection may become so. */
static void
decide_reuse(struct transfer *t)
{
	const struct upstream_lane *l = t->lane;
	bool is_last =
	    idle_connections(l) >= IDLE_CONNECTIONS / l->upstream->n_lanes;

	if (is_last == t->is_last || t->is_alone ||
	    l->upstream->config->model_http2)
		return;
	t->is_last = is_last;
	curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, (long)is_last);
}

static void
transfer_done(struct transfer *t, CURLcode code)
{
	struct transfer_end end = {.code = code};
	curl_off_t retry_after = 0;
	long sent = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &end.status);
	curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
	end.retry_after_s = (long)retry_after;
	end.was_sent = sent > 0;
	end.why = t->why[0] != '\0' ? t->why : curl_easy_strerror(code);
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	t->lane->running--;
	t->on_end(t->arg, &end);
}

/* Delivers the ends that libcurl has noted. */
static void
reap(struct upstream_lane *l)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(l->multi, &left)) != NULL) {
		struct transfer *t = NULL;
		CURLcode code = m->data.result;
		CURL *easy = m->easy_handle;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
		curl_multi_remove_handle(l->multi, easy);
		transfer_done(t, code);
	}
}

static void
act(struct upstream_lane *l, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(l->multi, fd, events, &running);
	reap(l);
}

static void
socket_ready(uv_poll_t *handle, int status, int events)
{
	struct watch *w = handle->data;
	int flags = 0;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	act(w->lane, w->fd, flags);
}

static void
timer_fired(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl asks for a call after `ms`; never call it from here. */
static int
set_timer(CURLM *multi, long ms, void *arg)
{
	struct upstream_lane *l = arg;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&l->timer);
	else
		uv_timer_start(&l->timer, timer_fired, (uint64_t)ms, 0);
	return 0;
}

static void
watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	let_go(w->lane->upstream);
	free(w);
}

static struct watch *
watch_new(struct upstream_lane *l, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->fd = fd;
	w->lane = l;
	if (uv_poll_init_socket(l->upstream->loop, &w->poll, fd) != 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	l->upstream->handles++;
	return w;
}

static int
set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct upstream_lane *l = arg;
	struct watch *w = socket_arg;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			uv_poll_stop(&w->poll);
			curl_multi_assign(l->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, watch_closed);
		}
		return 0;
	}
	if (w == NULL && (w = watch_new(l, fd)) == NULL)
		return -1;
	curl_multi_assign(l->multi, fd, w);
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	uv_poll_start(&w->poll, events, socket_ready);
	return 0;
}

static size_t
body_came(char *p, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t n = size * count;

	decide_reuse(t);
	if (!t->has_head) {
		char *type = NULL;
		long status = 0;

		t->has_head = true;
		curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
		t->on_head(t->arg, status, type);
	}
	return t->on_body(t->arg, p, n) ? n : CURL_WRITEFUNC_ERROR;
}

static bool
open_lane(struct upstream *u)
{
	struct upstream_lane *l = &u->lanes[u->n_lanes];

	l->upstream = u;
	l->multi = curl_multi_init();
	if (l->multi == NULL)
		return false;
	u->n_lanes++;
	u->handles++;
	uv_timer_init(u->loop, &l->timer);
	l->timer.data = l;
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	/* decide_reuse keeps them few; libcurl would search for the oldest. */
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, LONG_MAX);
	return true;
}

/* The one with the fewest; another one if that has many. HTTP/2 shares its
 * connections, and those are a lane's. */
static struct upstream_lane *
choose_lane(struct upstream *u)
{
	struct upstream_lane *best = &u->lanes[0];

	if (u->config->model_http2)
		return best;
	for (int i = 1; i < u->n_lanes; i++)
		if (u->lanes[i].running < best->running)
			best = &u->lanes[i];
	if (best->running >= LANE_FULL && u->n_lanes < LANES && open_lane(u))
		best = &u->lanes[u->n_lanes - 1];
	return best;
}

/* Everything that is the same for every request. */
static void
set_common(struct upstream_lane *l, CURL *easy)
{
	const struct config *config = l->upstream->config;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Or giving up on a name that is being looked up waits for the lookup,
	 * and with it every reply of this worker (measured: 10 s). */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(
	    easy, CURLOPT_CONNECTTIMEOUT_MS, config->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "natter/" PACKAGE_VERSION);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
	    config->model_http2 ? (long)CURL_HTTP_VERSION_2TLS
				: (long)CURL_HTTP_VERSION_1_1);
	if (config->model_http2)
		curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
	/* A reply is small pieces: bigger buffers only cost memory. */
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 1024L);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
	curl_easy_setopt(
	    easy, CURLOPT_OPENSOCKETFUNCTION, upstream_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, l);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, l);
	if (!config->model_http2 && idle_connections(l) <= 0)
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
}

bool
upstream_prepare(struct upstream *u, struct transfer *t)
{
	CURL *easy = curl_easy_init();

	assert(t->easy == NULL);
	if (easy == NULL)
		return false;
	t->lane = choose_lane(u);
	set_common(t->lane, easy);
	t->easy = easy;
	t->why[0] = '\0';
	t->has_head = t->is_last = false;
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_came);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
	return true;
}

bool
upstream_go(struct transfer *t)
{
	if (t->is_alone) {
		curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
	}
	if (curl_multi_add_handle(t->lane->multi, t->easy) == CURLM_OK) {
		t->lane->running++;
		return true;
	}
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	return false;
}

enum err
upstream_start(
    struct upstream *u, struct transfer *t, const char *body, size_t n)
{
	const struct server *server = &u->servers[t->place];

	if (!upstream_prepare(u, t))
		return ERR_INTERNAL;
	curl_easy_setopt(t->easy, CURLOPT_URL, server->url);
	if (server->socket[0] != '\0')
		curl_easy_setopt(
		    t->easy, CURLOPT_UNIX_SOCKET_PATH, server->socket);
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, server->headers);
	curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
	return upstream_go(t) ? OK : ERR_INTERNAL;
}

bool
upstream_has_sent(const struct transfer *t, size_t n)
{
	curl_off_t sent = 0;

	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	return (size_t)sent >= n;
}

void
upstream_stop(struct transfer *t)
{
	if (t->easy == NULL)
		return;
	curl_multi_remove_handle(t->lane->multi, t->easy);
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	t->lane->running--;
}

static bool
add_header(struct server *s, const char *line)
{
	struct curl_slist *more = curl_slist_append(s->headers, line);

	if (more == NULL)
		return false;
	s->headers = more;
	return true;
}

static bool
make_headers(struct server *s, const struct model_server *said)
{
	struct buf key = {0};
	bool ok;

	if (!add_header(s, "Content-Type: application/json") ||
	    !add_header(s, "Accept: text/event-stream, application/json") ||
	    !add_header(s, "Expect:"))
		return false;
	model_server_authorization(said, &key);
	ok = !key.failed && (key.n == 0 || add_header(s, buf_text(&key)));
	buf_wipe(&key);
	return ok;
}

static bool
make_servers(struct upstream *u)
{
	for (enum model_place p = 0; p < MODEL_PLACES; p++) {
		struct model_server said = model_server(u->config, p);
		struct buf url = {0};

		model_server_url(&said, "/chat/completions", &url);
		model_server_socket(&said, u->servers[p].socket);
		u->servers[p].url = buf_take(&url);
		if (u->servers[p].url == NULL ||
		    !make_headers(&u->servers[p], &said))
			return false;
	}
	return true;
}

static void
free_servers(struct upstream *u)
{
	for (enum model_place p = 0; p < MODEL_PLACES; p++) {
		curl_slist_free_all(u->servers[p].headers);
		free(u->servers[p].url);
	}
}

struct upstream *
upstream_new(uv_loop_t *loop, const struct config *config)
{
	struct upstream *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->loop = loop;
	u->config = config;
	if (!make_servers(u) || !open_lane(u)) {
		free_servers(u);
		free(u);
		return NULL;
	}
	return u;
}

static void
timer_closed(uv_handle_t *handle)
{
	const struct upstream_lane *l = handle->data;

	let_go(l->upstream);
}

void
upstream_free(struct upstream *u)
{
	if (u == NULL)
		return;
	free_servers(u);
	u->is_freed = true;
	for (int i = 0; i < u->n_lanes; i++) {
		curl_multi_cleanup(u->lanes[i].multi);
		uv_close((uv_handle_t *)&u->lanes[i].timer, timer_closed);
	}
}
