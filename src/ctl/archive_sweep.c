/*
 * Files of archives that never came to be: a run that was killed, a commit
 * that failed. They hold what users said and no manifest names them, so that
 * nobody would ever erase them.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/archive.h"

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Only names that we give. */
static int
is_ours(const struct dirent *d)
{
	const char *s = d->d_name;

	return s[0] == '.' ? ends_with(s, ".part") : ends_with(s, ".jsonl.gz");
}

/* The files that manifests name; fails where a manifest cannot be read. */
static enum ctl_exit
list_named(int dir, char ***out_files, size_t *out_n)
{
	char **names = NULL;
	size_t n = 0;
	enum ctl_exit code = archive_names(dir, &names, &n);

	for (size_t i = 0; code == CTL_OK && i < n; i++) {
		struct archive a = {0};

		code = archive_load(dir, names[i], &a);
		free(names[i]);
		names[i] = strdup(a.file);
		archive_clear(&a);
	}
	if (code != CTL_OK) {
		archive_names_free(names, n);
		return code;
	}
	*out_files = names;
	*out_n = n;
	return CTL_OK;
}

static bool
is_named(char **files, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(files[i], name) == 0)
			return true;
	return false;
}

enum ctl_exit
archive_sweep(int dir)
{
	struct dirent **found = NULL;
	char **files = NULL;
	size_t n_files = 0;
	enum ctl_exit code = list_named(dir, &files, &n_files);
	int n = code == CTL_OK ? scandirat(dir, ".", &found, is_ours, NULL) : 0;

	for (int i = 0; i < n; i++) {
		if (!is_named(files, n_files, found[i]->d_name))
			(void)unlinkat(dir, found[i]->d_name, 0);
		free(found[i]);
	}
	free(found);
	if (code == CTL_OK)
		archive_names_free(files, n_files);
	return code;
}
