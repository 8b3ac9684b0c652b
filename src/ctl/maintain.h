/*
 * What maintenance and doctor agree on: when a table or an index needs work.
 * SQL conditions over pg_stat_all_tables (s) and pg_class (c).
 */
#ifndef CTL_MAINTAIN_H
#define CTL_MAINTAIN_H

/* Natter's tables and indexes live there. */
#define MAINTAIN_OURS                                                      \
	" (SELECT oid FROM pg_namespace WHERE nspname IN ('auth', 'chat'," \
	" 'audit', 'natter')) "

/* Dead rows: a fifth of the table, and enough to matter. */
#define MAINTAIN_DEAD \
	" (s.n_dead_tup > 1000 AND s.n_dead_tup > 0.2 * s.n_live_tup) "

/* The planner's picture of a table is old. */
#define MAINTAIN_STALE                                                      \
	" (s.n_mod_since_analyze > 1000 AND (s.n_mod_since_analyze > 0.1 *" \
	" s.n_live_tup OR greatest(s.last_analyze, s.last_autoanalyze) IS"  \
	" NULL)) "

/*
 * An estimate of a B-tree index i (pg_class) that is mostly air: three times
 * the pages that its entries need when packed as a new index is, and at least
 * 1 MB. A column of varying length counts as 32 bytes.
 */
#define MAINTAIN_BLOAT                                                       \
	" (i.relkind = 'i' AND i.relpages > 128 AND i.reltuples >= 0 AND"    \
	" i.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND"      \
	" i.relpages > 3 * (2 + i.reltuples * (SELECT 12 + sum(CASE WHEN"    \
	" a.attlen > 0 THEN a.attlen ELSE 32 END) FROM pg_attribute a WHERE" \
	" a.attrelid = i.oid) / (0.9 * 8192))) "

#endif
