/*
 * Cells of CSV: quoted where they must be, and never a formula.
 */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/csv.h"

Test(csv, quotes_what_it_must_and_disarms_formulas)
{
	static const struct {
		const char *text;
		const char *cell;
	} rows[] = {
	    {"", ""},
	    {NULL, ""},
	    {"plain", "plain"},
	    {"a b", "a b"},
	    {"a,b", "\"a,b\""},
	    {"say \"hi\"", "\"say \"\"hi\"\"\""},
	    {"\"", "\"\"\"\""},
	    {"a\nb", "\"a\nb\""},
	    {"a\rb", "\"a\rb\""},
	    {"=1+1", "'=1+1"},
	    {"+1", "'+1"},
	    {"-1", "'-1"},
	    {"@SUM(A1)", "'@SUM(A1)"},
	    {"\t=1", "'\t=1"},
	    {"\r=1", "\"'\r=1\""},
	    {"=1,\"x\"", "\"'=1,\"\"x\"\"\""},
	    {"1=1", "1=1"},
	    {"0.5", "0.5"},
	    {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf got = {0}, want = {0};
		csv_cell(&got, rows[i].text);
		csv_end(&got);
		buf_printf(&want, "%s\r\n", rows[i].cell);
		cr_expect_str_eq(buf_text(&got), buf_text(&want), "%s",
		    rows[i].text ? rows[i].text : "NULL");
		buf_free(&got);
		buf_free(&want);
	}
}

Test(csv, empty_cells_keep_their_places)
{
	struct buf got = {0};
	csv_cell(&got, NULL);
	csv_cell(&got, "b");
	csv_cell(&got, "");
	csv_end(&got);
	csv_cell(&got, "c");
	csv_end(&got);
	cr_expect_str_eq(buf_text(&got), ",b,\r\nc\r\n");
	buf_free(&got);
}

/* A buffer that is full says so, and nothing is written before its bytes. */
Test(csv, a_full_buffer_fails)
{
	struct buf got = {.cap = 4};
	csv_cell(&got, "longer than that");
	csv_end(&got);
	cr_expect(got.failed);
	buf_free(&got);
}
