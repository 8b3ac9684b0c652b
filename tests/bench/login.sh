#!/bin/bash
# How long a wrong password takes for a name that somebody has and for one that
# nobody has, through nginx, with the password hash of a real installation.
# Prints the medians and their ratio: who measures must not learn which names
# exist (number 29 of the adversarial list: less than 5 %).
# Usage: login.sh BUILDDIR [SAMPLES]
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
SAMPLES=${2:-101}

# try NAME: prints ms. What was charged before is forgotten first.
try() {
	sql 'DELETE FROM auth.login_throttle'
	post auth/login "{\"username\":\"$1\",\"password\":\"wrong horse\"}" \
	    -o "$T/body" -w '%{http_code} %{time_total}\n' |
		awk '$1 != 401 { exit 1 } { printf "%.3f\n", $2 * 1000 }' ||
		die "not refused as it should be: $(cat "$T/body")"
}

# summary FILE: the median, and the values at 10 and 90 %.
summary() {
	sort -n "$1" | awk '{ v[NR] = $1 } END {
		print v[int((NR + 1) / 2)], v[int(NR / 10) + 1],
		    v[int(NR * 9 / 10) + 1] }'
}

start_demo
register somebody >/dev/null
for ((i = 0; i < SAMPLES; i++)); do
	# In turns, and each first as often, so that both meet the same machine.
	if ((i % 2)); then
		try somebody >>"$T/known"
		try "nobody-$i" >>"$T/unknown"
	else
		try "nobody-$i" >>"$T/unknown"
		try somebody >>"$T/known"
	fi
done
read -r known k10 k90 < <(summary "$T/known")
read -r unknown u10 u90 < <(summary "$T/unknown")
printf '%-28s %10s %10s %10s\n' "$SAMPLES tries each, ms" median '10 %' '90 %'
printf '%-28s %10s %10s %10s\n' 'a name that somebody has' "$known" "$k10" "$k90"
printf '%-28s %10s %10s %10s\n' 'a name that nobody has' "$unknown" "$u10" "$u90"
awk -v k="$known" -v u="$unknown" 'BEGIN {
	printf "nobody / somebody: %.4f\n", u / k }'
