/*
 * Answers to identical prompts, through nginx, with a model that counts how
 * often it is asked: off unless asked for, marked, free, and gone with what
 * they came from.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include "calls.h"
#include "stack_shared.h"

static struct stack stack;
static struct person person;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_REDIS_TIMEOUT=2000"},
	    .has_model = true};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

/* Each test its own person: what others delete is nothing to them. */
static void
setup(void)
{
	stack_take(&stack);
	person_make(&stack, &person);
}

TestSuite(cached_answers, .init = setup, .timeout = 120);

/* What a turn came to. */
struct told {
	long status;
	char id[40];
	char content[256];
	bool is_cached;
	int prompt_tokens;
	int completion_tokens;
	int token_count;
	char model[64];
};

/* Posts in a conversation with a body that ends in `more`. */
static struct told
say(const struct person *p, const char *conversation, const char *content,
    const char *more)
{
	char path[128], json[512];
	const struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json};
	struct told t = {0};
	struct answer a;

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    conversation);
	snprintf(json, sizeof(json), "{\"content\":\"%s\"%s}", content, more);
	http_ask(&ask, &a);
	t.status = a.status;
	t.is_cached = strcmp(answer_text(&a, "metadata.cached"), "true") == 0;
	t.prompt_tokens = atoi(answer_text(&a, "usage.prompt_tokens"));
	t.completion_tokens = atoi(answer_text(&a, "usage.completion_tokens"));
	t.token_count = atoi(answer_text(&a, "token_count"));
	snprintf(t.id, sizeof(t.id), "%s", answer_text(&a, "id"));
	snprintf(t.model, sizeof(t.model), "%s", answer_text(&a, "model"));
	snprintf(
	    t.content, sizeof(t.content), "%s", answer_text(&a, "content"));
	answer_clear(&a);
	return t;
}

/* The same in a new conversation: nothing was said before. */
static struct told
say_anew(const struct person *p, const char *content, const char *more)
{
	char id[40];

	person_converse(&stack, p, id);
	return say(p, id, content, more);
}

#define CACHE ",\"cache\":true"

struct wanted {
	const char *content;
	struct told told;
};

static bool
is_hit(void *arg)
{
	struct wanted *w = arg;

	w->told = say_anew(&person, w->content, CACHE);
	return w->told.is_cached;
}

/* Says it until the answer comes from the cache, and gives that one: a worker
 * that has just begun does not use it yet, and whatever SQL writes, here or
 * beside this program, empties it again. */
static struct told
warm(const char *content)
{
	struct wanted w = {.content = content};

	cr_assert(wait_until(is_hit, &w, 60000), "%s", content);
	return w.told;
}

Test(cached_answers, are_off_unless_asked_for)
{
	warm("Say one.");
	for (int i = 0; i < 3; i++) {
		cr_expect(!say_anew(&person, "Say one.", "").is_cached);
		cr_expect(!say_anew(&person, "Say one.", ",\"cache\":false")
			       .is_cached);
	}
	cr_expect_eq(say_anew(&person, "x", ",\"cache\":1").status, 422);
}

Test(cached_answers, are_marked_and_cost_nothing)
{
	char path[64], cost[64];
	struct told asked = say_anew(&person, "Say two.", "");
	struct told t;
	struct answer a;
	const struct ask ask = {
	    .base = stack.base, .path = path, .token = person.token};

	t = warm("Say two.");
	cr_assert_eq(t.status, 201);
	cr_expect(t.is_cached);
	cr_expect(!asked.is_cached);
	cr_expect_str_eq(t.content, asked.content);
	cr_expect_str_eq(t.model, asked.model);
	cr_expect_eq(t.prompt_tokens, 0);
	cr_expect_eq(t.completion_tokens, 0);
	cr_expect_gt(t.token_count, 0, "of a context it takes as much");
	cr_expect_gt(asked.prompt_tokens, 0);
	/* It is stored like that. */
	snprintf(path, sizeof(path), "/api/v1/messages/%s", t.id);
	http_ask(&ask, &a);
	cr_expect_str_eq(answer_text(&a, "metadata.cached"), "true");
	cr_expect_str_eq(answer_text(&a, "status"), "complete");
	cr_expect_str_eq(answer_text(&a, "content"), asked.content);
	answer_clear(&a);
	db_value("SELECT prompt_tokens + completion_tokens + cost"
		 " FROM chat.usage_tracking WHERE id = $1::text::uuid",
	    t.id, cost, sizeof(cost));
	cr_expect_eq(atof(cost), 0.0, "%s", cost);
}

Test(cached_answers, are_streamed_like_others)
{
	char path[128];
	struct answer a;
	const struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = person.token,
	    .json = "{\"content\":\"Say three.\",\"stream\":true,"
		    "\"cache\":true}"};
	struct told t;

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    person.conversation);
	/* What SQL wrote empties the caches once more, within a second. */
	for (int i = 0; i < 20; i++) {
		t = warm("Say three.");
		http_ask(&ask, &a);
		if (strcmp(answer_event_text(&a, "done", "metadata.cached"),
			"true") == 0)
			break;
		answer_clear(&a);
	}
	cr_assert(answer_ends_with(&a, "done"));
	cr_expect_str_eq(a.text.p, t.content);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "metadata.cached"), "true");
	answer_clear(&a);
}

/* Model, history and prompt make an answer; whose it is too. */
Test(cached_answers, are_of_the_very_same_prompt_and_person)
{
	struct person other;
	char id[40];

	warm("Say four.");
	cr_expect(!say_anew(&person, "Say  four.", CACHE).is_cached);
	cr_expect(!say_anew(&person, "Say four.", CACHE ",\"model\":\"m-2\"")
		       .is_cached);
	person_converse(&stack, &person, id);
	cr_expect_eq(say(&person, id, "Before.", "").status, 201);
	cr_expect(!say(&person, id, "Say four.", CACHE).is_cached);
	person_make(&stack, &other);
	cr_expect(!say_anew(&other, "Say four.", CACHE).is_cached);
}

Test(cached_answers, are_whole_ones_only)
{
	static const char *const contents[] = {
	    "[[length]] a", "[[refusal]] b", "[[cut=1]] c"};

	warm("Say five.");
	for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++)
		for (int k = 0; k < 4; k++)
			cr_expect(
			    !say_anew(&person, contents[i], CACHE).is_cached,
			    "%s", contents[i]);
}

static long
erase(const char *path)
{
	return call_status(&stack, "DELETE", path, person.token, NULL);
}

Test(cached_answers, go_with_the_conversation_they_came_from)
{
	char path[96];

	warm("Say six.");
	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    person.conversation);
	cr_assert_eq(erase(path), 204);
	cr_expect(!say_anew(&person, "Say six.", CACHE).is_cached);
	warm("Say six.");
}

Test(cached_answers, of_temporary_conversations_are_not_kept)
{
	const struct ask make = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/conversations",
	    .token = person.token,
	    .json = "{\"temporary\":true}"};

	warm("Say seven.");
	for (int i = 0; i < 3; i++) {
		struct answer a;
		char id[40];

		http_ask(&make, &a);
		cr_assert_eq(a.status, 201);
		snprintf(id, sizeof(id), "%s", answer_text(&a, "id"));
		answer_clear(&a);
		cr_expect(!say(&person, id, "Say seven.", CACHE).is_cached);
		cr_expect(!say(&person, id, "Say eight.", CACHE).is_cached);
	}
}

/* Makes a conversation in a store that keeps answers. */
static void
converse_in(const struct person *p, const char *slug, char out_id[40])
{
	char json[96], store[40];
	const struct ask make = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/conversations",
	    .token = p->token,
	    .json = json};
	struct answer a;

	db_value("SELECT id::text FROM chat.stores WHERE slug = $1", slug,
	    store, sizeof(store));
	snprintf(json, sizeof(json), "{\"store_id\":\"%s\"}", store);
	http_ask(&make, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

static struct told
say_in(const struct person *p, const char *slug, const char *content,
    const char *more)
{
	char id[40];

	converse_in(p, slug, id);
	return say(p, id, content, more);
}

Test(cached_answers, of_a_store_are_for_all_who_talk_in_it)
{
	char slug[64], none[8];
	struct person other;
	char question[32];
	bool is_shared = false;

	snprintf(slug, sizeof(slug), "s-%s", person.conversation);
	db_value("INSERT INTO chat.stores (id, slug, name, is_open, settings)"
		 " VALUES (gen_random_uuid(), $1, 'S', true,"
		 " '{\"answer_cache\": true}') RETURNING 1",
	    slug, none, sizeof(none));
	person_make(&stack, &other);
	/* What SQL wrote empties the caches once more, within a second: then
	 * the other's answer is their own, and another question is tried. */
	for (int i = 0; i < 20 && !is_shared; i++) {
		struct told t = {0};

		snprintf(question, sizeof(question), "Say nine, %d.", i);
		for (int j = 0; j < 100 && !t.is_cached; j++) {
			t = say_in(&person, slug, question, "");
			(void)poll(NULL, 0, 100);
		}
		cr_assert(t.is_cached);
		is_shared = say_in(&other, slug, question, "").is_cached;
	}
	cr_expect(is_shared);
	cr_expect(
	    !say_in(&other, slug, question, ",\"cache\":false").is_cached);
	cr_expect(!say_anew(&other, question, CACHE).is_cached);
	/* The one from whose conversation it came goes. */
	cr_assert_eq(
	    call_status(&stack, "DELETE", "/api/v1/me", person.token, NULL),
	    204);
	cr_expect(!say_in(&other, slug, question, "").is_cached);
	db_value("UPDATE chat.stores SET settings = '{}' WHERE slug = $1"
		 " RETURNING 1",
	    slug, none, sizeof(none));
	cr_expect(!say_in(&other, slug, question, "").is_cached);
}
