/*
 * natterctl embeddings: what has vectors, and what has none yet.
 */
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "ctl/account.h"
#include "model/embedding.h"
#include "store/pg.h"

enum { MODEL, DOCUMENTS, IN_WORK, FAILED, PASSAGES, ERROR };

struct sums {
	long pending, in_work, failed;
	const char *error; /* the result's */
};

/* One model's row; what is not of today's waits for it. */
static void
show_row(const PGresult *r, int row, const char *today, struct sums *sums)
{
	const char *model = pg_text(r, row, MODEL);
	long documents = (long)pg_number(r, row, DOCUMENTS);

	if (*model != '\0')
		printf("%-48s %8ld documents  %10ld passages\n", model,
		    documents, (long)pg_number(r, row, PASSAGES));
	if (strcmp(model, today) == 0)
		return;
	sums->pending += documents;
	sums->in_work += (long)pg_number(r, row, IN_WORK);
	sums->failed += (long)pg_number(r, row, FAILED);
	if (*pg_text(r, row, ERROR) != '\0')
		sums->error = pg_text(r, row, ERROR);
}

static enum ctl_exit
show(struct account *a)
{
	AUTO_PGRESULT PGresult *r = NULL;
	char today[EMBEDDING_NAME] = "";
	const char *values[] = {today};
	struct sums sums = {.error = ""};
	bool is_on = embedding_is_on(a->config);
	enum ctl_exit code;

	if (is_on)
		embedding_name(a->config, today);
	code = account_call(a,
	    "SELECT model, documents, in_work, failed, passages, error"
	    " FROM chat.embeddings_state($1)",
	    1, values, &r);
	if (code != CTL_OK)
		return code;
	for (int i = 0; i < pg_rows(r); i++)
		show_row(r, i, today, &sums);
	if (!is_on) {
		printf("CHAT_EMBEDDING_MODEL is not set: nothing is made.\n");
		return CTL_OK;
	}
	printf("%ld pending for %s, %ld of them in work, %ld given up%s%s\n",
	    sums.pending - sums.failed, today, sums.in_work, sums.failed,
	    *sums.error != '\0' ? "; last error: " : "", sums.error);
	return CTL_OK;
}

enum ctl_exit
ctl_embeddings(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = account_open(&a, file);
	if (code == CTL_OK)
		code = show(&a);
	account_close(&a);
	return code;
}
