/*
 * Loading the shipped prices, as natterctl migrate up does too.
 *
 * Thread: there is one.
 */
#ifndef CTL_PRICES_H
#define CTL_PRICES_H

#include <libpq-fe.h>

#include "ctl/ctl.h"

/*
 * Loads the shipped prices where there are none, in a line; nothing where the
 * schema knows no prices yet. `has_changed`: this run made the schema, whose
 * record says so; else the audit log does.
 */
enum ctl_exit prices_load_shipped(PGconn *conn, bool has_changed) MUST_CHECK;

#endif
