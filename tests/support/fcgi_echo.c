/*
 * A FastCGI program that tells what nginx sent it, to test nginx/natter.conf
 * without natterd: answers with the request's parameters as NAME=VALUE lines
 * and notes each request in the log that it is given. A query may ask for
 * more: `slow` streams a tick every 200 ms, `die` ends the process without an
 * answer, `gone` in mid-answer. One request at a time, as a worker's front.
 *
 *     spawn-fcgi -n -s SOCKET -- fcgi_echo LOG
 */
#include <fcgiapp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void
nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
}

static void
count(const char *log, const char *method, const char *uri)
{
	FILE *f = fopen(log, "a");

	if (f == NULL)
		return;
	fprintf(f, "%s %s\n", method, uri);
	fclose(f);
}

static void
tick(FCGX_Request *r)
{
	FCGX_PutS("Content-Type: text/event-stream\r\n\r\n", r->out);
	for (int i = 0; i < 5; i++) {
		FCGX_PutS("data: tick\n\n", r->out);
		FCGX_FFlush(r->out);
		nap();
	}
	FCGX_PutS("event: done\ndata: {}\n\n", r->out);
}

static void
echo(FCGX_Request *r)
{
	FCGX_PutS("Content-Type: text/plain\r\n\r\n", r->out);
	for (char **p = r->envp; *p != NULL; p++) {
		FCGX_PutS(*p, r->out);
		FCGX_PutS("\n", r->out);
	}
}

static void
answer(FCGX_Request *r, const char *log)
{
	const char *uri = FCGX_GetParam("REQUEST_URI", r->envp);
	const char *word;

	if (uri == NULL)
		uri = "";
	count(log, FCGX_GetParam("REQUEST_METHOD", r->envp), uri);
	word = strrchr(uri, '?');
	word = word == NULL ? "" : word + 1;
	if (strcmp(word, "die") == 0)
		raise(SIGKILL);
	if (strcmp(word, "slow") == 0) {
		tick(r);
		return;
	}
	echo(r);
	if (strcmp(word, "gone") == 0) {
		FCGX_FFlush(r->out);
		raise(SIGKILL);
	}
}

int
main(int argc, char **argv)
{
	FCGX_Request r;

	if (argc != 2 || FCGX_Init() != 0 || FCGX_InitRequest(&r, 0, 0) != 0)
		return EXIT_FAILURE;
	while (FCGX_Accept_r(&r) == 0) {
		answer(&r, argv[1]);
		FCGX_Finish_r(&r);
	}
	return EXIT_SUCCESS;
}
