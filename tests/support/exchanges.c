/*
 * One write() a line, so that the processes of a program, and its threads, may
 * append to the same file. Knows no route: tests/contract judges.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exchanges.h"
#include "json_escape.h"

/* Of longer bodies only the beginning is kept, and that it is. */
#define KEPT_MAX (1 << 20)

static void
add_member(struct buf *line, const char *name, const char *p, size_t n)
{
	buf_printf(line, ",\"%s\":\"", name);
	if (n > 0)
		json_escape(line, p, n < KEPT_MAX ? n : KEPT_MAX);
	buf_putc(line, '"');
}

static void
add_text(struct buf *line, const char *name, const char *text)
{
	add_member(line, name, text, strlen(text));
}

static void
write_line(struct buf *line, const struct ask *ask, const struct answer *a)
{
	bool is_whole = a->code == CURLE_OK && a->body.n <= KEPT_MAX;

	buf_printf(line, "{\"status\":%ld,\"whole\":%s", a->status,
	    is_whole ? "true" : "false");
	add_text(line, "method",
	    ask->method != NULL ? ask->method
	    : ask->json != NULL ? "POST"
				: "GET");
	add_text(line, "path", ask->path);
	if (ask->json != NULL) {
		add_text(line, "sent_type",
		    ask->type != NULL ? ask->type : "application/json");
		if (strlen(ask->json) <= KEPT_MAX)
			add_text(line, "sent", ask->json);
	}
	add_member(line, "head", a->head.p, a->head.n);
	add_member(line, "body", a->body.p, a->body.n);
	buf_puts(line, "}\n");
	assert(!line->failed);
}

void
exchange_keep(const struct ask *ask, const struct answer *a)
{
	const char *path = getenv("NATTER_EXCHANGES");
	struct buf line = {0};
	int fd;

	if (path == NULL || a->status == 0)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(path);
		abort();
	}
	write_line(&line, ask, a);
	if (write(fd, line.p, line.n) != (ssize_t)line.n) {
		perror(path);
		abort();
	}
	close(fd);
	buf_free(&line);
}
