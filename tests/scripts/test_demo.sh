#!/bin/bash
# scripts/demo as a person uses it: starts real demos on free ports, and looks
# at what runs, what is said, and what is left.
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

clean_up() {
	local dir
	for dir in "$T"/*/; do
		"$DEMO" --dir "$dir" --stop --reset
	done >/dev/null 2>&1
	rm -rf "$T"
}

# demo DIR OPTIONS...
demo() {
	local dir=$1
	shift
	"$DEMO" --dir "$dir" --builddir "$BUILD" "$@"
}

# detached DIR OPTIONS...: PORT says where.
detached() {
	PORT=$(free_port "$FIRST_PORT")
	demo "$1" --port "$PORT" --detach "${@:2}" >"$T/out" 2>"$T/err" ||
		fail "did not start: $(cat "$T/err")"
}

# In a process group of its own, as a terminal would: DEMO_PID, $T/out, $T/err.
foreground() {
	PORT=$(free_port "$FIRST_PORT")
	rm -f "$T/out"
	setsid env --default-signal=INT,TERM,HUP "$DEMO" --dir "$1" \
	    --builddir "$BUILD" --port "$PORT" "${@:2}" >"$T/out" \
	    2>"$T/err" </dev/null &
	DEMO_PID=$!
	wait_for 60 grep -q 'Ctrl-C stops it' "$T/out"
}

# The demo that tests share which only look: in $SHARED, at $SHARED_URL.
shared() {
	SHARED=${TMPDIR:-/tmp}/natter-shared.$$
	T_KEPT=$T T=$SHARED
	mkdir -p "$SHARED"
	if ! demo "$SHARED/d" --status >/dev/null 2>&1; then
		detached "$SHARED/d"
	fi
	demo "$SHARED/d" --env >"$SHARED/env"
	# shellcheck disable=SC1091
	. "$SHARED/env"
	T=$T_KEPT
	cp "$SHARED/out" "$T/out"
	SHARED_URL=$BASE_URL PORT=${BASE_URL##*:}
}

# made DIR: a demo there that has run once, for tests to which it does not matter
# how the first start goes, which takes longest.
made() {
	local kept=${TMPDIR:-/tmp}/natter-made.$$
	if [ ! -e "$kept/d" ]; then
		mkdir -p "$kept"
		chmod 755 "$kept"
		detached "$kept/d"
		demo "$kept/d" --stop
	fi
	mkdir -p "$1"
	cp -a "$kept/d/." "$1"
}

clean_up_all() {
	for T in "${TMPDIR:-/tmp}"/natter-{shared,made}.$$; do
		clean_up
	done
}

load_env() {
	demo "$1" --env >"$T/env" || fail "no environment"
	# shellcheck disable=SC1091
	. "$T/env"
}

is_ready() {
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$1/readyz")" = 200 ]
}

server_pids() {
	local program
	for program in natterd nginx redis-server postgres; do
		program_pids "$program" "$(realpath "$1/stack")"
	done
}

nothing_runs() {
	[ -z "$(server_pids "$1")" ] && ! port_in_use "$PORT"
}

expect_nothing_left() {
	expect "a server is left" nothing_runs "$1"
	[ ! -e "$1/stack/run/sockets" ] || fail "its sockets are left"
	demo "$1" --status >"$T/status" && fail "status says it runs"
	expect_in "$T/status" stopped
}

count_users() {
	psql -XAtq "$SUPERUSER_DATABASE_URL" -c 'SELECT count(*) FROM auth.users'
}

test_starts_and_says_how_to_reach_it() {
	shared
	expect_in "$T/out" "$SHARED_URL"
	for user in admin user2 user3; do
		grep -qE "^ *$user +[^ ]+" "$T/out" || fail "no password of $user"
	done
	expect "not ready" is_ready "$SHARED_URL"
	demo "$SHARED/d" --status >"$T/status" || fail "status"
	expect_in "$T/status" "running at $SHARED_URL"
}

test_the_conversation_it_prints_can_be_pasted() {
	shared
	sed -n '/^API=/,$p' "$T/out" >"$T/paste"
	sh "$T/paste" >"$T/answer" 2>&1
	expect_in "$T/answer" "event: start"
	expect_in "$T/answer" "event: done"
	expect_in "$T/answer" '"Who are you?"'
}

test_env_opens_every_door() {
	local url pid
	shared
	for url in "$DATABASE_URL:natter_app" \
	    "$OWNER_DATABASE_URL:natter_migrate" \
	    "$SUPERUSER_DATABASE_URL:postgres"; do
		expect_equal "who that is" "${url##*:}" \
		    "$(psql -XAtq "${url%:*}" -c 'SELECT current_user')"
	done
	expect_equal redis PONG \
	    "$(redis-cli -s "$(sed 's,^unix://,,; s,?.*,,' \
	    <<<"$REDIS_URL")" ping)"
	for pid in "$NGINX_PID" "$NATTERD_PID"; do
		expect "process $pid" proc_is_alive "$pid"
	done
	for file in "$NATTERD" "$NATTERCTL" "$NATTER_SOCKET" "$NATTER_LOG" \
	    "$NATTER_ENV_FILE" "$NATTER_KEYS_FILE" "$NATTER_DIR" \
	    "$NATTER_SRCDIR/configure.ac"; do
		expect "path" test -e "$file"
	done
	expect_equal "sh agrees" "$DATABASE_URL" \
	    "$(sh -c '. "$1"; printf %s "$DATABASE_URL"' sh "$SHARED/env")"
}

test_no_server_runs_as_root() {
	shared
	for pid in $(server_pids "$SHARED/d"); do
		[ "$(stat -c %u "/proc/$pid")" != 0 ] ||
			fail "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
	done
}

test_a_second_start_of_a_running_demo_says_so() {
	shared
	demo "$SHARED/d" --port "$(free_port $((PORT + 1)))" 2>"$T/err" &&
		fail "it started"
	expect_one_line "$T/err" "already running at $SHARED_URL"
	expect "not ready" is_ready "$SHARED_URL"
}

test_a_port_in_use_is_one_line_and_nothing_starts() {
	shared
	demo "$T/b" --port "$PORT" --detach >"$T/out" 2>"$T/err" &&
		fail "it started"
	expect_one_line "$T/err" "port $PORT is in use"
	[ ! -e "$T/b" ] || fail "it made $T/b"
}

test_two_demos_run_side_by_side() {
	shared
	made "$T/b"
	detached "$T/b"
	expect "the first" is_ready "$SHARED_URL"
	expect "the second" is_ready "http://127.0.0.1:$PORT"
	demo "$T/b" --stop
	expect_nothing_left "$T/b"
	expect "the first alone" is_ready "$SHARED_URL"
}

test_a_second_start_keeps_the_data_and_shows_no_password() {
	detached "$T/d"
	load_env "$T/d"
	psql -Xq "$SUPERUSER_DATABASE_URL" -c 'CREATE TABLE kept AS SELECT 7 x'
	cp "$NATTER_KEYS_FILE" "$T/keys"
	expect_equal users 3 "$(count_users)"
	demo "$T/d" --stop
	expect_nothing_left "$T/d"
	detached "$T/d"
	grep -qE '^ *(admin|user2|user3) ' "$T/out" && fail "passwords again"
	load_env "$T/d"
	expect_equal users 3 "$(count_users)"
	expect_equal data 7 \
	    "$(psql -XAtq "$SUPERUSER_DATABASE_URL" -c 'SELECT x FROM kept')"
	expect "another key ring" cmp "$NATTER_KEYS_FILE" "$T/keys"
}

test_reset_deletes_everything() {
	local real
	detached "$T/d"
	real=$(realpath "$T/d/stack")
	demo "$T/d" --stop --reset
	[ ! -e "$real" ] || fail "$real is there"
	[ ! -e "$T/d/stack" ] || fail "its name is there"
	[ -z "$(program_pids postgres "$real")" ] || fail "postgres runs"
	detached "$T/d"
	grep -qE '^ *user2 ' "$T/out" || fail "no new users"
	detached "$T/d" --reset # of a running one, which begins anew
	grep -qE '^ *user2 ' "$T/out" || fail "no new users again"
}

test_settings_of_the_caller_reach_natterd_and_no_argument() {
	local pid
	made "$T/d"
	export OPENAI_API_KEY=sk-canary-71 OPENAI_BASE_URL=http://127.0.0.1:1/v1
	export CHAT_MODEL=model-72 CHAT_DRAIN_SECONDS=3
	export DATABASE_URL=postgresql://nowhere/x PGHOST=/nowhere
	detached "$T/d"
	unset DATABASE_URL PGHOST
	load_env "$T/d"
	tr '\0' '\n' <"/proc/$NATTERD_PID/environ" >"$T/environ"
	for line in OPENAI_API_KEY="$OPENAI_API_KEY" \
	    OPENAI_BASE_URL="$OPENAI_BASE_URL" CHAT_MODEL=model-72 \
	    CHAT_DRAIN_SECONDS=3; do
		expect_in "$T/environ" "$line"
	done
	grep -qE '^(DATABASE_URL|PGHOST)=' "$T/environ" && fail "too much"
	for pid in $(server_pids "$T/d"); do
		grep -qa canary "/proc/$pid/cmdline" && fail "a key in argv"
	done
	grep -rq canary "$T/d/stack/" && fail "a key in a file"
	true
}

test_a_setting_that_cannot_work_is_one_line() {
	PORT=$(free_port "$FIRST_PORT")
	CHAT_NO_SUCH_THING=1 demo "$T/d" --port "$PORT" >"$T/out" 2>"$T/err" &&
		fail "it started"
	expect_one_line "$T/err" CHAT_NO_SUCH_THING
	expect_nothing_left "$T/d"
}

test_ctrl_c_stops_everything() {
	made "$T/d"
	foreground "$T/d"
	kill -INT -- "-$DEMO_PID"
	wait "$DEMO_PID" || fail "exit status $?: $(cat "$T/err")"
	expect_equal "errors" "" "$(cat "$T/err")"
	expect_nothing_left "$T/d"
}

test_a_long_path_is_no_trouble_and_stop_ends_the_foreground() {
	local long
	long=$T/$(printf 'long%.0s' {1..40})
	made "$long"
	foreground "$long"
	expect "not ready" is_ready "http://127.0.0.1:$PORT"
	demo "$long" --stop
	wait "$DEMO_PID" || fail "exit status $?"
	expect_nothing_left "$long"
}

test_ctrl_c_while_it_starts_leaves_nothing() {
	PORT=$(free_port "$FIRST_PORT")
	setsid env --default-signal=INT "$DEMO" --dir "$T/d" --builddir \
	    "$BUILD" --port "$PORT" >"$T/out" 2>"$T/err" </dev/null &
	DEMO_PID=$!
	wait_for 30 test -e "$T/d/stack/run/postgres"
	kill -INT -- "-$DEMO_PID"
	wait "$DEMO_PID" && fail "exit status 0"
	expect_nothing_left "$T/d"
}

# Who dies takes the rest along, and is named; the data survives it.
test_a_killed_server_ends_the_demo() {
	local name pid
	made "$T/d"
	for name in postgres redis natterd nginx; do
		foreground "$T/d"
		pid=$(cut -d' ' -f1 "$T/d/stack/run/$name")
		kill -KILL "$pid"
		wait "$DEMO_PID" && fail "exit status 0"
		expect_one_line "$T/err" "demo: $name ended"
		expect_nothing_left "$T/d"
	done
}

test_even_a_killed_script_leaves_nothing() {
	made "$T/d"
	foreground "$T/d"
	kill -KILL "$DEMO_PID"
	wait_for 30 nothing_runs "$T/d"
	detached "$T/d"
	expect "not ready" is_ready "http://127.0.0.1:$PORT"
}

test_status_names_what_died_and_a_start_mends_it() {
	made "$T/d"
	detached "$T/d"
	load_env "$T/d"
	kill -KILL "$NGINX_PID"
	wait_for 5 test '!' -e "/proc/$NGINX_PID/exe"
	demo "$T/d" --status >"$T/status" && fail "status 0"
	expect_in "$T/status" "nginx     ended"
	detached "$T/d"
	expect "not ready" is_ready "http://127.0.0.1:$PORT"
}

test_a_server_that_cannot_start_is_one_line() {
	made "$T/d"
	detached "$T/d"
	demo "$T/d" --stop
	printf 'garbage' >"$T/d/stack/pg/global/pg_control"
	PORT=$(free_port "$FIRST_PORT")
	demo "$T/d" --port "$PORT" --detach >"$T/out" 2>"$T/err" &&
		fail "it started"
	expect_one_line "$T/err" "demo: postgres did not start"
	expect_nothing_left "$T/d"
}

test_a_folder_that_nobody_else_can_enter() {
	mkdir -m 700 "$T/home"
	detached "$T/home/demo"
	expect "not ready" is_ready "http://127.0.0.1:$PORT"
	if [ "$(id -u)" -eq 0 ]; then
		real=$(realpath "$T/home/demo/stack")
		case $real in /var/tmp/*) ;; *) fail "it is $real" ;; esac
	fi
	"$DEMO" --dir "$T/home/demo" --stop --reset
	[ ! -e "$real" ] || fail "$real is left"
}

test_through_sudo_the_caller_owns_it() {
	[ "$(id -u)" -eq 0 ] || return 0
	mkdir -m 700 "$T/home" "$T/home/demo"
	chown -R nobody "$T/home"
	export SUDO_USER=nobody
	detached "$T/home/demo"
	for pid in $(server_pids "$T/home/demo"); do
		expect_equal "user of $pid" nobody "$(stat -c %U "/proc/$pid")"
	done
	expect_equal "its folder" "$T/home/demo/stack" \
	    "$(realpath "$T/home/demo/stack")"
	"$DEMO" --dir "$T/home/demo" --stop --reset
}

test_an_ordinary_user_needs_no_root_when_all_is_installed() {
	[ "$(id -u)" -eq 0 ] || return 0
	mkdir -m 755 "$T/bin"
	cp "$BUILD/natterd" "$BUILD/natterctl" "$T/bin"
	mkdir "$T/src"
	tar -C "$SRC" -cf - scripts nginx | tar -C "$T/src" -xf -
	mkdir "$T/home"
	chown nobody "$T/home"
	PORT=$(free_port "$FIRST_PORT")
	as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	"${as_nobody[@]}" "$T/src/scripts/demo" --dir "$T/home/demo" \
	    --builddir "$T/bin" --port "$PORT" --detach >"$T/out" 2>&1 ||
		fail "$(cat "$T/out")"
	expect "not ready" is_ready "http://127.0.0.1:$PORT"
	"${as_nobody[@]}" "$T/src/scripts/demo" --dir "$T/home/demo" --stop
	expect_nothing_left "$T/home/demo"
	rm -rf "$T/home/demo"
}

test_wrong_options_are_one_line() {
	for wrong in '--port x' '--port 0' '--port 70000' '--port' '--frob' \
	    '--dir' "--builddir $T/none"; do
		# shellcheck disable=SC2086
		"$DEMO" --dir "$T/d" $wrong >"$T/out" 2>"$T/err" && fail "$wrong"
		expect_one_line "$T/err" demo:
	done
	"$DEMO" --dir "$T/with space" 2>"$T/err" && fail "a space"
	expect_one_line "$T/err" "cannot be used"
	[ ! -e "$T/d" ] || fail "it made a folder"
}

run_tests "$@"
