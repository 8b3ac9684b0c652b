/*
 * Holds against each other what a client saw of a reply, what its log in Redis
 * says, and what Postgres has stored of it: byte for byte. The log is read from
 * REDIS_URL, the message as db_value reads.
 */
#ifndef TESTS_SUPPORT_REPLY_CHECK_H
#define TESTS_SUPPORT_REPLY_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_client.h"

/* A reply as one of the three shows it. */
struct reply_seen {
	char *text; /* NUL-terminated */
	size_t n;
	size_t events;       /* with a position */
	uint64_t last_n;     /* of the last position */
	char end[16];        /* "done", "error", "" */
	char *data;          /* of that; NULL: none */
	char *tools;         /* events about tools, "name data" lines */
	char message[40];    /* the start event's message_id */
	bool is_well_formed; /* start first, the end last, positions rise and
			      * say how much text there is */
};

/* What the client saw. Not well formed: why is on stderr. */
void reply_seen_by_client(const struct answer *a, struct reply_seen *out);

/* What the log says; `events` is 0 when there is none. */
void reply_seen_in_log(const char *message_id, struct reply_seen *out);

void reply_seen_free(struct reply_seen *s);

/* Both are well formed and have the same text, position and end. */
void expect_same_reply(
    const struct reply_seen *client, const struct reply_seen *log);

/* The stored text begins with what was seen; after an end it is all of it. */
void expect_stored_reply(const struct reply_seen *s);

/* All of it, of a reply that has ended: the client, its log, the message. */
void expect_reply_agrees(const struct answer *a);

/* How long the log stays, in seconds; -2: there is none. */
long long reply_log_ttl(const char *message_id);

#endif
