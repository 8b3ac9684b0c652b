/*
 * natterctl keys: the key ring's file. The ring itself is base/keyring.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/keyring.h"
#include "base/keyring_file.h"
#include "ctl/ctl.h"

static int64_t
now_s(void)
{
	return (int64_t)(clock_wall_ms() / 1000);
}

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

enum ctl_exit
ctl_keys_list(const struct command *self, int argc, char **argv)
{
	struct keyring_entry entries[KEYRING_MAX];
	const char *path;
	char why[KEYRING_WHY];
	size_t n = 0;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &path, 1, &code))
		return code;
	if (keyring_list(path, entries, &n, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	for (size_t i = 0; i < n; i++) {
		char since[32] = "-";
		time_t at = (time_t)entries[i].since_s;
		struct tm tm;

		if (at > 0 && gmtime_r(&at, &tm) != NULL)
			strftime(since, sizeof(since), "%F %H:%M UTC", &tm);
		printf("%-15s  %-8s  %s\n", entries[i].kid,
		    keyring_state_name(entries[i].state), since);
	}
	return CTL_OK;
}

enum ctl_exit
ctl_keys_rotate(const struct command *self, int argc, char **argv)
{
	struct keyring_rotation done;
	const char *path;
	char why[KEYRING_WHY];
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &path, 1, &code))
		return code;
	if (keyring_rotate(path, now_s(), &done, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	if (done.step == KEYRING_ADDED)
		printf("Added %s, which verifies and does not sign yet. Reload "
		       "every natterd that reads this ring (SIGHUP), and when "
		       "all have, run this once more.\n",
		    done.kid);
	else
		printf("%s signs and %s only verifies after the next reload: "
		       "reload every natterd (SIGHUP). In 14 days: natterctl "
		       "keys retire %s %s\n",
		    done.kid, done.old, path, done.old);
	return CTL_OK;
}

enum ctl_exit
ctl_keys_retire(const struct command *self, int argc, char **argv)
{
	const char *words[2];
	bool is_at_once = false;
	char why[KEYRING_WHY];
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"now", OPTION_FLAG, &is_at_once}, {0}};

	if (!ctl_options(self, argc, argv, rows, words, 2, &code))
		return code;
	switch (keyring_retire(words[0], words[1],
	    is_at_once ? INT64_MAX : now_s() - KEYRING_KEEP_S, why)) {
	case OK:
		printf("Took %s out. Reload every natterd (SIGHUP): tokens "
		       "that it signed are no longer taken then.\n",
		    words[1]);
		return CTL_OK;
	case ERR_CONFLICT:
		return ctl_refuse(CTL_FAILED, "%s%s", why,
		    is_at_once ? ""
			       : " (--now takes a previous one out "
				 "all the same and ends those sessions)");
	default:
		return ctl_refuse(CTL_FAILED, "%s", why);
	}
}
