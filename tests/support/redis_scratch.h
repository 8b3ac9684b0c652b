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

/* The answer's number; fails the test when it is not one. */
long long number_of(struct redis *r, int argc, const char **argv);

#endif
