/*
 * One line per request, and its counts. The path itself is not logged: it holds
 * ids of users' things; the route's pattern says enough.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/reply.h"
#include "http/route.h"
#include "server/serve_log.h"

/* Rows of metrics.def for each of route_limit, and for no route. */
#define N_STATUSES (METRIC_REQUESTS_OPEN_1XX - METRIC_REQUESTS_NONE_1XX)

void
serve_count(const struct route *route, int status, uint64_t total_us)
{
	int class = route == NULL
			? HISTOGRAM_DURATION_NO_ROUTE - HISTOGRAM_DURATION_NONE
			: (int)route->limit;

	metrics_count(
	    METRIC_REQUESTS_NONE_1XX + class * N_STATUSES + status / 100 - 1);
	metrics_observe(HISTOGRAM_DURATION_NONE + class, total_us);
}

void
serve_log(const struct request *req, const struct reply *rep)
{
	uint64_t total = clock_mono_us() - req->phases.accepted_us;
	enum log_level level = rep->status >= 500 ? LOG_ERROR : LOG_INFO;

	serve_count(req->route, rep->status, total);
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
