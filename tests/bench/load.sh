# shellcheck shell=bash
# What the benchmarks of turns share, beside lib.sh: a stack without limits, a
# model that costs next to nothing, a crowd, and what everything of it takes.
# Sourced after lib.sh. BENCH is where the programs are.

BENCH=$BUILD/tests/bench

# Who measures goes before Natter: if it had to wait for a core, that would look
# like Natter's doing. Not everybody may do that. Where the kernel groups sessions
# (sched_autogroup_enabled), niceness counts within one only, and the session has
# its own.
# shellcheck disable=SC2016 # for the inner shell
FIRST=(setsid bash -c 'echo -10 >/proc/self/autogroup || :
    exec nice -n -10 "$@"' first)
[ "$("${FIRST[@]}" nice 2>/dev/null)" = -10 ] || FIRST=(env)

# Has a session a weight of its own here? Not within a cgroup for cpu.
has_weights() {
	[ "$(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null)" = 1 ] &&
	    ! grep -qE '^[0-9]+:([a-z,]*\bcpu\b[a-z,]*|):/.' /proc/self/cgroup &&
	    [ "${FIRST[0]}" != env ]
}

# go_first PID...: what systemd/natter-first.conf does for a service, for a server
# that was started with a session of its own. WEIGHTS=off: not.
go_first() {
	local pid
	[ "${WEIGHTS:-on}" = on ] || return 0
	if ! has_weights; then
		say "nginx and Redis do not go first here: sessions have no weight"
		return 0
	fi
	for pid; do
		echo -10 >"/proc/$pid/autogroup"
	done
}

# Where the model's server is: at a port, or with LOAD_ON=socket on a Unix
# socket, in a folder that goes with it.
choose_model() {
	if [ "${LOAD_ON:-port}" = socket ]; then
		MODEL_DIR=$(mktemp -d -t natter-model.XXXXXX)
		chmod 755 "$MODEL_DIR"
		MODEL_AT=(--socket "$MODEL_DIR/model.sock")
		MODEL_URL=http://unix:$MODEL_DIR/model.sock:
	else
		MODEL_PORT=$(free_port 18500)
		MODEL_AT=(--port "$MODEL_PORT")
		MODEL_URL=http://127.0.0.1:$MODEL_PORT
	fi
}

# Where clients find nginx: at its port, or with LOAD_ON=socket on a Unix socket
# besides, in the folder of the demo's own. After find_servers.
choose_clients() {
	local socket
	CLIENT_AT=(--port "$PORT")
	[ "${LOAD_ON:-port}" = socket ] || return 0
	socket=$(dirname "$(redis_socket)")/clients.sock
	sed -i "s,listen 127,listen unix:$socket backlog=4096;\n\t\t&," \
	    "$NATTER_DIR/nginx/demo.conf"
	kill -HUP "$NGINX_PID"
	for _ in {1..100}; do
		[ ! -S "$socket" ] || break
		sleep 0.1
	done
	[ -S "$socket" ] || die "nginx does not listen on $socket"
	# shellcheck disable=SC2034 # for those who source this
	CLIENT_AT=(--socket "$socket")
}

model_listens() {
	if [ -n "${MODEL_DIR:-}" ]; then
		[ -S "$MODEL_DIR/model.sock" ]
	else
		port_in_use "$MODEL_PORT"
	fi
}

# Settings that let nothing but the machine be the limit. Redis shares its cores
# with all the rest here: 100 ms without it are no outage.
no_limits() {
	local name
	for name in RATE_LIMIT_PER_MINUTE RATE_LIMIT_PER_DAY API_RATE_PER_MINUTE \
	    USER_ADDRESS_RATE_PER_MINUTE ADDRESS_RATE_PER_MINUTE \
	    STREAMS_PER_USER MAX_TOKENS_PER_DAY; do
		export "CHAT_$name=0"
	done
	choose_model
	export CHAT_WORKERS=${CHAT_WORKERS:-2} CHAT_STREAMS_MAX=12000 \
	    CHAT_REDIS_TIMEOUT=1000 \
	    OPENAI_BASE_URL=$MODEL_URL/v1 OPENAI_API_KEY='' \
	    CHAT_TITLES=off CHAT_LOG_LEVEL=warning
}

stop_model() {
	[ -z "${MODEL_PID:-}" ] || kill "$MODEL_PID" 2>/dev/null || :
	[ -z "${MODEL_PID:-}" ] || wait "$MODEL_PID" 2>/dev/null || :
	MODEL_PID=
}

# When no other comes after it.
end_model() {
	stop_model
	[ -z "${MODEL_DIR:-}" ] || rm -rf "$MODEL_DIR"
}

# start_model OPTION...: model_load; one at a time.
start_model() {
	stop_model
	[ -z "${MODEL_DIR:-}" ] || rm -f "$MODEL_DIR/model.sock"
	"$BENCH/model_load" "${MODEL_AT[@]}" "$@" &
	MODEL_PID=$!
	until model_listens; do
		proc_is_alive "$MODEL_PID" || die "model_load does not start"
		sleep 0.05
	done
}

# crowd FROM TO: "token conversation" lines of new users.
crowd() {
	psql -X -q -A -t -v from="$1" -v to="$2" -f "$SRC/tests/bench/crowd.sql" \
	    "$SUPERUSER_DATABASE_URL" | "$BENCH/bench_tokens" "$NATTER_KEYS_FILE"
}

# As crowd.sql makes them.
bench_id() {
	printf '00000000-000%d-7000-8000-%012d' "$1" "$2"
}

user_id() {
	bench_id 1 "$1"
}

redis_socket() {
	sed 's,^unix://,,; s,?.*,,' <<<"$REDIS_URL"
}

children() {
	cat "/proc/$1/task/$1/children" 2>/dev/null
}

# pids_of KIND: the processes that are counted together.
pids_of() {
	case $1 in
	natterd) children "$NATTERD_PID" ;;
	nginx) children "$NGINX_PID" ;;
	postgres) echo "$POSTGRES_PID $(children "$POSTGRES_PID")" ;;
	redis) echo "$REDIS_PID" ;;
	model) echo "${MODEL_PID:-}" ;;
	client) echo "${CLIENT_PID:-}" ;;
	esac
}

# Of the demo, where scripts/demo --env does not say them.
# shellcheck disable=SC2034 # PORT is for those who source this
find_servers() {
	local start
	read -r POSTGRES_PID start <"$NATTER_DIR/run/postgres"
	read -r REDIS_PID start <"$NATTER_DIR/run/redis"
	PORT=${BASE_URL##*:}
	: "$start"
}

# cpu KIND: its user and system time so far, in ticks.
cpu() {
	local pid line ticks=0
	local -a field
	for pid in $(pids_of "$1"); do
		read -r line 2>/dev/null <"/proc/$pid/stat" || continue
		read -ra field <<<"${line##*) }"
		ticks=$((ticks + field[11] + field[12]))
	done
	echo "$ticks"
}

# The whole machine's, idling and waiting for disks left out.
cpu_of_all() {
	awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat
}

# note: what every one of KINDS has used, and when.
note() {
	local kind
	echo "now $(date +%s%N)"
	echo "all $(cpu_of_all)"
	for kind in "${KINDS[@]}"; do
		echo "$kind $(cpu "$kind")"
	done
}

# of_core KIND: the share of one core between before and after, in percent.
of_core() {
	awk -v kind="$1" -v hz="$(getconf CLK_TCK)" '
	    $1 == "now" { now[FNR == NR] = $2 }
	    $1 == kind { used[FNR == NR] = $2 }
	    END {
		seconds = (now[0] - now[1]) / 1e9
		printf "%.0f", 100 * (used[0] - used[1]) / hz / seconds
	    }' "$T/before" "$T/after"
}

# memory KIND: in KiB, shared pages by halves (PSS) where we may see that.
memory() {
	local pid kib=0 n
	for pid in $(pids_of "$1"); do
		n=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" \
		    2>/dev/null) || :
		[ -n "$n" ] || n=$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status")
		kib=$((kib + n))
	done
	echo "$kib"
}

# value NAME FILE: of a "name value" line.
value() {
	awk -v name="$1" '$1 == name { print $2 }' "$2"
}

# What the figures were measured on, as a line of Markdown.
machine() {
	printf '%s, %s cores, %s GB, Linux %s; %s, PostgreSQL %s, Redis %s\n' \
	    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
	    "$(nproc)" "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' \
		/proc/meminfo)" "$(uname -r)" \
	    "$(nginx -v 2>&1 | sed 's/.*: //')" \
	    "$(sql 'SHOW server_version' | cut -d' ' -f1)" \
	    "$(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/')"
	printf '%s, load average %s before\n' "$(date -u +%Y-%m-%d)" "$LOAD_BEFORE"
}
