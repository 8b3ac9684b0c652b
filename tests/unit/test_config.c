/*
 * The settings: where values come from, what is refused and in which words,
 * and the file format of systemd's EnvironmentFile=. Each test runs in a
 * process of its own, so that it may set the environment.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/env_file.h"

static char folder[64];
static char why[CONFIG_WHY];
static char source[256]; /* the top of the source tree */

static void
make_folder(void)
{
	const char *srcdir = getenv("srcdir");

	snprintf(source, sizeof(source), "%s", srcdir != NULL ? srcdir : ".");
	strcpy(folder, "/tmp/natter-config-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	clearenv(); /* a developer's CHAT_* must not matter */
}

static void
remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	cr_expect_eq(system(command), 0);
}

TestSuite(config, .init = make_folder, .fini = remove_folder);

/* Writes `text` into a file of the folder and returns its path. */
static const char *
file_with(const char *name, const char *text)
{
	static char path[4][160];
	static unsigned turn;
	char *p = path[turn++ % 4];
	FILE *f;

	snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
	f = fopen(p, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
	return p;
}

static struct config *
load(const char *file)
{
	struct config *c = NULL;

	why[0] = '\0';
	cr_assert_eq(config_load(file, &c, why), OK, "refused: %s", why);
	cr_assert_not_null(c);
	return c;
}

static void
refused(const char *file, const char *phrase)
{
	struct config *c = (struct config *)why;

	why[0] = '\0';
	cr_assert_neq(config_load(file, &c, why), OK);
	cr_expect_null(c);
	cr_expect_not_null(
	    strstr(why, phrase), "\"%s\" lacks \"%s\"", why, phrase);
	cr_expect_null(strchr(why, '\n'));
}

/* Everything that config_print writes. */
static char *
printed(const struct config *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	config_print(c, f);
	fclose(f);
	return text;
}

static char *
documented(enum config_format format)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	config_document(format, f);
	fclose(f);
	return text;
}

Test(config, without_anything_every_setting_has_its_default)
{
	struct config *c = load(NULL);

	cr_expect_eq(c->workers, 2);
	cr_expect_eq(c->pg_prepare, true);
	cr_expect_eq(c->model_http2, false);
	cr_expect_str_eq(c->log_level, "info");
	cr_expect_str_eq(c->database_url, "");
	cr_expect_str_eq(c->system_prompt, "You are a helpful assistant.");
	config_free(c);
}

Test(config, the_environment_wins_over_the_file)
{
	const char *f =
	    file_with("env", "CHAT_WORKERS=3\nCHAT_MODEL=from-file\n");
	struct config *c;

	setenv("CHAT_WORKERS", "7", 1);
	c = load(f);
	cr_expect_eq(c->workers, 7);
	cr_expect_str_eq(c->model, "from-file");
	config_free(c);
}

Test(config, an_empty_text_is_a_value)
{
	struct config *c = load(file_with("env", "CHAT_SYSTEM_PROMPT=\n"));

	cr_expect_str_eq(c->system_prompt, "");
	config_free(c);
}

Test(config, a_number_that_does_not_fit_is_refused_with_its_range)
{
	static const char *const bad[] = {"", " 3", "3 ", "+3", "0x3", "3.0",
	    "three", "0", "257", "-1", "99999999999999999999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("CHAT_WORKERS", bad[i], 1);
		refused(NULL, "it takes a whole number from 1 to 256");
	}
	setenv("CHAT_WORKERS", "256", 1);
	config_free(load(NULL));
	setenv("CHAT_WORKERS", "1", 1);
	config_free(load(NULL));
}

Test(config, an_error_in_the_file_names_file_line_and_key)
{
	refused(file_with("env", "# a comment\n\nCHAT_WORKERS=many\n"),
	    "/env: line 3: CHAT_WORKERS is \"many\"");
	setenv("CHAT_WORKERS", "none", 1);
	refused(NULL, "environment: CHAT_WORKERS is \"none\"");
	setenv("CHAT_WORKERS", "two\nlines", 1);
	refused(NULL, "CHAT_WORKERS is \"two?lines\"");
}

Test(config, a_switch_takes_on_and_off_and_their_likes)
{
	static const struct {
		const char *in;
		bool want;
	} rows[] = {{"on", true}, {"off", false}, {"true", true}, {"no", false},
	    {"YES", true}, {"0", false}, {"1", true}, {"False", false}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *c;

		setenv("CHAT_PG_PREPARE", rows[i].in, 1);
		c = load(NULL);
		cr_expect_eq(c->pg_prepare, rows[i].want, "%s", rows[i].in);
		config_free(c);
	}
	setenv("CHAT_PG_PREPARE", "maybe", 1);
	refused(NULL, "CHAT_PG_PREPARE is \"maybe\": it takes on or off");
	setenv("CHAT_PG_PREPARE", "", 1);
	refused(NULL, "it takes on or off");
}

Test(config, a_choice_takes_one_of_its_words_only)
{
	static const char *const bad[] = {"", "opened", "ope", "open closed"};
	struct config *c;

	setenv("CHAT_REGISTRATION", "open", 1);
	c = load(NULL);
	cr_expect_str_eq(c->registration, "open");
	config_free(c);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("CHAT_REGISTRATION", bad[i], 1);
		refused(NULL, "it takes one of: open invite closed");
	}
}

Test(config, an_unknown_key_in_the_file_is_refused_with_the_nearest)
{
	refused(file_with("env", "\nCHAT_WORKRES=2\n"),
	    "line 2: CHAT_WORKRES is not a setting: did you mean "
	    "CHAT_WORKERS?");
	refused(file_with("env", "chat_workers=2\n"), "did you mean CHAT_WORK");
	refused(file_with("env", "DATABASE_UR=x\n"), "mean DATABASE_URL?");
	refused(file_with("env", "SOMETHING_ELSE_ALTOGETHER=2\n"),
	    "is not a setting (natterctl config --markdown lists them all)");
	refused(file_with("env", "CHAT_WORKERS_FILE=x\n"),
	    "CHAT_WORKERS_FILE is not a setting");
}

Test(config, what_only_natterctl_reads_is_kept_out_of_the_file)
{
	refused(file_with("env", "OWNER_DATABASE_URL=x\n"),
	    "line 1: OWNER_DATABASE_URL is natterctl's alone");
	refused(file_with("env", "NATTER_APP_PASSWORD=x\n"),
	    "NATTER_APP_PASSWORD is natterctl's alone");
}

Test(config, an_unknown_chat_variable_in_the_environment_is_refused)
{
	setenv("NATTER_THING", "x", 1);
	setenv("OPENAI_ORGANIZATION", "x", 1);
	setenv("OWNER_DATABASE_URL", "x", 1);
	config_free(load(NULL));
	setenv("CHAT_STREAM_MAX", "x", 1);
	refused(NULL,
	    "environment: CHAT_STREAM_MAX is not a setting: did you mean "
	    "CHAT_STREAMS_MAX?");
	unsetenv("CHAT_STREAM_MAX");
	setenv(
	    "CHAT_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	    "AAAAAAAAAAAAAAAAAAAAAAA",
	    "x", 1);
	refused(NULL, "is not a setting");
}

Test(config, a_secret_may_stand_in_a_file_of_its_own)
{
	const char *secret = file_with("secret", "postgres://x\r\n\n");
	struct config *c;
	char line[256];
	char *text;

	setenv("DATABASE_URL_FILE", secret, 1);
	c = load(NULL);
	cr_expect_str_eq(c->database_url, "postgres://x");
	text = printed(c);
	cr_expect_not_null(strstr(text,
	    "DATABASE_URL=(set)  # the file that DATABASE_URL_FILE names\n"));
	free(text);
	config_free(c);

	unsetenv("DATABASE_URL_FILE");
	snprintf(line, sizeof(line), "DATABASE_URL_FILE=%s\n", secret);
	c = load(file_with("env", line));
	cr_expect_str_eq(c->database_url, "postgres://x");
	config_free(c);

	setenv("DATABASE_URL", "from-environment", 1);
	c = load(file_with("env", line));
	cr_expect_str_eq(c->database_url, "from-environment");
	config_free(c);
}

Test(config, a_secret_file_that_cannot_be_used_is_refused)
{
	setenv("DATABASE_URL_FILE", "/nonexistent/secret", 1);
	refused(NULL,
	    "DATABASE_URL_FILE names /nonexistent/secret, which cannot be "
	    "opened: No such file");
	setenv("DATABASE_URL_FILE", folder, 1);
	refused(NULL, "which is a folder");
	setenv("DATABASE_URL_FILE", file_with("empty", "\n"), 1);
	refused(NULL, "which is empty");
	setenv("DATABASE_URL_FILE", file_with("full", "abc"), 1);
	setenv("DATABASE_URL", "x", 1);
	refused(NULL,
	    "environment: both DATABASE_URL and DATABASE_URL_FILE are set");
	setenv("DATABASE_URL", "", 1);
	config_free(load(NULL));
}

Test(config, a_systemd_credential_is_used_where_nothing_else_is_set)
{
	struct config *c;
	char *text;

	file_with("OPENAI_API_KEY", "sk-credential\n");
	file_with("CHAT_WORKERS", "9\n");
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	setenv("OPENAI_API_KEY", "", 1);
	c = load(NULL);
	cr_expect_str_eq(c->openai_api_key, "sk-credential");
	cr_expect_eq(c->workers, 2, "only secrets are credentials");
	text = printed(c);
	cr_expect_not_null(
	    strstr(text, "OPENAI_API_KEY=(set)  # systemd credential\n"));
	cr_expect_null(strstr(text, "sk-credential"));
	free(text);
	config_free(c);
	setenv("OPENAI_API_KEY", "sk-environment", 1);
	c = load(NULL);
	cr_expect_str_eq(c->openai_api_key, "sk-environment");
	config_free(c);
}

Test(config, no_refusal_tells_a_secret)
{
	refused(file_with("env", "DATABASE_URL=hunter2\nhunter2\n"), "line 2");
	cr_expect_null(strstr(why, "hunter2"));
	refused(file_with("env", "DATABASE_URL='hunter2\n"), "line 1");
	cr_expect_null(strstr(why, "hunter2"));
	setenv("DATABASE_URL", "hunter2\xff", 1);
	refused(NULL, "DATABASE_URL is not valid UTF-8");
	cr_expect_null(strstr(why, "hunter2"));
}

Test(config, values_are_quoted_as_systemd_takes_them)
{
	static const struct {
		const char *file;
		const char *want;
	} rows[] = {
	    {"CHAT_MODEL=plain", "plain"},
	    {"CHAT_MODEL=plain\n", "plain"},
	    {"CHAT_MODEL=crlf\r\n\r\n", "crlf"},
	    {"  CHAT_MODEL  =  blanks around \t\n", "blanks around"},
	    {"CHAT_MODEL=\"double  \" \n", "double  "},
	    {"CHAT_MODEL='single $x \\n \"q\"'\n", "single $x \\n \"q\""},
	    {"CHAT_MODEL=\"a\\\"b\\\\c\\$d\\`e\\nf\"\n", "a\"b\\c$d`e\\nf"},
	    {"CHAT_MODEL=\"two\nlines\"\n", "two\nlines"},
	    {"CHAT_MODEL=\"joined \\\nline\"\n", "joined line"},
	    {"CHAT_MODEL=joined \\\nline\n", "joined line"},
	    {"CHAT_MODEL=a\\ b\\\\c\\ \n", "a b\\c "},
	    {"CHAT_MODEL=it's \"fine\"\n", "it's \"fine\""},
	    {"CHAT_MODEL='a'\"b\"\n", "ab"},
	    {"CHAT_MODEL=a#b;c # d\n", "a#b;c # d"},
	    {"CHAT_MODEL=a=b\n", "a=b"},
	    {"CHAT_MODEL=''\n", ""},
	    {"CHAT_MODEL=", ""},
	    {"# x\n ; y=z\\\nCHAT_MODEL=after\n", "after"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *c = load(file_with("env", rows[i].file));

		cr_expect_str_eq(c->model, rows[i].want, "%s gave \"%s\"",
		    rows[i].file, c->model);
		config_free(c);
	}
}

Test(config, lines_that_are_no_settings_are_refused)
{
	static const struct {
		const char *file;
		const char *want;
	} rows[] = {
	    {"CHAT_MODEL\n", "line 1 is not of the form KEY=VALUE"},
	    {"\n\nexport CHAT_MODEL=x\n", "line 3 does not begin with"},
	    {"1CHAT=x\n", "line 1 does not begin with"},
	    {"=x\n", "line 1 does not begin with"},
	    {"CHAT_MODEL='x\n\n\n", "line 1 opens a quote"},
	    {"CHAT_MODEL=\"x\\\"\n\n\n", "line 1 opens a quote"},
	    {"CHAT_MODEL=\"a\nb\"\nCHAT_MODEL=x", "line 3 sets a key that an "},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(file_with("env", rows[i].file), rows[i].want);
	refused("/nonexistent/natter.env",
	    "/nonexistent/natter.env cannot be opened: No such file");
	refused(folder, "is a folder");
}

Test(config, a_file_with_a_nul_or_too_large_is_refused)
{
	const char *path = file_with("env", "CHAT_MODEL=x\n");
	FILE *f = fopen(path, "a");

	fputc('\0', f);
	fclose(f);
	refused(path, "holds a NUL byte");
	cr_assert_eq(truncate(path, ENV_FILE_MAX + 1), 0);
	refused(path, "is larger than");
}

Test(config, printing_shows_each_value_and_where_it_came_from)
{
	const char *f = file_with(
	    "env", "\nCHAT_MODEL=\"two\nlines\"\nOPENAI_API_KEY=sk-hidden\n");
	struct config *c;
	char *text;

	setenv("CHAT_WORKERS", "4", 1);
	c = load(f);
	text = printed(c);
	cr_expect_not_null(strstr(text, "CHAT_WORKERS=4  # environment\n"));
	cr_expect_not_null(strstr(text, "CHAT_MODEL=two\\nlines  # "));
	cr_expect_not_null(strstr(text, "/env: line 2\n"));
	cr_expect_not_null(strstr(text, "CHAT_PG_PREPARE=on  # default\n"));
	cr_expect_not_null(strstr(text, "OPENAI_API_KEY=(set)  # "));
	cr_expect_not_null(strstr(text, "REDIS_URL=(empty)  # default\n"));
	cr_expect_null(strstr(text, "sk-hidden"));
	free(text);
	config_free(c);
}

/* The settings compared one by one: c and d are two loads. */
#define CONFIG_GROUP(title)
#define CONFIG_TEXT(key, field, def, help) \
	cr_expect_str_eq(c->field, d->field, #key);
#define CONFIG_SECRET(key, field, help) \
	cr_expect_str_eq(c->field, d->field, #key);
#define CONFIG_NUMBER(key, field, def, min, max, help) \
	cr_expect_eq(c->field, d->field, #key);        \
	cr_expect(c->field >= (min) && c->field <= (max), #key);
#define CONFIG_SWITCH(key, field, def, help) \
	cr_expect_eq(c->field, d->field, #key);
#define CONFIG_CHOICE(key, field, def, choices, help) \
	cr_expect_str_eq(c->field, d->field, #key);

static void
expect_equal(const struct config *c, const struct config *d){
#include "base/config.def"
}

#undef CONFIG_GROUP
#undef CONFIG_TEXT
#undef CONFIG_SECRET
#undef CONFIG_NUMBER
#undef CONFIG_SWITCH
#undef CONFIG_CHOICE

Test(config, the_example_without_its_marks_loads_as_the_defaults)
{
	char *text = documented(CONFIG_ENV_EXAMPLE), *to = text;
	struct config *c, *defaults = load(NULL);

	/* "#KEY=" is a setting, "# " a sentence. */
	for (const char *p = text; *p != '\0'; p++)
		if (*p != '#' || p[1] == ' ' || p[1] == '\n')
			*to++ = *p;
	*to = '\0';
	c = load(file_with("env", text));
	expect_equal(c, defaults);
	config_free(c);
	config_free(defaults);
	free(text);
}

/* What every document must name. */
static const char *const names[] = {
#define CONFIG_GROUP(title)                         title,
#define CONFIG_TEXT(key, field, def, help)          #key,
#define CONFIG_SECRET(key, field, help)             #key,
#define CONFIG_NUMBER(key, field, d, min, max, h)   #key,
#define CONFIG_SWITCH(key, field, def, help)        #key,
#define CONFIG_CHOICE(key, field, def, words, help) #key,
#include "base/config.def"
};

/* As man pages want it: what comes after a full stop is a line of its own. */
Test(config, the_mdoc_has_one_sentence_a_line)
{
	char *text = documented(CONFIG_MDOC), *rest = text, *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		cr_expect_leq(strlen(line), 80, "%s", line);
		cr_expect(
		    line[0] == '.' || strstr(line, ". ") == NULL, "%s", line);
	}
	free(text);
}

Test(config, every_document_names_every_setting)
{
	static const enum config_format formats[] = {
	    CONFIG_MARKDOWN, CONFIG_MDOC, CONFIG_ENV_EXAMPLE};

	for (size_t i = 0; i < 3; i++) {
		char *text = documented(formats[i]);

		for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++)
			cr_expect_not_null(
			    strstr(text, names[j]), "%s", names[j]);
		free(text);
	}
}

Test(config, the_committed_example_is_the_one_that_the_table_makes)
{
	char path[300], *text = documented(CONFIG_ENV_EXAMPLE);
	char *committed = calloc(1, ENV_FILE_MAX);
	FILE *f;

	snprintf(path, sizeof(path), "%s/natter.env.example", source);
	f = fopen(path, "r");
	cr_assert_not_null(f, "%s is missing: run make env-example", path);
	(void)!fread(committed, 1, ENV_FILE_MAX - 1, f);
	fclose(f);
	cr_expect(strcmp(committed, text) == 0,
	    "%s is stale: run make env-example", path);
	free(committed);
	free(text);
}
