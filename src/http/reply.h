/*
 * What a handler answers. A short reply is status, headers and a body with
 * Content-Length. A reply that goes on (a model's) carries a `turn` or a
 * `follow` instead: the front thread hands it to the relay. Errors become
 * problem documents (RFC 9457) here and nowhere else.
 *
 * Ownership: all memory is the request's arena, except `turn` and `follow`.
 * Thread: the request's.
 */
#ifndef HTTP_REPLY_H
#define HTTP_REPLY_H

#include <stddef.h>

#include "base/errors.h"

struct buf;
struct follow;
struct json_object;
struct request;
struct turn;

#define REPLY_HEADERS_MAX 24

/*
 * A body that is made while it is sent, of routes ON_BULK only: its length is
 * not known, so it must say itself where it ends.
 */
struct reply_source {
	/* Appends what comes next to the empty `out`; nothing: that was all. An
	 * error cuts the reply off. */
	enum err (*read)(
	    struct reply_source *source, struct request *req, struct buf *out);
	/* Called once, whatever happened. */
	void (*close)(struct reply_source *source);
};

struct reply {
	int status;
	const char *content_type; /* NULL: no body */
	const char *body;
	size_t body_len;
	struct {
		const char *name;
		const char *value;
	} headers[REPLY_HEADERS_MAX];
	size_t n_headers;
	const char *limits; /* more header lines, whole, of limit_headers.h;
			     * NULL: none */
	struct turn
	    *turn; /* set: the relay answers; owned by who holds reply */
	struct follow *follow; /* set: the relay answers, with the reply that
				* another began; owned likewise */
	struct reply_source *source; /* set: it gives the body */
};

/*
 * Answers `status` with the object, which is put (freed) here. ERR_INTERNAL
 * when its text does not fit the arena.
 */
enum err reply_json(struct request *req, struct reply *rep, int status,
    struct json_object *o) MUST_CHECK;

/* Answers `status` without a body. */
enum err reply_empty(struct reply *rep, int status);

/* Adds a header; the strings must live as long as the request. */
void reply_header(struct reply *rep, const char *name, const char *value);

/*
 * Turns `e` into a problem document: type, title, status, code, detail,
 * request_id, and `field` or `message_id` where they are known; a 429 names the
 * limits that are violated (limit_headers.h). Adds Retry-After to every 429 and
 * 503, no sooner than all of them allow; WWW-Authenticate to every 401 that is
 * about an access token. Headers that are there already stay (Allow, a cookie
 * to be dropped); a source is closed, and nothing of it sent. When the arena is
 * full the document has no request_id.
 */
void reply_error(struct request *req, struct reply *rep, enum err e);

/* What WWW-Authenticate says then; NULL: nothing. */
const char *reply_challenge(enum err e);

/* The same document as text, for an `error` event of a stream. */
void reply_problem(
    struct buf *out, enum err e, const char *detail, const char *request_id);

/*
 * Appends the CGI head of the reply (Status, Content-Type, Content-Length
 * unless it is 204, 304 or goes on, headers, limits, X-Request-Id;
 * Cache-Control: no-store and X-Content-Type-Options: nosniff unless set; blank
 * line). Control characters are left out of header values.
 */
void
reply_head(struct buf *out, const struct reply *rep, const char *request_id);

/* Appends what the handler added: headers and limits, as header lines. */
void reply_lines(struct buf *out, const struct reply *rep);

/* The reason phrase of a status: "OK", "Not Found". */
const char *reply_reason(int status);

#endif
