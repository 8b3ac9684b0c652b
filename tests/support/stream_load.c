/*
 * A load client: opens many concurrent SSE requests, follows each to its end
 * and prints one JSON object with what was seen and how fast.  One libuv
 * loop; owns the connections, the clock and the sums.
 *
 * The exit status is 0 when every stream completed (or was hung up, as
 * --hangup-after asks), 1 when not, 2 when it could not start.
 */
#include <assert.h>
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "stream_parse.h"
#include "base/buf.h"

enum {
	PER_SOURCE = 10000, /* connections from one 127.0.0.x */
	STATUS_MAX = 600,
	TIMEOUT_S = 120,
	COMPLAINTS_MAX = 3, /* refusals shown on standard error */
};

/* How a stream ended; the row's name is its key in the output. */
#define OUTCOMES(X)  \
	X(completed) \
	X(hung_up)   \
	X(connect) X(http) X(not_sse) X(closed) X(error_event) X(timeout)

enum outcome {
#define OUTCOME(name) OUTCOME_##name,
	OUTCOMES(OUTCOME)
#undef OUTCOME
	    OUTCOME__MAX
};

struct samples {
	uint32_t *us; /* owned */
	size_t n, cap;
};

struct stream {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	struct response response;
	struct buf request, text;  /* text only with --dump */
	uint64_t sent_ns, last_ns; /* last: of the previous delta */
	uint32_t number, deltas;
	bool is_counted, has_done, has_error;
};

static struct {
	const char *url, *tokens, *bodies, *dump;
	long count, ramp_ms, hangup_after, timeout_s;
} options = {.count = 1, .timeout_s = TIMEOUT_S};

static uv_loop_t loop;
static uv_timer_t ramp_timer, end_timer;
static struct sockaddr_in target;
static char host[256];
static const char *path;
static char *credentials; /* the --tokens file, owned; lines NUL-ended */
static char **lines;      /* into credentials; owned */
static size_t lines_n;
static struct stream *streams;
static long started, ended;
static uint64_t begin_ns, now_ns, events, deltas;
static uint64_t outcomes[OUTCOME__MAX], by_status[STATUS_MAX];
static struct samples first_us, gap_us;
static char read_buffer[64 * 1024];

static void
sample(struct samples *s, uint64_t ns)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 1024;
		s->us = realloc(s->us, s->cap * sizeof(*s->us));
		if (s->us == NULL)
			abort();
	}
	s->us[s->n++] =
	    ns / 1000 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 1000);
}

static void
dump_text(const struct stream *s)
{
	char name[4096];
	FILE *file;

	snprintf(name, sizeof(name), "%s/%u.txt", options.dump, s->number);
	file = fopen(name, "w");
	if (file == NULL ||
	    fwrite(s->text.p ? s->text.p : "", 1, s->text.n, file) !=
		s->text.n ||
	    fclose(file) != 0) {
		perror(name);
		exit(2);
	}
}

static void
on_closed(uv_handle_t *handle)
{
	struct stream *s = handle->data;

	response_free(&s->response);
	buf_free(&s->request);
	buf_free(&s->text);
	if (++ended == options.count) {
		uv_close((uv_handle_t *)&ramp_timer, NULL);
		uv_close((uv_handle_t *)&end_timer, NULL);
	}
}

/* Counts how the stream ended, once, and lets go of it. */
static void
end_stream(struct stream *s, enum outcome outcome)
{
	if (s->is_counted)
		return;
	s->is_counted = true;
	outcomes[outcome]++;
	if (outcome == OUTCOME_http)
		by_status[s->response.status % STATUS_MAX]++;
	if (options.dump != NULL)
		dump_text(s);
	uv_close((uv_handle_t *)&s->tcp, on_closed);
}

static void
complain(const struct stream *s, const char *what, size_t n)
{
	static int complaints;

	if (complaints++ < COMPLAINTS_MAX)
		fprintf(stderr, "stream %u: %.*s\n", s->number,
		    (int)(n < 1000 ? n : 1000), what);
}

/* Natter's {"text"}, else OpenAI's {"choices":[{"delta":{"content"}}]}. */
static void
keep_text(struct stream *s, const struct buf *data)
{
	struct json_object *json = json_tokener_parse(data->p), *text = NULL;
	struct json_object *choices;

	if (!json_object_object_get_ex(json, "text", &text) &&
	    json_object_object_get_ex(json, "choices", &choices) &&
	    json_object_is_type(choices, json_type_array))
		text = json_object_object_get(
		    json_object_object_get(
			json_object_array_get_idx(choices, 0), "delta"),
		    "content");
	buf_add(&s->text, json_object_get_string(text),
	    (size_t)json_object_get_string_len(text));
	json_object_put(json);
}

static void
on_event(void *context, enum event_kind kind, const struct buf *data)
{
	struct stream *s = context;

	events++;
	if (kind == EVENT_DONE)
		s->has_done = true;
	if (kind == EVENT_ERROR) {
		s->has_error = true;
		complain(s, data->p, data->n);
	}
	if (kind != EVENT_DELTA)
		return;
	deltas++;
	if (s->deltas++ == 0)
		sample(&first_us, now_ns - s->sent_ns);
	else
		sample(&gap_us, now_ns - s->last_ns);
	s->last_ns = now_ns;
	if (options.dump != NULL)
		keep_text(s, data);
}

static enum outcome
outcome_of(const struct stream *s)
{
	const struct response *r = &s->response;

	if (r->status != 0 && r->status != 200)
		return OUTCOME_http;
	if (r->status == 200 && !r->is_sse && r->state > AT_HEADER)
		return OUTCOME_not_sse;
	if (s->has_error)
		return OUTCOME_error_event;
	/* A body cut short after its terminal event is still cut short. */
	if (s->has_done && (r->state == AT_END ||
			       (r->state == AT_REST && r->left > SIZE_MAX / 2)))
		return OUTCOME_completed;
	return OUTCOME_closed;
}

static void
on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *out)
{
	(void)handle;
	(void)hint;
	*out = uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void
on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *bytes)
{
	struct stream *s = tcp->data;

	if (n < 0) {
		end_stream(s, outcome_of(s));
		return;
	}
	now_ns = uv_hrtime();
	response_feed(&s->response, bytes->base, (size_t)n, on_event, s);
	if (options.hangup_after > 0 && s->deltas >= options.hangup_after) {
		end_stream(s, OUTCOME_hung_up);
	} else if (s->response.state > AT_HEADER && !s->response.is_sse) {
		complain(s, bytes->base, (size_t)n);
		end_stream(s, outcome_of(s));
	} else if (s->response.state == AT_END) {
		end_stream(s, outcome_of(s));
	}
}

static void
on_written(uv_write_t *write, int status)
{
	struct stream *s = write->data;

	buf_free(&s->request);
	if (status != 0 && status != UV_ECANCELED)
		end_stream(s, OUTCOME_closed);
}

static void
on_connected(uv_connect_t *connect, int status)
{
	struct stream *s = connect->data;
	uv_buf_t out = uv_buf_init(s->request.p, (unsigned)s->request.n);

	if (status != 0) {
		if (!s->is_counted)
			complain(s, uv_strerror(status), 99);
		end_stream(s, OUTCOME_connect);
		return;
	}
	s->write.data = s;
	s->sent_ns = uv_hrtime();
	if (uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read) != 0 ||
	    uv_write(&s->write, (uv_stream_t *)&s->tcp, &out, 1, on_written) !=
		0)
		end_stream(s, OUTCOME_closed);
}

/* Appends a template with its first mark replaced. */
static void
fill_in(
    struct buf *b, const char *template, const char *mark, const char *value)
{
	const char *at = strstr(template, mark);

	if (at == NULL) {
		buf_puts(b, template);
		return;
	}
	buf_add(b, template, (size_t)(at - template));
	buf_puts(b, value);
	buf_puts(b, at + strlen(mark));
}

static void
make_request(struct stream *s)
{
	struct buf *b = &s->request, body = {0};
	char *line = lines_n ? lines[s->number % lines_n] : NULL;
	char number[16];

	snprintf(number, sizeof(number), "%u", s->number);
	fill_in(&body, options.bodies, "%d", number);
	buf_puts(b, "POST ");
	fill_in(b, path, "%s", line ? line + strlen(line) + 1 : "");
	buf_printf(b, " HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n", host,
	    body.n);
	if (line != NULL)
		buf_printf(b, "Authorization: Bearer %s\r\n", line);
	buf_puts(b, "Content-Type: application/json\r\n"
		    "Accept: text/event-stream\r\nConnection: close\r\n\r\n");
	buf_add(b, body.p, body.n);
	buf_free(&body);
}

/* More connections than ephemeral ports need more than one address. */
static void
bind_source(struct stream *s)
{
	struct sockaddr_in source = {.sin_family = AF_INET};
	int fd, on = 1;

	if (options.count <= PER_SOURCE ||
	    uv_fileno((uv_handle_t *)&s->tcp, &fd) != 0)
		return;
	source.sin_addr.s_addr =
	    htonl(INADDR_LOOPBACK + s->number / PER_SOURCE);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	(void)bind(fd, (struct sockaddr *)&source, sizeof(source));
}

static void
start_stream(struct stream *s, uint32_t number)
{
	int err = uv_tcp_init_ex(&loop, &s->tcp, AF_INET);

	if (err != 0) {
		fprintf(stderr, "stream_load: %s\n", uv_strerror(err));
		exit(2);
	}
	s->number = number;
	s->tcp.data = s->connect.data = s;
	bind_source(s);
	make_request(s);
	err = uv_tcp_connect(
	    &s->connect, &s->tcp, (struct sockaddr *)&target, on_connected);
	if (err != 0) {
		complain(s, uv_strerror(err), strlen(uv_strerror(err)));
		end_stream(s, OUTCOME_connect);
	}
}

static void
on_ramp(uv_timer_t *timer)
{
	long passed_ms = (long)((uv_hrtime() - begin_ns) / 1000000);
	long due = options.count;

	if (passed_ms < options.ramp_ms)
		due = options.count * passed_ms / options.ramp_ms;
	for (; started < due; started++)
		start_stream(&streams[started], (uint32_t)started);
	if (started == options.count)
		uv_timer_stop(timer);
}

static void
on_end(uv_timer_t *timer)
{
	(void)timer;
	for (long i = 0; i < started; i++)
		end_stream(&streams[i], OUTCOME_timeout);
	for (; started < options.count; started++) {
		outcomes[OUTCOME_timeout]++;
		ended++;
	}
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double
quantile_ms(const struct samples *s, double q)
{
	return s->n ? s->us[(size_t)((double)(s->n - 1) * q)] / 1000.0 : 0.0;
}

static void
print_samples(const char *name, struct samples *s)
{
	if (s->n > 0)
		qsort(s->us, s->n, sizeof(*s->us), compare);
	printf(",\"%s\":{\"n\":%zu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,"
	       "\"max\":%.3f}",
	    name, s->n, quantile_ms(s, 0.5), quantile_ms(s, 0.9),
	    quantile_ms(s, 0.99), quantile_ms(s, 1.0));
	free(s->us);
}

static void
print_errors(void)
{
	static const char *const names[] = {
#define OUTCOME(name) #name,
	    OUTCOMES(OUTCOME)
#undef OUTCOME
	};
	const char *comma = "";

	printf(",\"errors\":{");
	for (int i = OUTCOME_connect; i < OUTCOME__MAX; i++)
		if (i != OUTCOME_http)
			printf("\"%s\":%lu,", names[i], outcomes[i]);
	printf("\"http\":{");
	for (int i = 0; i < STATUS_MAX; i++) {
		if (by_status[i] == 0)
			continue;
		printf("%s\"%d\":%lu", comma, i, by_status[i]);
		comma = ",";
	}
	printf("}}");
}

static void
print_report(double seconds)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	printf("{\"count\":%ld,\"completed\":%lu,\"hung_up\":%lu",
	    options.count, outcomes[OUTCOME_completed],
	    outcomes[OUTCOME_hung_up]);
	print_errors();
	printf(",\"events\":%lu,\"deltas\":%lu,\"events_per_s\":%.1f", events,
	    deltas, (double)events / seconds);
	print_samples("first_token_ms", &first_us);
	print_samples("inter_event_ms", &gap_us);
	printf(",\"seconds\":%.3f,\"client_cpu_s\":%.3f}\n", seconds,
	    (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

/* Splits "http://HOST:PORT/path"; the path may hold one %s. */
static bool
read_url(void)
{
	char name[128];
	int port = 80;

	if (options.url == NULL ||
	    sscanf(options.url, "http://%255[^/]", host) != 1)
		return false;
	path = strchr(options.url + strlen("http://"), '/');
	if (path == NULL || sscanf(host, "%127[^:]:%d", name, &port) < 1)
		return false;
	if (strcmp(name, "localhost") == 0)
		strcpy(name, "127.0.0.1");
	return uv_ip4_addr(name, port, &target) == 0;
}

/* A line becomes "token NUL conversation NUL". */
static bool
read_tokens(void)
{
	size_t size = 0;
	FILE *file = fopen(options.tokens, "r");
	char *rest, *line, *space;

	if (file == NULL || getdelim(&credentials, &size, '\0', file) < 0)
		return false;
	fclose(file);
	rest = credentials;
	while ((line = strsep(&rest, "\n")) != NULL) {
		space = strchr(line, ' ');
		if (space == NULL)
			continue;
		*space = '\0';
		lines = realloc(lines, (lines_n + 1) * sizeof(*lines));
		if (lines == NULL)
			abort();
		lines[lines_n++] = line;
	}
	return lines_n > 0;
}

static bool
read_options(int argc, char **argv)
{
	static const struct option known[] = {
	    {"url", required_argument, NULL, 'u'},
	    {"tokens", required_argument, NULL, 't'},
	    {"bodies", required_argument, NULL, 'b'},
	    {"count", required_argument, NULL, 'n'},
	    {"ramp", required_argument, NULL, 'r'},
	    {"hangup-after", required_argument, NULL, 'h'},
	    {"timeout", required_argument, NULL, 'e'},
	    {"dump", required_argument, NULL, 'd'},
	    {0},
	};
	long *const numbers[] = {['n'] = &options.count,
	    ['r'] = &options.ramp_ms,
	    ['h'] = &options.hangup_after,
	    ['e'] = &options.timeout_s};
	const char **const strings[] = {['u'] = &options.url,
	    ['t'] = &options.tokens,
	    ['b'] = &options.bodies,
	    ['d'] = &options.dump};
	int o;

	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (o == '?')
			return false;
		else if (strchr("utbd", o) != NULL)
			*strings[o] = optarg;
		else
			*numbers[o] = strtol(optarg, NULL, 10);
	}
	return optind == argc && options.bodies != NULL && options.count > 0 &&
	       read_url() && (options.tokens == NULL || read_tokens());
}

static void
run(void)
{
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&loop);
	uv_timer_init(&loop, &ramp_timer);
	uv_timer_init(&loop, &end_timer);
	begin_ns = uv_hrtime();
	uv_timer_start(&ramp_timer, on_ramp, 0, 1);
	uv_timer_start(&end_timer, on_end,
	    (uint64_t)(options.ramp_ms + options.timeout_s * 1000), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
}

int
main(int argc, char **argv)
{
	struct rlimit files;

	if (!read_options(argc, argv)) {
		fprintf(stderr,
		    "usage: stream_load --url http://HOST:PORT/PATH[%%s] "
		    "--bodies JSON[%%d]\n\t[--tokens FILE] [--count N] "
		    "[--ramp MS] [--hangup-after K] [--timeout S]\n"
		    "\t[--dump DIR]\n%%s: the line's conversation id; "
		    "%%d: the stream's number, from 0\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	streams = calloc((size_t)options.count, sizeof(*streams));
	assert(streams != NULL);
	run();
	print_report((double)(uv_hrtime() - begin_ns) / 1e9);
	free(streams);
	free(lines);
	free(credentials);
	return outcomes[OUTCOME_completed] + outcomes[OUTCOME_hung_up] ==
		       (uint64_t)options.count
		   ? 0
		   : 1;
}
