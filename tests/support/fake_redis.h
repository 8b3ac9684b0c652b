/*
 * A TCP server that answers each connection's first bytes with given bytes
 * and closes it: for what a real Redis never says.
 */
#ifndef TESTS_SUPPORT_FAKE_REDIS_H
#define TESTS_SUPPORT_FAKE_REDIS_H

#include <pthread.h>
#include <stddef.h>

struct fake_redis {
	char url[64];
	int fd;
	const char *bytes; /* borrowed */
	int every_ms;      /* between single bytes; 0 = all at once */
	pthread_t thread;
};

/* Listens on a loopback port that the system chooses; aborts on failure. */
void fake_redis_start(struct fake_redis *f, const char *bytes, int every_ms);

/* Stops listening and waits for the thread. */
void fake_redis_stop(struct fake_redis *f);

#endif
