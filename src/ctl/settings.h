/*
 * natterd's settings as natterctl's commands use them.
 *
 * Thread: there is one.
 */
#ifndef CTL_SETTINGS_H
#define CTL_SETTINGS_H

#include "base/errors.h"
#include "ctl/ctl.h"

struct config;
struct prompts;

/* Loads the settings (`file` may be NULL); CTL_CONFIG, printed, on refusal. */
enum ctl_exit
ctl_settings(const char *file, struct config **out_config) MUST_CHECK;

/* Loads the templates of a folder, NULL: of the settings' (`file` as above);
 * CTL_CONFIG, printed, where they are not good. prompts_free frees them. */
enum ctl_exit ctl_templates(
    const char *folder, const char *file, struct prompts **out) MUST_CHECK;

#endif
