#!/bin/bash
# The four servers of a demo, in one folder: starts, watches, stops and
# describes them. Owns everything in that folder and is run as the ordinary user
# whom it belongs to, never as root, by scripts/demo, which did what needs root.
# Must not know about packages, builds or other users.
#
#     stack.sh start PORT stay|detach
#     stack.sh stop | status | env | address
#
# In the folder: bin/ natterd and natterctl, nginx/ configuration, pg/ the
# cluster, secrets/ a password a file, run/ what runs ("PID START" a file, see
# proc_read), log/. Sockets lie in a folder of their own under /tmp, since their
# paths may have only 107 bytes. Descriptor 9 is the caller's lock.
set -euo pipefail

STACK=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PROGRAM=demo
HURRY=0
# shellcheck source=scripts/lib/common.sh
. "$STACK/scripts/common.sh"
# shellcheck source=scripts/lib/packages.sh
. "$STACK/scripts/packages.sh"
# shellcheck source=scripts/lib/servers.sh
. "$STACK/scripts/servers.sh"

SERVERS=(postgres redis natterd nginx)

sockets_dir() {
	local dir
	read_line "$STACK/run/sockets" dir || return 1
	# It is removed with all that is in it: only ever what start made.
	[[ $dir =~ ^/tmp/natter\.[A-Za-z0-9]{8}$ ]] && printf '%s\n' "$dir"
}

address() {
	local port
	read_line "$STACK/run/port" port && [[ $port =~ ^[0-9]+$ ]] &&
	    printf 'http://127.0.0.1:%s\n' "$port"
}

# Prints the pid of a server if it is alive.
server_pid() {
	local record pid start
	read_line "$STACK/run/$1" record || return 1
	read -r pid start <<<"$record"
	[[ $pid =~ ^[0-9]+$ && $start =~ ^[0-9]+$ ]] &&
	    proc_is_alive "$pid" "$start" && printf '%s\n' "$pid"
}

server_is_alive() {
	server_pid "$1" >/dev/null
}

record() {
	proc_read "$2" || PROC_START=0
	printf '%s %s\n' "$2" "$PROC_START" >"$STACK/run/$1"
}

# patient_kill SIGNAL SECONDS PID START: false if the process stays.
patient_kill() {
	local start=$4 end=$((SECONDS + $2))
	kill "-$1" "$3" 2>/dev/null
	while proc_is_alive "$3" "$start"; do
		if [ "$SECONDS" -ge "$end" ] || [ "$HURRY" = 1 ]; then
			return 1
		fi
		sleep 0.05
	done
}

# stop_server NAME SIGNAL SECONDS: a Ctrl-C meanwhile ends the patience.
stop_server() {
	local name=$1 pid
	HURRY=0
	if pid=$(server_pid "$name"); then
		proc_read "$pid"
		if ! patient_kill "$2" "$3" "$pid" "$PROC_START"; then
			printf '%s: %s had to be killed\n' "$PROGRAM" "$name" >&2
			kill -KILL "$pid" 2>/dev/null
			proc_wait_gone "$pid" "$PROC_START" 5
		fi
	fi
	end_leftovers "$name"
	rm -f "$STACK/run/$name"
}

# What a killed master leaves behind, such as nginx's workers, still listening.
end_leftovers() {
	local program=$1 pid signal
	[ "$program" != redis ] || program=redis-server
	for signal in TERM TERM KILL; do
		for pid in $(program_pids "$program" "$STACK"); do
			kill "-$signal" "$pid" 2>/dev/null || :
			proc_wait_gone "$pid" "" 2
		done
	done
}

# natterd first, while nginx still delivers the replies that it drains.
stop_servers() {
	local dir=${SOCKETS:-} drain=60
	read_line "$STACK/run/drain" drain
	[[ $drain =~ ^[0-9]{1,4}$ ]] || drain=60
	stop_server natterd TERM $((drain + 15))
	stop_server nginx QUIT 2
	stop_server redis TERM 10
	stop_server postgres INT 60
	if [ -n "$dir" ] || dir=$(sockets_dir); then
		rm -rf "$dir"
	fi
	rm -rf "$STACK"/run/{sockets,port,drain,readyz,stack,natterd.d}
}

on_exit() {
	local status=$?
	set +e
	trap - EXIT
	trap 'HURRY=1' INT TERM HUP
	stop_servers
	exit "$status"
}

count_alive() {
	local name n=0
	for name in "${SERVERS[@]}"; do
		! server_is_alive "$name" || n=$((n + 1))
	done
	printf '%s\n' "$n"
}

announce() {
	local password
	say "Natter runs at $(address)"
	if [ -n "$USERS" ]; then
		say "" "Users, with passwords that are shown this once:" ""
		printf '%s\n' "$USERS"
	fi
	password=$(sed -nE 's/^[[:space:]]*user2[[:space:]:]+([^[:space:]]+).*/\1/p' \
	    <<<"$USERS")
	cat <<-END

		A conversation, to paste into a shell:

		API=$(address)/api/v1
		JSON='Content-Type: application/json'
		TOKEN=\$(curl -sS \$API/auth/login -H "\$JSON" \\
		  -d '{"username":"user2","password":"${password:-PASSWORD}"}' |
		  sed -n 's/.*"access_token": *"\\([^"]*\\)".*/\\1/p')
		AUTH="Authorization: Bearer \$TOKEN"
		ID=\$(curl -sS \$API/conversations -H "\$AUTH" -H "\$JSON" \\
		  -d '{"title":"Hello"}' |
		  sed -n 's/.*"id": *"\\([^"]*\\)".*/\\1/p')
		curl -sSN \$API/conversations/\$ID/messages -H "\$AUTH" -H "\$JSON" \\
		  -d '{"content":"Who are you?","stream":true}'
		curl -sS \$API/conversations/\$ID/messages -H "\$AUTH"
	END
}

# Until Ctrl-C, or until one of them ends.
watch() {
	local name
	trap 'say "stopping (replies in flight may finish; Ctrl-C again ends them)"
		exit 0' INT TERM HUP
	while :; do
		for name in "${SERVERS[@]}"; do
			server_is_alive "$name" ||
			    die_of "$name" "ended, so all is stopped"
		done
		sleep 0.5
	done
}

start() {
	local port=$1
	STAY=$2
	if [ "$(count_alive)" = ${#SERVERS[@]} ]; then
		die "already running at $(address): scripts/demo --stop ends it"
	fi
	set +e
	stop_servers # what is left of an earlier run
	set -e
	trap on_exit EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	cd "$STACK" # by which end_leftovers knows its own
	mkdir -p run
	record stack $$
	start_servers "$port"
	announce
	if [ "$STAY" = detach ]; then
		trap - EXIT
		rm -f run/stack
		exit 0
	fi
	say "" "Ctrl-C stops it."
	watch
}

stop() {
	local pid
	set +e
	trap 'HURRY=1' INT TERM HUP
	if pid=$(server_pid stack); then # it stops its servers itself
		proc_read "$pid"
		kill -TERM "$pid"
		proc_wait_gone "$pid" "$PROC_START" 200
	fi
	stop_servers
}

status() {
	local name pid n
	n=$(count_alive)
	case $n in
	0) say "stopped" && exit 3 ;;
	"${#SERVERS[@]}") say "running at $(address)" ;;
	*) say "broken: $n of ${#SERVERS[@]} servers run" ;;
	esac
	for name in "${SERVERS[@]}"; do
		if pid=$(server_pid "$name"); then
			printf '%-9s %s\n' "$name" "$pid"
		else
			printf '%-9s ended: %s\n' "$name" "$(last_words "$name")"
		fi
	done
	[ "$n" = ${#SERVERS[@]} ]
}

print_env() {
	[ "$(count_alive)" -gt 0 ] || die "not running"
	SOCKETS=$(sockets_dir) || die "not running"
	assign DATABASE_URL "$(database_url natter_app natter)"
	assign OWNER_DATABASE_URL "$(database_url natter_migrate natter)"
	assign JOBS_DATABASE_URL "$(database_url natter_jobs natter)"
	assign SUPERUSER_DATABASE_URL "$(database_url postgres natter)"
	assign REDIS_URL "$(redis_url)"
	assign BASE_URL "$(address)"
	assign NATTER_DIR "$STACK"
	assign NATTERD "$STACK/bin/natterd"
	assign NATTERCTL "$STACK/bin/natterctl"
	assign NATTER_SOCKET "$SOCKETS/natterd.sock"
	assign NATTER_ENV_FILE "$STACK/natter.env"
	assign NATTER_KEYS_FILE "$STACK/keys"
	assign NATTER_LOG "$STACK/log/natterd.log"
	assign NGINX_PID "$(server_pid nginx || :)"
	assign NATTERD_PID "$(server_pid natterd || :)"
}

case ${1:-} in
start) start "$2" "$3" ;;
stop) stop ;;
status) status ;;
env) print_env ;;
address) address ;;
*) die "stack.sh: no such command: ${1:-}" ;;
esac
