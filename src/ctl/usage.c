/*
 * natterctl usage: what /admin/usage tells, at the shell.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/text.h"
#include "chat/usage.h"
#include "ctl/account.h"
#include "store/pg.h"

#define PAGE 1000

#define NO_DAY "%s takes a day, such as 2026-01-31"

/* The columns of the query, in its order; shown where `by` is asked for. */
static const struct {
	const char *name;
	const char *by; /* NULL: always */
	int width;      /* of the text */
} columns[] = {
    {"day", "day", -10},
    {"user_id", "user", -36},
    {"username", "user", -20},
    {"store_id", "store", -36},
    {"store", "store", -20},
    {"model", "model", -32},
    {"replies", NULL, 10},
    {"estimated_replies", NULL, 17},
    {"unpriced_replies", NULL, 16},
    {"prompt_tokens", NULL, 14},
    {"cached_tokens", NULL, 14},
    {"completion_tokens", NULL, 17},
    {"total_tokens", NULL, 14},
    {"cost", NULL, 16},
    {"currency", NULL, -8},
};

enum { N_COLUMNS = sizeof(columns) / sizeof(columns[0]), KEYS = N_COLUMNS };

struct wanted {
	const char *by;
	const char *from;
	const char *to;
	bool is_csv;
};

static bool
is_asked(const char *by, const char *word)
{
	return word == NULL || strstr(by, word) != NULL;
}

/* Writes a row, or the columns' names for -1. */
static void
write_row(const struct wanted *w, const PGresult *r, int row)
{
	struct buf line = {0};

	for (int c = 0; c < N_COLUMNS; c++) {
		const char *text =
		    row < 0 ? columns[c].name : pg_text(r, row, c);

		if (!is_asked(w->by, columns[c].by))
			continue;
		if (w->is_csv)
			csv_cell(&line, text);
		else
			printf("%*s  ", columns[c].width,
			    text != NULL ? text : "-");
	}
	if (w->is_csv) {
		csv_end(&line);
		fputs(buf_text(&line), stdout);
	} else {
		putchar('\n');
	}
	buf_free(&line);
}

static enum ctl_exit
show(struct account *a, const struct wanted *w)
{
	struct buf after = {0};
	enum ctl_exit code = CTL_OK;
	int n = PAGE;

	for (bool is_first = true; code == CTL_OK && n == PAGE;
	     is_first = false) {
		AUTO_PGRESULT PGresult *r = NULL;
		const char *values[] = {
		    w->by, w->from, w->to, is_first ? NULL : buf_text(&after)};

		code = account_call(a,
		    "SELECT day, user_id, username, store_id, store, model,"
		    " replies, estimated, unpriced, prompt_tokens,"
		    " cached_tokens,"
		    " completion_tokens, total_tokens, cost, currency, keys"
		    " FROM chat.admin_usage_sums(string_to_array($1, ','),"
		    " coalesce($2::date, (now() AT TIME ZONE 'UTC')::date - "
		    "30),"
		    " coalesce($3::date, (now() AT TIME ZONE 'UTC')::date),"
		    " NULL, NULL, NULL, $4, 1000)",
		    4, values, &r);
		n = code == CTL_OK ? PQntuples(r) : 0;
		if (code == CTL_OK && is_first)
			write_row(w, r, -1);
		for (int i = 0; i < n; i++)
			write_row(w, r, i);
		buf_clear(&after);
		if (n > 0)
			buf_puts(&after, pg_text(r, n - 1, KEYS));
	}
	buf_free(&after);
	return code;
}

enum ctl_exit
ctl_usage(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	struct wanted w = {.by = "day"};
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"by", OPTION_TEXT, &w.by},
	    {"from", OPTION_TEXT, &w.from},
	    {"to", OPTION_TEXT, &w.to},
	    {"csv", OPTION_FLAG, &w.is_csv},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (!usage_by_is_known(w.by))
		return ctl_refuse(CTL_USAGE,
		    "--by takes one or two of " USAGE_BY_ALL ", such as "
		    "user,day");
	if (w.from != NULL && !text_is_day(w.from))
		return ctl_refuse(CTL_USAGE, NO_DAY, "--from");
	if (w.to != NULL && !text_is_day(w.to))
		return ctl_refuse(CTL_USAGE, NO_DAY, "--to");
	if (w.from != NULL && w.to != NULL && strcmp(w.from, w.to) > 0)
		return ctl_refuse(CTL_USAGE, "--from is after --to");
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = show(&a, &w);
	account_close(&a);
	return code;
}
