/*
 * What is masked, what only looks like it, and that nothing is lost: a table of
 * what people write, then every way to cut it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "model/mask.h"

/* `want` is the masked text; NULL: nothing in it is masked. */
static const struct row {
	const char *text;
	const char *want;
} rows[] = {
    /* E-mail addresses. */
    {"anna@example.com", "[EMAIL_1]"},
    {"Mail anna@example.com.", "Mail [EMAIL_1]."},
    {"<anna@example.com>", "<[EMAIL_1]>"},
    {"mailto:anna@example.com?subject=x", "mailto:[EMAIL_1]?subject=x"},
    {"anna.maria+shop@mail.example.co.uk", "[EMAIL_1]"},
    {"o'brien@example.ie", "[EMAIL_1]"},
    {"'anna@example.com'", "'[EMAIL_1]'"},
    {"*anna@example.com*", "*[EMAIL_1]*"},
    {"_anna_b@example.com_", "_[EMAIL_1]_"},
    {"email=anna@example.com&x=1", "email=[EMAIL_1]&x=1"},
    {"a@b.de", "[EMAIL_1]"},
    {"A@B.DE", "[EMAIL_1]"},
    {"10086@qq.com", "[EMAIL_1]"},
    {"x@163.com", "[EMAIL_1]"},
    {"jörg@müller.de", "[EMAIL_1]"},
    {"иван@почта.рф", "[EMAIL_1]"},
    {"x@xn--bcher-kva.xn--p1ai", "[EMAIL_1]"},
    {"请联系anna@example.com谢谢", "请联系[EMAIL_1]谢谢"},
    {"anna@example.com,bob@example.com", "[EMAIL_1],[EMAIL_2]"},
    {"anna@example.com anna@example.com", "[EMAIL_1] [EMAIL_1]"},
    {"anna@example.com Anna@example.com", "[EMAIL_1] [EMAIL_2]"},
    {"anna@a.de-b", "[EMAIL_1]-b"},
    {"anna@a.de.", "[EMAIL_1]."},
    {"anna@a.de.2024", "[EMAIL_1].2024"},
    {"{\"m\":\"anna@a.de\"}", "{\"m\":\"[EMAIL_1]\"}"},
    {"anna@a.de\n", "[EMAIL_1]\n"},
    {"\nanna@a.de", "\n[EMAIL_1]"},
    {"-anna@a.de", "-[EMAIL_1]"},
    {"first.last@sub-domain.example.museum", "[EMAIL_1]"},
    {"https://user:pw@host.example.com/", "https://user:[EMAIL_1]/"},

    /* International phone numbers. */
    {"+49 30 1234567", "[PHONE_1]"},
    {"+493012345678", "[PHONE_1]"},
    {"+49 (0)30 / 123 45 67", "[PHONE_1]"},
    {"+49 (0) 171 1234567", "[PHONE_1]"},
    {"+49-171-1234567", "[PHONE_1]"},
    {"+49.1711234567", "[PHONE_1]"},
    {"+49\xc2\xa0"
     "30\xc2\xa0"
     "1234567",
	"[PHONE_1]"},
    {"+44 20 7946 0958", "[PHONE_1]"},
    {"+44 (0)20 7946 0958", "[PHONE_1]"},
    {"+1 415 555 2671", "[PHONE_1]"},
    {"+1 (415) 555-2671", "[PHONE_1]"},
    {"+1-415-555-2671", "[PHONE_1]"},
    {"+14155552671", "[PHONE_1]"},
    {"+7 495 123-45-67", "[PHONE_1]"},
    {"+33 6 12 34 56 78", "[PHONE_1]"},
    {"+39 06 6982 1234", "[PHONE_1]"},
    {"+45 12 34 56 78", "[PHONE_1]"},
    {"+86 138 0013 8000", "[PHONE_1]"},
    {"+91 98765 43210", "[PHONE_1]"},
    {"+55 11 91234-5678", "[PHONE_1]"},
    {"+81-3-1234-5678", "[PHONE_1]"},
    {"+61 2 9374 4000", "[PHONE_1]"},
    {"(+49) 30 1234567", "([PHONE_1]"},
    {"tel:+493012345678", "tel:[PHONE_1]"},
    {"Ring +49 30 1234567!", "Ring [PHONE_1]!"},
    {"+49 30 1234567, +49 30 7654321", "[PHONE_1], [PHONE_2]"},
    {"+49 30 1234567 or +49 30 1234567", "[PHONE_1] or [PHONE_1]"},
    {"0049 30 1234567", "[PHONE_1]"},
    {"00493012345678", "[PHONE_1]"},
    {"0044 20 7946 0958", "[PHONE_1]"},
    {"001 415 555 2671", "[PHONE_1]"},
    {"order +49 30 1234567", "order [PHONE_1]"},

    /* National ones, as people write them. */
    {"030 1234567", "[PHONE_1]"},
    {"0171/1234567", "[PHONE_1]"},
    {"0171-1234567", "[PHONE_1]"},
    {"(030) 123 45 67", "[PHONE_1]"},
    {"(020) 7946 0958", "[PHONE_1]"},
    {"07700 900123", "[PHONE_1]"},
    {"06 12 34 56 78", "[PHONE_1]"},
    {"06.12.34.56.78", "[PHONE_1]"},
    {"(415) 555-2671", "[PHONE_1]"},
    {"415-555-2671", "[PHONE_1]"},
    {"415.555.2671", "[PHONE_1]"},
    {"1-415-555-2671", "[PHONE_1]"},
    {"at 10:30 call 030 1234567", "at 10:30 call [PHONE_1]"},
    {"phone number 030 1234567", "phone number [PHONE_1]"},
    {"01.02.2026 0171 1234567", "01.02.2026 [PHONE_1]"},

    /* Payment cards: numbers that their issuers print in manuals. */
    {"4111111111111111", "[CARD_1]"},
    {"4111 1111 1111 1111", "[CARD_1]"},
    {"4111-1111-1111-1111", "[CARD_1]"},
    {"5555 5555 5555 4444", "[CARD_1]"},
    {"2223003122003222", "[CARD_1]"},
    {"3782 822463 10005", "[CARD_1]"},
    {"371449635398431", "[CARD_1]"},
    {"3056 9309 0259 04", "[CARD_1]"},
    {"6011 1111 1111 1117", "[CARD_1]"},
    {"3530 1113 3330 0000", "[CARD_1]"},
    {"6200 0000 0000 0005", "[CARD_1]"},
    {"Visa-4111111111111111", "Visa-[CARD_1]"},
    {"card:4111111111111111.", "card:[CARD_1]."},
    {"4111 1111 1111 1111 12/28", "[CARD_1] 12/28"},
    {"order 4111111111111111", "order [CARD_1]"},

    /* All together, and placeholders that are the user's own. */
    {"a@b.de, +49 30 1234567, 4111111111111111",
	"[EMAIL_1], [PHONE_1], [CARD_1]"},
    {"030 1234567 a@b.de", "[PHONE_1] [EMAIL_1]"},
    {"[EMAIL_1]", "[TEXT_1]"},
    {"a@b.de is not [EMAIL_1]", "[EMAIL_1] is not [TEXT_1]"},
    {"[TEXT_1] [TEXT_2] [TEXT_1]", "[TEXT_1] [TEXT_2] [TEXT_1]"},
    {"[[PHONE_3]]", "[[TEXT_1]]"},
    {"[EMAIL_a@b.de]", "[[EMAIL_1]]"},

    /* What only looks like it. */
    {"", NULL},
    {"order 12345", NULL},
    {"Where is my order 100012345?", NULL},
    {"Order #0815-4711-22", NULL},
    {"order no. 0815-4711-22", NULL},
    {"Bestellnummer 0815 4711 22", NULL},
    {"invoice 2026-00012345", NULL},
    {"0000012345", NULL},
    {"000000123456789", NULL},
    {"01711234567", NULL},
    {"2026-01-15", NULL},
    {"15.01.2026", NULL},
    {"01/02/2026", NULL},
    {"01-02-2026 10:30", NULL},
    {"05.06.2026 07.08.2026", NULL},
    {"2026-01-15T10:30:00+01:00", NULL},
    {"2026-01-15T10:30:00.123456789Z", NULL},
    {"20260115103000", NULL},
    {"1700000000000", NULL},
    {"1700000000000000", NULL},
    {"10:30-11:45", NULL},
    {"09:00 - 17:00", NULL},
    {"GMT+1", NULL},
    {"1990-2020", NULL},
    {"version 1.2.3.4", NULL},
    {"v10.20.30.4567", NULL},
    {"192.168.100.200", NULL},
    {"010.020.030.040", NULL},
    {"10.0.0.1:8080", NULL},
    {"2001:0db8:85a3:0000:0000:8a2e:0370:7334", NULL},
    {"550e8400-e29b-41d4-a716-446655440000", NULL},
    {"$1,234,567.89", NULL},
    {"1 234 567,89 EUR", NULL},
    {"+100 000", NULL},
    {"+1,234,567.89", NULL},
    {"+30 000 000", NULL},
    {"+12.5 %", NULL},
    {"+52.520008, +13.404954", NULL},
    {"3+49301234567", NULL},
    {"1e+4930123456", NULL},
    {"x+=49", NULL},
    {"C++17 and C++20", NULL},
    {"3.14159265358979", NULL},
    {"0.4111111111111111", NULL},
    {"4111111111111112", NULL},
    {"1234567812345670", NULL},
    {"a4111111111111111", NULL},
    {"41111111111111111111", NULL},
    {"4006381333931", NULL},
    {"352099001761481", NULL},
    {"978-3-16-148410-0", NULL},
    {"ISBN 0-306-40615-2", NULL},
    {"0378-5955", NULL},
    {"DE89 3704 0044 0532 0130 00", NULL},
    {"1Z999AA10123456784", NULL},
    {"10115 Berlin", NULL},
    {"90210-1234", NULL},
    {"123-45-6789", NULL},
    {"123-456-7890", NULL},
    {"1024x768 1920x1080", NULL},
    {"#123456", NULL},
    {"deadbeef0123456789abcdef", NULL},
    {"@anna", NULL},
    {"anna@", NULL},
    {"anna@host", NULL},
    {"root@localhost", NULL},
    {"lodash@4.17.21", NULL},
    {"pkg@1.0.0-beta.2", NULL},
    {"pkg@1.0.0.beta", NULL},
    {"icon@2x.png", NULL},
    {"a@b.c", NULL},
    {"a@b.1", NULL},
    {"foo@@bar.com", NULL},
    {"@media (max-width: 600px)", NULL},
    {"5 @ 3.50", NULL},
    {"[EMAIL_]", NULL},
    {"[EMAIL_0]", NULL},
    {"[EMAIL_01]", NULL},
    {"[email_1]", NULL},
    {"[EMAIL_1", NULL},
    {"[1] and [2]", NULL},
    {"[NAME_1]", NULL},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void
expect_bytes(const struct buf *b, const char *p, size_t n, const char *what)
{
	cr_expect(!b->failed && b->n == n && (n == 0 || !memcmp(b->p, p, n)),
	    "%s: \"%.*s\", not \"%.*s\"", what, (int)b->n, b->n > 0 ? b->p : "",
	    (int)n, p);
}

Test(mask, masks_what_is_somebodys_and_nothing_else)
{
	size_t likes = 0;

	for (size_t i = 0; i < ROWS; i++) {
		const char *text = rows[i].text;
		const char *want = rows[i].want ? rows[i].want : text;
		struct mask *m = mask_new();
		struct buf out = {0};

		likes += rows[i].want == NULL;
		mask_add(m, text, strlen(text), &out);
		expect_bytes(&out, want, strlen(want), text);
		cr_expect_eq(mask_is_used(m), rows[i].want != NULL, "%s", text);
		buf_free(&out);
		mask_free(m);
	}
	cr_assert_geq(ROWS, 100u);
	cr_assert_geq(likes, 50u);
}

/* Unmasks in pieces of `size` bytes, the first of them shorter by `first`. */
static void
unmask(const struct mask *m, const struct buf *masked, size_t first,
    size_t size, struct buf *out)
{
	struct unmask u = {.mask = m};
	size_t n = first > 0 ? first : size;

	for (size_t at = 0; at < masked->n; at += n, n = size) {
		if (n > masked->n - at)
			n = masked->n - at;
		unmask_add(&u, masked->p + at, n, out);
	}
	unmask_end(&u, out);
}

/* Every text after every other's table, so that numbers are not all 1. */
Test(mask, gives_back_what_was_masked_under_every_split)
{
	struct mask *m = mask_new();

	for (size_t i = 0; i < ROWS; i++) {
		const char *text = rows[i].text;
		struct buf masked = {0};

		mask_add(m, text, strlen(text), &masked);
		for (size_t first = 0; first <= masked.n; first++) {
			for (size_t size = 1; size <= 8; size++) {
				struct buf out = {0};

				unmask(m, &masked, first, size, &out);
				expect_bytes(&out, text, strlen(text), "again");
				buf_free(&out);
			}
			/* Two pieces alone. */
			struct buf out = {0};

			unmask(m, &masked, first, masked.n + 1, &out);
			expect_bytes(&out, text, strlen(text), "in two");
			buf_free(&out);
		}
		buf_free(&masked);
	}
	mask_free(m);
}

Test(mask, whatever_the_pieces_nothing_whole_waits)
{
	struct mask *m = mask_new();
	struct unmask u = {.mask = m};
	struct buf out = {0};

	mask_add(m, "a@b.de", 6, &out);
	buf_clear(&out);
	unmask_add(&u, "Hi [EMAIL_1], [", 15, &out);
	expect_bytes(&out, "Hi a@b.de, ", 11, "but the bracket");
	unmask_add(&u, "1] [EMAIL_2] [EMA", 17, &out);
	expect_bytes(&out, "Hi a@b.de, [1] [EMAIL_2] ", 25, "not known");
	unmask_end(&u, &out);
	expect_bytes(&out, "Hi a@b.de, [1] [EMAIL_2] [EMA", 29, "the end");
	buf_free(&out);
	mask_free(m);
}

Test(mask, without_a_table_everything_passes)
{
	struct unmask u = {0};
	struct buf out = {0};

	unmask_add(&u, "[EMAIL_1] [", 11, &out);
	unmask_end(&u, &out);
	expect_bytes(&out, "[EMAIL_1] [", 11, "as it is");
	buf_free(&out);
}

Test(mask, a_value_has_one_placeholder_in_all_texts_of_a_turn)
{
	struct mask *m = mask_new();
	struct buf out = {0};

	mask_add(m, "q@r.st a@b.de", 13, &out);
	mask_add(m, " a@b.de 030 1234567", 19, &out);
	expect_bytes(&out, "[EMAIL_1] [EMAIL_2] [EMAIL_2] [PHONE_1]", 39, "");
	buf_free(&out);
	mask_free(m);
}

Test(mask, many_values_are_found_again)
{
	struct mask *m = mask_new();
	struct buf text = {0}, masked = {0}, out = {0};

	for (int i = 0; i < 20000; i++)
		buf_printf(&text, "u%d@example.com ", i % 15000);
	mask_add(m, text.p, text.n, &masked);
	cr_expect_not_null(strstr(buf_text(&masked), "[EMAIL_15000]"));
	cr_expect_null(strstr(buf_text(&masked), "[EMAIL_15001]"));
	cr_expect_null(memchr(masked.p, '@', masked.n));
	unmask(m, &masked, 0, 7, &out);
	expect_bytes(&out, text.p, text.n, "20,000");
	buf_free(&text);
	buf_free(&masked);
	buf_free(&out);
	mask_free(m);
}

Test(mask, documents_are_masked_string_by_string)
{
	static const struct row documents[] = {
	    {"{\"a@b.de\":\"a@b.de\"}", "{\"a@b.de\":\"[EMAIL_1]\"}"},
	    {"{\"c\":\"x\\n030 1234567\"}", "{\"c\":\"x\\n[PHONE_1]\"}"},
	    {"[\"\\u0061@b.de\", 1]", "[\"[EMAIL_1]\", 1]"},
	    {"[\"\\\"a@b.de\\\"\"]", "[\"\\\"[EMAIL_1]\\\"\"]"},
	    {"[\"caf\\u00e9\\n\"]", "[\"caf\\u00e9\\n\"]"},
	    {"[4111111111111111]", "[4111111111111111]"},
	    {"[\"[4111111111111111, 5]\"]", "[\"[\\\"[CARD_1]\\\", 5]\"]"},
	    {"[\"{\\\"4111111111111111\\\":-4111111111111111}\"]",
		"[\"{\\\"4111111111111111\\\":\\\"-[CARD_1]\\\"}\"]"},
	    {"[\"{\\\"a\\\":[true,1700000000000]}\"]",
		"[\"{\\\"a\\\":[true,1700000000000]}\"]"},
	    {"[\"[4111111111111111\"]", "[\"[[CARD_1]\"]"},
	    {"[\"data: a@b.de\"]", "[\"data: [EMAIL_1]\"]"},
	    {"[\"data:x;base64,AA== a@b.de\"]",
		"[\"data:x;base64,AA== [EMAIL_1]\"]"},
	    {"{\"u\":\"data:image\\/png;base64,\\/+49301234567==\"}",
		"{\"u\":\"data:image\\/png;base64,\\/+49301234567==\"}"},
	    {"{\"u\":\"data:x;base64,+49301234567\"}",
		"{\"u\":\"data:x;base64,+49301234567\"}"},
	    {"{\"a\" : \"030 1234567\"", "{\"a\" : \"[PHONE_1]\""},
	    {"no JSON a@b.de", "no JSON [EMAIL_1]"},
	};

	for (size_t i = 0; i < sizeof(documents) / sizeof(*documents); i++) {
		const struct row *r = &documents[i];
		struct mask *m = mask_new();
		struct buf out = {0};

		mask_add_json(m, r->text, strlen(r->text), &out);
		expect_bytes(&out, r->want, strlen(r->want), r->text);
		buf_free(&out);
		mask_free(m);
	}
}

/* A sound's bytes may look like anything. */
Test(mask, long_base64_is_no_text)
{
	struct mask *m = mask_new();
	struct buf json = {0}, out = {0};

	buf_puts(&json, "{\"data\":\"");
	while (json.n < 1100)
		buf_puts(&json, "x+49301234567/");
	buf_puts(&json, "\",\"name\":\"+49301234567\"}");
	mask_add_json(m, json.p, json.n, &out);
	cr_expect_not_null(strstr(buf_text(&out), "x+49301234567/x"));
	cr_expect_not_null(strstr(buf_text(&out), "\"name\":\"[PHONE_1]\"}"));
	buf_free(&json);
	buf_free(&out);
	mask_free(m);
}

/* Its escapes are letters, too. */
Test(mask, a_long_column_of_numbers_is_text)
{
	struct mask *m = mask_new();
	struct buf json = {0}, out = {0};

	buf_puts(&json, "[\"");
	while (json.n < 1100)
		buf_puts(&json, "4111111111111111\\n");
	buf_puts(&json, "\"]");
	mask_add_json(m, json.p, json.n, &out);
	cr_expect_null(strstr(buf_text(&out), "4111111111111111"));
	cr_expect_not_null(strstr(buf_text(&out), "[CARD_1]\\n[CARD_1]"));
	buf_free(&json);
	buf_free(&out);
	mask_free(m);
}

Test(mask, members_are_masked_without_their_braces)
{
	struct mask *m = mask_new();
	struct buf out = {0};

	buf_puts(&out, "{");
	mask_add_members(m, "\"a\":\"a@b.de\",\"b\":1", 18, &out);
	cr_expect_str_eq(buf_text(&out), "{\"a\":\"[EMAIL_1]\",\"b\":1");
	buf_free(&out);
	mask_free(m);
}

/* As what tools were told and answered goes to a model, and comes back. */
Test(mask, a_rounds_messages_are_masked_in_their_place)
{
	static const char plain[] =
	    "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":"
	    "\"mail\",\"arguments\":\"{\\\"to\\\":\\\"a@b.de\\\"}\"}}]},"
	    "{\"role\":\"tool\",\"content\":\"sent to a@b.de\"}";
	struct mask *m = mask_new();
	struct buf list = {0};

	buf_puts(&list, plain);
	mask_whole_json(m, &list);
	cr_expect_str_eq(buf_text(&list),
	    "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":"
	    "\"mail\",\"arguments\":\"{\\\"to\\\":\\\"[EMAIL_1]\\\"}\"}}]},"
	    "{\"role\":\"tool\",\"content\":\"sent to [EMAIL_1]\"}");
	unmask_whole(m, &list);
	cr_expect_str_eq(buf_text(&list), plain);
	buf_clear(&list);
	mask_whole_json(m, &list);
	cr_expect_eq(list.n, 0u, "none is none");
	buf_free(&list);
	mask_free(m);
}
