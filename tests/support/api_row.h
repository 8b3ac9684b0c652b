/*
 * Requests as rows of a table: sent byte by byte through nginx as one user,
 * and checked for what they have to come to.
 *
 * The stack is the program's shared one (stack_shared.h). In a row's line {c}
 * stands for a conversation of the caller, {s} for its short id and {m} for a
 * message in it.
 */
#ifndef TESTS_API_ROW_H
#define TESTS_API_ROW_H

#include "stack_shared.h"

struct api_row {
	const char *line;    /* "POST /api/v1/…" */
	const char *body;    /* NULL: none */
	long status;         /* wanted */
	const char *code;    /* wanted; NULL: no refusal, or nginx's own */
	const char *field;   /* wanted */
	const char *headers; /* whole lines; one of them may be the type */
	size_t body_len;     /* 0: up to the NUL */
	bool is_nobody;      /* no token */
};

/* The members that every row has, and those of its own by name. */
#define ROW(l, b, s, ...)                                      \
	{                                                      \
		.line = l, .body = b, .status = s, __VA_ARGS__ \
	}

/* The body of a row that holds NULs. */
#define BYTES(text) .body = (text), .body_len = sizeof(text) - 1

#define API      "/api/v1"
#define CREATE   "POST " API "/conversations"
#define PATCH    "PATCH " API "/conversations/{c}"
#define SAY      "POST " API "/conversations/{c}/messages"
#define LIST     "GET " API "/conversations"
#define MESSAGES "GET " API "/conversations/{c}/messages"
#define REGISTER "POST " API "/auth/register"
#define LOGIN    "POST " API "/auth/login"

struct api_caller {
	struct stack stack;
	struct person person;
	char message_id[40];
	char short_id[40];
};

/* A new user with one conversation of one turn. */
void api_caller_make(struct api_caller *c);

/* Sends the row's request; the caller clears the answer. */
void api_row_send(
    const struct api_caller *c, const struct api_row *r, struct answer *a);

/* Fails the test for each promise that the answer breaks. */
void api_row_check(const struct api_caller *c, const struct api_row *r,
    const struct answer *a);

/* Both. */
void api_row_run(const struct api_caller *c, const struct api_row *r);

#define API_ROWS_RUN(c, rows)                                                 \
	do {                                                                  \
		for (size_t i = 0; i < sizeof(rows) / sizeof((rows)[0]); i++) \
			api_row_run((c), &(rows)[i]);                         \
	} while (0)

/* Fails the test when a worker has died since the stack was started. */
void api_check_workers(const struct api_caller *c);

#endif
