/*
 * natterctl audit verify: walks the chain from its first link and computes
 * every hash anew. One snapshot for all questions, one row in memory at a time.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/audit_chain.h"
#include "ctl/ctl.h"
#include "store/pg.h"

/* seq, log_id, hash, then the row's parts; the first of those is its id. */
static const char links_sql[] =
    "SELECT c.seq, c.log_id, encode(c.hash, 'hex'), l.id,"
    " (extract(epoch FROM l.at) * 1000000)::bigint, l.action, l.actor_kind,"
    " l.actor_id, l.operator, l.user_id, l.object_kind, l.object_id,"
    " l.request_id, l.ip::text, l.details"
    " FROM audit.chain c LEFT JOIN audit.log l ON l.id = c.log_id"
    " ORDER BY c.seq";

#define FIRST_PART 3

static const char strangers_sql[] =
    "SELECT l.id FROM audit.log l"
    " WHERE NOT EXISTS (SELECT FROM audit.chain c WHERE c.log_id = l.id)"
    " AND NOT EXISTS (SELECT FROM audit.unchained q WHERE q.log_id = l.id)"
    " ORDER BY l.id LIMIT 1";

static const char lost_sql[] =
    "SELECT q.log_id FROM audit.unchained q"
    " WHERE NOT EXISTS (SELECT FROM audit.log l WHERE l.id = q.log_id)"
    " ORDER BY q.log_id LIMIT 1";

struct walk {
	int64_t links;                    /* seen and right */
	unsigned char before[CHAIN_HASH]; /* the last link, as it is stored */
	const char *kept;                 /* --head; NULL: none */
	bool has_kept;                    /* it was come across */
	char head[CHAIN_HEX];

	/* A link that does not fit its row: the next one tells which of the
	 * two was changed. */
	bool is_doubtful;
	unsigned char should[CHAIN_HASH];
	char doubted[40];
};

static enum ctl_exit
broken(int64_t link, const char *id, const char *what)
{
	return ctl_refuse(
	    CTL_FAILED, "link %" PRId64 ", row %s: %s", link, id, what);
}

/* Was it the row or the link? `parts` are those of the next row. */
static enum ctl_exit
settle(const struct walk *w, const char *const *parts,
    const unsigned char stored[static CHAIN_HASH])
{
	unsigned char hash[CHAIN_HASH];

	chain_link(w->should, parts, hash);
	return broken(w->links + 1, w->doubted,
	    memcmp(hash, stored, CHAIN_HASH) == 0
		? "the link in audit.chain was changed"
		: "the row in audit.log was changed");
}

static enum ctl_exit
take_link(struct walk *w, const PGresult *r)
{
	const char *parts[CHAIN_PARTS], *id = pg_text(r, 0, 1);
	const char *hex = pg_text(r, 0, 2);
	unsigned char hash[CHAIN_HASH], stored[CHAIN_HASH];
	int64_t due = w->links + 1 + w->is_doubtful;

	for (int i = 0; i < CHAIN_PARTS; i++)
		parts[i] = pg_text(r, 0, FIRST_PART + i);
	if (pg_number(r, 0, 0) != due)
		return ctl_refuse(CTL_FAILED,
		    "link %" PRId64 " is missing from audit.chain", due);
	if (!chain_hash_read(hex, stored))
		return broken(due, id, "the link is no hash");
	if (parts[0] == NULL)
		return broken(due, id, "the row is missing from audit.log");
	if (w->is_doubtful)
		return settle(w, parts, stored);
	chain_link(w->before, parts, hash);
	memcpy(w->before, stored, CHAIN_HASH);
	if (memcmp(hash, stored, CHAIN_HASH) != 0) {
		w->is_doubtful = true;
		memcpy(w->should, hash, CHAIN_HASH);
		snprintf(w->doubted, sizeof(w->doubted), "%s", id);
		return CTL_OK;
	}
	w->links = due;
	snprintf(w->head, sizeof(w->head), "%s", hex);
	w->has_kept |= w->kept != NULL && strcmp(w->kept, hex) == 0;
	return CTL_OK;
}

static enum ctl_exit
failed(PGconn *conn, const PGresult *r)
{
	return ctl_refuse(
	    CTL_FAILED, "cannot read the log: %s", ctl_pg_message(conn, r));
}

static enum ctl_exit
walk_links(PGconn *conn, struct walk *w)
{
	enum ctl_exit code = CTL_OK;
	PGresult *r;

	if (!PQsendQuery(conn, links_sql) || !PQsetSingleRowMode(conn))
		return failed(conn, NULL);
	while (code == CTL_OK && (r = PQgetResult(conn)) != NULL) {
		if (PQresultStatus(r) == PGRES_SINGLE_TUPLE)
			code = take_link(w, r);
		else if (!ctl_is_ok(r))
			code = failed(conn, r);
		PQclear(r);
	}
	if (code == CTL_OK && w->is_doubtful)
		code = broken(w->links + 1, w->doubted,
		    "the row or its link was changed");
	return code;
}

/* Refuses when a query for what must not be gives a row. */
static enum ctl_exit
expect_none(PGconn *conn, const char *sql, const char *what)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn, sql);

	if (!ctl_is_ok(r))
		return failed(conn, r);
	if (PQntuples(r) > 0)
		return ctl_refuse(
		    CTL_FAILED, "row %s %s", pg_text(r, 0, 0), what);
	return CTL_OK;
}

static enum ctl_exit
report(PGconn *conn, const struct walk *w)
{
	AUTO_PGRESULT PGresult *r =
	    PQexec(conn, "SELECT count(*) FROM audit.unchained");

	if (!ctl_is_ok(r))
		return failed(conn, r);
	if (w->kept != NULL && !w->has_kept)
		return ctl_refuse(CTL_FAILED,
		    "the kept head is in no link: the chain was cut off or "
		    "written anew since");
	printf("%" PRId64 " rows are as they were chained, %s wait for it.\n",
	    w->links, pg_text(r, 0, 0));
	printf("head %s\n", w->links > 0 ? w->head : "none");
	return CTL_OK;
}

static enum ctl_exit
verify(PGconn *conn, struct walk *w)
{
	AUTO_PGRESULT PGresult *r =
	    PQexec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	enum ctl_exit code = ctl_is_ok(r) ? CTL_OK : failed(conn, r);

	if (code == CTL_OK)
		code = walk_links(conn, w);
	if (code == CTL_OK)
		code = expect_none(conn, strangers_sql,
		    "is in audit.log and never came to the chain: it was put "
		    "there by hand");
	if (code == CTL_OK)
		code = expect_none(conn, lost_sql,
		    "waits for the chain and is missing from audit.log");
	return code == CTL_OK ? report(conn, w) : code;
}

enum ctl_exit
ctl_audit_verify(const struct command *self, int argc, char **argv)
{
	struct walk w = {0};
	unsigned char kept[CHAIN_HASH];
	PGconn *conn = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {{"head", OPTION_TEXT, &w.kept}, {0}};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (w.kept != NULL && !chain_hash_read(w.kept, kept))
		return ctl_refuse(CTL_USAGE,
		    "--head takes the 64 digits that audit verify prints");
	code = ctl_connect_jobs(&conn);
	if (code == CTL_OK)
		code = verify(conn, &w);
	PQfinish(conn);
	return code;
}
