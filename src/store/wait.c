/*
 * Waiting for a socket with a deadline. Owns nothing; knows neither Postgres
 * nor Redis.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "base/clock.h"
#include "store/wait.h"

static int
milliseconds_until(uint64_t deadline_ms)
{
	uint64_t now = clock_mono_ms();

	if (now >= deadline_ms)
		return 0;
	return deadline_ms - now > INT_MAX ? INT_MAX : (int)(deadline_ms - now);
}

int
wait_ready(int fd, short events, uint64_t deadline_ms, short *out_ready)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n;

	do {
		int left = milliseconds_until(deadline_ms);

		if (left == 0)
			return ETIMEDOUT;
		n = poll(&p, 1, left);
	} while (n == 0 || (n < 0 && errno == EINTR));
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
