/*
 * natterctl retention run: takes the kinds of retention.def one after the
 * other. Whatever ends a run, the next one goes on where it ended.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "ctl/archive.h"
#include "ctl/archive_command.h"
#include "ctl/audit_command.h"
#include "ctl/jobs.h"
#include "ctl/retention.h"
#include "ctl/settings.h"
#include "store/pg.h"

#define BATCH        "500"
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 1000

/* Types of $1 to $3, which not every statement uses: timestamptz, int4. */
static const Oid batch_types[] = {1184, 23, 23};

void
retention_say(const struct retention_kind *k, int64_t n, const char *note)
{
	printf("%-20s %10lld  %s%s%s%s\n", k->name, (long long)n, k->what,
	    note != NULL ? " (" : "", note != NULL ? note : "",
	    note != NULL ? ")" : "");
	fflush(stdout);
}

/* Ends a batch's transaction, with its row in the audit log. */
static enum ctl_exit
end_batch(struct retention *r, const struct retention_kind *k, int64_t n)
{
	enum ctl_exit code =
	    n > 0 ? jobs_note(r->conn, "retention.rows", k->name, n) : CTL_OK;

	return code == CTL_OK ? jobs_do(r->conn, "COMMIT", 0, NULL) : code;
}

/* One statement of a kind of rows; gives what it counted or changed. */
static enum ctl_exit
run_rows(struct retention *r, const struct retention_kind *k, const char *sql,
    long days, int64_t *out_n)
{
	char days_text[16];
	const char *values[] = {r->now, days_text, BATCH};
	int n = r->is_dry ? 2 : 3;

	snprintf(days_text, sizeof(days_text), "%ld", days);
	for (int tries = 0;; tries++) {
		AUTO_PGRESULT PGresult *begun = PQexec(r->conn, "BEGIN");
		AUTO_PGRESULT PGresult *result = PQexecParams(
		    r->conn, sql, n, batch_types, values, NULL, NULL, 0);

		if (ctl_is_ok(result)) {
			*out_n = r->is_dry ? pg_number(result, 0, 0)
					   : pg_rows(result);
			return end_batch(r, k, r->is_dry ? 0 : *out_n);
		}
		PQclear(PQexec(r->conn, "ROLLBACK"));
		if (!jobs_is_passing(result) || tries == 10)
			return ctl_refuse(
			    CTL_FAILED, "%s", ctl_pg_message(r->conn, result));
		clock_sleep_ms(PAUSE_MAX_MS);
	}
}

/* Works half the time at most. */
static void
pause_after(uint64_t begun_ms)
{
	uint64_t ms = clock_mono_ms() - begun_ms;

	clock_sleep_ms(ms < PAUSE_MIN_MS   ? PAUSE_MIN_MS
		       : ms > PAUSE_MAX_MS ? PAUSE_MAX_MS
					   : (long)ms);
}

static enum ctl_exit
retention_rows(struct retention *r, const struct retention_kind *k, long days)
{
	int64_t n = 0, all = 0;
	enum ctl_exit code;

	if (r->is_dry) {
		code = run_rows(r, k, k->count, days, &all);
	} else {
		do {
			uint64_t begun_ms = clock_mono_ms();

			code = run_rows(r, k, k->batch, days, &n);
			all += code == CTL_OK ? n : 0;
			if (code == CTL_OK && n > 0)
				pause_after(begun_ms);
		} while (code == CTL_OK && n > 0);
	}
	if (code == CTL_OK || all > 0)
		retention_say(k, all, NULL);
	return code;
}

/* What has no setting goes when it is over. */
#define NO_SETTING ((size_t)-1)

static const struct retention_kind kinds[] = {
#define RETENTION_ROWS(name, field, what, count, batch)            \
	{name, offsetof(struct config, field), what, count, batch, \
	    MONTHS_DROP, retention_rows},
#define RETENTION_OVER(name, what, count, batch) \
	{name, NO_SETTING, what, count, batch, MONTHS_DROP, retention_rows},
#define RETENTION_MONTHS(name, field, fate, what)                      \
	{name, offsetof(struct config, field), what, NULL, NULL, fate, \
	    retention_months},
#define RETENTION_TALKS(name, field, what)                       \
	{name, offsetof(struct config, field), what, NULL, NULL, \
	    MONTHS_ARCHIVE, retention_talks},
#include "ctl/retention.def"
#undef RETENTION_ROWS
#undef RETENTION_OVER
#undef RETENTION_MONTHS
#undef RETENTION_TALKS
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* -1: never. */
static long
days_of(const struct retention *r, const struct retention_kind *k)
{
	long days;

	if (k->field == NO_SETTING)
		return 0;
	days = *(const long *)((const char *)r->config + k->field);
	return days > 0 ? days : -1;
}

/* The time that all kinds count from, and the schema that they know. */
static enum ctl_exit
look_at_clock(struct retention *r)
{
	AUTO_PGRESULT PGresult *result = NULL;
	enum ctl_exit code = ctl_query(r->conn,
	    "SELECT now(), (SELECT max(version) FROM natter.schema_migrations)",
	    0, NULL, &result);

	if (code != CTL_OK)
		return code;
	snprintf(r->now, sizeof(r->now), "%s", PQgetvalue(result, 0, 0));
	snprintf(r->schema, sizeof(r->schema), "%s", PQgetvalue(result, 0, 1));
	return CTL_OK;
}

/*
 * A kind that fails does not keep the others from their turn; the run has
 * failed all the same.
 */
static enum ctl_exit
run_kinds(struct retention *r)
{
	enum ctl_exit worst = CTL_OK, code;

	if (!r->is_dry) {
		worst = retention_months_ahead(r);
		code = retention_roll_up(r);
		worst = code != CTL_OK ? code : worst;
	}
	for (size_t i = 0; i < N_KINDS; i++) {
		long days = days_of(r, &kinds[i]);

		if (days < 0)
			continue;
		code = kinds[i].run(r, &kinds[i], days);
		if (code != CTL_OK) {
			ctl_note("%s: not done", kinds[i].name);
			worst = code;
		}
		if (PQstatus(r->conn) != CONNECTION_OK)
			return CTL_FAILED;
	}
	return worst;
}

/*
 * The end of every run that was no dry one, whatever became of its kinds:
 * users who are gone go from the archives too. The audit's chain is made here.
 */
static enum ctl_exit
finish_run(struct retention *r)
{
	struct audit_head head;
	enum ctl_exit code = archive_erase_gone(r->dir, r->conn);
	enum ctl_exit chained = audit_chain_all(r->conn, &head);

	if (chained == CTL_OK)
		ctl_note("%lld rows of the audit log chained",
		    (long long)head.added);
	return code == CTL_OK ? chained : code;
}

static enum ctl_exit
run(struct retention *r)
{
	bool is_ours = r->is_dry;
	enum ctl_exit code = CTL_OK, end;

	if (!r->is_dry)
		code = jobs_lock(r->conn, &is_ours);
	if (code != CTL_OK)
		return code;
	if (!is_ours) {
		ctl_note("another natterctl works on retention or archives: "
			 "nothing to do");
		return CTL_OK;
	}
	if (!r->is_dry)
		code = archive_folder(r->config->archive_dir, &r->dir);
	if (code == CTL_OK && !r->is_dry && archive_sweep(r->dir) != CTL_OK)
		r->is_amiss = true;
	if (code == CTL_OK)
		code = look_at_clock(r);
	if (code != CTL_OK)
		return code;
	code = run_kinds(r);
	if (r->is_dry)
		return code;
	end = finish_run(r);
	if (code == CTL_OK)
		code = end;
	return code == CTL_OK && r->is_amiss ? CTL_FAILED : code;
}

enum ctl_exit
ctl_retention_run(const struct command *self, int argc, char **argv)
{
	struct retention r = {.dir = -1};
	struct config *config = NULL;
	const char *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"dry-run", OPTION_FLAG, &r.is_dry},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = ctl_settings(file, &config);
	r.config = config;
	if (code == CTL_OK)
		code = jobs_connect(&r.conn);
	if (code == CTL_OK)
		code = run(&r);
	if (r.dir >= 0)
		close(r.dir);
	PQfinish(r.conn);
	config_free(config);
	return code;
}
