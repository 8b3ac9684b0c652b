#!/bin/bash
# Runs the benchmarks of docs/benchmarks.md and writes what they print there,
# each between its marks.
# Usage: report.sh BUILDDIR
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd -P)
DOC=$HERE/../../docs/benchmarks.md
BUILD=$(cd "${1:?is missing: the build folder}" && pwd -P)
# The last three times: a host is not always as fast.
STREAMS=(100 1000 5000 10000 10000 10000)
OUT=$(mktemp -d -t natter-report.XXXXXX)
trap 'rm -rf "$OUT"' EXIT

measure() {
	case $1 in
	streams) WEIGHTS=on LOAD_ON=port "$HERE/streams.sh" "$BUILD" "${STREAMS[@]}" ;;
	unweighted) WEIGHTS=off "$HERE/streams.sh" "$BUILD" 10000 ;;
	socket) LOAD_ON=socket "$HERE/streams.sh" "$BUILD" 10000 ;;
	*) "$HERE/$1.sh" "$BUILD" ;;
	esac
}

for name in streams unweighted socket turns; do
	measure "$name" | tee "$OUT/$name"
	awk -v mark="bench-$name" -v file="$OUT/$name" '
	    $0 == "<!-- /" mark " -->" { is_old = 0 }
	    !is_old { print }
	    $0 == "<!-- " mark " -->" {
		is_old = 1
		while ((getline line <file) > 0)
			print line
	    }' "$DOC" >"$OUT/doc"
	cat "$OUT/doc" >"$DOC"
done
