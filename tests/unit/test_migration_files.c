/*
 * The migrations that are built in, and how a file is cut into statements.
 */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/migration_files.h"

static char *
read_file(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = fopen(path, "r");

	cr_assert_not_null(f, "%s", path);
	cr_assert_gt(getdelim(&text, &n, '\0', f), 0, "%s", path);
	fclose(f);
	return text;
}

Test(migration_files, what_is_built_in_is_the_folder_byte_for_byte)
{
	const char *srcdir = getenv("srcdir");
	char pattern[300];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/migrations/*.sql",
	    srcdir != NULL ? srcdir : ".");
	cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
	/* The last is the price list (test_price_list). */
	cr_expect_eq(found.gl_pathc + 1, embedded_count,
	    "%zu files in the folder, %zu built in: is a new one in MIGRATIONS "
	    "of src/ctl/sources.am?",
	    (size_t)found.gl_pathc, embedded_count - 1);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *path = found.gl_pathv[i];
		const struct embedded_file *e =
		    embedded_find(strrchr(path, '/') + 1);
		char *text = read_file(path);

		cr_assert_not_null(e, "%s is not built in", path);
		cr_expect_eq(e->n, strlen(text), "%s", path);
		cr_expect_str_eq(e->text, text, "%s", path);
		free(text);
	}
	globfree(&found);
}

Test(migration_files, they_load_in_order_with_both_ways_and_a_checksum)
{
	struct migrations *m = NULL;
	char why[MIGRATIONS_WHY] = "";

	cr_assert_eq(migrations_load(NULL, &m, why), OK, "%s", why);
	cr_assert_gt(m->n, 0);
	for (size_t i = 0; i < m->n; i++) {
		if (i > 0)
			cr_expect_gt(
			    m->list[i].version, m->list[i - 1].version);
		cr_expect_eq(strlen(m->list[i].sha256), SHA256_TEXT - 1);
		cr_expect_eq(
		    migrations_find(m, m->list[i].version), &m->list[i]);
	}
	cr_expect_null(migrations_find(m, 999));
	migrations_free(m);
}

Test(migration_files, a_bare_file_is_cut_at_its_marks)
{
	static const char sql[] = "-- natter: no-transaction\nSELECT 1;\n"
				  "-- natter: split\nSELECT 2;\n"
				  "  -- natter: split\nSELECT 3;\n"
				  "-- natter: split\nSELECT 4;";
	const char *rest = sql, *at;
	size_t n;

	cr_expect(migration_is_bare(sql));
	cr_expect_not(migration_is_bare(" -- natter: no-transaction\n"));
	cr_expect_not(migration_is_bare(""));
	at = migration_next(&rest, &n);
	cr_expect_eq(n, strlen("-- natter: no-transaction\nSELECT 1;\n"));
	cr_expect_eq(at, sql);
	at = migration_next(&rest, &n);
	cr_expect_eq(strncmp(at, "SELECT 2;\n  --", 14), 0);
	at = migration_next(&rest, &n);
	cr_expect_str_eq(at, "SELECT 4;");
	cr_expect_eq(n, 9);
	cr_expect_null(migration_next(&rest, &n));
}
