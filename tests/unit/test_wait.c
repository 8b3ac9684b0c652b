/*
 * Waiting for a socket: what is there counts, whenever it is looked at.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/wait.h"

static int ends[2];

static void
set_up(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

TestSuite(wait, .init = set_up);

Test(wait, ends_at_the_deadline_and_no_sooner)
{
	uint64_t deadline_ms = clock_mono_ms() + 30;
	short ready = 0;

	cr_expect_eq(
	    wait_ready(ends[0], POLLIN, deadline_ms, &ready), ETIMEDOUT);
	cr_expect_geq(clock_mono_ms(), deadline_ms);
}

/* The thread did not run when it came. */
Test(wait, what_came_in_time_is_found_after_the_deadline)
{
	uint64_t now = clock_mono_ms();
	short ready = 0;

	cr_expect_eq(wait_ready(ends[0], POLLIN, now - 100, &ready), ETIMEDOUT);
	cr_assert_eq(write(ends[1], "x", 1), 1);
	cr_expect_eq(wait_ready(ends[0], POLLIN, now - 100, &ready), 0);
	cr_expect_eq(ready, POLLIN);
}

Test(wait, a_peer_that_never_falls_silent_is_left)
{
	short ready = 0;

	cr_assert_eq(write(ends[1], "x", 1), 1);
	cr_expect_eq(
	    wait_ready(ends[0], POLLIN, clock_mono_ms() - 6000, &ready),
	    ETIMEDOUT);
}

Test(wait, a_hang_up_is_told)
{
	short ready = 0;

	close(ends[1]);
	cr_expect_eq(
	    wait_ready(ends[0], POLLIN, clock_mono_ms() + 10000, &ready), 0);
	cr_expect_neq(ready & POLLHUP, 0);
}

Test(wait, a_bad_descriptor_is_told_as_ready)
{
	short ready = 0;
	int fd = dup(ends[0]);

	close(fd);
	cr_expect_eq(wait_ready(fd, POLLIN, clock_mono_ms(), &ready), 0);
	cr_expect_eq(ready, POLLNVAL);
}
