/*
 * Waiting for a socket with a deadline. Owns nothing; knows neither Postgres
 * nor Redis.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "base/clock.h"
#include "store/wait.h"

/* How late a look may still be, in ms: a peer that floods us is left then. */
#define LATE_MS 5000

static int
milliseconds_between(uint64_t now, uint64_t then)
{
	if (now >= then)
		return 0;
	return then - now > INT_MAX ? INT_MAX : (int)(then - now);
}

int
wait_ready(int fd, short events, uint64_t deadline_ms, short *out_ready)
{
	struct pollfd p = {.fd = fd, .events = events};
	int left, n;

	do {
		uint64_t now = clock_mono_ms();

		if (now > deadline_ms + LATE_MS)
			return ETIMEDOUT;
		left = milliseconds_between(now, deadline_ms);
		n = poll(&p, 1, left);
	} while ((n == 0 && left > 0) || (n < 0 && errno == EINTR));
	if (n == 0)
		return ETIMEDOUT;
	if (n < 0)
		return errno;
	*out_ready = p.revents;
	return 0;
}

bool
wait_has_input(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}
