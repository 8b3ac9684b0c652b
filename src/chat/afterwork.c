/*
 * The kinds of afterwork, and what they have in common.
 */
#include <assert.h>
#include <stdlib.h>

#include "chat/afterwork.h"
#include "chat/summary.h"

static const struct afterwork_row rows[] = {
    [AFTERWORK_SUMMARY] = {"summary", NULL, summary_keep},
    [AFTERWORK__MAX] = {NULL, NULL, NULL}, /* closes the table */
};

const struct afterwork_row *
afterwork_row(enum afterwork_kind kind)
{
	assert(kind < AFTERWORK__MAX);
	return &rows[kind];
}

void
afterworks_free(struct afterwork *first)
{
	while (first) {
		struct afterwork *next = first->next;

		buf_free(&first->note);
		buf_free(&first->body);
		buf_free(&first->text);
		free(first->limits);
		free(first);
		first = next;
	}
}
