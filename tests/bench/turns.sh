#!/bin/bash
# Stored turns a second through the whole stack, with a model that answers at
# once, beside what pgbench reaches with the very same statements, in the same
# pipelines, as the same role, on the same cluster, in turns within one run; and
# the ratio. Starts and stops everything.
# Usage: turns.sh BUILDDIR [CONNECTIONS [SECONDS a turn]]
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/bench/load.sh
. "$SRC/tests/bench/load.sh"
CONNECTIONS=${2:-16}
TURN=${3:-10}
ROUNDS=3
BYTES=200
KINDS=(natterd nginx redis postgres model client)

finish_all() {
	[ -z "${CLIENT_PID:-}" ] || kill "$CLIENT_PID" 2>/dev/null || :
	end_model
	finish
}

# The turn as a script, of the first user, whom nobody else needs.
record() {
	"$BENCH/turn_record" "$NATTER_ENV_FILE" "$(user_id 1)" "$(bench_id 4 1)" \
	    "$(sql 'SELECT id FROM chat.workers ORDER BY seen_at DESC LIMIT 1')"
}

# Adds turns a second to a file.
run_natter() {
	crowd "$1" $(($1 + CONNECTIONS - 1)) >"$T/tokens"
	note >"$T/before"
	"$BENCH/turn_load" --port "$PORT" --tokens "$T/tokens" \
	    --count "$CONNECTIONS" --seconds "$TURN" >"$T/client" &
	CLIENT_PID=$!
	sleep $((TURN - 1))
	note >"$T/after"
	wait "$CLIENT_PID" || die "turns failed: $(cat "$T/client")"
	CLIENT_PID=
	value turns_per_s "$T/client" >>"$T/natter"
}

run_pgbench() {
	crowd "$1" $(($1 + CONNECTIONS - 1)) >/dev/null
	pgbench -n -M prepared -c "$CONNECTIONS" -j 2 -T "$TURN" -D turn=0 \
	    -D first="$1" -f "$T/turn.sql" "$DATABASE_URL" >"$T/out" 2>&1 ||
		die "pgbench: $(grep error: "$T/out" | head -n 2)"
	sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$T/out" >>"$T/pgbench"
}

LOAD_BEFORE=$(cut -d' ' -f1-3 /proc/loadavg)
no_limits
start_demo
trap finish_all EXIT
find_servers
start_model --events 1 --gap 0 --first 0 --bytes "$BYTES"
crowd 1 1 >/dev/null
record >"$T/turn.sql"
FIRST_USER=2
for ((i = 0; i < ROUNDS; i++)); do
	run_natter "$FIRST_USER"
	FIRST_USER=$((FIRST_USER + CONNECTIONS))
	run_pgbench "$FIRST_USER"
	FIRST_USER=$((FIRST_USER + CONNECTIONS))
done
machine
printf '\n%s connections, %s rounds of %s s each in turns\n\n' \
    "$CONNECTIONS" "$ROUNDS" "$TURN"
cat <<-END
	| | turns/s |
	|---|---|
END
for what in natter pgbench; do
	awk -v what="$what" '{ n += $1 } END {
		printf "| %s | %.0f |\n", what, n / NR }' "$T/$what"
done | tee "$T/table"
awk '{ rate[$2] = $4 } END {
	printf "| natter / pgbench | %.2f |\n", rate["natter"] / rate["pgbench"]
}' "$T/table"
printf '\nCPU of the last round of natter, in percent of a core:'
for kind in "${KINDS[@]}" all; do
	printf ' %s %s' "$kind" "$(of_core "$kind")"
done
printf '\n'
