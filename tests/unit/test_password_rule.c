/*
 * Which new passwords are refused.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/common_words.h"
#include "auth/password_rule.h"
#include "base/config.h"

static char none[] = "";
static struct config config = {.password_list = none};

static bool
is_refused(const char *password)
{
	const char *flaw = "";
	cr_assert_eq(
	    password_rule_judge(&config, "zo\xc3\xab-miller", password, &flaw),
	    OK);
	return flaw != NULL;
}

Test(password_rule, lets_long_phrases_and_random_characters_through)
{
	static const char *const good[] = {"correct horse battery",
	    "the red fox sleeps late", "Zm9vYmFyIQ.x7", "xk2-pl9-vv3-qq8",
	    "wir gehen morgen baden", "monkeys climb trees", "0417 2986 5530",
	    "passworthy sentence",
	    "\xd0\xbf\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c \xd0\xbc\xd0\xbe"
	    "\xd0\xb9",
	    "zoe miller likes tea", "k7#pQ2!mZ9$w", "dragon4718386572",
	    "seven tall pines at dawn", "our cat hates mondays a lot",
	    "gloria drinks coffee before noon", "mein hund mag keinen regen",
	    "f5zex-s8xsa-y46qv-9fns2", "k7#pQ2!m", "the summer of 2019 was wet",
	    "dragon butter lamp ceiling"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		cr_expect_not(is_refused(good[i]), "%s", good[i]);
}

Test(password_rule, refuses_what_is_guessed_first)
{
	static const char *const bad[] = {"password", "PassWord",
	    "password1234", "Password2024!", "p@ssw0rd", "P@$$w0rd!!!!",
	    "pa55w0rd1234", "1234password", "!!!Dragon2024", "pass word 1234",
	    "pass-word_1.2.3.4", "iloveyouforever", "I love you forever",
	    "1loveyou", "adm1n1strator", "letme1n!", "password12345678",
	    "qwerty987654321", "correct horse battery staple",
	    "correcthorsebatterystaple", "correct horse battery staples",
	    "Summer2026!", "michelle1984",
	    /* Long enough by trivial means. */
	    "passwordpassword", "PasswordPassword1", "password password!",
	    "administrator123", "Administrator2026!", "Dragonmaster2024!",
	    "welcometonatter1", "letmeinletmeinletmein", "summer2026summer",
	    "monkeymonkeymonkey", "chelsealiverpoolarsenal",
	    "qwertyuiopasdfgh1", "JenniferMichael1984", "sunshineprincess99",
	    "p4ssw0rdp4ssw0rd", "1234567890password", "iloveyousomuch12345",
	    "NatterNatter2026!!", "changeme-changeme", "trustno1trustno1",
	    "footballfootball7", "hello-world-hello-world"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect(is_refused(bad[i]), "%s", bad[i]);
}

Test(password_rule, refuses_patterns)
{
	static const char *const bad[] = {"aaaaaaaaaaaa", "abcabcabcabc",
	    "xyzzy1xyzzy1xy", "hunter2hunter2", "123456789012", "098765432109",
	    "abcdefghijklmnop", "zyxwvutsrqponm", "qwertyuiop12",
	    "asdfghjklasdfghjkl", "1qaz2wsx3edc", "!@#$%^&*()!@",
	    "azertyuiopqs", "112233445566", "            ", "a . . . . . b",
	    ""};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect(is_refused(bad[i]), "%s", bad[i]);
}

Test(password_rule, refuses_little_more_than_the_username)
{
	cr_expect(is_refused("zo\xc3\xab-miller"));
	cr_expect(is_refused("Zo\xc3\xab Miller 2024"));
	cr_expect(is_refused("xx-zo\xc3\xab-miller-1"));
	cr_expect_not(is_refused("zo\xc3\xab-miller fed the ducks"));
}

Test(password_rule, takes_any_bytes_of_any_length_allowed)
{
	char text[257];
	for (int c = 1; c < 256; c++) {
		memset(text, c, 256);
		text[256] = '\0';
		(void)is_refused(text);
		text[1] = '\0';
		(void)is_refused(text);
	}
}

static char path[] = "/tmp/natter-list-XXXXXX";

static void
write_list(const char *text)
{
	int fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	config.password_list = path;
}

Test(password_rule, reads_the_sites_own_list)
{
	char text[1200];
	memset(text, 'x', 600);
	strcpy(text + 600, "\nacme corporation\r\nWidget-Works\n\nlast line");
	write_list(text);
	cr_expect(is_refused("AcmeCorporation"));
	cr_expect(is_refused("acme corporation 2024"));
	cr_expect(is_refused("w1dgetworks!"));
	cr_expect(is_refused("last line"), "without a newline");
	cr_expect_not(is_refused("acme corporation makes widgets"));
	(void)unlink(path);
}

Test(password_rule, a_list_that_cannot_be_read_is_a_fault_of_the_server)
{
	char missing[] = "/nonexistent/list";
	const char *flaw = NULL;
	config.password_list = missing;
	cr_expect_eq(
	    password_rule_judge(&config, "x", "the red fox sleeps", &flaw),
	    ERR_INTERNAL);
}

Test(password_rule, the_list_is_lower_case_sorted_and_without_comments)
{
	const char *before = NULL;
	size_t n = 0, n_before = 0;
	const char *line = common_words;
	for (const char *end; (end = strchr(line, '\n')); line = end + 1) {
		size_t len = (size_t)(end - line);
		cr_expect_gt(len, 0);
		cr_expect_not(len > 1 && line[0] == '#' && line[1] == ' ');
		for (size_t i = 0; i < len; i++)
			cr_expect_not((line[i] >= 'A' && line[i] <= 'Z') ||
					  line[i] == ' ',
			    "%.*s", (int)len, line);
		if (before) {
			size_t least = len < n_before ? len : n_before;
			int order = memcmp(before, line, least);
			cr_expect(order < 0 || (order == 0 && n_before < len),
			    "%.*s", (int)len, line);
		}
		before = line;
		n_before = len;
		n++;
	}
	cr_expect_gt(n, 800);
}
