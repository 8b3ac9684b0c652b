/*
 * The columns of auth.users that are their owner's to change.
 */
#include "auth/profile.h"
#include "auth/queries.h"
#include "base/zone.h"
#include "http/request.h"
#include "store/pg.h"

bool
profile_is_zone(const char *time_zone)
{
	return zone_find(time_zone) != NULL;
}

enum err
profile_change(struct request *req, const struct profile_change *change)
{
	const struct profile_text *name = &change->display_name;
	const struct profile_text *zone = &change->time_zone;
	const struct profile_text *locale = &change->locale;
	struct pg_call call = {
	    .query = &auth_queries[AUTH_PROFILE_CHANGE],
	    .params = {req->who.user_id, name->text, name->is_given ? "t" : "f",
		zone->text, zone->is_given ? "t" : "f", locale->text,
		locale->is_given ? "t" : "f"},
	};
	if (zone->text && !profile_is_zone(zone->text))
		return request_refuse(req, "time_zone",
		    "It must be a name of the time zone database, such as "
		    "Europe/Berlin.");
	enum err e = pg_run(req->services->pg, req->who.user_id, &call, 1);
	if (e == ERR_INVALID_FIELD)
		return request_refuse(req, "locale",
		    "It must be a language tag, such as en or pt-BR.");
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	e = pg_rows(call.result) > 0 ? OK : ERR_NOT_FOUND;
	pg_calls_clear(&call, 1);
	return e;
}

void
profile_note_zone(
    struct request *req, const char *user_id, const char *time_zone)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_PROFILE_NOTE_ZONE],
	    .params = {user_id, time_zone},
	};
	if (!time_zone || !profile_is_zone(time_zone))
		return;
	if (pg_run(req->services->pg, user_id, &call, 1) == OK)
		pg_calls_clear(&call, 1);
	else
		(void)request_fail(
		    req, ERR_UNAVAILABLE, pg_why(req->services->pg));
}
