# shellcheck shell=bash
# shellcheck disable=SC2034 # DEMO, BUILD and FIRST_PORT are for the tests
# For tests of the scripts: each test is a function named as a sentence, run by
# `run_tests` in a subshell of its own, with a folder $T of its own. Needs
# NATTER_BUILDDIR, where natterd, natterctl and the test programs are built.

SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=scripts/lib/common.sh
. "$SRC/scripts/lib/common.sh"
DEMO=$SRC/scripts/demo
BUILD=${NATTER_BUILDDIR:?is not set: run scripts/check}
FIRST_PORT=${NATTER_TEST_PORT:-18080}

fail() {
	printf 'failed: %s\n' "$*"
	exit 1
}

# expect WHAT COMMAND...
expect() {
	local what=$1
	shift
	"$@" || fail "$what ($*)"
}

expect_equal() {
	[ "$2" = "$3" ] || fail "$1: expected <$2>, got <$3>"
}

# expect_in FILE TEXT
expect_in() {
	grep -qF -- "$2" "$1" || fail "no <$2> in: $(cat "$1")"
}

# Refusals are one line that names what is wrong, and a failure.
expect_one_line() {
	expect_equal "lines of $(cat "$1")" 1 "$(wc -l <"$1")"
	expect_in "$1" "$2"
}

# wait_for SECONDS COMMAND...
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "in vain: $*"
		sleep 0.1
	done
}

# Runs every function of the file whose name begins with test_.
run_tests() {
	local name passed=0 failed=0 log start
	T=
	log=$(mktemp -t natter-test.XXXXXX)
	for name in $(compgen -A function test_); do
		case $name in *${1:-}*) ;; *) continue ;; esac
		start=$SECONDS
		T=$(mktemp -d -t natter-test.XXXXXX)
		chmod 755 "$T" # servers do not run as root
		(
			trap 'set +e; clean_up' EXIT
			set -eu
			"$name"
		) >"$log" 2>&1
		# Not "if (...)": set -e would mean nothing inside.
		# shellcheck disable=SC2181
		if [ $? -eq 0 ]; then
			passed=$((passed + 1))
			say "ok - ${name#test_} ($((SECONDS - start)) s)"
		else
			failed=$((failed + 1))
			say "not ok - ${name#test_}"
			sed 's/^/    /' "$log"
		fi
		rm -rf "$T"
	done
	clean_up_all
	rm -f "$log"
	say "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# A file may define its own: at the end of each of its tests, and of them all.
clean_up() {
	:
}

clean_up_all() {
	:
}
