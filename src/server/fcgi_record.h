/*
 * FastCGI records for a reply that left libfcgi: STDOUT and END_REQUEST, laid
 * out with the structs of <fastcgi.h>. Content is cut at 65,528 bytes, so that
 * every record but the last needs no padding; the last is padded to 8.
 *
 * Thread: any; pure.
 */
#ifndef SERVER_FCGI_RECORD_H
#define SERVER_FCGI_RECORD_H

#include <stddef.h>

struct buf;

/* Appends `n` bytes of the application's output; nothing for n == 0, because
 * an empty STDOUT record would end the stream. */
void
fcgi_record_stdout(struct buf *out, int request_id, const void *p, size_t n);

/* Appends the end of STDOUT and END_REQUEST with status 0. */
void fcgi_record_end(struct buf *out, int request_id);

#endif
