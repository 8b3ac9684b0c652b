/*
 * The parts of a multipart/form-data body (RFC 7578), as browsers' forms send
 * it: a walk over the bytes, nothing copied but names.
 *
 * Thread: any; pure. Fuzzed.
 */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#define MULTIPART_BOUNDARY_MAX 70  /* RFC 2046 */
#define MULTIPART_NAME_MAX     256 /* bytes; a longer name is cut */

struct multipart {
	const char *at, *end;
	char boundary[MULTIPART_BOUNDARY_MAX + 3]; /* with its "--" */
	bool has_failed; /* the body is not what it says, or was cut */
};

struct multipart_part {
	char name[MULTIPART_NAME_MAX];
	char filename[MULTIPART_NAME_MAX * 4]; /* "" without one */
	char type[MULTIPART_NAME_MAX];         /* "" without one */
	const char *p;
	size_t n;
};

/* Begins; false: the Content-Type is no multipart/form-data with a boundary. */
bool multipart_init(
    struct multipart *m, const char *content_type, const char *p, size_t n);

/* The next part; false at the end, or has_failed. */
bool multipart_next(struct multipart *m, struct multipart_part *out_part);

#endif
