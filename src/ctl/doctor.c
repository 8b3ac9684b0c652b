/*
 * natterctl doctor: asks the queries of doctor.def and says what they found,
 * as text or as JSON. Changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/doctor.h"
#include "ctl/maintain.h"

#define JSONB_OID 3802

enum severity { ADVICE, WARNING, CRITICAL };
static const char *const severities[] = {"advice", "warning", "critical"};

struct finding {
	const char *id;
	enum severity severity;
	const char *what;
	const char *remedy;
	const char *sql;
};
static const struct finding findings[] = {
#define REPORT(...)
#define FINDING(id, severity, what, remedy, sql) \
	{id, severity, what, remedy, sql},
#include "ctl/doctor.def"
#undef REPORT
#undef FINDING
/* What migrate verify looks for is the schema's part of this. */
#define CHECK(amiss, remedy, sql) {"schema", WARNING, amiss, remedy, sql},
#include "ctl/verify.def"
#undef CHECK
};
#define N_FINDINGS (sizeof(findings) / sizeof(findings[0]))

static const struct {
	const char *id;
	const char *title;
	const char *sql;
} reports[] = {
#define FINDING(...)
#define REPORT(id, title, sql) {id, title, sql},
#include "ctl/doctor.def"
#undef REPORT
#undef FINDING
};

struct doctor {
	PGconn *conn;
	const char *facts;
	bool is_json;
	struct json_object *out; /* of --format json */
	int count[3];            /* by severity */
};

static PGresult *
ask(const struct doctor *d, const char *sql)
{
	const Oid types[] = {JSONB_OID};
	const char *const values[] = {d->facts};

	return PQexecParams(d->conn, sql, 1, types, values, NULL, NULL, 0);
}

static void
print_report(const char *title, const PGresult *r)
{
	int n = PQnfields(r), width[8] = {0};

	for (int c = 0; c < n && c < 8; c++) {
		width[c] = (int)strlen(PQfname(r, c));
		for (int i = 0; i < PQntuples(r); i++)
			if (PQgetlength(r, i, c) > width[c])
				width[c] = PQgetlength(r, i, c);
	}
	printf("%s\n", title);
	for (int i = -1; i < PQntuples(r); i++) {
		for (int c = 0; c < n && c < 8; c++)
			printf("  %-*s", width[c],
			    i < 0 ? PQfname(r, c) : PQgetvalue(r, i, c));
		putchar('\n');
	}
	putchar('\n');
}

static struct json_object *
rows_as_json(const PGresult *r)
{
	struct json_object *rows = json_object_new_array();

	for (int i = 0; i < PQntuples(r); i++) {
		struct json_object *row = json_object_new_object();

		for (int c = 0; c < PQnfields(r); c++)
			json_put_text(row, PQfname(r, c),
			    PQgetisnull(r, i, c) ? NULL : PQgetvalue(r, i, c));
		json_object_array_add(rows, row);
	}
	return rows;
}

/* The member `name` of the output, a list or an object. */
static struct json_object *
part(const struct doctor *d, const char *name)
{
	struct json_object *o = NULL;

	(void)json_object_object_get_ex(d->out, name, &o);
	return o;
}

/*
 * A question that this role may not ask, or about what somebody has locked:
 * true after naming it.
 */
static bool
skip(const struct doctor *d, const char *id, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *why = state == NULL ? NULL
			  : strcmp(state, "42501") == 0
			      ? "needs a superuser: set SUPERUSER_DATABASE_URL"
			  : strcmp(state, "55P03") == 0 ? "a table is locked"
							: NULL;
	struct json_object *o;

	if (why == NULL)
		return false;
	if (!d->is_json) {
		printf("not looked at: %s (%s)\n", id, why);
		return true;
	}
	o = json_object_new_object();
	json_put_text(o, "id", id);
	json_put_text(o, "why", why);
	json_object_array_add(part(d, "skipped"), o);
	return true;
}

static enum ctl_exit
show_report(const struct doctor *d, size_t i)
{
	AUTO_PGRESULT PGresult *r = ask(d, reports[i].sql);

	if (!ctl_is_ok(r))
		return skip(d, reports[i].id, r)
			   ? CTL_OK
			   : ctl_refuse(CTL_CONFIG, "cannot look at %s: %s",
				 reports[i].id, ctl_pg_message(d->conn, r));
	if (d->is_json)
		json_object_object_add(
		    part(d, "reports"), reports[i].id, rows_as_json(r));
	else if (PQntuples(r) > 0)
		print_report(reports[i].title, r);
	return CTL_OK;
}

static const char *
subject(const PGresult *r, int i)
{
	return PQgetisnull(r, i, 0) ? "the database" : PQgetvalue(r, i, 0);
}

static void
tell(const struct doctor *d, const struct finding *f, const PGresult *r)
{
	struct json_object *o, *list;

	if (!d->is_json) {
		printf(
		    "%s: %s (%s)\n", severities[f->severity], f->what, f->id);
		for (int i = 0; i < PQntuples(r); i++)
			printf("    %s\n", subject(r, i));
		printf("  -> %s\n", f->remedy);
		return;
	}
	o = json_object_new_object();
	list = json_object_new_array();
	json_put_text(o, "id", f->id);
	json_put_text(o, "severity", severities[f->severity]);
	json_put_text(o, "what", f->what);
	for (int i = 0; i < PQntuples(r); i++)
		json_object_array_add(
		    list, json_object_new_string(subject(r, i)));
	json_object_object_add(o, "subjects", list);
	json_put_text(o, "remedy", f->remedy);
	json_object_array_add(part(d, "findings"), o);
}

static enum ctl_exit
look(struct doctor *d, const struct finding *f)
{
	AUTO_PGRESULT PGresult *r = ask(d, f->sql);

	if (!ctl_is_ok(r))
		return skip(d, f->id, r)
			   ? CTL_OK
			   : ctl_refuse(CTL_CONFIG, "cannot look for %s: %s",
				 f->id, ctl_pg_message(d->conn, r));
	if (PQntuples(r) > 0) {
		d->count[f->severity]++;
		tell(d, f, r);
	}
	return CTL_OK;
}

/* As a superuser where one is named, else as the owner. */
static enum ctl_exit
connect_best(PGconn **out_conn)
{
	char *url = NULL;
	enum err e = ctl_secret("SUPERUSER_DATABASE_URL", &url);
	enum ctl_exit code;

	if (e == ERR_NOT_FOUND)
		return ctl_connect_owner(out_conn);
	if (e != OK)
		return CTL_CONFIG;
	code = ctl_connect("SUPERUSER_DATABASE_URL", url, NULL, out_conn);
	ctl_wipe(url);
	return code;
}

static void
conclude(const struct doctor *d)
{
	if (d->is_json) {
		puts(json_object_to_json_string_ext(d->out,
		    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
		return;
	}
	if (d->count[CRITICAL] + d->count[WARNING] + d->count[ADVICE] == 0)
		printf("Nothing was found.\n");
	else
		printf("\n%d critical, %d warnings, %d pieces of advice.\n",
		    d->count[CRITICAL], d->count[WARNING], d->count[ADVICE]);
}

/* Documented exit codes: 0, 1, 2; CTL_CONFIG when something broke. */
static enum ctl_exit
examine(struct doctor *d)
{
	AUTO_PGRESULT PGresult *set = PQexec(d->conn,
	    "SET search_path = pg_catalog, pg_temp; SET statement_timeout = "
	    "'60s'; SET lock_timeout = '500ms'; SET TimeZone = 'UTC'");
	enum ctl_exit code = CTL_OK;

	if (!ctl_is_ok(set))
		return ctl_refuse(
		    CTL_CONFIG, "%s", ctl_pg_message(d->conn, set));
	for (size_t i = 0;
	     code == CTL_OK && i < sizeof(reports) / sizeof(reports[0]); i++)
		code = show_report(d, i);
	for (int s = CRITICAL; s >= ADVICE; s--)
		for (size_t i = 0; code == CTL_OK && i < N_FINDINGS; i++)
			if (findings[i].severity == (enum severity)s)
				code = look(d, &findings[i]);
	if (code != CTL_OK)
		return code;
	conclude(d);
	return d->count[CRITICAL] > 0  ? (enum ctl_exit)2
	       : d->count[WARNING] > 0 ? (enum ctl_exit)1
				       : CTL_OK;
}

enum ctl_exit
ctl_doctor(const struct command *self, int argc, char **argv)
{
	struct doctor_options options = {.slow_s = 300};
	const char *format = "text";
	AUTO_JSON struct json_object *facts = NULL, *out = NULL;
	struct doctor d = {0};
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"format", OPTION_TEXT, &format},
	    {"config", OPTION_TEXT, &options.config_file},
	    {"slow", OPTION_NUMBER, &options.slow_s},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code == CTL_OK ? code : CTL_CONFIG;
	d.is_json = strcmp(format, "json") == 0;
	if (!d.is_json && strcmp(format, "text") != 0)
		return ctl_refuse(CTL_CONFIG, "--format takes text or json");
	out = json_object_new_object();
	json_object_object_add(out, "reports", json_object_new_object());
	json_object_object_add(out, "findings", json_object_new_array());
	json_object_object_add(out, "skipped", json_object_new_array());
	d.out = out;
	code = connect_best(&d.conn);
	if (code == CTL_OK)
		code = doctor_facts(d.conn, &options, &facts);
	if (code != CTL_OK) {
		PQfinish(d.conn);
		return code == CTL_FAILED ? (enum ctl_exit)2 : code;
	}
	d.facts = json_text(facts, NULL);
	code = examine(&d);
	PQfinish(d.conn);
	return code;
}
