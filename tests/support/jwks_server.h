/*
 * A tiny HTTP server for a JWKS, or for a site's tool, on a port of loopback
 * that the kernel chose: one thread, one connection at a time, and as
 * ill-behaved as a test wants it. Change what it does, and read `last`, between
 * requests only.
 *
 * Thread: the caller's; the server's own is inside.
 */
#ifndef TESTS_SUPPORT_JWKS_SERVER_H
#define TESTS_SUPPORT_JWKS_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct jwks_server {
	char url[64];
	_Atomic int hits;    /* requests so far */
	char last[16384];    /* the last one: head and body, as they came */
	const char *body;    /* what it answers */
	const char *status;  /* "200 OK" when NULL */
	const char *headers; /* further "Name: value\r\n", or NULL */
	_Atomic int
	    delay_ms;     /* before the first byte; may change while it waits */
	int drip_ms;      /* between any two bytes of the body */
	size_t padding;   /* spaces behind the body, without a length */
	bool hangs_up;    /* instead of answering */
	bool keeps_alive; /* answers with a length, and goes on */
	_Atomic int accepts; /* connections so far */
	int fd;
	pthread_t thread;
	_Atomic int is_ending;
};

/* Starts it with this body (borrowed). Aborts when it cannot. */
void jwks_server_start(struct jwks_server *s, const char *body);

/* Nobody listens at its address any more. */
void jwks_server_stop(struct jwks_server *s);

#endif
