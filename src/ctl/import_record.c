/*
 * One record: finds the members of its table by any of their names, checks
 * each value by its kind and writes it as a column of COPY's text format.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/password.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"
#include "ctl/import_record.h"

#define NAMES_MAX  7
#define HASH_BYTES 32
#define US         INT64_C(1000000)
#define YEAR_2100  INT64_C(4102444800)

enum kind {
	IMPORT_NAME,  /* a username, normalised */
	IMPORT_OWNER, /* whose it is: as it stands, and as a username */
	IMPORT_REF,   /* another record's id */
	IMPORT_TEXT,  /* a text, or a number as one */
	IMPORT_ANY,   /* a text, or anything else as JSON */
	IMPORT_ROLE,  /* who speaks */
	IMPORT_HASH,  /* a password's hash */
	IMPORT_FLAG,
	IMPORT_NUMBER, /* not negative */
	IMPORT_OBJECT,
	IMPORT_ARRAY,
	IMPORT_TIME
};

static const char *const kind_types[] = {
    [IMPORT_NAME] = "text",
    [IMPORT_OWNER] = "text",
    [IMPORT_REF] = "text",
    [IMPORT_TEXT] = "text",
    [IMPORT_ANY] = "text",
    [IMPORT_ROLE] = "text",
    [IMPORT_HASH] = "text",
    [IMPORT_FLAG] = "boolean",
    [IMPORT_NUMBER] = "int",
    [IMPORT_OBJECT] = "jsonb",
    [IMPORT_ARRAY] = "jsonb",
    [IMPORT_TIME] = "timestamptz",
};

enum need { MAY_LACK, NEEDED };

static const struct table {
	const char *names[NAMES_MAX];
} tables[] = {
#define TABLE(enumerator, ...) [IMPORT_##enumerator] = {{__VA_ARGS__}},
#define MEMBER(...)
#include "ctl/import.def"
#undef TABLE
#undef MEMBER
};

static const struct member {
	enum import_table table;
	const char *column;
	enum kind kind;
	enum need need;
	const char *names[NAMES_MAX];
} members[] = {
#define TABLE(...)
#define MEMBER(table, column, kind, need, ...) \
	{IMPORT_##table, column, kind, need, {__VA_ARGS__}},
#include "ctl/import.def"
#undef TABLE
#undef MEMBER
};
#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

/* Who speaks, as others call them. */
static const struct {
	const char *theirs, *ours;
} roles[] = {
    {"user", "user"},
    {"human", "user"},
    {"assistant", "assistant"},
    {"ai", "assistant"},
    {"bot", "assistant"},
    {"model", "assistant"},
    {"system", "system"},
    {"developer", "system"},
    {"tool", "tool"},
    {"function", "tool"},
};

/* What a member is written with. */
struct writing {
	const struct member *member;
	struct json_object *record;
	struct arena *arena;
	struct buf *out;
	const char *flaw;
};

const char *
import_table_name(enum import_table t)
{
	return tables[t].names[0];
}

enum import_table
import_table_find(const char *name)
{
	for (size_t t = 0; t < IMPORT__TABLES; t++)
		for (size_t i = 0; i < NAMES_MAX; i++)
			if (tables[t].names[i] != NULL &&
			    strcmp(tables[t].names[i], name) == 0)
				return (enum import_table)t;
	return IMPORT__TABLES;
}

void
import_staging_sql(struct buf *out)
{
	for (enum import_table t = 0; t < IMPORT__TABLES; t++) {
		buf_printf(out,
		    "CREATE TEMP TABLE import_%s (origin text,"
		    " n bigint, ref text, key text",
		    import_table_name(t));
		for (size_t i = 0; i < N_MEMBERS; i++) {
			const struct member *m = &members[i];
			if (m->table != t)
				continue;
			buf_printf(
			    out, ", %s %s", m->column, kind_types[m->kind]);
			if (m->kind == IMPORT_OWNER)
				buf_puts(out, ", owner_name text");
		}
		buf_puts(out, ") ON COMMIT DROP;");
	}
}

void
import_copy_sql(enum import_table t, struct buf *out)
{
	buf_printf(out, "COPY import_%s FROM STDIN", import_table_name(t));
}

/* A column's text, escaped for COPY; false when it holds a NUL. */
static bool
put_text(struct buf *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		switch (p[i]) {
		case '\0':
			return false;
		case '\\':
			buf_puts(out, "\\\\");
			break;
		case '\n':
			buf_puts(out, "\\n");
			break;
		case '\r':
			buf_puts(out, "\\r");
			break;
		case '\t':
			buf_puts(out, "\\t");
			break;
		default:
			buf_putc(out, p[i]);
		}
	}
	return true;
}

static bool
put_string(struct buf *out, const char *s)
{
	if (s == NULL)
		buf_puts(out, "\\N");
	return s == NULL || put_text(out, s, strlen(s));
}

/* The member's value under the first of its names that has one. */
static struct json_object *
find(struct json_object *record, const struct member *m)
{
	struct json_object *value;

	for (size_t i = 0; i < NAMES_MAX && m->names[i] != NULL; i++)
		if (json_object_object_get_ex(record, m->names[i], &value) &&
		    value != NULL)
			return value;
	return NULL;
}

static bool
flawed(struct writing *w, const char *what)
{
	w->flaw = arena_printf(w->arena, "%s %s", w->member->names[0], what);
	return false;
}

static bool
write_text(struct writing *w, struct json_object *v)
{
	bool is_text = json_object_is_type(v, json_type_string);
	const char *text;
	size_t n;

	if (!is_text && !json_object_is_type(v, json_type_int) &&
	    !json_object_is_type(v, json_type_double))
		return flawed(w, "is not a text");
	text = json_object_get_string(v);
	n = is_text ? (size_t)json_object_get_string_len(v) : strlen(text);
	return put_text(w->out, text, n) || flawed(w, "holds a NUL");
}

static bool
write_name(struct writing *w, struct json_object *v)
{
	const char *name = NULL;

	if (!json_object_is_type(v, json_type_string) ||
	    text_username(w->arena, json_object_get_string(v), &name) != OK)
		return flawed(w, "cannot be a username (1 to 64 characters "
				 "without blanks)");
	return put_string(w->out, name);
}

static bool
write_owner(struct writing *w, struct json_object *v)
{
	const char *name = NULL;

	if (!write_text(w, v))
		return false;
	buf_putc(w->out, '\t');
	if (text_username(w->arena, json_object_get_string(v), &name) != OK)
		name = NULL;
	return put_string(w->out, name);
}

/* A record that does not say whose it is is that user's. */
static bool
write_whose(struct writing *w, const char *username)
{
	if (!put_string(w->out, username))
		return false;
	buf_putc(w->out, '\t');
	return put_string(w->out, username);
}

static bool
write_role(struct writing *w, struct json_object *v)
{
	struct json_object *inner;

	if (json_object_is_type(v, json_type_object) &&
	    json_object_object_get_ex(v, "role", &inner))
		v = inner;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcasecmp(json_object_get_string(v), roles[i].theirs) == 0)
			return put_string(w->out, roles[i].ours);
	return flawed(w, "is not user, assistant, system or tool");
}

static bool
write_hash(struct writing *w, struct json_object *v)
{
	struct json_object *salt = NULL, *iterations = NULL;

	(void)json_object_object_get_ex(w->record, "salt", &salt);
	(void)json_object_object_get_ex(w->record, "iterations", &iterations);
	return put_string(
	    w->out, import_hash(w->arena, json_object_get_string(v),
			salt != NULL ? json_object_get_string(salt) : NULL,
			json_object_get_int64(iterations)));
}

static bool
write_flag(struct writing *w, struct json_object *v)
{
	const char *s = json_object_get_string(v);
	bool is_set = strcmp(s, "true") == 0 || strcmp(s, "1") == 0;

	if (!is_set && strcmp(s, "false") != 0 && strcmp(s, "0") != 0)
		return flawed(w, "is not true or false");
	buf_puts(w->out, is_set ? "t" : "f");
	return true;
}

static bool
write_number(struct writing *w, struct json_object *v)
{
	int64_t n = json_object_get_int64(v);

	if (!json_object_is_type(v, json_type_int) || n < 0 || n > INT32_MAX)
		return flawed(w, "is not a number from 0 to 2147483647");
	buf_printf(w->out, "%lld", (long long)n);
	return true;
}

static bool
write_json(struct writing *w, struct json_object *v, enum json_type type)
{
	size_t n = 0;
	const char *text = json_text(v, &n);

	if (type != json_type_null && !json_object_is_type(v, type))
		return flawed(w, type == json_type_object ? "is not an object"
							  : "is not an array");
	if (strstr(text, "\\u0000") != NULL || !put_text(w->out, text, n))
		return flawed(w, "holds a NUL");
	return true;
}

static bool
write_time(struct writing *w, struct json_object *v)
{
	struct tm tm = {0};
	int64_t us;
	time_t seconds;

	if (!import_time(v, &us))
		return flawed(w, "is not a time (ISO 8601, or seconds since "
				 "1970)");
	seconds = us / US;
	(void)gmtime_r(&seconds, &tm);
	buf_printf(w->out, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(us % US));
	return true;
}

static bool
write_value(struct writing *w, struct json_object *v)
{
	switch (w->member->kind) {
	case IMPORT_NAME:
		return write_name(w, v);
	case IMPORT_OWNER:
		return write_owner(w, v);
	case IMPORT_REF:
	case IMPORT_TEXT:
		return write_text(w, v);
	case IMPORT_ANY:
		return json_object_is_type(v, json_type_string)
			   ? write_text(w, v)
			   : write_json(w, v, json_type_null);
	case IMPORT_ROLE:
		return write_role(w, v);
	case IMPORT_HASH:
		return write_hash(w, v);
	case IMPORT_FLAG:
		return write_flag(w, v);
	case IMPORT_NUMBER:
		return write_number(w, v);
	case IMPORT_OBJECT:
		return write_json(w, v, json_type_object);
	case IMPORT_ARRAY:
		return write_json(w, v, json_type_array);
	case IMPORT_TIME:
		return write_time(w, v);
	}
	return false;
}

const char *
import_record_ref(enum import_table t, const struct import_item *item)
{
	static const char *const own[] = {[IMPORT_USERS] = "user_id",
	    [IMPORT_CONVERSATIONS] = "conversation_id",
	    [IMPORT_MESSAGES] = "message_id",
	    [IMPORT_SESSIONS] = "session_id",
	    [IMPORT_DOCUMENTS] = "document_id"};
	const char *names[] = {"id", "_id", "uuid", own[t]};
	struct json_object *v;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (json_object_object_get_ex(item->record, names[i], &v) &&
		    v != NULL)
			return json_object_get_string(v);
	return item->key;
}

/* The columns that every table begins with. */
static bool
write_head(struct writing *w, enum import_table t,
    const struct import_item *item, int64_t number)
{
	const char *origin = arena_printf(w->arena, "%s:%ld: %s %s", item->path,
	    item->line, item->table, item->key);

	if (origin == NULL || !put_string(w->out, origin))
		return false;
	buf_printf(w->out, "\t%lld\t", (long long)number);
	if (!put_string(w->out, import_record_ref(t, item)))
		return false;
	buf_putc(w->out, '\t');
	return put_string(w->out, item->key);
}

static bool
write_member(struct writing *w, const char *inside)
{
	struct json_object *v = find(w->record, w->member);

	buf_putc(w->out, '\t');
	if (inside != NULL && strcmp(w->member->column, "conversation") == 0)
		return put_string(w->out, inside);
	if (v != NULL)
		return write_value(w, v);
	if (inside != NULL && w->member->kind == IMPORT_OWNER)
		return write_whose(w, inside);
	if (w->member->need == NEEDED)
		return flawed(w, "is missing");
	return put_string(w->out, NULL);
}

bool
import_record_write(enum import_table t, const struct import_item *item,
    int64_t number, const char *inside, struct arena *arena, struct buf *out,
    const char **out_flaw)
{
	struct writing w = {.record = item->record, .arena = arena, .out = out};
	size_t before = out->n;
	bool is_good = json_object_is_type(item->record, json_type_object);

	if (!is_good)
		w.flaw = "the record is not an object";
	is_good = is_good && write_head(&w, t, item, number);
	for (size_t i = 0; is_good && i < N_MEMBERS; i++) {
		w.member = &members[i];
		if (w.member->table == t)
			is_good = write_member(&w, inside);
	}
	buf_putc(out, '\n');
	if (!is_good) {
		out->n = before;
		*out_flaw = w.flaw != NULL ? w.flaw : "the id holds a NUL";
	}
	return is_good;
}

/* Digits of exactly `n` places at *p. */
static bool
take_digits(const char **p, int n, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		*out = *out * 10 + (**p - '0');
	}
	return true;
}

/* ".123456", of which six digits count. */
static int64_t
take_fraction(const char **p)
{
	int64_t us = 0, unit = US / 10;

	if (**p != '.' && **p != ',')
		return 0;
	for ((*p)++; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
		us += (**p - '0') * unit;
	return us;
}

/* "Z", "+02:00", "+0200", "+02" or nothing: seconds to take off. */
static bool
take_zone(const char *p, int *out_s)
{
	int hours = 0, minutes = 0, sign = *p == '-' ? -1 : 1;

	*out_s = 0;
	if (*p == '\0' || strcmp(p, "Z") == 0 || strcmp(p, "z") == 0)
		return true;
	if (*p++ != (sign < 0 ? '-' : '+') || !take_digits(&p, 2, &hours))
		return false;
	if (*p == ':')
		p++;
	if (*p != '\0' && !take_digits(&p, 2, &minutes))
		return false;
	*out_s = sign * (hours * 60 + minutes) * 60;
	return *p == '\0' && hours < 24 && minutes < 60;
}

static bool
parse_time(const char *p, int64_t *out_us)
{
	struct tm tm = {0};
	int64_t us;
	int zone;

	if (!take_digits(&p, 4, &tm.tm_year) || *p++ != '-' ||
	    !take_digits(&p, 2, &tm.tm_mon) || *p++ != '-' ||
	    !take_digits(&p, 2, &tm.tm_mday) || tm.tm_mon < 1 ||
	    tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31)
		return false;
	if (*p == 'T' || *p == ' ' || *p == 't') {
		p++;
		if (!take_digits(&p, 2, &tm.tm_hour) || *p++ != ':' ||
		    !take_digits(&p, 2, &tm.tm_min) || tm.tm_hour > 23 ||
		    tm.tm_min > 59)
			return false;
		if (*p == ':' && (p++, !take_digits(&p, 2, &tm.tm_sec)))
			return false;
	}
	us = take_fraction(&p);
	while (*p == ' ')
		p++;
	if (tm.tm_sec > 60 || !take_zone(p, &zone))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*out_us = ((int64_t)timegm(&tm) - zone) * US + us;
	return true;
}

bool
import_time(struct json_object *value, int64_t *out_us)
{
	double d = 0;
	int64_t us = 0;

	switch (json_object_get_type(value)) {
	case json_type_string:
		if (!parse_time(json_object_get_string(value), &us))
			return false;
		break;
	case json_type_int:
	case json_type_double:
		d = json_object_get_double(value);
		if (d > 1e11) /* milliseconds */
			d /= 1000;
		if (!(d >= 0 && d < (double)YEAR_2100))
			return false;
		us = (int64_t)(d * (double)US + 0.5);
		break;
	default:
		return false;
	}
	if (us < 0 || us >= YEAR_2100 * US)
		return false;
	*out_us = us;
	return true;
}

/* "SALT$HEX" (or with a colon), or HEX with its salt beside it. */
static const char *
hash_of_hex(struct arena *arena, const char *salt, size_t salt_n,
    const char *hex, long long iterations)
{
	unsigned char bytes[HASH_BYTES];
	char text[sodium_base64_ENCODED_LEN(
	    HASH_BYTES, sodium_base64_VARIANT_ORIGINAL)];
	size_t n = 0;

	if (salt_n == 0 || memchr(salt, '$', salt_n) != NULL ||
	    sodium_hex2bin(
		bytes, sizeof(bytes), hex, strlen(hex), NULL, &n, NULL) != 0 ||
	    n != sizeof(bytes) || strlen(hex) != 2 * sizeof(bytes))
		return NULL;
	sodium_bin2base64(text, sizeof(text), bytes, sizeof(bytes),
	    sodium_base64_VARIANT_ORIGINAL);
	return arena_printf(arena, "pbkdf2_sha256$%lld$%.*s$%s", iterations,
	    (int)salt_n, salt, text);
}

const char *
import_hash(
    struct arena *arena, const char *hash, const char *salt, int64_t iterations)
{
	long long n = iterations > 0 ? iterations : 100000;
	static const char werkzeug[] = "pbkdf2:sha256:";
	const char *made = NULL, *cut;
	char *end;

	if (hash == NULL)
		return NULL;
	if (password_hash_is_known(hash))
		return hash;
	if (strncmp(hash, werkzeug, strlen(werkzeug)) == 0) {
		n = strtoll(hash + strlen(werkzeug), &end, 10);
		if (*end != '$')
			return NULL;
		hash = end + 1;
	}
	cut = strpbrk(hash, "$:");
	if (cut != NULL)
		made =
		    hash_of_hex(arena, hash, (size_t)(cut - hash), cut + 1, n);
	else if (salt != NULL)
		made = hash_of_hex(arena, salt, strlen(salt), hash, n);
	return made != NULL && password_hash_is_known(made) ? made : NULL;
}
