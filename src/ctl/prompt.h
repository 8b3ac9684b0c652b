/*
 * Getting a password: from the terminal without echo, from standard input, or
 * newly made. The caller wipes and frees it (ctl_wipe).
 *
 * Thread: there is one.
 */
#ifndef CTL_PROMPT_H
#define CTL_PROMPT_H

#include "ctl/ctl.h"

/* Asks twice on the terminal; refusals are printed. */
enum ctl_exit prompt_ask(const char *name, char **out_password) MUST_CHECK;

/* Reads one line from standard input; refusals are printed. */
enum ctl_exit prompt_read(char **out_password) MUST_CHECK;

/* Reads the first line of a file, or of standard input ("-"). */
enum ctl_exit prompt_read_file(const char *path, char **out_secret) MUST_CHECK;

/*
 * Makes one of at least `min` characters: groups of five, four of them at the
 * least, which is more than 90 random bits.
 */
enum ctl_exit prompt_generate(size_t min, char **out_password) MUST_CHECK;

#endif
