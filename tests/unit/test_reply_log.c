#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "server/reply_log.h"

#define ID "01a20308-6001-735b-a3d5-28da67c211b8"

Test(reply_log, positions_are_read_as_printed_and_not_otherwise)
{
	static const struct {
		const char *text;
		bool is_good;
		struct reply_position at;
	} rows[] = {
	    {"1-0", true, {1, 0}},
	    {"17-2304", true, {17, 2304}},
	    {"18446744073709551615-18446744073709551615", true,
		{UINT64_MAX, UINT64_MAX}},
	    {"", false, {0, 0}},
	    {"-", false, {0, 0}},
	    {"1", false, {0, 0}},
	    {"1-", false, {0, 0}},
	    {"-1", false, {0, 0}},
	    {"1-2 ", false, {0, 0}},
	    {" 1-2", false, {0, 0}},
	    {"01-2", false, {0, 0}},
	    {"1-02", false, {0, 0}},
	    {"+1-2", false, {0, 0}},
	    {"1-2-3", false, {0, 0}},
	    {"1-0x2", false, {0, 0}},
	    {"18446744073709551616-1", false, {0, 0}},
	    {"99999999999999999999999-1", false, {0, 0}},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct reply_position at = {0, 0};
		char text[REPLY_POSITION_TEXT];

		cr_expect_eq(reply_position_parse(
				 rows[i].text, strlen(rows[i].text), &at),
		    rows[i].is_good, "row %zu", i);
		cr_expect_eq(at.n, rows[i].at.n, "row %zu", i);
		cr_expect_eq(at.bytes, rows[i].at.bytes, "row %zu", i);
		if (!rows[i].is_good)
			continue;
		reply_position_print(at, text);
		cr_expect_str_eq(text, rows[i].text);
	}
}

/* One value in Redis's protocol. */
static redisReply *
parse(const char *text)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	redisReaderFeed(reader, text, strlen(text));
	redisReaderGetReply(reader, &reply);
	redisReaderFree(reader);
	cr_assert_not_null(reply);
	return reply;
}

Test(reply_log, entries_are_read_back)
{
	static const struct {
		const char *text;
		bool is_good;
		const char *name, *data;
	} rows[] = {
	    {"*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\ne\r\n$5\r\nstart\r\n$1\r\nd\r\n"
	     "$2\r\n{}\r\n",
		true, "start", "{}"},
	    {"*2\r\n$3\r\n2-5\r\n*2\r\n$1\r\nt\r\n$5\r\nhello\r\n", true,
		"delta", "hello"},
	    {"*2\r\n$3\r\n2-5\r\n*4\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nt\r\n"
	     "$5\r\nhello\r\n",
		true, "delta", "hello"},
	    /* more text than there can be */
	    {"*2\r\n$3\r\n2-4\r\n*2\r\n$1\r\nt\r\n$5\r\nhello\r\n", false, NULL,
		NULL},
	    {"*2\r\n$3\r\n2-4\r\n*2\r\n$1\r\ne\r\n$4\r\ndone\r\n", false, NULL,
		NULL},
	    {"*2\r\n$1\r\n2\r\n*2\r\n$1\r\nt\r\n$1\r\na\r\n", false, NULL,
		NULL},
	    {"*2\r\n$3\r\n2-4\r\n*0\r\n", false, NULL, NULL},
	    {"*2\r\n$3\r\n2-4\r\n*-1\r\n", false, NULL, NULL},
	    {"*1\r\n$3\r\n2-4\r\n", false, NULL, NULL},
	    {":1\r\n", false, NULL, NULL},
	    {"-ERR\r\n", false, NULL, NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		redisReply *reply = parse(rows[i].text);
		struct reply_event e;

		cr_expect_eq(
		    reply_event_read(reply, &e), rows[i].is_good, "row %zu", i);
		if (rows[i].is_good) {
			cr_expect_eq(e.name_len, strlen(rows[i].name));
			cr_expect_arr_eq(e.name, rows[i].name, e.name_len);
			cr_expect_eq(e.n, strlen(rows[i].data));
			cr_expect_arr_eq(e.data, rows[i].data, e.n);
		}
		freeReplyObject(reply);
	}
}

static struct reply_event
delta(uint64_t n, uint64_t bytes, const char *text)
{
	return (struct reply_event){.at = {n, bytes},
	    .name = "delta",
	    .name_len = 5,
	    .data = text,
	    .n = strlen(text)};
}

static struct reply_event
event(uint64_t n, uint64_t bytes, const char *name, const char *data)
{
	return (struct reply_event){.at = {n, bytes},
	    .name = name,
	    .name_len = strlen(name),
	    .data = data,
	    .n = strlen(data)};
}

Test(reply_log, a_reader_gets_what_it_lacks)
{
	static const struct {
		uint64_t has;
		enum reply_cut want;
		const char *left;
	} rows[] = {{9, REPLY_GAP, "hello"}, {10, REPLY_NEW, "hello"},
	    {12, REPLY_NEW, "llo"}, {14, REPLY_NEW, "o"},
	    {15, REPLY_SEEN, "hello"}, {99, REPLY_SEEN, "hello"}};
	struct reply_event done = event(3, 15, "done", "{}");

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct reply_event e = delta(2, 15, "hello");

		cr_expect_eq(reply_event_cut(&e, rows[i].has), rows[i].want);
		cr_expect_eq(e.n, strlen(rows[i].left), "row %zu", i);
		cr_expect_arr_eq(e.data, rows[i].left, e.n);
	}
	cr_expect_eq(reply_event_cut(&done, 15), REPLY_NEW);
	cr_expect(reply_event_is_terminal(&done));
	cr_expect(!reply_event_is_delta(&done));
}

Test(reply_log, events_are_said_with_their_position)
{
	struct reply_event d = delta(2, 9, "a\"b\n\xc3\xa9\\"),
			   done = event(3, 9, "done", "{\"id\":1}");
	struct buf out = {0};

	reply_event_say(&d, &out);
	reply_event_say(&done, &out);
	cr_expect_str_eq(buf_text(&out),
	    "id: 2-9\nevent: delta\n"
	    "data: {\"text\":\"a\\\"b\\n\xc3\xa9\\\\\"}\n\n"
	    "id: 3-9\nevent: done\ndata: {\"id\":1}\n\n");
	buf_free(&out);
}

/* The words joined by blanks. */
static char *
join(const struct reply_command *c)
{
	struct buf out = {0};

	for (int i = 0; i < c->n; i++) {
		buf_add(&out, c->words[i], c->lens[i]);
		buf_putc(&out, i + 1 < c->n ? ' ' : '\0');
	}
	return buf_take(&out);
}

static void
expect_words(const struct reply_command *c, const char *want)
{
	char *got = join(c);

	cr_expect_str_eq(got, want);
	free(got);
}

Test(reply_log, commands_are_as_documented)
{
	struct reply_event start = event(1, 0, "start", "{}"),
			   text = delta(2, 5, "hello"),
			   end = event(3, 5, "error", "{\"a\":1}");
	struct reply_command c;

	reply_log_begin(&c, ID, &start);
	expect_words(&c, "XADD reply:" ID " 1-0 e start d {}");
	reply_log_append(&c, ID, &text);
	expect_words(&c, "XADD reply:" ID " NOMKSTREAM 2-5 t hello");
	reply_log_append(&c, ID, &end);
	expect_words(
	    &c, "XADD reply:" ID " NOMKSTREAM 3-5 e error d {\"a\":1}");
	reply_log_expire(&c, ID, 600);
	expect_words(&c, "EXPIRE reply:" ID " 600");
	reply_log_hint(&c, ID, 17);
	expect_words(&c, "PUBLISH reply:" ID " 17");
	reply_log_delete(&c, ID);
	expect_words(&c, "DEL reply:" ID);
}
