/*
 * Makes the store and its tools through the API, as administrators do.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "shop.h"

#define STORES "/api/v1/admin/stores"

const char *
shop_path(const struct shop *s, const char *below)
{
	static _Thread_local char paths[4][256];
	static _Thread_local int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), STORES "/%s/tools%s", s->store, below);
	return path;
}

void
shop_call(const struct shop *s, const char *method, const char *path,
    const char *json, long status, struct answer *a)
{
	struct ask ask = {.method = method,
	    .base = s->stack->base,
	    .path = path,
	    .token = s->boss.token,
	    .json = json};

	http_ask(&ask, a);
	cr_assert_eq(a->status, status, "%s %s: %ld %s", method, path,
	    a->status, a->body.p);
}

void
shop_make(const struct stack *stack, struct shop *s)
{
	char json[256], id[ID_TEXT];
	struct ask ask = {.method = "POST",
	    .base = stack->base,
	    .path = "/api/v1/conversations",
	    .token = s->user.token,
	    .json = json};
	struct answer a;

	memset(s, 0, sizeof(*s));
	s->stack = stack;
	person_make_boss(stack, &s->boss);
	id_make(id);
	snprintf(s->slug, sizeof(s->slug), "shop-%s", id);
	snprintf(json, sizeof(json),
	    "{\"slug\":\"%s\",\"name\":\"Shop\",\"is_open\":true}", s->slug);
	shop_call(s, "POST", STORES, json, 201, &a);
	snprintf(s->store, sizeof(s->store), "%s", answer_text(&a, "id"));
	answer_clear(&a);
	person_make(stack, &s->user);
	snprintf(json, sizeof(json), "{\"store_id\":\"%s\"}", s->store);
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(s->user.conversation, sizeof(s->user.conversation), "%s",
	    answer_text(&a, "id"));
	answer_clear(&a);
}

void
shop_add_tool(struct shop *s, const char *name, const char *url, int timeout_ms)
{
	char json[1024];
	struct answer a;

	snprintf(json, sizeof(json),
	    "{\"name\":\"%s\",\"description\":\"Where an order is\","
	    "\"url\":\"%s\",\"timeout_ms\":%d,\"parameters\":{"
	    "\"type\":\"object\",\"properties\":{\"order\":{"
	    "\"type\":\"string\"}},\"required\":[\"order\"],"
	    "\"additionalProperties\":false}}",
	    name, url, timeout_ms);
	shop_call(s, "POST", shop_path(s, ""), json, 201, &a);
	snprintf(s->tool, sizeof(s->tool), "%s", answer_text(&a, "id"));
	snprintf(s->secret, sizeof(s->secret), "%s", answer_text(&a, "secret"));
	answer_clear(&a);
}

void
shop_ask(
    const struct shop *s, const char *tool, const char *args, struct answer *a)
{
	char content[256];

	snprintf(content, sizeof(content),
	    "[[tool=%s args=%s text=40]] Where is my order?", tool, args);
	person_say(s->stack, &s->user, content, a);
}
