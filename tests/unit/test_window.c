/*
 * How large models' windows are.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "model/window.h"

Test(window, the_longest_name_that_fits_counts_and_the_setting_comes_first)
{
	static const struct {
		const char *setting;
		const char *model;
		int64_t want;
	} rows[] = {
	    {"", "gpt-4o-mini-2024-07-18", 128000},
	    {"", "gpt-4", 8192},
	    {"", "gpt-4-0613", 8192},
	    {"", "gpt-4.1-mini", 1047576},
	    {"", "nobody-knows-it", WINDOW_UNKNOWN},
	    {"4096", "nobody-knows-it", 4096},
	    {"4096", "gpt-4o", 128000},
	    {"mine=512", "mine-7b", 512},
	    {"mine=512 mine-7b=1024", "mine-7b", 1024},
	    {"mine-7b=1024 mine=512", "mine-7b", 1024},
	    {"  gpt-4o=300   9000 ", "gpt-4o", 300},
	    {"  gpt-4o=300   9000 ", "other", 9000},
	    {"a=b=700", "a=b", 700},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_eq(window_of(rows[i].setting, rows[i].model),
		    rows[i].want, "'%s' %s", rows[i].setting, rows[i].model);
}

Test(window, what_is_no_window_is_named)
{
	static const char *const bad[] = {"x", "mine=", "=512", "mine=12x",
	    "255", "mine=100000001", "4096 mine = 7", "mine=-1",
	    "mine=99999999999999999999"};
	static const char *const good[] = {"", "   ", "256", "100000000",
	    "mine=512", "mine=512 other=1024  4096"};
	char why[WINDOW_WHY];
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		*why = '\0';
		cr_expect_eq(
		    window_check(bad[i], why), ERR_INVALID_FIELD, "%s", bad[i]);
		cr_expect_not_null(strstr(why, "CHAT_MODEL_WINDOW"));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_expect_eq(window_check(good[i], why), OK, "%s", good[i]);
}

Test(window, the_list_has_a_row_for_any_model_and_ends)
{
	char name[256];
	int64_t tokens;
	size_t i = 0;
	bool has_any = false;
	while (window_at("a=500 600", i, name, sizeof(name), &tokens)) {
		if (i == 0)
			cr_expect(!strcmp(name, "a") && tokens == 500);
		if (i == 1)
			cr_expect(!*name && tokens == 600);
		has_any = has_any || !*name;
		i++;
	}
	cr_expect(has_any);
	cr_expect_gt(i, 10);
}
