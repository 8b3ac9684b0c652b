/*
 * The connection to nginx on a loop of its own. sched_yield here stands before
 * libc's and is counted.
 */
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "server/client.h"

#define ROOM 65536

static uv_loop_t loop;
static struct client client;
static int nginx;  /* the other end */
static int yields; /* times that the core was left to others */
static int closes, drains;

int
sched_yield(void)
{
	yields++;
	return 0;
}

static void
count_close(struct client *c)
{
	(void)c;
	closes++;
}

static void
count_drain(struct client *c)
{
	(void)c;
	drains++;
}

static void
setup(void)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	uv_loop_init(&loop);
	nginx = ends[1];
	client = (struct client){
	    .on_closed = count_close, .on_drained = count_drain};
	cr_assert_eq(client_open(&client, &loop, ends[0], 1, ROOM), 0);
}

static void
turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void
teardown(void)
{
	client_cut(&client);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(closes, 1);
	cr_expect_eq(uv_loop_close(&loop), 0);
	close(nginx);
}

TestSuite(client, .init = setup, .fini = teardown);

/* Reads what is there; -1: the end, and 0 also when there is nothing yet. */
static ssize_t
take(void)
{
	char bytes[ROOM];
	ssize_t n = recv(nginx, bytes, sizeof(bytes), MSG_DONTWAIT);

	return n == 0 ? -1 : n < 0 ? 0 : n;
}

static void
fill(void)
{
	char bytes[4096] = {0};

	while (client_is_open(&client) && client_waiting(&client) == 0)
		client_write(&client, bytes, sizeof(bytes));
}

Test(client, what_is_written_is_sent_at_once)
{
	client_write(&client, "data", 4);
	cr_expect_eq(take(), 8 + 4 + 4, "a record: its head and padding");
	cr_expect_eq(client_waiting(&client), 0);
}

Test(client, nginx_has_the_core_between_the_events_of_a_burst)
{
	for (int i = 0; i < 31; i++)
		client_write(&client, "data", 4);
	cr_expect_eq(yields, 0, "not for each of them");
	for (int i = 31; i < 128; i++)
		client_write(&client, "data", 4);
	cr_expect_eq(yields, 4);
}

Test(client, what_waits_is_sent_when_there_is_room_and_told)
{
	ssize_t n, read = 0;

	fill();
	cr_expect_gt(client_waiting(&client), 0);
	turn();
	cr_expect_eq(drains, 0);
	for (int i = 0; i < 1000 && client_waiting(&client) > 0; i++) {
		while ((n = take()) > 0)
			read += n;
		turn();
	}
	cr_expect_eq(client_waiting(&client), 0);
	cr_expect_eq(drains, 1);
	cr_expect_gt(read, 0);
	cr_expect(client_is_open(&client));
}

Test(client, a_reader_that_lets_too_much_wait_is_cut)
{
	static char bytes[ROOM + 1];

	fill();
	client_write(&client, bytes, sizeof(bytes));
	cr_expect(client_is_open(&client), "one write beyond what may wait");
	client_write(&client, "x", 1);
	cr_expect_not(client_is_open(&client));
	cr_expect(client.was_cut);
	cr_expect_not(client.has_vanished);
}

Test(client, one_that_ends_closes_when_all_is_out)
{
	fill();
	client_end(&client, "end", 3);
	client_write(&client, "more", 4);
	cr_expect_neq(client.fd, -1, "something waits");
	for (int i = 0; i < 1000 && client.fd != -1; i++) {
		while (take() > 0)
			;
		turn();
	}
	while (take() > 0)
		;
	cr_expect_eq(take(), -1);
	cr_expect_eq(client.fd, -1);
	cr_expect_not(client.was_cut);
}

Test(client, one_that_went_away_is_noticed)
{
	shutdown(nginx, SHUT_RDWR);
	turn();
	cr_expect_not(client_is_open(&client));
	cr_expect(client.has_vanished);
	client_write(&client, "data", 4);
}
