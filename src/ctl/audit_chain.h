/*
 * The chain over the audit log, computed here from the rows themselves and
 * without Postgres's help: whoever can change rows can change its functions.
 *
 * Thread: any.
 */
#ifndef CTL_AUDIT_CHAIN_H
#define CTL_AUDIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>

#define CHAIN_HASH  32
#define CHAIN_HEX   (2 * CHAIN_HASH + 1)
#define CHAIN_PARTS 12 /* of a row: the columns of audit.log in their order */

/*
 * The hash of a link: SHA-256 of the link before (zeros before the first) and
 * of the row, whose parts (NULL: SQL's NULL) are each written as their length,
 * a colon and the text, or ~, with commas between. The same as audit.canonical
 * and audit.chain_extend of migration 010.
 */
void chain_link(const unsigned char before[static CHAIN_HASH],
    const char *const parts[static CHAIN_PARTS],
    unsigned char out_hash[static CHAIN_HASH]);

/* The 64 hexadecimal digits as bytes; false when they are not. */
bool
chain_hash_read(const char *hex, unsigned char out_hash[static CHAIN_HASH]);

#endif
