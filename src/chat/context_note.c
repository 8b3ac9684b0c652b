/*
 * Writing the note. Its reader is context_show.c.
 */
#include <sodium.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/context.h"
#include "chat/context_note.h"
#include "chat/context_rounds.h"
#include "chat/retrieve.h"
#include "chat/tool.h"
#include "chat/turn.h"

/* What its readers know it by. */
#define NOTE_FORM 1

static void
finish_hash(crypto_generichash_state *state, char out[static CONTEXT_HASH])
{
	unsigned char hash[crypto_generichash_BYTES_MIN];
	char hex[2 * sizeof(hash) + 1];
	(void)crypto_generichash_final(state, hash, sizeof(hash));
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	memcpy(out, hex, CONTEXT_HASH - 1);
	out[CONTEXT_HASH - 1] = '\0';
}

static void
begin_hash(crypto_generichash_state *state)
{
	(void)crypto_generichash_init(
	    state, NULL, 0, crypto_generichash_BYTES_MIN);
}

static void
add_hash(crypto_generichash_state *state, const char *p, size_t n)
{
	(void)crypto_generichash_update(state, (const unsigned char *)p, n);
}

void
context_hash(const char *p, size_t n, char out[static CONTEXT_HASH])
{
	crypto_generichash_state state;
	begin_hash(&state);
	add_hash(&state, p, n);
	finish_hash(&state, out);
}

void
context_hash_facts(
    const struct context *c, int n, char out[static CONTEXT_HASH])
{
	crypto_generichash_state state;
	begin_hash(&state);
	for (size_t i = c->n_facts - (size_t)n; i < c->n_facts; i++)
		add_hash(&state, c->facts[i].content,
		    strlen(c->facts[i].content) + 1);
	finish_hash(&state, out);
}

static void
write_template(struct buf *b, const char *key, const struct prompt *p)
{
	json_write_open(b, key, '{');
	json_write_text(b, "name", p->name);
	json_write_text(b, "version", p->version);
	json_write_close(b, '}');
}

/* The short values that the template says. */
static void
write_values(struct buf *b, const struct context *c)
{
	json_write_open(b, "values", '{');
	for (int i = 0; i < PROMPT__MAX; i++)
		if (prompt_value_most((enum prompt_value)i) > 0 && c->values[i])
			json_write_text(b,
			    prompt_value_name((enum prompt_value)i),
			    c->values[i]);
	json_write_close(b, '}');
}

static void
write_facts(struct buf *b, const struct turn *t, const struct context *c)
{
	char hash[CONTEXT_HASH];
	int n = t->used[CONTEXT_FACTS].items;
	if (n == 0)
		return;
	context_hash_facts(c, n, hash);
	json_write_open(b, "facts", '{');
	json_write_text(b, "hash", hash);
	json_write_open(b, "ids", '[');
	for (size_t i = c->n_facts - (size_t)n; i < c->n_facts; i++)
		json_write_text(b, NULL, c->facts[i].id);
	json_write_close(b, ']');
	json_write_close(b, '}');
}

/* That tools were offered, and those of the store: Natter's own are known.
 * A schema is kept as text, whose bytes jsonb leaves alone. */
static void
write_tools(struct buf *b, const struct tools *tools)
{
	if (!tools)
		return;
	json_write_flag(
	    b, "changes_tasks", tools_find(tools, "create_task") != NULL);
	json_write_flag(b, "searches_documents",
	    tools_find(tools, "search_documents") != NULL);
	json_write_open(b, "tools", '[');
	for (size_t i = 0; i < tools->n; i++) {
		const struct tool *t = &tools->list[i];
		if (t->kind != TOOL_SITE)
			continue;
		json_write_open(b, NULL, '{');
		json_write_text(b, "name", t->name);
		json_write_text(b, "description", t->description);
		json_write_text(b, "schema", t->schema);
		json_write_close(b, '}');
	}
	json_write_close(b, ']');
}

void
context_note_begin(struct turn *t, const struct context *c, int64_t at_ms)
{
	struct buf *b = &t->context_note;
	const char *prompt = c->values[PROMPT_SYSTEM_PROMPT];
	char hash[CONTEXT_HASH];
	context_hash(prompt ? prompt : "", prompt ? strlen(prompt) : 0, hash);
	json_write_open(b, NULL, '{');
	json_write_number(b, "form", NOTE_FORM);
	json_write_number(b, "at_ms", at_ms);
	json_write_number(b, "window", c->window);
	json_write_number(b, "max_tokens", c->max_tokens);
	json_write_text(b, "tokens_field", c->tokens_field);
	write_template(b, "template", c->system);
	if (c->missing_template)
		json_write_bytes(b, "template_asked_for", c->missing_template,
		    text_prefix(c->missing_template,
			strlen(c->missing_template), PROMPT_NAME_MAX));
	json_write_flag(b, "is_masked", t->mask != NULL);
	write_values(b, c);
	json_write_text(b, "system_prompt", hash);
	write_facts(b, t, c);
	write_tools(b, c->tools);
	if (t->used[CONTEXT_SUMMARY].items > 0)
		json_write_text(b, "summary", t->summary_id);
	buf_fit(b);
}

/* What may have changed since: passages, the model, the hash. */
static void
write_passages(struct buf *b, const struct turn *t)
{
	if (!t->passages || t->used[CONTEXT_PASSAGES].items == 0)
		return;
	write_template(b, "passages_template", t->passages_prompt);
	json_write_open(b, "passages", '[');
	for (size_t i = 0; i < t->passages->n; i++)
		json_write_text(b, NULL, t->passages->passages[i].chunk_id);
	json_write_close(b, ']');
}

static void
write_parts(struct buf *b, const struct turn *t)
{
	json_write_open(b, "parts", '{');
	for (int i = 0; i < CONTEXT__MAX; i++) {
		json_write_open(
		    b, context_part_name((enum context_part)i), '{');
		json_write_number(b, "bytes", t->used[i].bytes);
		json_write_number(b, "items", t->used[i].items);
		json_write_close(b, '}');
	}
	json_write_close(b, '}');
}

const char *
context_note_text(const struct turn *t, struct arena *a)
{
	struct buf b = {0};
	char hex[2 * sizeof(t->sent_sha256) + 1];
	if (t->context_note.n == 0 || t->context_note.failed || !t->is_sealed ||
	    t->is_local || t->is_cached)
		return NULL;
	sodium_bin2hex(
	    hex, sizeof(hex), t->sent_sha256, sizeof(t->sent_sha256));
	buf_add(&b, t->context_note.p, t->context_note.n);
	json_write_text(&b, "model", t->model);
	write_passages(&b, t);
	write_parts(&b, t);
	context_rounds_note(t, &b);
	json_write_text(&b, "sha256", hex);
	json_write_close(&b, '}');
	const char *text = b.failed ? NULL : arena_strndup(a, b.p, b.n);
	buf_free(&b);
	return text;
}
