/*
 * Short requests at a modest rate beside a load: one after the other, each on
 * a connection of its own (as nginx's clients mostly come), and how long each
 * took from connect to the end of its answer. Prints "name value" lines.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define TAKES_MAX 100000
#define PERIOD_US 20000 /* 50 a second */

static uint64_t took_us[TAKES_MAX];
static size_t n_took;
static uint64_t failures;
static volatile sig_atomic_t has_ended;

static void
end(int signal_number)
{
	(void)signal_number;
	has_ended = 1;
}

static int
open_to(int port)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Was it answered with 2xx? */
static bool
ask(int port, const char *request)
{
	char bytes[16384];
	size_t have = 0;
	ssize_t n;
	int fd = open_to(port);

	if (fd < 0)
		return false;
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
		while (
		    (n = recv(fd, bytes + have, sizeof(bytes) - have, 0)) > 0)
			have += (size_t)n;
	close(fd);
	return have > 12 && strncmp(bytes, "HTTP/1.1 2", 10) == 0;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double
percentile_ms(size_t percent)
{
	return (double)took_us[(n_took - 1) * percent / 100] / 1000.0;
}

static void
sleep_until(uint64_t at_us)
{
	struct timespec at = {.tv_sec = (time_t)(at_us / 1000000),
	    .tv_nsec = (long)(at_us % 1000000) * 1000};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

int
main(int argc, char **argv)
{
	char request[4096], token[2304] = "";
	uint64_t due_us = clock_mono_us();
	int port;

	if (argc != 3 || (port = atoi(argv[1])) == 0 ||
	    scanf("%2303s", token) != 1) {
		fputs("usage: short_load PORT PATH <TOKEN\n", stderr);
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGTERM, end);
	snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	    "Authorization: Bearer %s\r\n\r\n",
	    argv[2], token);
	while (!has_ended && n_took < TAKES_MAX) {
		uint64_t began_us = clock_mono_us();

		if (!ask(port, request) && !has_ended)
			failures++;
		took_us[n_took++] = clock_mono_us() - began_us;
		due_us += PERIOD_US;
		if (due_us < clock_mono_us())
			due_us = clock_mono_us();
		sleep_until(due_us);
	}
	qsort(took_us, n_took, sizeof(*took_us), compare);
	printf("short %zu\nshort_failed %lu\nshort_p50_ms %.1f\n"
	       "short_p99_ms %.1f\nshort_most_ms %.1f\n",
	    n_took, failures, percentile_ms(50), percentile_ms(99),
	    percentile_ms(100));
	return 0;
}
