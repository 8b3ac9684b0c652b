/*
 * A tiny HTTP server for a JWKS on a port of loopback that the kernel chose:
 * one thread, one connection at a time, and as ill-behaved as a test wants it.
 * Change what it does between requests only.
 *
 * Thread: the caller's; the server's own is inside.
 */
#ifndef TESTS_SUPPORT_JWKS_SERVER_H
#define TESTS_SUPPORT_JWKS_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

struct jwks_server {
	char url[64];
	_Atomic int hits;    /* requests so far */
	const char *body;    /* what it answers */
	const char *status;  /* "200 OK" when NULL */
	const char *headers; /* further "Name: value\r\n", or NULL */
	int delay_ms;        /* before the first byte */
	int drip_ms;         /* between any two bytes of the body */
	size_t padding;      /* spaces behind the body, without a length */
	int fd;
	pthread_t thread;
	_Atomic int is_ending;
};

/* Starts it with this body (borrowed). Aborts when it cannot. */
void jwks_server_start(struct jwks_server *s, const char *body);

/* Nobody listens at its address any more. */
void jwks_server_stop(struct jwks_server *s);

#endif
