/*
 * One line per request. The path itself is not logged: it holds ids of users'
 * things; the route's pattern says enough.
 */
#include "base/clock.h"
#include "base/log.h"
#include "http/reply.h"
#include "http/route.h"
#include "server/serve_log.h"

void
serve_log(const struct request *req, const struct reply *rep)
{
	uint64_t total = clock_mono_us() - req->phases.accepted_us;
	enum log_level level = rep->status >= 500 ? LOG_ERROR : LOG_INFO;

	if (rep->status == 503 || req->is_alarm)
		level = LOG_WARNING;
	log_with(level, "request", LOG_TEXT("request_id", req->request_id),
	    LOG_TEXT("method", req->method_name),
	    LOG_TEXT("route", req->route == NULL ? "" : req->route->pattern),
	    LOG_NUMBER("status", rep->status),
	    LOG_NUMBER("bytes", rep->body_len),
	    LOG_NUMBER("auth_us", req->phases.auth_us),
	    LOG_NUMBER("handle_us", req->phases.handle_us),
	    LOG_NUMBER("total_us", total),
	    LOG_TEXT("why", req->why == NULL ? "" : req->why));
}
