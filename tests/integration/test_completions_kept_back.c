/*
 * Completions where something is kept back: what belongs to a person from the
 * model and its moderation, in whatever shape a client of OpenAI's sends it;
 * and a reply from its client until moderation has seen it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/json_write.h"
#include "calls.h"
#include "raw_http.h"
#include "stack.h"

#define PATH "/openai/v1/chat/completions"

#define MAIL  "anna.smith@example.com"
#define PHONE "+49 30 1234567"
#define CARD  "4111 1111 1111 1111"
#define ALL   "I am " MAIL ", " PHONE ", card " CARD "."

static struct stack stack;
static struct person person;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(completions_kept_back, .fini = teardown, .timeout = 240);

static void
start(const char *first, const char *second)
{
	struct stack_options o = {.has_model = true,
	    .has_moderation = true,
	    .settings = {"CHAT_RATE_LIMIT_PER_MINUTE=0",
		"CHAT_MAX_TOKENS_PER_DAY=1000000",
		"CHAT_MODERATION_TIMEOUT=10000", first, second}};

	stack_start(&stack, &o);
	person_make(&stack, &person);
}

/* Asks this of a user, with further members (",\"stream\":true"). */
static void
ask(const char *content, const char *members, struct answer *a)
{
	struct buf json = {0}, text = {0};

	json_write_bytes(&text, NULL, content, strlen(content));
	buf_printf(&json,
	    "{\"messages\":[{\"role\":\"user\",\"content\":%s}]%s}",
	    buf_text(&text), members);
	call_complete(&stack, &person, buf_text(&json), a);
	buf_free(&json);
	buf_free(&text);
}

/* A member of an object or element of an array; NULL: there is none. */
static struct json_object *
at(struct json_object *o, const char *path)
{
	char step[64];

	while (o != NULL && *path != '\0') {
		size_t n = strcspn(path, ".");

		snprintf(step, sizeof(step), "%.*s", (int)n, path);
		if (json_object_is_type(o, json_type_array))
			o = json_object_array_get_idx(
			    o, (size_t)strtoul(step, NULL, 10));
		else
			o = json_object_object_get(o, step);
		path += n + (path[n] == '.');
	}
	return o;
}

static const char *
text_at(struct json_object *o, const char *path)
{
	struct json_object *found = at(o, path);

	return found == NULL ? "" : json_object_get_string(found);
}

/* What a client has heard, put together. */
struct heard {
	struct buf text, arguments;
	char finish[32];
	int n_finishes, n_choices;
};

static void
hear(struct heard *h, struct json_object *choice, const char *holder)
{
	char path[64];

	snprintf(path, sizeof(path), "%s.content", holder);
	buf_puts(&h->text, text_at(choice, path));
	snprintf(
	    path, sizeof(path), "%s.tool_calls.0.function.arguments", holder);
	buf_puts(&h->arguments, text_at(choice, path));
	if (at(choice, "finish_reason") != NULL) {
		h->n_finishes++;
		snprintf(h->finish, sizeof(h->finish), "%s",
		    text_at(choice, "finish_reason"));
	}
	h->n_choices++;
}

static void
hear_all(struct heard *h, const struct answer *a)
{
	struct json_object *o;

	*h = (struct heard){.n_choices = 0};
	cr_expect_eq(a->status, 200, "%ld %s", a->status, a->body.p);
	for (size_t i = 0; i < a->n_events; i++) {
		o = json_tokener_parse(a->events[i].data);
		cr_expect(at(o, "error") == NULL, "%s", a->events[i].data);
		if (at(o, "choices.0") != NULL)
			hear(h, at(o, "choices.0"), "delta");
		json_object_put(o);
	}
	if (a->n_events > 0) {
		cr_expect_str_eq(a->events[a->n_events - 1].data, "[DONE]");
		return;
	}
	o = json_tokener_parse(a->body.p);
	hear(h, at(o, "choices.0"), "message");
	json_object_put(o);
}

static void
forget(struct heard *h)
{
	buf_free(&h->text);
	buf_free(&h->arguments);
}

#define STREAM ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"

static const char *const ways[] = {"", STREAM};

/* Asked in both ways, the client hears this. */
static void
expect_heard(const char *content, const char *members, const char *text,
    const char *arguments, const char *finish)
{
	for (size_t i = 0; i < 2; i++) {
		struct buf all = {0};
		struct heard h;
		struct answer a;

		buf_printf(&all, "%s%s", members, ways[i]);
		ask(content, buf_text(&all), &a);
		hear_all(&h, &a);
		cr_expect_str_eq(buf_text(&h.text), text, "%s", a.body.p);
		cr_expect_str_eq(
		    buf_text(&h.arguments), arguments, "%s", a.body.p);
		cr_expect_str_eq(h.finish, finish, "%s", a.body.p);
		cr_expect_eq(h.n_finishes, 1, "%s", a.body.p);
		cr_expect_not_null(strstr(a.body.p, "\"total_tokens\":"));
		forget(&h);
		answer_clear(&a);
		buf_free(&all);
	}
}

/* Everything that the stand-in was sent; the caller clears. */
static void
read_bodies(struct answer *a)
{
	const struct ask ask = {.base = stack.model, .path = "/_bodies"};

	http_ask(&ask, a);
}

static void
expect_nothing_sent(void)
{
	static const char *const secrets[] = {MAIL, "anna.smith", PHONE,
	    "1234567", CARD, "1111 1111", "4111111111111111"};
	struct answer a;

	read_bodies(&a);
	cr_expect_not_null(strstr(a.body.p, "[EMAIL_1]"));
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		cr_expect_null(strstr(a.body.p, secrets[i]), "%s", secrets[i]);
	answer_clear(&a);
}

/* The body that the model got last. */
static struct json_object *
sent(void)
{
	const struct ask ask = {.base = stack.model, .path = "/_last"};
	struct json_object *o, *body;
	struct answer a;

	http_ask(&ask, &a);
	o = json_tokener_parse(a.body.p);
	body = json_object_get(at(o, "body"));
	json_object_put(o);
	answer_clear(&a);
	return body;
}

static const char shapes[] =
    "{\"messages\":["
    "{\"role\":\"system\",\"content\":\"Ask " MAIL ".\"},"
    "{\"role\":\"developer\",\"content\":[{\"type\":\"text\","
    "\"text\":\"or\\n" PHONE "\"}]},"
    "{\"role\":\"user\",\"name\":\"" MAIL "\",\"content\":[{\"type\":"
    "\"text\",\"text\":\"Card " CARD "\"},{\"type\":\"image_url\","
    "\"image_url\":{\"url\":\"data:image/png;base64,+49301234567\"}}]},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\","
    "\"type\":\"function\",\"function\":{\"name\":\"mail\",\"arguments\":"
    "\"{\\\"to\\\":\\\"" MAIL "\\\",\\\"card\\\":4111111111111111}\"}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":"
    "\"{\\\"said\\\":\\\"\\\\n" PHONE "\\\"}\"},"
    "{\"role\":\"assistant\",\"content\":\"[EMAIL_1] is " MAIL "\"},"
    "{\"role\":\"user\",\"content\":\"hello\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"mail\","
    "\"description\":\"As to " MAIL "\"}}],"
    "\"stop\":[\"" MAIL "\"],\"seed\":4111111111111111,"
    "\"prediction\":{\"type\":\"content\",\"content\":\"" PHONE "\"},"
    "\"x_new\":{\"deep\":[\"" CARD "\"]},"
    "\"metadata\":{\"a\":\"" MAIL "\"},\"user\":\"" MAIL "\"}";

static const struct {
	const char *path, *want;
} masked[] = {
    {"messages.0.content", "Ask [EMAIL_1]."},
    {"messages.1.content.0.text", "or\n[PHONE_1]"},
    {"messages.2.name", "[EMAIL_1]"},
    {"messages.2.content.0.text", "Card [CARD_1]"},
    {"messages.2.content.1.image_url.url",
	"data:image/png;base64,+49301234567"},
    {"messages.3.tool_calls.0.id", "c1"},
    {"messages.3.tool_calls.0.function.name", "mail"},
    {"messages.3.tool_calls.0.function.arguments",
	"{\"to\":\"[EMAIL_1]\",\"card\":\"[CARD_2]\"}"},
    {"messages.4.tool_call_id", "c1"},
    {"messages.4.content", "{\"said\":\"\\n[PHONE_1]\"}"},
    {"messages.5.content", "[TEXT_1] is [EMAIL_1]"},
    {"tools.0.function.description", "As to [EMAIL_1]"},
    {"stop.0", "[EMAIL_1]"},
    {"seed", "4111111111111111"},
    {"prediction.content", "[PHONE_1]"},
    {"x_new.deep.0", "[CARD_1]"},
};

Test(completions_kept_back, nothing_leaves_in_whatever_shape_it_comes)
{
	struct json_object *body;
	struct answer a;

	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=mark");
	call_complete(&stack, &person, shapes, &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	body = sent();
	for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
		cr_expect_str_eq(text_at(body, masked[i].path), masked[i].want,
		    "%s: %s", masked[i].path, text_at(body, masked[i].path));
	cr_expect_str_eq(text_at(body, "user"), person.user_id);
	json_object_object_del(body, "seed");
	cr_expect_null(strstr(json_object_to_json_string(body), "4111"));
	json_object_put(body);
}

/* In pieces of every size, also where it comes as one. */
Test(completions_kept_back, what_was_masked_comes_back)
{
	static const char *const cuts[] = {"", "[[chunk=1]]", "[[chunk=2]]",
	    "[[chunk=3]]", "[[chunk=7]]", "[[split=1]]", "[[plain=1]]",
	    "[[nodone=1]]", "[[multiline=1]]", "[[length=1]]"};

	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=off");
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		char text[256];

		snprintf(
		    text, sizeof(text), "%s%s [EMAIL_1] [EMA", cuts[i], ALL);
		expect_heard(text, "", "You said: " ALL " [EMAIL_1] [EMA", "",
		    strstr(text, "length") != NULL ? "length" : "stop");
	}
	expect_nothing_sent();
}

/* Nothing waits but what may become a value. */
Test(completions_kept_back, what_was_masked_is_streamed_all_the_same)
{
	struct heard h;
	struct answer a;

	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=off");
	ask("[[events=30]] " MAIL, STREAM, &a);
	hear_all(&h, &a);
	cr_expect_geq(h.n_choices, 31, "%d: %s", h.n_choices, a.body.p);
	cr_expect_eq(h.text.n, 240u);
	forget(&h);
	answer_clear(&a);
}

#define CALLED "{\"to\":\"" MAIL "\",\"n\":[1],\"s\":\"[\\\"" MAIL "\\\"]\"}"

Test(completions_kept_back, what_is_called_has_the_values)
{
	static const char *const cuts[] = {
	    "", " chunk=1", " chunk=2", " chunk=5", " plain=1", " split=1"};

	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=off");
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), "[[tool=mail args=%s%s]]", CALLED,
		    cuts[i]);
		expect_heard(text, "", "", CALLED, "tool_calls");
	}
	expect_nothing_sent();
}

static void
expect_db(const char *sql, const char *want)
{
	char *value = db_text(sql, person.user_id);

	cr_expect_str_eq(value, want, "%s: %s, not %s", sql, value, want);
	free(value);
}

/* As it was said, and called. */
Test(completions_kept_back, what_is_stored_has_the_values)
{
	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=off");
	expect_heard(
	    "[[chunk=3]]" ALL, ",\"store\":true", "You said: " ALL, "", "stop");
	expect_heard("[[chunk=3 tool=mail args={\"to\":\"" MAIL "\"}]]",
	    ",\"store\":true", "", "{\"to\":\"" MAIL "\"}", "tool_calls");
	expect_db("SELECT count(*) FROM chat.messages WHERE user_id = $1"
		  " AND content IN ('[[chunk=3]]" ALL "', 'You said: " ALL "')",
	    "4");
	expect_db("SELECT count(*) FROM chat.messages WHERE user_id = $1"
		  " AND (tool_calls->0->'function'->>'arguments')::jsonb ="
		  " '{\"to\":\"" MAIL "\"}'",
	    "2");
	expect_db("SELECT count(*) FROM chat.analytics WHERE user_id = $1"
		  " AND (name || properties::text) LIKE '%anna%'",
	    "0");
	expect_nothing_sent();
}

#define AMISS                                      \
	"SELECT count(*) FROM chat.budgets_amiss(" \
	"date_trunc('month', now())::date) WHERE $1 <> ''"

static void
expect_account(const char *rows)
{
	expect_db(AMISS, "0");
	expect_db("SELECT count(*) FROM chat.running_replies"
		  " WHERE user_id = $1::uuid",
	    "0");
	expect_db("SELECT count(*) FROM chat.usage_tracking"
		  " WHERE user_id = $1::uuid AND is_billed",
	    rows);
}

static void
expect_refused(const struct answer *a, long status, const char *code)
{
	cr_expect_eq(a->status, status, "%ld %s", a->status, a->body.p);
	cr_expect_str_eq(answer_text(a, "error.code"), code);
	cr_expect_null(strstr(a->body.p, "You said"));
}

Test(completions_kept_back, a_question_that_is_flagged_is_refused)
{
	struct answer a;

	start("CHAT_PII_MASK=off", "CHAT_MODERATION_REPLIES=off");
	for (size_t i = 0; i < 2; i++) {
		ask("#flag=violence", ways[i], &a);
		expect_refused(&a, 400, "content_filter");
		answer_clear(&a);
	}
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 0);
	expect_db("SELECT string_agg(name || (properties->>'flagged'), ' ')"
		  " FROM chat.analytics WHERE user_id = $1::uuid"
		  " AND category = 'moderation'",
	    "violencequestion violencequestion");
	expect_db("SELECT sum(prompt_tokens + completion_tokens)"
		  " FROM chat.usage_tracking WHERE user_id = $1::uuid",
	    "0");
	expect_account("2");
}

Test(completions_kept_back, a_reply_that_passes_is_told_as_one)
{
	struct heard h;
	struct answer a;

	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=withhold");
	expect_heard("[[chunk=2]]" ALL, "", "You said: " ALL, "", "stop");
	expect_heard("[[plain=1]]" ALL, "", "You said: " ALL, "", "stop");
	expect_heard(
	    "[[chunk=2]]" ALL, ",\"store\":true", "You said: " ALL, "", "stop");
	expect_heard("[[tool=look args={\"a\":\"" MAIL "\"} chunk=3]]", "", "",
	    "{\"a\":\"" MAIL "\"}", "tool_calls");
	ask("[[events=20]] x", STREAM, &a);
	hear_all(&h, &a);
	cr_expect_eq(h.n_choices, 2, "all of it, and its end: %s", a.body.p);
	cr_expect_eq(h.text.n, 160u);
	forget(&h);
	answer_clear(&a);
	expect_nothing_sent();
}

static void
expect_withheld(const char *content, const char *members)
{
	struct answer a;

	ask(content, members, &a);
	cr_expect_null(strstr(a.body.p, "flag="), "%s", a.body.p);
	cr_expect_null(strstr(a.body.p, "You said"));
	answer_clear(&a);
	expect_heard(content, members, "", "", "content_filter");
}

Test(completions_kept_back, a_reply_that_is_flagged_is_withheld_and_billed)
{
	start("CHAT_PII_MASK=off", "CHAT_MODERATION_REPLIES=withhold");
	expect_withheld("[[chunk=2]]#replyflag=violence", "");
	expect_withheld("[[plain=1]]#replyflag=violence", "");
	expect_withheld(
	    "[[tool=look args={\"a\":\"#callflag=violence\"}]]", "");
	expect_account("9");
	expect_db("SELECT count(*) FROM chat.usage_tracking"
		  " WHERE user_id = $1::uuid AND completion_tokens > 0",
	    "9");
	expect_db("SELECT string_agg(DISTINCT name ||"
		  " (properties->>'flagged'), ' ') FROM chat.analytics"
		  " WHERE user_id = $1::uuid AND category = 'moderation'",
	    "violencereply");
	expect_db("SELECT count(*) FROM chat.messages"
		  " WHERE user_id = $1::uuid",
	    "0");
	expect_withheld("#replyflag=violence", ",\"store\":true");
	expect_withheld("[[tool=look args={\"a\":\"#callflag=violence\"}]]",
	    ",\"store\":true");
	expect_db("SELECT string_agg(DISTINCT status || ' ' || error_code ||"
		  " ' ' || content || tool_calls ||"
		  " (metadata->'moderation'->>'flagged'), ',')"
		  " FROM chat.messages WHERE user_id = $1::uuid"
		  " AND role = 'assistant'",
	    "failed content_refused []reply");
	expect_account("15");
}

Test(completions_kept_back, a_reply_that_cannot_be_checked_is_not_told)
{
	struct answer a;

	start("CHAT_PII_MASK=off", "CHAT_MODERATION_REPLIES=withhold");
	for (size_t i = 0; i < 2; i++) {
		ask("#moderation=500", ways[i], &a);
		expect_refused(&a, 503, "unavailable");
		answer_clear(&a);
		/* It ends otherwise before it could be checked. */
		ask("[[midstream_error=3]] some words of a reply", ways[i], &a);
		expect_refused(&a, 502, "model_failed");
		answer_clear(&a);
	}
	expect_account("4");
}

static bool
model_is_asked(void *arg)
{
	(void)arg;
	return stack_model_count(&stack, "streams_open") == 1;
}

static bool
model_saw_hangup(void *arg)
{
	(void)arg;
	return stack_model_count(&stack, "client_hangups") > 0;
}

static bool
has_settled(void *arg)
{
	char n[16];

	(void)arg;
	db_value("SELECT count(*) FROM chat.usage_tracking"
		 " WHERE user_id = $1::uuid",
	    person.user_id, n, sizeof(n));
	return strcmp(n, "1") == 0;
}

/* A client that waits for what is withheld has nothing but its connection. */
Test(completions_kept_back, who_goes_away_ends_what_is_withheld)
{
	static const char json[] =
	    "{\"stream\":true,\"messages\":[{\"role\":\"user\","
	    "\"content\":\"[[events=2000 gate=20]] x\"}]}";
	struct buf request = {0};
	char byte;
	int fd;

	start("CHAT_PII_MASK=off", "CHAT_MODERATION_REPLIES=withhold");
	buf_printf(&request,
	    "POST " PATH " HTTP/1.1\r\nHost: localhost\r\n"
	    "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    person.token, strlen(json), json);
	fd = raw_open(stack.port, 0);
	raw_send(fd, request.p, request.n);
	buf_free(&request);
	cr_assert(wait_until(model_is_asked, NULL, 60000));
	stack_model_open(&stack);
	cr_assert(wait_until(stack_model_is_heard, &stack, 60000));
	cr_expect_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1, "it is told");
	close(fd);
	cr_expect(wait_until(model_saw_hangup, NULL, 30000));
	cr_expect(wait_until(has_settled, NULL, 30000));
	expect_account("1");
}

/* A heartbeat takes the head along, and what comes then is in the stream. */
Test(completions_kept_back, a_heartbeat_does_not_tell_what_is_withheld)
{
	struct heard h;
	struct answer a;

	start("CHAT_HEARTBEAT_SECONDS=1", "CHAT_MODERATION_REPLIES=withhold");
	ask("[[first=3500]]#replyflag=violence", STREAM, &a);
	cr_expect_not_null(strstr(a.body.p, ": still here"));
	hear_all(&h, &a);
	cr_expect_str_eq(buf_text(&h.text), "");
	cr_expect_str_eq(h.finish, "content_filter");
	forget(&h);
	answer_clear(&a);
}

Test(completions_kept_back, a_flagged_reply_is_marked_where_it_was_told)
{
	start("CHAT_PII_MASK=off", "CHAT_MODERATION_REPLIES=mark");
	expect_heard("[[chunk=2]]#replyflag=violence", "",
	    "You said: #replyflag=violence", "", "content_filter");
	expect_heard("[[tool=look args={\"a\":\"#callflag=violence\"}]]", "",
	    "", "{\"a\":\"#callflag=violence\"}", "content_filter");
	expect_heard("harmless", "", "You said: harmless", "", "stop");
	expect_account("6");
}

Test(completions_kept_back, natter_local_is_held_to_it_too)
{
	struct answer a;

	start("CHAT_PII_MASK=on", "CHAT_MODERATION_REPLIES=withhold");
	ask("Who are you?", ",\"model\":\"natter-local\"", &a);
	cr_expect_eq(a.status, 200, "%s", a.body.p);
	cr_expect_not_null(strstr(a.body.p, "natter-local"));
	answer_clear(&a);
	ask("#flag=violence", ",\"model\":\"natter-local\"", &a);
	expect_refused(&a, 400, "content_filter");
	answer_clear(&a);
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 0);
}
