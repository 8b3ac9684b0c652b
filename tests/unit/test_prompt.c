/*
 * Templates: what is one, what it says, what is wrong with one, and folders of
 * them.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "chat/prompt.h"
#include "chat/prompts.h"

static const char *const all[PROMPT__MAX] = {
    [PROMPT_SYSTEM_PROMPT] = "S {{date}}",
    [PROMPT_FACTS] = "- F",
    [PROMPT_SUMMARY] = "M",
    [PROMPT_PASSAGES] = "P",
    [PROMPT_USER_NAME] = "Zo\xc3\xab",
    [PROMPT_STORE_NAME] = "Tea",
    [PROMPT_MODEL] = "m",
    [PROMPT_DATE] = "2026-01-02",
    [PROMPT_WEEKDAY] = "Friday",
    [PROMPT_TIME_ZONE] = "UTC",
};
static const char *const none[PROMPT__MAX] = {NULL};

static char why[PROMPT_WHY];

/* What a template says; "refused" where it is none. */
static const char *
say(const char *text, const char *const *values)
{
	static struct buf out;
	struct prompt p;
	buf_clear(&out);
	*why = '\0';
	if (prompt_parse("t", text, strlen(text), &p, why) != OK)
		return "refused";
	prompt_render(&p, values, &out);
	prompt_clear(&p);
	return buf_text(&out);
}

Test(prompt, values_take_their_places)
{
	static const struct {
		const char *text, *with_all, *with_none;
	} rows[] = {
	    {"", "", ""},
	    {"\n", "", ""},
	    {"a\n\n", "a\n", "a\n"},
	    {"plain } }} { text", "plain } }} { text", "plain } }} { text"},
	    {"{{user.name}}", "Zo\xc3\xab", ""},
	    {"{{date}} {{date}}", "2026-01-02 2026-01-02", " "},
	    {"{{system_prompt}}!", "S {{date}}!", "!"},
	    {"a{{#facts}} b{{facts}}{{/facts}}c", "a b- Fc", "ac"},
	    {"{{#summary}}x{{/summary}}{{#store.name}}y{{/store.name}}", "xy",
		""},
	    {"{{model}}/{{weekday}}/{{time_zone}}/{{store.name}}",
		"m/Friday/UTC/Tea", "///"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cr_expect_str_eq(say(rows[i].text, all), rows[i].with_all,
		    "%s: %s", rows[i].text, why);
		cr_expect_str_eq(say(rows[i].text, none), rows[i].with_none,
		    "%s", rows[i].text);
	}
}

Test(prompt, what_is_wrong_is_named_with_its_line)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"a\nb\n{{user.nam}}", "t.txt, line 3: {{user.nam}} is not known"},
	    {"{{ date }}", "line 1: {{ date }} is not known"},
	    {"{{}}", "line 1: {{}} is not known"},
	    {"{{DATE}}", "is not known"},
	    {"\n{{date", "line 2: {{ is not closed"},
	    {"{{da\nte}}", "line 1: {{ is not closed"},
	    {"x {{", "is not closed"},
	    {"{{#facts}}\nb", "line 1: {{#facts}} is not closed"},
	    {"{{/facts}}", "{{/facts}} closes nothing"},
	    {"{{#facts}}{{/summary}}", "{{/summary}} closes nothing"},
	    {"{{#facts}}{{#summary}}{{/summary}}{{/facts}}",
		"inside of {{#facts}}"},
	    {"{{facts}}\n{{facts}}", "line 2: {{facts}} may stand once"},
	    {"{{passages}}", "{{passages}} has no meaning in here"},
	    {"a\n\xff", "line 2: it must be UTF-8"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cr_expect_str_eq(
		    say(rows[i].text, all), "refused", "%s", rows[i].text);
		cr_expect_not_null(
		    strstr(why, rows[i].says), "%s: %s", rows[i].text, why);
	}
}

Test(prompt, a_template_that_is_too_long_is_refused)
{
	char *text = calloc(1, PROMPT_BYTES_MAX + 2);
	memset(text, '\n', PROMPT_BYTES_MAX + 1);
	cr_expect_str_eq(say(text, all), "refused");
	cr_expect_not_null(strstr(why, "32768 bytes at most"), "%s", why);
	text[PROMPT_BYTES_MAX] = '\0';
	cr_expect_str_neq(say(text, all), "refused");
	free(text);
}

Test(prompt, a_version_is_that_of_the_bytes)
{
	struct prompt a, b, c;
	cr_assert_eq(prompt_parse("a", "x\n", 2, &a, why), OK);
	cr_assert_eq(prompt_parse("b", "x\n", 2, &b, why), OK);
	cr_assert_eq(prompt_parse("c", "x", 1, &c, why), OK);
	cr_expect_str_eq(a.version, "73cb3858a687");
	cr_expect_str_eq(a.version, b.version);
	cr_expect_str_neq(a.version, c.version);
	prompt_clear(&a);
	prompt_clear(&b);
	prompt_clear(&c);
}

/* No text, however made of marks, is rendered longer than it says, or lost. */
Test(prompt, whatever_the_bytes_it_is_refused_or_rendered)
{
	static const char *const bits[] = {"{{", "}}", "{", "}", "#", "/",
	    "facts", "summary", "date", "system_prompt", "user.name", "\n", " ",
	    "x", "\xc3\xab", "{{date}}", "{{#facts}}", "{{/facts}}"};
	unsigned seed = 7;
	size_t told = 0;
	for (int i = 0; i < 20000; i++) {
		char text[256] = "";
		int n = (int)(seed % 12);
		for (int k = 0; k < n; k++) {
			seed = seed * 1103515245 + 12345;
			strcat(text, bits[(seed >> 16) %
					  (sizeof(bits) / sizeof(*bits))]);
		}
		seed = seed * 1103515245 + 12345;
		struct prompt p;
		struct buf out = {0};
		*why = '\0';
		if (prompt_parse("t", text, strlen(text), &p, why) != OK) {
			cr_assert(*why, "%s", text);
			continue;
		}
		told++;
		prompt_render(&p, all, &out);
		int64_t most = prompt_bytes(&p, PROMPT__MAX) +
			       prompt_bytes(&p, PROMPT_FACTS) +
			       prompt_bytes(&p, PROMPT_SUMMARY) +
			       (int64_t)strlen("S {{date}}- FM");
		cr_assert_leq((int64_t)out.n, most, "%s", text);
		buf_free(&out);
		prompt_clear(&p);
	}
	cr_expect_gt(told, 1000);
}

/* A folder of one file. */
static char folder[] = "/tmp/natter-prompts-XXXXXX";

static void
put_file(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

static void
take_file(const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	cr_expect_eq(unlink(path), 0);
}

Test(prompts, those_that_come_with_it_are_there)
{
	const struct prompts *p = prompts_current();
	cr_assert_not_null(p);
	cr_expect_str_eq(p->list[0].name, "default");
	cr_expect_not_null(prompts_find(p, "passages"));
	cr_expect_not_null(prompts_find(p, "summary"));
	cr_expect_null(prompts_find(p, "other"));
	cr_expect_eq(prompt_bytes(&p->list[0], PROMPT__MAX), 0);
	cr_expect_not(p->says_person);
}

Test(prompts, a_folder_s_files_come_before_the_shipped_ones)
{
	char said[PROMPTS_WHY];
	struct prompts *p = NULL;
	cr_assert_not_null(mkdtemp(folder));
	put_file("default.txt", "Hello {{user.name}}.");
	put_file("shop.txt", "{{system_prompt}}");
	put_file("README", "{{nothing}}");
	put_file(".default.txt.swp", "{{nothing}}");
	cr_assert_eq(prompts_load(folder, &p, said), OK, "%s", said);
	cr_expect_str_eq(p->list[0].name, "default");
	cr_expect_eq(prompt_bytes(&p->list[0], PROMPT__MAX), 207);
	cr_expect_not_null(prompts_find(p, "shop"));
	cr_expect_not_null(prompts_find(p, "passages"));
	cr_expect_str_eq(p->names, "{default,passages,shop,summary}");
	cr_expect(p->says_person);
	prompts_free(p);
	take_file("README");
	take_file(".default.txt.swp");
	take_file("default.txt");
	take_file("shop.txt");
	rmdir(folder);
}

/* Whoever says the time says whose. */
Test(prompts, of_a_person_are_those_that_say_a_name_or_the_time)
{
	static const struct {
		const char *text;
		bool says;
	} rows[] = {
	    {"{{system_prompt}} {{model}} {{store.name}}", false},
	    {"{{user.name}}", true},
	    {"{{date}}", true},
	    {"{{weekday}}", true},
	    {"{{time_zone}}", true},
	    {"{{#date}}x{{/date}}", true},
	};
	char said[PROMPTS_WHY];
	struct prompts *p = NULL;
	cr_assert_not_null(mkdtemp(folder));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		put_file("shop.txt", rows[i].text);
		cr_assert_eq(prompts_load(folder, &p, said), OK, "%s", said);
		cr_expect_eq(p->says_person, rows[i].says, "%s", rows[i].text);
		prompts_free(p);
	}
	take_file("shop.txt");
	rmdir(folder);
}

Test(prompts, a_store_may_name_those_of_system_messages)
{
	const struct prompts *p = prompts_current();
	cr_expect_eq(prompts_system(p, "default"), &p->list[0]);
	cr_expect_null(prompts_system(p, "passages"));
	cr_expect_null(prompts_system(p, "summary"));
	cr_expect_null(prompts_system(p, "nowhere"));
	cr_expect_null(prompts_system(p, ""));
}

Test(prompts, a_store_s_own_may_have_others_beside_it)
{
	char said[PROMPTS_WHY];
	struct prompts *p = NULL;
	cr_assert_not_null(mkdtemp(folder));
	put_file("shop.txt", "{{system_prompt}}");
	put_file("shop.passages.txt", "Of the shop: {{passages}}");
	put_file("tea.summary.txt", "Of tea.{{summary}}");
	cr_assert_eq(prompts_load(folder, &p, said), OK, "%s", said);
	const struct prompt *shop = prompts_system(p, "shop");
	cr_assert_not_null(shop);
	cr_expect_str_eq(
	    prompts_beside(p, shop, "passages")->name, "shop.passages");
	cr_expect_str_eq(prompts_beside(p, shop, "summary")->name, "summary");
	cr_expect_str_eq(
	    prompts_beside(p, &p->list[0], "passages")->name, "passages");
	cr_expect_null(prompts_system(p, "shop.passages"));
	prompts_free(p);
	take_file("shop.txt");
	take_file("shop.passages.txt");
	take_file("tea.summary.txt");
	rmdir(folder);
}

Test(prompts, one_that_is_missed_is_told_once)
{
	char name[16];
	cr_expect(prompts_miss("a"));
	cr_expect(prompts_miss("b"));
	cr_expect_not(prompts_miss("a"));
	/* Nobody fills the log with names. */
	for (int i = 2; i < PROMPTS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		cr_expect(prompts_miss(name), "%s", name);
	}
	cr_expect_not(prompts_miss("one more"));
}

Test(prompts, what_is_wrong_in_a_folder_is_named)
{
	static const struct {
		const char *file, *text, *says;
	} rows[] = {
	    {"shop.txt", "a\n{{x}}", "/shop.txt, line 2: {{x}} is not known"},
	    {"Shop.txt", "a", "Shop.txt: a template's name has"},
	    {"shop.other.txt", "a", "shop.other.txt: a template's name has"},
	    {"a.summary.passages.txt", "a", "a template's name has"},
	    {"shop.passages.txt", "{{facts}}", "{{facts}} has no meaning"},
	    {"passages.txt", "{{facts}}", "{{facts}} has no meaning in here"},
	    {"summary.txt", "{{facts}}", "{{facts}} has no meaning in here"},
	};
	char said[PROMPTS_WHY];
	struct prompts *p = NULL;
	cr_assert_not_null(mkdtemp(folder));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		put_file(rows[i].file, rows[i].text);
		cr_expect_eq(prompts_load(folder, &p, said), ERR_INVALID_FIELD);
		cr_expect_not_null(
		    strstr(said, rows[i].says), "%s: %s", rows[i].says, said);
		cr_expect_not_null(strstr(said, "CHAT_PROMPTS_DIR: "));
		take_file(rows[i].file);
	}
	rmdir(folder);
	cr_expect_eq(prompts_load(folder, &p, said), ERR_INVALID_FIELD);
	cr_expect_not_null(strstr(said, "No such file"), "%s", said);
}
