/*
 * The settings printed: the effective ones with where each came from, and the
 * table of all as Markdown, mdoc and an example file. Never prints a secret.
 */
#include <string.h>

#include "base/config.h"
#include "base/config_table.h"

/* A text on one line. */
static void
print_text(const char *text, FILE *out)
{
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '\n')
			fputs("\\n", out);
		else if ((unsigned char)*p < ' ' || *p == 0x7f)
			fprintf(out, "\\%03o", (unsigned)(unsigned char)*p);
		else
			fputc(*p, out);
	}
}

static void
print_value(const struct config *c, const struct setting *s, FILE *out)
{
	switch (s->kind) {
	case SETTING_NUMBER:
		fprintf(out, "%ld", *setting_number(c, s));
		break;
	case SETTING_SWITCH:
		fputs(*setting_switch(c, s) ? "on" : "off", out);
		break;
	case SETTING_SECRET:
		fputs(**setting_text(c, s) != '\0' ? "(set)" : "(empty)", out);
		break;
	default:
		print_text(*setting_text(c, s), out);
		break;
	}
}

static void
print_origin(const struct config *c, size_t i, FILE *out)
{
	switch (c->sources->of[i].origin) {
	case FROM_DEFAULT:
		fputs("default", out);
		break;
	case FROM_ENVIRONMENT:
		fputs("environment", out);
		break;
	case FROM_FILE:
		fprintf(out, "%s: line %u", c->sources->file,
		    c->sources->of[i].line);
		break;
	case FROM_SECRET_FILE:
		fprintf(
		    out, "the file that %s_FILE names", setting_table[i].key);
		break;
	case FROM_CREDENTIAL:
		fputs("systemd credential", out);
		break;
	}
}

void
config_print(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < setting_count; i++) {
		if (setting_table[i].kind == SETTING_GROUP)
			continue;
		fprintf(out, "%s=", setting_table[i].key);
		print_value(c, &setting_table[i], out);
		fputs("  # ", out);
		print_origin(c, i, out);
		fputc('\n', out);
	}
}

/* The default as it would be written. */
static void
print_default(const struct setting *s, FILE *out)
{
	if (s->kind == SETTING_NUMBER)
		fprintf(out, "%ld", s->number);
	else if (s->kind == SETTING_SWITCH)
		fputs(s->number != 0 ? "on" : "off", out);
	else
		fputs(s->text, out);
}

/* What values it takes, as a phrase; nothing for a text. */
static void
print_range(const struct setting *s, FILE *out)
{
	if (s->kind == SETTING_NUMBER)
		fprintf(out, "%ld to %ld", s->min, s->max);
	else if (s->kind == SETTING_SWITCH)
		fputs("on, off", out);
	else if (s->kind == SETTING_SECRET)
		fprintf(out, "secret; also %s_FILE or a systemd credential",
		    s->key);
	else if (s->kind == SETTING_CHOICE)
		for (const char *p = s->choices; *p != '\0'; p++)
			fputs(*p == ' ' ? ", " : (char[]){*p, '\0'}, out);
}

/* A cell of a Markdown table: no bare `|`. */
static void
print_cell(const char *text, FILE *out)
{
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '|')
			fputc('\\', out);
		fputc(*p, out);
	}
}

static void
markdown_row(const struct setting *s, FILE *out)
{
	bool has_default = s->kind == SETTING_NUMBER ||
			   s->kind == SETTING_SWITCH || s->text[0] != '\0';

	fprintf(out, "| `%s` | ", s->key);
	if (has_default) {
		fputc('`', out);
		print_default(s, out);
		fputc('`', out);
	}
	fputs(" | ", out);
	print_range(s, out);
	fputs(" | ", out);
	print_cell(s->help, out);
	fputs(" |\n", out);
}

static void
markdown(FILE *out)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];

		if (s->kind != SETTING_GROUP) {
			markdown_row(s, out);
			continue;
		}
		fprintf(out,
		    "%s### %s\n\n| Setting | Default | Values | Meaning |\n"
		    "|---|---|---|---|\n",
		    i > 0 ? "\n" : "", s->text);
	}
}

/* A word of mdoc: a backslash is \e, and no line may begin as a request. */
static void
mdoc_word(const char *word, size_t n, bool is_first, FILE *out)
{
	if (is_first && (*word == '.' || *word == '\''))
		fputs("\\&", out);
	for (size_t i = 0; i < n; i++) {
		if (word[i] == '\\')
			fputs("\\e", out);
		else
			fputc(word[i], out);
	}
}

/* Text in lines of at most 78 columns, each sentence on a line of its own. */
static void
mdoc_lines(const char *text, FILE *out)
{
	size_t column = 0;

	for (const char *p = text; *p != '\0'; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		if (column > 0 && column + 1 + n > 78) {
			fputc('\n', out);
			column = 0;
		}
		if (column > 0)
			fputc(' ', out);
		mdoc_word(p, n, column == 0, out);
		column += n + 1;
		p += n;
		if (p[-1] == '.') {
			fputc('\n', out);
			column = 0;
		}
	}
	if (column > 0)
		fputc('\n', out);
}

static void
mdoc_item(const struct setting *s, FILE *out)
{
	fprintf(out, ".It Ev %s\n", s->key);
	mdoc_lines(s->help, out);
	fputc('(', out);
	print_range(s, out);
	if (s->kind == SETTING_TEXT)
		fputs("text", out);
	if (s->kind != SETTING_SECRET) {
		fputs("; default: ", out);
		if (s->text != NULL && s->text[0] == '\0')
			fputs("empty", out);
		else
			print_default(s, out);
	}
	fputs(")\n", out);
}

static void
mdoc(FILE *out)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];

		if (s->kind != SETTING_GROUP) {
			mdoc_item(s, out);
			continue;
		}
		fprintf(out, "%s.Ss %s\n.Bl -tag -width Ds\n",
		    i > 0 ? ".El\n" : "", s->text);
	}
	fputs(".El\n", out);
}

/* Words as comment lines of at most 78 columns. */
static void
comment_lines(const char *text, FILE *out)
{
	size_t column = 0;

	for (const char *p = text; *p != '\0'; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		if (column == 0 || column + 1 + n > 78) {
			fputs(column == 0 ? "#" : "\n#", out);
			column = 1;
		}
		fprintf(out, " %.*s", (int)n, p);
		column += 1 + n;
		p += n;
	}
	fputc('\n', out);
}

static void
example_item(const struct setting *s, FILE *out)
{
	bool has_blank = s->text != NULL && strchr(s->text, ' ') != NULL;

	fputc('\n', out);
	comment_lines(s->help, out);
	if (s->kind != SETTING_TEXT) {
		fputs("# (", out);
		print_range(s, out);
		fputs(")\n", out);
	}
	fprintf(out, "#%s=%s", s->key, has_blank ? "\"" : "");
	print_default(s, out);
	fputs(has_blank ? "\"\n" : "\n", out);
}

static void
env_example(FILE *out)
{
	fputs(
	    "# Settings of natterd, KEY=VALUE, as systemd's EnvironmentFile= "
	    "takes them.\n"
	    "# Each stands here with its default: take away the # to change "
	    "it. The\n"
	    "# environment wins over this file. `natterctl config` shows what "
	    "is in effect.\n"
	    "# Made by `natterctl config --env-example`.\n",
	    out);
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];

		if (s->kind == SETTING_GROUP)
			fprintf(out, "\n\n# --- %s ---\n", s->text);
		else
			example_item(s, out);
	}
}

void
config_document(enum config_format format, FILE *out)
{
	switch (format) {
	case CONFIG_MARKDOWN:
		markdown(out);
		break;
	case CONFIG_MDOC:
		mdoc(out);
		break;
	case CONFIG_ENV_EXAMPLE:
		env_example(out);
		break;
	}
}
