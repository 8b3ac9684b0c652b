/*
 * Data folders that are made once and kept, so that every further server of the
 * same kind begins with a copy: below the folder NATTER_TEST_KEPT, which
 * scripts/check makes for a run. Where that is not set each makes its own. Owns
 * nothing but what lies there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "server_inside.h"

#define PLACE (PATH_MAX - 16)

/* What exec_copy's child inherits. */
static const char *copy_from, *copy_to;

static void
exec_copy(struct server *s)
{
	const char *const argv[] = {
	    "cp", "-a", "--reflink=auto", copy_from, copy_to, NULL};

	s->options = NULL;
	server_exec(s, "cp", argv);
}

static bool
copy(struct server *s, const char *from, const char *to)
{
	copy_from = from;
	copy_to = to;
	return server_run(s, exec_copy);
}

/* Who holds it makes what is missing; the others wait. -1 on failure. */
static int
lock(const char *place)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s.lock", place);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) != 0)
		server_complain("%s: %s", path, strerror(errno));
	return fd;
}

/* Under another name first: who sees the folder sees all of it. */
static bool
keep(struct server *s, const char *data, const char *place)
{
	char new[PATH_MAX];

	snprintf(new, sizeof(new), "%s.new", place);
	return copy(s, data, new) && rename(new, place) == 0;
}

bool
server_fill(struct server *s, const char *name, bool (*make)(struct server *s))
{
	const char *kept = getenv("NATTER_TEST_KEPT");
	char place[PLACE], data[PATH_MAX];
	bool is_made = false, is_filled = true;
	int fd;

	if (kept == NULL || kept[0] == '\0')
		return make(s);
	snprintf(place, sizeof(place), "%s/%s", kept, name);
	snprintf(data, sizeof(data), "%s/data", s->folder);
	if (access(place, F_OK) != 0) {
		fd = lock(place);
		if (access(place, F_OK) != 0) {
			is_made = true;
			is_filled = make(s) && keep(s, data, place);
		}
		close(fd);
	}
	return is_made ? is_filled : copy(s, place, data);
}
