#!/bin/bash
# What the script that checks a session and charges three policies costs Redis
# and its client, beside the MGET that only checks it: calls a second of the same
# Redis, in turns within one run, and the ratio. The buckets never run out.
# Usage: limits.sh BUILDDIR [CALLS a turn]
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
CALLS=${2:-100000}
ROUNDS=3
MINUTE=60000000

# rate COMMAND...: calls a second.
rate() {
	redis-benchmark -s "$SOCKET" -n "$CALLS" -c 16 --csv "$@" |
		tail -n 1 | awk -F'","' '{ print $(NF > 2 ? 2 : NF) }' | tr -d '"'
}

command -v redis-benchmark >/dev/null ||
	die "redis-benchmark is missing: apt-get install redis-tools"
start_demo
SOCKET=$(sed 's,^unix://,,; s,?.*,,' <<<"$REDIS_URL")
USER_ID=11111111-1111-7111-8111-111111111111
KEYS=("gone:{$USER_ID}:s" "sess:{$USER_ID}:j" "user:{$USER_ID}")
redis-cli -s "$SOCKET" set "${KEYS[1]}" "s 0 user somebody" >/dev/null
redis-cli -s "$SOCKET" set "limits:{$USER_ID}" - >/dev/null
SHA=$(redis-cli -s "$SOCKET" -x script load <"$SRC/src/limit/charge.lua")
NONE=(EVALSHA "$SHA" 4 "${KEYS[@]}" "limits:{$USER_ID}" 1 "s 0 " "" 0 "" 0 "")
CHARGE=(EVALSHA "$SHA" 7 "${KEYS[@]}" "limits:{$USER_ID}"
	"rate:{$USER_ID}:api" "rate:{$USER_ID}:192.0.2.1" rate:192.0.2.1
	1 "s 0 " "" 0 "" 0 ""
	3 60000000 "$MINUTE" 0 4 60000000 "$MINUTE" 0 0 60000000 "$MINUTE" 0)
for ((i = 0; i < ROUNDS; i++)); do
	rate MGET "${KEYS[@]}" >>"$T/mget"
	rate "${NONE[@]}" >>"$T/none"
	rate "${CHARGE[@]}" >>"$T/charge"
done
for what in mget none charge; do
	awk -v what="$what" '{ n += $1 } END {
		printf "%-8s %10.0f calls/s\n", what, n / NR }' "$T/$what"
done | tee "$T/table"
awk '{ rate[$1] = $2 } END {
	printf "script without limits / MGET: %.2f\n", rate["none"] / rate["mget"]
	printf "script with three / MGET:     %.2f\n",
	    rate["charge"] / rate["mget"] }' "$T/table"
