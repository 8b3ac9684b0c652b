/*
 * The numbers of a user's limits: the settings' unless auth.limits overrides
 * them. What is charged against them is limit.h's and the budgets' business.
 *
 * Thread: any; pure.
 */
#ifndef LIMIT_QUOTAS_H
#define LIMIT_QUOTAS_H

#include <stdint.h>

#include "base/id.h"

struct config;

enum quota {
#define QUOTA(name, text, field) QUOTA_##name,
#include "limit/quotas.def"
#undef QUOTA
	QUOTA__MAX
};

#define QUOTA_UNSET (-1) /* nothing overrides it */

/* What holds for one user, and in the store of one conversation. */
struct quotas {
	int64_t own[QUOTA__MAX];      /* 0: no limit; never QUOTA_UNSET */
	char store_id[ID_TEXT];       /* "": no store */
	int64_t of_store[QUOTA__MAX]; /* QUOTA_UNSET: the store says nothing */
};

/* The name of a quota: "turns_per_minute". */
const char *quota_name(enum quota q);

/* The settings' numbers, no store. */
void quotas_default(const struct config *config, struct quotas *out);

#endif
