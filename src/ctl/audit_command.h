/*
 * What other commands take from natterctl audit: retention chains the log as
 * its first and last step.
 *
 * Thread: there is one.
 */
#ifndef CTL_AUDIT_COMMAND_H
#define CTL_AUDIT_COMMAND_H

#include <stdint.h>

#include "ctl/audit_chain.h"
#include "ctl/ctl.h"

/* Where the chain ends. */
struct audit_head {
	int64_t added; /* links that were new */
	int64_t seq;   /* the last link's place; 0: there is none */
	char hash[CHAIN_HEX];
};

/*
 * Chains all rows that wait for it, 1000 to a transaction, each of its own; to
 * be called outside of one, on a connection of ctl_connect_jobs. A refusal is
 * printed.
 */
enum ctl_exit
audit_chain_all(PGconn *conn, struct audit_head *out_head) MUST_CHECK;

#endif
