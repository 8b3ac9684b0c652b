/*
 * What an import makes of one record: times and hashes in the forms that other
 * systems write, and which records cannot be used.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/password.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "ctl/import_record.h"

/* "correct horse" with the salt "a1b2c3", 100,000 iterations (Python). */
#define HEX                                \
	"acf422658d8666074a2499b935b38bdd" \
	"ea2a8c17fb19c03daeaf3955efd941dc"
#define DJANGO                        \
	"pbkdf2_sha256$100000$a1b2c3" \
	"$rPQiZY2GZgdKJJm5NbOL3eoqjBf7GcA9rq85Ve/ZQdw="

static struct arena *arena;

static void
begin(void)
{
	arena = arena_new((size_t)1 << 20);
}

static void
end(void)
{
	arena_free(arena);
}

TestSuite(import_record, .init = begin, .fini = end);

Test(import_record, reads_times_as_others_write_them)
{
	static const struct {
		const char *json;
		int64_t us;
	} rows[] = {
	    {"\"2024-01-02T03:04:05\"", 1704164645000000},
	    {"\"2024-01-02 03:04:05.250\"", 1704164645250000},
	    {"\"2024-01-02T03:04:05.123456789Z\"", 1704164645123456},
	    {"\"2024-01-02T05:04:05+02:00\"", 1704164645000000},
	    {"\"2024-01-01T22:04:05-0500\"", 1704164645000000},
	    {"\"2024-01-02T03:04\"", 1704164640000000},
	    {"\"2024-02-29\"", 1709164800000000},
	    {"\"1970-01-01T00:00:00Z\"", 0},
	    {"1704164645", 1704164645000000},
	    {"1704164645.5", 1704164645500000},
	    {"1704164645250", 1704164645250000},
	    {"0", 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO_JSON struct json_object *v =
		    json_tokener_parse(rows[i].json);
		int64_t us = -1;
		cr_expect(import_time(v, &us), "%s", rows[i].json);
		cr_expect_eq(us, rows[i].us, "%s gave %lld", rows[i].json,
		    (long long)us);
	}
}

Test(import_record, knows_what_is_no_time)
{
	static const char *const rows[] = {"\"\"", "\"yesterday\"",
	    "\"2024-13-01\"", "\"2024-00-01\"", "\"2024-01-32\"",
	    "\"2024-01-02T24:00:00\"", "\"2024-01-02T03:04:05X\"",
	    "\"2024-01-02T03:04:05+2\"", "\"2024-01-02T\"", "\"24-01-02\"",
	    "\"1969-12-31T23:59:59Z\"", "\"2100-01-01\"", "-1", "1e300",
	    "4102444800", "true", "[]", "{}"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO_JSON struct json_object *v = json_tokener_parse(rows[i]);
		int64_t us;
		cr_expect_not(import_time(v, &us), "%s", rows[i]);
	}
}

Test(import_record, keeps_hashes_that_can_be_verified)
{
	static const struct {
		const char *hash, *salt;
		int64_t iterations;
		const char *kept;
	} rows[] = {
	    {DJANGO, NULL, 0, DJANGO},
	    {"a1b2c3$" HEX, NULL, 0, DJANGO},
	    {"a1b2c3:" HEX, NULL, 100000, DJANGO},
	    {HEX, "a1b2c3", 0, DJANGO},
	    {"pbkdf2:sha256:100000$a1b2c3$" HEX, NULL, 0, DJANGO},
	    {"pbkdf2:sha256:1000$a1b2c3$" HEX, NULL, 0, NULL},
	    {HEX, "a1b2c3", 99999, NULL},
	    {HEX, NULL, 0, NULL},
	    {HEX, "", 0, NULL},
	    {HEX "00", "a1b2c3", 0, NULL},
	    {"a1b2c3$" HEX "x", NULL, 0, NULL},
	    {"correct horse", NULL, 0, NULL},
	    {"", NULL, 0, NULL},
	    {NULL, NULL, 0, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *kept = import_hash(
		    arena, rows[i].hash, rows[i].salt, rows[i].iterations);
		cr_expect_eq(
		    kept == NULL, rows[i].kept == NULL, "row %zu: %s", i, kept);
		if (kept != NULL && rows[i].kept != NULL)
			cr_expect_str_eq(kept, rows[i].kept);
	}
}

Test(import_record, what_it_keeps_proves_the_password)
{
	char folder[] = "/tmp/natter-import-XXXXXX";
	struct config config = {
	    .run_dir = mkdtemp(folder), .hash_memory_kib = 64, .hash_slots = 1};
	const char *kept = import_hash(arena, HEX, "a1b2c3", 0);
	bool needs_rehash = false;

	cr_expect_eq(
	    password_verify(&config, "correct horse", kept, &needs_rehash), OK);
	cr_expect(needs_rehash);
	cr_expect_eq(
	    password_verify(&config, "correct horsf", kept, &needs_rehash),
	    ERR_INVALID_CREDENTIALS);
}

/* One record as a line, or why not. */
static const char *
write_record(enum import_table t, const char *json, const char *inside)
{
	AUTO_JSON struct json_object *o = json_tokener_parse(json);
	struct import_item item = {.path = "f",
	    .table = import_table_name(t),
	    .key = "7",
	    .line = 3,
	    .record = o};
	struct buf out = {0};
	const char *flaw = NULL, *line;

	if (!import_record_write(t, &item, 5, inside, arena, &out, &flaw)) {
		cr_expect_eq(out.n, 0);
		buf_free(&out);
		return flaw;
	}
	line = arena_strdup(arena, buf_text(&out));
	buf_free(&out);
	return line;
}

Test(import_record, writes_a_line_for_copy)
{
	cr_expect_str_eq(
	    write_record(IMPORT_USERS,
		"{\"username\":\" ZO\\u00cb \",\"created\":\"2024-01-02\","
		"\"is_admin\":1,\"metadata\":{\"a\":\"b\\\\n\"}}",
		NULL),
	    "f:3: users 7\t5\t7\t7\tzo\xc3\xab\t\\N\t\\N\tt\t\\N\t\\N"
	    "\t{\"a\":\"b\\\\\\\\n\"}\t2024-01-02 00:00:00.000000+00\n");
	cr_expect_str_eq(
	    write_record(IMPORT_MESSAGES,
		"{\"id\":12,\"sender\":\"Human\",\"text\":\"a\\tb\\nc\\\\\","
		"\"tokens\":3,\"conversation_id\":9}",
		NULL),
	    "f:3: messages 7\t5\t12\t7\t9\t\\N\tuser\ta\\tb\\nc\\\\"
	    "\t\\N\t3\t\\N\t\\N\t\\N\t\\N\t\\N\n");
	/* A message that lies in its conversation need not name it. */
	cr_assert_not_null(
	    strstr(write_record(IMPORT_MESSAGES,
		       "{\"role\":{\"role\":\"bot\"},\"content\":\"x\"}", "c9"),
		"\t7\t7\tc9\t\\N\tassistant\tx\t"));
}

Test(import_record, says_what_is_wrong_with_a_record)
{
	static const struct {
		enum import_table table;
		const char *json, *flaw;
	} rows[] = {
	    {IMPORT_USERS, "[]", "the record is not an object"},
	    {IMPORT_USERS, "{}", "username is missing"},
	    {IMPORT_USERS, "{\"username\":null}", "username is missing"},
	    {IMPORT_USERS, "{\"username\":\"a b\"}",
		"username cannot be a username (1 to 64 characters without "
		"blanks)"},
	    {IMPORT_USERS, "{\"username\":\"a\",\"disabled\":\"perhaps\"}",
		"is_disabled is not true or false"},
	    {IMPORT_USERS, "{\"username\":\"a\",\"metadata\":[]}",
		"metadata is not an object"},
	    {IMPORT_USERS, "{\"username\":\"a\",\"display_name\":{}}",
		"display_name is not a text"},
	    {IMPORT_USERS, "{\"username\":\"a\",\"full_name\":\"\\u0000\"}",
		"display_name holds a NUL"},
	    {IMPORT_USERS, "{\"username\":\"a\",\"created\":\"soon\"}",
		"created_at is not a time (ISO 8601, or seconds since 1970)"},
	    {IMPORT_CONVERSATIONS, "{\"title\":\"x\"}", "user_id is missing"},
	    {IMPORT_CONVERSATIONS, "{\"user_id\":1,\"tags\":\"x\"}",
		"tags is not an array"},
	    {IMPORT_MESSAGES, "{\"role\":\"user\",\"content\":\"x\"}",
		"conversation_id is missing"},
	    {IMPORT_MESSAGES, "{\"conversation_id\":1,\"content\":\"x\"}",
		"role is missing"},
	    {IMPORT_MESSAGES,
		"{\"conversation_id\":1,\"role\":\"alien\",\"content\":\"x\"}",
		"role is not user, assistant, system or tool"},
	    {IMPORT_MESSAGES,
		"{\"conversation_id\":1,\"role\":\"user\",\"content\":[]}",
		"content is not a text"},
	    {IMPORT_MESSAGES,
		"{\"conversation_id\":1,\"role\":\"user\",\"content\":\"x\","
		"\"token_count\":-1}",
		"token_count is not a number from 0 to 2147483647"},
	    {IMPORT_DOCUMENTS, "{\"user_id\":1}", "content is missing"},
	    {IMPORT_DOCUMENTS,
		"{\"user_id\":1,\"content\":{\"a\":\"\\u0000\"}}",
		"content holds a NUL"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_str_eq(
		    write_record(rows[i].table, rows[i].json, NULL),
		    rows[i].flaw);
}

Test(import_record, knows_tables_by_their_other_names)
{
	cr_expect_eq(import_table_find("chats"), IMPORT_CONVERSATIONS);
	cr_expect_eq(import_table_find("users"), IMPORT_USERS);
	cr_expect_eq(import_table_find("_default"), IMPORT__TABLES);
}
