/*
 * What is left of a caller's limits, for clients that pace themselves: as
 * headers, and as members of the problem of a 429.
 *
 * RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10;
 * structured fields, RFC 9651) tell every line. OpenAI's x-ratelimit-* have
 * room for one limit of requests and one of tokens: the tightest of each.
 *
 * Thread: any; pure.
 */
#ifndef HTTP_LIMIT_HEADERS_H
#define HTTP_LIMIT_HEADERS_H

#include <stdint.h>

struct buf;
struct json_object;
struct limit_line;
struct limit_lines;
struct request;

/* Appends whole header lines; nothing where there is no limit. */
void limit_headers_write(struct buf *out, const struct limit_lines *limits);

/* The same for what the request was charged to, in its arena; NULL: nothing,
 * or no room. */
const char *limit_headers(struct request *req);

/* The longest that a violated line asks to wait, in seconds; 0: none is. */
int64_t limit_wait_s(const struct limit_lines *limits);

/* What a line counts: "requests", "tokens", "streams", "money". */
const char *limit_unit_name(const struct limit_line *line);

/*
 * Makes `problem` the draft's "quota exceeded", with the names of the lines
 * that are violated and their numbers. Left as it is where none is.
 */
void limit_tell_problem(
    struct json_object *problem, const struct limit_lines *limits);

#endif
