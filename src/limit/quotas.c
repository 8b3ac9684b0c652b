/*
 * The table of quotas.def, as names and as numbers.
 */
#include "base/config.h"
#include "limit/quotas.h"

static const char *const names[] = {
#define QUOTA(name, text, field) [QUOTA_##name] = (text),
#include "limit/quotas.def"
#undef QUOTA
};

const char *
quota_name(enum quota q)
{
	return names[q];
}

void
quotas_default(const struct config *config, struct quotas *out)
{
	*out = (struct quotas){
	    .own =
		{
#define QUOTA(name, text, field) [QUOTA_##name] = config->field,
#include "limit/quotas.def"
#undef QUOTA
		},
	};
	for (int i = 0; i < QUOTA__MAX; i++)
		out->of_store[i] = QUOTA_UNSET;
}
