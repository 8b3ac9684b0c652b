/*
 * FastCGI records: every size around the limits must come apart again into the
 * same bytes, with padding to 8 and one END_REQUEST.
 */
#include <string.h>

#include <criterion/criterion.h>
#include <fastcgi.h>

#include "base/buf.h"
#include "server/fcgi_record.h"

struct parts {
	struct buf text;
	size_t n_stdout; /* records with content */
	size_t n_ends;   /* empty STDOUT records */
	size_t n_done;   /* END_REQUEST records */
	int bad_id;
};

/* Takes records apart as a FastCGI server does. */
static void
take_apart(const struct buf *b, int request_id, struct parts *p)
{
	size_t at = 0;

	*p = (struct parts){0};
	while (at < b->n) {
		FCGI_Header h;
		size_t n;

		cr_assert_leq(at + sizeof(h), b->n);
		memcpy(&h, b->p + at, sizeof(h));
		n = (size_t)h.contentLengthB1 << 8 | h.contentLengthB0;
		cr_assert_eq(h.version, FCGI_VERSION_1);
		cr_assert_eq((n + h.paddingLength) % 8, 0);
		p->bad_id |= (h.requestIdB1 << 8 | h.requestIdB0) != request_id;
		if (h.type == FCGI_END_REQUEST)
			p->n_done++;
		else if (n == 0)
			p->n_ends++;
		else
			p->n_stdout++;
		if (h.type == FCGI_STDOUT)
			buf_add(&p->text, b->p + at + sizeof(h), n);
		at += sizeof(h) + n + h.paddingLength;
	}
	cr_assert_eq(at, b->n);
}

Test(fcgi_record, every_size_comes_apart_into_the_same_bytes)
{
	static const struct {
		size_t n, records;
	} rows[] = {{0, 0}, {1, 1}, {7, 1}, {8, 1}, {9, 1}, {65527, 1},
	    {65528, 1}, {65529, 2}, {65535, 2}, {65536, 2}, {131056, 2},
	    {131057, 3}, {1000000, 16}};
	static char text[1000000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 31 + i / 256);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};
		struct parts p;

		fcgi_record_stdout(&b, 1, text, rows[i].n);
		fcgi_record_end(&b, 1);
		take_apart(&b, 1, &p);
		cr_expect_eq(p.text.n, rows[i].n);
		cr_expect(
		    rows[i].n == 0 || memcmp(p.text.p, text, rows[i].n) == 0);
		cr_expect_eq(
		    p.n_stdout, rows[i].records, "size %zu", rows[i].n);
		cr_expect_eq(p.n_ends, 1);
		cr_expect_eq(p.n_done, 1);
		buf_free(&p.text);
		buf_free(&b);
	}
}

Test(fcgi_record, the_request_id_is_in_every_record)
{
	struct buf b = {0};
	struct parts p;

	fcgi_record_stdout(&b, 0x1234, "hello", 5);
	fcgi_record_end(&b, 0x1234);
	take_apart(&b, 0x1234, &p);
	cr_expect_eq(p.bad_id, 0);
	buf_free(&p.text);
	buf_free(&b);
}

Test(fcgi_record, nothing_to_say_is_no_record_at_all)
{
	struct buf b = {0};

	fcgi_record_stdout(&b, 1, "", 0);
	cr_expect_eq(b.n, 0, "an empty STDOUT record would end the stream");
}
