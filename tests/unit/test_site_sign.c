/*
 * Signatures of calls to a site, against those that Python's hmac and
 * `openssl dgst -sha256 -hmac` make of the same.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "server/site_sign.h"

#define KEY     "0123456789abcdef0123456789abcdef"
#define KEY_NTS "nts_ECxSv_sdjNWXkU8Cs1zfntWDNYMjkl_N6RmIgwUGr2s"
#define TEN     "kkkkkkkkkk"

Test(site_sign, is_the_hmac_of_time_dot_body)
{
	static const struct {
		const char *secret;
		int64_t at_s;
		const char *body;
		size_t n;
		const char *want;
	} rows[] = {
	    {KEY, 1700000000, "{\"tool\":\"order_status\"}", 23,
		"v1="
		"f0c9323d02005221128098e826631b5b0e17b631ed8ae0591db575b6c321f2"
		"a2"},
	    {KEY_NTS, 0, "", 0,
		"v1="
		"dbc257c386c41d9dc4deb1ed26a62af5385dbb13b03e5536948b92a51eba69"
		"12"},
	    {TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN, 253402300799,
		"\xc3\xa9\0x", 4,
		"v1="
		"2f4b448ae07f7181d4826ff7a12af626258c588b79f4a59f53530e9cff389e"
		"d5"},
	};
	char got[SITE_SIGNATURES];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct site_secrets s = {rows[i].secret, NULL};

		site_sign(&s, rows[i].at_s, rows[i].body, rows[i].n, got);
		cr_expect_str_eq(got, rows[i].want, "%zu: %s", i, got);
	}
}

Test(site_sign, two_secrets_sign_side_by_side)
{
	struct site_secrets both = {KEY, KEY_NTS}, one = {KEY_NTS, NULL};
	char got[SITE_SIGNATURES], alone[SITE_SIGNATURES];

	site_sign(&both, 5, "x", 1, got);
	site_sign(&one, 5, "x", 1, alone);
	cr_expect_eq(strlen(got), 2 * 67 + 1);
	cr_expect_eq(got[67], ',');
	cr_expect_str_eq(got + 68, alone);
	cr_expect_neq(strncmp(got, alone, 67), 0);
}

Test(site_sign, every_part_counts)
{
	struct site_secrets a = {KEY, NULL}, b = {KEY "x", NULL};
	char base[SITE_SIGNATURES], got[SITE_SIGNATURES];

	site_sign(&a, 15, "body", 4, base);
	site_sign(&b, 15, "body", 4, got);
	cr_expect_str_neq(got, base);
	site_sign(&a, 16, "body", 4, got);
	cr_expect_str_neq(got, base);
	site_sign(&a, 15, "bodz", 4, got);
	cr_expect_str_neq(got, base);
	site_sign(&a, 1, "5.body", 6, got);
	cr_expect_str_neq(got, base);
}
