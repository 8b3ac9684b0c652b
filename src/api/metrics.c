/*
 * /metrics: the numbers of all workers of this host, whichever of them
 * answers. Asks no store. Who may see them is nginx's to say; but to nginx all
 * that a proxy on the same host forwards comes from this host.
 */
#include "api/api.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "http/reply.h"
#include "http/request.h"
#include "model/breaker.h"

/* No worker's, and known only by looking: so it is no row of metrics.def. */
static void
write_breakers(struct buf *out)
{
	buf_printf(out,
	    "# HELP natter_model_breakers_open Models that this host does not "
	    "ask for a while.\n"
	    "# TYPE natter_model_breakers_open gauge\n"
	    "natter_model_breakers_open %zu\n",
	    breaker_count_open());
}

enum err
api_metrics(struct request *req, struct reply *rep)
{
	struct buf text = {0};

	if (*req->forwarded_for || *req->forwarded)
		return request_fail(
		    req, ERR_FORBIDDEN, "a proxy forwarded it: see Metrics");
	metrics_write(&text);
	write_breakers(&text);
	if (!text.failed)
		rep->body = arena_strndup(req->arena, text.p, text.n);
	rep->body_len = text.n;
	buf_free(&text);
	if (rep->body == NULL)
		return request_fail(req, ERR_INTERNAL, "no memory for metrics");
	rep->status = 200;
	rep->content_type = METRICS_CONTENT_TYPE;
	return OK;
}
