/*
 * Transfers that are given up, and many at once. getaddrinfo here stands before
 * libc's for libcurl too: a resolver that does not answer.
 */
#include <netdb.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/config.h"
#include "server/upstream.h"

#define LOOKUP_S 3

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **out)
{
	struct timespec t = {.tv_sec = LOOKUP_S};

	(void)node;
	(void)service;
	(void)hints;
	(void)out;
	nanosleep(&t, NULL);
	return EAI_AGAIN;
}

static void
stop_loop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

Test(upstream, stopping_does_not_wait_for_the_resolver)
{
	struct config config = {.openai_api_key = (char[]){""},
	    .openai_base_url = (char[]){"http://model.test/v1"},
	    .connect_timeout_ms = 60000};
	struct transfer t = {0};
	struct upstream *u;
	uv_timer_t timer;
	uint64_t began;
	uv_loop_t loop;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	uv_loop_init(&loop);
	u = upstream_new(&loop, &config);
	cr_assert_not_null(u);
	cr_assert_eq(upstream_start(u, &t, "{}", 2), OK);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, stop_loop, 300, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	began = clock_mono_ms();
	upstream_stop(&t);
	cr_expect_lt(clock_mono_ms() - began, 1000, "%lu ms",
	    (unsigned long)(clock_mono_ms() - began));
	upstream_free(u);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}

/* More than a lane has (upstream.c), twice. */
#define MANY 1200

static struct transfer many[MANY];
static int ends[MANY], n_ends;

static void
note_end(void *arg, const struct transfer_end *end)
{
	struct transfer *t = arg;

	cr_expect_neq(end->code, CURLE_OK);
	ends[t - many]++;
	n_ends++;
}

static void
stop_once_ended(uv_timer_t *timer)
{
	if (n_ends >= *(int *)timer->data)
		uv_stop(timer->loop);
}

/* Runs the loop until so many have ended, or for a while where that is 0. */
static void
run_until(uv_loop_t *loop, int n)
{
	uv_timer_t timer;

	uv_timer_init(loop, &timer);
	timer.data = &n;
	uv_timer_start(&timer, stop_once_ended, 200, 20);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
}

/* A server that takes every connection and answers none of them. */
static int
listen_at(struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at->sun_family = AF_UNIX;
	snprintf(at->sun_path, sizeof(at->sun_path),
	    "/tmp/natter-upstream-%d.sock", (int)getpid());
	unlink(at->sun_path);
	cr_assert_eq(bind(fd, (const struct sockaddr *)at, sizeof(*at)), 0);
	cr_assert_eq(listen(fd, 2 * MANY), 0);
	return fd;
}

Test(upstream, each_of_many_ends_once_or_is_stopped, .timeout = 60)
{
	char url[160];
	struct config config = {.openai_api_key = (char[]){""},
	    .openai_base_url = url,
	    .connect_timeout_ms = 60000};
	struct sockaddr_un at = {0};
	struct rlimit files;
	struct upstream *u;
	uv_loop_t loop;
	int server = listen_at(&at);

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	snprintf(url, sizeof(url), "http://unix:%s:/v1", at.sun_path);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	uv_loop_init(&loop);
	u = upstream_new(&loop, &config);
	cr_assert_not_null(u);
	for (int i = 0; i < MANY; i++) {
		many[i] =
		    (struct transfer){.on_end = note_end, .arg = &many[i]};
		cr_assert_eq(upstream_start(u, &many[i], "{}", 2), OK);
	}
	run_until(&loop, 0);
	cr_expect_eq(n_ends, 0);
	for (int i = 0; i < MANY; i += 3)
		upstream_stop(&many[i]);
	close(server);
	run_until(&loop, MANY - MANY / 3);
	for (int i = 0; i < MANY; i++)
		cr_expect_eq(ends[i], i % 3 != 0, "%d", i);
	upstream_free(u);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	unlink(at.sun_path);
}
