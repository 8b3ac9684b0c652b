/*
 * The settings, read by the table of config.def: where a value comes from
 * (environment, file, secret file, credential, default), whether it fits, and
 * the sentence for the operator when it does not. Knows no setting by name.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/config_table.h"
#include "base/env_file.h"

/* One load in progress. */
struct loader {
	struct config *config;
	struct env_file *file; /* NULL: none */
	const char *path;      /* of `file` */
	char *why;             /* CONFIG_WHY bytes */
};

/* A value and where it was found. */
struct found {
	const char *value; /* NULL: nowhere */
	char *owned;       /* to be wiped and freed, when it came from a file */
	enum setting_origin origin;
	unsigned line;
};

extern char **environ;

static enum err PRINTF_LIKE(2, 3)
    refuse(const struct loader *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->why, CONFIG_WHY, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

static void
wipe_free(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* Does only natterctl read it? natterd must not know the owner's password. */
static bool
is_natterctls(const char *key)
{
	return strncmp(key, "OWNER_", 6) == 0 ||
	       strncmp(key, "SUPERUSER_", 10) == 0 ||
	       strncmp(key, "NATTER_", 7) == 0;
}

/* `place` says where the key stands. */
static enum err
refuse_unknown(const struct loader *l, const char *place, const char *key)
{
	const char *name = setting_nearest(key);

	if (is_natterctls(key))
		return refuse(l,
		    "%.200s: %.64s is natterctl's alone: keep it in the "
		    "environment of natterctl and out of natterd's settings",
		    place, key);
	if (name != NULL)
		return refuse(l,
		    "%.200s: %.64s is not a setting: did you mean %s?", place,
		    key, name);
	return refuse(l,
	    "%.200s: %.64s is not a setting (natterctl config --markdown "
	    "lists them all): remove it",
	    place, key);
}

static enum err
check_file_keys(const struct loader *l)
{
	for (size_t i = 0; l->file != NULL && i < l->file->n; i++) {
		const struct env_line *line = &l->file->lines[i];
		char place[256];

		if (setting_is_known(line->key))
			continue;
		snprintf(place, sizeof(place), "%.200s: line %u", l->path,
		    line->line);
		return refuse_unknown(l, place, line->key);
	}
	return OK;
}

/* Only CHAT_* is ours alone: other programs have variables of their own. */
static enum err
check_environment_keys(const struct loader *l)
{
	for (char **e = environ; e != NULL && *e != NULL; e++) {
		size_t n = strcspn(*e, "=");
		char key[65];

		if (strncmp(*e, "CHAT_", 5) != 0)
			continue;
		snprintf(key, sizeof(key), "%.*s", n < 65 ? (int)n : 64, *e);
		if (n > 64 || !setting_is_known(key))
			return refuse_unknown(l, "environment", key);
	}
	return OK;
}

/* Where `f` was found, for a sentence. */
static const char *
place_of(const struct loader *l, const struct found *f, char place[static 256])
{
	switch (f->origin) {
	case FROM_FILE:
		snprintf(place, 256, "%.200s: line %u", l->path, f->line);
		break;
	case FROM_SECRET_FILE:
		snprintf(place, 256, "secret file");
		break;
	case FROM_CREDENTIAL:
		snprintf(place, 256, "credential");
		break;
	default:
		snprintf(place, 256, "environment");
		break;
	}
	return place;
}

/* A value by that name in the environment, else in the file. */
static struct found
find_plain(const struct loader *l, const char *key, enum setting_origin where)
{
	struct found f = {.origin = where};
	const struct env_line *line;

	if (where == FROM_ENVIRONMENT) {
		f.value = getenv(key);
		return f;
	}
	line = env_file_find(l->file, key);
	if (line != NULL) {
		f.value = line->value;
		f.line = line->line;
	}
	return f;
}

/* KEY or the file that KEY_FILE names, in one of the two places. */
static enum err
find_secret_in(const struct loader *l, const struct setting *s,
    enum setting_origin where, struct found *out)
{
	char key_file[80], place[256], why[ENV_FILE_WHY];
	struct found plain = find_plain(l, s->key, where), named;
	bool has_plain = plain.value != NULL && plain.value[0] != '\0';

	snprintf(key_file, sizeof(key_file), "%s_FILE", s->key);
	named = find_plain(l, key_file, where);
	if (named.value == NULL || named.value[0] == '\0') {
		if (has_plain)
			*out = plain;
		return OK;
	}
	place_of(l, &named, place);
	if (has_plain)
		return refuse(l, "%s: both %s and %s are set: keep one of them",
		    place, s->key, key_file);
	if (env_secret_read(named.value, &out->owned, why) != OK)
		return refuse(l, "%s: %s names %.120s, which %.120s", place,
		    key_file, named.value, why);
	out->value = out->owned;
	out->origin = FROM_SECRET_FILE;
	return OK;
}

/* systemd's LoadCredential=KEY:… puts the secret into a file named KEY. */
static enum err
find_credential(
    const struct loader *l, const struct setting *s, struct found *out)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_MAX], why[ENV_FILE_WHY];
	enum err e;

	if (folder == NULL || folder[0] == '\0')
		return OK;
	if (snprintf(path, sizeof(path), "%s/%s", folder, s->key) >=
	    (int)sizeof(path))
		return refuse(l, "CREDENTIALS_DIRECTORY is too long a path");
	e = env_secret_read(path, &out->owned, why);
	if (e == ERR_NOT_FOUND)
		return OK;
	if (e != OK)
		return refuse(l, "the credential %.200s %.120s", path, why);
	out->value = out->owned;
	out->origin = FROM_CREDENTIAL;
	return OK;
}

static enum err
find(const struct loader *l, const struct setting *s, struct found *out)
{
	static const enum setting_origin places[] = {
	    FROM_ENVIRONMENT, FROM_FILE};

	for (size_t i = 0; i < 2 && out->value == NULL; i++) {
		enum err e;

		if (s->kind != SETTING_SECRET) {
			*out = find_plain(l, s->key, places[i]);
			continue;
		}
		e = find_secret_in(l, s, places[i], out);
		if (e != OK)
			return e;
	}
	if (out->value == NULL && s->kind == SETTING_SECRET)
		return find_credential(l, s, out);
	return OK;
}

static enum err
store(const struct loader *l, const struct setting *s, const struct found *f)
{
	char place[256], why[SETTING_WHY];
	enum err e;

	e = f->value != NULL ? setting_store(l->config, s, f->value, why)
			     : setting_store_default(l->config, s, why);
	if (e == OK)
		return OK;
	return refuse(l, "%s: %s %s", place_of(l, f, place), s->key, why);
}

static enum err
load_setting(const struct loader *l, size_t i)
{
	const struct setting *s = &setting_table[i];
	struct found f = {NULL, NULL, FROM_DEFAULT, 0};
	enum err e;

	if (s->kind == SETTING_GROUP)
		return OK;
	e = find(l, s, &f);
	if (e == OK)
		e = store(l, s, &f);
	if (f.value != NULL) {
		l->config->sources->of[i].origin = f.origin;
		l->config->sources->of[i].line = f.line;
	}
	wipe_free(f.owned);
	return e;
}

static enum err
load(struct loader *l)
{
	enum err e = check_file_keys(l);

	if (e == OK)
		e = check_environment_keys(l);
	for (size_t i = 0; e == OK && i < setting_count; i++)
		e = load_setting(l, i);
	return e;
}

enum err
config_load(
    const char *file, struct config **out_config, char why[static CONFIG_WHY])
{
	struct loader l = {calloc(1, sizeof(*l.config)), NULL, file, why};
	enum err e;

	*out_config = NULL;
	if (l.config != NULL)
		l.config->sources = calloc(
		    1, sizeof(struct config_sources) +
			   setting_count * sizeof(l.config->sources->of[0]));
	if (l.config == NULL || l.config->sources == NULL ||
	    (file != NULL &&
		(l.config->sources->file = strdup(file)) == NULL)) {
		e = refuse(&l, "out of memory");
		goto out;
	}
	e = file != NULL ? env_file_read(file, &l.file, why) : OK;
	if (e == OK)
		e = load(&l);
out:
	env_file_free(l.file);
	if (e == OK)
		*out_config = l.config;
	else
		config_free(l.config);
	return e;
}

void
config_free(struct config *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < setting_count; i++)
		if (setting_is_string(&setting_table[i]))
			wipe_free(*setting_text(c, &setting_table[i]));
	if (c->sources != NULL)
		free(c->sources->file);
	free(c->sources);
	free(c);
}
