/*
 * Expectations on a command: its exit code and a phrase in what it says. For
 * Criterion tests, inside a test only.
 */
#ifndef TESTS_SUPPORT_EXPECT_H
#define TESTS_SUPPORT_EXPECT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "command.h"

#define EXPECT_END(end, want_code, phrase)                                  \
	do {                                                                \
		struct command_end e_ = (end);                              \
		cr_assert_eq(e_.code, want_code, "exit %d: %s%s", e_.code,  \
		    e_.out, e_.err);                                        \
		cr_assert(strstr(e_.out, phrase) || strstr(e_.err, phrase), \
		    "no \"%s\" in: %s%s", phrase, e_.out, e_.err);          \
		command_end_clear(&e_);                                     \
	} while (0)

/* natterctl with these words. */
#define EXPECT(want_code, phrase, ...) \
	EXPECT_END(RUN(admin_natterctl(), __VA_ARGS__), want_code, phrase)

/* The same with standard input. */
#define EXPECT_FED(input, want_code, phrase, ...)                              \
	EXPECT_END(RUN_WITH(input, admin_natterctl(), __VA_ARGS__), want_code, \
	    phrase)

/* The first value of a query, as a superuser. */
#define EXPECT_VALUE(sql, want)                                    \
	do {                                                       \
		char *v_ = admin_value(sql);                       \
		cr_assert_str_eq(v_, want, "%s gave %s", sql, v_); \
		free(v_);                                          \
	} while (0)

#endif
