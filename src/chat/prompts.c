/*
 * The folder of templates. Owns the set in use; the form of one template is
 * prompt.c's.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "chat/prompts.h"

#define SUFFIX ".txt"

/* Names that were missed, by their hashes. */
static struct {
	pthread_mutex_t lock;
	uint64_t hashes[PROMPTS_MAX];
	size_t n;
} missed = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct prompts *in_use;
static pthread_once_t shipped_once = PTHREAD_ONCE_INIT;

/* "shop", or "shop.passages" and the like. */
static bool
is_name(const char *s, size_t n)
{
	static const char *const purposes[] = {
	    "." PROMPT_PASSAGES_FILE, "." PROMPT_SUMMARY_FILE};
	for (size_t i = 0; i < sizeof(purposes) / sizeof(*purposes); i++) {
		size_t end = strlen(purposes[i]);
		if (n > end && n <= PROMPT_NAME_MAX &&
		    !memcmp(s + n - end, purposes[i], end)) {
			n -= end;
			break;
		}
	}
	return n > 0 && n <= PROMPT_NAME_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") >= n;
}

static struct prompt *
find(const struct prompts *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->list[i].name, name))
			return &p->list[i];
	return NULL;
}

const struct prompt *
prompts_find(const struct prompts *p, const char *name)
{
	return find(p, name);
}

const struct prompt *
prompts_system(const struct prompts *p, const char *name)
{
	const struct prompt *one = find(p, name);
	return one && prompt_place(one->name) == PROMPT_IN_SYSTEM ? one : NULL;
}

const struct prompt *
prompts_beside(
    const struct prompts *p, const struct prompt *system, const char *purpose)
{
	char name[2 * PROMPT_NAME_MAX + 2];
	(void)snprintf(name, sizeof(name), "%s.%s", system->name, purpose);
	const struct prompt *own = find(p, name);
	return own ? own : find(p, purpose);
}

/* Takes a template's place, or is one more. */
static enum err
put(struct prompts *p, struct prompt *one, char *why)
{
	struct prompt *old = find(p, one->name);
	if (!old && p->n == PROMPTS_MAX) {
		(void)snprintf(why, PROMPTS_WHY,
		    "CHAT_PROMPTS_DIR: %d templates are the most", PROMPTS_MAX);
		prompt_clear(one);
		return ERR_INVALID_FIELD;
	}
	if (!old)
		old = &p->list[p->n++];
	else
		prompt_clear(old);
	*old = *one;
	return OK;
}

static enum err
read_text(const char *path, struct buf *out)
{
	char bytes[4096];
	size_t n;
	FILE *f = fopen(path, "re");
	if (!f)
		return ERR_INVALID_FIELD;
	/* One byte too many is enough to know. */
	while (out->n <= PROMPT_BYTES_MAX &&
	       (n = fread(bytes, 1, sizeof(bytes), f)) > 0)
		buf_add(out, bytes, n);
	bool is_read = !ferror(f) && !out->failed;
	int error = errno;
	(void)fclose(f);
	errno = error;
	return is_read ? OK : ERR_INVALID_FIELD;
}

static enum err
load_file(struct prompts *p, const char *folder, const char *file, char *why)
{
	char path[4352], name[PROMPT_NAME_MAX + 1], said[PROMPT_WHY] = "";
	size_t n = strlen(file) - strlen(SUFFIX);
	struct prompt one;
	struct buf text = {0};

	if (!is_name(file, n)) {
		(void)snprintf(why, PROMPTS_WHY,
		    "CHAT_PROMPTS_DIR: %.80s: a template's name has 1 to %d of "
		    "a to z, 0 to 9, - and _, and .passages or .summary behind "
		    "them, if it is that of another",
		    file, PROMPT_NAME_MAX);
		return ERR_INVALID_FIELD;
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)n, file);
	(void)snprintf(path, sizeof(path), "%s/%s", folder, file);
	enum err e = read_text(path, &text);
	if (e != OK)
		(void)snprintf(why, PROMPTS_WHY, "CHAT_PROMPTS_DIR: %.300s: %s",
		    path, strerror(errno));
	else {
		e = prompt_parse(
		    name, text.n > 0 ? text.p : "", text.n, &one, said);
		if (e != OK)
			(void)snprintf(why, PROMPTS_WHY,
			    "CHAT_PROMPTS_DIR: %.200s/%s", folder, said);
	}
	buf_free(&text);
	return e == OK ? put(p, &one, why) : e;
}

/* Hidden files and what is called otherwise are no templates. */
static int
is_template(const struct dirent *d)
{
	size_t n = strlen(d->d_name);
	return d->d_name[0] != '.' && n > strlen(SUFFIX) &&
	       !strcmp(d->d_name + n - strlen(SUFFIX), SUFFIX);
}

static enum err
load_folder(struct prompts *p, const char *folder, char *why)
{
	struct dirent **files;
	enum err e = OK;
	int n = scandir(folder, &files, is_template, alphasort);
	if (n < 0) {
		(void)snprintf(why, PROMPTS_WHY, "CHAT_PROMPTS_DIR: %.400s: %s",
		    folder, strerror(errno));
		return ERR_INVALID_FIELD;
	}
	for (int i = 0; i < n; i++) {
		if (e == OK)
			e = load_file(p, folder, files[i]->d_name, why);
		free(files[i]);
	}
	free(files);
	return e;
}

static enum err
load_shipped(struct prompts *p, char *why)
{
	char said[PROMPT_WHY] = "";
	struct prompt one;
	for (size_t i = 0; i < shipped_prompts_n; i++) {
		const struct shipped_prompt *s = &shipped_prompts[i];
		enum err e =
		    prompt_parse(s->name, s->text, strlen(s->text), &one, said);
		if (e != OK) {
			(void)snprintf(why, PROMPTS_WHY, "shipped: %s", said);
			return e;
		}
		e = put(p, &one, why);
		if (e != OK)
			return e;
	}
	return OK;
}

static int
by_name(const void *a, const void *b)
{
	const struct prompt *x = a, *y = b;
	bool is_first = !strcmp(x->name, PROMPT_DEFAULT);
	if (is_first != !strcmp(y->name, PROMPT_DEFAULT))
		return is_first ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int64_t
section_bytes(const struct prompt *p, enum prompt_value value)
{
	return prompt_says(p, value) ? prompt_bytes(p, value) : -1;
}

/* What a template says of its user takes a look at their row. */
static bool
says_person(const struct prompt *p)
{
	static const enum prompt_value values[] = {
	    PROMPT_USER_NAME, PROMPT_DATE, PROMPT_WEEKDAY, PROMPT_TIME_ZONE};
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		if (prompt_minds(p, values[i]))
			return true;
	return false;
}

/* What statements are told of the list. */
static enum err
write_lists(struct prompts *p)
{
	struct buf names = {0}, bytes = {0};
	for (size_t i = 0; i < p->n; i++) {
		const struct prompt *one = &p->list[i];
		char before = i == 0 ? '{' : ',';
		p->says_person |= says_person(one);
		buf_printf(&names, "%c%s", before, one->name);
		buf_printf(&bytes, "%c%" PRId64 ",%" PRId64 ",%" PRId64, before,
		    prompt_bytes(one, PROMPT__MAX),
		    section_bytes(one, PROMPT_FACTS),
		    section_bytes(one, PROMPT_SUMMARY));
	}
	buf_putc(&names, '}');
	buf_putc(&bytes, '}');
	p->names = buf_take(&names);
	p->bytes = buf_take(&bytes);
	return p->names && p->bytes ? OK : ERR_BUSY;
}

enum err
prompts_load(
    const char *folder, struct prompts **out, char why[static PROMPTS_WHY])
{
	struct prompts *p = calloc(1, sizeof(*p));
	if (p)
		p->list = calloc(PROMPTS_MAX, sizeof(*p->list));
	enum err e = p && p->list ? load_shipped(p, why) : ERR_BUSY;
	if (e == OK && *folder)
		e = load_folder(p, folder, why);
	if (e == OK) {
		qsort(p->list, p->n, sizeof(*p->list), by_name);
		e = write_lists(p);
	}
	if (e == ERR_BUSY)
		(void)snprintf(why, PROMPTS_WHY, "no memory for templates");
	if (e == OK)
		*out = p;
	else
		prompts_free(p);
	return e;
}

void
prompts_free(struct prompts *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		prompt_clear(&p->list[i]);
	free(p->list);
	free(p->names);
	free(p->bytes);
	free(p);
}

void
prompts_use(struct prompts *p)
{
	prompts_free(in_use);
	in_use = p;
}

static void
use_shipped(void)
{
	char why[PROMPTS_WHY];
	if (!in_use && prompts_load("", &in_use, why) != OK)
		abort();
}

const struct prompts *
prompts_current(void)
{
	if (!in_use)
		(void)pthread_once(&shipped_once, use_shipped);
	return in_use;
}

bool
prompts_miss(const char *name)
{
	unsigned char bytes[crypto_generichash_BYTES_MIN];
	uint64_t hash;
	size_t i = 0;
	(void)crypto_generichash(bytes, sizeof(bytes),
	    (const unsigned char *)name, strlen(name), NULL, 0);
	memcpy(&hash, bytes, sizeof(hash));
	pthread_mutex_lock(&missed.lock);
	while (i < missed.n && missed.hashes[i] != hash)
		i++;
	bool is_new = i == missed.n && i < PROMPTS_MAX;
	if (is_new)
		missed.hashes[missed.n++] = hash;
	pthread_mutex_unlock(&missed.lock);
	return is_new;
}
