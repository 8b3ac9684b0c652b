/*
 * A file that takes its reader's whole time, brought to a server with a single
 * worker: it ends with a sentence, and nobody's password waits for it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "command.h"
#include "raw_http.h"
#include "stack.h"

static struct stack stack;
static char folder[] = "/tmp/natter-slow-XXXXXX";
static char program[64];

/* A pdftotext that never ends. */
static void
setup(void)
{
	static char setting[96];
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_EXTRACT_SECONDS=20", setting}};
	FILE *f;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(program, sizeof(program), "%s/pdftotext", folder);
	cr_assert_not_null(f = fopen(program, "w"));
	fputs("#!/bin/sh\nwhile :; do :; done\n", f);
	fclose(f);
	cr_assert_eq(chmod(folder, 0755), 0);
	cr_assert_eq(chmod(program, 0755), 0);
	snprintf(setting, sizeof(setting), "CHAT_PDFTOTEXT=%s", program);
	stack_start(&stack, &o);
}

static void
teardown(void)
{
	stack_stop(&stack);
	unlink(program);
	rmdir(folder);
}

TestSuite(slow_files, .init = setup, .fini = teardown, .timeout = 180);

static int
bring(const struct person *p)
{
	char request[4096];
	int fd = raw_open(stack.port, 0);
	int n = snprintf(request, sizeof(request),
	    "PUT /api/v1/documents?filename=a.pdf HTTP/1.1\r\n"
	    "Host: localhost\r\nConnection: close\r\n"
	    "Authorization: Bearer %s\r\nContent-Type: application/pdf\r\n"
	    "Content-Length: 8\r\n\r\n%%PDF-1.4",
	    p->token);

	raw_send(fd, request, (size_t)n);
	return fd;
}

static bool
is_read(void *arg)
{
	struct command_end end = RUN("pgrep", "-f", program);
	bool is_so = end.code == 0;

	(void)arg;
	command_end_clear(&end);
	return is_so;
}

static bool
is_answered(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

Test(slow_files, hold_up_nobody_s_password)
{
	struct person slow, other;
	struct answer a;
	int fd;

	person_make(&stack, &slow);
	fd = bring(&slow);
	cr_assert(wait_until(is_read, NULL, 30000));
	person_make(&stack, &other);
	cr_expect_not(is_answered(fd), "the password waited for the file");
	raw_answer(fd, 90000, &a);
	cr_expect_eq(a.status, 422, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "field"), "file");
	cr_expect_not_null(strstr(a.body.p, "takes too long"), "%s", a.body.p);
	answer_clear(&a);
	cr_expect_not(is_read(NULL), "it still runs");
}
