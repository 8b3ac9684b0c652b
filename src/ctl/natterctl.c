/*
 * natterctl: what an administrator does to Natter from a shell. This file
 * finds the command and nothing else; commands.def lists them.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <sodium.h>

#include "ctl/ctl.h"

static const struct command commands[] = {
#define COMMAND(name, function, synopsis, summary, help) \
	{name, function, synopsis, summary, help},
#include "ctl/commands.def"
#undef COMMAND
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Lists the commands whose first word is `group`, or all for NULL. */
static size_t
list(FILE *out, const char *group)
{
	size_t found = 0;

	for (size_t i = 0; i < N_COMMANDS; i++) {
		const char *name = commands[i].name;
		size_t n = group != NULL ? strlen(group) : 0;

		if (group != NULL &&
		    (strncmp(name, group, n) != 0 || name[n] != ' '))
			continue;
		fprintf(out, "  %-17s  %s\n", name, commands[i].summary);
		found++;
	}
	return found;
}

static enum ctl_exit
usage(FILE *out, enum ctl_exit code)
{
	fputs("usage: natterctl COMMAND [ARGUMENTS]\n\n", out);
	(void)list(out, NULL);
	fputs("\n`natterctl COMMAND --help` says more about one; `natterctl "
	      "--version` which Natter this is.\n",
	    out);
	return code;
}

/* How many words from argv[1] on are the name; 0: it is another's. */
static int
words_of(const char *name, int argc, char **argv)
{
	int words = 0;

	while (*name != '\0') {
		size_t n = strcspn(name, " ");

		if (++words >= argc || strlen(argv[words]) != n ||
		    strncmp(argv[words], name, n) != 0)
			return 0;
		name += n + (name[n] == ' ');
	}
	return words;
}

/* The command that the words from argv[1] on name. */
static const struct command *
find(int argc, char **argv, int *out_words)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		*out_words = words_of(commands[i].name, argc, argv);
		if (*out_words > 0)
			return &commands[i];
	}
	return NULL;
}

static enum ctl_exit
no_such_command(int argc, char **argv)
{
	bool asks = argc > 2 && strcmp(argv[2], "--help") == 0;
	FILE *out = asks ? stdout : stderr;

	if (argc > 2 && !asks)
		ctl_note("there is no command \"%s %s\"", argv[1], argv[2]);
	if (list(out, argv[1]) > 0)
		return asks ? CTL_OK : CTL_USAGE;
	return ctl_refuse(CTL_USAGE,
	    "there is no command \"%s\": natterctl --help lists them", argv[1]);
}

/* A result that could not be written is no success. */
static int
finish(enum ctl_exit code)
{
	if (fflush(stdout) != 0 && code == CTL_OK)
		return (int)ctl_refuse(
		    CTL_FAILED, "cannot write to standard output");
	return (int)code;
}

int
main(int argc, char **argv)
{
	const struct command *command;
	int words = 0;

	/* A closed pipe is an error of the write, not a death. */
	signal(SIGPIPE, SIG_IGN);
	/* Passwords must not lie about in a core file. */
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (sodium_init() < 0)
		return (int)ctl_refuse(CTL_FAILED, "libsodium does not start");
	if (argc < 2)
		return (int)usage(stderr, CTL_USAGE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return (int)usage(stdout, CTL_OK);
	if (strcmp(argv[1], "--version") == 0) {
		puts("natterctl " PACKAGE_VERSION);
		return CTL_OK;
	}
	command = find(argc, argv, &words);
	if (command == NULL)
		return (int)no_such_command(argc, argv);
	return finish(command->run(command, argc - words, argv + words));
}
