/*
 * natterctl archive: list, verify.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "ctl/archive.h"
#include "ctl/archive_command.h"
#include "ctl/settings.h"

enum ctl_exit
archive_each(int dir, const char *only, archive_each_fn fn, void *arg)
{
	char **names = NULL;
	size_t n = 0;
	enum ctl_exit worst = archive_names(dir, &names, &n), code;
	bool is_found = false;

	for (size_t i = 0; i < n; i++) {
		struct archive a = {0};

		if (only != NULL && strcmp(only, names[i]) != 0)
			continue;
		is_found = true;
		code = archive_load(dir, names[i], &a);
		if (code == CTL_OK)
			code = fn(dir, &a, arg);
		archive_clear(&a);
		if (code != CTL_OK)
			worst = code;
	}
	archive_names_free(names, n);
	if (worst == CTL_OK && only != NULL && !is_found)
		return ctl_refuse(CTL_FAILED,
		    "there is no archive %s: natterctl archive list shows them",
		    only);
	return worst;
}

static enum ctl_exit
list_one(int dir, const struct archive *a, void *arg)
{
	(void)dir;
	(void)arg;
	printf("%s  %.10s  %lld rows of %zu users  %lld bytes (%s)\n", a->name,
	    a->created, (long long)a->rows, a->n_users,
	    (long long)a->file_bytes, a->file);
	return CTL_OK;
}

static enum ctl_exit
verify_one(int dir, const struct archive *a, void *arg)
{
	enum ctl_exit code = archive_read(dir, a, NULL, NULL);

	(void)arg;
	if (code == CTL_OK)
		printf("%s  good\n", a->name);
	return code;
}

/* Opens the folder of CHAT_ARCHIVE_DIR and calls `fn` for its archives. */
static enum ctl_exit
with_folder(const char *file, const char *only, archive_each_fn fn)
{
	struct config *config = NULL;
	int dir = -1;
	enum ctl_exit code = ctl_settings(file, &config);

	if (code == CTL_OK)
		code = archive_folder(config->archive_dir, &dir);
	if (code == CTL_OK)
		code = archive_each(dir, only, fn, NULL);
	if (dir >= 0)
		close(dir);
	config_free(config);
	return code;
}

enum ctl_exit
ctl_archive_list(const struct command *self, int argc, char **argv)
{
	const char *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {{"config", OPTION_TEXT, &file}, {0}};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	return with_folder(file, NULL, list_one);
}

enum ctl_exit
ctl_archive_verify(const struct command *self, int argc, char **argv)
{
	const char *file = NULL, *only = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"name", OPTION_TEXT, &only},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	return with_folder(file, only, verify_one);
}
