/*
 * From settings to parameters, and from rows to a context.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/zone.h"
#include "chat/context.h"
#include "chat/context_note.h"
#include "chat/prompts.h"
#include "chat/retrieve.h"
#include "chat/summary.h"
#include "chat/turn.h"
#include "chat/turn_context.h"
#include "chat/turn_words.h"
#include "http/request.h"
#include "model/mask.h"
#include "model/window.h"
#include "store/pg.h"

/* Fewer messages are not worth a summary. */
#define SUMMARY_MESSAGES_MIN 4

static const char *
write_number(struct arena *a, int64_t n)
{
	return arena_printf(a, "%" PRId64, n);
}

/* Models' names come from the settings: quoted, as arrays of text have it. */
static void
put_name(struct buf *out, const char *name)
{
	buf_putc(out, '"');
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *name);
	}
	buf_putc(out, '"');
}

static bool
list_windows(
    struct arena *a, const struct config *config, struct context_limits *out)
{
	struct buf names = {0}, tokens = {0};
	char name[256];
	int64_t window;
	for (size_t i = 0;
	     window_at(config->model_window, i, name, sizeof(name), &window);
	     i++) {
		char before = i == 0 ? '{' : ',';
		buf_putc(&names, before);
		put_name(&names, name);
		buf_printf(&tokens, "%c%" PRId64, before, window);
	}
	buf_putc(&names, '}');
	buf_putc(&tokens, '}');
	if (!names.failed && !tokens.failed) {
		out->models = arena_strndup(a, names.p, names.n);
		out->windows = arena_strndup(a, tokens.p, tokens.n);
	}
	buf_free(&names);
	buf_free(&tokens);
	return out->models && out->windows;
}

enum err
context_limits(struct arena *a, const struct config *config, const char *model,
    struct context_limits *out)
{
	const struct prompts *prompts = prompts_current();
	const char *system = config->system_prompt;
	*out = (struct context_limits){
	    .prompt_bytes =
		write_number(a, system ? (int64_t)strlen(system) : 0),
	    .window = write_number(a,
		window_of(config->model_window, model ? model : config->model)),
	    .templates = prompts->names,
	    .template_bytes = prompts->bytes,
	    .facts = write_number(a, CONTEXT_FACTS_MAX),
	    .summary = write_number(a, CONTEXT_SUMMARY_MAX),
	    .passages = "0",
	    .summaries = config->summary ? "t" : "f",
	    .person = prompts->says_person ? "t" : "f",
	};
	if (!out->prompt_bytes || !out->window || !out->facts ||
	    !out->summary || !list_windows(a, config, out))
		return ERR_TOO_LARGE;
	return OK;
}

/* [["id", "content"], …] as TURN_LOCK gives it. */
enum err
context_read_facts(struct arena *a, const char *json, struct context *c)
{
	AUTO_JSON struct json_object *list = NULL;
	if (!json)
		return OK;
	list = json_tokener_parse(json);
	size_t n = list ? json_object_array_length(list) : 0;
	struct context_fact *facts = arena_array(a, n + 1, sizeof(*facts));
	if (!facts)
		return ERR_TOO_LARGE;
	for (size_t i = 0; i < n; i++) {
		struct json_object *row = json_object_array_get_idx(list, i);
		facts[i].id = arena_strdup(a,
		    json_object_get_string(json_object_array_get_idx(row, 0)));
		facts[i].content = arena_strdup(a,
		    json_object_get_string(json_object_array_get_idx(row, 1)));
		if (!facts[i].id || !facts[i].content)
			return ERR_TOO_LARGE;
	}
	c->facts = facts;
	c->n_facts = n;
	return OK;
}

/* A short value, as long as it may be. */
static const char *
shorten(struct arena *a, const char *text, enum prompt_value value)
{
	size_t n = text ? strlen(text) : 0;
	return text ? arena_strndup(a, text,
			  text_prefix(text, n, prompt_value_most(value)))
		    : NULL;
}

void
context_time_values(struct arena *a, int64_t at_ms, const struct zone *zone,
    const char **values)
{
	static const char *const days[] = {"Monday", "Tuesday", "Wednesday",
	    "Thursday", "Friday", "Saturday", "Sunday"};
	struct civil at = zone_local(zone, at_ms / 1000);
	values[PROMPT_DATE] = arena_printf(
	    a, "%04d-%02d-%02d", at.year % 10000, at.month, at.day);
	values[PROMPT_WEEKDAY] =
	    days[civil_weekday(civil_days(at.year, at.month, at.day))];
	values[PROMPT_TIME_ZONE] = arena_strdup(a, zone_name(zone));
}

static void
fill_values(const struct request *req, const struct turn_context *from,
    struct context *c)
{
	struct arena *a = req->arena;
	const struct config *config = req->services->config;
	const char *own = pg_text(from->lock, 0, LOCK_SYSTEM_PROMPT);
	c->values[PROMPT_SYSTEM_PROMPT] = own ? own : config->system_prompt;
	c->values[PROMPT_USER_NAME] = shorten(
	    a, pg_text(from->lock, 0, LOCK_USER_NAME), PROMPT_USER_NAME);
	c->values[PROMPT_STORE_NAME] = shorten(
	    a, pg_text(from->lock, 0, LOCK_STORE_NAME), PROMPT_STORE_NAME);
	c->values[PROMPT_MODEL] = shorten(a, from->turn->model, PROMPT_MODEL);
	context_time_values(a, pg_number(from->lock, 0, LOCK_AT_MS),
	    turn_zone(req, pg_text(from->lock, 0, LOCK_TIME_ZONE)), c->values);
	/* What the template does not say need not be remembered. */
	for (int i = 0; i < PROMPT__MAX; i++)
		if (prompt_value_most((enum prompt_value)i) > 0 &&
		    !prompt_minds(c->system, (enum prompt_value)i))
			c->values[i] = NULL;
}

/* A template whose file has gone is not worth failing every question of its
 * store: `default` stands in, and whoever runs this is told. */
static void
choose_template(const struct turn_context *from, struct context *c)
{
	const struct prompts *prompts = prompts_current();
	const char *name = pg_text(from->lock, 0, LOCK_TEMPLATE);
	c->system = name ? prompts_system(prompts, name) : &prompts->list[0];
	if (c->system)
		return;
	c->system = &prompts->list[0];
	c->missing_template = name;
	metrics_count(METRIC_PROMPT_TEMPLATES_MISSING);
	if (prompts_miss(name))
		log_with(LOG_WARNING,
		    "a store names a prompt template that is not there",
		    LOG_TEXT("template", name),
		    LOG_TEXT("used", c->system->name),
		    LOG_TEXT("store", from->turn->budget.store_id));
}

/* Will the messages that the next turns are told have room? Early enough that
 * a summary which is lost may be asked for again. */
static bool
wants_summary(const struct config *config, const struct turn_context *c)
{
	const struct turn *t = c->turn;
	int64_t most = t->budget.room - t->used[CONTEXT_SYSTEM].bytes -
		       t->used[CONTEXT_FACTS].bytes -
		       t->used[CONTEXT_QUESTION].bytes;
	int64_t bytes = t->used[CONTEXT_QUESTION].bytes;
	int n = pg_rows(c->history);
	if (!config->summary || n < SUMMARY_MESSAGES_MIN)
		return false;
	for (int i = 0; i < n; i++)
		bytes += (int64_t)strlen(pg_text(c->history, i, 1));
	if (most > CONTEXT_BYTES_MAX)
		most = CONTEXT_BYTES_MAX;
	return n >= config->context_messages / 4 * 3 || bytes > most / 4 * 3;
}

bool
turn_context_is_new(const PGresult *lock)
{
	return pg_flag(lock, 0, LOCK_IS_UNTITLED) &&
	       !pg_flag(lock, 0, LOCK_IS_TEMPORARY);
}

enum err
turn_context(struct request *req, const struct turn_context *from)
{
	const struct config *config = req->services->config;
	const PGresult *lock = from->lock;
	struct turn *t = from->turn;
	struct context c = {
	    .model = t->model,
	    .passages = t->passages,
	    .history = from->history,
	    .question = from->question,
	    .window = window_of(config->model_window, t->model),
	    .granted = t->budget.history_bytes,
	    .passages_bytes = strtoll(from->passages, NULL, 10),
	    .max_tokens = t->budget.cap,
	    .tokens_field = config->model_tokens_field,
	    .tools = t->tools,
	};
	choose_template(from, &c);
	c.passages_prompt =
	    prompts_beside(prompts_current(), c.system, PROMPT_PASSAGES_FILE);
	fill_values(req, from, &c);
	enum err e =
	    context_read_facts(req->arena, pg_text(lock, 0, LOCK_FACTS), &c);
	if (e == OK)
		e = context_request(req->arena, &c, t);
	if (e != OK)
		return e;
	t->wants_summary = wants_summary(config, from);
	summary_want(req, from,
	    prompts_beside(prompts_current(), c.system, PROMPT_SUMMARY_FILE));
	context_note_begin(t, &c, pg_number(lock, 0, LOCK_AT_MS));
	context_seal(t);
	/* What is masked alike may be another's, and what a vector will find
	 * is not in the request yet: no answer is shared then. */
	if (!pg_flag(lock, 0, LOCK_IS_TEMPORARY) && !mask_is_used(t->mask) &&
	    !t->wants_vector)
		answer_find(
		    req, t, from->cache, pg_text(lock, 0, LOCK_ANSWERS_OF));
	return OK;
}
