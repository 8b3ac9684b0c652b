/*
 * What a client gives back of what it was given. A list's cursor is good as it
 * was made, for the same user and list, and nothing else is one. A position in
 * a reply is read as it was printed and in no other way. The first byte of an
 * input chooses the byte of a cursor that is changed.
 */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/keyring.h"
#include "base/text.h"
#include "chat/reply_position.h"
#include "fuzz.h"
#include "http/cursor.h"
#include "http/request.h"

#define LIST "conversations 0:1:x"

/* Every ring is another: nothing in a corpus can be one of its cursors. */
static struct keyring *
make_ring(void)
{
	char path[] = "/tmp/natter-fuzz-XXXXXX", file[64];
	char why[KEYRING_WHY] = "";
	struct keyring *ring = NULL;

	FUZZ_PROMISE(sodium_init() >= 0 && mkdtemp(path) != NULL);
	(void)snprintf(file, sizeof(file), "%s/keys", path);
	FUZZ_PROMISE(keyring_create(file, why) == OK);
	FUZZ_PROMISE(keyring_load(file, &ring, why) == OK);
	(void)unlink(file);
	(void)rmdir(path);
	return ring;
}

static void
check_refused(struct request *req, const char *list)
{
	const char *keys[CURSOR_KEYS_MAX] = {"?", "?", "?"};

	FUZZ_PROMISE(cursor_read(req, list, keys) == ERR_BAD_CURSOR);
	for (int i = 0; i < CURSOR_KEYS_MAX; i++)
		FUZZ_PROMISE(strcmp(keys[i], "?") == 0);
}

static void
ask(struct request *req, const char *cursor)
{
	req->query = arena_printf(req->arena, "cursor=%s", cursor);
	FUZZ_PROMISE(req->query != NULL);
}

/* The cursor with one of its characters changed. */
static void
check_changed(struct request *req, const char *cursor, size_t at)
{
	char *other = arena_strdup(req->arena, cursor);

	FUZZ_PROMISE(other != NULL);
	at %= strlen(other);
	other[at] = other[at] == 'A' ? 'B' : 'A';
	ask(req, other);
	check_refused(req, LIST);
}

static void
check_made(struct request *req, const char *const *keys, size_t change)
{
	const char *found[CURSOR_KEYS_MAX] = {"?", "?", "?"};
	const char *cursor = cursor_make(req, LIST, keys);

	if (cursor == NULL) {
		FUZZ_PROMISE(strlen(keys[0]) > 256 || strlen(keys[1]) > 256);
		return;
	}
	ask(req, cursor);
	FUZZ_PROMISE(cursor_read(req, LIST, found) == OK);
	FUZZ_PROMISE(strcmp(found[0], keys[0]) == 0);
	FUZZ_PROMISE(strcmp(found[1], keys[1]) == 0);
	FUZZ_PROMISE(found[2] == NULL);
	check_refused(req, "conversations 0:1:y");
	req->who.user_id = "another";
	check_refused(req, LIST);
	req->who.user_id = "somebody";
	check_changed(req, cursor, change);
}

static void
check_position(const char *p, size_t n)
{
	struct reply_position at, again;
	char text[REPLY_POSITION_TEXT];

	if (reply_position_parse(p, n, &at)) {
		reply_position_print(at, text);
		FUZZ_PROMISE(strlen(text) == n && memcmp(text, p, n) == 0);
	}
	at = (struct reply_position){0};
	memcpy(&at, p, n < sizeof(at) ? n : sizeof(at));
	reply_position_print(at, text);
	FUZZ_PROMISE(reply_position_parse(text, strlen(text), &again));
	FUZZ_PROMISE(again.n == at.n && again.bytes == at.bytes);
	FUZZ_PROMISE(!reply_position_parse(text, strlen(text) + 1, &again));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct services services;
	struct arena *a = arena_new(1 << 20);
	const char *keys[3] = {NULL};

	if (services.keys == NULL)
		services.keys = make_ring();
	FUZZ_PROMISE(a != NULL);
	if (size > 0) {
		const char *p = (const char *)data + 1;
		size_t n = strnlen(p, size - 1), skip = n < size - 1;
		struct request req = {.arena = a,
		    .services = &services,
		    .who = {.user_id = "somebody"}};

		keys[0] = arena_strndup(a, p, n);
		keys[1] = arena_strndup(a, p + n + skip,
		    strnlen(p + n + skip, size - 1 - n - skip));
		ask(&req, keys[0]);
		if (strpbrk(keys[0], "&%+") == NULL)
			check_refused(&req, LIST);
		check_made(&req, keys, data[0]);
		check_position(p, size - 1);
	}
	arena_free(a);
	return 0;
}
