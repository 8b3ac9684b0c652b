/*
 * natterctl keys: the key ring's file. The ring itself is base/keyring.
 */
#include <stdio.h>

#include "base/keyring.h"
#include "ctl/ctl.h"

enum ctl_exit
ctl_keys_init(const struct command *self, int argc, char **argv)
{
	const char *path;
	char why[KEYRING_WHY];
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &path, 1, &code))
		return code;
	if (keyring_create(path, why) != OK)
		return ctl_refuse(CTL_FAILED,
		    "cannot make the key ring %s (a file that is there is "
		    "never replaced)",
		    why);
	printf("Made %s. natterd must be able to read it and nobody else: give "
	       "it natterd's owner, and set JWT_KEYS_FILE=%s\n",
	    path, path);
	return CTL_OK;
}
