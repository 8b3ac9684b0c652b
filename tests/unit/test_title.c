/*
 * Titles in what models answer.
 */
#include <criterion/criterion.h>

#include "base/arena.h"
#include "chat/title.h"

Test(title, is_the_first_line_without_marks)
{
	static const struct {
		const char *text, *title;
	} rows[] = {
	    {"Invoice for May", "Invoice for May"},
	    {"  Invoice for May \n", "Invoice for May"},
	    {"\"Invoice for May\"", "Invoice for May"},
	    {"\"Invoice for May.\"", "Invoice for May"},
	    {"\xe2\x80\x9eRechnung f\xc3\xbcr Mai\xe2\x80\x9c",
		"Rechnung f\xc3\xbcr Mai"},
	    {"\xc2\xab"
	     "Facture\xc2\xbb",
		"Facture"},
	    {"**Invoice**", "Invoice"},
	    {"# Invoice", "Invoice"},
	    {"Title: Invoice", "Invoice"},
	    {"**Title:** \"Invoice\"", "Invoice"},
	    {"Invoice\n\nThis title says it all.", "Invoice"},
	    {"\r\n\r\nInvoice\r\nmore", "Invoice"},
	    {"A  title\twith   gaps", "A title with gaps"},
	    {"Who's there?", "Who's there?"},
	    {"C++ or C#?", "C++ or C#?"},
	    {"", ""},
	    {" \n ", ""},
	    {"\"\"", ""},
	    {"...", ""},
	};
	struct arena *a = arena_new(65536);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_str_eq(title_clean(a, rows[i].text), rows[i].title,
		    "\"%s\": \"%s\"", rows[i].text,
		    title_clean(a, rows[i].text));
	arena_free(a);
}

Test(title, is_no_longer_than_one_that_is_cut)
{
	struct arena *a = arena_new(65536);
	char text[500];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_expect_eq(strlen(title_clean(a, text)), 60u);
	arena_free(a);
}
