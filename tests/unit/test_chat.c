/*
 * The chat domain without a database: titles, names, the prompt, and the JSON
 * of a message.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "chat/conversation.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "chat/turn.h"

static struct arena *a;

static void
make_arena(void)
{
	a = arena_new(1024 * 1024);
}

static void
drop_arena(void)
{
	arena_free(a);
}

TestSuite(chat, .init = make_arena, .fini = drop_arena);

#define TEN   "0123456789"
#define FIFTY TEN TEN TEN TEN TEN

Test(chat, a_title_is_the_first_60_characters_on_one_line)
{
	static const struct {
		const char *content;
		const char *want;
	} rows[] = {
	    {"Hello", "Hello"},
	    {"  Hello \r\n\t there  ", "Hello there"},
	    {"a\001\177"
	     "b",
		"a b"},
	    {"\u00a0\u2003x\u2028y", "x y"},
	    {FIFTY TEN, FIFTY TEN},
	    {FIFTY TEN "x", FIFTY TEN},
	    {FIFTY "012345678 x", FIFTY "012345678"},
	    {FIFTY "01234567 xy", FIFTY "01234567 x"},
	    {"\u00e4\u4e2d\U0001f600", "\u00e4\u4e2d\U0001f600"},
	    {"", ""},
	    {" \n", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_str_eq(conversation_title(a, rows[i].content),
		    rows[i].want, "row %zu", i);
}

Test(chat, a_title_of_60_wide_characters_fits_its_room)
{
	char content[61 * 4 + 1];
	for (size_t i = 0; i < 61; i++)
		memcpy(content + 4 * i, "\xf0\x9f\x98\x80", 5);
	cr_expect_eq(strlen(conversation_title(a, content)), 60 * 4);
}

Test(chat, a_models_name_is_printable_ascii_without_spaces)
{
	char name[MODEL_NAME_MAX + 2];
	memset(name, 'x', sizeof(name));
	name[MODEL_NAME_MAX + 1] = '\0';
	cr_expect_not(model_name_is_fit(name));
	name[MODEL_NAME_MAX] = '\0';
	cr_expect(model_name_is_fit(name));
	cr_expect(model_name_is_fit("org/Model-7B:q4~"));
	cr_expect_not(model_name_is_fit(""));
	cr_expect_not(model_name_is_fit("a b"));
	cr_expect_not(model_name_is_fit("a\n"));
	cr_expect_not(model_name_is_fit("\u00e9"));
}

Test(chat, a_conversation_is_named_by_uuid_or_short_id)
{
	char id[ID_TEXT];
	char short_id[ID_SHORT_TEXT];
	const char *key[2];
	id_make(id);
	id_make_short(short_id);
	cr_assert_eq(conversation_key(id, key), OK);
	cr_expect_eq(key[0], id);
	cr_expect_null(key[1]);
	cr_assert_eq(conversation_key(short_id, key), OK);
	cr_expect_null(key[0]);
	cr_expect_eq(key[1], short_id);
	cr_expect_eq(conversation_key("", key), ERR_NOT_FOUND);
	cr_expect_eq(conversation_key("x'; DROP", key), ERR_NOT_FOUND);
}

/* About nobody's rows in particular. */
static bool
is_nobodys(const char *name)
{
	static const char *const names[] = {"chat_WORKER_SEEN",
	    "chat_WORKERS_DIED", "chat_CANCELLED_REPLIES", "chat_LOST_TAKE",
	    "chat_LOST_END", "chat_CACHE_STATE", "chat_SCHEMA_VERSION",
	    "chat_FACTS_LOCK", "chat_EMBEDDINGS_CLAIM"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return false;
}

/* The user is looked at, or taken from app.user_id, in a function. */
static bool
asks_a_function(const char *sql)
{
	static const char *const names[] = {"chat.admin_", "auth.admin_",
	    "chat.budget_allows($1", "chat.documents_find(",
	    "chat.passages_find(", "chat.documents_search(",
	    "chat.passages_rank(", "chat.passages_embedded(",
	    "chat.embeddings_store($1", "chat.embeddings_fail($1"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strstr(sql, names[i]))
			return true;
	}
	return false;
}

Test(chat, every_statement_says_whose_rows_it_means_and_which_columns)
{
	for (size_t i = 0; i < chat_domain.n; i++) {
		const struct pg_query *q = &chat_domain.queries[i];
		cr_expect(is_nobodys(q->name) || asks_a_function(q->sql) ||
			      !strcmp(q->name, "chat_ANALYTICS_ADD") ||
			      strstr(q->sql, "user_id = $1") ||
			      strstr(q->sql, "auth.users t WHERE t.id = $1") ||
			      strstr(q->sql, "VALUES ($1") ||
			      strstr(q->sql, " SELECT $1, $2"),
		    "%s", q->name);
		cr_expect_null(strstr(q->sql, "SELECT *"), "%s", q->name);
		if (strstr(q->name, "LIST") || strstr(q->name, "HISTORY"))
			cr_expect(strstr(q->sql, "LIMIT $") ||
				      strstr(q->sql, "_list($"),
			    "%s", q->name);
	}
}

static const struct message plain = {
    .id = "1",
    .conversation_id = "2",
    .position = 3,
    .role = "user",
    .content = "a\"\\\n\u00e9",
    .status = "complete",
    .token_count = -1,
    .metadata = "{\"k\":[1]}",
    .created_at = "2026-01-02 03:04:05.6+00",
    .completed_at = "2026-01-02 03:04:05+00",
};

Test(chat, a_message_shows_null_for_what_it_has_not)
{
	struct buf out = {0};
	message_write(&out, &plain);
	buf_putc(&out, '\0');
	cr_expect_str_eq(out.p,
	    "{\"id\":\"1\",\"conversation_id\":\"2\",\"parent_id\":null,"
	    "\"position\":3,\"role\":\"user\","
	    "\"content\":\"a\\\"\\\\\\n\u00e9\",\"status\":\"complete\","
	    "\"model\":null,\"finish_reason\":null,\"error_code\":null,"
	    "\"token_count\":null,\"metadata\":{\"k\":[1]},"
	    "\"created_at\":\"2026-01-02T03:04:05.600000Z\","
	    "\"completed_at\":\"2026-01-02T03:04:05.000000Z\","
	    "\"used_documents\":null,\"tool_calls\":null,"
	    "\"tool_responses\":null,"
	    "\"intent\":null,\"entities\":null,\"usage\":null}");
	buf_free(&out);
}

Test(chat, a_reply_shows_its_usage)
{
	struct message m = plain;
	m.token_count = 0;
	m.has_usage = true;
	m.prompt_tokens = 5;
	m.completion_tokens = 7;
	m.cached_tokens = 2;
	m.cost = "0.00000046";
	m.is_estimated = true;
	struct buf out = {0};
	message_write(&out, &m);
	buf_putc(&out, '\0');
	cr_expect_not_null(
	    strstr(out.p, "\"usage\":{\"prompt_tokens\":5,\"cached_tokens\":2,"
			  "\"completion_tokens\":7,\"total_tokens\":12,"
			  "\"cost\":0.00000046,\"estimated\":true}"));
	cr_expect_not_null(strstr(out.p, "\"token_count\":0,"));
	buf_free(&out);
}

Test(chat, a_text_full_to_its_cap_is_finished_whole)
{
	struct pg_call calls[TURN_FINISH_CALLS];
	struct turn t = {
	    .status = TURN_COMPLETE, .text = {.cap = 4}, .usage = {-1, -1, -1}};
	buf_puts(&t.text, "abcd");
	buf_puts(&t.text, "e");
	cr_assert(t.text.failed);
	cr_assert_eq(t.text.n, t.text.room);
	cr_expect_eq(turn_finish(&t, a, calls), 1);
	cr_expect_str_eq(calls[0].params[2], "abcd");
	cr_expect_str_eq(calls[0].params[7], "1");
	buf_free(&t.text);
}

Test(chat, token_counts_beyond_an_int_are_clamped)
{
	struct pg_call calls[TURN_FINISH_CALLS];
	struct turn t = {
	    .status = TURN_COMPLETE, .usage = {INT64_MAX, INT64_MAX, -1}};
	cr_expect_eq(turn_finish(&t, a, calls), 1);
	cr_expect_str_eq(calls[0].params[8], "2147483647");
	cr_expect_str_eq(calls[0].params[9], "2147483647");
	cr_expect_str_eq(calls[0].params[10], "0");
	cr_expect_str_eq(calls[0].params[11], "f");
}
