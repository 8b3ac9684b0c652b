/*
 * The settings about model servers, read where they are needed. Owns nothing.
 */
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/config.h"
#include "model/model_server.h"

#define OPENAI_URL "https://api.openai.com/v1"

static const char unix_scheme[] = "http://unix:";

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

static bool
begins(const char *text, const char *with)
{
	return strncasecmp(text, with, strlen(with)) == 0;
}

static bool
is_socket(const char *base_url)
{
	return begins(base_url, unix_scheme);
}

/* Of a socket's URL: where its path begins, and how long it is. */
static const char *
socket_path(const char *base_url, size_t *out_n)
{
	const char *path = base_url + strlen(unix_scheme);

	*out_n = strcspn(path, ":");
	return path;
}

bool
model_server_is_url(const char *base_url)
{
	const char *path, *rest;
	size_t n;

	if (!is_socket(base_url))
		return begins(base_url, "http://") ||
		       begins(base_url, "https://");
	path = socket_path(base_url, &n);
	rest = path + n;
	return path[0] == '/' && n < MODEL_SOCKET_MAX &&
	       (rest[0] == '\0' || rest[1] == '\0' || rest[1] == '/');
}

void
model_server_socket(
    const struct model_server *s, char out[static MODEL_SOCKET_MAX])
{
	const char *path;
	size_t n;

	out[0] = '\0';
	if (!is_socket(s->base_url))
		return;
	path = socket_path(s->base_url, &n);
	if (n >= MODEL_SOCKET_MAX)
		return; /* model_server_is_url refuses it */
	memcpy(out, path, n);
	out[n] = '\0';
}

void
model_server_url(
    const struct model_server *s, const char *path, struct buf *out)
{
	const char *base = s->base_url;
	size_t n;

	if (is_socket(base)) {
		base = socket_path(base, &n) + n;
		base += *base == ':';
		buf_puts(out, "http://localhost");
	}
	n = strlen(base);
	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_add(out, base, n);
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
