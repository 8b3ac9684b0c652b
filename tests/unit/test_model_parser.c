/*
 * Whole answers of models, as servers send them and as they should not. Every
 * one is fed whole, byte by byte and cut in two at every place, always with
 * the same result.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "model/model.h"

#define MAX_BYTES 400

/* A chunk's event; the delta's members, and what else the choice says. */
#define CHUNK(delta, more)                                                     \
	"data: {\"id\":\"c-1\",\"object\":\"chat.completion.chunk\","          \
	"\"created\":1731000000,\"model\":\"gpt-x\",\"choices\":[{\"index\":0" \
	",\"delta\":{" delta "}" more "}],\"usage\":null}\n\n"
#define SAY(text) CHUNK("\"content\":\"" text "\"", ",\"finish_reason\":null")
#define FINISH(r) CHUNK("", ",\"finish_reason\":\"" r "\"")
#define ROLE                                                              \
	CHUNK("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", \
	    ",\"logprobs\":null,\"finish_reason\":null")
#define DONE "data: [DONE]\n\n"

#define IN(text)  (text), sizeof(text) - 1
#define FFFD      "\xef\xbf\xbd"
#define STOP      MODEL_FINISH_STOP
#define NONE      MODEL_FINISH_NONE
#define FAILED    ERR_MODEL_FAILED
#define CUT       ERR_MODEL_CUT
#define TWENTY    "12345678901234567890"
#define A_HUNDRED TWENTY TWENTY TWENTY TWENTY TWENTY

static const struct answer {
	const char *what;
	const char *in;
	size_t n;
	const char *text;
	enum err end;
	enum model_finish finish;
	unsigned long bad_lines;
} answers[] = {
    {"a whole stream", IN(ROLE SAY("Hel") SAY("lo") FINISH("stop") DONE),
	"Hello", OK, STOP, 0},
    {"no [DONE] after the finish", IN(ROLE SAY("Hello") FINISH("stop")),
	"Hello", OK, STOP, 0},
    {"no finish before [DONE]", IN(SAY("Hello") DONE), "Hello", OK, NONE, 0},
    {"text in the finishing chunk",
	IN(CHUNK("\"content\":\"hi\"", ",\"finish_reason\":\"length\"") DONE),
	"hi", OK, MODEL_FINISH_LENGTH, 0},
    {"an answer that is empty and says so", IN(ROLE FINISH("stop") DONE), "",
	OK, STOP, 0},
    {"tool calls",
	IN(CHUNK("\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":"
		 "{\"name\":\"f\",\"arguments\":\"{}\"}}],\"content\":null",
	    "") FINISH("tool_calls") DONE),
	"", OK, MODEL_FINISH_TOOL_CALLS, 0},
    {"the old word for tool calls", IN(FINISH("function_call")), "", OK,
	MODEL_FINISH_TOOL_CALLS, 0},
    {"a content filter", IN(SAY("a") FINISH("content_filter")), "a", OK,
	MODEL_FINISH_CONTENT_FILTER, 0},
    {"an unknown reason is an end", IN(SAY("a") FINISH("eos")), "a", OK, STOP,
	0},
    {"an empty reason is none", IN(SAY("a") FINISH("") DONE), "a", OK, NONE, 0},
    {"members that are not ours",
	IN(CHUNK("\"reasoning_content\":\"hm\",\"content\":\"a\",\"x\":[{}]",
	    ",\"obfuscation\":\"zz\",\"logprobs\":{\"content\":[\"b\"]}")
		FINISH("stop")),
	"a", OK, STOP, 0},
    {"other choices are not ours",
	IN("data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"B\"},"
	   "\"finish_reason\":\"stop\"},{\"index\":0,\"delta\":"
	   "{\"content\":\"A\"}}]}\n\n" DONE),
	"A", OK, NONE, 0},
    {"choices without an index",
	IN("data: {\"choices\":[{\"delta\":{\"content\":\"A\"}},"
	   "{\"delta\":{\"content\":\"B\"}}]}\n\n" DONE),
	"A", OK, NONE, 0},
    {"an index that is no number counts as none",
	IN("data: {\"choices\":[{\"index\":null,\"delta\":"
	   "{\"content\":\"A\"}}]}\n\n" DONE),
	"A", OK, NONE, 0},
    {"comments between", IN(": PROCESSING\n\n" SAY("a") ":\n\n" DONE), "a", OK,
	NONE, 0},
    {"blank lines before", IN("\r\n\n  \n" SAY("a") DONE), "a", OK, NONE, 0},
    {"an empty event keeps the connection alive",
	IN("data:\n\ndata: \n\n" SAY("a") DONE), "a", OK, NONE, 0},
    {"CRLF",
	IN("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n"
	   "data: [DONE]\r\n\r\n"),
	"a", OK, NONE, 0},
    {"JSON over several data lines",
	IN("data: {\"choices\":\ndata: [{\"delta\":\ndata: "
	   "{\"content\":\"a\"}}]\ndata: }\n\ndata: [DONE] \n\n"),
	"a", OK, NONE, 0},
    {"no blank line after [DONE]", IN(SAY("a") "data: [DONE]"), "a", OK, NONE,
	0},
    {"nothing counts after [DONE]", IN(SAY("a") DONE SAY("b") "data: ?\n\n"),
	"a", OK, NONE, 0},
    {"content in parts",
	IN(CHUNK("\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
		 "\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":"
		 "\"no\"}]},7,{\"type\":\"refusal\",\"text\":\"no\"},{\"text\":"
		 "\"b\",\"type\":\"text\"}]",
	    "") DONE),
	"ab", OK, NONE, 0},

    {"cut before the finish", IN(ROLE SAY("Hel")), "Hel", CUT, NONE, 0},
    {"cut before any text", IN(ROLE), "", CUT, NONE, 0},
    {"cut in the middle of a line",
	IN(ROLE SAY("Hel") "data: {\"choices\":[{\"delta\":{\"conte"), "Hel",
	CUT, NONE, 0},
    {"cut in the middle of the first line", IN("data: {\"choices\":[{\"del"),
	"", FAILED, NONE, 0},
    {"nothing at all", IN(""), "", FAILED, NONE, 0},
    {"only white space", IN(" \n\n "), "", FAILED, NONE, 0},
    {"only comments", IN(": a\n\n: b\n\n"), "", FAILED, NONE, 0},
    {"only [DONE]", IN(DONE), "", FAILED, NONE, 0},
    {"only a role and [DONE]", IN(ROLE DONE), "", FAILED, NONE, 0},
    {"a web page", IN("<html>\n<body>data: a</body>\n</html>\n"), "", FAILED,
	NONE, 0},
    {"garbage in data lines", IN("data: hello\n\ndata: 7\n\ndata: []\n\n"), "",
	FAILED, NONE, 3},
    {"JSON of another kind", IN("data: {\"type\":\"ping\"}\n\n"), "", FAILED,
	NONE, 1},
    {"garbage and then an end without text",
	IN("data: {\"choices\":[{\"delta\":{\"content\":\"a}}]}\n\n" FINISH(
	    "stop") DONE),
	"", FAILED, STOP, 1},
    {"garbage between texts", IN(SAY("a") "data: {oops\n\n" SAY("b") DONE),
	"ab", OK, NONE, 1},
    {"a chunk cut off in its line gives no half text",
	IN(SAY("a") "data: "
		    "{\"choices\":[{\"delta\":{\"content\":\"bc\"}}]\n\n" DONE),
	"a", OK, NONE, 1},
    {"a line that is too long",
	IN(SAY("a") "data: " A_HUNDRED A_HUNDRED A_HUNDRED A_HUNDRED
		    "\n\n" SAY("b") DONE),
	"ab", OK, NONE, 1},
    {"lines that are too long and nothing else",
	IN("data: " A_HUNDRED A_HUNDRED A_HUNDRED A_HUNDRED "\n\n"), "", FAILED,
	NONE, 1},

    {"an error in the stream",
	IN(SAY("a") "data: {\"error\":{\"message\":\"overloaded\","
		    "\"type\":\"server_error\"}}\n\n" SAY("b") DONE),
	"a", FAILED, NONE, 0},
    {"an error that is a string",
	IN(SAY("a") "data: {\"error\":\"overloaded\"}\n\n"), "a", FAILED, NONE,
	0},
    {"an error event",
	IN(SAY("a") "event: error\ndata: {\"detail\":"
		    "\"overloaded\"}\n\n" DONE),
	"a", FAILED, NONE, 0},
    {"an error object",
	IN("data: {\"object\":\"error\",\"message\":\"overloaded\"}\n\n"), "",
	FAILED, NONE, 0},
    {"an error for a reason", IN(SAY("a") FINISH("error") DONE), "a", FAILED,
	NONE, 0},
    {"a null error is none",
	IN("data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\"}}]"
	   "}\n\ndata: {\"error\":\"\",\"choices\":[]}\n\n" DONE),
	"a", OK, NONE, 0},

    {"a plain answer",
	IN("{\"object\":\"chat.completion\",\"model\":\"gpt-x\",\"choices\":"
	   "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
	   "\"Hello\"},\"finish_reason\":\"stop\"}]}"),
	"Hello", OK, STOP, 0},
    {"a plain answer over several lines",
	IN("\n \n{\n  \"choices\": [ {\n \"message\": {\n  \"content\":\n\n "
	   "\"data: a\"\n } } ]\n}\n"),
	"data: a", OK, NONE, 0},
    {"a plain answer in parts",
	IN("{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\","
	   "\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}}]}"),
	"ab", OK, NONE, 0},
    {"a plain error", IN("{\"error\":{\"message\":\"no such model\"}}"), "",
	FAILED, NONE, 0},
    {"a plain answer that is cut", IN("{\"choices\":[{\"message\":{\"conte"),
	"", FAILED, NONE, 1},
    {"a plain answer with something behind",
	IN("{\"choices\":[{\"message\":{\"content\":\"a\"}}]} {}"), "", FAILED,
	NONE, 1},
    {"a plain answer without choices", IN("{\"choices\":[]}"), "", FAILED, NONE,
	0},
    {"a plain answer that is too long",
	IN("{\"choices\":[{\"message\":{\"content\":\"" A_HUNDRED A_HUNDRED
		A_HUNDRED A_HUNDRED "\"}}]}"),
	"", FAILED, NONE, 1},

    {"escapes", IN(SAY("a\\n\\\"\\u00e9\\ud83d\\ude00") DONE),
	"a\n\"\xc3\xa9\xf0\x9f\x98\x80", OK, NONE, 0},
    {"NUL is dropped", IN(SAY("a\\u0000b") SAY("\\u0000") DONE), "ab", OK, NONE,
	0},
    {"a raw NUL is dropped", IN(SAY("a\0b") DONE), "ab", OK, NONE, 0},
    {"a tab in a string", IN(SAY("a\tb") DONE), "a\tb", OK, NONE, 0},
    {"a surrogate pair cut in two", IN(SAY("a\\ud83d") SAY("\\ude00b") DONE),
	"a\xf0\x9f\x98\x80"
	"b",
	OK, NONE, 0},
    {"lone surrogates", IN(SAY("\\ud83d") SAY("a\\ude00") SAY("\\ud83d") DONE),
	FFFD "a" FFFD FFFD, OK, NONE, 0},
    {"a sequence cut in two",
	IN(SAY("a\xc3") SAY("\xa9"
			    "b") DONE),
	"a\xc3\xa9"
	"b",
	OK, NONE, 0},
    {"a sequence cut in four",
	IN(SAY("\xf0") SAY("\x9f") SAY("\x98") SAY("\x80") DONE),
	"\xf0\x9f\x98\x80", OK, NONE, 0},
    {"a sequence that never ends", IN(SAY("a\xf0\x9f\x98") FINISH("length")),
	"a" FFFD, OK, MODEL_FINISH_LENGTH, 0},
    {"a sequence that goes on with something else",
	IN(SAY("\xe2\x82") SAY("x") SAY("\xe2\x82") SAY("\\n") DONE),
	FFFD "x" FFFD "\n", OK, NONE, 0},
    {"half a pair before plain text", IN(SAY("\\ud83d") SAY("a") DONE),
	FFFD "a", OK, NONE, 0},
    {"half a pair and half a sequence",
	IN(SAY("\\ud83d") SAY("\xe2\x82") SAY("\\ude00") DONE), FFFD FFFD FFFD,
	OK, NONE, 0},
    {"bytes that are no UTF-8",
	IN(SAY("a\xff\xfe"
	       "b\xed\xa0\x80") DONE),
	"a" FFFD FFFD "b" FFFD FFFD FFFD, OK, NONE, 0},
};

#define EACH_ANSWER                                         \
	const struct answer *a = answers;                   \
	a < answers + sizeof(answers) / sizeof(answers[0]); \
	a++

static void
collect(void *arg, const char *text, size_t n)
{
	cr_expect_gt(n, 0);
	cr_expect(text_is_clean(text, n));
	buf_add(arg, text, n);
}

/* Feeds `in` in pieces that end at `cut` and then every `step` bytes. */
static enum err
feed(struct model_parser *p, const struct answer *a, size_t cut, size_t step)
{
	size_t n;

	for (size_t at = 0; at < a->n; at += n) {
		n = at < cut ? cut - at : step;
		n = n < a->n - at ? n : a->n - at;
		model_parser_feed(p, a->in + at, n);
	}
	return model_parser_end(p);
}

static void
expect_answer(const struct answer *a, size_t cut, size_t step)
{
	struct buf got = {0};
	struct model_parser p;
	enum err e;

	model_parser_init(&p, collect, &got, MAX_BYTES);
	e = feed(&p, a, cut, step);
	cr_expect(got.n == strlen(a->text) &&
		      memcmp(got.p ? got.p : "", a->text, got.n) == 0,
	    "%s, cut at %zu then every %zu: got \"%.*s\"", a->what, cut, step,
	    (int)got.n, got.p ? got.p : "");
	cr_expect_eq(e, a->end, "%s: %s", a->what, err_code(e));
	cr_expect_eq(p.finish, a->finish, "%s: %s", a->what,
	    model_finish_name(p.finish));
	cr_expect_eq(p.bad_lines, a->bad_lines, "%s: %lu bad lines", a->what,
	    p.bad_lines);
	cr_expect_eq(p.has_text, got.n > 0, "%s", a->what);
	cr_expect((e == ERR_MODEL_FAILED) == (p.error[0] != '\0'), "%s: \"%s\"",
	    a->what, p.error);
	if (p.has_failed && strstr(a->in, "overloaded") != NULL)
		cr_expect_str_eq(p.error, "overloaded");
	model_parser_free(&p);
	buf_free(&got);
}

Test(model_parser, reads_answers_fed_whole)
{
	for (EACH_ANSWER)
		expect_answer(a, 0, a->n + 1);
}

Test(model_parser, reads_answers_fed_byte_by_byte)
{
	for (EACH_ANSWER)
		expect_answer(a, 0, 1);
}

Test(model_parser, reads_answers_cut_in_two_anywhere)
{
	for (EACH_ANSWER) {
		for (size_t cut = 0; cut <= a->n; cut++)
			expect_answer(a, cut, a->n + 1);
	}
}

/* Reads a whole answer whose text does not matter. */
static enum err
read_answer(struct model_parser *p, const char *type, const char *in)
{
	static struct buf ignored;
	enum err e;

	buf_free(&ignored);
	model_parser_init(p, collect, &ignored, 4096);
	model_parser_content_type(p, type);
	model_parser_feed(p, in, strlen(in));
	e = model_parser_end(p);
	model_parser_free(p);
	buf_free(&ignored);
	return e;
}

#define USAGE(text) "data: {\"choices\":[],\"usage\":" text "}\n\n"

Test(model_parser, reads_usage_where_there_is_any)
{
	static const struct {
		const char *in;
		int64_t prompt, completion, cached;
	} rows[] = {
	    {"", -1, -1, -1},
	    {USAGE("null"), -1, -1, -1},
	    {USAGE("{\"prompt_tokens\":9,\"completion_tokens\":3,"
		   "\"total_tokens\":12,\"prompt_tokens_details\":"
		   "{\"audio_tokens\":1,\"cached_tokens\":4}}"),
		9, 3, 4},
	    {USAGE("{\"prompt_tokens\":9,\"prompt_tokens_details\":null}"), 9,
		-1, -1},
	    {USAGE("{\"prompt_tokens\":-9,\"completion_tokens\":1000000001}"),
		-1, -1, -1},
	    {USAGE("{\"prompt_tokens\":0,\"completion_tokens\":1000000000}"), 0,
		1000000000, -1},
	    {USAGE("{\"prompt_tokens\":\"9\",\"completion_tokens\":1.5}"), -1,
		-1, -1},
	    {USAGE("{\"prompt_tokens\":9}")
		    USAGE("{\"prompt_tokens\":null,\"completion_tokens\":2}"),
		9, 2, -1},
	    {USAGE("{\"prompt_tokens\":9}") USAGE("{\"prompt_tokens\":10}"), 10,
		-1, -1},
	    {"data: {\"usage\":{\"prompt_tokens\":9}}\n\n", 9, -1, -1},
	    {"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],"
	     "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
		9, 3, -1},
	};
	struct model_parser p;
	char in[1024];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(
		    in, sizeof(in), "%s%s%s", SAY("a"), rows[i].in, DONE);
		cr_expect_eq(read_answer(&p, NULL, in), OK, "%s", in);
		cr_expect_eq(p.usage.prompt_tokens, rows[i].prompt, "%s", in);
		cr_expect_eq(
		    p.usage.completion_tokens, rows[i].completion, "%s", in);
		cr_expect_eq(p.usage.cached_tokens, rows[i].cached, "%s", in);
		cr_expect_eq(p.bad_lines, 0);
	}
}

Test(model_parser, takes_the_first_name_of_the_model)
{
	struct model_parser p;

	cr_expect_eq(
	    read_answer(&p, NULL,
		"data: {\"model\":\"\",\"choices\":[]}\n\n"
		"data: {\"model\":\"m\\u00e9\\u0000\",\"choices\":[]}\n\n"
		"data: {\"model\":\"other\",\"choices\":[]}\n\n"),
	    ERR_MODEL_CUT);
	cr_expect_str_eq(p.model, "m\xc3\xa9");
}

Test(model_parser, cuts_a_long_name_between_characters)
{
	struct model_parser p;
	char in[256] = "data: {\"model\":\"x";

	for (int i = 0; i < 40; i++)
		strcat(in, "\xc3\xa9");
	strcat(in, "\",\"choices\":[]}\n\n");
	cr_expect_eq(read_answer(&p, NULL, in), ERR_MODEL_CUT);
	cr_expect_leq(strlen(p.model), sizeof(p.model) - 1);
	cr_expect_geq(strlen(p.model), sizeof(p.model) - 12);
	cr_expect(text_is_clean(p.model, strlen(p.model)));
}

Test(model_parser, believes_the_first_byte_and_not_the_content_type)
{
	static const char plain[] =
	    "{\"choices\":[{\"message\":{\"content\":\"a\"}}]}";
	struct model_parser p;

	cr_expect_eq(read_answer(&p, "text/event-stream", plain), OK);
	cr_expect_eq(read_answer(&p, "application/json", plain), OK);
	cr_expect_eq(read_answer(&p, "application/json", SAY("a") DONE), OK);
}

Test(model_parser, keeps_the_answers_text_out_of_the_error)
{
	struct model_parser p;

	cr_expect_eq(read_answer(&p, NULL,
			 CHUNK("\"content\":\"secret\"",
			     ",\"finish_reason\":\"error\"")),
	    ERR_MODEL_FAILED);
	cr_expect(p.has_text);
	cr_expect_str_eq(p.error, "an error without a message");
}

Test(model_parser, names_the_content_type_of_what_is_no_answer)
{
	struct model_parser p;

	cr_expect_eq(read_answer(&p, "text/html; charset=utf-8", "<html>"),
	    ERR_MODEL_FAILED);
	cr_expect(
	    strstr(p.error, "text/html; charset=utf-8") != NULL, "%s", p.error);
	cr_expect_eq(read_answer(&p, "a\x01\xff" A_HUNDRED "\r\n", "<html>"),
	    ERR_MODEL_FAILED);
	cr_expect(strstr(p.error, "a??1234") != NULL, "%s", p.error);
	cr_expect_lt(strlen(p.error), 200);
}

/*
 * A long text with every kind of fault: decoded in pieces, it must be what
 * cleaning the whole at once gives.
 */
Test(model_parser, cleans_long_text_as_if_it_came_whole)
{
	static const char *const bits[] = {"abc", "\\n", "\xc3\xa9", "\xe2\x82",
	    "\xff", "\\u20ac", "\xf0\x9f\x98\x80", "\\ud83d\\ude00"};
	static const char *const raws[] = {"abc", "\n", "\xc3\xa9", "\xe2\x82",
	    "\xff", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"};
	struct buf in = {0}, raw = {0}, want = {0}, got = {0};
	struct model_parser p;
	unsigned seed = 1;

	buf_puts(&in, "{\"choices\":[{\"message\":{\"content\":\"");
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		buf_puts(&in, bits[seed >> 16 & 7]);
		buf_puts(&raw, raws[seed >> 16 & 7]);
	}
	buf_puts(&in, "\"}}]}");
	text_append_clean(&want, raw.p, raw.n);
	model_parser_init(&p, collect, &got, 1 << 20);
	model_parser_feed(&p, in.p, in.n);
	cr_expect_eq(model_parser_end(&p), OK);
	cr_expect_eq(got.n, want.n);
	cr_expect_arr_eq(got.p, want.p, want.n);
	model_parser_free(&p);
	buf_free(&in);
	buf_free(&raw);
	buf_free(&want);
	buf_free(&got);
}

static void
count(void *arg, const char *text, size_t n)
{
	(void)text;
	(void)n;
	++*(int *)arg;
}

Test(model_parser, hands_on_one_piece_for_a_short_delta)
{
	static const char in[] = SAY("two\\nlines") SAY("\\u00e9") SAY("");
	struct model_parser p;
	int pieces = 0;

	model_parser_init(&p, count, &pieces, 4096);
	model_parser_feed(&p, in, sizeof(in) - 1);
	cr_expect_eq(pieces, 2);
	model_parser_free(&p);
}

Test(model_parser, knows_a_model_at_work_from_a_connection_kept_open)
{
#define DELTA(members) "data: {\"choices\":[{\"delta\":{" members "}}]}\n\n"
	static const struct {
		const char *bytes;
		bool has_begun;
	} rows[] = {
	    {": PROCESSING\n\n: PROCESSING\n\n", false},
	    {DELTA("\"role\":\"assistant\""), false},
	    {DELTA("\"role\":\"assistant\",\"content\":\"\""), false},
	    {DELTA("\"reasoning_content\":\"\",\"content\":null"), false},
	    {DELTA("\"reasoning\":null,\"tool_calls\":[]"), false},
	    {"data: {\"choices\":[],\"usage\":null}\n\n", false},
	    {DELTA("\"reasoning_content\":\"hm\""), true},
	    {DELTA("\"reasoning\":\"hm\""), true},
	    {DELTA("\"reasoning_details\":[{\"text\":\"hm\"}]"), true},
	    {DELTA("\"tool_calls\":[{\"index\":0}]"), true},
	    {DELTA("\"content\":\"a\""), true},
	    {" \n{\"id\":", true},
	};
#undef DELTA

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct model_parser p;
		int pieces = 0;

		model_parser_init(&p, count, &pieces, 4096);
		model_parser_feed(&p, rows[i].bytes, strlen(rows[i].bytes));
		cr_expect_eq(
		    p.has_begun, rows[i].has_begun, "%s", rows[i].bytes);
		model_parser_free(&p);
	}
}

Test(model_parser, names_every_finish)
{
	cr_expect_str_eq(model_finish_name(MODEL_FINISH_NONE), "");
	cr_expect_str_eq(model_finish_name(MODEL_FINISH_STOP), "stop");
	cr_expect_str_eq(model_finish_name(MODEL_FINISH_LENGTH), "length");
	cr_expect_str_eq(
	    model_finish_name(MODEL_FINISH_CONTENT_FILTER), "content_filter");
	cr_expect_str_eq(
	    model_finish_name(MODEL_FINISH_TOOL_CALLS), "tool_calls");
}

/* What on_object was told. */
struct objects {
	struct buf all; /* one a line */
	size_t n_beside;
	bool is_whole;
};

static void
keep_object(void *arg, const struct model_object *o)
{
	struct objects *got = arg;

	buf_add(&got->all, o->json, o->n);
	buf_putc(&got->all, '\n');
	got->n_beside += o->n_beside;
	got->is_whole = o->is_whole;
}

static void
drop_text(void *arg, const char *text, size_t n)
{
	(void)arg;
	(void)text;
	(void)n;
}

static void
read_objects(const char *in, struct objects *out)
{
	struct model_parser p;

	*out = (struct objects){0};
	model_parser_init(&p, drop_text, out, 4096);
	p.on_object = keep_object;
	model_parser_feed(&p, in, strlen(in));
	(void)!model_parser_end(&p);
	model_parser_free(&p);
}

#define CALLS                                                               \
	"{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"type\" :" \
	" \"ab\",\"function\":{\"arguments\":\"{\\\"x\\\":1}\"}}]}}]}"

Test(model_parser, hands_on_objects_as_they_came)
{
	struct objects got;

	read_objects(
	    "data: " CALLS "\n\ndata: nonsense\n\ndata: {\"choices\":"
	    "[],\"usage\":{\"prompt_tokens\":3}}\n\n" DONE CHUNK("", ""),
	    &got);
	cr_expect_str_eq(buf_text(&got.all),
	    CALLS "\n{\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n");
	cr_expect_not(got.is_whole);
	cr_expect_eq(got.n_beside, 2 + strlen("{\\\"x\\\":1}"));
	buf_free(&got.all);
}

Test(model_parser, hands_on_a_plain_answer_once_and_no_error)
{
	struct objects got;

	read_objects("{\"choices\":[{\"message\":{\"content\":\"a\","
		     "\"reasoning_content\":\"\\\\\\\"b\"}}]}",
	    &got);
	cr_expect(got.is_whole);
	cr_expect_eq(got.n_beside, 5);
	buf_free(&got.all);
	read_objects(
	    SAY("a") "data: {\"error\":{\"message\":\"no\"}}\n\n", &got);
	cr_expect_null(strstr(buf_text(&got.all), "error"));
	buf_free(&got.all);
}
