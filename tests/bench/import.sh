#!/bin/bash
# How long natterctl import takes for 100,000 messages, and again when all of
# them are there. Usage: import.sh BUILDDIR [MESSAGES]
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
MESSAGES=${2:-100000}

start_demo

awk -v n="$MESSAGES" 'BEGIN {
	srand(1)
	printf "{\"users\":["
	for (i = 0; i < 200; i++)
		printf "%s{\"id\":%d,\"username\":\"import%d\"}", i ? "," : "", i, i
	printf "],\"conversations\":["
	for (i = 0; i < 5000; i++)
		printf "%s{\"id\":\"c%d\",\"user_id\":%d}", i ? "," : "", i, i % 200
	printf "],\"messages\":["
	for (i = 0; i < n; i++) {
		printf "%s{\"conversation_id\":\"c%d\",\"role\":\"%s\",\"timestamp\":%d,\"content\":\"", i ? "," : "", i % 5000, int(i / 5000) % 2 ? "assistant" : "user", 1735689600 + i * 60
		for (w = 0; w < 40; w++)
			printf "%sword%d", w ? " " : "", int(rand() * 5000)
		printf "\"}"
	}
	print "]}"
}' >"$T/import.json"

for run in first second; do
	begin=$EPOCHREALTIME
	"$NATTERCTL" import json --no-passwords "$T/import.json" 2>&1 |
		grep messages:
	awk -v a="$begin" -v b="$EPOCHREALTIME" -v run="$run" -v n="$MESSAGES" 'BEGIN {
		printf "%s run: %.1f s for %d messages\n", run, b - a, n
	}'
done
