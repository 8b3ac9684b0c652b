/*
 * The settings about model servers, read where they are needed. Owns nothing.
 */
#include <string.h>

#include "base/buf.h"
#include "base/config.h"
#include "model/model_server.h"

#define OPENAI_URL "https://api.openai.com/v1"

static const char *
text_or_empty(const char *text)
{
	return text != NULL ? text : "";
}

/* As the settings have it: the address may be empty. */
static struct model_server
settings_of(const struct config *config, enum model_place place)
{
	if (place == MODEL_AT_SECOND)
		return (struct model_server){
		    .base_url = text_or_empty(config->second_base_url),
		    .key = text_or_empty(config->second_api_key),
		};
	return (struct model_server){
	    .base_url = text_or_empty(config->openai_base_url),
	    .key = text_or_empty(config->openai_api_key),
	};
}

bool
model_server_is_set(const struct config *config, enum model_place place)
{
	struct model_server s = settings_of(config, place);

	return s.base_url[0] != '\0' || s.key[0] != '\0';
}

bool
model_is_configured(const struct config *config)
{
	return model_server_is_set(config, MODEL_AT_MAIN);
}

struct model_server
model_server(const struct config *config, enum model_place place)
{
	struct model_server s = settings_of(config, place);

	if (s.base_url[0] == '\0')
		s.base_url = OPENAI_URL;
	return s;
}

void
model_server_url(
    const struct model_server *s, const char *path, struct buf *out)
{
	size_t n = strlen(s->base_url);

	while (n > 0 && s->base_url[n - 1] == '/')
		n--;
	buf_add(out, s->base_url, n);
	buf_puts(out, path);
}

void
model_server_authorization(const struct model_server *s, struct buf *out)
{
	static const char name[] = "Authorization: Bearer ";

	/* The size counts the NUL, for who takes the line as a string. */
	if (s->key[0] == '\0' ||
	    !buf_reserve(out, sizeof(name) + strlen(s->key)))
		return;
	buf_puts(out, name);
	buf_puts(out, s->key);
}
