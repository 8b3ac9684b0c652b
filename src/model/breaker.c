/*
 * The table of breakers. A word holds, from its top: a tag of the name (16
 * bits), what it is (2), failures in a row (6), and a time in ms (40): of the
 * first failure while it is closed, until when nobody may ask otherwise. 0 is
 * closed without a failure.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "model/breaker.h"

#define PLACES 1024

/* While somebody probes: when to look again, in ms. */
#define PROBE_LOOK_MS 1000

enum phase { CLOSED, OPEN, PROBING };

struct state {
	enum phase phase;
	unsigned failures;
	uint64_t ms;
};

struct table {
	_Atomic uint64_t words[PLACES];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2,
    "an atomic with a lock would not work between processes");

static struct table own; /* of a process without a master */
static struct table *table = &own;

#define TIME_MASK ((UINT64_C(1) << 40) - 1)

static uint64_t
tag_of(uint64_t key)
{
	return key >> 48;
}

static uint64_t
pack(uint64_t key, struct state s)
{
	if (s.phase == CLOSED && s.failures == 0)
		return 0;
	return tag_of(key) << 48 | (uint64_t)s.phase << 46 |
	       (uint64_t)s.failures << 40 | (s.ms & TIME_MASK);
}

/* What the word says of this name; of another it says nothing. */
static struct state
unpack(uint64_t key, uint64_t word)
{
	struct state s = {
	    .phase = (enum phase)(word >> 46 & 3),
	    .failures = (unsigned)(word >> 40 & 63),
	    .ms = word & TIME_MASK,
	};

	return tag_of(key) == word >> 48 ? s : (struct state){0};
}

static _Atomic uint64_t *
place_of(uint64_t key)
{
	return &table->words[key % PLACES];
}

bool
breaker_share(void)
{
	void *p = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	table = p;
	return true;
}

/* FNV-1a over both strings and the NUL between them. */
uint64_t
breaker_key(const char *base_url, const char *model)
{
	const char *parts[] = {base_url, model};
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < 2; i++) {
		const unsigned char *p = (const unsigned char *)parts[i];

		do {
			hash = (hash ^ *p) * UINT64_C(1099511628211);
		} while (*p++ != '\0');
	}
	return hash;
}

bool
breaker_enter(
    struct breaker_pass *pass, uint64_t key, uint64_t now_ms, uint64_t lease_ms)
{
	_Atomic uint64_t *place = place_of(key);
	uint64_t word = atomic_load(place), probing;
	struct state s;

	do {
		s = unpack(key, word);
		*pass = (struct breaker_pass){.key = key};
		if (s.phase == CLOSED)
			return true;
		if (now_ms < s.ms)
			return false;
		s.phase = PROBING;
		s.ms = now_ms + lease_ms;
		probing = pack(key, s);
	} while (!atomic_compare_exchange_weak(place, &word, probing));
	pass->is_probe = true;
	return true;
}

void
breaker_succeeded(struct breaker_pass *pass)
{
	_Atomic uint64_t *place = place_of(pass->key);
	uint64_t word = atomic_load(place);

	pass->is_probe = false;
	do {
		struct state s = unpack(pass->key, word);

		if (s.phase == OPEN || (s.phase == CLOSED && s.failures == 0))
			return; /* what began before it opened proves little */
	} while (!atomic_compare_exchange_weak(place, &word, 0));
}

/* A fifth more or less, so that hosts do not ask in step. */
static uint64_t
jittered(uint64_t ms)
{
	return ms - ms / 5 + clock_mono_us() % (ms / 5 * 2 + 1);
}

/* The state after one more failure; unchanged where it does not count. */
static struct state
after_failure(struct state s, const struct breaker_pass *pass, uint64_t now_ms,
    uint64_t cooldown_ms)
{
	bool begins = s.failures == 0 || now_ms > s.ms + BREAKER_WINDOW_MS;

	if (s.phase == OPEN || (s.phase == PROBING && !pass->is_probe))
		return s;
	if (s.phase == CLOSED && begins)
		return (struct state){CLOSED, 1, now_ms};
	if (s.phase == CLOSED && ++s.failures < BREAKER_FAILURES)
		return s;
	return (struct state){
	    OPEN, BREAKER_FAILURES, now_ms + jittered(cooldown_ms)};
}

void
breaker_failed(struct breaker_pass *pass, uint64_t now_ms, uint64_t cooldown_ms)
{
	_Atomic uint64_t *place = place_of(pass->key);
	uint64_t word = atomic_load(place);
	struct state s, next;

	if (cooldown_ms == 0)
		return;
	do {
		s = unpack(pass->key, word);
		next = after_failure(s, pass, now_ms, cooldown_ms);
	} while (
	    !atomic_compare_exchange_weak(place, &word, pack(pass->key, next)));
	pass->is_probe = false;
	if (s.phase == CLOSED && next.phase == OPEN)
		metrics_count(METRIC_MODEL_BREAKER_OPENINGS);
}

void
breaker_let_go(struct breaker_pass *pass, uint64_t now_ms)
{
	_Atomic uint64_t *place = place_of(pass->key);
	uint64_t word = atomic_load(place);
	struct state s;

	if (!pass->is_probe)
		return;
	pass->is_probe = false;
	do {
		s = unpack(pass->key, word);
		if (s.phase != PROBING)
			return;
		s.phase = OPEN;
		s.ms = now_ms; /* the next one may */
	} while (
	    !atomic_compare_exchange_weak(place, &word, pack(pass->key, s)));
}

uint64_t
breaker_wait_ms(uint64_t key, uint64_t now_ms)
{
	struct state s = unpack(key, atomic_load(place_of(key)));

	if (s.phase == CLOSED || s.ms <= now_ms)
		return 0;
	if (s.phase == PROBING && s.ms > now_ms + PROBE_LOOK_MS)
		return PROBE_LOOK_MS;
	return s.ms - now_ms;
}

size_t
breaker_count_open(void)
{
	size_t n = 0;

	for (size_t i = 0; i < PLACES; i++)
		n += (atomic_load(&table->words[i]) >> 46 & 3) != CLOSED;
	return n;
}
