#!/bin/bash
# What /auth/verify costs through nginx for a warm session, beside /livez (which
# does nothing) and /me (which asks Postgres): requests a second, CPU of natterd
# a request, round trips to Redis and transactions of Postgres a request, and
# the ratios. All in one run; each path in turns with the others.
# Usage: verify.sh BUILDDIR [SECONDS a turn]
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
TURN=${2:-4}
ROUNDS=3
PATHS=(/livez /api/v1/me /api/v1/auth/verify)

# CPU of the master and its workers so far, in ms.
cpu_ms() {
	local pid ticks=0 line
	for pid in "$NATTERD_PID" $(cat "/proc/$NATTERD_PID/task/$NATTERD_PID/children"); do
		read -r line <"/proc/$pid/stat" || continue
		# After the name, which may hold spaces: utime and stime.
		ticks=$((ticks + $(awk '{ print $12 + $13 }' <<<"${line##*) }")))
	done
	echo $((ticks * 1000 / $(getconf CLK_TCK)))
}

redis_commands() {
	redis-cli -s "$(sed 's,^unix://,,; s,?.*,,' <<<"$REDIS_URL")" info stats |
		tr -d '\r' | sed -n 's/^total_commands_processed://p'
}

# Statistics of Postgres may come a second late.
pg_transactions() {
	sleep 1.5
	sql "SELECT xact_commit + xact_rollback FROM pg_stat_database
	    WHERE datname = current_database()"
}

# measure PATH: adds requests, ms of wall clock, of CPU, and trips to $T/PATH.
measure() {
	local cpu redis pg n
	pg=$(pg_transactions) redis=$(redis_commands) cpu=$(cpu_ms)
	wrk -t 2 -c 16 -d "${TURN}s" -H "Authorization: Bearer $TOKEN" \
	    "$BASE_URL$1" >"$T/wrk" || die "wrk: $(cat "$T/wrk")"
	cpu=$(($(cpu_ms) - cpu)) redis=$(($(redis_commands) - redis))
	pg=$(($(pg_transactions) - pg))
	if grep -q 'Non-2xx' "$T/wrk"; then
		die "not only good answers: $(cat "$T/wrk")"
	fi
	n=$(awk '/ requests in / { print $1 }' "$T/wrk")
	echo "$n $TURN $cpu $redis $pg" >>"$T/${1//\//_}"
}

command -v wrk >/dev/null || die "wrk is missing: apt-get install wrk"
start_demo
TOKEN=$(register somebody)
for ((i = 0; i < ROUNDS; i++)); do
	for path in "${PATHS[@]}"; do
		measure "$path"
	done
done
printf '%-22s %12s %14s %14s %14s\n' path 'requests/s' 'CPU µs/request' \
    'Redis/request' 'Postgres/request'
for path in "${PATHS[@]}"; do
	awk -v path="$path" '{ n += $1; s += $2; cpu += $3; r += $4; p += $5 }
	    END { printf "%-22s %12.0f %14.1f %14.2f %14.2f\n", path, n / s,
		cpu * 1000 / n, r / n, p / n }' "$T/${path//\//_}"
done | tee "$T/table"
awk '{ rate[$1] = $2; cpu[$1] = $3 } END {
	v = "/api/v1/auth/verify"; l = "/livez"; m = "/api/v1/me"
	printf "verify / livez: %.2f of the requests, %.2f of the CPU\n",
	    rate[v] / rate[l], cpu[v] / cpu[l]
	printf "verify / me:    %.2f of the requests, %.2f of the CPU\n",
	    rate[v] / rate[m], cpu[v] / cpu[m] }' "$T/table"
