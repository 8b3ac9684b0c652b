/*
 * The settings about stand-ins, read where they are needed: a few words, walked
 * over in place. Owns nothing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "model/fallback.h"
#include "model/model.h"

/* The next word of a list, or NULL; its end in *out_n. */
static const char *
next_word(const char *at, size_t *out_n)
{
	static const char blanks[] = " \t\r\n";

	at += strspn(at, blanks);
	*out_n = strcspn(at, blanks);
	return *out_n > 0 ? at : NULL;
}

static const char *
names_at(const struct config *config, enum model_place place)
{
	const char *names = place == MODEL_AT_MAIN ? config->fallback_models
						   : config->second_models;

	return names != NULL ? names : "";
}

bool
fallback_at(const struct config *config, size_t i, struct fallback *out)
{
	for (enum model_place p = 0; p < MODEL_PLACES; p++) {
		const char *word = names_at(config, p);
		size_t n;

		for (; (word = next_word(word, &n)) != NULL; word += n) {
			if (i-- > 0)
				continue;
			*out = (struct fallback){.place = p};
			if (n >= sizeof(out->model))
				n = sizeof(out->model) - 1;
			memcpy(out->model, word, n);
			out->is_local = strcmp(out->model, LOCAL_MODEL) == 0;
			return true;
		}
	}
	return false;
}

bool
fallback_has_local(const struct config *config)
{
	struct fallback f;

	for (size_t i = 0; fallback_at(config, i, &f); i++)
		if (f.is_local)
			return true;
	return false;
}

static enum err PRINTF_LIKE(2, 3)
    refuse(char why[static FALLBACK_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, FALLBACK_WHY, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

/* What goes into every request to a server. */
static enum err
check_server(const struct config *config, enum model_place place, char *why)
{
	static const char *const names[][2] = {
	    {"OPENAI_BASE_URL", "OPENAI_API_KEY"},
	    {"CHAT_SECOND_BASE_URL", "CHAT_SECOND_API_KEY"},
	};
	struct model_server s = model_server(config, place);

	if (!model_server_is_url(s.base_url))
		return refuse(why,
		    "%s is not http:// or https:// followed by an address, nor "
		    "http://unix:/PATH/OF/SOCKET:/v1",
		    names[place][0]);
	for (const char *p = s.key; *p != '\0'; p++) {
		if (*p <= ' ' || *p > '~')
			return refuse(why,
			    "%s holds a blank, a line break or another "
			    "character that no key has",
			    names[place][1]);
	}
	return OK;
}

/* Is the second server's address or key set, has it any model? They go
 * together. */
static enum err
check_second(const struct config *config, char *why)
{
	bool is_there = model_server_is_set(config, MODEL_AT_SECOND);
	size_t n;
	bool has_models = next_word(names_at(config, MODEL_AT_SECOND), &n);

	if (has_models && !is_there)
		return refuse(why, "CHAT_SECOND_MODELS is set, but neither "
				   "CHAT_SECOND_BASE_URL nor "
				   "CHAT_SECOND_API_KEY");
	if (is_there && !has_models)
		return refuse(why, "a second server is set, but no "
				   "CHAT_SECOND_MODELS to ask there");
	return OK;
}

static enum err
check_names(const struct config *config, char *why)
{
	struct fallback f;
	bool had_local = false;

	for (size_t i = 0; fallback_at(config, i, &f); i++) {
		if (i == 0 && !model_is_configured(config))
			return refuse(why, "models that stand in are set, but "
					   "no server to ask first: "
					   "OPENAI_API_KEY, OPENAI_BASE_URL");
		if (i == FALLBACKS_MAX)
			return refuse(
			    why, "more than %d models stand in", FALLBACKS_MAX);
		if (strlen(f.model) > FALLBACK_NAME_MAX)
			return refuse(why, "a model that stands in has a name "
					   "that is too long");
		for (const char *p = f.model; *p != '\0'; p++)
			if (*p <= ' ' || *p > '~')
				return refuse(why, "a model that stands in has "
						   "a name that no model has");
		if (had_local)
			return refuse(why, "nothing can stand in for "
					   "natter-local: it stands last");
		had_local = f.is_local;
	}
	return OK;
}

enum err
fallback_check(const struct config *config, char why[static FALLBACK_WHY])
{
	enum err e = check_server(config, MODEL_AT_MAIN, why);

	if (e == OK)
		e = check_server(config, MODEL_AT_SECOND, why);
	if (e == OK)
		e = check_second(config, why);
	if (e == OK)
		e = check_names(config, why);
	return e;
}
