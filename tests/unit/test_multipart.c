/*
 * Forms as browsers and other clients write them, and bodies that are none.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "http/multipart.h"

#define FORM "multipart/form-data; boundary=edge"

/* All parts as "name/filename/type=what|"; "!" at the end of a broken body. */
static const char *
walk(const char *type, const char *body)
{
	static struct multipart_part part;
	static char out[2048];
	struct multipart m;
	size_t n = 0;

	if (!multipart_init(&m, type, body, strlen(body)))
		return "no form";
	out[0] = '\0';
	while (multipart_next(&m, &part))
		n += (size_t)snprintf(out + n, sizeof(out) - n,
		    "%s/%s/%s=%.*s|", part.name, part.filename, part.type,
		    (int)part.n, part.p);
	(void)snprintf(out + n, sizeof(out) - n, "%s", m.has_failed ? "!" : "");
	return out;
}

/* A body of one part with these headers. */
static const char *
walk_one(const char *headers)
{
	static char body[4096];

	(void)snprintf(
	    body, sizeof(body), "--edge\r\n%s\r\n\r\nx\r\n--edge--", headers);
	return walk(FORM, body);
}

Test(multipart, reads_what_a_form_holds)
{
	cr_expect_str_eq(
	    walk(FORM,
		"--edge\r\nContent-Disposition: form-data; name=\"a\"\r\n"
		"\r\none\r\ntwo\r\n--edge\r\n"
		"content-disposition:form-data;name=b;filename=c.txt\r\n"
		"CONTENT-TYPE:  text/plain; charset=utf-8\r\n\r\n"
		"\r\n--edge--\r\nwhatever"),
	    "a//=one\r\ntwo|b/c.txt/text/plain; charset=utf-8=|");
	cr_expect_str_eq(
	    walk("Multipart/Form-Data; charset=x; boundary=\"ed ge\"",
		"--ed ge\r\n\r\nx\r\n--ed ge--"),
	    "//=x|");
}

Test(multipart, takes_names_as_they_are_meant)
{
	static const struct {
		const char *header, *want;
	} rows[] = {
	    {"form-data; name=\"file\"; filename=\"a; name=b.txt\"",
		"file/a; name=b.txt/=x|"},
	    {"form-data; filename=\"x; name=evil; y\"; name=\"file\"",
		"file/x; name=evil; y/=x|"},
	    {"form-data; name=\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d//=x|"},
	    {"form-data; name=\"%22\"; filename*=UTF-8''no", "%22//=x|"},
	    {"form-data; rename=\"no\"; name=\"yes\"", "yes//=x|"},
	    {"form-data; name=\"never closed; filename=y",
		"never closed; filename=y//=x|"},
	    {"form-data; name; name=\"b\"", "b//=x|"},
	    {"form-data", "//=x|"},
	    {"form-data; name=", "//=x|"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char header[256];
		(void)snprintf(header, sizeof(header),
		    "Content-Disposition: %s", rows[i].header);
		cr_expect_str_eq(walk_one(header), rows[i].want, "%s: %s",
		    rows[i].header, walk_one(header));
	}
	char longer[1024] = "Content-Disposition: form-data; filename=f; name=";
	memset(longer + strlen(longer), 'n', 600);
	const char *got = walk_one(longer);
	cr_expect_eq(strspn(got, "n"), MULTIPART_NAME_MAX - 1);
	cr_expect_str_eq(got + MULTIPART_NAME_MAX - 1, "/f/=x|");
}

Test(multipart, says_where_a_body_is_broken)
{
	static const char *const rows[] = {"", "--edge", "--edge\r\n",
	    "--edge\r\n\r\nx", "--edge\r\n\r\nx\r\n--edg", "--other\r\n\r\nx",
	    "--edge\r\nname: x\r\n", "preamble\r\n--edge--", "--edgex\r\n"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_str_eq(walk(FORM, rows[i]), "!", "%s", rows[i]);
	cr_expect_str_eq(
	    walk(FORM, "--edge\r\n\r\nx\r\n--edge\r\n\r\ny"), "//=x|!");
	cr_expect_str_eq(walk(FORM, "--edge--"), "");
}

Test(multipart, is_no_form_without_a_boundary)
{
	static const char *const rows[] = {"", "text/plain",
	    "multipart/form-data", "multipart/form-data; boundary=",
	    "multipart/form-data; boundary=\"\"",
	    "multipart/mixed; boundary=edge",
	    "multipart/form-data; x=\"; boundary=edge\"",
	    "multipart/form-data; boundary="
	    "0123456789012345678901234567890123456789"
	    "01234567890123456789012345678901"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_str_eq(
		    walk(rows[i], "--edge--"), "no form", "%s", rows[i]);
}
