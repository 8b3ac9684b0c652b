/*
 * FastCGI records (specification 1.0, sections 3.3 and 5.5). Knows nothing of
 * sockets.
 */
#include <string.h>

#include <fastcgi.h>

#include "base/buf.h"
#include "server/fcgi_record.h"

/* The most content of one record that is a multiple of 8 (measured peers, and
 * the specification's advice, like 8-byte alignment). */
#define CONTENT_MAX 65528

static void
add_header(
    struct buf *out, int type, int request_id, size_t content, size_t padding)
{
	FCGI_Header h = {
	    .version = FCGI_VERSION_1,
	    .type = (unsigned char)type,
	    .requestIdB1 = (unsigned char)((request_id >> 8) & 0xff),
	    .requestIdB0 = (unsigned char)(request_id & 0xff),
	    .contentLengthB1 = (unsigned char)((content >> 8) & 0xff),
	    .contentLengthB0 = (unsigned char)(content & 0xff),
	    .paddingLength = (unsigned char)padding,
	};

	buf_add(out, &h, sizeof(h));
}

void
fcgi_record_stdout(struct buf *out, int request_id, const void *p, size_t n)
{
	static const char zeros[8];
	const char *at = p;

	while (n > 0) {
		size_t content = n < CONTENT_MAX ? n : CONTENT_MAX;
		size_t padding = (8 - content % 8) % 8;

		add_header(out, FCGI_STDOUT, request_id, content, padding);
		buf_add(out, at, content);
		buf_add(out, zeros, padding);
		at += content;
		n -= content;
	}
}

void
fcgi_record_end(struct buf *out, int request_id)
{
	FCGI_EndRequestBody body = {.protocolStatus = FCGI_REQUEST_COMPLETE};

	add_header(out, FCGI_STDOUT, request_id, 0, 0);
	add_header(out, FCGI_END_REQUEST, request_id, sizeof(body), 0);
	buf_add(out, &body, sizeof(body));
}
