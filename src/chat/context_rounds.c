/*
 * Noting requests, and building them again. Both ends of the note's members
 * `rounds` and `said` are here.
 */
#include <json-c/json.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"
#include "chat/context.h"
#include "chat/context_rounds.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "model/mask.h"
#include "model/model.h"

#define HEX (2 * CONTEXT_SHA256 + 1)

/* A request that was made. */
struct asked {
	struct context_round told;
	int64_t max_tokens; /* as openai_round has them */
	bool is_last;
	unsigned char sha256[CONTEXT_SHA256];
};

struct context_rounds {
	size_t n;
	struct asked list[];
};

void
context_rounds_free(struct context_rounds *asked)
{
	free(asked);
}

void
context_rounds_add(struct turn *t, const struct context_round *told,
    const struct openai_round *round)
{
	size_t n = t->asked ? t->asked->n : 0;
	struct asked one = {
	    .told = *told,
	    .max_tokens = round->max_tokens,
	    .is_last = round->is_last,
	};
	struct context_rounds *more = NULL;
	/* One that is missing would have the others take its place. */
	if (n + 1 == (size_t)t->rounds.n &&
	    context_sha256(&t->prompt, one.sha256))
		more = realloc(t->asked, sizeof(*more) + (n + 1) * sizeof(one));
	if (!more) {
		free(t->asked);
		t->asked = NULL;
		return;
	}
	more->list[n] = one;
	more->n = n + 1;
	t->asked = more;
}

void
context_rounds_drop(struct turn *t)
{
	if (t->asked)
		t->asked->n--;
}

/* JSON as it was spelt; what is only text its column keeps. */
static void
note_spelling(struct buf *out, const char *key, const struct buf *text)
{
	size_t skip = 0;
	while (skip < text->n && strchr(" \t\r\n", text->p[skip]))
		skip++;
	if (skip < text->n && text->p[skip] == '{')
		json_write_bytes(out, key, text->p, text->n);
}

static void
note_said(const struct turn *t, struct buf *out)
{
	json_write_open(out, "said", '[');
	for (size_t i = 0; i < t->uses->n; i++) {
		const struct tool_use *use = &t->uses->list[i];
		if (use->round > (int)t->asked->n)
			break;
		json_write_open(out, NULL, '{');
		note_spelling(out, "arguments", &use->arguments);
		note_spelling(out, "result", &use->result);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

void
context_rounds_note(const struct turn *t, struct buf *out)
{
	char hex[HEX];
	if (!t->asked || t->asked->n == 0 || !t->uses)
		return;
	json_write_open(out, "rounds", '[');
	for (size_t i = 0; i < t->asked->n; i++) {
		const struct asked *a = &t->asked->list[i];
		sodium_bin2hex(hex, sizeof(hex), a->sha256, CONTEXT_SHA256);
		json_write_open(out, NULL, '{');
		json_write_number(out, "text_at", (int64_t)a->told.text_at);
		json_write_number(out, "text_n", (int64_t)a->told.text_n);
		json_write_number(out, "max_tokens", a->max_tokens);
		json_write_flag(out, "is_last", a->is_last);
		json_write_text(out, "sha256", hex);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
	note_said(t, out);
}

static struct json_object *
list_of(struct json_object *note, const char *name)
{
	struct json_object *list = NULL;
	(void)json_object_object_get_ex(note, name, &list);
	return json_object_is_type(list, json_type_array) ? list : NULL;
}

/* Puts the spelling of its author in the place of jsonb's. */
static void
respell(struct json_object *said, const char *key, struct buf *text)
{
	struct json_object *v = NULL;
	(void)json_object_object_get_ex(said, key, &v);
	if (!json_object_is_type(v, json_type_string))
		return;
	buf_clear(text);
	buf_add(text, json_object_get_string(v),
	    (size_t)json_object_get_string_len(v));
}

static struct tool_uses *
read_uses(const struct rounds_left *left)
{
	struct json_object *said = list_of(left->note, "said");
	struct tool_uses *uses =
	    left->calls && left->responses
		? tool_uses_read(left->calls, left->responses)
		: NULL;
	size_t n = said ? json_object_array_length(said) : 0;
	/* What was taken away since is not brought back from the note. */
	for (size_t i = 0; uses && i < n && i < uses->n; i++) {
		struct json_object *o = json_object_array_get_idx(said, i);
		respell(o, "arguments", &uses->list[i].arguments);
		if (uses->list[i].has_ended)
			respell(o, "result", &uses->list[i].result);
	}
	return uses;
}

/* What round `number` added to the request after it. */
static void
write_messages(const struct rounds_left *left, const struct tool_uses *uses,
    struct json_object *asked, int number, struct buf *out)
{
	size_t length = left->text ? strlen(left->text) : 0;
	int64_t at = json_member_number(asked, "text_at");
	int64_t n = json_member_number(asked, "text_n");
	if (at < 0 || (size_t)at > length)
		at = (int64_t)length;
	if (n < 0 || (size_t)(at + n) > length)
		n = (int64_t)length - at;
	tool_round_messages(
	    uses, number, n > 0 ? left->text + at : "", (size_t)n, out);
	if (left->mask)
		mask_whole_json(left->mask, out);
}

/* The request after `before`; false without memory. */
static bool
build(const struct buf *before, const struct buf *messages,
    struct json_object *asked, struct buf *out)
{
	struct json_object *is_last = NULL;
	(void)json_object_object_get_ex(asked, "is_last", &is_last);
	const struct openai_round round = {
	    .messages = messages->p,
	    .messages_len = messages->n,
	    .max_tokens = json_member_number(asked, "max_tokens"),
	    .is_last = json_object_get_boolean(is_last),
	};
	return !messages->failed && openai_next_body(out, before, &round);
}

static bool
write_request(
    struct json_object *asked, int number, struct buf *body, struct buf *out)
{
	unsigned char sha256[CONTEXT_SHA256];
	char hex[HEX] = "";
	const char *sent = json_member_text(asked, "sha256");
	if (context_sha256(body, sha256))
		sodium_bin2hex(hex, sizeof(hex), sha256, sizeof(sha256));
	bool is_exact = sent && !strcmp(sent, hex);
	json_write_open(out, NULL, '{');
	json_write_number(out, "round", number);
	json_write_flag(out, "exact", is_exact);
	json_write_text(out, "sha256", sent);
	json_write_raw(out, "request", buf_text(body));
	json_write_close(out, '}');
	return is_exact;
}

/* All requests after the first; false without memory. */
static bool
write_requests(const struct rounds_left *left, const struct tool_uses *uses,
    struct buf *out, bool *out_is_exact)
{
	struct json_object *rounds = list_of(left->note, "rounds");
	struct buf body = {0};
	int n = rounds ? (int)json_object_array_length(rounds) : 0;
	bool is_built = true;
	for (int i = 0; is_built && i < n; i++) {
		struct json_object *asked =
		    json_object_array_get_idx(rounds, (size_t)i);
		struct buf messages = {0}, next = {0};
		write_messages(left, uses, asked, i + 1, &messages);
		is_built = build(
		    i == 0 ? left->first : &body, &messages, asked, &next);
		buf_free(&messages);
		buf_free(&body);
		body = next;
		if (is_built && !write_request(asked, i + 2, &body, out))
			*out_is_exact = false;
	}
	buf_free(&body);
	return is_built && !out->failed;
}

enum err
context_rounds_show(
    const struct rounds_left *left, struct buf *out, bool *out_is_exact)
{
	struct tool_uses *uses = read_uses(left);
	static const struct tool_uses none = {0};
	*out_is_exact = true;
	json_write_open(out, NULL, '[');
	bool is_written =
	    write_requests(left, uses ? uses : &none, out, out_is_exact);
	json_write_close(out, ']');
	tool_uses_free(uses);
	return is_written ? OK : ERR_TOO_LARGE;
}
