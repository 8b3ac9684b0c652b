/*
 * Builds what is sent to a model from the rows that the turn's pipeline read.
 * Knows the order of TURN_HISTORY's columns; knows nothing of HTTP.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"
#include "chat/context.h"
#include "chat/retrieve.h"
#include "chat/turn.h"
#include "chat/tool.h"
#include "chat/tool_use.h"
#include "model/model.h"
#include "store/pg.h"

/* The columns of TURN_HISTORY. */
enum column { ROLE, CONTENT };

/* System message, summary, passages and question beside the history. */
#define OTHERS 4

/* Of a window, in percent: the rest is the answer's. */
#define PROMPT_SHARE 75

static const struct {
	const char *name;
	int share;
	int64_t most;
} parts[] = {
#define PART(name, word, share, most) [CONTEXT_##name] = {word, share, most},
#include "chat/context_parts.def"
#undef PART
};

/* What was chosen, as texts. */
struct chosen {
	const char *facts;   /* "": none */
	const char *summary; /* NULL: none */
	int first;           /* row of the history */
	int64_t left;        /* bytes that may still be taken */
};

const char *
context_part_name(enum context_part part)
{
	return parts[part].name;
}

int
context_part_share(enum context_part part)
{
	return parts[part].share;
}

int64_t
context_most(enum context_part part, int64_t window)
{
	int share = part == CONTEXT__MAX ? PROMPT_SHARE : parts[part].share;
	int64_t most = part == CONTEXT__MAX ? INT64_MAX : parts[part].most;
	int64_t bytes = window * 4 * share / 100;
	return window == 0 || bytes > most ? most : bytes;
}

static int64_t
min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The bytes of a fact's line: "- ", content, newline. */
static int64_t
fact_bytes(const struct context_fact *f)
{
	return (int64_t)strlen(f->content) + 3;
}

/* The newest facts that fit, the oldest of them first; NULL without memory. */
static const char *
choose_facts(struct arena *a, const struct context *c, struct chosen *chosen,
    struct context_use *use)
{
	int64_t frame = prompt_bytes(c->system, PROMPT_FACTS);
	int64_t most =
	    min64(context_most(CONTEXT_FACTS, c->window), chosen->left);
	int64_t bytes = frame;
	size_t first = c->n_facts;

	if (!prompt_says(c->system, PROMPT_FACTS))
		return "";
	while (first > 0 && bytes + fact_bytes(&c->facts[first - 1]) <= most)
		bytes += fact_bytes(&c->facts[--first]);
	if (first == c->n_facts)
		return "";
	char *text = arena_alloc(a, (size_t)(bytes - frame) + 1);
	char *at = text;
	for (size_t i = first; text && i < c->n_facts; i++) {
		at = stpcpy(at, "- ");
		at = stpcpy(at, c->facts[i].content);
		at = stpcpy(at, i + 1 < c->n_facts ? "\n" : "");
	}
	chosen->left -= bytes;
	use->items = (int)(c->n_facts - first);
	use->bytes = text ? at - text : 0;
	return text;
}

static bool
is_summary(const struct context *c, int row)
{
	return !strcmp(pg_text(c->history, row, ROLE), CONTEXT_SUMMARY_ROLE);
}

static int64_t
row_bytes(const struct context *c, int row)
{
	return (int64_t)strlen(pg_text(c->history, row, CONTENT));
}

/* The bytes of the last question and answer, of a history from `oldest` on. */
static int64_t
newest_bytes(const struct context *c, int oldest)
{
	int64_t bytes = 0;
	int n = pg_rows(c->history);
	for (int i = n - 1; i >= oldest && i >= n - 2; i--)
		bytes += row_bytes(c, i);
	return bytes;
}

/* The summary, cut to its share, unless the newest messages need its room.
 * What it takes of `left`. */
static int64_t
choose_summary(struct arena *a, const struct context *c, struct chosen *chosen,
    int64_t left)
{
	int64_t frame = prompt_bytes(c->system, PROMPT_SUMMARY);
	int64_t most = context_most(CONTEXT_SUMMARY, c->window);
	const char *text = pg_text(c->history, 0, CONTENT);
	size_t n = strlen(text);
	if ((int64_t)n > most)
		n = text_prefix(text, n, (size_t)most);
	if ((int64_t)n + frame + newest_bytes(c, 1) > left)
		return 0;
	chosen->summary = arena_strndup(a, text, n);
	return chosen->summary ? (int64_t)n + frame : 0;
}

/* The summary, if there is one, and the newest messages that fit beside it. */
static void
choose_history(struct arena *a, const struct context *c, struct chosen *chosen,
    struct context_use *used)
{
	int n = pg_rows(c->history);
	int oldest = n > 0 && is_summary(c, 0) ? 1 : 0;
	int64_t left = min64(chosen->left, CONTEXT_BYTES_MAX);

	if (oldest > 0)
		left -= choose_summary(a, c, chosen, left);
	if (chosen->summary)
		used[CONTEXT_SUMMARY] =
		    (struct context_use){(int64_t)strlen(chosen->summary), 1};
	for (chosen->first = n; chosen->first > oldest; chosen->first--) {
		int64_t bytes = row_bytes(c, chosen->first - 1);
		if (bytes > left)
			break;
		left -= bytes;
		used[CONTEXT_HISTORY].bytes += bytes;
		used[CONTEXT_HISTORY].items++;
	}
}

static void
write_passage(struct buf *out, const struct passage *p, size_t number)
{
	buf_printf(out, "\n[%zu] %s%s%s\n", number, p->title,
	    *p->heading ? " > " : "", p->heading);
	buf_puts(out, p->content);
	buf_putc(out, '\n');
}

/* The text of the passages' message: nothing where none fits. */
static bool
write_passages(const struct prompt *around, struct passages_found *found,
    int64_t room, struct buf *out)
{
	const char *values[PROMPT__MAX] = {NULL};
	struct buf list = {0};
	size_t n = 0;
	room -= prompt_bytes(around, PROMPT__MAX);
	while (found && n < found->n && !list.failed) {
		size_t before = list.n;
		write_passage(&list, &found->passages[n], n + 1);
		if ((int64_t)list.n > room) {
			list.n = before;
			break;
		}
		n++;
	}
	if (found)
		found->n = n;
	values[PROMPT_PASSAGES] = buf_text(&list);
	if (n > 0)
		prompt_render(around, values, out);
	bool is_done = !list.failed && !out->failed;
	buf_free(&list);
	return is_done;
}

/* The system message; "" where it says nothing. NULL without memory. */
static const char *
write_system(struct arena *a, const struct context *c,
    const struct chosen *chosen, struct context_use *used)
{
	const char *values[PROMPT__MAX];
	struct buf text = {0};
	memcpy(values, c->values, sizeof(values));
	values[PROMPT_FACTS] = chosen->facts;
	values[PROMPT_SUMMARY] = chosen->summary;
	prompt_render(c->system, values, &text);
	size_t skip = 0;
	while (skip < text.n && text.p[skip] == '\n')
		skip++;
	const char *said =
	    text.failed ? NULL
			: arena_strndup(a, text.n > 0 ? text.p + skip : "",
			      text.n - skip);
	int64_t others = used[CONTEXT_FACTS].bytes;
	if (chosen->summary && prompt_says(c->system, PROMPT_SUMMARY))
		others += used[CONTEXT_SUMMARY].bytes;
	used[CONTEXT_SYSTEM] =
	    (struct context_use){(int64_t)(text.n - skip) - others, 1};
	buf_free(&text);
	return said;
}

static void
add(struct model_request *request, struct model_message *to, const char *role,
    const char *content)
{
	to[request->n_messages++] =
	    (struct model_message){.role = role, .content = content};
}

/* What an earlier reply did with tools, as the model would have been told. */
static bool
add_tools(struct arena *a, struct model_request *request,
    struct model_message *to, const char *json)
{
	struct buf out = {0};
	const char *raw = NULL;
	bool is_told = tool_history_messages(json, &out);
	if (is_told && request->mask)
		mask_whole_json(request->mask, &out);
	if (is_told)
		raw = arena_strndup(a, out.p, out.n);
	bool is_lost = out.failed || (out.n > 0 && !raw);
	buf_free(&out);
	if (raw)
		to[request->n_messages++] =
		    (struct model_message){.content = json, .raw = raw};
	return !is_lost;
}

/* A row of the history. */
static bool
add_row(struct arena *a, struct model_request *request,
    struct model_message *to, const struct context *c, int row)
{
	const char *role = pg_text(c->history, row, ROLE);
	const char *content = pg_text(c->history, row, CONTENT);
	if (strcmp(role, "tools") != 0)
		add(request, to, role, content);
	else if (c->tools)
		return add_tools(a, request, to, content);
	return true;
}

/* The `tools` array; NULL: none, or no room for it. */
static const char *
tools_of(struct arena *a, const struct context *c)
{
	struct buf out = {0};
	const char *text;
	if (!c->tools || c->tools->n == 0)
		return NULL;
	tools_write(&out, c->tools);
	text = out.failed ? NULL : arena_strndup(a, out.p, out.n);
	buf_free(&out);
	return text;
}

/* From there the message reaches up to the next one, comma included. */
static size_t
message_bytes(const struct model_message *m, struct mask *mask)
{
	struct buf one = {0};
	openai_masked_message(&one, m, mask);
	size_t n = one.n + 1;
	buf_free(&one);
	return n;
}

/* The texts in their order, as messages; false without memory. */
static bool
list_messages(struct arena *a, const struct context *c,
    const struct chosen *chosen, const char *const texts[2],
    struct model_request *request)
{
	const char *system = texts[0], *passages = texts[1];
	struct model_message *to = (struct model_message *)request->messages;
	if (*system)
		add(request, to, "system", system);
	if (chosen->summary && !prompt_says(c->system, PROMPT_SUMMARY))
		add(request, to, "system", chosen->summary);
	request->marked = request->n_messages;
	if (*passages)
		add(request, to, "system", passages);
	for (int i = chosen->first; i < pg_rows(c->history); i++) {
		if (!add_row(a, request, to, c, i))
			return false;
	}
	add(request, to, "user", c->question);
	return true;
}

static enum err
write_body(struct arena *a, const struct context *c,
    const struct chosen *chosen, const char *passages, struct turn *t)
{
	struct model_message *messages = arena_array(
	    a, (size_t)pg_rows(c->history) + OTHERS, sizeof(*messages));
	const char *system = write_system(a, c, chosen, t->used);
	if (!messages || !system)
		return ERR_TOO_LARGE;
	struct model_request request = {
	    .model = c->model,
	    .messages = messages,
	    .max_tokens = c->max_tokens,
	    .tokens_field = c->tokens_field,
	    .mask = t->mask,
	    .out_at = &t->passages_at,
	};
	if (!list_messages(a, c, chosen,
		(const char *const[]){system, passages}, &request))
		return ERR_TOO_LARGE;
	request.tools = tools_of(a, c);
	size_t bytes = request.tools ? strlen(request.tools) : 0;
	for (size_t i = 0; i < request.n_messages; i++)
		bytes += strlen(messages[i].content);
	openai_request_body(&t->prompt, &request);
	buf_fit(&t->prompt);
	t->prompt_estimate = context_tokens(bytes);
	t->passages_n =
	    *passages ? message_bytes(&messages[request.marked], t->mask) : 0;
	return t->prompt.failed ? ERR_TOO_LARGE : OK;
}

static void
use_passages(struct turn *t, const struct passages_found *found, size_t bytes)
{
	t->used[CONTEXT_PASSAGES] =
	    (struct context_use){(int64_t)bytes, found ? (int)found->n : 0};
}

enum err
context_request(struct arena *a, const struct context *c, struct turn *t)
{
	struct buf passages = {0};
	struct chosen chosen = {.left = c->granted};
	memset(t->used, 0, sizeof(t->used));
	chosen.facts = choose_facts(a, c, &chosen, &t->used[CONTEXT_FACTS]);
	if (!chosen.facts)
		return ERR_TOO_LARGE;
	t->passages_room =
	    min64(chosen.left, min64(c->passages_bytes,
				   context_most(CONTEXT_PASSAGES, c->window)));
	chosen.left -= t->passages_room;
	choose_history(a, c, &chosen, t->used);
	t->used[CONTEXT_QUESTION] =
	    (struct context_use){(int64_t)strlen(c->question), 1};
	t->passages_prompt = c->passages_prompt;
	enum err e = ERR_TOO_LARGE;
	if (write_passages(
		c->passages_prompt, c->passages, t->passages_room, &passages)) {
		use_passages(t, c->passages, passages.n);
		e = write_body(a, c, &chosen, buf_text(&passages), t);
	}
	buf_free(&passages);
	return e;
}

/* Puts other bytes in a region's place; false without memory. */
static bool
splice(struct buf *body, size_t at, size_t old, const struct buf *now)
{
	size_t rest = body->n - at - old;
	if (now->n > old && !buf_reserve(body, now->n - old)) {
		body->failed = false;
		return false;
	}
	memmove(body->p + at + now->n, body->p + at + old, rest);
	if (now->n > 0)
		memcpy(body->p + at, now->p, now->n);
	body->n = at + now->n + rest;
	return true;
}

/* The tokens of all parts. */
static int64_t
estimate(const struct turn *t)
{
	int64_t bytes = 0;
	for (int i = 0; i < CONTEXT__MAX; i++)
		bytes += t->used[i].bytes;
	return context_tokens((size_t)bytes);
}

enum err
context_replace_passages(struct turn *t, struct passages_found *found)
{
	struct buf text = {0};
	struct buf message = {0};
	bool is_done =
	    write_passages(t->passages_prompt, found, t->passages_room, &text);
	if (is_done && text.n > 0) {
		const struct model_message m = {
		    .role = "system", .content = buf_text(&text)};
		openai_masked_message(&message, &m, t->mask);
		buf_putc(&message, ',');
	}
	is_done = is_done && !text.failed && !message.failed &&
		  splice(&t->prompt, t->passages_at, t->passages_n, &message);
	if (is_done) {
		t->passages_n = message.n;
		t->is_sealed = false;
		passages_found_free(t->passages);
		t->passages = found;
		use_passages(t, found, text.n);
		t->prompt_estimate = estimate(t);
	} else
		passages_found_free(found);
	buf_free(&text);
	buf_free(&message);
	return is_done ? OK : ERR_BUSY;
}

bool
context_sha256(const struct buf *body, unsigned char out[static CONTEXT_SHA256])
{
	return EVP_Digest(body->p, body->n, out, NULL, EVP_sha256(), NULL) == 1;
}

void
context_seal(struct turn *t)
{
	if (t->is_sealed || t->is_local || t->is_cached)
		return;
	t->is_sealed = context_sha256(&t->prompt, t->sent_sha256);
}

int64_t
context_tokens(size_t bytes)
{
	return (int64_t)(bytes / 4 + (bytes % 4 != 0));
}
