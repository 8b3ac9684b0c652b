/*
 * What natterctl doctor's parts share: the facts that SQL cannot see, as one
 * JSON object that every query of doctor.def gets:
 *
 *   {"slow_s", "ports", "postgres_skew_ms", "config": {KEY: value}, "database":
 * {"user", "host", "sslmode"}, "redis": {"state", "why", "host", "skew_ms",
 *    "has_password", and what INFO and CONFIG GET say}, "migrations": [{"name",
 *    "state"}], "files": [{"what", "path", "mode" or "why"}], "templates":
 * [what stores may name], "templates_why"}
 *
 * No secret is in it. Thread: there is one.
 */
#ifndef CTL_DOCTOR_H
#define CTL_DOCTOR_H

#include <libpq-fe.h>

#include "base/json.h"
#include "ctl/ctl.h"

struct doctor_options {
	const char *config_file; /* or NULL */
	long slow_s;             /* a statement that runs longer is named */
};

/* Gathers the facts; the caller puts *out_facts. Refusals are printed. */
enum ctl_exit doctor_facts(PGconn *conn, const struct doctor_options *options,
    struct json_object **out_facts) MUST_CHECK;

#endif
