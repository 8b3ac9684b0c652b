/*
 * What is left of a user's limits, read and not charged: request limits from
 * Redis, budgets and running replies from Postgres. Round trips: one each.
 *
 * Thread: any, with its own services.
 */
#ifndef LIMIT_LEFT_H
#define LIMIT_LEFT_H

#include "base/errors.h"

struct buf;
struct request;

/*
 * Appends {"limits": [...], "stores": [{"store_id", "slug", "limits": [...]}]}:
 * the user's own, and those of the stores that they see which have limits of
 * their own. A limit is {"name", "unit", "limit", "remaining", "window",
 * "reset"}, of tokens and money also "used" and "reserved". What is not limited
 * is not listed. What nobody knows just now is null (Redis is away).
 */
enum err left_read(struct request *req, struct buf *out) MUST_CHECK;

#endif
