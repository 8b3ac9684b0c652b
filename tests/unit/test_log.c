/*
 * Log lines: every one is a valid JSON object of one line, whatever is
 * logged. Standard error is read back through a file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static char text[20000]; /* what was logged since `listen_to_log` */
static FILE *file;
static int real_stderr;

static void
listen_to_log(void)
{
	file = tmpfile();
	real_stderr = dup(STDERR_FILENO);
	cr_assert(file && real_stderr >= 0);
	cr_assert_eq(dup2(fileno(file), STDERR_FILENO), STDERR_FILENO);
	log_init("test", LOG_DEBUG);
}

/* Ends the listening; returns the bytes that were logged. */
static size_t
heard(void)
{
	cr_assert_eq(dup2(real_stderr, STDERR_FILENO), STDERR_FILENO);
	(void)close(real_stderr);
	rewind(file);
	size_t n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	(void)fclose(file);
	return n;
}

/* The only line that was logged, parsed; NULL unless it is one JSON object. */
static struct json_object *
heard_object(void)
{
	size_t n = heard();
	cr_assert_gt(n, 0);
	cr_assert_eq(strchr(text, '\n'), text + n - 1, "one line: %s", text);
	struct json_tokener *t = json_tokener_new();
	json_tokener_set_flags(
	    t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *o = json_tokener_parse_ex(t, text, (int)n);
	cr_assert_eq(
	    json_tokener_get_error(t), json_tokener_success, "%s", text);
	json_tokener_free(t);
	return o;
}

static const char *
member(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

Test(log, a_line_has_its_members_in_order)
{
	static const char *const want[] = {
	    "ts", "level", "process", "pid", "msg", "text", "number"};
	listen_to_log();
	log_with(LOG_WARNING, "hello", LOG_TEXT("text", "a b"),
	    LOG_NUMBER("number", -9223372036854775807LL - 1));
	struct json_object *o = heard_object();
	size_t i = 0;
	json_object_object_foreach(o, key, value)
	{
		(void)value;
		cr_assert_str_eq(key, want[i++]);
	}
	cr_expect_eq(i, 7);
	cr_expect_str_eq(member(o, "level"), "warning");
	cr_expect_str_eq(member(o, "process"), "test");
	cr_expect_str_eq(member(o, "msg"), "hello");
	cr_expect_str_eq(member(o, "text"), "a b");
	cr_expect_str_eq(member(o, "number"), "-9223372036854775808");
	cr_expect_eq(
	    json_object_get_int(json_object_object_get(o, "pid")), getpid());
	cr_expect_eq(strlen(member(o, "ts")), 24);
	json_object_put(o);
}

Test(log, hostile_text_stays_inside_its_string)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"", ""},
	    {"\"},{\"level\":\"x", "\"},{\"level\":\"x"},
	    {"a\\b\\", "a\\b\\"},
	    {"line\nbreak\r\t\x01\x1b[31m", "line\nbreak\r\t\x01\x1b[31m"},
	    {"\x7f\xc2\x9b", "\x7f\xc2\x9b"},
	    {"\xff", "\xef\xbf\xbd"},
	    {"ok\xe2\x82", "ok\xef\xbf\xbd"},
	    {"\xf0\x9f\x98\x80 \xc3\xa9", "\xf0\x9f\x98\x80 \xc3\xa9"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		listen_to_log();
		log_with(LOG_INFO, rows[i].in, LOG_TEXT("f", rows[i].in));
		struct json_object *o = heard_object();
		cr_expect_str_eq(member(o, "f"), rows[i].want);
		cr_expect_str_eq(member(o, "msg"), rows[i].want);
		cr_expect_null(strpbrk(text, "\x1b\x7f"), "row %zu", i);
		json_object_put(o);
	}
}

Test(log, bytes_that_are_not_utf8_do_not_break_the_line)
{
	/* Every pair of bytes once, some of which are valid by chance. */
	for (int c = 1; c < 256; c++) {
		char s[600];
		size_t n = 0;
		for (int d = 1; d < 256; d++) {
			s[n++] = (char)c;
			s[n++] = (char)d;
		}
		s[n] = '\0';
		listen_to_log();
		log_with(LOG_INFO, "m", LOG_TEXT("f", s));
		json_object_put(heard_object());
	}
}

Test(log, a_long_line_is_cut_and_stays_json)
{
	static const char *const units[] = {
	    "x", "\"", "\n", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	char s[6000];
	for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++) {
		for (size_t want = 3700; want < 4010; want++) {
			size_t n = 0, len = strlen(units[u]);
			while (n + len < want)
				n += (size_t)sprintf(s + n, "%s", units[u]);
			listen_to_log();
			log_with(LOG_INFO, "m", LOG_TEXT("f", s),
			    LOG_TEXT("g", "tail"), LOG_NUMBER("h", 123456789));
			struct json_object *o = heard_object();
			cr_assert_leq(strlen(text), 4000);
			cr_assert(member(o, "cut") || member(o, "h"));
			json_object_put(o);
		}
	}
}

Test(log, a_field_that_does_not_fit_is_left_out_whole)
{
	char s[4096];
	memset(s, 'k', sizeof(s) - 1);
	s[sizeof(s) - 1] = '\0';
	listen_to_log();
	log_with(LOG_INFO, "m", LOG_NUMBER(s, 1), LOG_TEXT("after", "x"));
	struct json_object *o = heard_object();
	cr_expect_str_eq(member(o, "cut"), "true");
	cr_expect_str_eq(member(o, "msg"), "m");
	cr_expect_null(member(o, "after"));
	json_object_put(o);
}

Test(log, lines_below_the_level_are_dropped)
{
	listen_to_log();
	log_init("test", LOG_NOTICE);
	log_text(LOG_DEBUG, "no");
	log_with(LOG_INFO, "no", LOG_NUMBER("n", 1));
	cr_expect_eq(heard(), 0);
	listen_to_log();
	log_init("test", LOG_NOTICE);
	log_text(LOG_NOTICE, "yes %d", 5);
	struct json_object *o = heard_object();
	cr_expect_str_eq(member(o, "msg"), "yes 5");
	json_object_put(o);
}

Test(log, keeps_errno_even_when_nothing_can_be_written)
{
	listen_to_log();
	(void)close(STDERR_FILENO); /* so that the write fails */
	errno = ENOENT;
	log_text(LOG_ERROR, "x");
	int after = errno;
	cr_expect_eq(heard(), 0);
	cr_expect_eq(after, ENOENT);
}

Test(log, lines_of_several_processes_do_not_mix)
{
	char s[3500];
	memset(s, 'y', sizeof(s) - 1);
	s[sizeof(s) - 1] = '\0';
	int ends[2];
	cr_assert_eq(pipe(ends), 0);
	for (int child = 0; child < 4; child++) {
		if (fork() == 0) {
			(void)dup2(ends[1], STDERR_FILENO);
			log_init("child", LOG_DEBUG);
			for (int i = 0; i < 50; i++)
				log_with(LOG_INFO, "m", LOG_TEXT("f", s));
			_exit(0);
		}
	}
	(void)close(ends[1]);
	FILE *in = fdopen(ends[0], "r");
	int lines = 0;
	while (fgets(text, sizeof(text), in)) {
		cr_assert_eq(strncmp(text, "{\"ts\":", 6), 0, "%s", text);
		cr_assert_str_eq(text + strlen(text) - 4, "y\"}\n");
		lines++;
	}
	(void)fclose(in);
	cr_expect_eq(lines, 200);
	while (wait(NULL) > 0)
		;
}

Test(log, knows_its_levels)
{
	static const struct {
		const char *name;
		int want;
	} rows[] = {{"debug", LOG_DEBUG}, {"info", LOG_INFO},
	    {"notice", LOG_NOTICE}, {"warning", LOG_WARNING},
	    {"error", LOG_ERROR}, {"", -1}, {"Info", -1}, {"errors", -1}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_eq(log_level_named(rows[i].name), rows[i].want);
}
