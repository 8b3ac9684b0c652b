/*
 * Runs the files by libpq. Owns the server that it starts.
 */
#include <assert.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema_files.h"
#include "servers.h"

#define MADE_AS "natter_files"

static char *
read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	assert(f != NULL);
	n = getdelim(&text, &room, '\0', f);
	assert(n > 0);
	fclose(f);
	return text;
}

static void
run_files(const char *url, const char *pattern)
{
	const char *srcdir = getenv("srcdir");
	char path[512];
	glob_t found;

	snprintf(path, sizeof(path), "%s/migrations/%s",
	    srcdir != NULL ? srcdir : ".", pattern);
	if (glob(path, 0, NULL, &found) != 0) {
		fprintf(stderr, "schema_files: there is no %s\n", path);
		abort();
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *sql = read_file(found.gl_pathv[i]);

		server_sql(url, sql);
		free(sql);
	}
	globfree(&found);
}

static char *
make(const char *server_url, const char *name)
{
	char *url = server_database(server_url, name);
	char *owner = server_url_with(url, "user", "natter_migrate");

	run_files(url, "bootstrap.sql");
	run_files(owner, "*.up.sql");
	free(owner);
	return url;
}

static bool
fill(struct server *s)
{
	free(make(s->url, MADE_AS));
	return true;
}

char *
schema_from_files(const char *name)
{
	static struct server s;
	const char *given = getenv("TEST_DATABASE_URL");
	char sql[160];

	if (given != NULL && given[0] != '\0')
		return make(given, name);
	if (!server_start_filled(&s, NULL, "files", fill))
		return NULL;
	setenv("TEST_DATABASE_URL", s.url, 1);
	snprintf(
	    sql, sizeof(sql), "ALTER DATABASE " MADE_AS " RENAME TO %s", name);
	server_sql(s.url, sql);
	return server_url_with(s.url, "dbname", name);
}
