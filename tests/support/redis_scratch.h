/*
 * Short expectations about one Redis command. WORDS("GET", "k") stands for
 * the two arguments argc and argv.
 */
#ifndef TESTS_SUPPORT_REDIS_SCRATCH_H
#define TESTS_SUPPORT_REDIS_SCRATCH_H

#include "store/redis.h"

#define WORDS(...)                                                     \
	(int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
	    (const char *[])                                           \
	{                                                              \
		__VA_ARGS__                                            \
	}

/* The answer is the status `want`. */
void
expect_status(struct redis *r, const char *want, int argc, const char **argv);

/* The answer is the text `want`; NULL is nil. */
void
expect_text(struct redis *r, const char *want, int argc, const char **argv);

/* The answer is the number `want`. */
void
expect_number(struct redis *r, long long want, int argc, const char **argv);

/* The command fails with `want` and gives no reply. */
void expect_error(struct redis *r, enum err want, int argc, const char **argv);

/*
 * Returns when Redis, which may have been stopped, has read what was sent
 * before: a round of its loop reads all that has come, also on connections
 * that were given up since, and accepts new ones; the next reads those.
 */
void redis_catches_up(struct redis *r);

/* The answer's number; fails the test when it is not one. */
long long number_of(struct redis *r, int argc, const char **argv);

#endif
