/*
 * The settings about model servers and the models that stand in.
 */
#include <stdint.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/config.h"
#include "model/fallback.h"

static struct config
settings(const char *models, const char *second_url, const char *second_models)
{
	return (struct config){
	    .openai_base_url = (char *)"http://one.test/v1",
	    .openai_api_key = (char *)"",
	    .fallback_models = (char *)(uintptr_t)models,
	    .second_base_url = (char *)(uintptr_t)second_url,
	    .second_api_key = (char *)"",
	    .second_models = (char *)(uintptr_t)second_models,
	};
}

Test(fallback, the_order_is_that_of_the_settings)
{
	struct config c =
	    settings(" a  b\t", "http://two.test/v1", "b c/d:e natter-local");
	static const struct {
		const char *model;
		enum model_place place;
		bool is_local;
	} want[] = {
	    {"a", MODEL_AT_MAIN, false},
	    {"b", MODEL_AT_MAIN, false},
	    {"b", MODEL_AT_SECOND, false},
	    {"c/d:e", MODEL_AT_SECOND, false},
	    {"natter-local", MODEL_AT_SECOND, true},
	};
	struct fallback f;

	for (size_t i = 0; i < 5; i++) {
		cr_assert(fallback_at(&c, i, &f));
		cr_expect_str_eq(f.model, want[i].model);
		cr_expect_eq(f.place, want[i].place);
		cr_expect_eq(f.is_local, want[i].is_local);
	}
	cr_expect(!fallback_at(&c, 5, &f));
	cr_expect(!fallback_at(&c, 1000, &f));
	cr_expect(fallback_has_local(&c));
}

Test(fallback, without_settings_nobody_stands_in)
{
	struct config c = settings("", "", "  ");
	struct fallback f;

	cr_expect(!fallback_at(&c, 0, &f));
	cr_expect(!fallback_has_local(&c));
}

#define NAME_50 "12345678901234567890123456789012345678901234567890"

Test(fallback, what_cannot_work_is_refused_with_its_setting)
{
	static const struct {
		const char *models, *url, *second, *says; /* NULL: it can */
	} rows[] = {
	    {"", "", "", NULL},
	    {"a b c", "", "", NULL},
	    {"natter-local", "", "", NULL},
	    {"a", "https://two.test/v1", "b natter-local", NULL},
	    {"", "https://two.test/v1", "b", NULL},
	    {"", "ftp://two.test", "b", "CHAT_SECOND_BASE_URL"},
	    {"", "", "b", "CHAT_SECOND_MODELS"},
	    {"a", "https://two.test/v1", "", "CHAT_SECOND_MODELS"},
	    {"natter-local a", "", "", "natter-local"},
	    {"natter-local", "https://two.test/v1", "b", "natter-local"},
	    {"1 2 3 4 5 6 7 8", "", "", NULL},
	    {"1 2 3 4 5", "https://two.test/v1", "6 7 8 9", "more than 8"},
	    {NAME_50 NAME_50, "", "", NULL},
	    {NAME_50 NAME_50 "1", "", "", "too long"},
	    {"caf\xc3\xa9", "", "", "no model has"},
	};
	char why[FALLBACK_WHY];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config c =
		    settings(rows[i].models, rows[i].url, rows[i].second);
		enum err e = fallback_check(&c, why);

		cr_expect_eq(e, rows[i].says == NULL ? OK : ERR_INVALID_FIELD,
		    "%zu: %s", i, why);
		if (e != OK && rows[i].says != NULL)
			cr_expect_not_null(
			    strstr(why, rows[i].says), "%zu: %s", i, why);
	}
}

Test(fallback, a_key_is_checked_and_never_shown)
{
	struct config c = settings("", "https://two.test/v1", "b");
	char why[FALLBACK_WHY];

	c.second_api_key = (char *)"se cret";
	cr_expect_eq(fallback_check(&c, why), ERR_INVALID_FIELD);
	cr_expect_not_null(strstr(why, "CHAT_SECOND_API_KEY"));
	cr_expect_null(strstr(why, "cret"));
}

Test(fallback, nobody_stands_in_for_a_server_that_is_not_set)
{
	struct config c = settings("a", "", "");
	char why[FALLBACK_WHY];

	c.openai_base_url = (char *)"";
	cr_expect_eq(fallback_check(&c, why), ERR_INVALID_FIELD);
	cr_expect_not_null(strstr(why, "OPENAI_BASE_URL"), "%s", why);
}
