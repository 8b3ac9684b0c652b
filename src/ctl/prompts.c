/*
 * natterctl prompts: list, check, render. Reads what natterd would read, and
 * no database.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/config.h"
#include "chat/prompts.h"
#include "ctl/ctl.h"
#include "ctl/settings.h"

/* What a template is shown with. */
static const char *const examples[PROMPT__MAX] = {
    [PROMPT_SYSTEM_PROMPT] = "You are a helpful assistant.",
    [PROMPT_FACTS] = "- likes green tea\n- writes from Lisbon",
    [PROMPT_SUMMARY] = "The user asked which tea to buy.",
    [PROMPT_PASSAGES] = "\n[1] Tea > Green\nSteep it for two minutes.\n",
    [PROMPT_USER_NAME] = "Ada",
    [PROMPT_STORE_NAME] = "Tea House",
    [PROMPT_MODEL] = "gpt-4o-mini",
    [PROMPT_DATE] = "2026-01-31",
    [PROMPT_WEEKDAY] = "Saturday",
    [PROMPT_TIME_ZONE] = "UTC",
};

enum ctl_exit
ctl_templates(const char *folder, const char *file, struct prompts **out)
{
	char why[PROMPTS_WHY];
	struct config *config = NULL;
	enum ctl_exit code = CTL_OK;

	if (folder == NULL) {
		code = ctl_settings(file, &config);
		if (code != CTL_OK)
			return code;
		folder = config->prompts_dir;
	}
	if (prompts_load(folder, out, why) != OK)
		code = ctl_refuse(CTL_CONFIG, "%s", why);
	config_free(config);
	return code;
}

enum ctl_exit
ctl_prompts_list(const struct command *self, int argc, char **argv)
{
	const char *folder = NULL, *file = NULL;
	struct prompts *p = NULL;
	const struct option_row rows[] = {
	    {"dir", OPTION_TEXT, &folder},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = ctl_templates(folder, file, &p);
	if (code != CTL_OK)
		return code;
	printf("%-20s %-12s %s\n", "NAME", "VERSION", "BYTES");
	for (size_t i = 0; i < p->n; i++)
		printf("%-20s %-12s %zu\n", p->list[i].name, p->list[i].version,
		    p->list[i].n);
	prompts_free(p);
	return CTL_OK;
}

enum ctl_exit
ctl_prompts_check(const struct command *self, int argc, char **argv)
{
	const char *folder = NULL, *file = NULL;
	struct prompts *p = NULL;
	const struct option_row rows[] = {
	    {"dir", OPTION_TEXT, &folder},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = ctl_templates(folder, file, &p);
	if (code != CTL_OK)
		return code;
	printf("%zu templates, all of them good.\n", p->n);
	prompts_free(p);
	return CTL_OK;
}

static void
show(const struct prompt *one, bool is_bare)
{
	const char *values[PROMPT__MAX];
	struct buf text = {0};

	memcpy(values, examples, sizeof(values));
	if (is_bare)
		values[PROMPT_FACTS] = values[PROMPT_SUMMARY] =
		    values[PROMPT_STORE_NAME] = NULL;
	prompt_render(one, values, &text);
	fwrite(text.p, 1, text.n, stdout);
	putchar('\n');
	buf_free(&text);
}

enum ctl_exit
ctl_prompts_render(const struct command *self, int argc, char **argv)
{
	const char *folder = NULL, *file = NULL, *name = NULL;
	bool is_bare = false;
	struct prompts *p = NULL;
	const struct prompt *one;
	const struct option_row rows[] = {
	    {"dir", OPTION_TEXT, &folder},
	    {"config", OPTION_TEXT, &file},
	    {"bare", OPTION_FLAG, &is_bare},
	    {0},
	};
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, rows, &name, 1, &code))
		return code;
	code = ctl_templates(folder, file, &p);
	if (code != CTL_OK)
		return code;
	one = prompts_find(p, name);
	if (one == NULL)
		code = ctl_refuse(CTL_FAILED, "there is no template %s", name);
	else
		show(one, is_bare);
	prompts_free(p);
	return code;
}
