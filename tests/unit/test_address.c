/*
 * Which addresses lie inside the network, and what a list allows of them. The
 * table is IANA's two registries of special addresses, the clouds' metadata,
 * and for each range its first and last address and both neighbours.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/address.h"

/* "10.0.0.1", "::1", or either with a port: "10.0.0.1 80". */
static const struct sockaddr *
at(const char *text, struct sockaddr_storage *out)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	char word[64] = "";
	int port = 443;

	cr_assert_geq(sscanf(text, "%63s %d", word, &port), 1);
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, word, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((in_port_t)port);
	} else {
		cr_assert_eq(inet_pton(AF_INET6, word, &six->sin6_addr), 1,
		    "%s is no address", word);
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((in_port_t)port);
	}
	return (const struct sockaddr *)out;
}

static const char *const inside[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200", /* Alibaba's metadata */
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254", /* everybody's metadata */
    "169.254.255.255",
    "168.63.129.16", /* Azure's */
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.192", /* Oracle's */
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",

    "::",
    "::1",
    "::2",
    "::7f00:1", /* IPv4-compatible */
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",      /* IPv4-mapped, */
    "::ffff:93.184.215.14", /* any of them */
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.1.2.3", /* behind a translator */
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "1fff:ffff::",
    "2001::1",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff:fff::1",
    "4000::",
    "5f00::1",
    "fc00::",
    "fd00:ec2::254",
    "fd20:ce::254", /* Amazon's and Google's metadata */
    "fdff:ffff::1",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
};

static const char *const outside[] = {
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",

    "2000::",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::",
    "2003::1",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "2a00:1450::1",
    "3ffe:ffff::1",
    "64:ff9b::8.8.8.8",
};

Test(address, what_lies_inside_the_network)
{
	struct sockaddr_storage a;

	for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
		cr_expect_not(
		    address_is_outside(at(inside[i], &a)), "%s", inside[i]);
	for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
		cr_expect(
		    address_is_outside(at(outside[i], &a)), "%s", outside[i]);
}

Test(address, what_is_no_ip_is_not_outside)
{
	const struct sockaddr_un socket = {.sun_family = AF_UNIX};
	const struct sockaddr *a = (const struct sockaddr *)&socket;

	cr_expect_not(address_is_outside(a));
	cr_expect_not(address_list_has("0.0.0.0/0 ::/0 shop", "shop", a));
}

Test(address, a_list_allows_what_it_names_and_nothing_else)
{
	static const struct {
		const char *list, *host, *at;
		bool want;
	} rows[] = {
	    {"", "shop", "10.0.0.1", false},
	    {"   ", "shop", "10.0.0.1", false},
	    {"10.0.0.1", "10.0.0.1", "10.0.0.1 8080", true},
	    {"10.0.0.1", "shop", "10.0.0.1", true},
	    {"10.0.0.1", "shop", "10.0.0.2", false},
	    {"10.0.0.1:8080", "shop", "10.0.0.1 8080", true},
	    {"10.0.0.1:8080", "shop", "10.0.0.1 8081", false},
	    {"10.1.0.0/16", "shop", "10.1.255.255", true},
	    {"10.1.0.0/16", "shop", "10.2.0.0", false},
	    {"10.1.0.0/15", "shop", "10.1.2.3", true},
	    {"10.1.2.3/32", "shop", "10.1.2.3", true},
	    {"10.1.2.3/32", "shop", "10.1.2.2", false},
	    {"10.1.2.128/25", "shop", "10.1.2.127", false},
	    {"10.1.2.128/25", "shop", "10.1.2.129", true},
	    {"0.0.0.0/0", "shop", "127.0.0.1", true},
	    {"0.0.0.0/0", "shop", "::1", false},
	    {"::/0", "shop", "127.0.0.1", false},
	    {"::1", "[::1]", "::1", true},
	    {"::1", "shop", "::2", false},
	    {"[::1]", "shop", "::1 9", true},
	    {"[::1]:8080", "shop", "::1 8080", true},
	    {"[::1]:8080", "shop", "::1 80", false},
	    {"fd00::/8", "shop", "fd12::1", true},
	    {"fd00::/8", "shop", "fe80::1", false},
	    {"127.0.0.1", "shop", "::ffff:127.0.0.1", false},
	    {"shop", "shop", "10.0.0.1", true},
	    {"shop", "SHOP", "10.0.0.1", true},
	    {"shop", "shop.example", "10.0.0.1", false},
	    {"shop.example", "shop", "10.0.0.1", false},
	    {"shop", "workshop", "10.0.0.1", false},
	    {"shop:8080", "shop", "fd00::1 8080", true},
	    {"shop:8080", "shop", "fd00::1 80", false},
	    {"a b  10.0.0.1:1 shop", "shop", "10.0.0.1 2", true},
	    {"a b  10.0.0.1:1", "shop", "10.0.0.1 1", true},
	    {"a b  10.0.0.1:1", "shop", "10.0.0.1 2", false},
	};
	struct sockaddr_storage a;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(address_list_has(rows[i].list, rows[i].host,
				 at(rows[i].at, &a)),
		    rows[i].want, "\"%s\" for %s at %s", rows[i].list,
		    rows[i].host, rows[i].at);
}

Test(address, a_list_that_cannot_be_understood_is_refused_by_its_word)
{
	static const struct {
		const char *list;
		enum err want;
	} rows[] = {
	    {"", OK},
	    {"localhost shop.internal:1 a_b-c.d:65535", OK},
	    {"10.0.0.1 10.0.0.0/8 10.0.0.1:80 0.0.0.0/0", OK},
	    {"::1 fd00::/8 [::1] [::1]:80 ::/0 ::/128", OK},
	    {"9gag.example x1", OK},
	    {"shop:", ERR_INVALID_FIELD},
	    {"shop:0", ERR_INVALID_FIELD},
	    {"shop:65536", ERR_INVALID_FIELD},
	    {"shop:99999999999999999999", ERR_INVALID_FIELD},
	    {"shop:80a", ERR_INVALID_FIELD},
	    {"shop:-1", ERR_INVALID_FIELD},
	    {":80", ERR_INVALID_FIELD},
	    {".shop", ERR_INVALID_FIELD},
	    {"shop.", ERR_INVALID_FIELD},
	    {"*.shop", ERR_INVALID_FIELD},
	    {"shop,example", ERR_INVALID_FIELD},
	    {"http://shop", ERR_INVALID_FIELD},
	    {"10.0.0.0/33", ERR_INVALID_FIELD},
	    {"10.0.0.0/", ERR_INVALID_FIELD},
	    {"10.0.0.0/8/8", ERR_INVALID_FIELD},
	    {"10.0.0.0/-1", ERR_INVALID_FIELD},
	    {"10.0.0", ERR_INVALID_FIELD},
	    {"10.0.0.256", ERR_INVALID_FIELD},
	    {"1", ERR_INVALID_FIELD},
	    {"shop/8", ERR_INVALID_FIELD},
	    {"fd00::/129", ERR_INVALID_FIELD},
	    {"[::1", ERR_INVALID_FIELD},
	    {"[::1]80", ERR_INVALID_FIELD},
	    {"[127.0.0.1]", ERR_INVALID_FIELD},
	    {"[shop]", ERR_INVALID_FIELD},
	    {"fe80::1%eth0", ERR_INVALID_FIELD},
	};
	char why[ADDRESS_WHY];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		why[0] = '\0';
		cr_expect_eq(address_list_check(rows[i].list, why),
		    rows[i].want, "\"%s\"", rows[i].list);
		cr_expect_eq(rows[i].want == OK, why[0] == '\0');
	}
	cr_expect_eq(
	    address_list_check("10.0.0.1 shop:0 x", why), ERR_INVALID_FIELD);
	cr_expect_not_null(strstr(why, "\"shop:0\""), "%s", why);
}

Test(address, a_word_of_any_length_is_refused_or_taken)
{
	char list[600], why[ADDRESS_WHY];

	for (size_t n = 200; n < sizeof list - 1; n++) {
		memset(list, 'a', n);
		list[n] = '\0';
		cr_expect_eq(address_list_check(list, why),
		    n <= 253 ? OK : ERR_INVALID_FIELD, "%zu", n);
	}
}
