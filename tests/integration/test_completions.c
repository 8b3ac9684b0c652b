/*
 * POST /openai/v1/chat/completions byte by byte: what a client must send, what
 * the model is sent, what comes back, and what is stored. The libraries that
 * are made for it are in tests/clients.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "stack_shared.h"
#include "standin_text.h"

#define PATH "/openai/v1/chat/completions"

static struct stack stack;
static struct person person;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=2", "CHAT_RATE_LIMIT_PER_MINUTE=0",
		"CHAT_COMPLETION_MAX_BYTES=200000",
		"CHAT_REPLY_MAX_BYTES=1024"},
	    .has_model = true};

	(void)tests;
	criterion_options.jobs = 1; /* they look at what the model got last */
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	stack_take(&stack);
	person_make(&stack, &person);
}

TestSuite(completions, .init = setup, .timeout = 120);

/* The body that the model got last, as JSON. */
static struct json_object *
asked(void)
{
	const struct ask ask = {.base = stack.model, .path = "/_last"};
	struct json_object *o, *body = NULL;
	struct answer a;

	http_ask(&ask, &a);
	o = json_tokener_parse(a.body.p);
	cr_assert(json_object_object_get_ex(o, "body", &body));
	body = json_object_get(body);
	json_object_put(o);
	answer_clear(&a);
	return body;
}

static long
number_of(const char *sql)
{
	char text[64];

	db_value(sql, person.user_id, text, sizeof(text));
	return strtol(text, NULL, 10);
}

#define STORED                                                \
	"SELECT (SELECT count(*) FROM chat.messages m"        \
	" WHERE m.user_id = $1::uuid) + (SELECT count(*) - 1" \
	" FROM chat.conversations c WHERE c.user_id = $1::uuid)"

#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"

/* Requests that are refused, and what of them is wrong. */
static const struct {
	const char *json;
	const char *param;
	const char *code;
} refusals[] = {
    {"{}", "messages", "invalid_value"},
    {"[]", "", "invalid_json"},
    {"{\"messages\":", "", "invalid_json"},
    {"{\"messages\":[]}", "messages", "invalid_value"},
    {"{\"messages\":{}}", "messages", "invalid_value"},
    {"{\"messages\":[7]}", "messages[0]", "invalid_value"},
    {"{\"messages\":[{\"content\":\"a\"}]}", "messages[0].role",
	"invalid_value"},
    {"{\"messages\":[" USER("a") ",{\"role\":\"boss\",\"content\":\"a\"}]}",
	"messages[1].role", "invalid_value"},
    {"{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content",
	"invalid_value"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}",
	"messages[0].content", "invalid_value"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
	"messages[0].content", "invalid_value"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[\"a\"]}]}",
	"messages[0].content[0]", "invalid_value"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
	"messages[0].content[0].text", "invalid_value"},
    {"{\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]}",
	"messages[0].tool_call_id", "invalid_value"},
    {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":{}}]}",
	"messages[0].tool_calls", "invalid_value"},
    {"{\"model\":7,\"messages\":[" USER("a") "]}", "model", "invalid_value"},
    {"{\"model\":\"a b\",\"messages\":[" USER("a") "]}", "model",
	"invalid_value"},
    {"{\"n\":2,\"messages\":[" USER("a") "]}", "n", "invalid_value"},
    {"{\"n\":\"1\",\"messages\":[" USER("a") "]}", "n", "invalid_value"},
    {"{\"tools\":{},\"messages\":[" USER("a") "]}", "tools", "invalid_value"},
    {"{\"tools\":[1],\"messages\":[" USER("a") "]}", "tools[0]",
	"invalid_value"},
    {"{\"response_format\":\"json\",\"messages\":[" USER("a") "]}",
	"response_format", "invalid_value"},
    {"{\"stream\":1,\"messages\":[" USER("a") "]}", "stream", "invalid_value"},
    {"{\"stream_options\":{},\"messages\":[" USER("a") "]}", "stream_options",
	"invalid_value"},
    {"{\"stream\":true,\"stream_options\":7,\"messages\":[" USER("a") "]}",
	"stream_options", "invalid_value"},
    {"{\"stream\":true,\"stream_options\":{\"include_usage\":1},\"messages\":"
     "[" USER("a") "]}",
	"stream_options.include_usage", "invalid_value"},
    {"{\"max_tokens\":0,\"messages\":[" USER("a") "]}", "max_tokens",
	"invalid_value"},
    {"{\"max_completion_tokens\":1.5,\"messages\":[" USER("a") "]}",
	"max_completion_tokens", "invalid_value"},
    {"{\"store\":\"yes\",\"messages\":[" USER("a") "]}", "store",
	"invalid_value"},
    {"{\"metadata\":[],\"messages\":[" USER("a") "]}", "metadata",
	"invalid_value"},
    {"{\"metadata\":{\"a\":1},\"messages\":[" USER("a") "]}", "metadata.a",
	"invalid_value"},
};

Test(completions, what_is_wrong_is_named)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct answer a;

		call_complete(&stack, &person, refusals[i].json, &a);
		cr_expect_eq(
		    a.status, 400, "%s: %ld", refusals[i].json, a.status);
		cr_expect_str_eq(answer_text(&a, "error.param"),
		    refusals[i].param, "%s: %s", refusals[i].json, a.body.p);
		cr_expect_str_eq(
		    answer_text(&a, "error.code"), refusals[i].code);
		cr_expect_str_eq(
		    answer_text(&a, "error.type"), "invalid_request_error");
		cr_expect_gt(strlen(answer_text(&a, "error.message")), 10);
		answer_clear(&a);
	}
	cr_expect_eq(number_of(STORED), 0);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.usage_tracking"
			       " WHERE user_id = $1::uuid"),
	    0);
}

/* What fails before the handler is said in the same words. */
Test(completions, errors_of_every_layer_have_one_shape)
{
	static const struct {
		struct ask ask;
		long status;
		const char *code;
	} rows[] = {
	    {{.path = PATH}, 405, "method_not_supported"},
	    {{.path = "/openai/v1/embeddings"}, 404, "unknown_url"},
	    {{.path = "/openai/v1/models", .token = "-"}, 401,
		"missing_api_key"},
	    {{.path = "/openai/v1/models", .token = "x.y.z"}, 401,
		"invalid_api_key"},
	    {{.method = "POST",
		 .path = PATH,
		 .json = "a=1",
		 .type = "application/x-www-form-urlencoded"},
		415, "unsupported_media_type"},
	    {{.path = "/openai/v1/models?a=1"}, 400, "invalid_value"},
	    {{.path = "/openai/v1/models/a%2Fb"}, 404, "model_not_found"},
	    {{.path = "/openai/v1/chat%2Fcompletions"}, 400, "bad_request"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ask ask = rows[i].ask;
		struct answer a;

		ask.base = stack.base;
		if (ask.token == NULL)
			ask.token = person.token;
		else if (*ask.token == '-')
			ask.token = NULL;
		http_ask(&ask, &a);
		cr_expect_eq(a.status, rows[i].status, "%s: %ld %s", ask.path,
		    a.status, a.body.p);
		cr_expect_str_eq(answer_text(&a, "error.code"), rows[i].code,
		    "%s: %s", ask.path, a.body.p);
		cr_expect_not_null(strstr(a.body.p, "\"param\":"));
		cr_expect_not_null(answer_header(&a, "X-Request-Id"));
		answer_clear(&a);
	}
}

Test(completions, models_are_listed_and_found_by_name)
{
	struct answer a;
	char path[128];
	struct ask ask = {.base = stack.base,
	    .path = "/openai/v1/models",
	    .token = person.token};

	http_ask(&ask, &a);
	cr_expect_eq(a.status, 200);
	cr_expect_str_eq(answer_text(&a, "object"), "list");
	snprintf(path, sizeof(path), "/openai/v1/models/%s",
	    answer_text(&a, "data.0.id"));
	answer_clear(&a);
	ask.path = path;
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 200, "%s", path);
	cr_expect_str_eq(answer_text(&a, "object"), "model");
	cr_expect_str_eq(
	    answer_text(&a, "id"), path + strlen("/openai/v1/models/"));
	answer_clear(&a);
}

Test(completions, bodies_have_a_bound_in_natterd_and_one_in_nginx)
{
	static const size_t sizes[] = {200001, (16 << 20) + 1};

	for (size_t i = 0; i < 2; i++) {
		struct buf body = {0};
		struct answer a;

		buf_puts(&body, "{\"messages\":[{\"role\":\"user\","
				"\"content\":\"");
		while (body.n < sizes[i])
			buf_puts(&body, "0123456789abcdef ");
		buf_puts(&body, "\"}]}");
		call_complete(&stack, &person, buf_text(&body), &a);
		cr_expect_eq(a.status, 413, "%ld", a.status);
		cr_expect_str_eq(answer_text(&a, "error.code"), "too_large");
		answer_clear(&a);
		buf_free(&body);
	}
}

/* A second `model` under an escaped name would reach some servers. */
Test(completions, no_member_goes_by_in_disguise)
{
	struct json_object *body, *value;
	struct answer a;

	call_complete(&stack, &person,
	    "{\"model\":\"one\",\"mod\\u0065l\":\"two\","
	    "\"max_tok\\u0065ns\":9,\"\\u006e\":1,\"messages\":[" USER(
		"[[text=4]] x") "]}",
	    &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	body = asked();
	cr_assert(json_object_object_get_ex(body, "model", &value));
	cr_expect_str_eq(json_object_get_string(value), "two");
	cr_assert(json_object_object_get_ex(body, "max_tokens", &value));
	cr_expect_eq(json_object_get_int(value), 9);
	cr_expect_not(json_object_object_get_ex(body, "n", NULL));
	json_object_put(body);
}

Test(completions, the_model_gets_what_the_client_sent)
{
	static const char *const kept[] = {"messages", "tools", "tool_choice",
	    "parallel_tool_calls", "seed", "top_p", "x_new"};
	static const char json[] =
	    "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
	    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
	    "\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
	    "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
	    "\"c1\",\"content\":\"r\"}," USER(
		"[[text=4]] ü\\n\\\"q\\\"") "],"
					    "\"tools\":[{\"type\":\"function\","
					    "\"function\":{\"name\":\"f\"}}],"
					    "\"tool_choice\":\"none\","
					    "\"parallel_tool_calls\":false,"
					    "\"seed\":9007199254740993,\"top_"
					    "p\":0.10,\"x_new\":[null,{\"a\":"
					    "[]}],\"user\":\"u\",\"store\":"
					    "false,\"metadata\":{},\"n\":1,"
					    "\"stream\":true,\"stream_"
					    "options\":{\"include_"
					    "obfuscation\":false"
					    "}}";
	struct json_object *sent = json_tokener_parse(json), *got, *x, *y;
	struct answer a;

	call_complete(&stack, &person, json, &a);
	cr_expect_eq(a.status, 200);
	answer_clear(&a);
	got = asked();
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		cr_assert(json_object_object_get_ex(sent, kept[i], &x));
		cr_assert(json_object_object_get_ex(got, kept[i], &y), "no %s",
		    kept[i]);
		cr_expect(json_object_equal(x, y), "%s: %s", kept[i],
		    json_object_to_json_string(y));
	}
	cr_assert(json_object_object_get_ex(got, "user", &x));
	cr_expect_str_eq(json_object_get_string(x), person.user_id);
	cr_assert(json_object_object_get_ex(got, "stream_options", &x));
	cr_expect_str_eq(
	    json_object_to_json_string_ext(x, JSON_C_TO_STRING_PLAIN),
	    "{\"include_usage\":true,\"include_obfuscation\":false}");
	cr_expect_eq(json_object_object_length(got),
	    (int)(sizeof(kept) / sizeof(kept[0])) + 4);
	json_object_put(sent);
	json_object_put(got);
}

/* Joins the contents of all chunks; counts those with a usage. */
static void
join(const struct answer *a, struct buf *text, int *out_usages)
{
	*out_usages = 0;
	for (size_t i = 0; i < a->n_events; i++) {
		struct json_object *o = json_tokener_parse(a->events[i].data);
		struct json_object *v, *delta;

		if (o == NULL)
			continue; /* [DONE] */
		*out_usages +=
		    json_object_object_get_ex(o, "usage", &v) && v != NULL;
		cr_assert(json_object_object_get_ex(o, "choices", &v));
		if (json_object_array_length(v) == 1 &&
		    json_object_object_get_ex(
			json_object_array_get_idx(v, 0), "delta", &delta) &&
		    json_object_object_get_ex(delta, "content", &v) &&
		    v != NULL)
			buf_puts(text, json_object_get_string(v));
		json_object_put(o);
	}
}

/* Of an answer in one piece. */
static void
expect_content(const struct answer *a, const char *want)
{
	struct json_object *o = json_tokener_parse(a->body.p), *v;

	cr_assert(json_object_object_get_ex(o, "choices", &v));
	cr_assert(json_object_object_get_ex(
	    json_object_array_get_idx(v, 0), "message", &v));
	cr_assert(json_object_object_get_ex(v, "content", &v));
	cr_expect_str_eq(json_object_get_string(v), want);
	json_object_put(o);
}

/* Streams, in one piece, from servers that answer oddly: the same text. */
Test(completions, every_kind_of_answer_comes_whole)
{
	static const char *const scripts[] = {"", " split=1", " crlf=1",
	    " multiline=1", " plain=1", " nodone=1", " nousage=1",
	    " comments=1", " thoughts=3"};
	char want[401] = "";

	standin_text(5, 400, want);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct buf text = {0};
		char json[512];
		struct answer a;
		int usages;

		snprintf(json, sizeof(json),
		    "{\"stream\":true,\"stream_options\":{\"include_usage\":"
		    "true},\"messages\":[" USER("[[text=400 seed=5%s]] x") "]}",
		    scripts[i]);
		call_complete(&stack, &person, json, &a);
		join(&a, &text, &usages);
		cr_expect_str_eq(buf_text(&text), want, "stream%s", scripts[i]);
		cr_expect_eq(usages, 1, "%d%s", usages, scripts[i]);
		cr_expect_str_eq(a.events[a.n_events - 1].data, "[DONE]");
		answer_clear(&a);
		buf_free(&text);
		snprintf(json, sizeof(json),
		    "{\"messages\":[" USER("[[text=400 seed=5%s]] x") "]}",
		    scripts[i]);
		call_complete(&stack, &person, json, &a);
		cr_expect_eq(a.status, 200);
		expect_content(&a, want);
		cr_expect_gt(
		    strtol(answer_text(&a, "usage.total_tokens"), NULL, 10), 0);
		answer_clear(&a);
	}
	cr_expect_eq(number_of(STORED), 0);
}

/* A reply beyond CHAT_REPLY_MAX_BYTES, of text or of a tool's arguments. */
Test(completions, an_endless_answer_ends_with_length)
{
	struct answer a;

	call_complete(&stack, &person,
	    "{\"messages\":[" USER("[[text=5000 chunk=100]] x") "]}", &a);
	cr_expect_eq(a.status, 200);
	cr_expect_not_null(
	    strstr(a.body.p, "\"finish_reason\":\"length\""), "%s", a.body.p);
	answer_clear(&a);
	call_complete(&stack, &person,
	    "{\"stream\":true,\"messages\":[" USER(
		"[[text=5000 chunk=100]] x") "]}",
	    &a);
	cr_expect_not_null(strstr(a.body.p, "\"finish_reason\":\"length\""));
	cr_expect_str_eq(a.events[a.n_events - 1].data, "[DONE]");
	answer_clear(&a);
}

/* Pictures do not count as the text that carries them. */
Test(completions, a_picture_is_not_reserved_by_its_bytes)
{
	struct buf body = {0};
	struct answer a;

	buf_puts(&body, "{\"max_tokens\":10,\"messages\":[{\"role\":\"user\","
			"\"content\":[{\"type\":\"text\",\"text\":"
			"\"[[text=4 nousage=1]] x\"},{\"type\":\"image_url\","
			"\"image_url\":{\"url\":\"data:image/png;base64,");
	for (int i = 0; i < 10000; i++)
		buf_puts(&body, "QUJDREVGR0hJ");
	buf_puts(&body, "\"}}]}]}");
	call_complete(&stack, &person, buf_text(&body), &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	cr_expect_lt(
	    strtol(answer_text(&a, "usage.prompt_tokens"), NULL, 10), 1100);
	answer_clear(&a);
	buf_free(&body);
}

Test(completions, what_is_kept_is_all_there_with_its_tools)
{
	struct answer a;

	call_complete(&stack, &person,
	    "{\"store\":true,\"stream\":true,\"metadata\":{\"k\":\"v\"},"
	    "\"messages\":[{\"role\":\"developer\",\"content\":\"d\"},"
	    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
	    "\"[[tool=look args={\\\"a\\\":1}]] call\"},{\"type\":"
	    "\"image_url\",\"image_url\":{\"url\":\"data:x\"}}]}]}",
	    &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	cr_expect_not_null(answer_header(&a, "X-Natter-Message-Id"));
	cr_expect_not_null(answer_header(&a, "X-Natter-Conversation-Id"));
	cr_expect_eq(number_of("SELECT count(*) FROM chat.messages"
			       " WHERE user_id = $1::uuid AND role = 'system'"
			       " AND content = 'd' AND position = 1"),
	    1);
	cr_expect_eq(
	    number_of("SELECT count(*) FROM chat.messages"
		      " WHERE user_id = $1::uuid AND role = 'user'"
		      " AND content LIKE '%call' AND metadata->'left_out' ="
		      " '[\"image_url\"]'"),
	    1);
	cr_expect_eq(
	    number_of("SELECT count(*) FROM chat.messages"
		      " WHERE user_id = $1::uuid AND role = 'assistant'"
		      " AND status = 'complete'"
		      " AND finish_reason = 'tool_calls' AND"
		      " tool_calls->0->'function'->>'name' = 'look' AND"
		      " (tool_calls->0->'function'->>'arguments')::jsonb ="
		      " '{\"a\":1}'"),
	    1);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.conversations"
			       " WHERE user_id = $1::uuid"
			       " AND metadata = '{\"k\":\"v\"}'"
			       " AND message_count = 3"),
	    1);
	answer_clear(&a);
}
