/*
 * The tables. Owns the mapping; relaxed atomics, no locks.
 */
#include <sodium.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "chat/reader_places.h"

/* Workers at once, of all generations; the readers of one that finds no table
 * are counted by itself. */
#define WORKERS_MAX 1024

/* Places of a table, a power of two: of a worker's 5000 readers two in three
 * are alone at theirs. */
#define WIDTH 16384
#define ROWS  2

struct table {
	_Atomic uint16_t n[ROWS][WIDTH];
};

/* Zeroed, it is empty. Pages that nobody wrote take no memory. */
struct places {
	struct table tables[WORKERS_MAX];
	_Atomic int64_t pids[WORKERS_MAX]; /* 0: nobody's */
	unsigned char key[crypto_shorthash_KEYBYTES];
};

_Static_assert(sizeof(struct table) % 65536 == 0, "tables are whole pages");
_Static_assert(ATOMIC_SHORT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
    "an atomic with a lock would not work between processes");

static struct places *places; /* NULL: of a process without a master */
static struct table alone;    /* of one that is no worker */
static struct table *own = &alone;

struct spot {
	size_t at[ROWS];
};

static struct spot
spot_of(const char *user_id)
{
	static const unsigned char no_key[crypto_shorthash_KEYBYTES];
	unsigned char hash[crypto_shorthash_BYTES];
	uint32_t part[ROWS];
	struct spot s;

	_Static_assert(sizeof(hash) == sizeof(part), "a part for each row");
	(void)crypto_shorthash(hash, (const unsigned char *)user_id,
	    strlen(user_id), places != NULL ? places->key : no_key);
	memcpy(part, hash, sizeof(part));
	for (size_t row = 0; row < ROWS; row++)
		s.at[row] = part[row] % WIDTH;
	return s;
}

static long
count_row(const struct spot *s, size_t row)
{
	long n = 0;

	if (places == NULL || own == &alone)
		n = atomic_load(&alone.n[row][s->at[row]]);
	for (size_t i = 0; places != NULL && i < WORKERS_MAX; i++)
		if (atomic_load(&places->pids[i]) != 0)
			n += atomic_load(&places->tables[i].n[row][s->at[row]]);
	return n;
}

static void
move(const struct spot *s, int by)
{
	for (size_t row = 0; row < ROWS; row++)
		atomic_fetch_add(&own->n[row][s->at[row]], (uint16_t)by);
}

/* Counted before it is compared: of two at once none is overlooked. */
bool
reader_place_take(const char *user_id, long most)
{
	struct spot s = spot_of(user_id);

	move(&s, 1);
	for (size_t row = 0; most > 0 && row < ROWS; row++)
		if (count_row(&s, row) <= most)
			return true;
	if (most <= 0)
		return true;
	move(&s, -1);
	return false;
}

void
reader_place_give(const char *user_id)
{
	struct spot s = spot_of(user_id);

	move(&s, -1);
}

bool
reader_places_share(void)
{
	void *p = mmap(NULL, sizeof(*places), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	places = p;
	crypto_shorthash_keygen(places->key);
	return true;
}

void
reader_places_join(pid_t pid)
{
	for (size_t i = 0; places != NULL && i < WORKERS_MAX; i++) {
		int64_t nobody = 0;

		if (!atomic_compare_exchange_strong(
			&places->pids[i], &nobody, pid))
			continue;
		own = &places->tables[i];
		return;
	}
}

void
reader_places_leave(pid_t pid)
{
	for (size_t i = 0; places != NULL && i < WORKERS_MAX; i++) {
		struct table *t = &places->tables[i];

		if (atomic_load(&places->pids[i]) != pid)
			continue;
		if (madvise(t, sizeof(*t), MADV_REMOVE) != 0)
			memset(t, 0, sizeof(*t));
		atomic_store(&places->pids[i], 0); /* last */
		return;
	}
}
