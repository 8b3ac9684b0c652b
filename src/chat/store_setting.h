/*
 * What Natter reads of a store's settings, a JSON object whose other members
 * are the site's. Thread: any.
 */
#ifndef CHAT_STORE_SETTING_H
#define CHAT_STORE_SETTING_H

#include "base/errors.h"

struct request;

/*
 * Checks what a change of settings says (a merge patch: null removes). What
 * Natter would not understand is ERR_INVALID_FIELD and names the member:
 * a template that is not there, a switch that is neither true nor false.
 */
enum err store_settings_check(struct request *req, const char *json) MUST_CHECK;

#endif
