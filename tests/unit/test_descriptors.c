/*
 * CHAT_STREAMS_MAX against the limit of descriptors.
 */
#include <sys/resource.h>

#include <criterion/criterion.h>

#include "base/config.h"
#include "server/descriptors.h"

static void
have(rlim_t soft)
{
	struct rlimit files;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = soft;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

Test(descriptors, replies_are_cut_to_what_fits)
{
	static const struct {
		rlim_t limit;
		long wanted, got;
	} rows[] = {
	    {1024, 100, 100},  /* fits */
	    {716, 100, 100},   /* just */
	    {715, 100, 99},    /* not */
	    {1024, 5000, 202}, /* as a small container has them */
	    {100, 5000, 1},    /* one is better than none */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct config c = {.streams_max = rows[i].wanted};

		have(rows[i].limit);
		descriptors_fit(&c);
		cr_expect_eq(c.streams_max, rows[i].got, "%ld of %ld",
		    c.streams_max, rows[i].wanted);
	}
}

Test(descriptors, the_soft_limit_becomes_the_hard_one)
{
	struct rlimit files;

	have(512);
	descriptors_raise();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	cr_expect_eq(files.rlim_cur, files.rlim_max);
}
