/*
 * A load of turns for benchmarks: many connections to nginx on one epoll loop,
 * each with its own user and conversation, each sending turns and reading the
 * replies' events to the end. Replies come from model_load, whose deltas say
 * when they were written: what was added on the way is told apart from what
 * the model took, and a delta that is lost is noticed.
 *
 * Prints "streaming" as soon as every connection has had a first delta, upon
 * SIGUSR1 how many deltas came so far and when, and at the end one "name value"
 * a line: of the whole run, and of what came between the first two SIGUSR1. The
 * exit status is 0 when every turn was complete with all of its deltas.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "stream_parse.h"

enum {
	READY_MAX = 512,
	LINE_MAX_BYTES = 4096,
	COMPLAINTS_MAX = 3, /* shown on standard error */
	WAITING_MAX = 200,  /* turns without a first delta yet, in the ramp */
	/* With more streams than that, so long between two looks: woken by each
	 * event alone, the client takes 15 % of a core for 10,000 by TCP, and
	 * so 9 %. Delays come out longer, by half of that in the mean. */
	WOKEN_MAX = 1000,
	LOOKS_APART_US = 2000,
};

static struct {
	int port;           /* of nginx on loopback; 0: at `socket` */
	const char *socket; /* its path */
	const char *tokens, *body;
	long count, ramp_ms, seconds, timeout_s;
} options = {.count = 1,
    .timeout_s = 120,
    .body = "{\"content\":\"go\",\"stream\":true}"};

struct samples {
	uint32_t *us; /* owned */
	size_t n, cap;
};

struct conn {
	int fd;
	struct response response;
	const char *token, *conversation; /* into `credentials` */
	uint64_t asked_us;
	uint64_t last_sent_us, last_us; /* the last delta: written, read */
	long deltas, announced; /* seen; how many the model says it wrote */
	bool is_asking, has_streamed, has_done;
};

static int poller;
static char *credentials; /* the --tokens file, owned; lines NUL-ended */
static struct conn *conns;
static long opened, asking, streaming, most, streamed, over;
static uint64_t completed, failed, deltas, now_us, begin_us;
static struct samples first, delay, gap, look_delay, look_gap;
static int answers; /* to SIGUSR1; 1: it is looked at */
static bool is_closing_time;
static volatile sig_atomic_t is_asked; /* SIGUSR1: how many deltas so far? */

static void
be_asked(int signal_number)
{
	(void)signal_number;
	is_asked = 1;
}

static void
answer(void)
{
	is_asked = 0;
	answers++;
	printf("seen %lu %lu\n", deltas, clock_mono_us());
}

static void
sample(struct samples *s, int64_t us)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 1 << 16;
		s->us = realloc(s->us, s->cap * sizeof(*s->us));
		if (s->us == NULL)
			abort();
	}
	s->us[s->n++] = us < 0            ? 0
			: us > UINT32_MAX ? UINT32_MAX
					  : (uint32_t)us;
}

static void
complain(const struct conn *c, const char *what)
{
	static int complaints;

	if (complaints++ < COMPLAINTS_MAX)
		fprintf(stderr, "turn_load: connection %ld: %.1000s\n",
		    (long)(c - conns), what);
}

static void
conn_close(struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	response_free(&c->response);
	over++;
}

/* One delta of the model, as its stamp tells. */
static void
count_delta(struct conn *c, uint64_t received_us, uint64_t sent_us)
{
	int64_t late = (int64_t)(now_us - sent_us);
	int64_t apart = (int64_t)(now_us - c->last_us) -
			(int64_t)(sent_us - c->last_sent_us);

	deltas++;
	if (c->deltas++ == 0) {
		sample(&first, (int64_t)(now_us - c->asked_us) -
				   (int64_t)(sent_us - received_us));
		streaming++;
		if (streaming > most)
			most = streaming;
		if (!c->has_streamed && ++streamed == options.count)
			puts("streaming");
		c->has_streamed = true;
	} else {
		sample(&delay, late);
		sample(&gap, apart);
		if (answers == 1) {
			sample(&look_delay, late);
			sample(&look_gap, apart);
		}
	}
	c->last_us = now_us;
	c->last_sent_us = sent_us;
}

/* Several deltas of the model may have become one. */
static void
read_stamps(struct conn *c, const char *text)
{
	const char *total = strchr(text, '#');

	while ((text = strchr(text, '@')) != NULL) {
		char *rest;
		uint64_t sent = strtoull(text + 1, &rest, 16), received = 0;

		if (*rest == ':')
			received = strtoull(rest + 1, NULL, 16);
		count_delta(c, received, sent);
		text = rest;
	}
	if (total != NULL)
		c->announced = strtol(total + 1, NULL, 10);
}

static void
on_event(void *context, enum event_kind kind, const struct buf *data)
{
	struct conn *c = context;

	if (kind == EVENT_DELTA)
		read_stamps(c, data->p);
	else if (kind == EVENT_DONE)
		c->has_done = true;
	else if (kind == EVENT_ERROR)
		complain(c, data->p);
}

static bool
send_turn(struct conn *c)
{
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof(line),
	    "POST /api/v1/conversations/%s/messages HTTP/1.1\r\n"
	    "Host: localhost\r\nAuthorization: Bearer %s\r\n"
	    "Content-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    c->conversation, c->token, strlen(options.body), options.body);

	c->deltas = 0;
	c->announced = -1;
	c->has_done = false;
	c->is_asking = true;
	asking++;
	c->asked_us = clock_mono_us();
	return n > 0 && n < (int)sizeof(line) &&
	       send(c->fd, line, (size_t)n, MSG_NOSIGNAL) == n;
}

static void
end_turn(struct conn *c)
{
	bool is_whole = c->has_done && c->response.state == AT_END &&
			c->deltas == c->announced;

	if (!c->is_asking)
		return;
	c->is_asking = false;
	asking--;
	streaming -= c->deltas > 0;
	completed += is_whole;
	failed += !is_whole;
	if (!is_whole && c->response.state != AT_END)
		complain(c, "the stream broke off");
	else if (!is_whole)
		fprintf(stderr, "turn_load: status %d, %ld deltas\n",
		    c->response.status, c->deltas);
}

static void
next_turn(struct conn *c)
{
	end_turn(c);
	response_free(&c->response);
	c->response = (struct response){0};
	if (options.seconds == 0 || is_closing_time || !send_turn(c))
		conn_close(c);
}

static void
read_on(struct conn *c)
{
	char bytes[65536];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	now_us = clock_mono_us();
	if (n > 0)
		response_feed(&c->response, bytes, (size_t)n, on_event, c);
	if (n <= 0) {
		end_turn(c);
		conn_close(c);
	} else if (c->response.state == AT_END) {
		next_turn(c);
	}
}

/* A connection to nginx, or -1: on one machine connecting is over at once. */
static int
connect_port(void)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)options.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? fd : -1;
}

static int
connect_socket(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", options.socket);
	return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? fd : -1;
}

static void
open_conn(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

	c->fd = options.port ? connect_port() : connect_socket();
	if (c->fd < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) != 0 ||
	    !send_turn(c)) {
		complain(c, strerror(errno));
		failed++;
		conn_close(c);
	}
}

/* As many as the ramp allows by now; a machine that begins fewer turns than
 * that is not buried under them. */
static void
open_more(void)
{
	uint64_t passed_ms = (clock_mono_us() - begin_us) / 1000;
	long due = options.count;

	if (passed_ms < (uint64_t)options.ramp_ms)
		due = (long)((uint64_t)options.count * passed_ms /
			     (uint64_t)options.ramp_ms);
	for (; opened < due && asking - streaming < WAITING_MAX; opened++)
		open_conn(&conns[opened]);
}

static void
run(void)
{
	static struct epoll_event ready[READY_MAX];
	uint64_t longest_us =
	    (uint64_t)(options.ramp_ms + 1000 * options.timeout_s) * 1000;

	begin_us = clock_mono_us();
	while (over < options.count) {
		int n = epoll_wait(
		    poller, ready, READY_MAX, opened < options.count ? 1 : 100);
		uint64_t passed_us = clock_mono_us() - begin_us;

		for (int i = 0; i < n; i++)
			read_on(ready[i].data.ptr);
		if (streaming > WOKEN_MAX && n < READY_MAX)
			usleep(LOOKS_APART_US);
		if (is_asked)
			answer();
		if (opened < options.count)
			open_more();
		is_closing_time =
		    passed_us >= (uint64_t)options.seconds * 1000000;
		if (passed_us > longest_us) {
			fputs("turn_load: out of time\n", stderr);
			failed += (uint64_t)asking;
			return;
		}
	}
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
print_samples(const char *name, struct samples *s)
{
	static const int percents[] = {50, 90, 99};

	if (s->n == 0)
		return;
	qsort(s->us, s->n, sizeof(*s->us), compare);
	for (size_t i = 0; i < sizeof(percents) / sizeof(*percents); i++)
		printf("%s_p%d_ms %.1f\n", name, percents[i],
		    s->us[(s->n - 1) * (size_t)percents[i] / 100] / 1000.0);
	free(s->us);
}

static void
print_report(double seconds)
{
	printf("completed %lu\nfailed %lu\ndeltas %lu\nmost_at_once %ld\n"
	       "seconds %.3f\nturns_per_s %.1f\n",
	    completed, failed, deltas, most, seconds,
	    (double)completed / seconds);
	print_samples("first_added", &first);
	print_samples("delay", &delay);
	print_samples("gap_added", &gap);
	print_samples("look_delay", &look_delay);
	print_samples("look_gap_added", &look_gap);
}

/* Gives each connection its line: "token conversation". */
static bool
read_tokens(void)
{
	FILE *file = fopen(options.tokens, "r");
	size_t size = 0;
	char *rest, *line;
	long n = 0;

	if (file == NULL || getdelim(&credentials, &size, '\0', file) < 0)
		return false;
	fclose(file);
	rest = credentials;
	while (n < options.count && (line = strsep(&rest, "\n")) != NULL) {
		char *space = strchr(line, ' ');

		if (space == NULL)
			continue;
		*space = '\0';
		conns[n].token = line;
		conns[n++].conversation = space + 1;
	}
	return n == options.count;
}

static bool
read_options(int argc, char **argv)
{
	static const struct option known[] = {
	    {"port", required_argument, NULL, 'p'},
	    {"socket", required_argument, NULL, 'u'},
	    {"tokens", required_argument, NULL, 't'},
	    {"body", required_argument, NULL, 'b'},
	    {"count", required_argument, NULL, 'n'},
	    {"ramp", required_argument, NULL, 'r'},
	    {"seconds", required_argument, NULL, 's'},
	    {"timeout", required_argument, NULL, 'x'},
	    {0},
	};
	long *const numbers[] = {['n'] = &options.count,
	    ['r'] = &options.ramp_ms,
	    ['s'] = &options.seconds,
	    ['x'] = &options.timeout_s};
	int o;

	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (o == '?')
			return false;
		else if (o == 't')
			options.tokens = optarg;
		else if (o == 'b')
			options.body = optarg;
		else if (o == 'u')
			options.socket = optarg;
		else if (o == 'p')
			options.port = atoi(optarg);
		else
			*numbers[o] = strtol(optarg, NULL, 10);
	}
	return optind == argc &&
	       (options.port > 0) == (options.socket == NULL) &&
	       options.count > 0 && options.tokens != NULL;
}

int
main(int argc, char **argv)
{
	struct rlimit files;

	if (!read_options(argc, argv)) {
		fprintf(stderr,
		    "usage: turn_load --port N|--socket PATH --tokens FILE "
		    "[--count N]\n\t[--ramp MS] [--seconds S] [--timeout S] "
		    "[--body JSON]\n--seconds: each goes on with turns for so "
		    "long; else one each\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGUSR1, be_asked);
	setlinebuf(stdout);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	conns = calloc((size_t)options.count, sizeof(*conns));
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (conns == NULL || poller < 0 || !read_tokens()) {
		fprintf(stderr, "turn_load: no %ld lines in %s\n",
		    options.count, options.tokens);
		return 2;
	}
	run();
	print_report((double)(clock_mono_us() - begin_us) / 1e6);
	return failed == 0 ? 0 : 1;
}
