/*
 * Giving a transfer up. getaddrinfo here stands before libc's for libcurl too:
 * a resolver that does not answer.
 */
#include <netdb.h>
#include <time.h>

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
	upstream_stop(u, &t);
	cr_expect_lt(clock_mono_ms() - began, 1000, "%lu ms",
	    (unsigned long)(clock_mono_ms() - began));
	upstream_free(u);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}
