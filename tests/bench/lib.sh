# shellcheck shell=bash
# For benchmarks of a whole stack: a demo of their own, whose environment they
# get, and one user of it. Nothing depends on the numbers. Needs the folder
# where natterd is built as the first argument (make passes it).

PROGRAM=${0##*/}
SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
BUILD=$(cd "${1:?is missing: the build folder}" && pwd -P)
# shellcheck source=scripts/lib/common.sh
. "$SRC/scripts/lib/common.sh"

finish() {
	"$SRC/scripts/demo" --dir "$T/stack" --stop --reset >/dev/null 2>&1 || :
	rm -rf "$T"
}

# Exports what scripts/demo --env says: BASE_URL, NATTERD_PID, …
start_demo() {
	T=$(mktemp -d -t natter-bench.XXXXXX)
	chmod 755 "$T"
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	CHAT_REGISTRATION=open \
	    "$SRC/scripts/demo" --detach --dir "$T/stack" --builddir "$BUILD" \
	    --port "$(free_port "${NATTER_TEST_PORT:-18080}")" >"$T/demo.log" ||
		die "the demo does not start: $(tail -n 3 "$T/demo.log")"
	set -a
	eval "$("$SRC/scripts/demo" --dir "$T/stack" --env)"
	set +a
}

# post PATH JSON [CURL-OPTION...]
post() {
	local path=$1 json=$2
	shift 2
	curl -s -H 'Content-Type: application/json' -d "$json" "$@" \
	    "$BASE_URL/api/v1/$path"
}

sql() {
	psql -X -q -A -t -c "$1" "$SUPERUSER_DATABASE_URL"
}

# Prints the access token of a new user.
register() {
	post auth/register \
	    "{\"username\":\"$1\",\"password\":\"correct horse battery\"}" |
		sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p' | grep .
}
