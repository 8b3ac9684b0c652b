/*
 * Writing server-sent events.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/sse_write.h"

Test(sse_write, writes_an_event)
{
	static const struct {
		const char *id, *event, *data, *want;
	} rows[] = {
	    {"7-12", "delta", "{\"a\":1}",
		"id: 7-12\nevent: delta\ndata: {\"a\":1}\n\n"},
	    {NULL, "start", "{}", "event: start\ndata: {}\n\n"},
	    {"18446744073709551615", "x", "1",
		"id: 18446744073709551615\nevent: x\ndata: 1\n\n"},
	    {"1", "done", "", "id: 1\nevent: done\ndata: \n\n"},
	    /* a line break stays inside the event */
	    {NULL, "d", "a\nb", "event: d\ndata: a\ndata: b\n\n"},
	    {NULL, "d", "a\rb", "event: d\ndata: a\ndata: b\n\n"},
	    {NULL, "d", "a\r\nb", "event: d\ndata: a\ndata: b\n\n"},
	    {NULL, "d", "a\n\nevent: x",
		"event: d\ndata: a\ndata: \n"
		"data: event: x\n\n"},
	    {NULL, "d", "a\n", "event: d\ndata: a\ndata: \n\n"},
	    {NULL, "d", "\r\n", "event: d\ndata: \ndata: \n\n"},
	    {NULL, "d", "\r", "event: d\ndata: \ndata: \n\n"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b = {0};
		sse_write_event(&b, rows[i].id, rows[i].event, rows[i].data,
		    strlen(rows[i].data));
		char *got = buf_take(&b);
		cr_expect_str_eq(got, rows[i].want, "row %zu", i);
		free(got);
	}
}

Test(sse_write, data_may_be_absent)
{
	struct buf b = {0};
	sse_write_event(&b, NULL, "e", NULL, 0);
	char *got = buf_take(&b);
	cr_expect_str_eq(got, "event: e\ndata: \n\n");
	free(got);
}

Test(sse_write, writes_a_comment_of_one_line)
{
	static const struct {
		const char *text, *want;
	} rows[] = {{"", ": \n\n"}, {"ping", ": ping\n\n"},
	    {"a\nevent: x", ": a\n\n"}, {"a\r\n\r\nb", ": a\n\n"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b = {0};
		sse_write_comment(&b, rows[i].text);
		char *got = buf_take(&b);
		cr_expect_str_eq(got, rows[i].want);
		free(got);
	}
}

Test(sse_write, events_follow_each_other)
{
	struct buf b = {0};
	sse_write_event(&b, "1", "a", "1", 1);
	sse_write_comment(&b, "c");
	sse_write_event(&b, "2", "b", "22", 1);
	char *got = buf_take(&b);
	cr_expect_str_eq(got, "id: 1\nevent: a\ndata: 1\n\n"
			      ": c\n\n"
			      "id: 2\nevent: b\ndata: 2\n\n");
	free(got);
}
