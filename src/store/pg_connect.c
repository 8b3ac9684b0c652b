/*
 * Making a connection fit for use: finding a host that answers, setting the
 * session up, looking at what the role may do, and preparing every domain's
 * statements; all but the finding in one round trip. Owns the session's
 * settings; knows nothing of the calls that come afterwards.
 *
 * libpq applies connect_timeout and goes on to the next host of a URL only in
 * its blocking functions. With PQconnectPoll a stopped first host would hide
 * a healthy second one, so the hosts are tried one by one here. (A host's
 * name is still looked up by a blocking getaddrinfo: give addresses, or a
 * resolver with short time-outs.)
 */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/pg_inside.h"
#include "store/wait.h"

#define HOST_TIMEOUT_MS 2000 /* see host_timeout_ms */
#define RETRY_MS        1000 /* between attempts while Postgres is away */
#define HOST_MAX        256  /* a host's name, address or socket folder */
#define PORT_MAX        8
#define PORT_DEFAULT    "5432"

/*
 * Session settings, as functions and in the first pipeline, because PgBouncer
 * refuses a client whose start-up packet has `options`. statement_timeout is
 * a little shorter than our own deadline, so that a slow statement ends with
 * Postgres's clean refusal and the connection lives on. Every statement is an
 * index look-up whatever its parameters, so it is planned once: left to
 * itself, Postgres plans those on partitioned tables anew each time, because
 * a plan that knows the partition looks cheaper (measured: a turn's statements
 * took 3.3 ms of a backend's CPU then, 1.7 ms planned once; with 30 months of
 * partitions 7.1 and 2.4). And none of them is worth compiling, which Postgres
 * does when it thinks a table large that it has no statistics of (measured: 15
 * of the 30 ms that looking after 5,000 replies' sessions took).
 */
#define SETTINGS(is_local)                                                    \
	"set_config('statement_timeout', $1, " is_local "),"                  \
	" set_config('lock_timeout', '2s', " is_local "),"                    \
	" set_config('idle_in_transaction_session_timeout', '10s', " is_local \
	"), set_config('TimeZone', 'UTC', " is_local "),"                     \
	" set_config('DateStyle', 'ISO, YMD', " is_local "),"                 \
	" set_config('plan_cache_mode', 'force_generic_plan', " is_local ")," \
	" set_config('jit', 'off', " is_local ")"

static const struct pg_query session_settings = {
    "session settings", "text", "SELECT " SETTINGS("false")};

#define IDENTITY(user, request, ip)                         \
	"set_config('app.user_id', " user ", true),"        \
	" set_config('app.request_id', " request ", true)," \
	" set_config('app.ip', " ip ", true)"

const struct pg_query pg_identity = {
    "natter_identity", "text text text", "SELECT " IDENTITY("$1", "$2", "$3")};

const struct pg_query pg_identity_and_settings = {"natter_identity",
    "text text text text",
    "SELECT " SETTINGS("true") ", " IDENTITY("$2", "$3", "$4")};

/*
 * What would let the role see other people's rows, in words; no row when
 * nothing does. Membership counts like the thing itself: SET ROLE and, for an
 * owner, ALTER TABLE ... NO FORCE ROW LEVEL SECURITY are one statement away.
 */
static const struct pg_query privileges = {"privileges", "",
    "SELECT why FROM ("
    "SELECT 1 AS nr, format('the role %I %s %I, which row level security"
    " does not bind', current_user, CASE WHEN r.rolname = current_user"
    " THEN 'is' ELSE 'may become' END, r.rolname) AS why"
    " FROM pg_catalog.pg_roles r"
    " WHERE (r.rolsuper OR r.rolbypassrls)"
    " AND pg_catalog.pg_has_role(r.oid, 'MEMBER')"
    " UNION ALL "
    "SELECT 2, format('the role %I owns %s', current_user, c.oid::regclass)"
    " FROM pg_catalog.pg_class c"
    " WHERE c.relnamespace::regnamespace::text IN ('auth', 'chat', 'audit')"
    " AND c.relkind IN ('r', 'p')"
    " AND pg_catalog.pg_has_role(c.relowner, 'MEMBER')"
    " UNION ALL "
    "SELECT 3, format('%s holds what belongs to users, but row level security"
    " is not forced', c.oid::regclass)"
    " FROM pg_catalog.pg_class c"
    " WHERE c.relnamespace::regnamespace::text IN ('auth', 'chat', 'audit')"
    " AND c.relkind IN ('r', 'p')"
    " AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
    " AND (c.relnamespace::regnamespace::text = 'auth'"
    " AND c.relname = 'users' OR EXISTS (SELECT"
    " FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid"
    " AND a.attname = 'user_id' AND NOT a.attisdropped))"
    ") AS findings ORDER BY nr, why LIMIT 1"};

/* What the URL says that is needed here: comma lists, of one as a rule. */
struct hosts {
	char *host;
	char *hostaddr;
	char *port;
	uint64_t timeout_ms; /* of one host */
	size_t n;
};

static void
hosts_clear(struct hosts *h)
{
	free(h->host);
	free(h->hostaddr);
	free(h->port);
	*h = (struct hosts){0};
}

static size_t
list_length(const char *list)
{
	size_t n = 1;

	if (list == NULL)
		return 0;
	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* Copies item `i` of a list (the only one, if it has one); false: too long. */
static bool
list_item(const char *list, size_t i, char *out, size_t size)
{
	size_t n;

	out[0] = '\0';
	if (list == NULL)
		return true;
	for (i = list_length(list) == 1 ? 0 : i; i > 0; i--) {
		list += strcspn(list, ",");
		list += *list == ',';
	}
	n = strcspn(list, ",");
	if (n >= size)
		return false;
	memcpy(out, list, n);
	out[n] = '\0';
	return true;
}

/* Copies `value`; a keyword given twice counts as the last one says. */
static void
keep(char **at, const char *value)
{
	free(*at);
	*at = strdup(value);
}

static void
hosts_note_option(struct hosts *h, const PQconninfoOption *o)
{
	if (strcmp(o->keyword, "host") == 0) {
		keep(&h->host, o->val);
	} else if (strcmp(o->keyword, "hostaddr") == 0) {
		keep(&h->hostaddr, o->val);
	} else if (strcmp(o->keyword, "port") == 0) {
		keep(&h->port, o->val);
	} else if (strcmp(o->keyword, "connect_timeout") == 0) {
		long seconds = strtol(o->val, NULL, 10);

		if (seconds > 0 && seconds < INT_MAX)
			h->timeout_ms = (uint64_t)seconds * 1000;
	}
}

/*
 * What one host may take where the URL does not say. An only host has a third
 * of a long deadline: nothing is gained by giving it up before, but the front
 * (5 s by default) must not wait longer for each attempt.
 */
static uint64_t
host_timeout_ms(const struct pg_options *o, size_t n_hosts)
{
	uint64_t third = (uint64_t)o->timeout_ms / 3;

	return n_hosts == 1 && third > HOST_TIMEOUT_MS ? third
						       : HOST_TIMEOUT_MS;
}

/* Reads the URL. libpq's complaint is dropped: it quotes the password. */
static enum err
hosts_read(struct pg *pg, struct hosts *out_hosts)
{
	struct hosts h = {0};
	PQconninfoOption *options = PQconninfoParse(pg->options.url, NULL);

	if (options == NULL)
		return pg_fail(pg, ERR_INTERNAL,
		    "the database URL is not one that libpq can read");
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
		if (o->val == NULL)
			continue;
		hosts_note_option(&h, o);
		if (strcmp(o->keyword, "password") == 0)
			explicit_bzero(o->val, strlen(o->val));
	}
	PQconninfoFree(options);
	h.n = list_length(h.hostaddr != NULL ? h.hostaddr : h.host);
	if (h.n == 0)
		h.n = 1; /* the environment's, or libpq's own default */
	if (h.timeout_ms == 0)
		h.timeout_ms = host_timeout_ms(&pg->options, h.n);
	*out_hosts = h;
	return OK;
}

static void
ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/*
 * Begins to connect to host `i`. What stands before `dbname` can be overruled
 * by the URL; what stands after it cannot.
 */
static enum err
start(struct pg *pg, const struct hosts *h, size_t i)
{
	char host[HOST_MAX], hostaddr[HOST_MAX], port[PORT_MAX];
	const char *const keywords[] = {"application_name", "tcp_user_timeout",
	    "keepalives", "keepalives_idle", "keepalives_interval",
	    "keepalives_count", "target_session_attrs", "dbname",
	    "client_encoding", "host", "hostaddr", "port", NULL};
	const char *const values[] = {pg->options.application, "5000", "1",
	    "10", "5", "3", "read-write", pg->options.url, "UTF8", host,
	    hostaddr, port, NULL};

	if (!list_item(h->host, i, host, sizeof(host)) ||
	    !list_item(h->hostaddr, i, hostaddr, sizeof(hostaddr)) ||
	    !list_item(h->port, i, port, sizeof(port)))
		return pg_fail(pg, ERR_INTERNAL,
		    "the database URL has a host or port that is too long");
	if (h->n > 1 && port[0] == '\0') /* else the URL's list would hold */
		memcpy(port, PORT_DEFAULT, sizeof(PORT_DEFAULT));
	pg->conn = PQconnectStartParams(keywords, values, 1);
	if (pg->conn == NULL)
		return pg_fail(pg, ERR_UNAVAILABLE, "out of memory");
	PQsetNoticeProcessor(pg->conn, ignore_notice, NULL);
	return OK;
}

static enum err
dial(struct pg *pg, const struct hosts *h, size_t i, uint64_t deadline_ms)
{
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	enum err e = start(pg, h, i);

	if (e != OK)
		return e;
	if (PQstatus(pg->conn) == CONNECTION_BAD)
		return pg_fail_connection(pg);
	while (state != PGRES_POLLING_OK) {
		short ready = 0;

		if (wait_ready(PQsocket(pg->conn),
			state == PGRES_POLLING_READING ? POLLIN : POLLOUT,
			deadline_ms, &ready) != 0)
			return pg_fail(pg, ERR_UNAVAILABLE,
			    "%s: no connection in time", PQhost(pg->conn));
		state = PQconnectPoll(pg->conn);
		if (state == PGRES_POLLING_FAILED)
			return pg_fail_connection(pg);
	}
	if (PQsetnonblocking(pg->conn, 1) != 0 ||
	    !PQenterPipelineMode(pg->conn))
		return pg_fail_connection(pg);
	return OK;
}

/* Tries the hosts in order; each gets its time-out or a fair share. */
static enum err
dial_any(struct pg *pg, uint64_t deadline_ms)
{
	struct hosts h = {0};
	enum err e = hosts_read(pg, &h);

	if (e != OK)
		return e;
	for (size_t i = 0; i < h.n; i++) {
		uint64_t now = clock_mono_ms();
		uint64_t left = now < deadline_ms ? deadline_ms - now : 0;
		uint64_t share = left / (h.n - i);

		if (share > h.timeout_ms)
			share = h.timeout_ms;
		e = dial(pg, &h, i, now + share);
		if (e == OK)
			break;
		pg_drop(pg);
	}
	hosts_clear(&h);
	return e;
}

static enum err
prepare_all(struct pg_trip *t)
{
	const struct pg_options *o = &t->pg->options;
	enum err e = pg_trip_prepare(t, &pg_identity);

	for (size_t i = 0; i < o->n_domains; i++)
		for (size_t j = 0; e == OK && j < o->domains[i].n; j++)
			e = pg_trip_prepare(t, &o->domains[i].queries[j]);
	return e;
}

static enum err
take_nothing(struct pg_trip *t, const char *name)
{
	PGresult *r = NULL;
	enum err e = pg_trip_take(t, name, &r);

	PQclear(r);
	return e;
}

static enum err
take_prepared(struct pg_trip *t)
{
	const struct pg_options *o = &t->pg->options;
	enum err e = take_nothing(t, pg_identity.name);

	for (size_t i = 0; i < o->n_domains; i++)
		for (size_t j = 0; e == OK && j < o->domains[i].n; j++)
			e = take_nothing(t, o->domains[i].queries[j].name);
	return e;
}

/* A finding is a refusal, as if the server had refused the statement. */
static enum err
take_privileges(struct pg_trip *t)
{
	PGresult *r = NULL;
	enum err e = pg_trip_take(t, privileges.name, &r);

	t->pg->is_role_refused = e == OK && r != NULL && PQntuples(r) > 0;
	if (t->pg->is_role_refused && t->refused == OK)
		t->refused =
		    pg_fail(t->pg, ERR_INTERNAL, "%s", PQgetvalue(r, 0, 0));
	PQclear(r);
	return e;
}

static enum err
send_settings(struct pg_trip *t)
{
	char timeout[PG_TIMEOUT_TEXT];
	const char *const params[] = {timeout};

	pg_statement_timeout(t->pg, timeout);
	return pg_trip_send_text(t, &session_settings, params);
}

/* Settings, privileges and all statements, in one pipeline. */
static enum err
set_up(struct pg *pg, uint64_t deadline_ms)
{
	struct pg_trip t = {.pg = pg, .deadline_ms = deadline_ms};
	bool is_ours = pg->options.prepare; /* else a pooler's session */
	bool is_checked = pg->options.demand_unprivileged;
	enum err e = is_ours ? send_settings(&t) : OK;

	if (e == OK && is_checked)
		e = pg_trip_send_text(&t, &privileges, NULL);
	if (e == OK)
		e = prepare_all(&t);
	if (e == OK)
		e = pg_trip_sync(&t);
	if (e == OK && is_ours)
		e = take_nothing(&t, session_settings.name);
	if (e == OK && is_checked)
		e = take_privileges(&t);
	if (e == OK)
		e = take_prepared(&t);
	if (e == OK)
		e = pg_trip_end(&t);
	return e == OK || e == ERR_UNAVAILABLE ? e : ERR_INTERNAL;
}

void
pg_statement_timeout(const struct pg *pg, char out[static PG_TIMEOUT_TEXT])
{
	snprintf(out, PG_TIMEOUT_TEXT, "%ldms",
	    pg->options.timeout_ms - pg->options.timeout_ms / 10);
}

enum err
pg_open(struct pg *pg, uint64_t deadline_ms)
{
	enum err e = dial_any(pg, deadline_ms);

	if (e == OK)
		e = set_up(pg, deadline_ms);
	if (e != OK) {
		pg_drop(pg);
		pg->retry_ms = clock_mono_ms() + RETRY_MS;
		pg->away = e;
		return e;
	}
	pg->retry_ms = 0;
	pg->is_stale = false;
	return OK;
}

void
pg_drop(struct pg *pg)
{
	PQfinish(pg->conn);
	pg->conn = NULL;
}
