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

/* Loads the settings (`file` may be NULL); CTL_CONFIG, printed, on refusal. */
enum ctl_exit
ctl_settings(const char *file, struct config **out_config) MUST_CHECK;

#endif
