/*
 * What users say of themselves: a name to show, a time zone, a language.
 *
 * Thread: any, with its own services.
 */
#ifndef AUTH_PROFILE_H
#define AUTH_PROFILE_H

#include <stdbool.h>

#include "base/errors.h"

struct request;

/* Is it a zone of this host's database? */
bool profile_is_zone(const char *time_zone);

/* A text, and whether it was given; NULL takes away what is there. */
struct profile_text {
	bool is_given;
	const char *text;
};

struct profile_change {
	struct profile_text display_name;
	struct profile_text time_zone;
	struct profile_text locale;
};

/* Changes the caller's. ERR_INVALID_FIELD names what cannot be. */
enum err profile_change(
    struct request *req, const struct profile_change *change) MUST_CHECK;

/*
 * Notes the zone of a user who has none yet; NULL and what is no zone are
 * nothing to note. That it could not be noted is for the log: the user is
 * signed in all the same.
 */
void profile_note_zone(
    struct request *req, const char *user_id, const char *time_zone);

#endif
