/*
 * Records of CSV (RFC 4180) that are safe to open in a spreadsheet: a cell
 * that would be taken for a formula gets an apostrophe before it.
 *
 * Thread: any.
 */
#ifndef BASE_CSV_H
#define BASE_CSV_H

struct buf;

/* Appends a cell; NULL is an empty one. */
void csv_cell(struct buf *out, const char *text);

/* Ends the record, which has a cell. */
void csv_end(struct buf *out);

#endif
