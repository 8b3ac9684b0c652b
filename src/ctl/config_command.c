/*
 * natterctl config: the settings in effect, and the documents made from their
 * table. Also where the other commands load the settings that they use.
 */
#include <stdio.h>

#include "base/config.h"
#include "ctl/ctl.h"
#include "ctl/settings.h"

enum ctl_exit
ctl_settings(const char *file, struct config **out_config)
{
	char why[CONFIG_WHY];

	if (config_load(file, out_config, why) != OK)
		return ctl_refuse(CTL_CONFIG, "%s", why);
	return CTL_OK;
}

enum ctl_exit
ctl_config(const struct command *self, int argc, char **argv)
{
	bool as_markdown = false, as_mdoc = false, as_example = false;
	const char *file = NULL;
	const struct option_row rows[] = {
	    {"config", OPTION_TEXT, &file},
	    {"markdown", OPTION_FLAG, &as_markdown},
	    {"mdoc", OPTION_FLAG, &as_mdoc},
	    {"env-example", OPTION_FLAG, &as_example},
	    {0},
	};
	struct config *config;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (as_markdown + as_mdoc + as_example > 1)
		return ctl_refuse(CTL_USAGE,
		    "--markdown, --mdoc and --env-example: give one of them");
	if (as_markdown || as_mdoc || as_example) {
		config_document(as_markdown ? CONFIG_MARKDOWN
				: as_mdoc   ? CONFIG_MDOC
					    : CONFIG_ENV_EXAMPLE,
		    stdout);
		return CTL_OK;
	}
	code = ctl_settings(file, &config);
	if (code != CTL_OK)
		return code;
	config_print(config, stdout);
	config_free(config);
	return CTL_OK;
}
