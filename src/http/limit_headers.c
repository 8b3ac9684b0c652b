/*
 * Writes limit lines as headers and as JSON. Must not know what the limits
 * are, nor who counts them.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "http/limit_headers.h"
#include "http/request.h"

#define DAY_S      86400
#define NUMBER_MAX INT64_C(999999999999999) /* of a structured field */

/* The draft's type, and the title it is registered with. */
#define TYPE_EXCEEDED                                \
	"https://iana.org/assignments/http-problem-" \
	"types#quota-exceeded"
#define TITLE_EXCEEDED "Quota Exceeded"

/*
 * The draft's unit is requests unless `qu` names another of its registry, which
 * has none for tokens and money: those carry a parameter of our own.
 */
static const struct {
	const char *name;
	const char *parameter;
} units[] = {
    [LIMIT_REQUESTS] = {"requests", ""},
    [LIMIT_TOKENS] = {"tokens", ";natter-unit=\"tokens\""},
    [LIMIT_STREAMS] = {"streams", ";qu=\"concurrent-requests\""},
    [LIMIT_MONEY] = {"money", ";natter-unit=\"money\""},
};

static int64_t
clamp(int64_t n)
{
	return n < 0 ? 0 : n > NUMBER_MAX ? NUMBER_MAX : n;
}

/*
 * When more is there. Windows shorter than a day refill evenly: all of it is
 * there again after what was taken came back one by one.
 */
static int64_t
next_s(const struct limit_line *l)
{
	int64_t later = 0, taken = l->limit - clamp(l->remaining);
	if (l->is_violated)
		return clamp(l->retry_s);
	if (l->window_s < DAY_S && taken > 1)
		later = (int64_t)((double)l->window_s * (double)(taken - 1) /
				  (double)l->limit);
	return clamp(l->reset_s - later);
}

/* A name as a structured field's string: our own have nothing to escape. */
static void
write_name(struct buf *out, const char *name)
{
	buf_putc(out, '"');
	for (; *name; name++) {
		if (*name >= ' ' && *name < 0x7f && *name != '"' &&
		    *name != '\\')
			buf_putc(out, *name);
	}
	buf_putc(out, '"');
}

static void
write_policy(struct buf *out, const struct limit_line *l)
{
	write_name(out, l->name);
	buf_printf(
	    out, ";q=%" PRId64 "%s", clamp(l->limit), units[l->unit].parameter);
	if (l->window_s > 0)
		buf_printf(out, ";w=%" PRId64, clamp(l->window_s));
}

static void
write_left(struct buf *out, const struct limit_line *l)
{
	write_name(out, l->name);
	buf_printf(out, ";r=%" PRId64, clamp(l->remaining));
	if (l->window_s > 0 || next_s(l) > 0)
		buf_printf(out, ";t=%" PRId64, next_s(l));
}

/* One header that lists all lines. */
static void
write_list(struct buf *out, const char *name, const struct limit_lines *limits,
    void (*write)(struct buf *, const struct limit_line *))
{
	buf_puts(out, name);
	for (size_t i = 0; i < limits->n; i++) {
		buf_puts(out, i == 0 ? ": " : ", ");
		write(out, &limits->lines[i]);
	}
	buf_puts(out, "\r\n");
}

/* Will the client run into `a` before `b`? */
static bool
is_tighter(const struct limit_line *a, const struct limit_line *b)
{
	if (a->is_violated != b->is_violated)
		return a->is_violated;
	if (a->is_violated && a->retry_s != b->retry_s)
		return a->retry_s > b->retry_s;
	if (a->remaining != b->remaining)
		return a->remaining < b->remaining;
	return a->reset_s > b->reset_s;
}

static const struct limit_line *
tightest(const struct limit_lines *limits, enum limit_unit unit)
{
	const struct limit_line *found = NULL;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit_line *l = &limits->lines[i];
		if (l->unit == unit && (!found || is_tighter(l, found)))
			found = l;
	}
	return found;
}

/* As OpenAI writes it: "7s", "6m0s", "1h0m0s". */
static void
write_duration(struct buf *out, int64_t s)
{
	if (s >= 3600)
		buf_printf(out, "%" PRId64 "h", s / 3600);
	if (s >= 60)
		buf_printf(out, "%" PRId64 "m", s / 60 % 60);
	buf_printf(out, "%" PRId64 "s", s % 60);
}

static void
write_openai(
    struct buf *out, const struct limit_lines *limits, enum limit_unit unit)
{
	const struct limit_line *l = tightest(limits, unit);
	const char *name = units[unit].name;
	if (!l)
		return;
	buf_printf(out, "x-ratelimit-limit-%s: %" PRId64 "\r\n", name,
	    clamp(l->limit));
	buf_printf(out, "x-ratelimit-remaining-%s: %" PRId64 "\r\n", name,
	    clamp(l->remaining));
	buf_printf(out, "x-ratelimit-reset-%s: ", name);
	write_duration(out, clamp(l->reset_s));
	buf_puts(out, "\r\n");
}

void
limit_headers_write(struct buf *out, const struct limit_lines *limits)
{
	if (limits->n == 0)
		return;
	write_list(out, "RateLimit-Policy", limits, write_policy);
	write_list(out, "RateLimit", limits, write_left);
	write_openai(out, limits, LIMIT_REQUESTS);
	write_openai(out, limits, LIMIT_TOKENS);
}

const char *
limit_headers(struct request *req)
{
	struct buf text = {0};
	const char *copy = NULL;
	limit_headers_write(&text, &req->limits);
	if (text.n > 0 && !text.failed)
		copy = arena_strndup(req->arena, text.p, text.n);
	buf_free(&text);
	return copy;
}

int64_t
limit_wait_s(const struct limit_lines *limits)
{
	int64_t wait = 0;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit_line *l = &limits->lines[i];
		if (l->is_violated && l->retry_s > wait)
			wait = l->retry_s;
	}
	return wait;
}

const char *
limit_unit_name(const struct limit_line *line)
{
	return units[line->unit].name;
}

static struct json_object *
make_line(const struct limit_line *l)
{
	struct json_object *o = json_object_new_object();
	json_put_text(o, "name", l->name);
	json_put_text(o, "unit", limit_unit_name(l));
	json_put_number(o, "limit", clamp(l->limit));
	json_put_number(o, "remaining", clamp(l->remaining));
	json_put_number(o, "window", clamp(l->window_s));
	json_put_number(o, "reset", clamp(l->reset_s));
	json_put_number(o, "retry_after", clamp(l->retry_s));
	return o;
}

void
limit_tell_problem(
    struct json_object *problem, const struct limit_lines *limits)
{
	struct json_object *names = json_object_new_array();
	struct json_object *lines = json_object_new_array();
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit_line *l = &limits->lines[i];
		if (!l->is_violated)
			continue;
		json_object_array_add(names, json_object_new_string(l->name));
		json_object_array_add(lines, make_line(l));
	}
	if (json_object_array_length(names) == 0) {
		json_object_put(names);
		json_object_put(lines);
		return;
	}
	json_put_text(problem, "type", TYPE_EXCEEDED);
	json_put_text(problem, "title", TITLE_EXCEEDED);
	json_object_object_add(problem, "violated-policies", names);
	json_object_object_add(problem, "limits", lines);
}
