/*
 * The request's body as a server will read it, and the errors that servers
 * answer with.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "model/model.h"

/* The body of a request, NUL-terminated. */
static char *
body_of(const struct model_request *req)
{
	struct buf out = {0};

	openai_request_body(&out, req);
	return buf_take(&out);
}

Test(openai, asks_for_a_stream_with_usage)
{
	const struct model_message messages[] = {
	    {"system", "Be brief.", NULL}, {"user", "Hi", NULL}};
	const struct model_request req = {
	    .model = "gpt-4o-mini", .messages = messages, .n_messages = 2};
	char *body = body_of(&req);

	cr_expect_str_eq(body,
	    "{\"model\":\"gpt-4o-mini\",\"messages\":["
	    "{\"role\":\"system\",\"content\":\"Be brief.\"},"
	    "{\"role\":\"user\",\"content\":\"Hi\"}],\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true}}");
	free(body);
}

Test(openai, sends_max_tokens_under_the_name_that_the_server_knows)
{
	const struct model_request req = {.model = "m",
	    .max_tokens = 7,
	    .tokens_field = "max_completion_tokens"};
	char *body = body_of(&req);

	cr_expect_not_null(strstr(body, ",\"max_completion_tokens\":7"));
	cr_expect_null(strstr(body, "max_tokens\""));
	free(body);
}

Test(openai, sends_max_tokens_and_user_when_there_are_any)
{
	const struct model_request req = {
	    .model = "m", .max_tokens = 7, .user = "u-1"};
	char *body = body_of(&req);

	cr_expect_str_eq(body,
	    "{\"model\":\"m\",\"messages\":[],\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true},"
	    "\"max_tokens\":7,\"user\":\"u-1\"}");
	free(body);
}

/* Every character that JSON wants escaped, and every one around them. */
Test(openai, escapes_text_so_that_it_comes_out_the_same)
{
	char text[0x80 * 2 + 8];
	const struct model_message message = {.role = "user", .content = text};
	const struct model_request req = {
	    .model = "m", .messages = &message, .n_messages = 1};
	struct json_object *o, *messages, *content;
	char *body;
	int n = 0;

	for (int c = 1; c < 0x80; c++) {
		text[n++] = (char)c;
		text[n++] = 'x';
	}
	strcpy(text + n, "\xe2\x82\xac");
	body = body_of(&req);
	cr_assert_eq(json_parse_object(body, strlen(body), &o), OK);
	cr_assert(json_object_object_get_ex(o, "messages", &messages));
	content = json_object_object_get(
	    json_object_array_get_idx(messages, 0), "content");
	cr_expect_str_eq(json_object_get_string(content), text);
	for (const char *p = body; *p != '\0'; p++)
		cr_expect_geq((unsigned char)*p, 0x20);
	json_object_put(o);
	free(body);
}

Test(openai, marks_the_buffer_when_the_body_does_not_fit)
{
	const struct model_request req = {.model = "m"};
	struct buf out = {.cap = 20};

	openai_request_body(&out, &req);
	cr_expect(out.failed);
	buf_free(&out);
}

#define NO_MESSAGE "an error without a message"

Test(openai, finds_the_message_of_an_error)
{
	static const struct {
		const char *body, *want;
	} rows[] = {
	    {"{\"error\":{\"message\":\"No such model\",\"type\":\"x\","
	     "\"param\":null,\"code\":null}}",
		"No such model"},
	    {"{\"error\":{\"code\":429,\"message\":\"Slow down\"}}",
		"Slow down"},
	    {"{\"error\":\"model not found\"}", "model not found"},
	    {"{\"object\":\"error\",\"message\":\"too long\"}", "too long"},
	    {"{\"error\":\"the first\",\"message\":\"the second\"}",
		"the first"},
	    {"{\"detail\":\"Not Found\"}", "Not Found"},
	    {"[{\"error\":{\"message\":\"in a list\"}}]", "in a list"},
	    {"{\"error\":{\"message\":\"a\\nb\\tc\\u0000\\u00e9\"}}",
		"a b c\xc3\xa9"},
	    {"{\"error\":{\"message\":\"cut off\",\"typ", "cut off"},
	    {"{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":"
	     "\"Field required\",\"input\":{\"messages\":\"secret\"}}]}",
		"Field required"},
	    {"<h1>502 Bad\r\nGateway\xff</h1>",
		"<h1>502 Bad  Gateway\xef\xbf\xbd</h1>"},
	    {"{\"error\":{}}", NO_MESSAGE},
	    {"{\"error\":{\"message\":null}}", NO_MESSAGE},
	    {" {\"input\":\"secret\"}", NO_MESSAGE},
	    {"[[[[", NO_MESSAGE},
	    {"{\"input\":\"secr", NO_MESSAGE},
	    {"", ""},
	};
	char out[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		openai_error_message(
		    rows[i].body, strlen(rows[i].body), out, sizeof(out));
		cr_expect_str_eq(out, rows[i].want);
	}
}

Test(openai, masks_keys_in_errors)
{
	static const struct {
		const char *body, *want;
	} rows[] = {
	    {"{\"error\":{\"message\":\"Incorrect API key: sk-ab_C1.2.\"}}",
		"Incorrect API key: sk-********"},
	    {"got 'Bearer abc' and sk-1 and sk-22",
		"got 'Bearer ***' and sk-* and sk-**"},
	    {"the task-force is risk-free", "the task-force is risk-free"},
	    {"sk-", "sk-"},
	};
	char out[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		openai_error_message(
		    rows[i].body, strlen(rows[i].body), out, sizeof(out));
		cr_expect_str_eq(out, rows[i].want);
	}
}

Test(openai, cuts_an_error_between_characters)
{
	char body[8192], out[64];

	for (size_t i = 0; i + 1 < sizeof(body); i += 2)
		memcpy(body + i, "\xc3\xa9", 2);
	for (size_t size = 1; size <= sizeof(out); size++) {
		openai_error_message(body, sizeof(body), out, size);
		cr_expect_eq(strlen(out), (size - 1) / 2 * 2);
		cr_expect(text_is_clean(out, strlen(out)));
	}
}

Test(openai, knows_which_statuses_pass)
{
	static const struct {
		long status;
		bool want;
	} rows[] = {{200, false}, {400, false}, {401, false}, {403, false},
	    {404, false}, {408, true}, {409, true}, {413, false}, {422, false},
	    {429, true}, {499, false}, {500, true}, {502, true}, {503, true},
	    {529, true}, {599, true}, {600, false}, {0, false}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(model_status_is_transient(rows[i].status),
		    rows[i].want, "%ld", rows[i].status);
}

Test(openai, tells_what_a_refusal_is_about)
{
	static const struct {
		const char *body;
		enum openai_refusal want;
	} rows[] = {
	    {"", OPENAI_PLAIN},
	    {"{\"error\":{\"message\":\"no such field\"}}", OPENAI_PLAIN},
	    {"{\"error\":{\"code\":\"context_length_exceeded\"}}",
		OPENAI_TOO_LONG},
	    {"{\"message\":\"This model's maximum context length is 8192 "
	     "tokens.\"}",
		OPENAI_TOO_LONG},
	    {"{\"error\":{\"message\":\"prompt is too long: 201 tokens\"}}",
		OPENAI_TOO_LONG},
	    {"{\"error\":{\"code\":\"content_policy_violation\"}}",
		OPENAI_POLICY},
	    {"{\"error\":{\"code\":\"content_filter\"}}", OPENAI_POLICY},
	    {"{\"error\":{\"message\":\"requires moderation; your input was "
	     "flagged\"}}",
		OPENAI_POLICY},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(
		    openai_refusal_of(rows[i].body, strlen(rows[i].body)),
		    rows[i].want, "%s", rows[i].body);
	cr_expect_eq(openai_refusal_of(NULL, 0), OPENAI_PLAIN);
}

Test(openai, a_request_can_be_put_to_another_model)
{
	static const char *const names[] = {"x", "a \"quoted\\\" name",
	    "much-longer-than-the-one-before", "x", "line\nbreak", "m"};
	static const struct model_message messages[] = {
	    {"user", "{\"model\":\"decoy\"}", NULL}};
	struct model_request request = {
	    .messages = messages, .n_messages = 1, .max_tokens = 7};
	struct buf body = {0}, want = {0};

	request.model = "first \"one\"";
	openai_request_body(&body, &request);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cr_assert(openai_rename(&body, names[i]));
		request.model = names[i];
		buf_clear(&want);
		openai_request_body(&want, &request);
		cr_assert_eq(body.n, want.n);
		cr_expect_arr_eq(body.p, want.p, want.n);
	}
	/* Where it does not fit, it stays as it was. */
	body.cap = body.room;
	{
		size_t n = body.room + 1;
		char *huge = calloc(1, n + 1);

		memset(huge, 'h', n);
		cr_expect(!openai_rename(&body, huge));
		cr_expect_eq(body.n, want.n);
		cr_expect_arr_eq(body.p, want.p, want.n);
		free(huge);
	}
	buf_free(&body);
	buf_free(&want);
}

/* A body, and what another round makes of it. */
static const struct {
	const char *body;
	struct openai_round round;
	const char *want; /* NULL: it is none */
} rounds[] = {
    {"{\"model\":\"m\",\"messages\":[{\"a\":1}],\"stream\":true}",
	{.messages = "{\"b\":2},{\"c\":3}", .messages_len = 15},
	"{\"model\":\"m\",\"messages\":[{\"a\":1},{\"b\":2},{\"c\":3}],"
	"\"stream\":true}"},
    {"{\"messages\":[],\"max_tokens\":9,\"tools\":[{\"messages\":[]}]}",
	{.messages = "{}", .messages_len = 2, .max_tokens = 4},
	"{\"messages\":[{}],\"max_tokens\":4,\"tools\":[{\"messages\":[]}]}"},
    {"{\"messages\":[1],\"max_completion_tokens\":9,\"tools\":[]}",
	{.max_tokens = 4, .is_last = true},
	"{\"messages\":[1],\"max_completion_tokens\":4,\"tools\":[],"
	"\"tool_choice\":\"none\"}"},
    {"{\"messages\":[1],\"tool_choice\":\"auto\",\"max_tokens\":9}",
	{.is_last = true},
	"{\"messages\":[1],\"max_tokens\":9,\"tool_choice\":\"none\"}"},
    {"{\"messages\":[1]", {.is_last = true}, NULL},
    {"[]", {.is_last = true}, NULL},
};

Test(openai, another_round_appends_to_the_body)
{
	for (size_t i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++) {
		struct buf body = {0}, out = {0};
		bool is_made;

		buf_puts(&body, rounds[i].body);
		is_made = openai_next_body(&out, &body, &rounds[i].round);
		cr_expect_eq(is_made, rounds[i].want != NULL, "%zu", i);
		if (rounds[i].want != NULL)
			cr_expect_str_eq(buf_text(&out), rounds[i].want);
		buf_free(&body);
		buf_free(&out);
	}
}

Test(openai, tools_and_raw_messages_stand_in_the_body_as_they_are)
{
	static const struct model_message messages[] = {
	    {"user", "a", NULL}, {NULL, NULL, "{\"r\":1},{\"r\":2}"}};
	const struct model_request req = {.model = "m",
	    .messages = messages,
	    .n_messages = 2,
	    .tools = "[{\"t\":1}]"};
	char *body = body_of(&req);

	cr_expect_not_null(strstr(body,
	    "\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"r\":1},"
	    "{\"r\":2}]"));
	cr_expect_not_null(strstr(body, ",\"tools\":[{\"t\":1}]}"));
	free(body);
}
