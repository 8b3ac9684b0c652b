/*
 * Runs a fuzz driver over its corpus without libFuzzer: every file whole and
 * every beginning of it, so that what once broke never breaks again. Named
 * replay_NAME it reads tests/fuzz/corpus/NAME; arguments name other files.
 */
#include <dirent.h>
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"

/* Beginnings are tried of files up to this many bytes. */
#define CUT_MAX  4096
#define FILE_MAX (1 << 20)

static unsigned long n_files;

/* A copy of its own each time, so that a read beyond the end is seen. */
static void
run(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL)
		exit(1);
	memcpy(copy, bytes, n);
	(void)LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static void
run_file(const char *path)
{
	static uint8_t bytes[FILE_MAX];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		perror(path);
		exit(1);
	}
	n = fread(bytes, 1, sizeof(bytes), f);
	(void)fclose(f);
	for (size_t cut = 0; n <= CUT_MAX && cut < n; cut++)
		run(bytes, cut);
	run(bytes, n);
	n_files++;
}

static int
is_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void
run_folder(const char *folder)
{
	struct dirent **entries;
	char path[8192];
	int n = scandir(folder, &entries, is_file, alphasort);

	if (n < 0) {
		perror(folder);
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		(void)snprintf(
		    path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		run_file(path);
		free(entries[i]);
	}
	free(entries);
}

int
main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	const char *name = strrchr(argv[0], '_');
	char folder[4096];

	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc == 1 && name != NULL) {
		(void)snprintf(folder, sizeof(folder),
		    "%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : ".",
		    name + 1);
		run_folder(folder);
	}
	(void)printf("%lu files\n", n_files);
	return n_files > 0 ? 0 : 1;
}
