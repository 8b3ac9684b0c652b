/*
 * /openai/v1/models: which models may be asked for by name. Others may be too,
 * as the model's server knows them; these are those that the settings name.
 */
#include <string.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/json_write.h"
#include "http/openai_error.h"
#include "http/reply.h"
#include "http/request.h"
#include "model/fallback.h"
#include "model/model.h"

/* CHAT_MODEL, those that stand in, and natter-local. */
#define MODELS_MAX (FALLBACKS_MAX + 2)

struct models {
	struct fallback fallbacks[FALLBACKS_MAX]; /* whose names are among: */
	const char *names[MODELS_MAX];
	size_t n;
};

static void
add(struct models *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->names[i], name))
			return;
	m->names[m->n++] = name;
}

static void
list(const struct config *config, struct models *m)
{
	m->n = 0;
	if (model_is_configured(config)) {
		add(m, config->model);
		for (size_t i = 0; i < FALLBACKS_MAX; i++)
			if (fallback_at(config, i, &m->fallbacks[i]))
				add(m, m->fallbacks[i].model);
	}
	add(m, LOCAL_MODEL);
}

/* When a model was made nobody told us. */
static void
write_model(struct buf *out, const char *name)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", name);
	json_write_text(out, "object", "model");
	json_write_number(out, "created", 0);
	json_write_text(
	    out, "owned_by", strcmp(name, LOCAL_MODEL) ? "upstream" : "natter");
	json_write_close(out, '}');
}

static enum err
answer(struct request *req, struct reply *rep, struct buf *out)
{
	rep->status = 200;
	rep->content_type = "application/json";
	rep->body =
	    out->failed ? NULL : arena_strndup(req->arena, out->p, out->n);
	rep->body_len = out->n;
	buf_free(out);
	openai_headers(req, rep);
	return rep->body ? OK : ERR_TOO_LARGE;
}

enum err
api_models_list(struct request *req, struct reply *rep)
{
	struct models models;
	struct buf out = {0};
	list(req->services->config, &models);
	json_write_open(&out, NULL, '{');
	json_write_text(&out, "object", "list");
	json_write_open(&out, "data", '[');
	for (size_t i = 0; i < models.n; i++)
		write_model(&out, models.names[i]);
	json_write_close(&out, ']');
	json_write_close(&out, '}');
	return answer(req, rep, &out);
}

enum err
api_model_get(struct request *req, struct reply *rep)
{
	struct models models;
	struct buf out = {0};
	list(req->services->config, &models);
	for (size_t i = 0; i < models.n; i++)
		if (!strcmp(models.names[i], req->ids[0]))
			write_model(&out, models.names[i]);
	if (out.n > 0)
		return answer(req, rep, &out);
	req->bad_field = "model";
	req->detail = "GET /openai/v1/models lists the models' names.";
	return ERR_NOT_FOUND;
}
