/*
 * Passwords from people. The terminal's echo is always turned on again: while
 * it is off, Ctrl-C is read as a character and ends the question.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/prompt.h"

#define LINE_MAX_BYTES 1024
#define CTRL_C         '\003'

/* One line without its newline; NULL at the end of the input. */
static char *
read_line(FILE *in)
{
	char line[LINE_MAX_BYTES + 2], *copy = NULL;

	if (fgets(line, sizeof(line), in) != NULL) {
		size_t n = strcspn(line, "\r\n");

		if (n <= LINE_MAX_BYTES)
			copy = strndup(line, n);
	}
	explicit_bzero(line, sizeof(line));
	return copy;
}

/* Asks once with the echo off; NULL when the answer was broken off. */
static char *
ask_once(FILE *tty, const char *question)
{
	struct termios before, quiet;
	char *answer = NULL;

	if (tcgetattr(fileno(tty), &before) < 0)
		return NULL;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	/* Quiet before it asks: an answer may come at once. */
	if (tcsetattr(fileno(tty), TCSAFLUSH, &quiet) == 0) {
		fputs(question, tty);
		fflush(tty);
		answer = read_line(tty);
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &before);
	}
	fputc('\n', tty);
	if (answer != NULL && strchr(answer, CTRL_C) != NULL) {
		ctl_wipe(answer);
		return NULL;
	}
	return answer;
}

enum ctl_exit
prompt_ask(const char *name, char **out_password)
{
	FILE *tty = fopen("/dev/tty", "r+e");
	char *first = NULL, *second = NULL, question[160];
	enum ctl_exit code = CTL_FAILED;

	if (tty == NULL)
		return ctl_refuse(CTL_USAGE,
		    "there is no terminal to ask for the password: use "
		    "--password-stdin or --generate");
	setvbuf(tty, NULL, _IONBF, 0); /* leaves no copy in stdio's buffer */
	snprintf(question, sizeof(question), "Password of %.64s: ", name);
	first = ask_once(tty, question);
	if (first != NULL)
		second = ask_once(tty, "The same again: ");
	if (first == NULL || second == NULL)
		ctl_note("nothing was changed");
	else if (strcmp(first, second) != 0)
		ctl_note("the two are not the same: nothing was changed");
	else
		code = CTL_OK;
	if (code == CTL_OK) {
		*out_password = first;
		first = NULL;
	}
	ctl_wipe(first);
	ctl_wipe(second);
	fclose(tty);
	return code;
}

enum ctl_exit
prompt_read(char **out_password)
{
	setvbuf(stdin, NULL, _IONBF, 0);
	*out_password = read_line(stdin);
	if (*out_password == NULL)
		return ctl_refuse(CTL_USAGE,
		    "--password-stdin: standard input holds no line");
	return CTL_OK;
}

enum ctl_exit
prompt_read_file(const char *path, char **out_secret)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(path, "re");

	if (f == NULL)
		return ctl_refuse(
		    CTL_USAGE, "cannot read %s: %s", path, strerror(errno));
	setvbuf(f, NULL, _IONBF, 0);
	*out_secret = read_line(f);
	if (!is_stdin)
		fclose(f);
	if (*out_secret == NULL)
		return ctl_refuse(CTL_USAGE, "%s holds no line",
		    is_stdin ? "standard input" : path);
	return CTL_OK;
}

enum ctl_exit
prompt_generate(size_t min, char **out_password)
{
	/* Without those that look alike. */
	static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
	size_t n = 6 * (min > 23 ? min / 6 + 1 : 4) - 1;
	char *p = calloc(1, n + 1);

	if (p == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	for (size_t i = 0; i < n; i++) {
		p[i] = '-';
		if (i % 6 != 5)
			p[i] =
			    letters[randombytes_uniform(sizeof(letters) - 1)];
	}
	*out_password = p;
	return CTL_OK;
}
