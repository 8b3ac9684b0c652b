#!/bin/bash
# The units, as far as they can be judged without booting a machine with them.
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/scripts/site.sh
. "$(dirname "$0")/site.sh"

clean_up() {
	end_started
	[ ! -d "$T/d" ] || "$DEMO" --dir "$T/d" --stop --reset
}

if ! command -v systemd-analyze >/dev/null; then
	say "no systemd-analyze here" "0 passed, 0 failed"
	exit 0
fi

# Copies whose natterd exists.
copy_units() {
	local unit
	for unit in natterd.service natterd.socket natterd-activated.service \
	    natter-retention.service natter-retention.timer; do
		sed "s,/usr/sbin/natterd,$BUILD/natterd,
		    s,/usr/bin/natterctl,$BUILD/natterctl," \
		    "$SRC/systemd/$unit" >"$T/$unit"
	done
}

test_the_units_are_understood() {
	copy_units
	systemd-analyze verify --man=no "$T"/natter* >"$T/out" 2>&1 ||
		fail "$(cat "$T/out")"
	expect_equal "complaints" "" "$(grep natter "$T/out")"
}

# Beside a service of somebody else's.
test_the_weights_are_understood() {
	mkdir -p "$T/units/nginx.service.d"
	printf '[Service]\nExecStart=/bin/true\n' >"$T/units/nginx.service"
	cp "$SRC/systemd/natter-first.conf" "$T/units/nginx.service.d/natter.conf"
	SYSTEMD_UNIT_PATH=$T/units: systemd-analyze verify --man=no nginx.service \
	    >"$T/out" 2>&1 || fail "$(cat "$T/out")"
	expect_equal "complaints" "" "$(grep 'natter\.conf' "$T/out")"
}

test_the_services_are_locked_up_well() {
	local unit
	copy_units
	for unit in natterd natterd-activated natter-retention; do
		systemd-analyze security --offline=true --threshold=15 \
		    "$T/$unit.service" >"$T/out" 2>&1 ||
			fail "exposure over 1.5: $(tail -n 1 "$T/out")"
	done
}

# What the two services share is the same, line by line.
test_the_services_differ_only_in_how_they_get_the_socket() {
	local unit
	for unit in natterd natterd-activated; do
		sed -n '/^ExecReload/,/^\[Install/p' \
		    "$SRC/systemd/$unit.service" >"$T/$unit"
	done
	diff "$T/natterd" "$T/natterd-activated"
}

# Retention is locked up as the daemon is.
# But for landlock, which readers of files put on, and setpriority: retention reads
# none and has no thread to step back.
test_retention_shares_the_daemons_hardening() {
	local unit
	for unit in natterd natter-retention; do
		sed -n '/^NoNewPrivileges/,/^# With/p' \
		    "$SRC/systemd/$unit.service" |
			grep -v '^ReadWritePaths\|^#\|landlock\|setpriority' >"$T/$unit"
	done
	diff "$T/natterd" "$T/natter-retention"
}

test_the_user_and_the_folders_can_be_made() {
	mkdir -p "$T/root/etc"
	systemd-sysusers --root="$T/root" "$SRC/systemd/natter.sysusers"
	grep -q '^natter:' "$T/root/etc/passwd" || fail "no user"
	printf 'root:x:0:0::/:/bin/sh\n' >>"$T/root/etc/passwd"
	printf 'root:x:0:\nwww-data:x:33:\n' >>"$T/root/etc/group"
	[ "$(id -u)" -eq 0 ] || return 0
	systemd-tmpfiles --root="$T/root" --create \
	    "$SRC/systemd/natter.tmpfiles"
	expect_equal "the socket's folder" 2750:33 \
	    "$(stat -c %a:%g "$T/root/run/natter")"
	expect_equal "the settings' folder" 750:0 \
	    "$(stat -c %a:%u "$T/root/etc/natter")"
}

# systemd-socket-activate hands the socket over as StandardInput=socket does.
test_natterd_serves_a_socket_that_systemd_holds() {
	local port
	port=$(free_port "$FIRST_PORT")
	"$DEMO" --dir "$T/d" --builddir "$BUILD" --port "$port" --detach
	eval "$("$DEMO" --dir "$T/d" --env)"
	systemd-socket-activate --inetd -l "$T/natterd.sock" \
	    "$NATTERD" --activated --config "$NATTER_ENV_FILE" \
	    >"$T/natterd.log" 2>&1 &
	STARTED+=($!)
	wait_for 10 test -S "$T/natterd.sock"
	chmod 666 "$T/natterd.sock"
	site "" # as it is
	start_nginx
	get /readyz -w '%{http_code}' >"$T/status"
	expect_equal "ready: $(cat "$T/answer")" 200 "$(cat "$T/status")"
}

run_tests "$@"
