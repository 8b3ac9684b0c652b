/*
 * Price lists: the shipped one is good, and of one that is not the entry and
 * what is wrong with it are named.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/migration_files.h"
#include "ctl/price_list.h"

#define LIST(entries)                                                         \
	"{\"currency\":\"EUR\",\"as_of\":\"2026-01-31\",\"prices\":[" entries \
	"]}"
#define GOOD "{\"model\":\"m\",\"input\":1,\"output\":2}"

Test(price_list, takes_a_list_with_its_decimals)
{
	static const char text[] =
	    LIST(GOOD ",{\"model\":\"n\",\"input\":0.150000,"
		      "\"cached_input\":0,\"output\":999999.999999}");
	char why[PRICE_LIST_WHY];
	struct price_list list;

	cr_assert_eq(price_list_read(text, sizeof(text) - 1, &list, why), OK);
	cr_expect_str_eq(list.currency, "EUR");
	cr_expect_str_eq(list.as_of, "2026-01-31");
	cr_expect_eq(list.n, 2);
	cr_expect_not_null(strstr(list.prices, "0.150000"), "%s", list.prices);
	cr_expect_not_null(strstr(list.prices, "999999.999999"));
	price_list_clear(&list);
}

Test(price_list, names_what_is_wrong)
{
	static const struct {
		const char *text;
		const char *why;
	} rows[] = {
	    {"", "no JSON object"},
	    {"[]", "no JSON object"},
	    {"{\"currency\":\"EUR\"", "no JSON object"},
	    {"{}", "currency must be"},
	    {"{\"currency\":\"eur\"}", "currency must be"},
	    {"{\"currency\":\"EURO\"}", "currency must be"},
	    {"{\"currency\":978}", "currency must be"},
	    {"{\"currency\":\"EUR\"}", "as_of must be"},
	    {"{\"currency\":\"EUR\",\"as_of\":\"31.1.2026\"}", "as_of must be"},
	    {"{\"currency\":\"EUR\",\"as_of\":\"2026-01-31\"}",
		"prices must be an array"},
	    {LIST(""), "prices must be an array"},
	    {"{\"currency\":\"EUR\",\"as_of\":\"2026-01-31\",\"prices\":{}}",
		"prices must be an array"},
	    {"{\"price\":1}", "price is not known"},
	    {LIST("1"), "entry 1 is no object"},
	    {LIST(GOOD ",null"), "entry 2 is no object"},
	    {LIST("{\"input\":1,\"output\":2}"), "entry 1: model must be"},
	    {LIST("{\"model\":\"\",\"input\":1,\"output\":2}"),
		"entry 1: model must be"},
	    {LIST("{\"model\":\"a b\",\"input\":1,\"output\":2}"),
		"entry 1: model must be"},
	    {LIST("{\"model\":7,\"input\":1,\"output\":2}"),
		"entry 1: model must be"},
	    {LIST("{\"model\":\"m\",\"output\":2}"),
		"entry 1 (m) has no input"},
	    {LIST("{\"model\":\"m\",\"input\":1}"),
		"entry 1 (m) has no output"},
	    {LIST("{\"model\":\"m\",\"input\":null,\"output\":2}"),
		"entry 1 (m) has no input"},
	    {LIST("{\"model\":\"m\",\"input\":\"1\",\"output\":2}"),
		"entry 1 (m): input must be a number"},
	    {LIST("{\"model\":\"m\",\"input\":-1,\"output\":2}"),
		"entry 1 (m): input must be a number"},
	    {LIST("{\"model\":\"m\",\"input\":1,\"output\":1e3}"),
		"entry 1 (m): output must be a number"},
	    {LIST("{\"model\":\"m\",\"input\":1,\"output\":0.0000001}"),
		"entry 1 (m): output must be a number"},
	    {LIST("{\"model\":\"m\",\"input\":1000000,\"output\":1}"),
		"entry 1 (m): input must be a number"},
	    {LIST("{\"model\":\"m\",\"input\":1,\"cached_input\":true,"
		  "\"output\":1}"),
		"entry 1 (m): cached_input must be a number"},
	    {LIST("{\"model\":\"m\",\"input\":1,\"cached\":1,\"output\":1}"),
		"entry 1 (m): cached is not known"},
	    {LIST(GOOD "," GOOD), "entry 2 (m): it is there twice"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char why[PRICE_LIST_WHY] = "";
		struct price_list list;

		cr_expect_eq(price_list_read(rows[i].text, strlen(rows[i].text),
				 &list, why),
		    ERR_INVALID_FIELD, "%s", rows[i].text);
		cr_expect_not_null(
		    strstr(why, rows[i].why), "%s: %s", rows[i].text, why);
	}
}

Test(price_list, knows_a_price)
{
	static const struct {
		const char *text;
		bool is_good;
	} rows[] = {{"0", true}, {"1", true}, {"0.15", true}, {"10.00", true},
	    {"999999.999999", true}, {"", false}, {".5", false}, {"5.", false},
	    {"-1", false}, {"+1", false}, {"1e3", false}, {"1,5", false},
	    {"1000000", false}, {"0.0000001", false}, {" 1", false},
	    {"1 ", false}, {"NaN", false}, {"0x1", false}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(price_is_number(rows[i].text), rows[i].is_good,
		    "%s", rows[i].text);
}

/* And it is the file of the sources. */
Test(price_list, the_shipped_one_is_good)
{
	const struct embedded_file *shipped = embedded_find(PRICE_LIST_SHIPPED);
	const char *srcdir = getenv("srcdir");
	char why[PRICE_LIST_WHY], path[512], *text = NULL;
	struct price_list list;
	size_t room = 0;

	cr_assert_not_null(shipped);
	cr_assert_eq(price_list_read(shipped->text, shipped->n, &list, why), OK,
	    "%s", why);
	cr_expect_str_eq(list.currency, "USD");
	cr_expect_not_null(strstr(list.prices, "\"gpt-4o-mini\""));
	cr_expect_not_null(strstr(list.prices, "\"natter-local\""));
	price_list_clear(&list);
	snprintf(
	    path, sizeof(path), "%s/share/prices.json", srcdir ? srcdir : ".");
	FILE *f = fopen(path, "r");
	cr_assert_not_null(f, "%s", path);
	cr_assert_gt(getdelim(&text, &room, '\0', f), 0);
	fclose(f);
	cr_expect_str_eq(text, shipped->text);
	free(text);
}
