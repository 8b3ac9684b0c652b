/*
 * Chunks written anew, and whole answers put together from chunks.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "model/model.h"
#include "model/openai_chunk.h"
#include "model/openai_collect.h"

static const struct openai_stamp stamp = {
    .id = "chatcmpl-1", .model = "ours", .created_s = 7};

static const struct {
	const char *in;
	const char *out;
	const char *usage;
} rewrites[] = {
    {"{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":5,"
     "\"model\":\"m\",\"choices\":[{}],\"usage\":null,\"z\":1.50}",
	"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
	"\"created\":5,\"model\":\"m\",\"choices\":[{}],\"z\":1.50}",
	""},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\\u00e9\\n\"}}]}",
	"{\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":"
	"\"a\\u00e9\\n\"}}],\"object\":\"chat.completion.chunk\","
	"\"created\":7,\"model\":\"ours\"}",
	""},
    {"{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", "",
	"{\"prompt_tokens\":1}"},
    {"{\"choices\":[{}],\"usage\":{\"a\":1},\"model\":\"\"}",
	"{\"id\":\"chatcmpl-1\",\"choices\":[{}],\"object\":"
	"\"chat.completion.chunk\",\"created\":7,\"model\":\"ours\"}",
	"{\"a\":1}"},
    {"{\"choices\":[],\"prompt_filter_results\":[1]}",
	"{\"id\":\"chatcmpl-1\",\"choices\":[],\"prompt_filter_results\":[1],"
	"\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":"
	"\"ours\"}",
	""},
    {"{\n\"choices\":\r\n[{\"a\":\n1, \"b\":\"\xff\x01\"}],\"object\":\"o\","
     "\"created\":1,\"model\":\"m\"}",
	"{\"id\":\"chatcmpl-1\",\"choices\":[{\"a\": 1, \"b\":"
	"\"\xef\xbf\xbd \"}],\"object\":\"o\",\"created\":1,\"model\":\"m\"}",
	""},
    /* Names that a client would read as ours, a second time. */
    {"{\"\\u0069d\":\"theirs\",\"id\xff\":1,\"choices\":[{}],\"object\":\"o\","
     "\"created\":1,\"model\":\"m\"}",
	"{\"id\":\"chatcmpl-1\",\"choices\":[{}],\"object\":\"o\","
	"\"created\":1,\"model\":\"m\"}",
	""},
};

Test(openai_chunk, keeps_what_is_not_ours)
{
	for (size_t i = 0; i < sizeof(rewrites) / sizeof(*rewrites); i++) {
		struct buf out = {0}, usage = {0};

		openai_chunk_rewrite(&out, &stamp, rewrites[i].in,
		    strlen(rewrites[i].in), &usage);
		cr_expect_str_eq(buf_text(&out), rewrites[i].out);
		cr_expect_str_eq(buf_text(&usage), rewrites[i].usage);
		buf_free(&out);
		buf_free(&usage);
	}
}

static void
take(struct openai_collected *c, const char *json, bool is_whole)
{
	const struct model_object o = {
	    .json = json, .n = strlen(json), .is_whole = is_whole};

	openai_collect(c, &o);
}

static void
expect_whole(struct openai_collected *c, const char *text, const char *want)
{
	const struct openai_ending end = {
	    .text = text, .n = strlen(text), .finish = "stop", .usage = "{}"};
	struct buf out = {0};

	openai_collected_write(&out, c, &stamp, &end);
	cr_expect_str_eq(buf_text(&out), want);
	buf_free(&out);
	openai_collect_free(c);
}

#define HEAD                                                       \
	"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\","   \
	"\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0," \
	"\"message\":{\"role\":\"assistant\","

Test(openai_collect, puts_pieces_together)
{
	struct openai_collected *c = openai_collect_new();

	take(c,
	    "{\"model\":\"m\",\"system_fingerprint\":\"f\",\"choices\":[{"
	    "\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\","
	    "\"reasoning_content\":\"I \"}}]}",
	    false);
	take(c,
	    "{\"choices\":[{\"delta\":{\"reasoning_content\":\"think\\\"\","
	    "\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"type\":\"function\","
	    "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}}]}",
	    false);
	take(c,
	    "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,"
	    "\"function\":{\"arguments\":\"{\\\"x\\\"\"}},{\"index\":0,\"id\":"
	    "\"a\"}]}}]}",
	    false);
	take(c,
	    "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":"
	    "\"\",\"function\":{\"arguments\":\":1}\"}}]},\"logprobs\":"
	    "{\"content\":[1]},\"finish_reason\":null}]}",
	    false);
	take(c, "not json", false);
	take(c,
	    "{\"choices\":[{\"delta\":{},\"logprobs\":{\"content\":[2]},"
	    "\"finish_reason\":\"tool_calls\"}]}",
	    false);
	expect_whole(c, "",
	    HEAD "\"content\":null,\"tool_calls\":[{\"id\":\"b\",\"type\":"
		 "\"function\",\"function\":{\"name\":\"g\",\"arguments\":"
		 "\"{\\\"x\\\":1}\"}},{\"id\":\"a\"}],\"reasoning_content\":"
		 "\"I think\\\"\"},\"logprobs\":{\"content\":[1,2]},"
		 "\"finish_reason\":\"tool_calls\"}],\"usage\":{},"
		 "\"system_fingerprint\":\"f\"}");
}

Test(openai_collect, takes_a_plain_answer_as_it_is)
{
	struct openai_collected *c = openai_collect_new();

	take(c,
	    "{\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"index\":0,"
	    "\"message\":{\"role\":\"assistant\",\"content\":\"no\","
	    "\"refusal\":\"r\"},\"finish_reason\":\"stop\"}],\"usage\":{}}",
	    true);
	expect_whole(c, "text",
	    HEAD "\"content\":\"text\",\"refusal\":\"r\"},\"finish_reason\":"
		 "\"stop\"}],\"usage\":{}}");
}

Test(openai_collect, says_all_of_it_at_once)
{
	const struct openai_ending end = {.text = "hi", .n = 2};
	struct openai_collected *c = openai_collect_new();
	struct buf out = {0};

	take(c,
	    "{\"choices\":[{\"message\":{\"content\":\"hi\",\"tool_calls\":"
	    "[{\"id\":\"a\"},7]}}]}",
	    true);
	openai_collected_choice(&out, c, &end);
	cr_expect_str_eq(buf_text(&out),
	    "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"
	    "\"hi\",\"tool_calls\":[{\"id\":\"a\",\"index\":0},7]},"
	    "\"finish_reason\":null}");
	buf_free(&out);
	openai_collect_free(c);
}

/* A text of many pieces, in a time that does not grow with its square. */
Test(openai_collect, grows_a_long_text)
{
	struct openai_collected *c = openai_collect_new();
	struct buf out = {0};
	const struct openai_ending end = {.text = "", .finish = "stop"};

	for (int i = 0; i < 20000; i++)
		take(c,
		    "{\"choices\":[{\"delta\":{\"reasoning_content\":"
		    "\"0123456789\"}}]}",
		    false);
	openai_collected_choice(&out, c, &end);
	cr_expect_gt(out.n, 200000);
	cr_expect_lt(out.n, 200250);
	buf_free(&out);
	openai_collect_free(c);
}
