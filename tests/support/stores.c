/*
 * Servers by servers.h, the schema by natterctl. Owns nothing but the
 * environment variables that it sets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "stores.h"

#define DATABASE "natter"

_Noreturn static void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "stores: %s: %s\n", what, why);
	abort();
}

/* The natterctl that was built with natterd, unless one is named. */
static void
find_natterctl(void)
{
	const char *natterd = getenv("NATTERD"), *slash;
	char path[512];

	if (natterd == NULL || (slash = strrchr(natterd, '/')) == NULL)
		return;
	snprintf(path, sizeof(path), "%.*s/natterctl", (int)(slash - natterd),
	    natterd);
	setenv("NATTERCTL", path, 0);
}

static void
expect_migrated(struct command_end end)
{
	if (end.code != 0)
		give_up("natterctl migrate up", end.err);
	command_end_clear(&end);
}

void
stores_migrate(void)
{
	expect_migrated(RUN(admin_natterctl(), "migrate", "up"));
}

static bool
start_postgres(struct server *s, const char *version)
{
	if (version == NULL)
		return admin_start_schema(s, NULL, DATABASE);
	if (!server_start_postgres(s, NULL))
		return false;
	setenv("TEST_DATABASE_URL", s->url, 1);
	admin_database(DATABASE);
	expect_migrated(
	    RUN(admin_natterctl(), "migrate", "up", "--to", version));
	return true;
}

void
stores_start(struct stores *s, const char *version)
{
	char url[256];

	find_natterctl();
	if (!start_postgres(&s->postgres, version) ||
	    !server_start_redis(&s->redis, NULL))
		give_up("servers", "they do not start");
	snprintf(url, sizeof(url),
	    "postgresql:///" DATABASE "?host=%s&user=natter_app",
	    s->postgres.folder);
	setenv("DATABASE_URL", url, 1);
	setenv("REDIS_URL", s->redis.url, 1);
}

void
stores_stop(struct stores *s)
{
	server_thaw(&s->postgres);
	server_thaw(&s->redis);
	server_remove(&s->postgres);
	server_remove(&s->redis);
}

static void
signal_all(pid_t pid, int signal_number)
{
	char path[64];
	FILE *f;
	int child;

	if (pid <= 0)
		return;
	/* The parent first, so that no child is missed. */
	kill(pid, signal_number);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
	    (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fscanf(f, "%d", &child) == 1)
		kill(child, signal_number);
	if (f != NULL)
		fclose(f);
}

void
server_freeze(const struct server *s)
{
	signal_all(s->pid, SIGSTOP);
}

void
server_thaw(const struct server *s)
{
	signal_all(s->pid, SIGCONT);
}
